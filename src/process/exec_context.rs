//! In which manner a thread runs its commands: on which cores, until when, and whether it has been told to stop.
//!
//! It belongs to the thread and not to the command, so that everything that a build runs on its way, whatever that is,
//! is run alike.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::affinity::Cores;

/// The manner of a thread.
#[derive(Clone, Debug, Default)]
pub struct ExecContext {
    /// The cores for its commands.
    pub cores: Cores,
    /// Set by another thread when nobody wants the result any more: what runs is ended, and nothing is begun.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Set by another thread when the result is wanted soon: waits for other programs end, what runs goes on.
    pub hurried: Option<Arc<AtomicBool>>,
    /// When the ranks that wait for this thread wait no longer.
    pub deadline: Option<Instant>,
}

thread_local! {
    /// Without a destructor, so that calls from static destructors still find it. Between calls it holds nothing.
    static MANNER: RefCell<ManuallyDrop<ExecContext>> =
        const { RefCell::new(ManuallyDrop::new(ExecContext { cores: Cores::Auto, cancelled: None, hurried: None, deadline: None })) };
}

/// Runs `action`, and what it runs, in this manner.
pub fn within<T>(manner: ExecContext, action: impl FnOnce() -> T) -> T {
    /// Puts back the former manner even when `action` panics.
    struct Guard(ManuallyDrop<ExecContext>);
    impl Drop for Guard {
        fn drop(&mut self) {
            drop(ManuallyDrop::into_inner(MANNER.replace(std::mem::take(&mut self.0))));
        }
    }
    let _guard = Guard(MANNER.replace(ManuallyDrop::new(manner)));
    action()
}

/// Runs `action`, for which others wait so long from now; `None` is for ever. A deadline that is earlier stays.
pub fn awaited<T>(timeout: Option<Duration>, action: impl FnOnce() -> T) -> T {
    let manner = MANNER.with_borrow(|manner| ExecContext::clone(manner));
    let new = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let deadline = [manner.deadline, new].into_iter().flatten().min();
    within(ExecContext { deadline, ..manner }, action)
}

/// When the ranks that wait for this thread wait no longer; `None` is never.
#[must_use]
pub fn deadline() -> Option<Instant> {
    MANNER.with_borrow(|manner| manner.deadline)
}

/// How long this thread may wait for other programs: so long, and no longer than half of the time that is left for it,
/// so that the work itself can still be done in time.
#[must_use]
pub fn patience(longest: Duration) -> Duration {
    let left = deadline().map(|at| at.saturating_duration_since(Instant::now()) / 2);
    left.map_or(longest, |left| left.min(longest))
}

/// Whether what this thread does has been given up.
#[must_use]
pub fn is_cancelled() -> bool {
    MANNER.with_borrow(|manner| manner.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// Whether what this thread does is wanted soon.
#[must_use]
pub fn hurried() -> bool {
    MANNER.with_borrow(|manner| manner.hurried.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// The cores for the commands of this thread.
pub(super) fn cores() -> Cores {
    MANNER.with_borrow(|manner| manner.cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manner_lasts_as_long_as_the_action_and_for_its_thread_alone() {
        let flag = Arc::new(AtomicBool::new(true));
        let manner = ExecContext { cores: Cores::All, cancelled: Some(flag), ..ExecContext::default() };
        within(manner, || {
            assert!(is_cancelled() && cores() == Cores::All);
            within(ExecContext::default(), || assert!(!is_cancelled()));
            assert!(is_cancelled());
            let elsewhere = std::thread::spawn(is_cancelled).join();
            assert!(!elsewhere.unwrap());
        });
        assert!(!is_cancelled() && cores() == Cores::Auto);
    }

    #[test]
    fn who_is_waited_for_waits_half_as_long_for_others() {
        const LONG: Duration = Duration::from_secs(3600);
        assert_eq!((patience(LONG), deadline()), (LONG, None));
        awaited(Some(Duration::from_secs(100)), || {
            assert!(patience(LONG) <= Duration::from_secs(50) && patience(LONG) > Duration::from_secs(20));
            assert_eq!(patience(Duration::from_secs(1)), Duration::from_secs(1));
            let outer = deadline();
            awaited(None, || assert_eq!(deadline(), outer));
            awaited(Some(LONG), || assert_eq!(deadline(), outer));
            awaited(Some(Duration::ZERO), || assert_eq!(patience(LONG), Duration::ZERO));
        });
        assert_eq!(deadline(), None);
    }
}
