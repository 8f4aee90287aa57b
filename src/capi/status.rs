//! Status codes and the version.

use std::ffi::c_char;

use super::boundary;

/// What a call has come to: DIJITSO_OK (0), or one of the codes below. Codes are never renumbered; new ones may come.
pub type dijitso_status = i32;

/// Success.
pub const DIJITSO_OK: i32 = 0;
/// NULL where that is not allowed, a bad name, a bad value.
pub const DIJITSO_ERROR_INVALID_ARGUMENT: i32 = 1;
/// Built without MPI; a structure with fields that this version does not know.
pub const DIJITSO_ERROR_UNSUPPORTED: i32 = 2;
/// MPI is not initialised or already finalised; the library was built and not loaded.
pub const DIJITSO_ERROR_STATE: i32 = 3;
/// An unknown key, a wrong type, a config file that cannot be used.
pub const DIJITSO_ERROR_PARAMS: i32 = 4;
/// A file of the cache cannot be read or written, or is refused; or the cache is frozen (cache.frozen) and has not got
/// what is asked for.
pub const DIJITSO_ERROR_CACHE: i32 = 10;
/// The generate callback returned non-zero, handed over nothing, or asked for what it was to generate.
pub const DIJITSO_ERROR_GENERATE: i32 = 20;
/// A send, receive or wait callback returned non-zero.
pub const DIJITSO_ERROR_CALLBACK: i32 = 21;
/// The compiler or linker failed, is missing, or ran out of time.
pub const DIJITSO_ERROR_COMPILE: i32 = 30;
/// The dynamic loader refuses the library, or one of its initialisers throws a C++ exception.
pub const DIJITSO_ERROR_LOAD: i32 = 40;
/// The library has no such symbol.
pub const DIJITSO_ERROR_SYMBOL: i32 = 41;
/// Ranks called with different names, parameters or callbacks.
pub const DIJITSO_ERROR_RANKS_DISAGREE: i32 = 50;
/// An MPI function failed.
pub const DIJITSO_ERROR_MPI: i32 = 51;
/// A deadline passed.
pub const DIJITSO_ERROR_TIMEOUT: i32 = 52;
/// A bug in this library; please report it.
pub const DIJITSO_ERROR_INTERNAL: i32 = 90;

/// The version of the library, as "0.1.0".
///
/// @return A string that is valid for ever. Compare it with DIJITSO_VERSION, the version of this header.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_version() -> *const c_char {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(|| c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}
