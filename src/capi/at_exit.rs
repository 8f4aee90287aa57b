//! What is left to do when the host ends: hits that have not been written down yet.

use std::panic::catch_unwind;
use std::sync::Once;

use crate::jit::Session;

/// Sees to it that something is done at the end of the process, or when this library is unloaded.
pub(super) fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        // SAFETY: the function is of this library, whose own list the C library runs before it unmaps it. Without
        // memory for the list, hits are lost, which nothing depends on.
        let _ = unsafe { libc::atexit(at_exit) };
    });
}

extern "C" fn at_exit() {
    // Whoever took what is logged may be gone, as an interpreter is that had a function for it.
    log::set_max_level(log::LevelFilter::Off);
    // Variables of this thread are gone already; whoever stumbles over that stumbles alone.
    let _ = catch_unwind(|| Session::of_process().write_hits());
}
