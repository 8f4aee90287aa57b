//! Quarantines or removes what a check has found.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fsutil::{self, Tree};

use super::{Cache, Finding, FindingKind, Invalid, RepairOutcome, Severity};
use crate::cache::lease::{self, Acquire};
use crate::cache::open::cannot;
use crate::cache::publish::movable;
use crate::cache::results::TaskResult;

impl Cache {
    /// Repairs findings; with `act` false, finds out what would be repaired.
    pub(super) fn repair(&self, tree: &Arc<Tree>, findings: &mut [Finding], act: bool) {
        // An entry is repaired once, whatever is wrong with it.
        let mut entries: HashMap<String, RepairOutcome> = HashMap::new();
        for finding in findings {
            let signature = finding.signature.clone();
            let broken = finding.what.severity() == Severity::Broken;
            finding.outcome = match finding.what {
                FindingKind::InputChanged | FindingKind::DependencyStale | FindingKind::ForeignFile => {
                    RepairOutcome::No
                }
                // A directory: only its owner can make it safe.
                _ if broken && signature.is_empty() => RepairOutcome::No,
                _ if broken && finding.path == self.layout().result(&signature) => {
                    self.repair_result(tree, finding, act)
                }
                _ if broken => entries
                    .entry(signature)
                    .or_insert_with_key(|signature| self.repair_entry(tree, signature, finding, act))
                    .clone(),
                _ => self.repair_leftover(tree, finding, act),
            };
        }
    }

    fn repair_entry(&self, tree: &Arc<Tree>, signature: &str, finding: &Finding, act: bool) -> RepairOutcome {
        if finding.what == FindingKind::LibraryVersion && act {
            match self.remove_outdated(tree, signature) {
                Ok(true) => return RepairOutcome::Done,
                // In use, or of a newer version.
                Ok(false) => {}
                Err(error) => return RepairOutcome::Failed(error.message().to_owned()),
            }
        }
        self.undisturbed(tree, signature, act, || {
            let invalid = match finding.what {
                FindingKind::DependencyMissing | FindingKind::DependencyBroken | FindingKind::Cycle => {
                    Invalid::Dependency
                }
                FindingKind::HeaderMissing | FindingKind::HeaderAltered => Invalid::Header,
                _ => Invalid::Altered,
            };
            self.quarantine_in(tree, signature, &invalid)?;
            // A library that was repaired meanwhile is back in its place.
            if !fsutil::exists_nofollow(&self.layout().lib(signature)) {
                self.layout()
                    .sidecars(signature)
                    .iter()
                    .try_for_each(|path| self.quarantine_file(tree, path))?;
            }
            Ok(())
        })
    }

    /// Quarantines a result, unless a whole one has taken its place meanwhile.
    fn repair_result(&self, tree: &Arc<Tree>, finding: &Finding, act: bool) -> RepairOutcome {
        let (signature, path) = (finding.signature.as_str(), finding.path.as_path());
        self.undisturbed(tree, signature, act, || {
            let is_whole = |bytes: Vec<u8>| TaskResult::from_bytes(&bytes, signature).is_some();
            if fsutil::read_trusted(path).is_ok_and(|bytes| bytes.is_some_and(is_whole)) {
                return Ok(());
            }
            movable(tree, path)?;
            let moved = tree.rename(path, &self.layout().quarantined_result(signature));
            moved.map(drop).map_err(|error| cannot("cannot quarantine", path, &error))
        })
    }

    fn repair_leftover(&self, tree: &Arc<Tree>, finding: &Finding, act: bool) -> RepairOutcome {
        let path = &finding.path;
        let lease = self.layout().lease(&finding.signature);
        if *path == lease {
            return match lease::look(Some(tree).filter(|_| act).map(Arc::as_ref), path) {
                Some(info) if info.living => RepairOutcome::Busy(info.describe()),
                Some(info) if act => {
                    outcome(lease::clear(tree, path, &info).map_err(|error| failed(path, &error)))
                }
                Some(_) => RepairOutcome::Would,
                None => RepairOutcome::Done,
            };
        }
        if finding.signature.is_empty() {
            return if act { outcome(self.remove_leftover(tree, path)) } else { RepairOutcome::Would };
        }
        self.undisturbed(tree, &finding.signature, act, || self.quarantine_file(tree, path))
    }

    /// Removes what a program that has ended has left unfinished, or the directory of an older layout.
    fn remove_leftover(&self, tree: &Tree, path: &Path) -> Result<()> {
        if self.layout().is_old_dir(path) {
            return self.remove_old_dir(tree, path).map(drop).map_err(|error| failed(path, &error));
        }
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let gone = match self.staging_place(tree, dir) {
            Some(folder) => folder.remove_all(name),
            None => Ok(false),
        };
        gone.map(drop).map_err(|error| failed(path, &error))
    }

    /// Repairs an entry while no program is building it.
    fn undisturbed(
        &self,
        tree: &Arc<Tree>,
        signature: &str,
        act: bool,
        repair: impl FnOnce() -> Result<()>,
    ) -> RepairOutcome {
        let path = self.layout().lease(signature);
        let writes = Some(tree).filter(|_| act).map(Arc::as_ref);
        if let Some(info) = lease::look(writes, &path).filter(|info| info.living) {
            return RepairOutcome::Busy(info.describe());
        }
        if !act {
            return RepairOutcome::Would;
        }
        let reason = match lease::take(tree, &path, Duration::from_millis(100), || false) {
            Acquire::Acquired(_lease) => return outcome(repair()),
            Acquire::Unavailable(reason) => reason,
            Acquire::AlreadyBuilt => String::new(),
        };
        match lease::look(writes, &path).filter(|info| info.living) {
            Some(info) => RepairOutcome::Busy(info.describe()),
            None => RepairOutcome::Failed(format!("cannot write {}: {reason}", path.display())),
        }
    }

    /// Moves a file to `quarantine/`, if it exists.
    fn quarantine_file(&self, tree: &Tree, path: &Path) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        movable(tree, path)?;
        tree.rename(path, &self.layout().quarantine().join(name))
            .map(drop)
            .map_err(|error| cannot("cannot quarantine", path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    cannot("cannot remove", path, error)
}

fn outcome(done: Result<()>) -> RepairOutcome {
    match done {
        Ok(()) => RepairOutcome::Done,
        Err(error) => RepairOutcome::Failed(error.message().to_owned()),
    }
}
