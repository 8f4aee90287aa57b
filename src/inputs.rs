//! What a build has read besides its own source: headers and libraries, and whether they are still the same.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use object::{Object, ReadCache};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::wire::hex;

/// A file that a build has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its absolute path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Time of its last change, in nanoseconds since 1970.
    pub mtime: i64,
    /// What is in it: `build-id HEX` of a library that has one, else `sha256 HEX`.
    pub identity: String,
}

impl Input {
    /// The file as it is now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (size, mtime) = facts(path)?;
        Ok(Self { path: path.display().to_string(), size, mtime, identity: identity(path)? })
    }

    /// In what the file differs from what was recorded; `None` when it does not. A file that was only touched, or
    /// copied from another host with its contents, does not differ.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        let path = Path::new(&self.path);
        match facts(path) {
            Ok(now) if now == (self.size, self.mtime) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(format!("{} is gone", self.path));
            }
            Err(error) => return Some(format!("{} cannot be read: {error}", self.path)),
        }
        match identity(path) {
            Ok(now) if now == self.identity => None,
            Ok(now) => {
                Some(format!("{} has changed ({} is now {})", self.path, brief(&self.identity), brief(&now)))
            }
            Err(error) => Some(format!("{} cannot be read: {error}", self.path)),
        }
    }
}

/// Enough of an identity to tell two apart.
fn brief(identity: &str) -> &str {
    let end = identity.char_indices().nth(20).map_or(identity.len(), |(at, _)| at);
    &identity[..end]
}

fn facts(path: &Path) -> io::Result<(u64, i64)> {
    let facts = fs::metadata(path)?;
    let mtime = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
    Ok((facts.len(), mtime))
}

fn identity(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    if file.read(&mut magic)? == 4 && magic == *b"\x7fELF" {
        let cached = ReadCache::new(&file);
        let parsed = object::File::parse(&cached).ok();
        if let Some(id) = parsed.as_ref().and_then(|elf| elf.build_id().ok().flatten()) {
            return Ok(format!("build-id {}", hex(id)));
        }
    }
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("sha256 {}", hex(&hasher.finalize()))),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn touching_is_no_change_and_writing_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ufc.h");
        fs::write(&path, "one").unwrap();
        let input = Input::of(&path).unwrap();
        assert_eq!(input.change(), None);
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(input.change(), None);
        fs::write(&path, "two").unwrap();
        assert!(input.change().unwrap().contains("ufc.h has changed"));
        fs::remove_file(&path).unwrap();
        assert!(input.change().unwrap().contains("is gone"));
    }

    #[test]
    fn a_program_is_known_by_its_build_id_where_it_has_one() {
        let own = Input::of(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.identity.starts_with("build-id ") || own.identity.starts_with("sha256 "), "{own:?}");
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("odd");
        fs::write(&odd, b"\x7fELF and no more").unwrap();
        assert!(Input::of(&odd).unwrap().identity.starts_with("sha256 "));
    }
}
