//! MPI for programs of this package: the command `dijitso` under mpiexec.

use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::time::Duration;

use mpi_sys::{
    MPI_Abort, MPI_Finalize, MPI_Finalized, MPI_Get_library_version, MPI_Init, MPI_Initialized,
    MPI_MAX_LIBRARY_VERSION_STRING, RSMPI_COMM_WORLD,
};

use crate::error::{Error, Kind, Result};
use crate::parallel::Communicator;

use super::request::check;
use super::{MpiComm, attached};

/// An initialised MPI. Finalises it when dropped.
pub struct World {
    comm: Arc<MpiComm>,
}

impl World {
    /// Returns the communicator of all ranks that were started together.
    #[must_use]
    pub fn comm(&self) -> &MpiComm {
        &self.comm
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: MPI was initialised by `world`, on this thread, and is finalised only here.
        unsafe {
            if self.comm.check_alive().is_ok() {
                MPI_Finalize();
            } else {
                // MPI_Finalize would wait for late ranks without limit.
                MPI_Abort(RSMPI_COMM_WORLD, 1);
            }
        }
    }
}

/// Initialises MPI, for the call `call`, in which this rank waits `timeout` at most. Collective over all
/// ranks that were started together.
///
/// # Errors
/// [`Kind::State`] if MPI was initialised before in this process; those of [`attached`].
pub fn world(call: &str, timeout: Option<Duration>) -> Result<World> {
    let (mut initialised, mut finalised): (c_int, c_int) = (0, 0);
    // SAFETY: both may be called at any time, with a pointer to an int.
    unsafe {
        MPI_Initialized(&raw mut initialised);
        MPI_Finalized(&raw mut finalised);
    }
    if initialised != 0 || finalised != 0 {
        return Err(Error::new(Kind::State, "MPI is in use already"));
    }
    // SAFETY: null pointers stand for no arguments; MPI has not been initialised.
    check(unsafe { MPI_Init(std::ptr::null_mut(), std::ptr::null_mut()) }, "MPI_Init")?;
    // SAFETY: a constant of the MPI library.
    let handle = unsafe { RSMPI_COMM_WORLD };
    let comm = attached(handle, call, timeout, None, || Box::new(()));
    comm.map(|comm| World { comm }).inspect_err(|_| {
        // SAFETY: MPI is initialised. As not all ranks arrived, or MPI failed, MPI_Finalize could wait
        // without limit.
        unsafe { MPI_Abort(handle, 1) };
    })
}

/// Returns the first line of the MPI library's version text.
#[must_use]
pub fn library_version() -> String {
    let mut text = vec![0_u8; MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
    let mut length: c_int = 0;
    // SAFETY: allowed at any time; the buffer has the size that MPI requires.
    unsafe { MPI_Get_library_version(text.as_mut_ptr().cast::<c_char>(), &raw mut length) };
    text.truncate(usize::try_from(length).unwrap_or_default().min(text.len()));
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim_end_matches('\0');
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
