//! Counting how calls were answered, and noting what is used. Nothing here can fail or be waited for.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::cache::stats::{self, Event, RENEWED};
use crate::cache::{Cache, VerifiedLib};
use crate::error::Result;

use super::Session;
use super::library::Origin;

/// What a build is about to link to is noted as used more closely: it must not go before the build has been seen to be
/// under way, so this is much shorter than what whoever makes room spares.
pub(super) const LINK_TOUCH_INTERVAL: Duration = Duration::from_secs(1);

impl Session {
    /// A library was found in the cache directory.
    pub(super) fn count_hit(&self, cache: &Cache, order: &[VerifiedLib], origin: Origin, renewed: Duration) {
        let Some(last) = order.last() else { return };
        if origin == Origin::Memory {
            self.tally.memory_hit();
        } else {
            cache.count_later(Event::Hit, &last.signature, last.build_ms, self.tally.take());
        }
        note_use(cache, order, renewed);
    }

    /// A library was not there, and this process was to build it. `made` is how many seconds that took; `None` when
    /// another program has done so meanwhile.
    pub(super) fn count_made(&self, cache: &Cache, signature: &str, made: &Result<Option<f64>>) {
        let (event, seconds) = match made {
            Ok(Some(seconds)) => (Event::Build, *seconds),
            Ok(None) => (Event::Waited, 0.0),
            Err(_) => (Event::Failure, 0.0),
        };
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        cache.count(event, signature, milliseconds, self.tally.take());
    }

    /// Writes down the hits that are kept for later, with calls that were answered from memory since the last event.
    /// For the end of the process.
    pub fn write_hits(&self) {
        stats::write_all(|| self.tally.take());
    }

    /// Writes down calls that were answered from memory, where there have been any since the last event.
    ///
    /// Events carry them along; a host that is about to end may call this, for what came after the last.
    pub fn flush_counts(&self, cache: &Cache) {
        let memory = self.tally.take();
        if memory > 0 {
            cache.count(Event::Memory, "", 0, memory);
        }
    }
}

/// What is found is used, and what it is linked to with it.
pub(super) fn note_use(cache: &Cache, order: &[VerifiedLib], renewed: Duration) {
    order.iter().for_each(|whole| cache.note_use(&whole.signature, renewed));
}

/// For a hit as for any other.
pub(super) const HIT_TOUCH_INTERVAL: Duration = RENEWED;
