//! Communicators of the host, in a library with MPI or without.

use crate::error::{Error, Kind, Result};

#[cfg(feature = "mpi")]
mod with_mpi {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Error, Kind, Result};
    use crate::jit::CommState;
    use crate::parallel::mpi::{self, MpiComm};
    use crate::process::interrupt::Interrupt;

    pub(in crate::capi) use mpi::RawComm as MPI_Comm;
    pub(in crate::capi) use mpi::is_null;

    /// Returns the library's side of a host's communicator; makes it, with an empty state, at the first call.
    pub(in crate::capi) fn attached(
        comm: MPI_Comm,
        call: &str,
        timeout: Option<Duration>,
        poll: Option<&Interrupt>,
    ) -> Result<Arc<MpiComm>> {
        mpi::attached(comm, call, timeout, poll, || Box::new(CommState::default()))
    }

    /// Returns what the ranks of a communicator have agreed on.
    pub(in crate::capi) fn state(comm: &MpiComm) -> Result<&CommState> {
        let text = "the communicator carries something else";
        comm.extra().downcast_ref().ok_or_else(|| Error::new(Kind::Internal, text))
    }
}

#[cfg(feature = "mpi")]
pub(super) use with_mpi::*;

#[cfg(not(feature = "mpi"))]
mod without_mpi {
    use super::{Error, Kind, Result};

    /// Without MPI there is no communicator but the null one.
    pub(in crate::capi) type MPI_Comm = *mut std::ffi::c_void;

    pub(in crate::capi) fn is_null(comm: MPI_Comm) -> bool {
        comm.is_null()
    }

    /// Returns the error of a call with a communicator.
    pub(in crate::capi) fn unsupported<T>() -> Result<T> {
        let text = "this library was built without MPI and takes no communicator but the null one";
        Err(Error::new(Kind::Unsupported, text))
    }
}

#[cfg(not(feature = "mpi"))]
pub(super) use without_mpi::*;
