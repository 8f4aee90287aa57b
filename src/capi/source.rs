//! Sources and blobs, which callbacks fill.

use std::ffi::c_char;
use std::ptr;

use crate::error::{Error, Kind, Result};
use crate::human;
use crate::jit::Source;
use crate::signature::check_signature;

use super::boundary;
use super::convert::{copied, reference_mut, text};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// The answer of a generate callback: borrowed until the callback returns, and used on its thread only.
pub struct dijitso_source {
    pub(super) source: Source,
}

/// Bytes of any length. A callback borrows a blob until it returns; others are owned by the caller, made by
/// dijitso_blob_new() and freed by dijitso_blob_free(). One thread at a time.
#[derive(Default)]
pub struct dijitso_blob {
    /// The bytes and a NUL, or nothing at all.
    data: Vec<u8>,
}

impl dijitso_blob {
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.split_last().map_or(&[], |(_, bytes)| bytes)
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.data.pop();
        self.data
    }

    /// Returns the bytes as a C string, if the blob was ever filled.
    pub(super) fn terminated(&self) -> Option<*const u8> {
        (!self.data.is_empty()).then_some(self.data.as_ptr())
    }

    /// Replaces the contents.
    pub(super) fn set(&mut self, mut bytes: Vec<u8>) -> Result<()> {
        bytes.try_reserve_exact(1).map_err(|_| {
            Error::new(Kind::Cache, format!("not enough memory for {}", human::length(bytes.len())))
        })?;
        bytes.push(0);
        self.data = bytes;
        Ok(())
    }

    /// Replaces the contents by zeros. Returns None if memory is short.
    fn resize(&mut self, size: usize) -> Option<*mut u8> {
        self.data.clear();
        let length = size.checked_add(1)?;
        self.data.try_reserve_exact(length).ok()?;
        self.data.resize(length, 0);
        Some(self.data.as_mut_ptr())
    }
}

/// The place for an error of functions that have none: their status says what went wrong.
const NO_ERROR: *mut *mut dijitso_error = ptr::null_mut();

/// Sets the source code; a second call replaces it.
///
/// @param source  *Borrowed* by the callback.
/// @param text    C, C++ or Fortran, as build.language says; any bytes. *Copied*. May be NULL if length is 0.
/// @param length  Bytes, without a terminating NUL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_set_code(
    source: *mut dijitso_source,
    text: *const c_char,
    length: usize,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_source_set_code", || {
            reference_mut(source, "source")?.source.code = Some(copied(text, length, "text")?);
            Ok(())
        })
    }
}

/// Sets a header. The source and sources of dependants may include it as "SIGNATURE.h".
///
/// @param source  *Borrowed* by the callback.
/// @param text    Any bytes. *Copied*. May be NULL if length is 0.
/// @param length  Bytes, without a terminating NUL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_set_header(
    source: *mut dijitso_source,
    text: *const c_char,
    length: usize,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_source_set_header", || {
            reference_mut(source, "source")?.source.header = Some(copied(text, length, "text")?);
            Ok(())
        })
    }
}

/// Adds a library to link to.
///
/// @param source     *Borrowed* by the callback.
/// @param signature  The dijitso_library_signature() of a completed dijitso_jit() with the same cache
///                   directory. *Copied*.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_add_dependency(
    source: *mut dijitso_source,
    signature: *const c_char,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_source_add_dependency", || {
            let source = reference_mut(source, "source")?;
            let signature = text(signature, "signature")?;
            check_signature(signature)?;
            source.source.dependencies.push(signature.to_owned());
            Ok(())
        })
    }
}

/// Says why the callback will return non-zero. The text becomes part of the error message on all ranks.
///
/// @param source   *Borrowed* by the callback.
/// @param message  *Copied*.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_set_error(
    source: *mut dijitso_source,
    message: *const c_char,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_source_set_error", || {
            reference_mut(source, "source")?.source.error = Some(text(message, "message")?.to_owned());
            Ok(())
        })
    }
}

/// Gives a blob its size and returns its buffer. What it held is gone.
///
/// @param blob  *Borrowed* for the call; NULL gives NULL.
/// @param size  Bytes; in a receive callback the size that was passed to the builder's send callback.
/// @return A buffer of that size to write into, all zero at first; *borrowed* until the blob is changed or
///         freed, or the callback returns. NULL if there is not enough memory. Not NULL if size is 0.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_resize(blob: *mut dijitso_blob, size: usize) -> *mut u8 {
    boundary::value(ptr::null_mut(), || {
        // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
        unsafe { blob.as_mut() }.and_then(|blob| blob.resize(size)).unwrap_or(ptr::null_mut())
    })
}
