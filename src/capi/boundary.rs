//! The border: nothing unwinds across it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Result, catch};
use crate::logging;

use super::error::dijitso_error;
use super::status::{DIJITSO_OK, dijitso_status};

/// Runs the body of a function that has a status; puts its error into `error_out` unless that is NULL.
///
/// # Safety
/// `error_out` is NULL or points to a pointer that may be written.
pub(super) unsafe fn status(
    error_out: *mut *mut dijitso_error,
    name: &str,
    body: impl FnOnce() -> Result<()>,
) -> dijitso_status {
    let give = |error: *mut dijitso_error| {
        // SAFETY: promised by the caller; only called when it is not NULL.
        unsafe { error_out.write(error) };
    };
    logging::install();
    let wanted = !error_out.is_null();
    if wanted {
        give(std::ptr::null_mut());
    }
    match catch(name, body) {
        Ok(()) => DIJITSO_OK,
        Err(error) => {
            let status = error.kind().code();
            if wanted {
                // Making the object allocates and so might panic in its turn; the status is worth more.
                let object = catch_unwind(|| Box::into_raw(Box::new(dijitso_error::new(error))));
                give(object.unwrap_or(std::ptr::null_mut()));
            }
            status
        }
    }
}

/// Runs the body of a function without a status.
pub(super) fn value<T>(fallback: impl FnOnce() -> T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| fallback())
}
