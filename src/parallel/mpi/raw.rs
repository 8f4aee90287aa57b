//! Communicators as hosts pass them, before it is known which MPI they are of.

use std::ffi::c_void;

use crate::error::{Error, Kind, Result};

use super::abi::{Constants, Family, Handle, MPICH, STANDARD};
use super::find::{self, Mpi};

/// A communicator of the host: the word that a C function gets for an `MPI_Comm`. Of a handle of 4 bytes the
/// upper half is undefined.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct RawComm(usize);

/// The integer of Fortran that means no communicator, with every MPI. No MPI makes it.
pub const FORTRAN_NULL: i32 = i32::MIN;

/// Words that no MPI has, for communicators that could not be read. Calls refuse them on all ways in.
const WRONG_SIZE: usize = usize::MAX;
const WRONG_INTEGER: usize = usize::MAX - 1;
const NOT_RUNNING: usize = usize::MAX - 2;

impl RawComm {
    /// The word that means no communicator, with every MPI.
    pub const NULL: Self = Self(0);

    /// Reads a communicator of `size` bytes at an address. NULL stands for no communicator.
    ///
    /// # Safety
    /// `address` is NULL, or may be read for `size` bytes.
    #[must_use]
    pub unsafe fn at(address: *const c_void, size: usize) -> Self {
        if address.is_null() {
            return Self::NULL;
        }
        let fits = find::find().map_or([4, 8].contains(&size), |mpi| mpi.constants.handle_size == size);
        if !fits {
            return Self(WRONG_SIZE);
        }
        // SAFETY: promised by the caller.
        unsafe {
            match size {
                4 => Self(address.cast::<u32>().read_unaligned() as usize),
                8 => Self(address.cast::<usize>().read_unaligned()),
                _ => Self(WRONG_SIZE),
            }
        }
    }

    /// Converts an integer of Fortran.
    #[must_use]
    pub fn of_fortran(integer: i32) -> Self {
        if integer == FORTRAN_NULL {
            return Self::NULL;
        }
        // The call that gets this word says that there is no MPI.
        let Ok(mpi) = find::find() else { return Self(NOT_RUNNING) };
        if mpi.family.fortran_null() == Some(integer) {
            return Self::NULL;
        }
        // Open MPI ends a program that converts while MPI does not run.
        if find::check_running(mpi).is_err() {
            return Self(NOT_RUNNING);
        }
        let handle = find::of_fortran(mpi, integer).filter(|handle| handle.0 != 0);
        handle.map_or(Self(WRONG_INTEGER), |handle| Self(handle.0))
    }

    /// Tells if this is the null communicator.
    #[must_use]
    pub fn is_null(self) -> bool {
        if self.0 == 0 {
            return true;
        }
        let (size, null) = find::handles();
        let word = if size == 4 { self.0 & 0xffff_ffff } else { self.0 };
        // A part of the program may have been compiled with the mpi.h of another MPI.
        [0, null, MPICH.comm_null, STANDARD.comm_null].contains(&word)
    }

    /// Returns the handle that this is for the MPI of the process.
    ///
    /// # Errors
    /// [`Kind::State`] if the process has no MPI, [`Kind::Mpi`] if this is no communicator of its MPI.
    pub(super) fn handle(self) -> Result<(&'static Mpi, Handle)> {
        let mpi = find::find()?;
        let refuse = |text: String| {
            let text = format!("{text}; the MPI of this process is {} ({})", mpi.family.name(), mpi.place);
            Err(Error::new(Kind::Mpi, text))
        };
        let size = mpi.constants.handle_size;
        match self.0 {
            WRONG_SIZE => refuse(format!("comm_size is not that of a communicator, which has {size} bytes")),
            WRONG_INTEGER => refuse("comm is no communicator of Fortran".to_owned()),
            NOT_RUNNING => {
                find::check_running(mpi)?;
                Err(Error::new(Kind::State, "MPI did not run when a communicator of Fortran was passed"))
            }
            word if !is_plausible(word, mpi) => {
                refuse(format!("comm ({word:#x}) is no communicator of the MPI of this process"))
            }
            word => Ok((mpi, Handle(mpi.constants.mask(word)))),
        }
    }
}

/// Tells if a word may be a communicator of an MPI. One of another MPI would be followed into memory that is
/// not there.
fn is_plausible(word: usize, mpi: &Mpi) -> bool {
    /// The lowest address that a program may use.
    const LOWEST_ADDRESS: usize = 4096;
    let predefined = |it: Constants| [it.comm_null, it.comm_world, it.comm_self].contains(&word);
    match mpi.family {
        // Bits 26 to 29 are the kind of object, 1 for communicators; bits 30 and 31 tell where it is.
        Family::Mpich => {
            let word = mpi.constants.mask(word);
            (word >> 26) & 0xf == 1 && word >> 30 != 0
        }
        Family::OpenMpi => word >= LOWEST_ADDRESS && !predefined(MPICH),
        Family::Standard => predefined(STANDARD) || (word >= LOWEST_ADDRESS && !predefined(MPICH)),
        Family::Other => true,
    }
}

/// Writes a communicator of the MPI of the process to where a host wants it.
#[derive(Clone, Copy, Debug)]
pub struct CommPlace(*mut c_void);

impl CommPlace {
    /// Takes a place, and writes the null communicator to it.
    ///
    /// # Safety
    /// `place` may be written for the bytes of a communicator.
    #[must_use]
    pub unsafe fn new(place: *mut c_void) -> Self {
        let (size, null) = find::handles();
        // SAFETY: promised by the caller.
        unsafe { write(place, size, null) };
        Self(place)
    }

    /// Writes a communicator.
    pub fn set(self, comm: RawComm) {
        let (size, null) = find::handles();
        let word = if comm.0 == 0 { null } else { comm.0 };
        // SAFETY: promised when it was made.
        unsafe { write(self.0, size, word) };
    }
}

unsafe fn write(place: *mut c_void, size: usize, word: usize) {
    // SAFETY: promised by the caller; an integer of 4 bytes is the lower half.
    unsafe {
        if size == 4 {
            place.cast::<u32>().write_unaligned((word & 0xffff_ffff) as u32);
        } else {
            place.cast::<usize>().write_unaligned(word);
        }
    }
}

/// Returns the integer of Fortran of the communicator that a call has written to a place of one word;
/// [`FORTRAN_NULL`] if there is no MPI to convert it.
#[must_use]
pub fn fortran_of_word(word: usize) -> i32 {
    let Some(mpi) = find::find().ok().filter(|mpi| find::check_running(mpi).is_ok()) else {
        return FORTRAN_NULL;
    };
    find::to_fortran(mpi, Handle(mpi.constants.mask(word))).unwrap_or(FORTRAN_NULL)
}

impl From<Handle> for RawComm {
    fn from(handle: Handle) -> Self {
        Self(handle.0)
    }
}
