//! Error codes and requests of MPI.

use std::ffi::c_int;

use crate::error::{Error, Kind, Result};

use super::abi::{ERROR_SIZE, Handle};
use super::find::mpi;

/// Turns a code that `function` has returned into a result.
///
/// # Errors
/// [`Kind::Mpi`] with the text of MPI, unless the code is 0.
pub(super) fn check(code: c_int, function: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0_u8; ERROR_SIZE];
    let mut length: c_int = 0;
    // SAFETY: the buffer is longer than MPI_MAX_ERROR_STRING of any MPI.
    unsafe { mpi().functions.error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
    let length = usize::try_from(length).unwrap_or_default().min(text.len());
    let reason = String::from_utf8_lossy(&text[..length]).into_owned();
    Err(Error::new(Kind::Mpi, format!("{function} failed: {reason}")))
}

/// Converts a length, rank or color to an `int` of MPI.
///
/// # Errors
/// [`Kind::Mpi`] if it is too large.
pub(super) fn count(length: usize) -> Result<c_int> {
    c_int::try_from(length)
        .map_err(|_| Error::new(Kind::Mpi, format!("a message of {length} bytes is too long for MPI")))
}

/// Returns the null request.
pub(super) fn null_request() -> Handle {
    Handle(mpi().constants.request_null)
}

/// Starts a non-blocking operation with the MPI function `function` and adds its request to `requests`.
///
/// # Errors
/// [`Kind::Mpi`].
pub(super) fn start(
    requests: &mut Vec<Handle>,
    function: &str,
    start: impl FnOnce(*mut Handle) -> c_int,
) -> Result<()> {
    let mut request = null_request();
    check(start(&raw mut request), function)?;
    requests.push(request);
    Ok(())
}

/// Tests if requests, which `function` has started, are all complete.
///
/// # Errors
/// [`Kind::Mpi`] if one failed.
pub(super) fn are_complete(requests: &mut Vec<Handle>, function: &str) -> Result<bool> {
    while let Some(request) = requests.last_mut() {
        if !is_complete(request, function)? {
            return Ok(false);
        }
        requests.pop();
    }
    Ok(true)
}

/// Tests if a request, which `function` has started, is complete.
///
/// # Errors
/// [`Kind::Mpi`] if it failed.
pub(super) fn is_complete(request: &mut Handle, function: &str) -> Result<bool> {
    let mut complete: c_int = 0;
    // SAFETY: the request was started by this module; no status is asked for.
    let code = unsafe { mpi().functions.test(request, &raw mut complete, mpi().status_ignore()) };
    check(code, function)?;
    Ok(complete != 0)
}
