//! Blobs of the caller.

use super::boundary;
use super::convert::{handle_output, owned};
use super::error::dijitso_error;
use super::source::dijitso_blob;
use super::status::dijitso_status;

/// Makes an empty blob.
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
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_blob_new", || {
            let blob_out = handle_output(blob_out, "blob_out")?;
            *blob_out = owned(dijitso_blob::default());
            Ok(())
        })
    }
}

/// Returns the bytes of a blob. A NUL follows them, so a text can be used as a C string.
///
/// @param blob  *Borrowed* for the call; NULL gives "".
/// @return *Borrowed* until the blob is changed or freed; never NULL.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_data(blob: *const dijitso_blob) -> *const u8 {
    let empty = c"".as_ptr().cast();
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(blob, empty, |blob| blob.terminated().unwrap_or(empty)) }
}

/// Returns the number of bytes of a blob.
///
/// @param blob  *Borrowed* for the call; NULL gives 0.
/// @local  @threads one at a time for each blob  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_size(blob: *const dijitso_blob) -> usize {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(blob, 0, |blob| blob.bytes().len()) }
}

/// Frees a blob.
///
/// @param blob  *Owned* by the caller until now, made by dijitso_blob_new(); NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_blob_free(blob: *mut dijitso_blob) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::free(blob) }
}
