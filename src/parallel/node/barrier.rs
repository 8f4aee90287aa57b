//! Numbers in shared memory on which ranks sleep (futexes), and the barrier made of them.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::thread::futex;

/// Set in a number that never changes again.
pub const FAILED: u32 = 1 << 31;

/// The reason for which [`Word::sleep`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The number has changed.
    Changed,
    /// The time was over, or a signal came.
    InTime,
    /// Another rank woke this one, and the number is the same.
    ForNothing,
}

/// A number that counts and on which ranks sleep. Zeros are a valid one.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Word {
    value: AtomicU32,
    /// The number of ranks that sleep or are about to. Too large if one was killed in its sleep.
    sleepers: AtomicU32,
}

impl Word {
    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    /// Changes the number from `before` to the next one and wakes all. Returns false, and changes nothing, if it
    /// is another one by now.
    pub fn advance(&self, before: u32) -> bool {
        self.replace(before, before.wrapping_add(1) & !FAILED)
    }

    /// Marks the number as failed and wakes all. Returns false, and changes nothing, if it is not `before`.
    pub fn fail(&self, before: u32) -> bool {
        self.replace(before, before | FAILED)
    }

    /// Marks the number as failed, whatever it is, and wakes all.
    pub fn fail_always(&self) {
        self.value.fetch_or(FAILED, Ordering::SeqCst);
        self.wake();
    }

    fn replace(&self, before: u32, after: u32) -> bool {
        let replaced =
            self.value.compare_exchange(before, after, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if replaced {
            self.wake();
        }
        replaced
    }

    fn wake(&self) {
        // A rank that counts itself after this reads the new number before it sleeps.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _ = futex::wake(&self.value, futex::Flags::empty(), i32::MAX as u32);
        }
    }

    /// Sleeps while the number is `before`, for the time `limit` at most. May return earlier.
    pub fn sleep(&self, before: u32, limit: Duration) -> Woken {
        let Ok(timespec) = Timespec::try_from(limit) else { return Woken::InTime };
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let slept = futex::wait(&self.value, futex::Flags::empty(), before, Some(&timespec));
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        match slept {
            _ if self.get() != before => Woken::Changed,
            Ok(()) => Woken::ForNothing,
            Err(Errno::INTR | Errno::TIMEDOUT | Errno::AGAIN) => Woken::InTime,
            Err(_) => {
                std::thread::sleep(limit);
                Woken::InTime
            }
        }
    }
}

/// A barrier in shared memory. Zeros are a valid one.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Barrier {
    arrived: Word,
    /// Changes when all participants have arrived, if one of them has to do something before they go on.
    pub ready: Word,
    /// Changes when all participants may go on.
    pub done: Word,
}

impl Barrier {
    /// Counts this rank. Returns true on the last one of `participants`, and wakes none.
    pub fn arrive(&self, participants: usize) -> bool {
        let last = self.arrived.value.fetch_add(1, Ordering::AcqRel) as usize + 1 == participants;
        if last {
            // No rank arrives at the next barrier before `done` changes.
            self.arrived.value.store(0, Ordering::Relaxed);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_sleeper_is_woken_by_a_change_and_not_by_less() {
        let word = Word::default();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| word.sleep(0, LONG));
            while word.sleepers.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert!(!word.advance(5) && !word.fail(5));
            assert!(word.advance(0));
            assert_eq!(sleeper.join().unwrap(), Woken::Changed);
        });
        assert_eq!(word.sleep(0, LONG), Woken::Changed, "the change came before the sleep");
        assert_eq!(word.sleep(1, Duration::from_millis(1)), Woken::InTime);
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn either_the_change_or_the_failure_comes_first() {
        for _ in 0..200 {
            let word = Word::default();
            let (advanced, failed) = std::thread::scope(|scope| {
                let advance = scope.spawn(|| word.advance(0));
                (word.fail(0), advance.join().unwrap())
            });
            assert!(advanced != failed);
            assert_eq!(word.get() & FAILED != 0, advanced);
        }
        let word = Word { value: AtomicU32::new(!FAILED), ..Word::default() };
        assert!(word.advance(!FAILED));
        assert_eq!(word.get(), 0, "the largest number is followed by 0");
        word.fail_always();
        assert!(!word.advance(0));
    }
}
