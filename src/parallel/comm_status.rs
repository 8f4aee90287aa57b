//! What a communicator knows of the call that it serves: which step, how long ranks wait, and why it is broken.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::lock;

use super::timeout::{Waiting, cut};

/// How long a rank waits before the log says for whom: a quarter of what it waits at most, but neither less than 3 nor
/// more than 30 seconds.
#[must_use]
pub fn warn_after(timeout: Option<Duration>) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(3);
    const LONGEST: Duration = Duration::from_secs(30);
    timeout.map_or(LONGEST, |timeout| (timeout / 4).clamp(SHORTEST, LONGEST))
}

/// Bytes of a call's name that are kept: names are no longer, unless they are wrong.
const NAME: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct CommStatus {
    doing: Mutex<CurrentStep>,
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
        lock(&self.doing)
    }

    /// A call begins, in which ranks wait so long for one another; `None` is for ever.
    pub fn begin(&self, call: &str, timeout: Option<Duration>) {
        let call = cut(call, NAME).to_owned();
        *self.current() = CurrentStep { call, step: "beginning".to_owned(), builders: Vec::new(), timeout };
    }

    /// The next collective is the end of this step.
    pub fn enter(&self, step: &str) {
        let mut doing = self.current();
        if doing.step != step {
            step.clone_into(&mut doing.step);
            doing.builders.clear();
        }
    }

    /// The next collective is the end of this step, in which these ranks compile.
    pub fn expect(&self, step: &str, builders: &[usize]) {
        self.enter(step);
        builders.clone_into(&mut self.current().builders);
    }

    /// The number of the collective that begins now.
    pub fn next(&self) -> u64 {
        self.collectives.fetch_add(1, Ordering::Relaxed)
    }

    /// What this rank waits in, and how long it may.
    pub fn waiting(&self, number: u64) -> (Waiting, Option<Duration>) {
        let doing = self.current();
        let (call, step, builders) = (doing.call.clone(), doing.step.clone(), doing.builders.clone());
        (Waiting { number, call, step, builders, waited: Duration::ZERO }, doing.timeout)
    }

    /// Whether anything can still be agreed on. This costs one load of memory.
    ///
    /// # Errors
    /// Why not.
    pub fn health(&self) -> Result<()> {
        match self.broken.get() {
            None => Ok(()),
            Some(error) => {
                Err(error.clone().context("this communicator failed before and is not used any more"))
            }
        }
    }

    /// What broke it, if anything did, as it was said first.
    ///
    /// # Errors
    /// That.
    pub fn first_failure(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// From now on nothing can be agreed on, for the reason that was given first.
    pub fn fail(&self, error: Error) -> Error {
        self.broken.get_or_init(|| error).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_log_speaks_before_the_time_is_over_and_not_of_short_waits() {
        let seconds = |timeout| warn_after(timeout).as_secs();
        let limits = [1, 12, 60, 120, 14400].map(|limit| seconds(Some(Duration::from_secs(limit))));
        assert_eq!((limits, seconds(None)), ([3, 3, 15, 30, 30], 30));
    }

    #[test]
    fn what_broke_it_first_is_the_reason_of_all_later_calls() {
        let watch = CommStatus::default();
        watch.begin(&"ö".repeat(300), Some(Duration::from_secs(3)));
        watch.enter("building");
        let (waiting, timeout) = watch.waiting(watch.next());
        assert_eq!((waiting.call.len(), waiting.step.as_str(), waiting.number), (200, "building", 0));
        assert_eq!((timeout, watch.next()), (Some(Duration::from_secs(3)), 1));
        assert_eq!(watch.health(), Ok(()));
        watch.expect("building", &[2, 3]);
        watch.enter("building");
        assert_eq!(watch.waiting(2).0.builders, [2, 3]);
        watch.enter("loading");
        assert!(watch.waiting(3).0.builders.is_empty());
        for text in ["first", "second"] {
            assert_eq!(watch.fail(Error::new(Kind::Timeout, text)).message(), "first");
        }
        let error = watch.health().unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().ends_with("not used any more: first"));
    }
}
