//! Statistics of calls, and touching the entries that are used. Nothing here can fail or wait.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::cache::stats::{Event, HitCounter, RENEWED};
use crate::cache::{Cache, VerifiedLib};
use crate::error::{Kind, Result};

use super::library::Origin;

/// The shortest time between two touches of an entry by hits.
pub(super) const HIT_TOUCH_INTERVAL: Duration = RENEWED;

/// The shortest time between two touches of an entry that builds link to. It must not be evicted before the
/// build is visibly under way, so this is much shorter than the idle time that eviction requires.
pub(super) const LINK_TOUCH_INTERVAL: Duration = Duration::from_secs(1);

/// Counts a library that was found in the cache, and touches it and what it is linked to.
pub(super) fn count_hit(
    counter: &HitCounter,
    cache: &Cache,
    order: &[VerifiedLib],
    origin: Origin,
    touch_interval: Duration,
) {
    count_only(counter, cache, order, origin);
    note_use(cache, order, touch_interval);
}

/// Counts a library that was found in the cache.
pub(super) fn count_only(counter: &HitCounter, cache: &Cache, order: &[VerifiedLib], origin: Origin) {
    let Some(last) = order.last() else { return };
    if origin == Origin::Memory {
        counter.memory_hit();
    } else {
        cache.count_later(Event::Hit, &last.signature, last.build_ms, counter.take());
    }
}

/// Counts a library that was missing and that this process had to build. `built` is the seconds that it took;
/// `None` if another program has built it meanwhile. Does not count a build that was cancelled.
pub(super) fn count_build(counter: &HitCounter, cache: &Cache, signature: &str, built: &Result<Option<f64>>) {
    let (event, seconds) = match built {
        Ok(Some(seconds)) => (Event::Build, *seconds),
        Ok(None) => (Event::Waited, 0.0),
        Err(error) if error.kind() == Kind::Cancelled => return,
        Err(_) => (Event::Failure, 0.0),
    };
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    cache.count(event, signature, milliseconds, counter.take());
}

/// Touches entries that are used.
pub(super) fn note_use(cache: &Cache, order: &[VerifiedLib], touch_interval: Duration) {
    order.iter().for_each(|lib| cache.note_use(&lib.signature, touch_interval));
}
