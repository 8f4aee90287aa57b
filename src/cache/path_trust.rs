//! Remembers which directories of caches other users can rename or write.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::fsutil::{self, FileId, FileStamp, FileState, PathTrust, TrustWalk};
use crate::sync::lock;

/// Says if other users can rename or write a directory. The directories above it are checked once in a
/// process, the directory itself every time.
pub(super) fn path_trust(dir: &Path, walk: &mut TrustWalk) -> Result<PathTrust> {
    path_trust_with_stamp(dir, walk).map(|(trust, _)| trust)
}

/// Does the same. Returns the stamp of the directory, too: zeros if there is none.
pub(super) fn path_trust_with_stamp(dir: &Path, walk: &mut TrustWalk) -> Result<(PathTrust, FileStamp)> {
    static KNOWN: Mutex<BTreeMap<PathBuf, (FileId, PathTrust)>> = Mutex::new(BTreeMap::new());
    let cannot = |error: io::Error| Error::io("cannot use the cache directory", dir, &error);
    let before = lock(&KNOWN).get(dir).cloned();
    if let Some((id, trust)) = before {
        // Without links on the way, one call gives the directory and shows that it has not moved.
        let direct = matches!(&trust, PathTrust::Trusted(real) if real == dir);
        let facts = match if direct { fs::symlink_metadata(dir) } else { fs::metadata(dir) } {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((PathTrust::Missing, FileStamp::default()));
            }
            Err(error) => return Err(cannot(error)),
        };
        let now = FileId::new(&facts);
        // The directory may have been moved, and a link on the way to it with it.
        let moved = match &trust {
            PathTrust::Trusted(real) if !direct => {
                !fs::symlink_metadata(real).is_ok_and(|facts| FileId::new(&facts) == now)
            }
            _ => false,
        };
        if id == now && !moved {
            let trust = fsutil::untrusted_reason(&facts).map_or(trust, PathTrust::Untrusted);
            return Ok((trust, FileStamp::new(&facts)));
        }
    }
    let (trust, FileState { id, stamp, .. }) = walk.path_trust(dir).map_err(cannot)?;
    // These may be repaired while the program runs.
    if !matches!(trust, PathTrust::Missing | PathTrust::Untrusted(_)) {
        lock(&KNOWN).insert(dir.to_owned(), (id, trust.clone()));
    }
    Ok((trust, stamp))
}
