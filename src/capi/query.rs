//! Questions about a library: its signature, its command, why it is built again.

use std::ffi::{c_char, c_void};

use crate::cache::Cache;
use crate::cache::explain;
use crate::jit::{Request, Session};
use crate::signature::name_of;

use super::boundary;
use super::convert::{flag, handle_output, reference_mut, text, texts};
use super::error::dijitso_error;
use super::library::dijitso_library;
use super::params::{dijitso_params, resolved};
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::visit::{Visitor, dijitso_text_fn};

/// Returns the signature that dijitso_jit() uses for a name and parameters on this machine.
///
/// The compiler may be asked for its version, once for each cache. On a communicator with different kinds of
/// machines each kind has its own signature.
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
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_signature", || {
            let (name, blob) = (text(name, "name")?, reference_mut(blob, "blob")?);
            let params = resolved(params)?;
            let signature = Session::of_process().signature(Request { name, params: &params })?;
            blob.set(signature.into_bytes())
        })
    }
}

/// Explains a name or a signature, as text or as JSON. Nothing is built.
///
/// For a name: would dijitso_jit() find it with these parameters? If not, how does it differ from the nearest
/// entry of that name (flags, compiler, changed headers, ...)? For a signature: what was it built from? If
/// the last build failed, the compiler's first error and the folder that reproduces it.
///
/// @param params             *Borrowed* for the call; NULL for the defaults.
/// @param name_or_signature  *Copied*.
/// @param json               1: as JSON; 0: as text.
/// @param blob               Receives the explanation. *Borrowed* for the call.
/// @param error_out          Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_explain(
    params: *const dijitso_params,
    name_or_signature: *const c_char,
    json: i32,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_explain", || {
            let name_or_signature = text(name_or_signature, "name_or_signature")?;
            let blob = reference_mut(blob, "blob")?;
            let json = flag(json, "json")?;
            let params = resolved(params)?;
            let text = if name_of(name_or_signature) == name_or_signature {
                let request = Request { name: name_or_signature, params: &params };
                let explanation = Session::of_process().explain(request)?;
                if json { explanation.to_json().to_string() } else { explanation.text() }
            } else {
                let cache = Cache::new(&params.cache.cache_dir, &params.cache);
                let report = explain::entry_report(&cache, name_or_signature)?;
                if json { report.to_json().to_string() } else { report.text() }
            };
            blob.set(text.into_bytes())
        })
    }
}

/// Returns the command that builds a library, word by word. Nothing is run, and no directory is made.
///
/// The command is meant for the folder of the source, whose file name dijitso_cache_file_names() gives. The
/// compiler may be asked for its version.
///
/// @param params        *Borrowed* for the call; NULL for the defaults.
/// @param signature     *Copied*.
/// @param dependencies  Signatures of libraries to link to. *Copied*. May be NULL if count is 0.
/// @param count         Number of dependencies.
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
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_build_command", || {
            let signature = text(signature, "signature")?;
            let visitor = Visitor::new(visitor, user_data)?;
            let dependencies = texts(dependencies, count, "dependencies")?;
            // What it learns about the compiler is not noted in the cache, which need not be there.
            let words = Session::read_only().command(&*resolved(params)?, signature, &dependencies)?;
            visitor.texts(words.iter().map(String::as_str));
            Ok(())
        })
    }
}

/// Loads a library of the cache by its signature, with all that it needs. Nothing is built.
///
/// @param params       *Borrowed* for the call; NULL for the defaults.
/// @param signature    *Copied*.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE if it is
///         missing or damaged, or DIJITSO_ERROR_LOAD.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_library_open(
    params: *const dijitso_params,
    signature: *const c_char,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_library_open", || {
            let library_out = handle_output(library_out, "library_out")?;
            let signature = text(signature, "signature")?;
            let library = Session::of_process().open(&resolved(params)?.cache, signature)?;
            *library_out = dijitso_library::handle(library);
            Ok(())
        })
    }
}
