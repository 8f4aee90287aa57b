//! Small files of the cache that are no entries: JSON, replaced in one step. Losing one costs time and nothing else.
//!
//! ```text
//! toolchain/<key>          what a compiler said of itself
//! failed/<signature>       a build that failed, see Failed
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

/// A build that would fail again: the compiler has refused the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    format: String,
    /// Digest of the source, the header and all else that the command line does not show.
    pub of: String,
    /// Seconds since 1970.
    pub at: u64,
    /// Files that the compiler named, or looked into: when one changes, it may be content.
    pub inputs: Vec<Input>,
    /// Directories it searched, with the time of their last change.
    pub searched: Vec<(String, i64)>,
    /// What it said.
    pub error: Error,
}

const FAILED: &str = "dijitso failure 1";

impl FailureRecord {
    /// A failure of now.
    #[must_use]
    pub fn new(of: String, inputs: Vec<Input>, dirs: &[String], error: Error) -> Self {
        let searched = dirs.iter().map(|dir| (dir.clone(), changed(dir))).collect();
        Self { format: FAILED.to_owned(), of, at: now(), inputs, searched, error }
    }

    /// Whether the same would happen again, as far as can be seen.
    fn applies(&self, of: &str, memory: Duration) -> bool {
        let age = now().abs_diff(self.at);
        self.format == FAILED
            && self.of == of
            && Duration::from_secs(age) < memory
            && self.inputs.iter().all(|input| input.change().is_none())
            && self.searched.iter().all(|(dir, time)| changed(dir) == *time)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The time of the last change of a directory; the same number as long as there is none.
fn changed(dir: &str) -> i64 {
    FileStamp::of(Path::new(dir)).map_or(-1, |stamp| stamp.mtime)
}

impl Cache {
    /// What a compiler said of itself.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] when it is there and cannot be read, or others can have written it.
    pub fn read_toolchain(&self, key: &str) -> Result<Option<Vec<u8>>> {
        read(&self.layout().toolchain(key))
    }

    /// Writes such a file, in one step.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`].
    pub fn write_toolchain(&self, key: &str, data: &[u8]) -> Result<()> {
        self.write_note(&self.layout().toolchain(key), data)
    }

    /// The failure of the last build of `signature` from exactly this, if it is recent and nothing has changed since.
    #[must_use]
    pub fn remembered_failure(&self, signature: &str, of: &str) -> Option<Error> {
        let memory = self.layout().params().failure_ttl;
        if memory.is_zero() {
            return None;
        }
        let data = read(&self.layout().failed(signature)).ok().flatten()?;
        let failed: FailureRecord = serde_json::from_slice(&data).ok()?;
        failed.applies(of, memory).then_some(failed.error)
    }

    /// The note of the last failure of `signature`, however old it is.
    #[must_use]
    pub fn noted_failure(&self, signature: &str) -> Option<FailureRecord> {
        let data = read(&self.layout().failed(signature)).ok().flatten()?;
        serde_json::from_slice(&data).ok().filter(|failed: &FailureRecord| failed.format == FAILED)
    }

    /// Remembers a failure, where that is wanted.
    pub fn remember_failure(&self, signature: &str, failed: &FailureRecord) {
        if self.layout().params().failure_ttl.is_zero() {
            return;
        }
        let data = serde_json::to_vec(failed).expect("a failure consists of strings and numbers");
        // Without the note the next program tries again.
        self.write_note(&self.layout().failed(signature), &data)
            .unwrap_or_else(|error| log::info!("{error}"));
    }

    /// Forgets the failure of a signature, which has been built.
    pub fn forget_failure(&self, signature: &str) {
        let path = self.layout().failed(signature);
        if fsutil::exists_nofollow(&path)
            && let Ok(Some(tree)) = self.open()
        {
            let _ = tree.remove(&path);
        }
    }

    fn write_note(&self, path: &Path, data: &[u8]) -> Result<()> {
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
        assert!(!FailureRecord { at: now() - 101, ..failed.clone() }.applies("digest", long));
        assert!(
            !FailureRecord { at: now() + 101, ..failed.clone() }.applies("digest", long),
            "a clock that was wrong"
        );
        std::fs::write(searched.join("new.h"), "").unwrap();
        assert!(!failed.applies("digest", long));
        let failed = FailureRecord { searched: Vec::new(), ..failed };
        assert!(failed.applies("digest", long));
        std::fs::write(&header, "fixed").unwrap();
        assert!(!failed.applies("digest", long));
    }

    /// A host corrects a header and asks again at once.
    #[test]
    fn what_a_failure_depends_on_is_looked_at_each_time() {
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
