//! What a build would be, and entries by their signatures.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use crate::error::Result;
use crate::jit::{Request, Session, query};
use crate::params::resolved::Resolved;

use super::boundary;
use super::convert::{bytes, output, reference_mut, text, texts};
use super::defaults::defaults;
use super::error::dijitso_error;
use super::library::dijitso_library;
use super::params::dijitso_params;
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::visit::{Visitor, dijitso_text_fn};

/// Parameters of a call; the defaults for NULL.
///
/// # Safety
/// NULL, or valid.
pub(super) unsafe fn given(params: *const dijitso_params) -> Result<Arc<Resolved>> {
    // SAFETY: promised by the caller.
    unsafe { params.as_ref() }.map_or_else(defaults, dijitso_params::resolved)
}

/// Gives the signature that dijitso_jit() uses for a name and parameters on this machine.
///
/// The compiler may be asked for its version, once for each cache. On a communicator whose ranks run on different
/// kinds of machines each of them has its own.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param name       As for dijitso_jit(). *Copied*.
/// @param blob       Receives the signature, as text. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_signature(
    params: *const dijitso_params,
    name: *const c_char,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_signature", || {
            let (name, blob) = (text(name, "name")?, reference_mut(blob, "blob")?);
            let params = given(params)?;
            let signature = Session::of_process().signature(Request { name, params: &params })?;
            blob.set(signature.into_bytes())
        })
    }
}

/// Gives the command that builds a library, word by word. Nothing is run and no directory is made.
///
/// It is to be run in the folder of the source, which is named after the signature, as dijitso_cache_file_names()
/// tells. The compiler may be asked what it is.
///
/// @param params        *Borrowed* for the call; NULL for the defaults.
/// @param signature     *Copied*.
/// @param dependencies  Signatures of libraries to link to. *Copied*. May be NULL when count is 0.
/// @param count         How many.
/// @param visitor       Called for each word.
/// @param user_data     Passed to it.
/// @param error_out     Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_build_command(
    params: *const dijitso_params,
    signature: *const c_char,
    dependencies: *const *const c_char,
    count: usize,
    visitor: dijitso_text_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_build_command", || {
            let signature = text(signature, "signature")?;
            let visitor = Visitor::new(visitor, user_data)?;
            let dependencies = texts(dependencies, count, "dependencies")?;
            let params = given(params)?;
            let words = Session::of_process().command(&params, signature, &dependencies)?;
            let _ = words.iter().all(|word| visitor.text(word));
            Ok(())
        })
    }
}

/// Loads a library of the cache by its signature, with all that it needs; nothing is built.
///
/// @param params       *Borrowed* for the call; NULL for the defaults.
/// @param signature    *Copied*.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE when it is not there
///         or not whole, or DIJITSO_ERROR_LOAD.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_open(
    params: *const dijitso_params,
    signature: *const c_char,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_library_open", || {
            let library_out = output(library_out, std::ptr::null_mut(), "library_out")?;
            let signature = text(signature, "signature")?;
            let params = given(params)?;
            let library = Session::of_process().open(&params.cache, signature)?;
            *library_out = Box::into_raw(Box::new(dijitso_library::new(library)));
            Ok(())
        })
    }
}

/// Reads a library of the cache with all that has to travel with it (header, source, log, and the same of what it
/// needs), as the bytes that a builder sends to receivers.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param blob       Receives the bytes. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when it is not
///         there or not whole.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_read_binary(
    params: *const dijitso_params,
    signature: *const c_char,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_read_binary", || {
            let (signature, blob) = (text(signature, "signature")?, reference_mut(blob, "blob")?);
            blob.set(query::read_binary(&given(params)?.cache, signature)?)
        })
    }
}

/// Puts what dijitso_cache_read_binary() gave into a cache, of another process, host or path.
///
/// The bytes are checked before anything is written, and appear in one step; a library that is there already stays.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  That of the library in it. *Copied*.
/// @param data       The bytes. *Borrowed* for the call.
/// @param size       How many.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE when the bytes are cut,
///         altered or bring another library, or the status of the builder when they say that it has failed.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_write_binary(
    params: *const dijitso_params,
    signature: *const c_char,
    data: *const u8,
    size: usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_cache_write_binary", || {
            let (signature, data) = (text(signature, "signature")?, bytes(data.cast(), size, "data")?);
            query::write_binary(&given(params)?.cache, signature, data)
        })
    }
}
