//! What callbacks are given to fill: sources and blobs.

use std::ffi::c_char;

use crate::error::Result;
use crate::jit::Source;
use crate::signature::check_signature;

use super::convert::{copied, reference_mut, text};
use super::export;
use super::guard;
use super::status::dijitso_status;

/// What a generate callback hands over. Borrowed by the callback until it returns; belongs to its thread.
pub struct dijitso_source {
    pub(super) source: Source,
}

/// What a receive callback fills. Borrowed by the callback until it returns; belongs to its thread.
pub struct dijitso_blob {
    pub(super) data: Vec<u8>,
}

export! {
    /// Hands over the source code; a second call replaces it.
    ///
    /// @param source  *Borrowed* by the callback.
    /// @param text    C or C++, as build.language says; any bytes. *Copied*. May be NULL when length is 0.
    /// @param length  Bytes, without a terminating NUL.
    /// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
    /// @local  @threads that of the callback  @since 0.1.0
    fn dijitso_source_set_code(source: *mut dijitso_source, text: *const c_char, length: usize) -> dijitso_status, otherwise(super::status::DIJITSO_ERROR_INTERNAL) {
        code_of(|| {
            reference_mut(source, "source")?.source.code = Some(copied(text, length, "text")?);
            Ok(())
        })
    }
}

export! {
    /// Hands over a header; the source and the sources of dependants may include it as "SIGNATURE.h".
    ///
    /// @param source  *Borrowed* by the callback.
    /// @param text    Any bytes. *Copied*. May be NULL when length is 0.
    /// @param length  Bytes, without a terminating NUL.
    /// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
    /// @local  @threads that of the callback  @since 0.1.0
    fn dijitso_source_set_header(source: *mut dijitso_source, text: *const c_char, length: usize) -> dijitso_status, otherwise(super::status::DIJITSO_ERROR_INTERNAL) {
        code_of(|| {
            reference_mut(source, "source")?.source.header = Some(copied(text, length, "text")?);
            Ok(())
        })
    }
}

export! {
    /// Adds a library that this one is to be linked to.
    ///
    /// @param source     *Borrowed* by the callback.
    /// @param signature  That of a completed dijitso_jit() with the same cache directory, see
    ///                   dijitso_library_signature(). *Copied*.
    /// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
    /// @local  @threads that of the callback  @since 0.1.0
    fn dijitso_source_add_dependency(source: *mut dijitso_source, signature: *const c_char) -> dijitso_status, otherwise(super::status::DIJITSO_ERROR_INTERNAL) {
        code_of(|| {
            let source = reference_mut(source, "source")?;
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            source.source.dependencies.push(signature.to_owned());
            Ok(())
        })
    }
}

export! {
    /// Says why the callback is going to return non-zero; it becomes part of the error message on every rank.
    ///
    /// @param source   *Borrowed* by the callback.
    /// @param message  *Copied*.
    /// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
    /// @local  @threads that of the callback  @since 0.1.0
    fn dijitso_source_set_error(source: *mut dijitso_source, message: *const c_char) -> dijitso_status, otherwise(super::status::DIJITSO_ERROR_INTERNAL) {
        code_of(|| {
            reference_mut(source, "source")?.source.error = Some(text(message, "message")?.to_owned());
            Ok(())
        })
    }
}

export! {
    /// Makes room for what a receive callback receives.
    ///
    /// @param blob  *Borrowed* by the callback; NULL gives NULL.
    /// @param size  Bytes, as passed to the send callback of the builder.
    /// @return A buffer of that size to write into, all zero at first, *borrowed* until the next call or the return of
    ///         the callback; NULL when there is not enough memory. Not NULL when size is 0.
    /// @local  @threads that of the callback  @since 0.1.0
    fn dijitso_blob_resize(blob: *mut dijitso_blob, size: usize) -> *mut u8, otherwise(std::ptr::null_mut()) {
        let Some(blob) = blob.as_mut() else { return std::ptr::null_mut() };
        blob.data.clear();
        if blob.data.try_reserve_exact(size).is_err() {
            return std::ptr::null_mut();
        }
        blob.data.resize(size, 0);
        blob.data.as_mut_ptr()
    }
}

/// The status of functions that have no error object: what went wrong is plain from it.
fn code_of(body: impl FnOnce() -> Result<()>) -> dijitso_status {
    // SAFETY: NULL is allowed.
    unsafe { guard::status(std::ptr::null_mut(), "dijitso_source", body) }
}
