//! `dijitso_jit` in two parts.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::jit::pending::Pending;
use crate::jit::{Batch, Library, Request, Session};
use crate::parallel::Communicator;
use crate::parallel::mpi::MpiComm;

use super::at_exit;
use super::boundary;
use super::callbacks::{dijitso_callbacks, trampolines};
use super::comm::{self, MPI_Comm};
use super::convert::{handle_output, invalid, owned};
use super::error::dijitso_error;
use super::jit::{CallArguments, is_local, log_outcome};
use super::library::dijitso_library;
use super::params::dijitso_params;
use super::status::dijitso_status;

/// A call that has been started. Owned by the caller, consumed by dijitso_jit_finish() or freed by
/// dijitso_pending_free().
pub struct dijitso_pending {
    pending: Pending,
    callbacks: dijitso_callbacks,
    /// The time that the start took.
    spent: Duration,
    comm: Option<Arc<MpiComm>>,
}

/// Starts a call of dijitso_jit(), which dijitso_jit_finish() completes.
///
/// On a miss it calls generate, and leaves the source to be compiled by threads of the library. Libraries
/// that do not need each other are built at the same time if all of them are started before one is finished:
/// @code
/// dijitso_jit_start("mass", params, &callbacks, comm, &mass, &error);
/// dijitso_jit_start("stiffness", params, &callbacks, comm, &stiffness, &error);
/// dijitso_jit_finish(mass, &mass_library, &error);
/// dijitso_jit_finish(stiffness, &stiffness_library, &error);
/// @endcode
///
/// generate is called on the calling thread. With a communicator the library chooses the rank: calls that
/// miss go in turn to the hosts that share a directory, then to their ranks (parallel.buildon "node", equal
/// processors), so every rank must be able to generate. If another program is building the same library,
/// dijitso_jit_finish() waits for it, and calls generate if that program fails. No other callback is called
/// before dijitso_jit_finish().
///
/// At most build.max_compilers compilers run at once: by default one for each core of the job on this host,
/// even if a launcher has bound this rank to one core; see build.cores. No thread of the library calls MPI.
///
/// With a communicator all ranks start the same calls in the same order. They compare name, parameters and
/// callbacks as in dijitso_jit(); if a rank differs, or makes another call, all return
/// DIJITSO_ERROR_RANKS_DISAGREE. Other calls on the communicator may come between start and finish. A memory
/// hit takes no communication, in start and finish.
///
/// Within a generate callback both parts are local to the builder, as dijitso_jit() is. The callback must
/// finish or free what it starts; otherwise it fails with DIJITSO_ERROR_GENERATE.
///
/// If the process ends by exit() or the return of main, builds are given up and their compilers ended.
///
/// @param name         As for dijitso_jit().
/// @param params       *Copied*; NULL for the defaults.
/// @param callbacks    *Copied*; the functions and user_data are used until the call is finished or freed.
///                     NULL if a hit is expected.
/// @param comm         As for dijitso_jit(). It must not be freed before the call is finished.
/// @param pending_out  Receives the call, *owned* by the caller, consumed by dijitso_jit_finish() or freed by
///                     dijitso_pending_free(); NULL on an error.
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, or what is wrong with the call itself or the cache. If generating or compiling fails,
///         dijitso_jit_finish() returns that error on all ranks.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_start(
    name: *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
    pending_out: *mut *mut dijitso_pending,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit_start", || {
            let begin = Instant::now();
            let pending_out = handle_output(pending_out, "pending_out");
            let arguments = CallArguments::read(pending_out, name, params, callbacks);
            // Compilers must not outlive the program that started them.
            at_exit::register();
            let request = arguments.request();
            let name = request.as_ref().map_or("", |request| request.name).to_owned();
            let mut pending = start(request, arguments.callbacks, comm)
                .inspect_err(|error| log_outcome(&name, begin, Err(error)))?;
            let pending_out = arguments.output()?;
            pending.spent = begin.elapsed();
            *pending_out = owned(pending);
            Ok(())
        })
    }
}

/// Completes a call that dijitso_jit_start() has started: waits until the library is built, sends it to ranks
/// that need it, and loads it on all ranks.
///
/// With a communicator all ranks finish the calls that they have started in the same order, which need not be
/// that of the starts. If a rank finishes another call, or makes another one, all return
/// DIJITSO_ERROR_RANKS_DISAGREE, and that call is lost like any other that fails. If a step fails on any
/// rank, every rank returns the same status and the same message. Other calls are not affected.
///
/// @param pending      *Owned* by the caller until now, whatever the result; what it borrows is not used
///                     afterwards. Not NULL. A call is finished within the generate callback in which it was
///                     started, or outside of callbacks if it was started there; else DIJITSO_ERROR_STATE.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_jit(). DIJITSO_ERROR_STATE in a process that was forked after the start.
/// @collective over the communicator of the start  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_finish(
    pending: *mut dijitso_pending,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_jit_finish", || {
            let library_out = handle_output(library_out, "library_out");
            if pending.is_null() {
                return Err(invalid("pending is NULL"));
            }
            let pending = *Box::from_raw(pending);
            let good = library_out.as_ref().map(|_| ()).map_err(Clone::clone);
            let library = finish(pending, good)?;
            *library_out? = dijitso_library::handle(library);
            Ok(())
        })
    }
}

/// Gives up a call that has been started. Its compiler is ended soon, unless another call has started the
/// same library. Nothing is sent to other ranks: all ranks have to give up the call.
///
/// @param pending  *Owned* by the caller until now; NULL is fine.
/// @local  @threads that of the start  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_pending_free(pending: *mut dijitso_pending) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::free(pending) }
}

fn start(
    request: Result<Request<'_>>,
    callbacks: dijitso_callbacks,
    comm: MPI_Comm,
) -> Result<dijitso_pending> {
    if is_local(comm) {
        let pending = Session::of_process().start(request, &mut trampolines(&callbacks))?;
        return Ok(dijitso_pending { pending, callbacks, spent: Duration::ZERO, comm: None });
    }
    start_on_communicator(request, callbacks, comm)
}

fn start_on_communicator(
    request: Result<Request<'_>>,
    callbacks: dijitso_callbacks,
    comm: MPI_Comm,
) -> Result<dijitso_pending> {
    let names = [request.as_ref().map_or("", |request| request.name)];
    let batch = request.as_ref().map(|request| Batch { names: &names, params: request.params });
    let (title, timeout) = crate::jit::title_and_timeout(&batch.map_err(Clone::clone));
    let mut polled = trampolines(&callbacks);
    let comm = comm::attached(comm, &title, timeout, polled.poll.as_ref())?;
    comm.check_alive()?;
    let (session, state) = (Session::of_process(), comm::state(&comm)?);
    let pending = session.start_on(comm.as_ref(), state, request, &mut polled)?;
    Ok(dijitso_pending { pending, callbacks, spent: Duration::ZERO, comm: Some(comm) })
}

fn finish(pending: dijitso_pending, good: Result<()>) -> Result<Library> {
    let begin = Instant::now().checked_sub(pending.spent).unwrap_or_else(Instant::now);
    let name = pending.pending.name().to_owned();
    let library = complete(pending, good);
    log_outcome(&name, begin, library.as_ref());
    library
}

/// `good` is an error if the arguments of this rank are bad; other ranks may wait for it all the same.
fn complete(started: dijitso_pending, good: Result<()>) -> Result<Library> {
    let session = Session::of_process();
    let callbacks = &mut trampolines(&started.callbacks);
    if let Some(comm) = &started.comm {
        return session.finish_on(comm.as_ref(), comm::state(comm)?, started.pending, good, callbacks);
    }
    let library = session.finish(started.pending, callbacks);
    good.and(library)
}

/// Counts the builds of this process: total have begun, done of them have ended, with or without success. The
/// others are under way.
///
/// A build begins with its generate, and ends when its library is in the cache, or it fails or is given up.
/// Libraries that are found in memory or on disk, or that another process builds, are not counted. Builds
/// that dijitso_jit_start() has left to other threads are.
///
/// @param done_out   Receives the builds that have ended, never more than total; may be NULL.
/// @param total_out  Receives the builds that have begun; may be NULL.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_progress(done_out: *mut u64, total_out: *mut u64) {
    boundary::value((), || {
        let (done, total) = Session::of_process().progress();
        // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
        unsafe {
            if let Some(out) = done_out.as_mut() {
                *out = done;
            }
            if let Some(out) = total_out.as_mut() {
                *out = total;
            }
        }
    });
}
