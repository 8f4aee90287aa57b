//! On which rank we are.
//!
//! A thread that serves a call on a communicator knows its rank there. Elsewhere the process is what it was in the
//! largest communicator that it has used.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

type Place = Option<(usize, usize)>;

thread_local! {
    static HERE: Cell<Place> = const { Cell::new(None) };
}

static PROCESS: Mutex<Place> = Mutex::new(None);

/// This thread serves a call on a communicator, until it is dropped.
#[derive(Debug)]
pub struct Here {
    before: Place,
    /// It belongs to its thread.
    stays: PhantomData<*const ()>,
}

/// From now on this thread serves a call on rank `rank` of a communicator of `size` ranks.
#[must_use]
pub fn enter(rank: usize, size: usize) -> Here {
    let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    if process.is_none_or(|(_, known)| known < size) {
        *process = Some((rank, size));
    }
    Here { before: HERE.replace(Some((rank, size))), stays: PhantomData }
}

impl Drop for Here {
    fn drop(&mut self) {
        HERE.set(self.before);
    }
}

fn process() -> Place {
    *PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rank and size, where they are known.
pub(super) fn here() -> Place {
    HERE.get().or_else(process)
}

/// Whether this process is the one that speaks for all. The first rank of a small communicator is not, if it is
/// another one among all that are known.
pub(super) fn speaks() -> bool {
    [HERE.get(), process()].iter().flatten().all(|(rank, _)| *rank == 0)
}
