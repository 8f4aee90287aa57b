//! MPI for programs of this package: the command `dijitso` under mpiexec.

use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::parallel::Communicator;

use super::abi::{Handle, VERSION_SIZE};
use super::find::{Mpi, find_or_load};
use super::request::check;
use super::{MpiComm, attached, launcher};

/// An initialised MPI. Finalises it when dropped.
pub struct World {
    mpi: &'static Mpi,
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
                self.mpi.functions.finalize();
            } else {
                // MPI_Finalize would wait for late ranks without limit.
                self.mpi.functions.abort(Handle(self.mpi.constants.comm_world), 1);
            }
        }
    }
}

/// Initialises MPI, for the call `call`, in which this rank waits `timeout` at most. Collective over all
/// ranks that were started together.
///
/// # Errors
/// [`Kind::State`] if MPI was initialised before in this process, or if no library of MPI is found; those of
/// [`attached`].
pub fn world(call: &str, timeout: Option<Duration>) -> Result<World> {
    let mpi = find_or_load(launcher::libraries)?;
    let (mut initialised, mut finalised): (c_int, c_int) = (0, 0);
    // SAFETY: both may be called at any time, with a pointer to an int.
    unsafe {
        mpi.functions.initialized(&raw mut initialised);
        mpi.functions.finalized(&raw mut finalised);
    }
    if initialised != 0 || finalised != 0 {
        return Err(Error::new(Kind::State, "MPI is in use already"));
    }
    // SAFETY: null pointers stand for no arguments; MPI has not been initialised.
    let code = unsafe { mpi.functions.init(std::ptr::null_mut(), std::ptr::null_mut()) };
    check(code, "MPI_Init")?;
    let handle = Handle(mpi.constants.comm_world);
    let comm = attached(handle.into(), call, timeout, None, || Box::new(()));
    comm.map(|comm| World { mpi, comm }).inspect_err(|_| {
        // SAFETY: MPI is initialised. As not all ranks arrived, or MPI failed, MPI_Finalize could wait
        // without limit.
        unsafe { mpi.functions.abort(handle, 1) };
    })
}

/// Returns the first line of the version text of the MPI of this process, or of the one that started it. The
/// library of MPI is loaded if the process has none.
///
/// # Errors
/// [`Kind::State`] if no library of MPI is found.
pub fn library_version() -> Result<String> {
    let mpi = find_or_load(launcher::libraries)?;
    let mut text = vec![0_u8; VERSION_SIZE];
    let mut length: c_int = 0;
    // SAFETY: allowed at any time; the buffer has the size that MPI requires.
    unsafe { mpi.functions.get_library_version(text.as_mut_ptr().cast::<c_char>(), &raw mut length) };
    text.truncate(usize::try_from(length).unwrap_or_default().min(text.len()));
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim_end_matches('\0');
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}
