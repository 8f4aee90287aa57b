//! The call that all is about.

use std::ffi::{CString, c_char, c_void};
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::jit::callbacks::{Code, GenerateRequest};
use crate::jit::{Callbacks, Library, Request, Session, Source, is_nested};
use crate::logging::{self, Finished};

use super::at_exit;
use super::boundary;
use super::convert::{output, structure, text};
use super::defaults::defaults;
use super::error::dijitso_error;
use super::fast_path::recall;
use super::library::dijitso_library;
use super::params::dijitso_params;
use super::source::{dijitso_blob, dijitso_source};
use super::status::dijitso_status;

#[cfg(feature = "mpi")]
use std::sync::Arc;
#[cfg(feature = "mpi")]
use std::time::Duration;

#[cfg(feature = "mpi")]
use crate::jit::ranks::{CommState, waits};
#[cfg(feature = "mpi")]
use crate::parallel::Communicator;
#[cfg(feature = "mpi")]
pub(super) use crate::parallel::mpi::RawComm as MPI_Comm;

/// Without MPI there is no communicator but the null one.
#[cfg(not(feature = "mpi"))]
pub type MPI_Comm = *mut c_void;

/// Makes source code; called on builders only and only on a miss.
///
/// It calls dijitso_source_set_code(), and as needed dijitso_source_set_header() and dijitso_source_add_dependency().
/// Within it, further dijitso_jit() calls are allowed, on the thread on which it was called; they are local to the
/// builder, whatever communicator they are given, and what they build travels with this library to every receiver. A
/// call for what is just being generated, by whatever way (a asks for b, which asks for a), and one within 64 callbacks
/// that are under way within each other, is DIJITSO_ERROR_GENERATE with the chain of names; the same name with another
/// signature is fine. If what a callback has built is removed by another program before it is used, the callback is
/// called once more. It must not wait for another process, or a thread of its own, that asks for the same library: that
/// one waits for this to be built.
///
/// @param user_data       That of the callbacks.
/// @param name            That of the call. *Borrowed* for the callback, like the following.
/// @param signature       The files of the library are named after it.
/// @param generator_json  Section "generator" of the parameters, as JSON.
/// @param source          To be filled.
/// @return 0, or any other value for failure; say why by dijitso_source_set_error().
pub type dijitso_generate_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        name: *const c_char,
        signature: *const c_char,
        generator_json: *const c_char,
        source: *mut dijitso_source,
    ) -> i32,
>;

/// Sends a blob from the builder to the receivers.
///
/// On a communicator it is called on rank 0, with parallel.buildon "root", when the ranks use more than one cache
/// directory and some rank has missed; receive is called on every other rank, whether that needs the blob or not.
/// Neither is called where ranks need different libraries: different kinds of processors, with flags such as
/// -march=native.
///
/// @param user_data  That of the callbacks.
/// @param data       *Borrowed* for the callback.
/// @param size       Bytes; may exceed 2 GiB.
/// @return 0, or any other value for failure.
pub type dijitso_send_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, data: *const u8, size: usize) -> i32>;

/// Receives the blob that the builder sends.
///
/// @param user_data  That of the callbacks.
/// @param blob       To be given its size by dijitso_blob_resize(), and filled.
/// @return 0, or any other value for failure.
pub type dijitso_receive_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, blob: *mut dijitso_blob) -> i32>;

/// Returns when all ranks have called it, as a barrier does.
///
/// @param user_data  That of the callbacks.
/// @return 0, or any other value for failure.
pub type dijitso_wait_fn = Option<unsafe extern "C" fn(user_data: *mut c_void) -> i32>;

/// What a host does for dijitso_jit(). Initialise it by DIJITSO_CALLBACKS_INIT and set what you need; NULL is the
/// default of each. *Borrowed* by dijitso_jit() for the call.
///
/// A callback must not throw, unwind or longjmp out. C++ callers use dijitso.hpp, which sees to that.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_callbacks {
    /// sizeof(dijitso_callbacks), by which an older or newer library knows which fields are there.
    pub struct_size: usize,
    /// Passed to each callback.
    pub user_data: *mut c_void,
    /// Makes source code on a miss.
    pub generate: dijitso_generate_fn,
    /// Replaces the library's own way from builder to receivers, together with receive: rank 0 sends, all others
    /// receive.
    pub send: dijitso_send_fn,
    /// See send.
    pub receive: dijitso_receive_fn,
    /// Is called by every rank after building and transport, before loading.
    pub wait: dijitso_wait_fn,
}

pub(super) const NO_CALLBACKS: dijitso_callbacks = dijitso_callbacks {
    struct_size: size_of::<dijitso_callbacks>(),
    user_data: std::ptr::null_mut(),
    generate: None,
    send: None,
    receive: None,
    wait: None,
};

/// Gives the library of a name and parameters: from memory, from the disk cache, or by generating, compiling,
/// distributing and loading it.
///
/// With a communicator: 1. A library that these ranks have agreed on before is given at once, without
/// communication. 2. The ranks compare name, parameters and callbacks, and who has the library. 3. If some have
/// not, builders are chosen by parallel.buildon among the ranks ("node", the default: one for each physical cache
/// directory; "root": rank 0; "process": every rank, in a directory of its own), call generate, compile, and
/// publish. 4. Where the library is still missing, it is sent, with its header and all that it needs. 5. All load
/// it. After each step the ranks agree on how it went: whatever fails wherever, every rank returns the same
/// status and the same message. Ranks that wait sleep.
///
/// In each step a rank waits for the others no longer than its parallel.timeout (4 hours; 0: for ever). After 30
/// seconds (3 to 30 with a timeout below 2 minutes) the log says for whom. When the time is over, those who wait find out together who is late (a builder
/// that is stopped, dead or too slow; a rank that does not call) and return DIJITSO_ERROR_TIMEOUT, with a message
/// that names rank, host, process and step; within a tenth of the timeout, but no less than 0.2 and no more than 5
/// seconds. From then on every call on that communicator returns it at once, on the late rank as soon as it comes;
/// other communicators are not concerned. Only before all ranks have come to the first call on a communicator it
/// cannot be said who is late. A rank that comes in the very moment in which it is given up may let some ranks
/// succeed: these fail in their next call.
///
/// Without one (DIJITSO_COMM_NULL) MPI is not touched and need not be initialised. On a miss, generate makes this
/// process a builder, which also calls send if set; receive makes it a receiver; wait alone makes it a waiter, for
/// which a library that is not there afterwards is DIJITSO_ERROR_CACHE. Both generate and receive, or none of the
/// three on a miss, is DIJITSO_ERROR_INVALID_ARGUMENT. All call wait if set before they load. A builder that fails
/// still calls send and wait, with a blob that carries its error, so that receivers report it. On a hit no
/// callback is called.
///
/// The answer from memory is for the same name, the same parameters (those that concern this rank alone, such as
/// build.timeout, do not count) and the same cache directory. Since it takes no communication, all ranks have to
/// make the same call: one that passes something else, or a bad argument, where the others are answered from
/// memory waits for them, until its parallel.timeout.
///
/// @param name         1 to 200 bytes of A-Z a-z 0-9 _ . + -, not beginning with . or -. It should identify what
///                     is generated, best by a good hash. *Copied*.
/// @param params       *Borrowed* for the call; NULL for the defaults, the config file and the environment: read at
///                     the first such call, and again when the environment has changed.
/// @param callbacks    *Borrowed* for the call; NULL where a hit is expected. With a communicator: the same on
///                     every rank; send and receive both or neither.
/// @param comm         An intra-communicator, or DIJITSO_COMM_NULL. The library talks on a duplicate of it, which
///                     is made at the first call and freed with it; it never changes the host's error handler.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK or any status; see the codes.
/// @collective over comm  @threads any, for one communicator one at a time; calls on several communicators in
///                     several threads need MPI_THREAD_MULTIPLE  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_jit(
    name: *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_jit", || {
            if !library_out.is_null()
                && let Some(library) = recall(name, params, callbacks, comm)
            {
                // Callers only look at it, and give it back.
                library_out.write(std::ptr::from_ref(library).cast_mut());
                return Ok(());
            }
            let library_out = output(library_out, std::ptr::null_mut(), "library_out");
            // An argument that is bad on this rank alone must not keep it away from the others.
            let arguments = library_out.and_then(|library_out| {
                let name = text(name, "name")?;
                let params = params.as_ref().map_or_else(defaults, dijitso_params::resolved)?;
                Ok((library_out, name, params, read_callbacks(callbacks)?))
            });
            let request = match &arguments {
                Ok((_, name, params, _)) => Ok(Request { name, params }),
                Err(error) => Err(error.clone()),
            };
            let given = arguments.as_ref().map_or(NO_CALLBACKS, |(_, _, _, callbacks)| *callbacks);
            let library = jit(request, &mut trampolines(&given), comm)?;
            // A call that succeeded had good arguments on every rank.
            let (library_out, ..) = arguments?;
            *library_out = Box::into_raw(Box::new(dijitso_library::new(library)));
            Ok(())
        })
    }
}

/// A call whose arguments have been read.
pub(super) fn jit(
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
    comm: MPI_Comm,
) -> Result<Library> {
    let session = Session::of_process();
    if is_nested() || is_null(comm) {
        let contradiction = callbacks.generate.is_some() && callbacks.receive.is_some();
        if let Ok(request) = &request
            && !contradiction
            && let Some(library) = session.from_memory(*request)
        {
            return Ok(library);
        }
        return told(request, |request| session.jit(request, callbacks));
    }
    on_communicator(session, request, callbacks, comm)
}

#[cfg(feature = "mpi")]
pub(super) fn is_null(comm: MPI_Comm) -> bool {
    crate::parallel::mpi::is_null(comm)
}

#[cfg(not(feature = "mpi"))]
pub(super) fn is_null(comm: MPI_Comm) -> bool {
    comm.is_null()
}

/// Our side of a host's communicator: with what calls have agreed on, whichever function is the first one there.
#[cfg(feature = "mpi")]
pub(super) fn attached(
    comm: MPI_Comm,
    call: &str,
    timeout: Option<Duration>,
) -> Result<Arc<crate::parallel::mpi::MpiComm>> {
    crate::parallel::mpi::attached(comm, call, timeout, || Box::new(CommState::default()))
}

/// What the ranks of a communicator have agreed on.
#[cfg(feature = "mpi")]
pub(super) fn agreed(comm: &crate::parallel::mpi::MpiComm) -> Result<&CommState> {
    let text = "the communicator carries something else";
    comm.extra().downcast_ref().ok_or_else(|| Error::new(Kind::Internal, text))
}

#[cfg(feature = "mpi")]
fn on_communicator(
    session: &Session,
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
    comm: MPI_Comm,
) -> Result<Library> {
    let (name, timeout) = waits(&request);
    let comm = attached(comm, name, timeout)?;
    comm.check_alive()?;
    let agreed = agreed(&comm)?;
    if let Ok(request) = &request
        && let Some(library) = session.jit_from_memory(*request, agreed)
    {
        return Ok(library);
    }
    let _here = logging::enter(comm.rank(), comm.size());
    told(request, |request| session.jit_on(comm.as_ref(), agreed, request, callbacks))
}

#[cfg(not(feature = "mpi"))]
fn on_communicator(
    _session: &Session,
    _request: Result<Request<'_>>,
    _callbacks: &mut Callbacks<'_>,
    _comm: MPI_Comm,
) -> Result<Library> {
    Err(without_mpi())
}

#[cfg(not(feature = "mpi"))]
pub(super) fn without_mpi() -> Error {
    let text = "this library was built without MPI and takes no communicator but the null one";
    Error::new(Kind::Unsupported, text)
}

/// Makes a call that memory has no answer to, and tells the log how it went.
fn told(
    request: Result<Request<'_>>,
    call: impl FnOnce(Result<Request<'_>>) -> Result<Library>,
) -> Result<Library> {
    let name = request.as_ref().map_or("", |request| request.name).to_owned();
    let begin = Instant::now();
    let result = call(request);
    tell(&name, begin, result.as_ref());
    result
}

/// Tells the log how a call went, and sees to it that hits are counted.
pub(super) fn tell(name: &str, begin: Instant, result: std::result::Result<&Library, &Error>) {
    at_exit::register();
    let outcome = result.map(|library| (library.signature(), library.origin().name()));
    logging::finished(&Finished { name, seconds: begin.elapsed().as_secs_f64(), outcome });
}

/// Those that the caller gives.
///
/// # Safety
/// NULL, or `struct_size` bytes.
pub(super) unsafe fn read_callbacks(callbacks: *const dijitso_callbacks) -> Result<dijitso_callbacks> {
    if callbacks.is_null() {
        return Ok(NO_CALLBACKS);
    }
    // SAFETY: promised by the caller.
    unsafe { structure(callbacks, NO_CALLBACKS, "callbacks") }
}

/// The host's functions as closures.
pub(super) fn trampolines(given: &dijitso_callbacks) -> Callbacks<'static> {
    let user_data = given.user_data;
    let mut callbacks = Callbacks::default();
    if let Some(generate) = given.generate {
        callbacks.generate = Some(Box::new(move |asked: GenerateRequest<'_>, source: &mut Source| {
            let texts = [asked.name, asked.signature, asked.generator].map(super::convert::c_string);
            let [name, signature, generator] = texts.each_ref().map(|text: &CString| text.as_ptr());
            let mut handle = dijitso_source { source: std::mem::take(source) };
            // SAFETY: the host's function, called as its type says; all pointers live until it returns.
            let code = unsafe { generate(user_data, name, signature, generator, &raw mut handle) };
            *source = handle.source;
            result(code)
        }));
    }
    if let Some(send) = given.send {
        callbacks.send = Some(Box::new(move |data: &[u8]| {
            // SAFETY: as above.
            result(unsafe { send(user_data, data.as_ptr(), data.len()) })
        }));
    }
    if let Some(receive) = given.receive {
        callbacks.receive = Some(Box::new(move || {
            let mut blob = dijitso_blob::default();
            // SAFETY: as above.
            result(unsafe { receive(user_data, &raw mut blob) })?;
            Ok(blob.into_bytes())
        }));
    }
    if let Some(wait) = given.wait {
        callbacks.wait = Some(Box::new(move || {
            // SAFETY: as above.
            result(unsafe { wait(user_data) })
        }));
    }
    callbacks
}

fn result(code: i32) -> std::result::Result<(), Code> {
    if code == 0 { Ok(()) } else { Err(code) }
}
