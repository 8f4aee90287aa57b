//! `dijitso_jit_many`.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::jit::{Batch, batch_error};
use crate::params::resolved::Resolved;

use super::boundary;
use super::callbacks::{NO_CALLBACKS, dijitso_callbacks, read_callbacks, trampolines};
use super::comm::MPI_Comm;
use super::convert::{invalid, texts};
use super::error::dijitso_error;
use super::jit::jit_batch;
use super::library::dijitso_library;
use super::params::{dijitso_params, resolved};
use super::status::dijitso_status;

/// Returns the libraries of several names at once.
///
/// It does what dijitso_jit() does for each name, in as many steps as one call takes: all libraries that the
/// ranks have cost one communication together. Those that are missing are compiled at the same time, by all
/// ranks that may build (see dijitso_jit_start()). One failure does not stop the others.
///
/// generate is called for each library that is missing, with its name. send, receive and wait are called for
/// each library that they are needed for, in the order of the names, except that with a communicator wait is
/// called once.
///
/// @param count          Number of names; may be 0.
/// @param names          As for dijitso_jit(). A name that is given twice is built once, and two handles are
///                       given. *Copied*.
/// @param params         *Borrowed* for the call, for all names; NULL for the defaults.
/// @param callbacks      *Borrowed* for the call; NULL if hits are expected.
/// @param comm           As for dijitso_jit(). The same names in the same order on every rank.
/// @param libraries_out  Has room for count handles, each *owned* by the caller, freed by
///                       dijitso_library_free(). After an error, the libraries that could be had are given,
///                       on all ranks the same ones, and the others are NULL.
/// @param error_out      Receives an error that lists every library that failed, *owned* by the caller; may
///                       be NULL. Its log has the output of the compiler for each of them.
/// @return DIJITSO_OK if all libraries are there, else the status of the first that failed.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_many(
    count: usize,
    names: *const *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
    libraries_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit_many", || {
            let outputs = handle_outputs(libraries_out, count);
            // Arguments that are bad on this rank alone must not keep it away from the others.
            let read = || -> Result<(Vec<&str>, Arc<Resolved>, dijitso_callbacks)> {
                outputs.as_ref().map_err(Clone::clone)?;
                Ok((texts(names, count, "names")?, resolved(params)?, read_callbacks(callbacks)?))
            };
            let arguments = read();
            let host = arguments.as_ref().map_or(NO_CALLBACKS, |(.., callbacks)| *callbacks);
            let batch = match &arguments {
                Ok((names, params, _)) => Ok(Batch { names, params }),
                Err(error) => Err(error.clone()),
            };
            let results = jit_batch(batch, &mut trampolines(&host), comm)?;
            // A call that has results had good arguments on every rank.
            let (names, ..) = arguments?;
            let error: Option<Error> = batch_error(&names, &results);
            for (output, result) in outputs?.iter_mut().zip(results) {
                if let Ok(library) = result {
                    *output = dijitso_library::handle(library);
                }
            }
            error.map_or(Ok(()), Err)
        })
    }
}

/// Sets the outputs to NULL.
///
/// # Safety
/// `pointer` is NULL, or points to `count` handles that may be written for `'a`.
unsafe fn handle_outputs<'a>(
    pointer: *mut *mut dijitso_library,
    count: usize,
) -> Result<&'a mut [*mut dijitso_library]> {
    if count == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() {
        return Err(invalid("libraries_out is NULL"));
    }
    // SAFETY: promised by the caller; written before it is read.
    unsafe {
        for index in 0..count {
            pointer.add(index).write(ptr::null_mut());
        }
        Ok(std::slice::from_raw_parts_mut(pointer, count))
    }
}
