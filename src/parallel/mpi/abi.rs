//! The binary interfaces of the MPI families, as data. The library is linked with no MPI: it calls the one that
//! the process has, by the addresses of its functions and the values of its constants.
//!
//! Handles are integers of 4 bytes (MPICH) or pointers (Open MPI, the standard ABI of MPI 5). Both are passed
//! and stored as one word here, in which an integer is the lower half; the upper half of what a host passes is
//! undefined then.

use std::ffi::{c_char, c_int, c_void};

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("handles of MPI are words of 64 bits here, whose lower half comes first");

/// A handle of MPI: of a communicator, request, datatype or error handler.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handle(pub(super) usize);

/// Copies an attribute when its communicator is duplicated.
pub(super) type CopyAttribute =
    unsafe extern "C" fn(Handle, c_int, *mut c_void, *mut c_void, *mut c_void, *mut c_int) -> c_int;

/// Deletes an attribute with its communicator.
pub(super) type DeleteAttribute = unsafe extern "C" fn(Handle, c_int, *mut c_void, *mut c_void) -> c_int;

/// An MPI family: implementations with one binary interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// MPICH, Intel MPI, MVAPICH, Cray MPICH.
    Mpich,
    /// Open MPI.
    OpenMpi,
    /// The standard ABI of MPI 5.
    Standard,
    /// Described by a table of the program.
    Other,
}

impl Family {
    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mpich => "MPICH or an MPI compatible with it",
            Self::OpenMpi => "Open MPI",
            Self::Standard => "an MPI of the standard ABI",
            Self::Other => "an MPI that the program describes",
        }
    }

    /// Returns `MPI_COMM_NULL` of Fortran.
    pub(super) fn fortran_null(self) -> Option<i32> {
        match self {
            Self::Mpich => Some(0x0400_0000),
            Self::OpenMpi => Some(2),
            Self::Standard => Some(0x100),
            Self::Other => None,
        }
    }

    /// Returns the number in the C interface.
    #[must_use]
    pub fn number(self) -> i32 {
        self as i32 + 1
    }

    /// Returns the family of a number in the C interface.
    #[must_use]
    pub fn of_number(number: i32) -> Option<Self> {
        [Self::Mpich, Self::OpenMpi, Self::Standard, Self::Other].into_iter().find(|it| it.number() == number)
    }
}

/// The constants of an MPI that the library uses, and the layout of its status. Handles are masked to their
/// size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// Bytes of a handle: 4 or 8.
    pub handle_size: usize,
    /// `MPI_COMM_NULL`.
    pub comm_null: usize,
    /// `MPI_COMM_WORLD`.
    pub comm_world: usize,
    /// `MPI_COMM_SELF`.
    pub comm_self: usize,
    /// `MPI_UINT8_T`.
    pub uint8: usize,
    /// `MPI_REQUEST_NULL`.
    pub request_null: usize,
    /// `MPI_ERRORS_RETURN`.
    pub errors_return: usize,
    /// `MPI_STATUS_IGNORE`.
    pub status_ignore: usize,
    /// `MPI_ANY_SOURCE`.
    pub any_source: i32,
    /// `MPI_UNDEFINED`.
    pub undefined: i32,
    /// Bytes of an `MPI_Status`: at most [`STATUS_SIZE`].
    pub status_size: usize,
    /// The place of `MPI_SOURCE` in it, in bytes.
    pub source_offset: usize,
}

/// Room for the status of any MPI, in bytes.
pub const STATUS_SIZE: usize = 128;

/// Room for the version text of any MPI, in bytes.
pub(super) const VERSION_SIZE: usize = 16 << 10;

/// Room for an error text of any MPI, in bytes.
pub(super) const ERROR_SIZE: usize = 4096;

/// MPICH 4.0 to 5.0, and Intel MPI.
pub const MPICH: Constants = Constants {
    handle_size: 4,
    comm_null: 0x0400_0000,
    comm_world: 0x4400_0000,
    comm_self: 0x4400_0001,
    uint8: 0x4c00_013b,
    request_null: 0x2c00_0000,
    errors_return: 0x5400_0001,
    status_ignore: 1,
    any_source: -2,
    undefined: -32766,
    status_size: 20,
    source_offset: 8,
};

/// The standard ABI 1.0.
pub const STANDARD: Constants = Constants {
    handle_size: 8,
    comm_null: 0x100,
    comm_world: 0x101,
    comm_self: 0x102,
    uint8: 0x241,
    request_null: 0x180,
    errors_return: 0x143,
    status_ignore: 0,
    any_source: -1,
    undefined: -32766,
    status_size: 32,
    source_offset: 0,
};

/// Returns the constants of Open MPI, whose handles are addresses of its variables. `address` finds one.
pub fn open_mpi(mut address: impl FnMut(&'static str) -> Option<usize>) -> Result<Constants, &'static str> {
    let mut handle = |name| address(name).ok_or(name);
    Ok(Constants {
        handle_size: 8,
        comm_null: handle("ompi_mpi_comm_null")?,
        comm_world: handle("ompi_mpi_comm_world")?,
        comm_self: handle("ompi_mpi_comm_self")?,
        uint8: handle("ompi_mpi_uint8_t")?,
        request_null: handle("ompi_request_null")?,
        errors_return: handle("ompi_mpi_errors_return")?,
        status_ignore: 0,
        any_source: -1,
        undefined: -32766,
        status_size: 24,
        source_offset: 0,
    })
}

impl Constants {
    /// Returns the constants with all handles masked to their size.
    #[must_use]
    pub fn masked(self) -> Self {
        Self {
            comm_null: self.mask(self.comm_null),
            comm_world: self.mask(self.comm_world),
            comm_self: self.mask(self.comm_self),
            uint8: self.mask(self.uint8),
            request_null: self.mask(self.request_null),
            errors_return: self.mask(self.errors_return),
            ..self
        }
    }

    /// Returns a handle that a host has passed as a word.
    pub(super) fn mask(&self, word: usize) -> usize {
        if self.handle_size == 4 { word & 0xffff_ffff } else { word }
    }
}

/// Declares the functions of MPI that every MPI has: the fields with their addresses, and methods that call
/// them.
macro_rules! functions {
    ($($symbol:ident $method:ident($($argument:ident: $Type:ty),*);)+) => {
        /// The names of the functions, in the order of a table.
        pub const FUNCTION_NAMES: &[&str] = &[$(stringify!($symbol)),+];

        /// The addresses of the functions.
        #[derive(Clone, Copy)]
        pub(super) struct Functions { $($method: unsafe extern "C" fn($($Type),*) -> c_int,)+ }

        impl Functions {
            /// Finds the address of each function. Fails with the name of one that is missing.
            ///
            /// # Safety
            /// An address is that of the function of this name.
            pub(super) unsafe fn find(
                mut address: impl FnMut(&'static str) -> Option<usize>,
            ) -> Result<Self, &'static str> {
                Ok(Self {
                    $($method: {
                        let found = address(stringify!($symbol)).ok_or(stringify!($symbol))?;
                        // SAFETY: the caller says that it is this function, whose type the standard gives;
                        // handles are words, see the top.
                        unsafe {
                            std::mem::transmute::<usize, unsafe extern "C" fn($($Type),*) -> c_int>(found)
                        }
                    },)+
                })
            }

            $(#[allow(clippy::too_many_arguments, reason = "the functions of MPI have up to 7 beside self")]
            pub(super) unsafe fn $method(&self, $($argument: $Type),*) -> c_int {
                // SAFETY: the caller keeps what MPI says of the arguments.
                unsafe { (self.$method)($($argument),*) }
            })+
        }
    };
}

functions! {
    MPI_Abort abort(comm: Handle, code: c_int);
    MPI_Comm_create_keyval comm_create_keyval(
        copy: CopyAttribute, delete: DeleteAttribute, keyval: *mut c_int, extra: *mut c_void
    );
    MPI_Comm_free comm_free(comm: *mut Handle);
    MPI_Comm_get_attr comm_get_attr(comm: Handle, keyval: c_int, value: *mut c_void, found: *mut c_int);
    MPI_Comm_get_errhandler comm_get_errhandler(comm: Handle, handler: *mut Handle);
    MPI_Comm_idup comm_idup(comm: Handle, new: *mut Handle, request: *mut Handle);
    MPI_Comm_rank comm_rank(comm: Handle, rank: *mut c_int);
    MPI_Comm_set_attr comm_set_attr(comm: Handle, keyval: c_int, value: *mut c_void);
    MPI_Comm_set_errhandler comm_set_errhandler(comm: Handle, handler: Handle);
    MPI_Comm_size comm_size(comm: Handle, size: *mut c_int);
    MPI_Comm_split comm_split(comm: Handle, color: c_int, key: c_int, new: *mut Handle);
    MPI_Comm_test_inter comm_test_inter(comm: Handle, inter: *mut c_int);
    MPI_Errhandler_free errhandler_free(handler: *mut Handle);
    MPI_Error_string error_string(code: c_int, text: *mut c_char, length: *mut c_int);
    MPI_Finalize finalize();
    MPI_Finalized finalized(flag: *mut c_int);
    MPI_Get_count get_count(status: *const c_void, datatype: Handle, count: *mut c_int);
    MPI_Get_library_version get_library_version(text: *mut c_char, length: *mut c_int);
    MPI_Init init(count: *mut c_int, arguments: *mut c_void);
    MPI_Initialized initialized(flag: *mut c_int);
    MPI_Iprobe iprobe(source: c_int, tag: c_int, comm: Handle, found: *mut c_int, status: *mut c_void);
    MPI_Irecv irecv(
        data: *mut c_void, count: c_int, datatype: Handle, source: c_int, tag: c_int, comm: Handle,
        request: *mut Handle
    );
    MPI_Isend isend(
        data: *const c_void, count: c_int, datatype: Handle, target: c_int, tag: c_int, comm: Handle,
        request: *mut Handle
    );
    MPI_Issend issend(
        data: *const c_void, count: c_int, datatype: Handle, target: c_int, tag: c_int, comm: Handle,
        request: *mut Handle
    );
    MPI_Test test(request: *mut Handle, complete: *mut c_int, status: *mut c_void);
}

/// The way from communicators to integers of Fortran and back.
#[derive(Clone, Copy)]
pub(super) enum FortranIntegers {
    /// The handle is the integer.
    Same,
    /// By functions of MPI: `MPI_Comm_f2c` and `MPI_Comm_c2f`, or `MPI_Comm_fromint` and `MPI_Comm_toint`.
    By { to_handle: unsafe extern "C" fn(c_int) -> Handle, to_integer: unsafe extern "C" fn(Handle) -> c_int },
}

impl FortranIntegers {
    /// Finds the functions of a family; `None` if they are missing.
    ///
    /// # Safety
    /// An address is that of the function of this name.
    pub(super) unsafe fn find(
        handle_size: usize,
        mut address: impl FnMut(&'static str) -> Option<usize>,
    ) -> Option<Self> {
        if handle_size == 4 {
            return Some(Self::Same);
        }
        let mut pair = |first, second| Some((address(first)?, address(second)?));
        let found =
            pair("MPI_Comm_fromint", "MPI_Comm_toint").or_else(|| pair("MPI_Comm_f2c", "MPI_Comm_c2f"))?;
        // SAFETY: the caller says that they are these functions, whose types the standard gives.
        unsafe {
            Some(Self::By {
                to_handle: std::mem::transmute::<usize, unsafe extern "C" fn(c_int) -> Handle>(found.0),
                to_integer: std::mem::transmute::<usize, unsafe extern "C" fn(Handle) -> c_int>(found.1),
            })
        }
    }
}
