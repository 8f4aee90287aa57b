//! Quarantining, on all ranks, an entry that the dynamic loader of some rank refuses.

#![forbid(unsafe_code)]

use crate::cache::Verify;
use crate::codec::Digest32;
use crate::error::Result;
use crate::parallel::{agree, agree_gather};

use super::call::Call;
use super::lookup::find;
use super::refusal::LoadRefusal;

/// Quarantines on all ranks what was refused on some; `refusal` is that of this rank. Fails with the refusal
/// unless the entry is built again (`rebuild`). Collective.
pub(super) fn quarantine(
    call: &Call<'_>,
    signature: &str,
    refusal: Option<LoadRefusal>,
    rebuild: bool,
) -> Result<()> {
    const STEP: &str = "quarantining a refused library";
    let none = Digest32::default();
    let culprits = agree_gather(call.comm, STEP, || {
        let culprit = refusal.as_ref().and_then(|refusal| refusal.culprit.as_ref());
        Ok(culprit.map_or(none, |lib| lib.digest))
    })?;
    agree(call.comm, STEP, || {
        if let Some(refusal) = refusal {
            return refusal.quarantine(&call.cache, rebuild);
        }
        // The same file in another directory is no better, and would be distributed.
        let libs = find(&call.cache, signature, Verify::ForLoad)?.map(|entry| entry.libs).unwrap_or_default();
        match libs.into_iter().find(|lib| lib.digest != none && culprits.contains(&lib.digest)) {
            Some(lib) => call.cache.quarantine_refused(&lib, "the dynamic loader of another rank refuses it"),
            None => Ok(()),
        }
    })
}
