//! State of a communicator: the call and step in progress, its timeout, and the error that broke it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::lock;

use super::timeout::{Waiting, truncate};

/// Returns the time after which a waiting rank logs a warning: a quarter of the timeout, within 3 to 30
/// seconds.
#[must_use]
pub fn warn_after(timeout: Option<Duration>) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(3);
    const LONGEST: Duration = Duration::from_secs(30);
    timeout.map_or(LONGEST, |timeout| (timeout / 4).clamp(SHORTEST, LONGEST))
}

/// Bytes of a call's name that are kept. Valid names are not longer.
const LONGEST_NAME: usize = 200;

/// State of a communicator.
#[derive(Debug, Default)]
pub struct CommStatus {
    current: Mutex<CurrentStep>,
    collectives: AtomicU64,
    broken: OnceLock<Error>,
}

#[derive(Debug, Default)]
struct CurrentStep {
    call: String,
    step: String,
    /// The ranks that compile in this step.
    builders: Vec<usize>,
    timeout: Option<Duration>,
}

impl CommStatus {
    fn current(&self) -> MutexGuard<'_, CurrentStep> {
        lock(&self.current)
    }

    /// Begins a call, in each step of which this rank waits `timeout` at most; without limit if `None`.
    pub fn begin(&self, call: &str, timeout: Option<Duration>) {
        let call = truncate(call, LONGEST_NAME).to_owned();
        *self.current() = CurrentStep { call, step: "beginning".to_owned(), builders: Vec::new(), timeout };
    }

    /// Begins a step, which the next collective ends.
    pub fn enter(&self, step: &str) {
        let mut current = self.current();
        if current.step != step {
            step.clone_into(&mut current.step);
            current.builders.clear();
        }
    }

    /// Begins a step, in which the ranks `builders` compile.
    pub fn expect(&self, step: &str, builders: &[usize]) {
        self.enter(step);
        builders.clone_into(&mut self.current().builders);
    }

    /// Returns the number of the next collective.
    pub fn upcoming(&self) -> u64 {
        self.collectives.load(Ordering::Relaxed)
    }

    /// Returns the number of the collective that begins now.
    pub fn next(&self) -> u64 {
        self.collectives.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the number of the collective that has begun last.
    pub fn last(&self) -> u64 {
        self.collectives.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Describes a wait in the collective `number`, with the timeout.
    pub fn waiting(&self, number: u64) -> (Waiting, Option<Duration>) {
        let current = self.current();
        let (call, step, builders) = (current.call.clone(), current.step.clone(), current.builders.clone());
        (Waiting { number, call, step, builders, waited: Duration::ZERO }, current.timeout)
    }

    /// Checks that the communicator is not broken. Costs one load of memory.
    ///
    /// # Errors
    /// The error that broke it, with the note that it is not used any more.
    pub fn check_alive(&self) -> Result<()> {
        match self.broken.get() {
            None => Ok(()),
            Some(error) => {
                Err(error.clone().context("this communicator failed before and is not used any more"))
            }
        }
    }

    /// Checks that the communicator is not broken.
    ///
    /// # Errors
    /// The error that broke it, unchanged.
    pub fn first_failure(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Marks the communicator as broken and returns the error that broke it first.
    pub fn fail(&self, error: Error) -> Error {
        self.broken.get_or_init(|| error).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_warning_comes_before_the_timeout_and_not_in_short_waits() {
        let seconds = |timeout| warn_after(timeout).as_secs();
        let limits = [1, 12, 60, 120, 14400].map(|limit| seconds(Some(Duration::from_secs(limit))));
        assert_eq!((limits, seconds(None)), ([3, 3, 15, 30, 30], 30));
    }

    #[test]
    fn the_first_failure_is_the_error_of_all_later_calls() {
        let status = CommStatus::default();
        status.begin(&"ö".repeat(300), Some(Duration::from_secs(3)));
        status.enter("building");
        let (waiting, timeout) = status.waiting(status.next());
        assert_eq!((waiting.call.len(), waiting.step.as_str(), waiting.number), (200, "building", 0));
        assert_eq!((timeout, status.next()), (Some(Duration::from_secs(3)), 1));
        assert_eq!(status.check_alive(), Ok(()));
        status.expect("building", &[2, 3]);
        status.enter("building");
        assert_eq!(status.waiting(2).0.builders, [2, 3]);
        status.enter("loading");
        assert!(status.waiting(3).0.builders.is_empty());
        for text in ["first", "second"] {
            assert_eq!(status.fail(Error::new(Kind::Timeout, text)).message(), "first");
        }
        let error = status.check_alive().unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().ends_with("not used any more: first"));
    }
}
