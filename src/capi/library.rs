//! Loaded libraries.

use std::ffi::c_char;

use crate::error::{Error, Kind};
use crate::jit::{Library, Origin};

use super::boundary;
use super::convert::{output, reference, text};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// This call found the library loaded already.
pub const DIJITSO_ORIGIN_MEMORY: i32 = 0;
/// This call found it in the cache directory, or another rank put it there meanwhile.
pub const DIJITSO_ORIGIN_DISK: i32 = 1;
/// This call generated and compiled it.
pub const DIJITSO_ORIGIN_BUILT: i32 = 2;
/// This call received it from another rank.
pub const DIJITSO_ORIGIN_RECEIVED: i32 = 3;

/// A loaded library. Owned by the caller, freed by dijitso_library_free(). Never changes, so any thread may use it.
pub struct dijitso_library {
    library: Library,
    /// Whether this is the one handle that all answers from memory are: such calls neither allocate nor count, so that
    /// threads that ask for the same library do not wait for each other. It is never dropped, as no library is.
    lasting: bool,
}

impl dijitso_library {
    pub(super) fn new(library: Library) -> Self {
        Self { library, lasting: false }
    }

    /// The handle of answers from memory.
    pub(super) fn lasting(library: &Library) -> Option<&'static Self> {
        library.kept(|library| Self { library: library.with_origin(Origin::Memory), lasting: true })
    }
}

/// The address of a function or object in a library; cast it to its own type before using it.
pub type dijitso_fn = Option<unsafe extern "C" fn()>;

/// Finds a function (or an object) of a library.
///
/// @param library    *Borrowed* for the call.
/// @param symbol     Its name as in C, so extern "C" in C++. *Copied*.
/// @param fn_out     Receives the address, NULL on an error. It stays valid for ever, even after
///                   dijitso_library_free(), because libraries are never unloaded.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_SYMBOL if there is no such symbol (the message
///         names the nearest ones, and says if the function is there by its C++ name or is not exported), or
///         DIJITSO_ERROR_STATE if cache.lib_loader is "import", so that the library was built and not loaded.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_symbol(
    library: *const dijitso_library,
    symbol: *const c_char,
    fn_out: *mut dijitso_fn,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_library_symbol", || {
            let fn_out = output(fn_out, None, "fn_out")?;
            let library = reference(library, "library")?;
            let symbol = text(symbol, "symbol")?;
            if symbol.is_empty() {
                return Err(Error::new(Kind::InvalidArgument, "symbol is empty"));
            }
            let address = library.library.symbol(symbol)?;
            *fn_out = std::mem::transmute::<*const std::ffi::c_void, dijitso_fn>(address);
            Ok(())
        })
    }
}

/// The signature of a library, by which others can depend on it.
///
/// @param library  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the library is freed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_signature(library: *const dijitso_library) -> *const c_char {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(std::ptr::null, || unsafe {
        library.as_ref().map_or(std::ptr::null(), |library| library.library.signature_in_c().as_ptr())
    })
}

/// The file of a library in this rank's cache directory.
///
/// @param library  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the library is freed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_path(library: *const dijitso_library) -> *const c_char {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(std::ptr::null, || unsafe {
        library.as_ref().map_or(std::ptr::null(), |library| library.library.path_in_c().as_ptr())
    })
}

/// How the call that gave this handle got the library: one of the DIJITSO_ORIGIN_ values.
///
/// @param library  *Borrowed* for the call; NULL gives -1.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_origin(library: *const dijitso_library) -> i32 {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || -1,
        || unsafe { library.as_ref().map_or(-1, |library| library.library.origin() as i32) },
    )
}

/// Drops a handle. The code stays loaded: function pointers stay valid, and the next dijitso_jit() for it is
/// answered from memory. Answers from memory may all be the same handle; it is freed as often as it was given.
///
/// @param library  *Owned* by the caller until now; NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_free(library: *mut dijitso_library) {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || (),
        || unsafe {
            if !library.is_null() && !(*library).lasting {
                drop(Box::from_raw(library));
            }
        },
    )
}
