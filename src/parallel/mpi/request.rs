//! Error codes and requests of MPI.

use std::ffi::c_int;

use mpi_sys::{MPI_Error_string, MPI_Request, MPI_Test, RSMPI_REQUEST_NULL, RSMPI_STATUS_IGNORE};

use crate::error::{Error, Kind, Result};

/// Turns a code that `function` has returned into a result.
///
/// # Errors
/// [`Kind::Mpi`] with the text of MPI, unless the code is 0.
pub(super) fn check(code: c_int, function: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0_u8; 4096];
    let mut length: c_int = 0;
    // SAFETY: the buffer is longer than MPI_MAX_ERROR_STRING of any MPI.
    unsafe { MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
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
pub(super) fn null_request() -> MPI_Request {
    // SAFETY: a constant of the MPI library, set when the program was loaded.
    unsafe { RSMPI_REQUEST_NULL }
}

/// Starts a non-blocking operation with the MPI function `function` and adds its request to `requests`.
///
/// # Errors
/// [`Kind::Mpi`].
pub(super) fn start(
    requests: &mut Vec<MPI_Request>,
    function: &str,
    start: impl FnOnce(*mut MPI_Request) -> c_int,
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
pub(super) fn are_complete(requests: &mut Vec<MPI_Request>, function: &str) -> Result<bool> {
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
pub(super) fn is_complete(request: &mut MPI_Request, function: &str) -> Result<bool> {
    let mut complete: c_int = 0;
    // SAFETY: the request was started by this module; no status is asked for.
    check(unsafe { MPI_Test(request, &raw mut complete, RSMPI_STATUS_IGNORE) }, function)?;
    Ok(complete != 0)
}
