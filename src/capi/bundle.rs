//! Entries as bytes and as files, for other ranks, caches and machines.

use std::ffi::{c_char, c_void};
use std::path::Path;

use crate::cache::bundle::{ImportOptions, ImportOutcome};
use crate::jit::{bundle, query};

use super::boundary;
use super::cache::cache;
use super::convert::{bytes, c_string, flag, reference_mut, text, texts};
use super::error::dijitso_error;
use super::params::{dijitso_params, resolved};
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::visit::Visitor;

/// The entry is new in this cache.
pub const DIJITSO_IMPORT_NEW: i32 = 0;
/// The same entry was in the cache.
pub const DIJITSO_IMPORT_EXISTS: i32 = 1;
/// A valid entry with other contents was in the cache; it stays.
pub const DIJITSO_IMPORT_CONFLICT: i32 = 2;
/// The entry cannot be used on this machine.
pub const DIJITSO_IMPORT_REFUSED: i32 = 3;

/// The outcome for one entry of a bundle.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_imported {
    /// sizeof(dijitso_imported) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_IMPORT_ values.
    pub outcome: i32,
    /// *Borrowed* for the callback, like reason.
    pub signature: *const c_char,
    /// Why it was refused; else "".
    pub reason: *const c_char,
}

/// Visits the entries of a bundle; see VISITORS in the manual.
pub type dijitso_imported_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, imported: *const dijitso_imported) -> i32>;

/// Returns an entry as bytes, the same that a builder sends to receivers: library, header, source, log, and
/// those of all libraries that it needs.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  *Copied*.
/// @param blob       Receives the bytes. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if it is
///         missing or damaged.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_read_binary(
    params: *const dijitso_params,
    signature: *const c_char,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_read_binary", || {
            let (signature, blob) = (text(signature, "signature")?, reference_mut(blob, "blob")?);
            blob.set(query::read_binary(&resolved(params)?.cache, signature)?)
        })
    }
}

/// Puts the bytes of dijitso_cache_read_binary() into a cache, which may be of another process, host or path.
///
/// The bytes are checked before anything is written, and the entry appears in one step. A library that is in
/// the cache already stays.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param signature  The signature of the library in the bytes. *Copied*.
/// @param data       The bytes. *Borrowed* for the call.
/// @param size       Number of bytes.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE if the bytes
///         are incomplete, altered or of another library, or the builder's status if they carry its error.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_cache_write_binary(
    params: *const dijitso_params,
    signature: *const c_char,
    data: *const u8,
    size: usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_cache_write_binary", || {
            let (signature, data) = (text(signature, "signature")?, bytes(data.cast(), size, "data")?);
            query::write_binary(&resolved(params)?.cache, signature, data)
        })
    }
}

/// Writes entries of a cache, with all that they need, to one file, for machines without a compiler.
///
/// A plain file appears complete or not at all; a link is followed. A FIFO, a terminal or another character
/// device is written to and never replaced. A FIFO that no program reads for 10 seconds, a socket, a
/// directory and a block device are errors.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param words      Signatures, names (all entries of that name), patterns with * ? or [...], or the
///                   beginning of one signature; NULL for the whole cache. *Copied*.
/// @param count      Number of words.
/// @param path       The file. *Copied*.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if a word
///         matches no entry, an entry is damaged or the file cannot be written.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_bundle_export(
    params: *const dijitso_params,
    words: *const *const c_char,
    count: usize,
    path: *const c_char,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_bundle_export", || {
            let path = text(path, "path")?;
            let whole_cache = words.is_null() && count == 0;
            let words: Vec<&str> = texts(words, count, "words")?;
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let cache = cache(params)?;
            let signatures = bundle::select(&cache, (!whole_cache).then_some(&words))?;
            bundle::export(&cache, &signatures, false, Path::new(path)).map(drop)
        })
    }
}

/// Puts the entries of a file that dijitso_bundle_export() has written into a cache.
///
/// Each entry is checked first. An entry that is in the cache already stays.
///
/// @param params     *Borrowed* for the call; NULL for the defaults.
/// @param path       The file, or a FIFO, of which no more is read than its manifest says. *Copied*.
/// @param force      1: takes entries that were built for another machine; 0: refuses them.
/// @param visitor    Called for each entry, after all have been imported; may be NULL.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, also if entries are refused; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
///         DIJITSO_ERROR_CACHE if the file cannot be read or is damaged, or the cache cannot be written.
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
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_bundle_import", || {
            let path = text(path, "path")?;
            let options = ImportOptions { force: flag(force, "force")?, dry_run: false };
            let report = bundle::import(&cache(params)?, Path::new(path), options, &mut |_| {})?;
            let visitor = Visitor::optional(visitor, user_data);
            let _ = report.entries.iter().all(|entry| {
                let (outcome, reason) = match &entry.outcome {
                    ImportOutcome::New => (DIJITSO_IMPORT_NEW, ""),
                    ImportOutcome::There => (DIJITSO_IMPORT_EXISTS, ""),
                    ImportOutcome::Other => (DIJITSO_IMPORT_CONFLICT, ""),
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
            Ok(())
        })
    }
}
