//! Answers from memory: the way of most calls, on which nothing is allocated, locked, copied or sent.
//!
//! Whatever is odd about a call, an argument that is wrong among it, has no answer here: the long way tells what it is.

use std::ffi::{CStr, c_char};

use crate::jit::{Session, is_nested};
use crate::params::resolved::Resolved;

use super::defaults;
use super::jit::{MPI_Comm, dijitso_callbacks, is_null};
use super::library::dijitso_library;
use super::params::dijitso_params;

/// The library that such a call was answered with before.
///
/// # Safety
/// The arguments of `dijitso_jit`.
pub(super) unsafe fn recall(
    name: *const c_char,
    params: *const dijitso_params,
    callbacks: *const dijitso_callbacks,
    comm: MPI_Comm,
) -> Option<&'static dijitso_library> {
    let alone = is_null(comm);
    // SAFETY: promised by the caller.
    if name.is_null() || is_nested() || !unsafe { is_usual(callbacks, alone) } {
        return None;
    }
    // SAFETY: promised by the caller.
    let (name, params) = unsafe { (CStr::from_ptr(name).to_bytes(), params.as_ref()) };
    let look = |params: &Resolved| if alone { by_itself(name, params) } else { on(name, params, comm) };
    match params {
        Some(params) => look(params.frozen()?),
        None => defaults::recall(look)?,
    }
}

fn by_itself(name: &[u8], params: &Resolved) -> Option<&'static dijitso_library> {
    Session::of_process().memory_hit(name, params, dijitso_library::lasting)?
}

#[cfg(feature = "mpi")]
fn on(name: &[u8], params: &Resolved, comm: MPI_Comm) -> Option<&'static dijitso_library> {
    use crate::jit::ranks::CommState;
    use crate::parallel::Communicator;
    crate::parallel::mpi::lookup_cached(comm, |ours| {
        ours.check_alive().ok()?;
        let agreed: &CommState = ours.extra().downcast_ref()?;
        Session::of_process().memory_hit_on(agreed, name, params, dijitso_library::lasting)?
    })?
}

#[cfg(not(feature = "mpi"))]
fn on(_name: &[u8], _params: &Resolved, _comm: MPI_Comm) -> Option<&'static dijitso_library> {
    None
}

/// Whether callbacks are of this version, and name one role.
///
/// # Safety
/// NULL, or a structure that begins with its size and has as many bytes.
unsafe fn is_usual(callbacks: *const dijitso_callbacks, alone: bool) -> bool {
    if callbacks.is_null() {
        return true;
    }
    // SAFETY: every version of the structure begins with its size; with this size it is ours.
    unsafe {
        callbacks.cast::<usize>().read_unaligned() == size_of::<dijitso_callbacks>()
            && !(alone && is_both(&callbacks.read_unaligned()))
    }
}

/// A builder that is a receiver, too.
fn is_both(callbacks: &dijitso_callbacks) -> bool {
    callbacks.generate.is_some() && callbacks.receive.is_some()
}
