//! The callbacks of a host, as C functions and as closures.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use crate::error::Result;
use crate::jit::callbacks::{Code, GenerateRequest, interrupt_of};
use crate::jit::{Callbacks, Source};
use crate::process::interrupt::Interrupt;

use super::convert::{c_string, structure};
use super::source::{dijitso_blob, dijitso_source};

/// Generates source code. Called on builders only, and only on a miss.
///
/// It calls dijitso_source_set_code(), and if needed dijitso_source_set_header() and
/// dijitso_source_add_dependency().
///
/// It may call dijitso_jit() on its own thread. Such calls are local to the builder, whatever communicator
/// they are given, and what they build travels with this library to every receiver. A call for a library that
/// is being generated already (a asks for b, which asks for a), and a call inside 64 nested callbacks, is
/// DIJITSO_ERROR_GENERATE with the chain of names; the same name with another signature is fine. If another
/// program removes what the callback has built before it is used, the callback is called once more.
///
/// It must not wait for a process or thread that asks for the same library: that one waits for this build.
///
/// @param user_data       The user_data of the callbacks.
/// @param name            The name of the call. *Borrowed* for the callback, like the next three.
/// @param signature       The files of the library are named after it.
/// @param generator_json  Section "generator" of the parameters, as JSON.
/// @param source          To be filled.
/// @return 0, or any other value for failure; give the reason by dijitso_source_set_error().
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
/// On a communicator it is called on rank 0 with parallel.buildon "root", if the ranks use more than one
/// cache directory and some rank misses the library. receive is then called on every other rank, even if that
/// rank has the library. Neither is called if ranks need different libraries (different processors, with
/// flags such as -march=native).
///
/// @param user_data  The user_data of the callbacks.
/// @param data       *Borrowed* for the callback.
/// @param size       Bytes; may exceed 2 GiB.
/// @return 0, or any other value for failure.
pub type dijitso_send_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, data: *const u8, size: usize) -> i32>;

/// Receives the blob that the builder sends.
///
/// @param user_data  The user_data of the callbacks.
/// @param blob       To be sized by dijitso_blob_resize() and filled. *Borrowed* for the callback.
/// @return 0, or any other value for failure.
pub type dijitso_receive_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, blob: *mut dijitso_blob) -> i32>;

/// Returns when all ranks have called it, as a barrier does.
///
/// @param user_data  The user_data of the callbacks.
/// @return 0, or any other value for failure.
pub type dijitso_wait_fn = Option<unsafe extern "C" fn(user_data: *mut c_void) -> i32>;

/// Asks the host whether to cancel the call. Called at least every 50 ms, on the thread that made the call,
/// while the call compiles or waits for a compiler, another program or other ranks. Not called while the
/// host's own callbacks run; calls within generate ask by their own poll and by that of the outer call.
///
/// If it returns non-zero, compilers are ended, nothing is published, and the call returns
/// DIJITSO_ERROR_CANCELLED. It is not called again in this call. It must not call functions of the library
/// that build or wait. See CANCELLING in the manual.
///
/// @param user_data  The user_data of the callbacks.
/// @return 0 to go on, or any other value to cancel.
pub type dijitso_poll_fn = Option<unsafe extern "C" fn(user_data: *mut c_void) -> i32>;

/// The host's part in dijitso_jit(). Initialise it by DIJITSO_CALLBACKS_INIT and set what you need; NULL is
/// the default of each. *Borrowed* by dijitso_jit() for the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_callbacks {
    /// sizeof(dijitso_callbacks)
    pub struct_size: usize,
    /// Passed to each callback.
    pub user_data: *mut c_void,
    /// Generates source code on a miss.
    pub generate: dijitso_generate_fn,
    /// With receive: replaces the library's transport.
    pub send: dijitso_send_fn,
    /// See send. Rank 0 sends, all others receive.
    pub receive: dijitso_receive_fn,
    /// Called by every rank after building and transport, before loading.
    pub wait: dijitso_wait_fn,
    /// Cancels the call on all ranks. Need not be set on all of them.
    pub poll: dijitso_poll_fn,
}

pub(super) const NO_CALLBACKS: dijitso_callbacks = dijitso_callbacks {
    struct_size: size_of::<dijitso_callbacks>(),
    user_data: ptr::null_mut(),
    generate: None,
    send: None,
    receive: None,
    wait: None,
    poll: None,
};

/// Copies the caller's structure.
///
/// # Safety
/// `callbacks` is NULL, or has `struct_size` bytes.
pub(super) unsafe fn read_callbacks(callbacks: *const dijitso_callbacks) -> Result<dijitso_callbacks> {
    if callbacks.is_null() {
        return Ok(NO_CALLBACKS);
    }
    // SAFETY: promised by the caller.
    unsafe { structure(callbacks, NO_CALLBACKS, "callbacks") }
}

/// Wraps the host's functions into closures.
pub(super) fn trampolines(host: &dijitso_callbacks) -> Callbacks<'static> {
    let user_data = host.user_data;
    let mut callbacks = Callbacks::default();
    if let Some(generate) = host.generate {
        callbacks.generate = Some(Box::new(move |request: GenerateRequest<'_>, source: &mut Source| {
            // SAFETY: the host's function, with the user_data that it has given for it.
            unsafe { call_generate(generate, user_data, request, source) }
        }));
    }
    if let Some(send) = host.send {
        callbacks.send = Some(Box::new(move |data: &[u8]| {
            // SAFETY: as above.
            result(unsafe { send(user_data, data.as_ptr(), data.len()) })
        }));
    }
    if let Some(receive) = host.receive {
        callbacks.receive = Some(Box::new(move || {
            let mut blob = dijitso_blob::default();
            // SAFETY: as above.
            result(unsafe { receive(user_data, &raw mut blob) })?;
            Ok(blob.into_bytes())
        }));
    }
    if let Some(wait) = host.wait {
        callbacks.wait = Some(Box::new(move || {
            // SAFETY: as above.
            result(unsafe { wait(user_data) })
        }));
    }
    callbacks.poll = poll_interrupt(host.poll, user_data);
    callbacks
}

type GenerateHostFn = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    *const c_char,
    *mut dijitso_source,
) -> i32;

/// Calls the generate callback of a host.
///
/// # Safety
/// `user_data` is what the host has given for `generate`.
pub(super) unsafe fn call_generate(
    generate: GenerateHostFn,
    user_data: *mut c_void,
    request: GenerateRequest<'_>,
    source: &mut Source,
) -> std::result::Result<(), Code> {
    let texts = [request.name, request.signature, request.generator].map(c_string);
    let [name, signature, generator] = texts.each_ref().map(|text: &CString| text.as_ptr());
    let mut handle = dijitso_source { source: std::mem::take(source) };
    // SAFETY: the host's function, called as its type says; all pointers live until it returns.
    let code = unsafe { generate(user_data, name, signature, generator, &raw mut handle) };
    *source = handle.source;
    result(code)
}

/// Wraps the poll callback of a host as the interrupt of a call that this thread makes.
pub(super) fn poll_interrupt(poll: dijitso_poll_fn, user_data: *mut c_void) -> Option<Interrupt> {
    let host = HostPoll { poll: poll?, user_data };
    Some(interrupt_of(move || host.call()))
}

/// The poll callback of a host.
struct HostPoll {
    poll: unsafe extern "C" fn(user_data: *mut c_void) -> i32,
    user_data: *mut c_void,
}

// SAFETY: an interrupt calls it on the thread that made it alone; other threads only drop it, which does
// nothing to what user_data points to.
unsafe impl Send for HostPoll {}
// SAFETY: as above.
unsafe impl Sync for HostPoll {}

impl HostPoll {
    fn call(&self) -> Code {
        // SAFETY: the host's function, called during the call that it was given for.
        unsafe { (self.poll)(self.user_data) }
    }
}

fn result(code: i32) -> std::result::Result<(), Code> {
    if code == 0 { Ok(()) } else { Err(code) }
}
