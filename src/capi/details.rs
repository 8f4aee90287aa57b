//! The loader handle of a library and the files of an error: for tools, not for every program.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::boundary;
use super::error::dijitso_error;
use super::library::dijitso_library;

/// Returns the handle that the dynamic loader gave for a library, for functions such as dlsym() and dlinfo(),
/// and for ctypes.CDLL(name, handle=...) in Python. Never close it: other callers use it as well.
///
/// @param library  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the process ends; NULL if cache.lib_loader is "import", so that the library was
///         built and not loaded.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_handle(library: *const dijitso_library) -> *mut c_void {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::get(library, ptr::null_mut(), |library| library.loader_handle().unwrap_or(ptr::null_mut()))
    }
}

/// Returns the path of one of the files in the folder of dijitso_error_path(): the source, the header, the
/// log, recompile.sh and README, as far as they are there. They are listed at the first call for an error, in
/// the order of their names.
///
/// @param error  *Borrowed* for the call; NULL gives NULL.
/// @param index  0 for the first file. All indices from the number of files on give NULL.
/// @return *Borrowed* until the error is freed; NULL for each index if there is no such folder on this host.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_file(error: *const dijitso_error, index: usize) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::get(error, ptr::null(), |error| {
            error.files().get(index).map_or(ptr::null(), |file| file.as_ptr())
        })
    }
}
