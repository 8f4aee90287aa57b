//! The call that all is about, in two parts.

use std::ffi::c_char;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::jit::pending::Pending;
use crate::jit::{Library, Request, Session, is_nested};

use super::at_exit;
use super::boundary;
use super::convert::{output, text};
use super::defaults::defaults;
use super::error::dijitso_error;
use super::jit::{MPI_Comm, NO_CALLBACKS, dijitso_callbacks, is_null, read_callbacks, tell, trampolines};
use super::library::dijitso_library;
use super::params::dijitso_params;
use super::status::dijitso_status;

#[cfg(feature = "mpi")]
use super::jit::{agreed, attached};
#[cfg(feature = "mpi")]
use crate::jit::ranks::waits;
#[cfg(feature = "mpi")]
use crate::parallel::{Communicator, mpi::MpiComm};
#[cfg(feature = "mpi")]
use std::sync::Arc;

/// A call that has been started. Owned by the caller, consumed by dijitso_jit_finish(), or freed by
/// dijitso_pending_free().
pub struct dijitso_pending {
    pending: Pending,
    callbacks: dijitso_callbacks,
    /// How long the start took.
    spent: Duration,
    #[cfg(feature = "mpi")]
    comm: Option<Arc<MpiComm>>,
}

/// The first part of dijitso_jit(): on a miss generates the source and leaves it to be compiled by threads of the
/// library, so that the caller can start further calls meanwhile. The second part is dijitso_jit_finish(). Modules
/// that do not need each other are built at the same time if all of them are started before one is finished:
/// @code
/// dijitso_jit_start("mass", params, &callbacks, comm, &mass, &error);
/// dijitso_jit_start("stiffness", params, &callbacks, comm, &stiffness, &error);
/// dijitso_jit_finish(mass, &mass_library, &error);
/// dijitso_jit_finish(stiffness, &stiffness_library, &error);
/// @endcode
///
/// generate is called within this function, on its thread, and by no other thread; with a communicator on ranks that
/// the library chooses: calls that miss are dealt out in turn over the hosts, then the ranks, that share a directory
/// (parallel.buildon "node"; not with processors of different kinds), so any rank has to be able to generate. Where
/// another program builds the same just now, this function does not wait for it; dijitso_jit_finish() does, and
/// calls generate if that program fails. No other callback is called before dijitso_jit_finish().
///
/// At most build.max_compilers compilers run at once, by default one for each core of the job on this host, even if a
/// launcher has bound this rank to one of them; see build.cores. No thread of the library calls MPI.
///
/// With a communicator: all ranks start the same calls in the same order. They compare name, parameters and
/// callbacks as in dijitso_jit(); a rank that differs, or that makes another call, is DIJITSO_ERROR_RANKS_DISAGREE on
/// all. Other calls on the communicator may be made between start and finish. A call that memory answers takes no
/// communication, neither in its start nor in its finish.
///
/// Within a generate callback, start and finish are local to the builder as dijitso_jit() is. What is started there
/// is finished or freed there: a callback that returns with calls that are neither fails, with
/// DIJITSO_ERROR_GENERATE.
///
/// When the process ends by exit() or the return of main, builds under way are given up and their compilers ended.
///
/// @param name         As in dijitso_jit().
/// @param params       *Copied*; NULL for the defaults, the config file and the environment.
/// @param callbacks    *Copied*; the functions and user_data are used until the call is finished or freed. NULL where
///                     a hit is expected.
/// @param comm         As in dijitso_jit(). It must not be freed before the call is finished.
/// @param pending_out  Receives the call, *owned* by the caller, consumed by dijitso_jit_finish() or freed by
///                     dijitso_pending_free(); NULL on an error.
/// @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK, or what is wrong with the call itself or the cache. What fails in generating or compiling is
///         told by dijitso_jit_finish(), on all ranks.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_jit_start", || {
            let begin = Instant::now();
            let pending_out = output(pending_out, std::ptr::null_mut(), "pending_out");
            // An argument that is bad on this rank alone must not keep it away from the others.
            let arguments = pending_out.and_then(|pending_out| {
                let name = text(name, "name")?;
                let params = params.as_ref().map_or_else(defaults, dijitso_params::resolved)?;
                Ok((pending_out, name, params, read_callbacks(callbacks)?))
            });
            let request = match &arguments {
                Ok((_, name, params, _)) => Ok(Request { name, params }),
                Err(error) => Err(error.clone()),
            };
            let given = arguments.as_ref().map_or(NO_CALLBACKS, |(_, _, _, callbacks)| *callbacks);
            // Compilers must not outlive the program that wanted them.
            at_exit::register();
            let name = request.as_ref().map_or("", |request| request.name).to_owned();
            let mut pending =
                start(request, given, comm).inspect_err(|error| tell(&name, begin, Err(error)))?;
            // A call that succeeded had good arguments on every rank.
            let (pending_out, ..) = arguments?;
            pending.spent = begin.elapsed();
            *pending_out = Box::into_raw(Box::new(pending));
            Ok(())
        })
    }
}

/// The second part of dijitso_jit(): waits until what dijitso_jit_start() has begun is done, hands it over to where it
/// is needed, and loads it on all ranks.
///
/// With a communicator: all ranks finish the calls that they have started in the same order, which need not be that of
/// the starts; a rank that finishes another one, or makes another call, is DIJITSO_ERROR_RANKS_DISAGREE on all. That
/// call is lost then, like any other that fails. Whatever fails wherever, every rank returns the same status and the
/// same message; the other calls are not concerned.
///
/// @param pending      *Owned* by the caller until now, whatever the result; what it borrows is not used afterwards.
///                     Not NULL. One that was started within a generate callback is finished within the same one; one
///                     that was started outside cannot be finished within one: DIJITSO_ERROR_STATE.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return As dijitso_jit(). DIJITSO_ERROR_STATE in a process that was forked after the start.
/// @collective over the communicator of the start  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit_finish(
    pending: *mut dijitso_pending,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_jit_finish", || {
            let library_out = output(library_out, std::ptr::null_mut(), "library_out");
            if pending.is_null() {
                return Err(Error::new(Kind::InvalidArgument, "pending is NULL"));
            }
            let pending = *Box::from_raw(pending);
            let good = library_out.as_ref().map(|_| ()).map_err(Clone::clone);
            let library = finish(pending, good)?;
            let library_out = library_out?;
            *library_out = Box::into_raw(Box::new(dijitso_library::new(library)));
            Ok(())
        })
    }
}

/// Gives up a call that has been started: a compiler that runs for it is ended soon, unless another call has started
/// the same. Nothing is sent to other ranks, which have to give it up as well.
///
/// @param pending  *Owned* by the caller until now; NULL is fine.
/// @local  @threads that of the start  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_pending_free(pending: *mut dijitso_pending) {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    boundary::value(
        || (),
        || unsafe {
            if !pending.is_null() {
                drop(Box::from_raw(pending));
            }
        },
    )
}

fn start(
    request: Result<Request<'_>>,
    callbacks: dijitso_callbacks,
    comm: MPI_Comm,
) -> Result<dijitso_pending> {
    if is_nested() || is_null(comm) {
        let pending = Session::of_process().start(request, &mut trampolines(&callbacks))?;
        return Ok(dijitso_pending {
            pending,
            callbacks,
            spent: Duration::ZERO,
            #[cfg(feature = "mpi")]
            comm: None,
        });
    }
    start_on_communicator(request, callbacks, comm)
}

#[cfg(feature = "mpi")]
fn start_on_communicator(
    request: Result<Request<'_>>,
    callbacks: dijitso_callbacks,
    comm: MPI_Comm,
) -> Result<dijitso_pending> {
    let (name, timeout) = waits(&request);
    let comm = attached(comm, name, timeout)?;
    comm.check_alive()?;
    let session = Session::of_process();
    let pending = session.start_on(comm.as_ref(), agreed(&comm)?, request, &mut trampolines(&callbacks))?;
    Ok(dijitso_pending { pending, callbacks, spent: Duration::ZERO, comm: Some(comm) })
}

#[cfg(not(feature = "mpi"))]
fn start_on_communicator(
    _request: Result<Request<'_>>,
    _callbacks: dijitso_callbacks,
    _comm: MPI_Comm,
) -> Result<dijitso_pending> {
    Err(super::jit::without_mpi())
}

fn finish(pending: dijitso_pending, good: Result<()>) -> Result<Library> {
    let begin = Instant::now().checked_sub(pending.spent).unwrap_or_else(Instant::now);
    let name = pending.pending.name().to_owned();
    let library = finish_pending(pending, good);
    tell(&name, begin, library.as_ref());
    library
}

fn finish_pending(given: dijitso_pending, good: Result<()>) -> Result<Library> {
    let session = Session::of_process();
    let callbacks = &mut trampolines(&given.callbacks);
    #[cfg(feature = "mpi")]
    if let Some(comm) = &given.comm {
        return session.finish_on(comm.as_ref(), agreed(comm)?, given.pending, good, callbacks);
    }
    // Others may wait for this process, whatever was wrong with its arguments.
    let library = session.finish(given.pending, callbacks);
    good.and(library)
}
