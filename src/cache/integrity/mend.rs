//! Setting aside and removing what a check has found.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fsutil::{self, Tree};

use super::{Cache, Damage, Finding, Mended, Severity, What};
use crate::cache::lease::{self, Taken};
use crate::cache::open::cannot;
use crate::cache::publish::movable;

impl Cache {
    /// Does, or says, what can be done about findings.
    pub(super) fn mend(&self, tree: &Arc<Tree>, findings: &mut [Finding], really: bool) {
        // An entry is set aside once, whatever is wrong with it.
        let mut entries: HashMap<String, Mended> = HashMap::new();
        for finding in findings {
            let signature = finding.signature.clone();
            let broken = finding.what.severity() == Severity::Broken;
            finding.mended = match finding.what {
                What::InputChanged | What::DependencyStale | What::ForeignFile => Mended::No,
                // A directory: whoever may do something about it is not a program.
                _ if broken && signature.is_empty() => Mended::No,
                _ if broken => entries
                    .entry(signature)
                    .or_insert_with_key(|signature| self.mend_entry(tree, signature, finding, really))
                    .clone(),
                _ => self.mend_litter(tree, finding, really),
            };
        }
    }

    fn mend_entry(&self, tree: &Arc<Tree>, signature: &str, finding: &Finding, really: bool) -> Mended {
        self.undisturbed(tree, signature, really, || {
            let damage = match finding.what {
                What::DependencyMissing | What::DependencyBroken | What::Cycle => Damage::Dependency,
                What::HeaderMissing | What::HeaderAltered => Damage::Header,
                _ => Damage::Altered,
            };
            self.set_aside_in(tree, signature, &damage)?;
            // What was repaired meanwhile went back to its place.
            if !fsutil::is_there(&self.layout().lib(signature)) {
                self.layout().besides(signature).iter().try_for_each(|path| self.put_aside(tree, path))?;
            }
            Ok(())
        })
    }

    fn mend_litter(&self, tree: &Arc<Tree>, finding: &Finding, really: bool) -> Mended {
        let path = &finding.path;
        let lease = self.layout().lease(&finding.signature);
        if *path == lease {
            return match lease::look(Some(tree).filter(|_| really).map(Arc::as_ref), path) {
                Some(held) if held.living => Mended::Busy(held.describe()),
                Some(held) if really => {
                    outcome(lease::clear(tree, path, &held).map_err(|error| failed(path, &error)))
                }
                Some(_) => Mended::Would,
                None => Mended::Done,
            };
        }
        if finding.signature.is_empty() {
            return if really { outcome(self.remove_leftover(tree, path)) } else { Mended::Would };
        }
        self.undisturbed(tree, &finding.signature, really, || self.put_aside(tree, path))
    }

    /// Removes what a program that has ended has begun: here, or in a place for temporary files.
    fn remove_leftover(&self, tree: &Tree, path: &Path) -> Result<()> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let gone = match self.staging_place(tree, dir) {
            Some(folder) => folder.remove_all(name),
            None => Ok(false),
        };
        gone.map(drop).map_err(|error| failed(path, &error))
    }

    /// Does something to an entry while nobody is building it.
    fn undisturbed(
        &self,
        tree: &Arc<Tree>,
        signature: &str,
        really: bool,
        act: impl FnOnce() -> Result<()>,
    ) -> Mended {
        let path = self.layout().lease(signature);
        let writes = Some(tree).filter(|_| really).map(Arc::as_ref);
        if let Some(held) = lease::look(writes, &path).filter(|held| held.living) {
            return Mended::Busy(held.describe());
        }
        if !really {
            return Mended::Would;
        }
        let why = match lease::take(tree, &path, Duration::from_millis(100), || false) {
            Taken::Ours(_lease) => return outcome(act()),
            Taken::Without(why) => why,
            Taken::NotNeeded => String::new(),
        };
        match lease::look(writes, &path).filter(|held| held.living) {
            Some(held) => Mended::Busy(held.describe()),
            None => Mended::Failed(format!("cannot write {}: {why}", path.display())),
        }
    }

    /// Moves a file to where damaged files go. That there is none is fine.
    fn put_aside(&self, tree: &Tree, path: &Path) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        movable(tree, path)?;
        tree.rename(path, &self.layout().aside().join(name))
            .map(drop)
            .map_err(|error| cannot("cannot set aside", path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    cannot("cannot remove", path, error)
}

fn outcome(done: Result<()>) -> Mended {
    match done {
        Ok(()) => Mended::Done,
        Err(error) => Mended::Failed(error.message().to_owned()),
    }
}
