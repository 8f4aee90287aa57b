//! Why something is built again, and taking entries elsewhere.

use std::ffi::{c_char, c_void};
use std::path::Path;

use crate::cache::Cache;
use crate::cache::bundle::{ImportOptions, ImportOutcome};
use crate::cache::explain;
use crate::error::Result;
use crate::jit::{Request, Session, bundle};
use crate::signature::name_of;

use super::boundary;
use super::build::given;
use super::cache::cache;
use super::convert::{c_string, flag, reference_mut, text, texts};
use super::error::dijitso_error;
use super::params::dijitso_params;
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::visit::Visitor;

/// It was not there, and is now.
pub const DIJITSO_IMPORT_NEW: i32 = 0;
/// The same was there.
pub const DIJITSO_IMPORT_THERE: i32 = 1;
/// A whole entry of this signature was there, with other contents; it stays.
pub const DIJITSO_IMPORT_OTHER: i32 = 2;
/// It cannot be used on this machine.
pub const DIJITSO_IMPORT_REFUSED: i32 = 3;

/// What became of an entry of a bundle. Later versions may have further fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_imported {
    /// sizeof(dijitso_imported) in the library.
    pub struct_size: usize,
    /// One of the DIJITSO_IMPORT_ values.
    pub outcome: i32,
    /// *Borrowed* for the callback, as the following.
    pub signature: *const c_char,
    /// Why it was refused; "" else.
    pub reason: *const c_char,
}

/// Takes one entry of a bundle after the other.
///
/// @param user_data  That of the call.
/// @param imported   *Borrowed* for the callback.
/// @return 0 to go on; any other value ends the visit, which is no error: all were imported before.
pub type dijitso_imported_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, imported: *const dijitso_imported) -> i32>;

/// Explains a name or a signature, for people or as JSON.
///
/// Of a name: whether dijitso_jit() would find it with these parameters, and if not, how it differs from the nearest
/// entry of that name (flags, compiler, headers that have changed, ...). Of a signature: what it was built from, and
/// when the last build failed, the compiler's first error and the folder that reproduces it. Nothing is built.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param what       The name or signature. *Copied*.
/// @param json       1: as JSON; 0: as text.
/// @param blob       Receives the explanation. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_explain(
    params: *const dijitso_params,
    what: *const c_char,
    json: i32,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_explain", || {
            let (what, blob) = (text(what, "what")?, reference_mut(blob, "blob")?);
            let json = flag(json, "json")?;
            let params = given(params)?;
            let text = if name_of(what) == what {
                let explanation = Session::of_process().explain(Request { name: what, params: &params })?;
                if json { explanation.to_json().to_string() } else { explanation.text() }
            } else {
                let cache = Cache::new(&params.cache.cache_dir, &params.cache);
                let account = explain::entry_report(&cache, what)?;
                if json { account.to_json().to_string() } else { account.text() }
            };
            blob.set(text.into_bytes())
        })
    }
}

/// Writes entries of a cache, with all that they need, to one file, for another machine or a cluster without a
/// compiler. A plain file appears whole or not at all; a link is followed to one. A FIFO, a terminal or another device is
/// written into and never replaced. A FIFO that no program reads for 10 seconds, a socket, a directory and a block
/// device are an error.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param words      Signatures, names for all entries of that name, patterns with * ? or [...], or the beginning of
///                   one signature; NULL for the whole cache. *Copied*.
/// @param count      How many.
/// @param path       The file. *Copied*.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE for a word that
///         stands for nothing, and when an entry is not whole or the file cannot be written.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_bundle_export(
    params: *const dijitso_params,
    words: *const *const c_char,
    count: usize,
    path: *const c_char,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_bundle_export", || {
            let path = text(path, "path")?;
            let words: Option<Vec<String>> = if words.is_null() && count == 0 {
                None
            } else {
                let words: Result<Vec<&str>> = texts(words, count, "words");
                Some(words?.into_iter().map(str::to_owned).collect())
            };
            let cache = cache(params)?;
            let signatures = bundle::select(&cache, words.as_deref())?;
            bundle::export(&cache, &signatures, false, Path::new(path)).map(drop)
        })
    }
}

/// Puts the entries of a file that dijitso_bundle_export() has written into a cache. Each is checked first; what is
/// there already stays.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param path       The file, or a FIFO: no more of it is read than its manifest says. *Copied*.
/// @param force      1: also what was built for another machine; 0: that is refused.
/// @param visitor    Called for each entry; may be NULL.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, also when entries are refused; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
///         DIJITSO_ERROR_CACHE when the file cannot be read, is damaged, or the cache cannot be written.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_bundle_import(
    params: *const dijitso_params,
    path: *const c_char,
    force: i32,
    visitor: dijitso_imported_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_bundle_import", || {
            let path = text(path, "path")?;
            let options = ImportOptions { force: flag(force, "force")?, dry_run: false };
            let report = bundle::import(&cache(params)?, Path::new(path), options)?;
            if visitor.is_some() {
                let visitor = Visitor::new(visitor, user_data)?;
                let _ = report.entries.iter().all(|entry| {
                    let (outcome, reason) = match &entry.outcome {
                        ImportOutcome::New => (DIJITSO_IMPORT_NEW, ""),
                        ImportOutcome::There => (DIJITSO_IMPORT_THERE, ""),
                        ImportOutcome::Other => (DIJITSO_IMPORT_OTHER, ""),
                        ImportOutcome::Refused(reason) => (DIJITSO_IMPORT_REFUSED, reason.as_str()),
                    };
                    let (signature, reason) = (c_string(&entry.signature), c_string(reason));
                    visitor.visit(&dijitso_imported {
                        struct_size: size_of::<dijitso_imported>(),
                        outcome,
                        signature: signature.as_ptr(),
                        reason: reason.as_ptr(),
                    })
                });
            }
            Ok(())
        })
    }
}
