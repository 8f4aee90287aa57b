//! Times and ways of reporting work that takes long: after 2 s, after 30 s, then each minute.
//!
//! The variable `DIJITSO_PROGRESS` chooses: `0` for nothing, `plain` for lines also on a terminal.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{LOGGING, Sink, TARGET, WARNING, place, terminal};

/// The name of the variable.
pub const VARIABLE: &str = "DIJITSO_PROGRESS";

/// Work that takes less is not reported.
pub const QUIET: Duration = Duration::from_secs(2);

/// Times of the first and the second line, from the beginning of the work.
const FIRST: [Duration; 2] = [QUIET, Duration::from_secs(30)];

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
    /// Returns the time that the work has taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Returns the time that the work has taken if a line is due now.
    pub fn due(&mut self) -> Option<Duration> {
        self.due_at(self.since.elapsed())
    }

    /// Returns the time until the next line is due.
    #[must_use]
    pub fn next_due(&self) -> Duration {
        self.next.saturating_sub(self.since.elapsed())
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

/// The way in which progress is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Not at all.
    Nothing,
    /// By records of the log, now and then.
    Records,
    /// By a line on the terminal that is updated in place.
    InPlace,
}

impl Report {
    /// Chooses the way by the log and the environment.
    #[must_use]
    pub fn choose() -> Self {
        let wish = std::env::var_os(VARIABLE).unwrap_or_default();
        if SILENT.load(Ordering::Relaxed)
            || wish == "0"
            || !log::log_enabled!(target: TARGET, log::Level::Warn)
        {
            return Self::Nothing;
        }
        let Some(logging) = LOGGING.get().filter(|_| super::install()) else { return Self::Records };
        let is_shown_here = logging.level() <= WARNING && matches!(logging.sink, Sink::Stderr);
        if wish == "plain" || !is_shown_here || logging.has_handler() || !terminal::is_usable() {
            return Self::Records;
        }
        Self::InPlace
    }
}

static SILENT: AtomicBool = AtomicBool::new(false);

/// Reports nothing from now on: the program shows its builds in its own way.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Returns true if this thread reports the progress of its builds: it was chosen by [`place::report`], or logs for
/// all ranks, or all ranks log.
#[must_use]
pub fn reports() -> bool {
    let all_ranks = LOGGING.get().is_some_and(|logging| logging.all_ranks);
    all_ranks || place::reports()
}

/// Writes a record about progress, for the ranks of this host. `is_shown`: people have seen it on the terminal.
pub fn record(text: &str, is_shown: bool) {
    super::progress_record(text, is_shown);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_after_2_and_30_seconds_and_then_each_minute() {
        let mut progress = Progress::default();
        let due: Vec<u64> =
            (0..200).filter(|second| progress.due_at(Duration::from_secs(*second)).is_some()).collect();
        assert_eq!(due, [2, 30, 90, 150]);
        assert_eq!(Progress::default().due_at(Duration::from_millis(1999)), None);
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
}
