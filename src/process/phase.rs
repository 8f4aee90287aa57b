//! The phases of a build, and the clock that times them. A build that is watched carries the clock in its
//! [`ExecContext`](super::exec_context::ExecContext); others carry none, and pay nothing.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::sync::lock;

/// A phase of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looks for the result in the cache.
    LookUp,
    /// Runs the callback that generates the source.
    Generate,
    /// Runs the callback or the command of a task.
    Run,
    /// Waits for another program that builds the same.
    WaitForProgram,
    /// Waits for a compiler slot of the host.
    WaitForSlot,
    /// Runs the compiler.
    Compile,
    /// Publishes the result.
    Publish,
}

impl Phase {
    /// Returns the word for the phase, in messages and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::LookUp => "look-up",
            Self::Generate => "generate",
            Self::Run => "run",
            Self::WaitForProgram => "wait-for-program",
            Self::WaitForSlot => "wait-for-slot",
            Self::Compile => "compile",
            Self::Publish => "publish",
        }
    }
}

/// Times the phases of one build. Clones share it.
#[derive(Clone, Debug)]
pub struct PhaseClock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    /// Seconds since 1970.
    begin: f64,
    ended: Vec<(Phase, f64)>,
    current: Option<(Phase, Instant)>,
    memory: u64,
}

impl Default for PhaseClock {
    fn default() -> Self {
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let (ended, current, memory) = (Vec::new(), None, 0);
        Self(Arc::new(Mutex::new(ClockState { begin, ended, current, memory })))
    }
}

impl PhaseClock {
    /// Ends the current phase and begins another.
    pub fn enter(&self, phase: Phase) {
        let mut state = lock(&self.0);
        if state.current.is_some_and(|(current, _)| current == phase) {
            return;
        }
        state.end();
        state.current = Some((phase, Instant::now()));
    }

    /// Returns the current phase.
    #[must_use]
    pub fn current(&self) -> Option<Phase> {
        lock(&self.0).current.map(|(phase, _)| phase)
    }

    /// Notes the memory that a command has used at most, in bytes.
    pub fn note_memory(&self, bytes: u64) {
        let mut state = lock(&self.0);
        state.memory = state.memory.max(bytes);
    }

    /// Ends the current phase. Returns when the first one began, in seconds since 1970; the phases in order
    /// with their seconds; and the most memory that a command has used, 0 if unknown.
    #[must_use]
    pub fn stop(&self) -> (f64, Vec<(Phase, f64)>, u64) {
        let mut state = lock(&self.0);
        state.end();
        (state.begin, std::mem::take(&mut state.ended), state.memory)
    }
}

impl ClockState {
    fn end(&mut self) {
        if let Some((phase, since)) = self.current.take() {
            let seconds = since.elapsed().as_secs_f64();
            match self.ended.last_mut() {
                Some((last, sum)) if *last == phase => *sum += seconds,
                _ => self.ended.push((phase, seconds)),
            }
        }
    }
}

thread_local! {
    /// Without a destructor, so that calls from static destructors can use it. It is empty between builds.
    static CURRENT: RefCell<ManuallyDrop<Option<PhaseClock>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The builds that this thread starts are timed by a clock, until this is dropped.
pub struct TimedThread {
    before: Option<PhaseClock>,
}

/// Times the builds that this thread starts by `clock`.
#[must_use]
pub fn time_thread(clock: PhaseClock) -> TimedThread {
    TimedThread { before: CURRENT.with_borrow_mut(|current| current.replace(clock)) }
}

impl Drop for TimedThread {
    fn drop(&mut self) {
        let before = self.before.take();
        // What is replaced is dropped here: nothing drops it when the thread ends.
        drop(CURRENT.with_borrow_mut(|current| std::mem::replace(&mut **current, before)));
    }
}

/// Returns the clock of this thread.
#[must_use]
pub fn clock_of_thread() -> Option<PhaseClock> {
    CURRENT.with_borrow(|current| (**current).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_has_the_phases_in_order_and_joins_equal_ones() {
        let clock = PhaseClock::default();
        assert_eq!(clock.current(), None);
        for phase in [Phase::LookUp, Phase::Compile, Phase::Compile, Phase::LookUp] {
            clock.enter(phase);
        }
        clock.note_memory(7);
        clock.note_memory(3);
        assert_eq!(clock.current(), Some(Phase::LookUp));
        let (begin, phases, memory) = clock.stop();
        assert!(begin > 0.0 && memory == 7);
        let words: Vec<&str> = phases.iter().map(|(phase, _)| phase.word()).collect();
        assert_eq!(words, ["look-up", "compile", "look-up"]);
    }

    #[test]
    fn the_clock_of_a_thread_ends_with_its_guard() {
        assert!(clock_of_thread().is_none());
        let guard = time_thread(PhaseClock::default());
        assert!(clock_of_thread().is_some());
        drop(guard);
        assert!(clock_of_thread().is_none());
    }
}
