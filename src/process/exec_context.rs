//! The execution context of a build: on which cores its commands run, until when, and whether it is
//! cancelled, by another thread or by the host.
//!
//! It is passed on with the build, so that everything that the build runs is run in the same way.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};

use super::affinity::Cores;
use super::interrupt::{Interrupt, POLL_INTERVAL};
use super::phase::{Phase, PhaseClock};

/// The execution context of a build. Clones share the two flags.
#[derive(Clone, Debug, Default)]
pub struct ExecContext {
    /// The cores for its commands.
    pub cores: Cores,
    /// When the ranks that wait for the build stop waiting; `None` is never.
    pub deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
    hurried: Arc<AtomicBool>,
    interrupt: Option<Interrupt>,
    clock: Option<PhaseClock>,
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

    /// The same context for a call that `interrupt` cancels.
    #[must_use]
    pub fn interrupted_by(self, interrupt: Option<Interrupt>) -> Self {
        Self { interrupt, ..self }
    }

    /// The same context for a build whose phases `clock` times, if there is one.
    #[must_use]
    pub fn timed_by(self, clock: Option<PhaseClock>) -> Self {
        Self { clock, ..self }
    }

    /// The same context with a clock, which is made if there is none, and the clock.
    #[must_use]
    pub fn with_clock(self) -> (Self, PhaseClock) {
        let clock = self.clock.clone().unwrap_or_default();
        (self.timed_by(Some(clock.clone())), clock)
    }

    /// True if a clock times the build.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.clock.is_some()
    }

    /// Begins a phase of the build, for its clock.
    pub fn enter(&self, phase: Phase) {
        self.clock.iter().for_each(|clock| clock.enter(phase));
    }

    /// Notes the memory that a command has used at most, in bytes, for the clock.
    pub fn note_memory(&self, bytes: u64) {
        self.clock.iter().for_each(|clock| clock.note_memory(bytes));
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

    /// True if the build is cancelled. May ask the host: a wait asks this every [`ExecContext::nap`].
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
            || self.interrupt.as_ref().is_some_and(|own| own.reason().is_some())
    }

    /// Checks that the build of `subject` is not cancelled.
    ///
    /// # Errors
    /// The error of the interrupt, of [`Kind::Cancelled`]; [`Kind::State`] if another thread has cancelled
    /// it.
    pub fn check(&self, subject: &str) -> Result<()> {
        self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)?;
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::State, format!("the build of {subject} was cancelled")));
        }
        Ok(())
    }

    /// Returns the time to sleep at once in a wait: `longest`, or less if the host is to be asked meanwhile.
    #[must_use]
    pub fn nap(&self, longest: Duration) -> Duration {
        if self.interrupt.is_some() { longest.min(POLL_INTERVAL) } else { longest }
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
    fn an_interrupt_cancels_with_its_error_and_shortens_sleeps() {
        const LONG: Duration = Duration::from_secs(1);
        let context = ExecContext::default();
        assert!(context.nap(LONG) == LONG && context.check("form").is_ok());
        context.cancel();
        assert_eq!(context.check("form").unwrap_err().kind(), Kind::State);
        let interrupt = Interrupt::new(|| Some(Error::new(Kind::Cancelled, "enough")));
        let context = ExecContext::default().interrupted_by(Some(interrupt));
        assert!(context.nap(LONG) == POLL_INTERVAL && context.is_cancelled());
        assert_eq!(context.check("form").unwrap_err(), Error::new(Kind::Cancelled, "enough"));
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
