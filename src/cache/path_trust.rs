//! How firmly the directories of caches stand: what others can put in their place.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::fsutil::{self, FileId, PathTrust, TrustWalk};
use crate::sync::lock;

/// How firmly a directory stands. The way to it is walked once for each directory of a process; the directory itself
/// is looked at every time.
pub(super) fn path_trust(dir: &Path, look: &mut TrustWalk) -> Result<PathTrust> {
    static KNOWN: Mutex<BTreeMap<PathBuf, (FileId, PathTrust)>> = Mutex::new(BTreeMap::new());
    let cannot = |error: io::Error| Error::io("cannot use the cache directory", dir, &error);
    let before = lock(&KNOWN).get(dir).cloned();
    if let Some((id, standing)) = before {
        // Without links on the way, one look tells both what the directory is and that it still is where it was.
        let direct = matches!(&standing, PathTrust::Trusted(real) if real == dir);
        let facts = match if direct { fs::symlink_metadata(dir) } else { fs::metadata(dir) } {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PathTrust::Missing),
            Err(error) => return Err(cannot(error)),
        };
        let now = FileId::new(&facts);
        // The directory may have been moved, and a link on the way to it with it.
        let moved = match &standing {
            PathTrust::Trusted(real) if !direct => {
                !fs::symlink_metadata(real).is_ok_and(|facts| FileId::new(&facts) == now)
            }
            _ => false,
        };
        if id == now && !moved {
            return Ok(fsutil::untrusted_reason(&facts).map_or(standing, PathTrust::Untrusted));
        }
    }
    let (standing, id) = look.path_trust(dir).map_err(cannot)?;
    // What is wrong may be mended while the program runs.
    if !matches!(standing, PathTrust::Missing | PathTrust::Untrusted(_)) {
        lock(&KNOWN).insert(dir.to_owned(), (id, standing.clone()));
    }
    Ok(standing)
}
