//! The execution context of a build: on which cores its commands run, until when, and whether it is
//! cancelled.
//!
//! It is passed on with the build, so that everything that the build runs is run in the same way.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::affinity::Cores;

/// The execution context of a build. Clones share the two flags.
#[derive(Clone, Debug, Default)]
pub struct ExecContext {
    /// The cores for its commands.
    pub cores: Cores,
    /// When the ranks that wait for the build stop waiting; `None` is never.
    pub deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
    hurried: Arc<AtomicBool>,
}

impl ExecContext {
    /// A context with these cores and this deadline.
    #[must_use]
    pub fn new(cores: Cores, deadline: Option<Instant>) -> Self {
        Self { cores, deadline, ..Self::default() }
    }

    /// The same context for a build that ranks await for `timeout` from now; `None` is for ever. An earlier
    /// deadline stays.
    #[must_use]
    pub fn awaited(self, timeout: Option<Duration>) -> Self {
        let new = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { deadline: [self.deadline, new].into_iter().flatten().min(), ..self }
    }

    /// Returns the time to wait for other programs: at most `longest`, and at most half of the time until the
    /// deadline, so that the build itself can still be done in time.
    #[must_use]
    pub fn patience(&self, longest: Duration) -> Duration {
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()) / 2);
        left.map_or(longest, |left| left.min(longest))
    }

    /// Cancels the build, from any thread: its running command is killed, and no other is started.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// True if the build is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Ends all waiting for other programs, from any thread. A running command goes on.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    /// True if the build is not to wait for other programs.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_cancelled_and_hurried_together() {
        let context = ExecContext::new(Cores::All, None);
        let clone = context.clone().awaited(Some(Duration::ZERO));
        assert!(!clone.is_cancelled() && !clone.is_hurried());
        context.cancel();
        assert!(clone.is_cancelled() && !clone.is_hurried());
        clone.hurry();
        assert!(context.is_hurried() && context.deadline.is_none() && clone.cores == Cores::All);
    }

    #[test]
    fn an_awaited_build_waits_half_of_the_time_for_other_programs() {
        const LONG: Duration = Duration::from_secs(3600);
        let context = ExecContext::default();
        assert_eq!(context.patience(LONG), LONG);
        let context = context.awaited(Some(Duration::from_secs(100)));
        let patience = context.patience(LONG);
        assert!(patience <= Duration::from_secs(50) && patience > Duration::from_secs(20));
        assert_eq!(context.patience(Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(context.clone().awaited(None).deadline, context.deadline);
        assert_eq!(context.clone().awaited(Some(LONG)).deadline, context.deadline);
        assert_eq!(context.awaited(Some(Duration::ZERO)).patience(LONG), Duration::ZERO);
    }
}
