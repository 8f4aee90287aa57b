//! The builds of a process: counts for programs that show progress, and a line about those that take long.

#![forbid(unsafe_code)]

mod display;
mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::process::phase::PhaseClock;

pub use display::close;
pub(super) use display::{Watched, WatchedBuilds, wait_in_call};

use display::ShownBuild;

/// Builds that have begun and ended.
#[derive(Default)]
pub(super) struct BuildProgress {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl BuildProgress {
    /// Counts a build that begins, and shows it if it takes long and this thread reports. It ends when the value
    /// is dropped. `clock` has its phases.
    pub(super) fn begin(self: &Arc<Self>, name: &str, clock: &PhaseClock) -> CountedBuild {
        self.begun.fetch_add(1, Ordering::SeqCst);
        CountedBuild { counts: Arc::clone(self), shown: ShownBuild::begin(name, clock) }
    }

    /// Returns how many builds have ended, and how many have begun.
    pub(super) fn counts(&self) -> (u64, u64) {
        // In this order the first is never the larger one.
        let ended = self.ended.load(Ordering::SeqCst);
        (ended, self.begun.load(Ordering::SeqCst))
    }
}

/// A build under way: from `generate` until its library is in the cache, or it fails or is given up.
pub(super) struct CountedBuild {
    counts: Arc<BuildProgress>,
    shown: Option<ShownBuild>,
}

impl CountedBuild {
    /// Notes that the library is in the cache. A build that ends without this has failed.
    pub(super) fn succeed(&mut self) {
        self.shown.iter_mut().for_each(ShownBuild::succeed);
    }
}

impl Drop for CountedBuild {
    fn drop(&mut self) {
        self.counts.ended.fetch_add(1, Ordering::SeqCst);
    }
}
