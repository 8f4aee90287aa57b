//! The MPI of the program: what it was compiled for, and which one the library uses.

use crate::parallel::mpi::abi::{Constants, FUNCTION_NAMES, Family};
use crate::parallel::mpi::{self, Declaration, FORTRAN_NULL};

use super::boundary;
use super::convert::{invalid, reference};
use super::error::dijitso_error;
use super::library::dijitso_fn;
use super::status::dijitso_status;

/// No MPI, or none that is known.
pub const DIJITSO_MPI_NONE: i32 = 0;
/// MPICH, Intel MPI, MVAPICH, Cray MPICH.
pub const DIJITSO_MPI_MPICH: i32 = 1;
/// Open MPI.
pub const DIJITSO_MPI_OPEN_MPI: i32 = 2;
/// The standard ABI of MPI 5.
pub const DIJITSO_MPI_STANDARD_ABI: i32 = 3;
/// An MPI that a table describes.
pub const DIJITSO_MPI_OTHER: i32 = 4;

/// The number of functions in a table.
pub const DIJITSO_MPI_FUNCTIONS: usize = 25;

const _: () = assert!(DIJITSO_MPI_FUNCTIONS == FUNCTION_NAMES.len(), "the table has room for all functions");

/// The MPI of a program. Handles are given as words; those of 4 bytes in the lower half.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_mpi_table {
    /// sizeof(dijitso_mpi_table)
    pub struct_size: usize,
    /// One of the DIJITSO_MPI_ values, of the mpi.h that the program includes.
    pub family: i32,
    /// sizeof(MPI_Comm)
    pub handle_size: i32,
    /// 1 if the fields that follow are set. Only an MPI that is none of the three, or that is linked
    /// statically, needs them.
    pub is_complete: i32,
    /// MPI_ANY_SOURCE
    pub any_source: i32,
    /// MPI_UNDEFINED
    pub undefined: i32,
    /// sizeof(MPI_Status)
    pub status_size: i32,
    /// offsetof(MPI_Status, MPI_SOURCE)
    pub source_offset: i32,
    /// Zero.
    pub reserved: i32,
    /// MPI_COMM_NULL
    pub comm_null: usize,
    /// MPI_COMM_WORLD
    pub comm_world: usize,
    /// MPI_COMM_SELF
    pub comm_self: usize,
    /// MPI_UINT8_T
    pub uint8: usize,
    /// MPI_REQUEST_NULL
    pub request_null: usize,
    /// MPI_ERRORS_RETURN
    pub errors_return: usize,
    /// MPI_STATUS_IGNORE
    pub status_ignore: usize,
    /// The functions, in the order of DIJITSO_MPI_TABLE_FUNCTIONS in this header.
    pub functions: [dijitso_fn; 25],
}

/// Tells the library which mpi.h the program was compiled with, or hands over its MPI.
///
/// This header does so when the program starts, for each file that includes mpi.h. A program whose MPI is
/// none of the three families, or is linked statically, defines DIJITSO_MPI_TABLE before it includes this
/// header, in one file, and links MPI: then the header hands over the addresses of the functions as well.
///
/// @param table      *Copied*.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if a table comes after the first call with a
///         communicator.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_use(
    table: *const dijitso_mpi_table,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_use", || {
            let table = reference(table, "table")?;
            if table.struct_size < size_of::<dijitso_mpi_table>() {
                return Err(invalid("struct_size of the table is too small"));
            }
            let family = Family::of_number(table.family).ok_or_else(|| invalid("family is no known one"))?;
            let size = |value: i32| usize::try_from(value).unwrap_or(usize::MAX / 2);
            let handle_size = size(table.handle_size);
            let is_complete = table.is_complete != 0;
            let constants = Constants {
                handle_size,
                comm_null: table.comm_null,
                comm_world: table.comm_world,
                comm_self: table.comm_self,
                uint8: table.uint8,
                request_null: table.request_null,
                errors_return: table.errors_return,
                status_ignore: table.status_ignore,
                any_source: table.any_source,
                undefined: table.undefined,
                status_size: size(table.status_size),
                source_offset: size(table.source_offset),
            };
            let address = |function: &dijitso_fn| function.map_or(0, |function| function as usize);
            mpi::declare(Declaration {
                family,
                constants: is_complete.then_some(constants.masked()),
                handle_size,
                functions: is_complete.then(|| table.functions.iter().map(address).collect()),
            })
        })
    }
}

/// Returns the family of the MPI that the library uses in this process: a DIJITSO_MPI_ value.
///
/// @return DIJITSO_MPI_NONE if the process has no MPI (yet). MPI need not be initialised.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_family() -> i32 {
    boundary::value(DIJITSO_MPI_NONE, || {
        mpi::family().map_or(DIJITSO_MPI_NONE, |(family, _)| family.number())
    })
}

/// Returns the bytes of an MPI_Comm of the MPI that the library uses in this process.
///
/// @return 4 or 8; 0 if the process has no MPI (yet).
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_comm_size() -> usize {
    boundary::value(0, || mpi::family().map_or(0, |(_, size)| size))
}

/// Returns the integer that stands for no communicator in all functions that end in _fint, with every MPI.
///
/// The MPI_COMM_NULL of Fortran does the same, where there is an MPI.
///
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_fint_null() -> i32 {
    boundary::value(FORTRAN_NULL, || FORTRAN_NULL)
}
