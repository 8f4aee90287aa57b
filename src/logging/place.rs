//! The rank that records carry.
//!
//! A thread that serves a call on a communicator has its rank there. Any other thread has the rank of the
//! process in the largest communicator that it has used.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Mutex;

use crate::sync::lock;

type RankAndSize = Option<(usize, usize)>;

thread_local! {
    /// Rank and size of this thread.
    static THREAD: Cell<RankAndSize> = const { Cell::new(None) };
    static SPEAKS: Cell<bool> = const { Cell::new(false) };
    /// True if this thread reports the progress of its builds; `None` if the ranks have not chosen.
    static REPORTS: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Rank and size in the largest communicator that this process has used.
static PROCESS: Mutex<RankAndSize> = Mutex::new(None);

/// Marks this thread as serving a call on a communicator until it is dropped.
#[derive(Debug)]
pub struct RankScope {
    before: RankAndSize,
    /// Keeps it on its thread.
    not_send: PhantomData<*const ()>,
}

/// Gives the records of this thread the rank `rank` of `size`, until the value is dropped.
#[must_use]
pub fn enter(rank: usize, size: usize) -> RankScope {
    let mut process = lock(&PROCESS);
    if process.is_none_or(|(_, known)| known < size) {
        *process = Some((rank, size));
    }
    RankScope { before: THREAD.replace(Some((rank, size))), not_send: PhantomData }
}

impl Drop for RankScope {
    fn drop(&mut self) {
        THREAD.set(self.before);
    }
}

/// Shows the records of this thread whatever its rank, until it is dropped.
#[derive(Debug)]
pub struct Voice {
    before: bool,
    /// Keeps it on its thread.
    not_send: PhantomData<*const ()>,
}

/// Shows the records of this thread whatever its rank if `chosen`: the ranks have chosen it to log for all.
/// Changes nothing otherwise.
#[must_use]
pub fn speak(chosen: bool) -> Voice {
    let before = SPEAKS.get();
    SPEAKS.set(before || chosen);
    Voice { before, not_send: PhantomData }
}

/// Returns true if this thread was chosen to log for all ranks.
#[must_use]
pub fn is_chosen() -> bool {
    SPEAKS.get()
}

impl Drop for Voice {
    fn drop(&mut self) {
        SPEAKS.set(self.before);
    }
}

/// The choice of who reports the progress of builds, on this thread, until it is dropped.
#[derive(Debug)]
pub struct ReportScope {
    before: Option<bool>,
    /// Keeps it on its thread.
    not_send: PhantomData<*const ()>,
}

/// Makes this thread report the progress of its builds, or not: of the ranks of a host that build, one does.
#[must_use]
pub fn report(chosen: bool) -> ReportScope {
    ReportScope { before: REPORTS.replace(Some(chosen)), not_send: PhantomData }
}

impl Drop for ReportScope {
    fn drop(&mut self) {
        REPORTS.set(self.before);
    }
}

/// Returns true if this thread reports the progress of its builds.
pub(super) fn reports() -> bool {
    REPORTS.get().unwrap_or_else(speaks)
}

fn process() -> RankAndSize {
    *lock(&PROCESS)
}

/// Returns rank and size, if they are known.
pub fn here() -> RankAndSize {
    THREAD.get().or_else(process)
}

/// Returns true if this thread logs for all ranks: it was chosen, or it is rank 0 of its communicator and of
/// the largest one.
pub(super) fn speaks() -> bool {
    is_chosen() || [THREAD.get(), process()].iter().flatten().all(|(rank, _)| *rank == 0)
}
