//! A call that is answered from memory allocates nothing, and gives one and the same handle to all threads. A set
//! of parameters that a program makes again and again takes few allocations.
//!
//! With a communicator it takes the same way; that it does not communicate is shown by `jit::tests`, and by
//! `tests/c/communicators.c` with MPI.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

use dijitso::capi::callbacks::dijitso_callbacks;
use dijitso::capi::jit::dijitso_jit;
use dijitso::capi::library::{
    DIJITSO_ORIGIN_BUILT, DIJITSO_ORIGIN_MEMORY, dijitso_library, dijitso_library_free,
    dijitso_library_origin,
};
use dijitso::capi::params::{
    dijitso_params, dijitso_params_free, dijitso_params_merge_json, dijitso_params_new, dijitso_params_set,
    dijitso_params_to_json,
};
use dijitso::capi::source::{dijitso_source, dijitso_source_set_code};
use dijitso::parallel::mpi::RawComm;

/// The allocator of the system, which counts what each thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: the allocator of the system does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe extern "C" fn generate(
    _user_data: *mut c_void,
    _name: *const c_char,
    _signature: *const c_char,
    _generator: *const c_char,
    source: *mut dijitso_source,
) -> i32 {
    let code = b"int value(void) { return 42; }\n";
    // SAFETY: the source of this callback, and a text of this length.
    unsafe { dijitso_source_set_code(source, code.as_ptr().cast(), code.len()) }
}

const CALLBACKS: dijitso_callbacks = dijitso_callbacks {
    struct_size: size_of::<dijitso_callbacks>(),
    user_data: null_mut(),
    generate: Some(generate),
    send: None,
    receive: None,
    wait: None,
    poll: None,
};

fn set(params: *mut dijitso_params, key: &CStr, value: &CStr) {
    // SAFETY: parameters that were made below, and texts.
    assert_eq!(unsafe { dijitso_params_set(params, key.as_ptr(), value.as_ptr(), null_mut()) }, 0);
}

/// Makes a call and frees its handle: the origin, and where the handle was.
fn jit(params: *const dijitso_params) -> (i32, usize) {
    let mut library: *mut dijitso_library = null_mut();
    // SAFETY: valid arguments, and a handle that is freed once.
    unsafe {
        let status =
            dijitso_jit(c"form".as_ptr(), params, &CALLBACKS, RawComm::NULL, &raw mut library, null_mut());
        assert_eq!(status, 0);
        let origin = dijitso_library_origin(library);
        dijitso_library_free(library);
        (origin, library as usize)
    }
}

/// Returns the handle that a hundred hits give, and the allocations of this thread after the first two hits.
fn hits(params: *const dijitso_params) -> (usize, usize) {
    let mut handle = 0;
    for _ in 0..2 {
        handle = jit(params).1;
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(jit(params), (DIJITSO_ORIGIN_MEMORY, handle));
    }
    (ALLOCATIONS.get() - before, handle)
}

/// The most allocations of a set of parameters: the handle, the working directory (as long as it may be, and as long
/// as it is), the paths of three config files, two for each of the two values that are set, and two for the list of
/// values, which is no longer that of the defaults.
const OF_PARAMS: usize = 12;

/// The most allocations of a merge of all parameters, if the same text was merged before.
const OF_MERGE: usize = 2;

/// The most allocations of the first call with parameters whose values were used before, which memory answers.
const OF_FIRST_USE: usize = 8;

/// Makes parameters as a program does for each call, and looks them up: allocations of new and set, of a merge, and of
/// the first use.
fn make_params(cache: &CStr, json: &CStr) -> (usize, usize, usize) {
    let before = ALLOCATIONS.get();
    let (mut params, mut merged) = (null_mut(), null_mut());
    // SAFETY: places for the results.
    unsafe { assert_eq!(dijitso_params_new(&raw mut params, null_mut()), 0) };
    set(params, c"cache.cache_dir", cache);
    set(params, c"build.language", c"c");
    let made = ALLOCATIONS.get() - before;
    // SAFETY: a place for the result, a text, and parameters that are freed once.
    unsafe {
        assert_eq!(dijitso_params_new(&raw mut merged, null_mut()), 0);
        let before = ALLOCATIONS.get();
        assert_eq!(dijitso_params_merge_json(merged, json.as_ptr(), null_mut()), 0);
        let merging = ALLOCATIONS.get() - before;
        let before = ALLOCATIONS.get();
        assert_eq!(jit(params).0, DIJITSO_ORIGIN_MEMORY);
        let used = ALLOCATIONS.get() - before;
        dijitso_params_free(params);
        dijitso_params_free(merged);
        (made, merging, used)
    }
}

#[test]
fn a_memory_hit_allocates_nothing_and_gives_all_threads_one_handle() {
    let dir = tempfile::tempdir().unwrap();
    // SAFETY: this is the only test of this program, and it has no other thread yet.
    unsafe {
        std::env::set_var("HOME", dir.path());
        std::env::set_var("DIJITSO_CACHE_DIR", dir.path().join("defaults"));
    }
    let mut params = null_mut();
    // SAFETY: a place for the result.
    assert_eq!(unsafe { dijitso_params_new(&raw mut params, null_mut()) }, 0);
    let cache = CString::new(dir.path().join("cache").to_str().unwrap()).unwrap();
    set(params, c"cache.cache_dir", &cache);
    set(params, c"build.language", c"c");
    assert_eq!(jit(params).0, DIJITSO_ORIGIN_BUILT);
    let (allocations, handle) = hits(params);
    assert_eq!(allocations, 0);
    let shared = params as usize;
    let threads = [(); 4].map(|()| std::thread::spawn(move || hits(shared as *const dijitso_params)));
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (0, handle));
    }

    // SAFETY: parameters, which keep the text.
    let json = unsafe { CStr::from_ptr(dijitso_params_to_json(params)) };
    make_params(&cache, json);
    let (made, merging, used) = make_params(&cache, json);
    assert!(made <= OF_PARAMS, "{made} allocations for new parameters");
    assert!(merging <= OF_MERGE, "{merging} allocations for a merge");
    assert!(used <= OF_FIRST_USE, "{used} allocations for the first use");

    assert_eq!(jit(null()).0, DIJITSO_ORIGIN_BUILT, "another cache directory");
    let (allocations, of_defaults) = hits(null());
    assert_eq!(allocations, 0);
    assert_ne!(of_defaults, handle);
    // SAFETY: as above: no other thread runs.
    unsafe { std::env::set_var("DIJITSO_CACHE_DIR", dir.path().join("elsewhere")) };
    assert_eq!(jit(null()).0, DIJITSO_ORIGIN_BUILT, "the environment has changed");
    // SAFETY: as above.
    unsafe { std::env::set_var("DIJITSO_CACHE_DIR", dir.path().join("defaults")) };
    assert_eq!(hits(null()), (0, of_defaults));
}
