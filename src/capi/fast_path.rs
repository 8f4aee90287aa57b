//! Memory hits: the way of most calls. Nothing is allocated, locked, copied or sent.
//!
//! Every unusual call, also one with a wrong argument, gets no answer here; the full way finds out what is
//! wrong.

use std::ffi::{CStr, c_char};

use crate::jit::{Session, is_nested};
use crate::params::resolved::Resolved;

use super::callbacks::dijitso_callbacks;
use super::comm::MPI_Comm;
use super::defaults;
use super::library::dijitso_library;
use super::params::dijitso_params;

/// Returns the library if the same call was answered before.
///
/// # Safety
/// The arguments are those of `dijitso_jit`.
pub(super) unsafe fn memory_hit(
    name: *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
) -> Option<&'static dijitso_library> {
    let local = comm.is_null();
    // SAFETY: promised by the caller.
    if name.is_null() || is_nested() || !unsafe { are_usual(callbacks, local) } {
        return None;
    }
    // SAFETY: promised by the caller.
    let (name, params) = unsafe { (CStr::from_ptr(name).to_bytes(), params.as_ref()) };
    let find = |params: &Resolved| if local { find_local(name, params) } else { find_on(name, params, comm) };
    match params {
        Some(params) => find(params.resolved_if_ready()?),
        None => defaults::with_cached(find)?,
    }
}

fn find_local(name: &[u8], params: &Resolved) -> Option<&'static dijitso_library> {
    Session::of_process().memory_hit(name, params, dijitso_library::pinned)?
}

fn find_on(name: &[u8], params: &Resolved, comm: MPI_Comm) -> Option<&'static dijitso_library> {
    use crate::parallel::Communicator;
    crate::parallel::mpi::lookup_cached(comm, |ours| {
        ours.check_alive().ok()?;
        let state = super::comm::state(ours).ok()?;
        Session::of_process().memory_hit_on(state, name, params, dijitso_library::pinned)?
    })?
}

/// Returns true if the callbacks are of this version and name one role.
///
/// # Safety
/// `callbacks` is NULL, or a structure that begins with its size and has as many bytes.
unsafe fn are_usual(callbacks: *const dijitso_callbacks, local: bool) -> bool {
    if callbacks.is_null() {
        return true;
    }
    // SAFETY: every version of the structure begins with its size; with this size it is ours.
    unsafe {
        callbacks.cast::<usize>().read_unaligned() == size_of::<dijitso_callbacks>()
            && !(local && builds_and_receives(&callbacks.read_unaligned()))
    }
}

fn builds_and_receives(callbacks: &dijitso_callbacks) -> bool {
    callbacks.generate.is_some() && callbacks.receive.is_some()
}
