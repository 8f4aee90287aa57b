//! The boundary to C: no panic unwinds across it, and errors leave as objects of the caller.
//!
//! The body of every exported function is one call of a function of this file; a test checks that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::error::{Error, Kind, Result, catch};
use crate::logging;

/// Runs the body of a function that returns a status. Writes its error to `error_out` unless that is NULL.
///
/// # Safety
/// `error_out` is NULL, or points to a pointer that may be written.
pub(super) unsafe fn status<E: From<Error>>(
    error_out: *mut *mut E,
    name: &str,
    body: impl FnOnce() -> Result<()>,
) -> i32 {
    let write = |object: *mut E| {
        if !error_out.is_null() {
            // SAFETY: promised by the caller.
            unsafe { error_out.write(object) };
        }
    };
    logging::install();
    write(ptr::null_mut());
    let Err(error) = catch(name, body) else { return 0 };
    let status = error.kind().code();
    if !error_out.is_null() {
        // Making the object allocates and may panic in its turn; the status comes out all the same.
        write(catch_unwind(|| Box::into_raw(Box::new(E::from(error)))).unwrap_or(ptr::null_mut()));
    }
    status
}

/// Runs the body of a function that passes on the status of another exported function.
pub(super) fn forward(body: impl FnOnce() -> i32) -> i32 {
    value(Kind::Internal.code(), body)
}

/// Runs the body of a function without a status. Returns `fallback` if it panics.
pub(super) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// Reads a handle. Returns `absent` if the handle is NULL or reading panics.
///
/// # Safety
/// `handle` is NULL or valid.
pub(super) unsafe fn get<H, T: Copy>(handle: *const H, absent: T, read: impl FnOnce(&H) -> T) -> T {
    // SAFETY: promised by the caller.
    value(absent, || unsafe { handle.as_ref() }.map_or(absent, read))
}

/// Drops an object that the caller owns; NULL is fine.
///
/// # Safety
/// `object` is NULL, or came from `Box::into_raw` and is not used any more.
pub(super) unsafe fn free<T>(object: *mut T) {
    value((), || {
        if !object.is_null() {
            // SAFETY: promised by the caller.
            drop(unsafe { Box::from_raw(object) });
        }
    });
}
