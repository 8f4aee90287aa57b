//! Negative cache and toolchain store: JSON files, replaced in one step. A lost file costs time and nothing
//! else.
//!
//! ```text
//! toolchain/<key>          what a compiler has said of itself
//! failed/<signature>       the last build that failed, see FailureRecord
//! ```

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fsutil::{self, Durability, FileStamp};
use crate::inputs::Input;

use super::open::cannot;
use super::{Cache, FILE_MODE, read};

/// A build that the compiler has refused, with all that could make the next one succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    format: String,
    /// The digest of source, header and everything else that is not in the command line.
    pub key: String,
    /// Seconds since 1970.
    pub failed_at: u64,
    /// Files that the compiler has named or read.
    pub inputs: Vec<Input>,
    /// Directories that it has searched, with the time of their last change.
    pub searched: Vec<(String, i64)>,
    /// The error.
    pub error: Error,
}

const FORMAT: &str = "dijitso failure 2";

impl FailureRecord {
    /// Records a failure of this moment.
    #[must_use]
    pub fn new(key: String, inputs: Vec<Input>, dirs: &[String], error: Error) -> Self {
        let searched = dirs.iter().map(|dir| (dir.clone(), changed(dir))).collect();
        Self { format: FORMAT.to_owned(), key, failed_at: now(), inputs, searched, error }
    }

    /// Returns true if the same build would fail again: it is recent, and none of its files has changed.
    fn applies(&self, key: &str, ttl: Duration) -> bool {
        let age = now().abs_diff(self.failed_at);
        self.format == FORMAT
            && self.key == key
            && Duration::from_secs(age) < ttl
            && self.inputs.iter().all(|input| input.change().is_none())
            && self.searched.iter().all(|(dir, time)| changed(dir) == *time)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The time of the last change of a directory; -1 if it is missing.
fn changed(dir: &str) -> i64 {
    FileStamp::of(Path::new(dir)).map_or(-1, |stamp| stamp.mtime)
}

impl Cache {
    /// Reads what a compiler has said of itself.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if it cannot be read, or other users can write it.
    pub fn read_toolchain(&self, key: &str) -> Result<Option<Vec<u8>>> {
        read(&self.layout().toolchain(key))
    }

    /// Writes what a compiler has said of itself.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if it cannot be written.
    pub fn write_toolchain(&self, key: &str, data: &[u8]) -> Result<()> {
        self.write_json(&self.layout().toolchain(key), data)
    }

    /// The error of the last build of `signature` with this key, if the next one would fail again.
    #[must_use]
    pub fn remembered_failure(&self, signature: &str, key: &str) -> Option<Error> {
        let ttl = self.layout().params().failure_ttl;
        if ttl.is_zero() {
            return None;
        }
        let data = read(&self.layout().failed(signature)).ok().flatten()?;
        let failed: FailureRecord = serde_json::from_slice(&data).ok()?;
        failed.applies(key, ttl).then_some(failed.error)
    }

    /// The last failure of `signature`, however old it is.
    #[must_use]
    pub fn last_failure(&self, signature: &str) -> Option<FailureRecord> {
        let data = read(&self.layout().failed(signature)).ok().flatten()?;
        serde_json::from_slice(&data).ok().filter(|failed: &FailureRecord| failed.format == FORMAT)
    }

    /// Writes a failure, unless `cache.failure_ttl` is 0.
    pub fn remember_failure(&self, signature: &str, failed: &FailureRecord) {
        if self.layout().params().failure_ttl.is_zero() {
            return;
        }
        let data = serde_json::to_vec(failed).expect("a failure consists of strings and numbers");
        // Without the file the next program tries again.
        self.write_json(&self.layout().failed(signature), &data)
            .unwrap_or_else(|error| log::info!("{error}"));
    }

    /// Removes the failure of a signature that has been built.
    pub fn forget_failure(&self, signature: &str) {
        let path = self.layout().failed(signature);
        if fsutil::exists_nofollow(&path)
            && let Ok(Some(tree)) = self.open()
        {
            let _ = tree.remove(&path);
        }
    }

    fn write_json(&self, path: &Path, data: &[u8]) -> Result<()> {
        self.open_or_make()?
            .replace_atomic(path, data, FILE_MODE, Durability::Volatile)
            .map_err(|error| cannot("cannot write", path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_failure_is_remembered_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let header = dir.path().join("wrong.h");
        std::fs::write(&header, "x").unwrap();
        let searched = dir.path().join("include");
        std::fs::create_dir(&searched).unwrap();
        let error = Error::new(Kind::Compile, "no").with_log("log");
        let inputs = vec![Input::of(&header).unwrap()];
        let dirs = [searched.display().to_string(), "/nonexistent".to_owned()];
        let failed = FailureRecord::new("digest".to_owned(), inputs, &dirs, error);
        let long = Duration::from_secs(100);
        assert!(failed.applies("digest", long));
        assert!(!failed.applies("other", long));
        assert!(!FailureRecord { failed_at: now() - 101, ..failed.clone() }.applies("digest", long));
        assert!(
            !FailureRecord { failed_at: now() + 101, ..failed.clone() }.applies("digest", long),
            "a clock that was wrong"
        );
        std::fs::write(searched.join("new.h"), "").unwrap();
        assert!(!failed.applies("digest", long));
        let failed = FailureRecord { searched: Vec::new(), ..failed };
        assert!(failed.applies("digest", long));
        std::fs::write(&header, "fixed").unwrap();
        assert!(!failed.applies("digest", long));
    }

    /// A user corrects a header and calls again at once.
    #[test]
    fn the_files_of_a_failure_are_checked_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (there, missing) = (dir.path().join("there.h"), dir.path().join("missing.h"));
        std::fs::write(&there, "x").unwrap();
        let long = Duration::from_secs(100);
        let failed = || {
            let inputs = [&there, &missing].map(|path| Input::seen(path)).to_vec();
            FailureRecord::new("digest".to_owned(), inputs, &[], Error::new(Kind::Compile, "no"))
        };
        let (first, second) = (failed(), failed());
        assert!(first.applies("digest", long) && first.applies("digest", long));
        std::fs::write(&missing, "").unwrap();
        assert!(!first.applies("digest", long), "it has appeared");
        std::fs::remove_file(&missing).unwrap();
        assert!(second.applies("digest", long));
        std::fs::remove_file(&there).unwrap();
        assert!(!second.applies("digest", long), "another one may be found now");
    }
}
