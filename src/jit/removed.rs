//! Entries that another program removes while a call needs them.

#![forbid(unsafe_code)]

use crate::cache::{Cache, Lookup, Verify};
use crate::error::{Error, Kind, Result};
use crate::process::exec_context::ExecContext;

use super::Session;
use super::admission::Admission;
use super::build_step::SignedRequest;
use super::callbacks::Callbacks;

/// The first of these entries that is not in the cache any more.
pub(super) fn lost(cache: &Cache, asked: &[String]) -> Option<String> {
    let is_lost =
        |signature: &&String| !matches!(cache.lookup(signature, Verify::ForLoad), Ok(Lookup::Hit(..)));
    asked.iter().find(is_lost).cloned()
}

/// What has been built or found during a call, and is gone when it is needed.
pub(super) fn removed(signature: &str, cache: &Cache) -> Error {
    let text = format!(
        "another program has removed {} during this call (dijitso clean, dijitso gc, rm), and again after it was \
         built anew: call again when that program has ended, or use a cache directory of your own \
         (DIJITSO_CACHE_DIR)",
        cache.layout().lib(signature).display()
    );
    Error::new(Kind::Cache, text)
}

impl Session {
    /// Builds; once more if what `generate` had built for it has been removed before it was used.
    pub(super) fn generate_and_build(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        context: &ExecContext,
    ) -> Result<f64> {
        let mut again = true;
        loop {
            let work = self.prepare(ticket, cache, callbacks, context)?;
            let asked = work.asked.clone();
            let built = work.run(self.runner.as_ref(), &Admission::Loaded(self), context);
            let Some(lost) = built.as_ref().err().and_then(|_| lost(cache, &asked)) else { return built };
            // The compiler failed for want of it, which says nothing of the source.
            cache.forget_failure(&ticket.signature);
            let error = removed(&lost, cache);
            if !std::mem::take(&mut again) {
                return Err(error.context(&format!("cannot build {}", ticket.signature)));
            }
            log::info!("{}: generating again: {error}", ticket.signature);
        }
    }
}
