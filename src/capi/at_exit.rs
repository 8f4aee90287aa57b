//! Work at the end of the process: ends builds that still run, and writes hits down.

use std::panic::catch_unwind;
use std::sync::Once;

use crate::jit::{Session, pending, progress};

/// Registers the work, once, for the end of the process or the unloading of this library.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function takes no arguments and does not unwind. The C library calls it before this
        // library is unmapped.
        let failed = unsafe { libc::atexit(at_exit) };
        if failed != 0 {
            log::info!("compilers that run when this process ends go on, and its last hits are not counted");
        }
    });
}

extern "C" fn at_exit() {
    // The receiver of log records may be gone, such as a function of an interpreter.
    log::set_max_level(log::LevelFilter::Off);
    // Variables of this thread are gone already. A step that panics for want of one does not prevent the
    // next.
    let _ = catch_unwind(pending::close);
    let _ = catch_unwind(progress::close);
    let _ = catch_unwind(|| Session::of_process().end_runs());
    let _ = catch_unwind(|| Session::of_process().write_hits());
}
