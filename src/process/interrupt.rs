//! The interrupt of a call: the question, asked again and again while a call waits, whether to cancel it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::gettid;

use crate::error::{Error, Result};

/// The longest sleep between two questions. A wait that sleeps so long asks well within 50 ms, also on a busy
/// host.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The shortest time between two questions: waits that begin with short sleeps do not call the host at each.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);

/// The interrupt of a call. Clones are the same interrupt.
///
/// It asks only on the thread that made it, because a host such as an interpreter is asked on the thread that
/// called it. Once the answer was to cancel, it stays, and is seen by all threads.
#[derive(Clone)]
pub struct Interrupt(Arc<PollState>);

struct PollState {
    thread: Pid,
    ask: Box<dyn Fn() -> Option<Error> + Send + Sync>,
    /// The interrupt of the call that this one is made within.
    outer: Option<Interrupt>,
    origin: Instant,
    /// When it may ask again, in nanoseconds since `origin`.
    next: AtomicU64,
    reason: OnceLock<Error>,
}

impl Interrupt {
    /// Makes the interrupt of a call of this thread. `ask` returns an error to cancel the call with.
    #[must_use]
    pub fn new(ask: impl Fn() -> Option<Error> + Send + Sync + 'static) -> Self {
        Self::with_outer(Box::new(ask), None)
    }

    /// The same interrupt for a call that is made within another one: either cancels it.
    #[must_use]
    pub fn within(self, outer: Option<Self>) -> Self {
        if outer.is_none() {
            return self;
        }
        Self::with_outer(Box::new(move || self.reason().cloned()), outer)
    }

    fn with_outer(ask: Box<dyn Fn() -> Option<Error> + Send + Sync>, outer: Option<Self>) -> Self {
        let (thread, origin) = (gettid(), Instant::now());
        Self(Arc::new(PollState {
            thread,
            ask,
            outer,
            origin,
            next: AtomicU64::new(0),
            reason: OnceLock::new(),
        }))
    }

    /// Returns true if the answer was to cancel. Does not ask.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.reason.get().is_some()
    }

    /// Asks if it is time, and returns the error to cancel the call with; `None` if the call goes on.
    #[must_use]
    pub fn reason(&self) -> Option<&Error> {
        let question = &*self.0;
        if let Some(reason) = question.reason.get() {
            return Some(reason);
        }
        let now = question.origin.elapsed();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if question.thread != gettid() || nanoseconds(now) < question.next.load(Ordering::Relaxed) {
            return None;
        }
        question.next.store(nanoseconds(now + SHORTEST_INTERVAL), Ordering::Relaxed);
        let outer = || question.outer.as_ref().and_then(|outer| outer.reason().cloned());
        let reason = (question.ask)().or_else(outer)?;
        Some(question.reason.get_or_init(|| reason))
    }

    /// Asks if it is time.
    ///
    /// # Errors
    /// The error to cancel the call with.
    pub fn check(&self) -> Result<()> {
        self.reason().map_or(Ok(()), |reason| Err(reason.clone()))
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interrupt").field(&self.0.reason.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    /// Returns an interrupt that cancels once the flag is set, and counts its questions.
    fn interrupt(text: &'static str) -> (Interrupt, Arc<AtomicBool>, Arc<AtomicUsize>) {
        let (flag, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (own_flag, own_count) = (Arc::clone(&flag), Arc::clone(&count));
        let ask = move || {
            own_count.fetch_add(1, Ordering::SeqCst);
            own_flag.load(Ordering::SeqCst).then(|| Error::new(Kind::Cancelled, text))
        };
        (Interrupt::new(ask), flag, count)
    }

    fn wait_for(interrupt: &Interrupt) -> String {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) {
            if let Some(reason) = interrupt.reason() {
                return reason.message().to_owned();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        String::new()
    }

    #[test]
    fn the_answer_to_cancel_stays_and_is_not_asked_for_again() {
        let (interrupt, flag, count) = interrupt("enough");
        assert!(interrupt.check().is_ok() && interrupt.check().is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1, "not asked twice in a moment");
        flag.store(true, Ordering::SeqCst);
        assert_eq!(wait_for(&interrupt), "enough");
        flag.store(false, Ordering::SeqCst);
        let asked = count.load(Ordering::SeqCst);
        assert_eq!(interrupt.check().unwrap_err().kind(), Kind::Cancelled);
        assert_eq!(count.load(Ordering::SeqCst), asked);
    }

    #[test]
    fn other_threads_do_not_ask_and_see_the_answer() {
        let (interrupt, flag, count) = interrupt("enough");
        flag.store(true, Ordering::SeqCst);
        std::thread::scope(|scope| {
            assert!(scope.spawn(|| interrupt.check().is_ok()).join().unwrap());
            assert_eq!(count.load(Ordering::SeqCst), 0);
            assert!(interrupt.check().is_err());
            assert!(scope.spawn(|| interrupt.check().is_err()).join().unwrap());
        });
    }

    #[test]
    fn a_call_within_another_is_cancelled_by_either() {
        let ((inner, inner_flag, _), (outer, _, _)) = (interrupt("inner"), interrupt("outer"));
        let both = inner.within(Some(outer.clone()));
        assert!(both.check().is_ok());
        inner_flag.store(true, Ordering::SeqCst);
        assert_eq!(wait_for(&both), "inner");
        assert!(outer.check().is_ok(), "the outer call goes on");
        let ((inner, _, _), (outer, outer_flag, _)) = (interrupt("inner"), interrupt("outer"));
        let both = inner.within(Some(outer.clone()));
        outer_flag.store(true, Ordering::SeqCst);
        assert_eq!((wait_for(&both), wait_for(&outer)), ("outer".to_owned(), "outer".to_owned()));
    }
}
