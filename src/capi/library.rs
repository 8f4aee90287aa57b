//! Loaded libraries.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::jit::{Library, Origin};

use super::boundary;
use super::convert::{invalid, output, owned, reference, text};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// This call found the library in memory.
pub const DIJITSO_ORIGIN_MEMORY: i32 = 0;
/// It was in the cache directory, or another rank put it there.
pub const DIJITSO_ORIGIN_DISK: i32 = 1;
/// This call generated and compiled it.
pub const DIJITSO_ORIGIN_BUILT: i32 = 2;
/// This call received it from another rank.
pub const DIJITSO_ORIGIN_RECEIVED: i32 = 3;

/// A loaded library. Owned by the caller, freed by dijitso_library_free(). Any thread may use it.
pub struct dijitso_library {
    library: Library,
    /// True for the one handle that all memory hits of a library give. Such calls neither allocate nor count,
    /// so threads that ask for the same library do not wait for each other. The handle is never dropped, as
    /// no library is.
    pinned: bool,
}

impl dijitso_library {
    /// Makes a handle for the caller.
    pub(super) fn handle(library: Library) -> *mut Self {
        owned(Self { library, pinned: false })
    }

    /// Returns the handle of the dynamic loader, if the library was loaded.
    pub(super) fn loader_handle(&self) -> Option<*mut c_void> {
        self.library.handle()
    }

    /// Returns the handle of memory hits.
    pub(super) fn pinned(library: &Library) -> Option<&'static Self> {
        library.kept(|library| Self { library: library.with_origin(Origin::Memory), pinned: true })
    }
}

/// The address of a function or object in a library. Cast it to its own type before use.
pub type dijitso_fn = Option<unsafe extern "C" fn()>;

/// Finds a function or an object of a library.
///
/// @param library    *Borrowed* for the call.
/// @param symbol     Its name in C; C++ declares it extern "C". *Copied*.
/// @param fn_out     Receives the address, NULL on an error. It is valid until the process ends, even after
///                   dijitso_library_free(), because libraries are never unloaded.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_SYMBOL if there is no such symbol (the
///         message names the nearest ones, and says if the function has a C++ name or is not exported), or
///         DIJITSO_ERROR_STATE if cache.lib_loader is "import", so that the library was built and not loaded.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_symbol(
    library: *const dijitso_library,
    symbol: *const c_char,
    fn_out: *mut dijitso_fn,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_library_symbol", || {
            let fn_out = output(fn_out, None, "fn_out")?;
            let library = reference(library, "library")?;
            let symbol = text(symbol, "symbol")?;
            if symbol.is_empty() {
                return Err(invalid("symbol is empty"));
            }
            let address = library.library.symbol(symbol)?;
            *fn_out = std::mem::transmute::<*const c_void, dijitso_fn>(address);
            Ok(())
        })
    }
}

/// Returns the signature of a library, by which other libraries depend on it.
///
/// @param library  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the library is freed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_signature(library: *const dijitso_library) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(library, ptr::null(), |library| library.library.signature_in_c().as_ptr()) }
}

/// Returns the path of a library in this rank's cache directory.
///
/// @param library  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the library is freed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_path(library: *const dijitso_library) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(library, ptr::null(), |library| library.library.path_in_c().as_ptr()) }
}

/// Returns how the call that gave this handle got the library: one of the DIJITSO_ORIGIN_ values.
///
/// @param library  *Borrowed* for the call; NULL gives -1.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_origin(library: *const dijitso_library) -> i32 {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(library, -1, |library| library.library.origin() as i32) }
}

/// Drops a handle. The code stays loaded: function pointers stay valid, and the next dijitso_jit() for the
/// library is answered from memory. Several calls may give the same handle; free it once for each.
///
/// @param library  *Owned* by the caller until now; NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_free(library: *mut dijitso_library) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::value((), || {
            if !library.is_null() && !(*library).pinned {
                drop(Box::from_raw(library));
            }
        });
    }
}
