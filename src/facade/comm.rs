//! Communicators of hosts in Rust.

use crate::capi::comm::MPI_Comm;

/// A communicator of the host, of any MPI and any binding of it. [`Comm::none`] stands for a call without
/// ranks.
///
/// The library finds the MPI of the process when it runs. So it is built without MPI, and this type is made
/// from the bytes of a handle:
///
/// * the crate `mpi` (rsmpi): `unsafe { Comm::from_raw(world.as_raw()) }`;
/// * `mpi-sys` or a binding of your own: `unsafe { Comm::from_raw(comm) }`, with `comm` an `MPI_Comm`;
/// * a Fortran integer, as many libraries hand it around: `unsafe { Comm::from_fortran(integer) }`.
#[derive(Clone, Copy, Debug)]
pub struct Comm(pub(super) MPI_Comm);

impl Comm {
    /// Returns no communicator: the call concerns this process alone and touches no MPI.
    #[must_use]
    pub fn none() -> Self {
        Self(MPI_Comm::NULL)
    }

    /// Takes a handle of the MPI that this process runs: a value of its type `MPI_Comm`.
    ///
    /// A value of a wrong size is no communicator; the call that gets it fails with
    /// [`Kind::Mpi`](crate::Kind::Mpi).
    ///
    /// # Safety
    /// `comm` is `MPI_COMM_NULL` or a communicator that is valid until the calls that get it have returned.
    #[must_use]
    pub unsafe fn from_raw<C: Copy>(comm: C) -> Self {
        // SAFETY: the address of a value of this size, which is a handle as the caller promises.
        Self(unsafe { MPI_Comm::at((&raw const comm).cast(), size_of::<C>()) })
    }

    /// Takes a communicator as an integer of Fortran, as `MPI_Comm_c2f` gives it.
    ///
    /// # Safety
    /// `comm` is `MPI_COMM_NULL` or a communicator that is valid until the calls that get it have returned.
    #[must_use]
    pub unsafe fn from_fortran(comm: i32) -> Self {
        Self(MPI_Comm::of_fortran(comm))
    }
}

impl Default for Comm {
    fn default() -> Self {
        Self::none()
    }
}
