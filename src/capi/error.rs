//! Error objects.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

use crate::error::Error;

use super::boundary;
use super::convert::c_string;
use super::status::{DIJITSO_OK, dijitso_status};

/// Why a call failed. Owned by the caller, freed by dijitso_error_free(). Any thread may read it.
pub struct dijitso_error {
    status: i32,
    rank: i32,
    message: CString,
    log: CString,
    path: CString,
    /// The files in the folder `path`; listed when they are first asked for.
    files: OnceLock<Vec<CString>>,
}

impl dijitso_error {
    /// Returns the paths of the files in the folder that reproduces the failure.
    pub(super) fn files(&self) -> &[CString] {
        self.files.get_or_init(|| files_in(&self.path))
    }
}

impl From<Error> for dijitso_error {
    fn from(error: Error) -> Self {
        Self {
            status: error.kind().code(),
            rank: error.rank(),
            message: c_string(error.message()),
            log: c_string(error.log()),
            path: c_string(error.path()),
            files: OnceLock::new(),
        }
    }
}

fn files_in(folder: &CStr) -> Vec<CString> {
    // An error without a folder has an empty path.
    let entries = std::fs::read_dir(OsStr::from_bytes(folder.to_bytes())).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut files: Vec<_> =
        files.filter_map(|entry| CString::new(entry.path().into_os_string().into_vec()).ok()).collect();
    files.sort();
    files
}

/// Returns the status that the failed call returned.
///
/// @param error  *Borrowed* for the call; NULL gives DIJITSO_OK.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_status(error: *const dijitso_error) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(error, DIJITSO_OK, |error| error.status) }
}

/// Returns one paragraph: what failed, where, on which rank, the compiler's first error, and what to do next.
///
/// @param error  *Borrowed* for the call; NULL gives "".
/// @return *Borrowed* until the error is freed; never NULL. The same on every rank after a collective call.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_message(error: *const dijitso_error) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(error, c"".as_ptr(), |error| error.message.as_ptr()) }
}

/// Returns the whole output of the compiler, "" if there is none.
///
/// @param error  *Borrowed* for the call; NULL gives "".
/// @return *Borrowed* until the error is freed; never NULL. At most 8 MiB; non-UTF-8 bytes are replaced.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_log(error: *const dijitso_error) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(error, c"".as_ptr(), |error| error.log.as_ptr()) }
}

/// Returns the folder that reproduces the failure (sources, header, log, recompile.sh), "" if there is none.
///
/// @param error  *Borrowed* for the call; NULL gives "".
/// @return *Borrowed* until the error is freed; never NULL. A path on the host of dijitso_error_rank().
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_path(error: *const dijitso_error) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(error, c"".as_ptr(), |error| error.path.as_ptr()) }
}

/// Returns the rank in the communicator on which it happened, -1 if it concerns no single rank.
///
/// @param error  *Borrowed* for the call; NULL gives -1.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_rank(error: *const dijitso_error) -> i32 {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(error, -1, |error| error.rank) }
}

/// Frees an error.
///
/// @param error  *Owned* by the caller until now; NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_error_free(error: *mut dijitso_error) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::free(error) }
}
