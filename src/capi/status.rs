//! Status codes and the version.

use std::ffi::c_char;

use super::boundary;

/// The result of a call: DIJITSO_OK (0) or one of the codes above. Numbers never change; new codes may come.
pub type dijitso_status = i32;

/// Success.
pub const DIJITSO_OK: i32 = 0;
/// A NULL that is not allowed, a bad name, a bad value.
pub const DIJITSO_ERROR_INVALID_ARGUMENT: i32 = 1;
/// A structure with unknown fields.
pub const DIJITSO_ERROR_UNSUPPORTED: i32 = 2;
/// There is no MPI, or it is not initialised, or finalised already; the library is not loaded.
pub const DIJITSO_ERROR_STATE: i32 = 3;
/// An unknown key, a wrong type, an unusable config file.
pub const DIJITSO_ERROR_PARAMS: i32 = 4;
/// A file cannot be read, written or trusted; or cache.frozen is set and there is no such entry.
pub const DIJITSO_ERROR_CACHE: i32 = 10;
/// generate returned non-zero, set no code, or asked for its own library.
pub const DIJITSO_ERROR_GENERATE: i32 = 20;
/// send, receive or wait returned non-zero.
pub const DIJITSO_ERROR_CALLBACK: i32 = 21;
/// Compiler or linker failed, is missing, or ran out of time.
pub const DIJITSO_ERROR_COMPILE: i32 = 30;
/// The loader refuses the library, or an initialiser of it throws.
pub const DIJITSO_ERROR_LOAD: i32 = 40;
/// The library has no such symbol.
pub const DIJITSO_ERROR_SYMBOL: i32 = 41;
/// Ranks passed different names, parameters or callbacks.
pub const DIJITSO_ERROR_RANKS_DISAGREE: i32 = 50;
/// An MPI function failed; another MPI runs than the program was compiled for; no communicator of it.
pub const DIJITSO_ERROR_MPI: i32 = 51;
/// Ranks waited longer than parallel.timeout.
pub const DIJITSO_ERROR_TIMEOUT: i32 = 52;
/// The poll callback of a rank has asked for it.
pub const DIJITSO_ERROR_CANCELLED: i32 = 53;
/// A bug in this library; please report it.
pub const DIJITSO_ERROR_INTERNAL: i32 = 90;

/// Returns the version of the library, such as "0.1.0". DIJITSO_VERSION is the version of this header.
///
/// @return A string that is valid until the process ends.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_version() -> *const c_char {
    boundary::value(c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}
