//! Setting aside and removing what a check has found.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fsutil;

use super::{Cache, Damage, Finding, Mended, Severity, What};
use crate::cache::lease::{self, Taken};

impl Cache {
    /// Does, or says, what can be done about findings.
    pub(super) fn mend(&self, findings: &mut [Finding], really: bool) {
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
                    .or_insert_with_key(|signature| self.mend_entry(signature, finding, really))
                    .clone(),
                _ => self.mend_litter(finding, really),
            };
        }
    }

    fn mend_entry(&self, signature: &str, finding: &Finding, really: bool) -> Mended {
        self.undisturbed(signature, really, || {
            let damage = match finding.what {
                What::DependencyMissing | What::DependencyBroken | What::Cycle => Damage::Dependency,
                What::HeaderMissing | What::HeaderAltered => Damage::Header,
                _ => Damage::Altered,
            };
            self.set_aside(signature, &damage)?;
            // What was repaired meanwhile went back to its place.
            if !fsutil::is_there(&self.layout().lib(signature)) {
                self.layout().besides(signature).iter().try_for_each(|path| self.put_aside(path))?;
            }
            Ok(())
        })
    }

    fn mend_litter(&self, finding: &Finding, really: bool) -> Mended {
        let path = &finding.path;
        let lease = self.layout().lease(&finding.signature);
        if *path == lease {
            return match lease::look(path) {
                Some(held) if held.living => Mended::Busy(held.describe()),
                Some(held) if really => {
                    lease::clear(path, &held);
                    Mended::Done
                }
                Some(_) => Mended::Would,
                None => Mended::Done,
            };
        }
        let remove = || {
            let is_dir = path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
            match fsutil::remove(path, is_dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io("cannot remove", path, &error))
                }
                _ => Ok(()),
            }
        };
        if finding.signature.is_empty() {
            return if really { outcome(remove()) } else { Mended::Would };
        }
        self.undisturbed(&finding.signature, really, || self.put_aside(path))
    }

    /// Does something to an entry while nobody is building it.
    fn undisturbed(&self, signature: &str, really: bool, act: impl FnOnce() -> Result<()>) -> Mended {
        let path = self.layout().lease(signature);
        if let Some(held) = lease::look(&path).filter(|held| held.living) {
            return Mended::Busy(held.describe());
        }
        if !really {
            return Mended::Would;
        }
        match lease::take(&path, Duration::from_millis(100), || false) {
            Taken::Ours(_lease) => outcome(act()),
            _ => match lease::look(&path) {
                Some(held) => Mended::Busy(held.describe()),
                None => Mended::Failed(format!("cannot write {}", path.display())),
            },
        }
    }

    /// Moves a file to where damaged files go. That there is none is fine.
    fn put_aside(&self, path: &Path) -> Result<()> {
        let aside = self.layout().aside();
        let Some(name) = path.file_name() else { return Ok(()) };
        fsutil::create_dirs(&aside).map_err(|error| Error::io("cannot create", &aside, &error))?;
        fsutil::rename(path, &aside.join(name))
            .map(drop)
            .map_err(|error| Error::io("cannot set aside", path, &error))
    }
}

fn outcome(done: Result<()>) -> Mended {
    match done {
        Ok(()) => Mended::Done,
        Err(error) => Mended::Failed(error.message().to_owned()),
    }
}
