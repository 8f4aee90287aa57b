//! `dijitso_jit`.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::jit::{Batch, Callbacks, Library, Origin, Request, Session, is_nested};
use crate::logging::{self, Finished};
use crate::params::resolved::Resolved;
use crate::plan::is_in_callback;

use super::at_exit;
use super::boundary;
use super::callbacks::{NO_CALLBACKS, dijitso_callbacks, read_callbacks, trampolines};
use super::comm::{self, MPI_Comm};
use super::convert::{handle_output, text};
use super::error::dijitso_error;
use super::fast_path;
use super::library::dijitso_library;
use super::params::{dijitso_params, resolved};
use super::status::dijitso_status;

/// Returns the library of a name and parameters: from memory, from the disk cache, or built now.
///
/// With a communicator:
/// 1. If these ranks have agreed on this library before, it is returned at once, without communication.
/// 2. The ranks compare name, parameters and callbacks, and find out which of them have the library.
/// 3. If some miss it, parallel.buildon chooses builders: "node" (the default) one rank for each physical
///    cache directory, "root" rank 0, "process" every rank, in a directory of its own. They call generate,
///    compile, publish.
/// 4. The library is sent to ranks that still miss it, with its header and all that it needs.
/// 5. All ranks load it.
///
/// After each step the ranks agree on the result: if a step fails on any rank, every rank returns the same
/// status and the same message. Waiting ranks sleep; see TIME-OUTS in the manual.
///
/// With DIJITSO_COMM_NULL, MPI is not touched and need not be initialised. On a hit no callback is called. On
/// a miss the callbacks give the role of this process: with generate it builds, and calls send if set; with
/// receive it receives; with wait alone it waits, and a library that is not there afterwards is
/// DIJITSO_ERROR_CACHE. Each calls wait, if set, before it loads. A builder that fails still calls send and
/// wait, with a blob that carries its error, so receivers report that error. Both generate and receive is
/// DIJITSO_ERROR_INVALID_ARGUMENT, and so is a miss with none of the three.
///
/// @param name         1 to 200 bytes of A-Z a-z 0-9 _ . + -, not beginning with . or -. It stands for what
///                     is generated, best by a good hash. *Copied*.
/// @param params       *Borrowed* for the call; NULL for the defaults.
/// @param callbacks    *Borrowed* for the call; NULL if a hit is expected. With a communicator: the same on
///                     every rank, apart from poll; send and receive both or neither.
/// @param comm         An intra-communicator, or DIJITSO_COMM_NULL.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK or any status.
/// @collective over comm  @threads any, for one communicator one at a time  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit(
    name: *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit", || {
            if !library_out.is_null()
                && let Some(library) = fast_path::memory_hit(name, params, callbacks, comm)
            {
                // Callers only read it and give it back.
                library_out.write(std::ptr::from_ref(library).cast_mut());
                return Ok(());
            }
            let library_out = handle_output(library_out, "library_out");
            let arguments = CallArguments::read(library_out, name, params, callbacks);
            let library = jit(arguments.request(), &mut trampolines(&arguments.callbacks), comm)?;
            *arguments.output()? = dijitso_library::handle(library);
            Ok(())
        })
    }
}

/// The arguments of a call. One that is bad on this rank alone must not keep it away from the others, so it
/// stays an error until the ranks agree.
pub(super) struct CallArguments<'a, T> {
    good: Result<(&'a mut T, &'a str, Arc<Resolved>)>,
    pub(super) callbacks: dijitso_callbacks,
}

impl<'a, T> CallArguments<'a, T> {
    /// # Safety
    /// The arguments are those of `dijitso_jit`.
    pub(super) unsafe fn read(
        output: Result<&'a mut T>,
        name: *const c_char,
        params: *const dijitso_params,
        callbacks: *const dijitso_callbacks,
    ) -> Self {
        // SAFETY: promised by the caller.
        let read = output.and_then(|output| unsafe {
            let (name, params) = (text(name, "name")?, resolved(params)?);
            Ok(((output, name, params), read_callbacks(callbacks)?))
        });
        match read {
            Ok((good, callbacks)) => Self { good: Ok(good), callbacks },
            Err(error) => Self { good: Err(error), callbacks: NO_CALLBACKS },
        }
    }

    pub(super) fn request(&self) -> Result<Request<'_>> {
        let (_, name, params) = self.good.as_ref().map_err(Clone::clone)?;
        Ok(Request { name, params })
    }

    /// Returns the output of a call that succeeded, whose arguments were good on every rank.
    pub(super) fn output(self) -> Result<&'a mut T> {
        self.good.map(|(output, ..)| output)
    }
}

/// Makes a call for one library whose arguments have been read.
pub(super) fn jit(
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
    comm: MPI_Comm,
) -> Result<Library> {
    let names = [request.as_ref().map_or("", |request| request.name)];
    let batch = request.map(|request| Batch { names: &names, params: request.params });
    let missing = || Err(Error::new(Kind::Internal, "a call has no result"));
    jit_batch(batch, callbacks, comm)?.pop().unwrap_or_else(missing)
}

/// Makes a call for several libraries whose arguments have been read. Each has its own result.
pub(crate) fn jit_batch(
    batch: Result<Batch<'_>>,
    callbacks: &mut Callbacks<'_>,
    comm: MPI_Comm,
) -> Result<Vec<Result<Library>>> {
    let begin = Instant::now();
    let names = batch.as_ref().map_or(&[][..], |batch| batch.names);
    let session = Session::of_process();
    let results = if is_local(comm) {
        session.jit_many(batch, callbacks)
    } else {
        on_communicator(session, batch, callbacks, comm)
    };
    match &results {
        Ok(results) => {
            // Hits in memory are too many for a log.
            let is_new = |result: &&Result<Library>| {
                !result.as_ref().is_ok_and(|library| library.origin() == Origin::Memory)
            };
            let outcomes = names.iter().zip(results).filter(|(_, result)| is_new(result));
            outcomes.for_each(|(name, result)| log_outcome(name, begin, result.as_ref()));
        }
        Err(error) => log_outcome(&names.join(", "), begin, Err(error)),
    }
    results
}

/// Returns true if a call takes part of no other rank: it has no communicator, or is made within a callback
/// that other ranks do not run.
pub(super) fn is_local(comm: MPI_Comm) -> bool {
    comm.is_null() || is_nested() || is_in_callback()
}

fn on_communicator(
    session: &Session,
    batch: Result<Batch<'_>>,
    callbacks: &mut Callbacks<'_>,
    comm: MPI_Comm,
) -> Result<Vec<Result<Library>>> {
    let (title, timeout) = crate::jit::title_and_timeout(&batch);
    let comm = comm::attached(comm, &title, timeout, callbacks.poll.as_ref())?;
    session.jit_many_on(comm.as_ref(), comm::state(&comm)?, batch, callbacks)
}

/// Logs the outcome of a call, and prepares for hits to be counted when the process ends.
pub(super) fn log_outcome(name: &str, begin: Instant, result: std::result::Result<&Library, &Error>) {
    at_exit::register();
    let outcome = result.map(|library| (library.signature(), library.origin().name()));
    logging::finished(&Finished { name, seconds: begin.elapsed().as_secs_f64(), outcome });
}
