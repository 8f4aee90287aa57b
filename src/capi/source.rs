//! What callbacks are given to fill: sources and blobs.

use std::ffi::c_char;

use crate::error::{Error, Kind, Result};
use crate::human;
use crate::jit::Source;
use crate::signature::check_signature;

use super::boundary;
use super::convert::{copied, output, reference_mut, text};
use super::error::dijitso_error;
use super::status::dijitso_status;

/// What a generate callback hands over. Borrowed by the callback until it returns; belongs to its thread.
pub struct dijitso_source {
    pub(super) source: Source,
}

/// Bytes of any length: what a receive callback fills, and what functions that read the cache fill for you. A
/// callback borrows one until it returns; others are owned by the caller, made by dijitso_blob_new() and freed by
/// dijitso_blob_free(). One thread at a time.
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

    /// Takes the place of what was there.
    pub(super) fn set(&mut self, mut bytes: Vec<u8>) -> Result<()> {
        bytes.try_reserve_exact(1).map_err(|_| {
            Error::new(Kind::Cache, format!("not enough memory for {}", human::length(bytes.len())))
        })?;
        bytes.push(0);
        self.data = bytes;
        Ok(())
    }
}

/// Hands over the source code; a second call replaces it.
///
/// @param source  *Borrowed* by the callback.
/// @param text    C or C++, as build.language says; any bytes. *Copied*. May be NULL when length is 0.
/// @param length  Bytes, without a terminating NUL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_set_code(
    source: *mut dijitso_source,
    text: *const c_char,
    length: usize,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || super::status::DIJITSO_ERROR_INTERNAL,
        || unsafe {
            code_of(|| {
                reference_mut(source, "source")?.source.code = Some(copied(text, length, "text")?);
                Ok(())
            })
        },
    )
}

/// Hands over a header; the source and the sources of dependants may include it as "SIGNATURE.h".
///
/// @param source  *Borrowed* by the callback.
/// @param text    Any bytes. *Copied*. May be NULL when length is 0.
/// @param length  Bytes, without a terminating NUL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_set_header(
    source: *mut dijitso_source,
    text: *const c_char,
    length: usize,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || super::status::DIJITSO_ERROR_INTERNAL,
        || unsafe {
            code_of(|| {
                reference_mut(source, "source")?.source.header = Some(copied(text, length, "text")?);
                Ok(())
            })
        },
    )
}

/// Adds a library that this one is to be linked to.
///
/// @param source     *Borrowed* by the callback.
/// @param signature  That of a completed dijitso_jit() with the same cache directory, see
///                   dijitso_library_signature(). *Copied*.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_source_add_dependency(
    source: *mut dijitso_source,
    signature: *const c_char,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || super::status::DIJITSO_ERROR_INTERNAL,
        || unsafe {
            code_of(|| {
                let source = reference_mut(source, "source")?;
                let signature = text(signature, "signature")?;
                check_signature(signature)?;
                source.source.dependencies.push(signature.to_owned());
                Ok(())
            })
        },
    )
}

/// Says why the callback is going to return non-zero; it becomes part of the error message on every rank.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || super::status::DIJITSO_ERROR_INTERNAL,
        || unsafe {
            code_of(|| {
                reference_mut(source, "source")?.source.error = Some(text(message, "message")?.to_owned());
                Ok(())
            })
        },
    )
}

/// Makes a blob, with nothing in it.
///
/// @param blob_out   Receives the blob, *owned* by the caller, freed by dijitso_blob_free().
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_new(
    blob_out: *mut *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_blob_new", || {
            // Made only where there is a place for it: the right side of an assignment comes first.
            let blob_out = output(blob_out, std::ptr::null_mut(), "blob_out")?;
            *blob_out = Box::into_raw(Box::default());
            Ok(())
        })
    }
}

/// Makes room for what is to be received.
///
/// @param blob  *Borrowed* for the call; NULL gives NULL.
/// @param size  Bytes; in a receive callback, as passed to the send callback of the builder.
/// @return A buffer of that size to write into, all zero at first, *borrowed* until the next call that changes the
///         blob, its end, or the return of the callback; NULL when there is not enough memory. Not NULL when size
///         is 0.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_resize(blob: *mut dijitso_blob, size: usize) -> *mut u8 {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(std::ptr::null_mut, || unsafe {
        let Some(blob) = blob.as_mut() else { return std::ptr::null_mut() };
        blob.data.clear();
        let Some(length) = size.checked_add(1) else { return std::ptr::null_mut() };
        if blob.data.try_reserve_exact(length).is_err() {
            return std::ptr::null_mut();
        }
        blob.data.resize(length, 0);
        blob.data.as_mut_ptr()
    })
}

/// The bytes of a blob. A NUL follows them, so that what is a text can be used as one.
///
/// @param blob  *Borrowed* for the call; NULL gives "".
/// @return *Borrowed* until the blob is changed or freed; never NULL.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_data(blob: *const dijitso_blob) -> *const u8 {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || c"".as_ptr().cast(),
        || unsafe {
            match blob.as_ref() {
                Some(blob) if !blob.data.is_empty() => blob.data.as_ptr(),
                _ => c"".as_ptr().cast(),
            }
        },
    )
}

/// The number of bytes of a blob.
///
/// @param blob  *Borrowed* for the call; NULL gives 0.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_size(blob: *const dijitso_blob) -> usize {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(|| 0, || unsafe { blob.as_ref().map_or(0, |blob| blob.bytes().len()) })
}

/// Frees a blob.
///
/// @param blob  *Owned* by the caller until now, made by dijitso_blob_new(); NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_free(blob: *mut dijitso_blob) {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || (),
        || unsafe {
            if !blob.is_null() {
                drop(Box::from_raw(blob));
            }
        },
    )
}

/// The status of functions that have no error object: what went wrong is plain from it.
fn code_of(body: impl FnOnce() -> Result<()>) -> dijitso_status {
    // SAFETY: NULL is allowed.
    unsafe { boundary::status(std::ptr::null_mut(), "dijitso_source", body) }
}
