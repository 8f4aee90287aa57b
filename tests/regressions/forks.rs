//! Compilers are started in a way that is safe beside network drivers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

static FORKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::SeqCst);
}

/// Field lesson: with InfiniBand and its like, `fork` (and so `system` and `popen`) crashes or aborts
/// programs; drivers and MPIs see it by their fork handlers, which are not called here.
#[test]
fn a_compiler_is_started_without_a_fork() {
    let (_dir, here) = places();
    succeeded(&start("forks", &here, Stdio::null()).output().unwrap());
}

pub(crate) fn forks() {
    // SAFETY: a handler that only counts.
    assert_eq!(unsafe { libc::pthread_atfork(Some(count), None, None) }, 0);
    let settings =
        [("cache.signature", "name"), ("cache.lib_loader", "import"), ("build.memory_limit", "8G")];
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let mut params = params(&settings);
        params.set("build.system_call_method", method).unwrap();
        params.set("build.cxx", &script(&writes_library())).unwrap();
        jit(&Session::default(), method, &params, HEALTHY).unwrap();
    }
    assert_eq!(FORKS.load(Ordering::SeqCst), 0);
    // SAFETY: the child does nothing but end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: our own child, and no status is wanted.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!(FORKS.load(Ordering::SeqCst), 1, "the handler does count");
}
