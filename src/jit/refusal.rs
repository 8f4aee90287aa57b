//! Libraries that the dynamic loader refuses.
//!
//! A refusal is the fault of an entry if the loader refuses the file in a process of its own, too: a symbol
//! or library is missing, a version is not there, the file is damaged. Otherwise it is the fault of this
//! process: it has no memory, mappings or thread-local storage left, or may not run files of that disk. Then
//! the call fails, and the entry stays for others.

#![forbid(unsafe_code)]

use crate::cache::{Cache, VerifiedLib};
use crate::error::{Error, Kind, Result};

use super::library::Origin;

/// Why a library was not loaded.
#[derive(Debug)]
pub(super) struct LoadRefusal {
    pub(super) error: Error,
    /// The library that is itself at fault, if one is: the requested one, or one that it is linked to.
    pub(super) culprit: Option<Box<VerifiedLib>>,
}

impl From<Error> for LoadRefusal {
    fn from(error: Error) -> Self {
        Self { error, culprit: None }
    }
}

impl From<LoadRefusal> for Error {
    fn from(refusal: LoadRefusal) -> Self {
        refusal.error
    }
}

impl LoadRefusal {
    /// Returns whether the ranks agree on quarantining the entry, and not on the error alone. What this call
    /// has built (`fresh`) is quarantined if its builder cannot load it, even if other ranks can.
    pub(super) fn needs_quarantine(&self, rebuilds: bool, fresh: bool) -> bool {
        self.error.kind() == Kind::Load && (fresh || (rebuilds && self.culprit.is_some()))
    }

    /// Blames the last library of `order` if this call has built it: no process has ever loaded it.
    pub(super) fn blame_built(mut self, origin: Option<Origin>, order: &[VerifiedLib]) -> Self {
        if origin == Some(Origin::Built) && self.error.kind() == Kind::Load && self.culprit.is_none() {
            self.culprit = order.last().cloned().map(Box::new);
        }
        self
    }

    /// Quarantines the refused entry, unless another one has taken its place. Returns the refusal unless the
    /// entry is built again (`rebuild`).
    ///
    /// # Errors
    /// [`Kind::Load`]: the refusal, also if the entry cannot be moved.
    pub(super) fn quarantine(self, cache: &Cache, rebuild: bool) -> Result<()> {
        let Self { error, culprit } = self;
        log::info!("{error}{}", if rebuild { "; it is built again" } else { "" });
        let moved = culprit.map_or(Ok(()), |culprit| cache.quarantine_refused(&culprit, error.message()));
        match moved {
            Ok(()) if rebuild => Ok(()),
            Ok(()) => Err(error),
            Err(cannot) => {
                let text = format!("{error}; it cannot be quarantined and built again: {}", cannot.message());
                Err(Error::new(Kind::Load, text).with_log(error.log()).with_path(error.path()))
            }
        }
    }
}
