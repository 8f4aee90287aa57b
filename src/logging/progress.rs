//! Log lines about work that takes long: after 3 s, after 30 s, then each minute.
//!
//! A thread names its work by [`during`]; the loop in which it waits calls [`tick`].

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

/// Times of the first and the second line, from the beginning of the work.
const FIRST: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// The time between two later lines.
const PERIOD: Duration = Duration::from_secs(60);

/// The time that work has taken, and the time of the next line about it.
#[derive(Debug)]
pub struct Progress {
    since: Instant,
    next: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self { since: Instant::now(), next: FIRST[0] }
    }
}

impl Progress {
    /// Returns the time that the work has taken if a line is due now.
    pub fn due(&mut self) -> Option<Duration> {
        self.due_at(self.since.elapsed())
    }

    fn due_at(&mut self, elapsed: Duration) -> Option<Duration> {
        if elapsed < self.next {
            return None;
        }
        let later = FIRST.into_iter().find(|at| *at > elapsed);
        self.next = later.unwrap_or(elapsed + PERIOD);
        Some(elapsed)
    }
}

thread_local! {
    /// The work of this thread. It has no destructor, so that calls from static destructors still find it,
    /// and it is empty between calls.
    static CURRENT: RefCell<ManuallyDrop<Option<(String, Progress)>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Runs `action`. If it takes long, log lines call it `doing` ("compiling x").
pub fn during<T>(doing: String, action: impl FnOnce() -> T) -> T {
    /// Restores the previous work, even if `action` panics.
    struct Restore(Option<(String, Progress)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = ManuallyDrop::new(self.0.take());
            drop(ManuallyDrop::into_inner(CURRENT.replace(before)));
        }
    }
    let now = ManuallyDrop::new(Some((doing, Progress::default())));
    let _restore = Restore(ManuallyDrop::into_inner(CURRENT.replace(now)));
    action()
}

/// Counts the time from now on: until now the thread waited.
pub fn restart() {
    CURRENT.with_borrow_mut(|current| {
        if let Some((_, progress)) = &mut **current {
            *progress = Progress::default();
        }
    });
}

/// Writes a line if one is due.
pub fn tick() {
    let line = CURRENT.with_borrow_mut(|current| {
        let (doing, progress) = current.as_mut()?;
        let elapsed = progress.due()?;
        Some(format!("{doing} for {} s so far", elapsed.as_secs()))
    });
    // After the borrow: a handler of the host may run now.
    if let Some(line) = line {
        log::warn!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_after_3_and_30_seconds_and_then_each_minute() {
        let mut progress = Progress::default();
        let due: Vec<u64> =
            (0..200).filter(|second| progress.due_at(Duration::from_secs(*second)).is_some()).collect();
        assert_eq!(due, [3, 30, 90, 150]);
        assert_eq!(Progress::default().due_at(Duration::from_millis(2999)), None);
    }

    #[test]
    fn a_loop_that_is_late_writes_one_line() {
        let mut progress = Progress::default();
        let due: Vec<u64> = (0..200)
            .step_by(40)
            .filter(|second| progress.due_at(Duration::from_secs(*second)).is_some())
            .collect();
        assert_eq!(due, [40, 120]);
    }

    #[test]
    fn the_previous_work_is_restored_even_after_a_panic() {
        let current = || CURRENT.with_borrow(|current| current.as_ref().map(|(doing, _)| doing.clone()));
        during("outer".to_owned(), || {
            let inner = std::panic::catch_unwind(|| during("inner".to_owned(), || panic!("{:?}", current())));
            assert!(inner.is_err());
            assert_eq!(current().as_deref(), Some("outer"));
            tick();
        });
        assert_eq!(current(), None);
    }
}
