//! Entries that the dynamic loader refuses: they are quarantined by agreement, and built again once.
//!
//! A refusal is the fault of an entry if the loader, asked in a process of its own, refuses the file too: a symbol or
//! library that is missing, a version that is not there, a damaged file. It is the fault of a process if that has no
//! memory, mappings or thread-local storage left, or may not run files of that disk. Then the call fails, and the entry
//! stays for others.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::cache::{Cache, VerifiedLib, Verify};
use crate::codec::Digest32;
use crate::error::{Error, Kind, Result};
use crate::parallel::{agree, agree_gather};

use super::ranks::Call;
use super::{Origin, Session, find};

/// Why a library was not loaded.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What to tell.
    pub(super) error: Error,
    /// The library that is itself at fault, if one is: the one that was asked for, or one that it is linked to.
    pub(super) culprit: Option<Box<VerifiedLib>>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, culprit: None }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl Refusal {
    /// Whether the ranks agree on what becomes of the entry, and not on the error alone. What this call has built goes
    /// again if its builder cannot load it, whatever the other ranks can.
    pub(super) fn is_told(&self, builds: bool, fresh: bool) -> bool {
        self.error.kind() == Kind::Load && (fresh || (builds && self.culprit.is_some()))
    }

    /// The same, of a library that this very call has built: nothing else has ever loaded it.
    pub(super) fn of(mut self, origin: Option<Origin>, order: &[VerifiedLib]) -> Self {
        if origin == Some(Origin::Built) && self.error.kind() == Kind::Load && self.culprit.is_none() {
            self.culprit = order.last().cloned().map(Box::new);
        }
        self
    }
}

impl Session {
    /// The refusal of the library at `file`.
    pub(super) fn refusal(&self, error: Error, file: &Path, whole: &VerifiedLib) -> Refusal {
        // Asked only now, so that it costs nothing where all is well.
        let at_fault = error.kind() == Kind::Load && file.exists() && self.loader.resolve(file).is_err();
        Refusal { error, culprit: at_fault.then(|| Box::new(whole.clone())) }
    }
}

/// Quarantines an entry that was refused, unless another one has taken its place. If it is not built `again`, the
/// refusal is the answer.
///
/// # Errors
/// [`Kind::Load`]: the refusal, also if the entry cannot be moved.
pub(super) fn quarantine(cache: &Cache, refusal: Refusal, again: bool) -> Result<()> {
    let Refusal { error, culprit } = refusal;
    log::info!("{error}{}", if again { "; it is built again" } else { "" });
    let moved = culprit.map_or(Ok(()), |culprit| cache.quarantine_refused(&culprit, error.message()));
    match moved {
        Ok(()) if again => Ok(()),
        Ok(()) => Err(error),
        Err(cannot) => {
            let text = format!("{error}; it cannot be set aside to be built again: {}", cannot.message());
            Err(Error::new(Kind::Load, text).with_log(error.log()).with_path(error.path()))
        }
    }
}

impl Call<'_> {
    /// Quarantines on all ranks what was refused on some; `refusal` is that of this rank. With `again` it is built once
    /// more, else the call fails with the refusal.
    pub(super) fn quarantine(
        &self,
        signature: &str,
        cache: &Cache,
        refusal: Option<Refusal>,
        again: bool,
    ) -> Result<()> {
        const STEP: &str = "setting aside what the dynamic loader refuses";
        let none = Digest32::default();
        let culprits = agree_gather(self.whole(), STEP, || {
            Ok(refusal
                .as_ref()
                .and_then(|refusal| refusal.culprit.as_ref())
                .map_or(none, |whole| whole.digest))
        })?;
        agree(self.whole(), STEP, || {
            if let Some(refusal) = refusal {
                return quarantine(cache, refusal, again);
            }
            // The same file in another directory is no better, and would be handed on.
            let order = find(cache, signature, Verify::ForLoad)?.unwrap_or_default();
            match order.into_iter().find(|whole| whole.digest != none && culprits.contains(&whole.digest)) {
                Some(same) => {
                    cache.quarantine_refused(&same, "the dynamic loader of another rank refuses it")
                }
                None => Ok(()),
            }
        })
    }
}
