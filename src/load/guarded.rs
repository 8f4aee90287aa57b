//! `dlopen` for libraries whose initialisers may throw.
//!
//! A C++ exception that leaves a static constructor unwinds through the frames of the dynamic loader to the
//! caller of `dlopen`. Rust cannot catch it: `catch_unwind` ends the process. So `dlopen` is called from a
//! frame of a few instructions, whose personality routine catches every exception. No frame of Rust lies
//! between this frame and the loader.
//!
//! glibc does not expect exceptions and keeps its lock, for which every other thread that loads a library or
//! looks up a symbol would wait for ever. The lock is one of its recursive mutexes: the only one that this
//! thread holds then. It is searched in the loader's variables and released. If there is not exactly one,
//! nothing is changed.
//!
//! The loader regards the library as loaded, though it is initialised in part only. [`super::System`] records
//! it and never returns it.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libloading::os::unix::Library;

/// `_Unwind_Exception`. The data of its language follow or precede it in memory.
#[repr(C)]
struct Exception {
    class: u64,
    cleanup: Option<unsafe extern "C" fn()>,
    private: [usize; 2],
}

#[repr(C)]
struct UnwindContext {
    opaque: [u8; 0],
}

// The part "Exception handling" of the Itanium C++ ABI, which the standard library of Rust links.
unsafe extern "C" {
    fn _Unwind_SetGR(context: *mut UnwindContext, register: c_int, value: usize);
    fn _Unwind_SetIP(context: *mut UnwindContext, address: usize);
    fn _Unwind_DeleteException(exception: *mut Exception);
}

const SEARCH_PHASE: c_int = 1;
const HANDLER_FRAME: c_int = 4;
const FORCED: c_int = 8;
const HANDLER_FOUND: c_int = 6;
const INSTALL_CONTEXT: c_int = 7;
const CONTINUE_UNWIND: c_int = 8;
/// The number of rax in DWARF: landing pads expect the exception there.
const RAX: c_int = 0;

/// Catches every exception. Unwinding for another reason, such as the end of a thread, goes on.
unsafe extern "C" fn personality(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: *mut Exception,
    context: *mut UnwindContext,
) -> c_int {
    if actions & FORCED != 0 {
        return CONTINUE_UNWIND;
    }
    if actions & SEARCH_PHASE != 0 {
        return HANDLER_FOUND;
    }
    if actions & HANDLER_FRAME == 0 {
        return CONTINUE_UNWIND;
    }
    // SAFETY: called by the unwinder with a context of the frame of `call`, in which `caught` goes on.
    unsafe {
        _Unwind_SetGR(context, RAX, exception as usize);
        _Unwind_SetIP(context, caught as *const () as usize);
    }
    INSTALL_CONTEXT
}

type Dlopen = unsafe extern "C-unwind" fn(*const c_char, c_int) -> *mut c_void;

/// The pointer to the personality routine, which unwind tables refer to.
#[repr(transparent)]
struct Personality(unsafe extern "C" fn(c_int, c_int, u64, *mut Exception, *mut UnwindContext) -> c_int);
static PERSONALITY: Personality = Personality(personality);

/// Calls `dlopen` and returns its result. If an exception leaves it, returns NULL and sets `thrown`.
#[unsafe(naked)]
unsafe extern "C" fn call(
    dlopen: Dlopen,
    path: *const c_char,
    mode: c_int,
    thrown: *mut *mut Exception,
) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_personality 0x9b, {personality}", // relative to here, of a pointer to it
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "mov rbx, rcx",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov esi, edx",
        "call rax",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
        personality = sym PERSONALITY,
    )
}

/// The landing pad of `call`: goes on in its frame, with the exception in rax.
#[unsafe(naked)]
unsafe extern "C" fn caught() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbx, -16",
        "endbr64",
        "mov [rbx], rax",
        "xor eax, eax",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// Loads a library. If its initialisers throw, calls `note` with the description of the exception before
/// other threads can load anything, and returns its result as the error.
pub(super) fn dlopen(path: &Path, mode: c_int, note: impl FnOnce(&str) -> String) -> Result<Library, String> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let mut thrown = std::ptr::null_mut();
    // SAFETY: the two types differ only in what the compiler assumes about unwinding.
    let dlopen = unsafe {
        std::mem::transmute::<unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void, Dlopen>(libc::dlopen)
    };
    // SAFETY: a path that lives until the call returns. Loading runs the library's initialisers: its bytes
    // carry the digest that the builder of this very cache gave them. A process that can forge that can
    // already run code as this user.
    let handle = unsafe { call(dlopen, path.as_ptr(), mode, &raw mut thrown) };
    if !thrown.is_null() {
        // SAFETY: the exception has just been caught, and is ended once.
        let reason = note(&unsafe { end(thrown) });
        unlock_loader();
        return Err(reason);
    }
    if !handle.is_null() {
        // SAFETY: the handle was just returned by dlopen and is used for nothing else.
        return Ok(unsafe { Library::from_raw(handle) });
    }
    // SAFETY: the text belongs to this thread until its next call of the loader.
    unsafe {
        let reason = libc::dlerror();
        Err(if reason.is_null() {
            String::new()
        } else {
            CStr::from_ptr(reason).to_string_lossy().into_owned()
        })
    }
}

/// Describes an exception and ends it.
///
/// # Safety
/// `exception` has been caught and is not used afterwards.
unsafe fn end(exception: *mut Exception) -> String {
    // SAFETY: promised by the caller.
    let (class, cleanup) = unsafe { ((*exception).class, (*exception).cleanup) };
    let from_cxx = [*b"GNUCC++\0", *b"CLNGC++\0"].contains(&class.to_be_bytes());
    let Some(cleanup) = cleanup.filter(|_| from_cxx) else {
        // Only the runtime of its language could free it.
        return "an exception of another language than C++".to_owned();
    };
    let runtime = Runtime::of(cleanup as *const c_void);
    // SAFETY: the type of a C++ exception lies at a fixed distance before it, and the object behind it.
    let description = unsafe {
        let of_type = exception.byte_sub(TYPE_BEFORE).cast::<*const TypeInfo>().read();
        runtime.describe(of_type, exception.byte_add(size_of::<Exception>()).cast())
    };
    let begin = runtime.symbol(c"__cxa_begin_catch");
    let end = runtime.symbol(c"__cxa_end_catch");
    // SAFETY: the functions of the C++ runtime that threw it, called as their ABI says; it is ended once.
    unsafe {
        if begin.is_null() || end.is_null() {
            _Unwind_DeleteException(exception);
        } else {
            std::mem::transmute::<*mut c_void, extern "C" fn(*mut Exception) -> *mut c_void>(begin)(
                exception,
            );
            std::mem::transmute::<*mut c_void, extern "C" fn()>(end)();
        }
    }
    description
}

/// The size of `__cxa_exception` before its unwind header: ten words, of which the first is the type.
const TYPE_BEFORE: usize = 80;

/// `std::type_info` of classes with one base class, which is all that `std::exception` needs.
#[repr(C)]
struct TypeInfo {
    vtable: *const c_void,
    name: *const c_char,
    base: *const TypeInfo,
}

/// A handle of the C++ runtime that threw.
struct Runtime(*mut c_void);

impl Runtime {
    /// Opens the runtime that contains a function.
    fn of(function: *const c_void) -> Self {
        // SAFETY: all zero is valid. The name lives as long as the library, which stays loaded.
        unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            let found = libc::dladdr(function, &raw mut info) != 0 && !info.dli_fname.is_null();
            let name = if found { info.dli_fname } else { std::ptr::null() };
            Self(libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_LAZY))
        }
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        if self.0.is_null() {
            return std::ptr::null_mut();
        }
        // SAFETY: an open handle and a string.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }

    /// Returns the type of an exception, and the text of `what()` if it derives from `std::exception`.
    ///
    /// # Safety
    /// Type and object belong to an exception that this runtime threw.
    unsafe fn describe(&self, of_type: *const TypeInfo, object: *const c_void) -> String {
        // SAFETY: promised by the caller; texts of C++ end with NUL, and the layouts are those of its ABI.
        // `what` is the third virtual function of `std::exception`, which a class with one base class has at
        // its beginning.
        unsafe {
            let name = self.demangle((*of_type).name);
            if !self.is_exception(of_type) {
                return name;
            }
            let what = (*object.cast::<*const [usize; 3]>()).read()[2];
            let what =
                std::mem::transmute::<usize, extern "C" fn(*const c_void) -> *const c_char>(what)(object);
            if what.is_null() { name } else { format!("{name}: {}", CStr::from_ptr(what).to_string_lossy()) }
        }
    }

    /// Returns true if a type derives from `std::exception` by single inheritance.
    ///
    /// # Safety
    /// The type belongs to this runtime.
    unsafe fn is_exception(&self, mut of_type: *const TypeInfo) -> bool {
        let single = self.symbol(c"_ZTVN10__cxxabiv120__si_class_type_infoE");
        if single.is_null() {
            return false;
        }
        // Objects point behind the first two words, to the functions.
        let single = single.cast::<[usize; 2]>().wrapping_add(1).cast_const().cast();
        // SAFETY: promised by the caller; only types of that table have a base.
        unsafe {
            while CStr::from_ptr((*of_type).name) != c"St9exception" {
                if (*of_type).vtable != single {
                    return false;
                }
                of_type = (*of_type).base;
            }
        }
        true
    }

    /// Returns the name of a type as it stands in source code.
    ///
    /// # Safety
    /// `name` ends with NUL.
    unsafe fn demangle(&self, name: *const c_char) -> String {
        type Demangle = extern "C" fn(*const c_char, *mut c_char, *mut usize, *mut c_int) -> *mut c_char;
        let demangle = self.symbol(c"__cxa_demangle");
        // SAFETY: the function of the runtime, called as its ABI says; its result is freed once.
        unsafe {
            let plain = CStr::from_ptr(name).to_string_lossy().into_owned();
            if demangle.is_null() {
                return plain;
            }
            let (null, mut status) = (std::ptr::null_mut(), 0);
            let text = std::mem::transmute::<*mut c_void, Demangle>(demangle)(
                name,
                null,
                std::ptr::null_mut(),
                &raw mut status,
            );
            if text.is_null() {
                return plain;
            }
            let readable = CStr::from_ptr(text).to_string_lossy().into_owned();
            libc::free(text.cast());
            readable
        }
    }
}

/// The beginning of `pthread_mutex_t` of glibc.
#[repr(C)]
struct PthreadMutex {
    lock: i32,
    count: u32,
    owner: i32,
    users: u32,
    kind: i32,
}

/// Releases the lock of the dynamic loader that an exception left locked.
fn unlock_loader() {
    unsafe extern "C" {
        fn dladdr1(
            address: *const c_void,
            info: *mut libc::Dl_info,
            extra: *mut *const Symbol,
            flags: c_int,
        ) -> c_int;
    }
    /// `ElfW(Sym)`.
    #[repr(C)]
    struct Symbol {
        name: u32,
        info: u8,
        other: u8,
        section: u16,
        value: u64,
        size: u64,
    }
    const RTLD_DL_SYMENT: c_int = 1;
    // SAFETY: the variables of the loader are read in steps of a word, within the size that its symbol table
    // gives. No other thread changes a mutex that this thread owns.
    unsafe {
        let variables = libc::dlsym(libc::RTLD_DEFAULT, c"_rtld_global".as_ptr());
        let mut info: libc::Dl_info = std::mem::zeroed();
        let mut symbol: *const Symbol = std::ptr::null();
        if variables.is_null()
            || dladdr1(variables, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT) == 0
            || symbol.is_null()
        {
            return;
        }
        let size = usize::try_from((*symbol).size).unwrap_or(0);
        let mine = libc::gettid();
        let is_held = |mutex: &*mut PthreadMutex| {
            let mutex = &**mutex;
            mutex.owner == mine
                && mutex.kind == libc::PTHREAD_MUTEX_RECURSIVE
                && mutex.lock != 0
                && mutex.users == 1
                && mutex.count > 0
        };
        let room = size.saturating_sub(size_of::<libc::pthread_mutex_t>());
        let mut held = (0..=room).step_by(8).map(|at| variables.byte_add(at).cast()).filter(is_held);
        if let (Some(mutex), None) = (held.next(), held.next()) {
            libc::pthread_mutex_unlock(mutex.cast());
        }
    }
}
