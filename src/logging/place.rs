//! On which rank we are.
//!
//! A thread that serves a call on a communicator knows its rank there. Elsewhere the process is what it was in the
//! largest communicator that it has used.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Mutex;

use crate::sync::lock;

type RankAndSize = Option<(usize, usize)>;

thread_local! {
    static HERE: Cell<RankAndSize> = const { Cell::new(None) };
    static SPEAKS: Cell<bool> = const { Cell::new(false) };
}

static PROCESS: Mutex<RankAndSize> = Mutex::new(None);

/// This thread serves a call on a communicator, until it is dropped.
#[derive(Debug)]
pub struct RankScope {
    before: RankAndSize,
    /// It belongs to its thread.
    stays: PhantomData<*const ()>,
}

/// From now on this thread serves a call on rank `rank` of a communicator of `size` ranks.
#[must_use]
pub fn enter(rank: usize, size: usize) -> RankScope {
    let mut process = lock(&PROCESS);
    if process.is_none_or(|(_, known)| known < size) {
        *process = Some((rank, size));
    }
    RankScope { before: HERE.replace(Some((rank, size))), stays: PhantomData }
}

impl Drop for RankScope {
    fn drop(&mut self) {
        HERE.set(self.before);
    }
}

/// This thread speaks for all ranks, until it is dropped.
#[derive(Debug)]
pub struct Voice {
    before: bool,
    /// It belongs to its thread.
    stays: PhantomData<*const ()>,
}

/// Shows what this thread has to say from now on, whatever its rank, if `chosen`: the ranks have chosen it to speak for
/// all. Otherwise all is as before.
#[must_use]
pub fn speak(chosen: bool) -> Voice {
    let before = SPEAKS.get();
    SPEAKS.set(before || chosen);
    Voice { before, stays: PhantomData }
}

/// Whether this thread was chosen to speak for all ranks.
#[must_use]
pub fn is_chosen() -> bool {
    SPEAKS.get()
}

impl Drop for Voice {
    fn drop(&mut self) {
        SPEAKS.set(self.before);
    }
}

fn process() -> RankAndSize {
    *lock(&PROCESS)
}

/// Rank and size, where they are known.
pub(super) fn here() -> RankAndSize {
    HERE.get().or_else(process)
}

/// Whether this process is the one that speaks for all. The first rank of a small communicator is not, if it is
/// another one among all that are known.
pub(super) fn speaks() -> bool {
    is_chosen() || [HERE.get(), process()].iter().flatten().all(|(rank, _)| *rank == 0)
}
