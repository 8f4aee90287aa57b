//! Communicators of the host.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::jit::CommState;
use crate::parallel::mpi::{self, CommPlace, MpiComm};
use crate::process::interrupt::Interrupt;

use super::convert::invalid;

pub(crate) use mpi::RawComm as MPI_Comm;

/// Returns the library's side of a host's communicator; makes it, with an empty state, at the first call.
pub(super) fn attached(
    comm: MPI_Comm,
    call: &str,
    timeout: Option<Duration>,
    poll: Option<&Interrupt>,
) -> Result<Arc<MpiComm>> {
    mpi::attached(comm, call, timeout, poll, || Box::new(CommState::default()))
}

/// Returns what the ranks of a communicator have agreed on.
pub(super) fn state(comm: &MpiComm) -> Result<&CommState> {
    let text = "the communicator carries something else";
    comm.extra().downcast_ref().ok_or_else(|| Error::new(Kind::Internal, text))
}

/// Sets an output to the null communicator, and returns it so that it can be written on success.
///
/// # Errors
/// An invalid argument if the pointer is NULL.
///
/// # Safety
/// `pointer` is NULL, or may be written for the bytes of a communicator until the call returns.
pub(super) unsafe fn comm_output(pointer: *mut MPI_Comm, what: &str) -> Result<CommPlace> {
    if pointer.is_null() {
        return Err(invalid(format!("{what} is NULL")));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { CommPlace::new(pointer.cast()) })
}
