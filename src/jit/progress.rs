//! Counts of the builds of a process, for programs that show progress.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Builds that have begun and ended.
#[derive(Default)]
pub(super) struct BuildProgress {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl BuildProgress {
    /// Counts a build that begins. It ends when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> CountedBuild {
        self.begun.fetch_add(1, Ordering::SeqCst);
        CountedBuild(Arc::clone(self))
    }

    /// Returns how many builds have ended, and how many have begun.
    pub(super) fn counts(&self) -> (u64, u64) {
        // In this order the first is never the larger one.
        let ended = self.ended.load(Ordering::SeqCst);
        (ended, self.begun.load(Ordering::SeqCst))
    }
}

/// A build under way: from `generate` until its library is in the cache, or it fails or is given up.
pub(super) struct CountedBuild(Arc<BuildProgress>);

impl Drop for CountedBuild {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
