//! The dynamic loader: the only user of libloading.
//!
//! Libraries are never unloaded: code that registered itself somewhere, or a function pointer that the host
//! kept, would crash it. Symbols stay local to each library.
//!
//! With glibc on x86-64, an initialiser that throws a C++ exception is an error like any other. Elsewhere it
//! ends the program, like any exception in C++ that is not caught.

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod guarded;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::{CString, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

use crate::advice;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, FileId};
use crate::sync::lock;

/// A loaded library.
pub trait Image: Send + Sync {
    /// Returns the address of a symbol, or `None` if there is no such symbol.
    fn symbol(&self, name: &str) -> Option<*const c_void>;

    /// Returns the handle of the dynamic loader, or `None` if the loader has no handles.
    fn handle(&self) -> Option<*mut c_void> {
        None
    }
}

/// Loads libraries. A trait, so that tests of ranks need no real ones.
pub trait Loader: Send + Sync {
    /// Loads the library at an absolute path.
    ///
    /// # Errors
    /// [`Kind::Load`] with the message of the dynamic loader.
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>>;

    /// Checks in another process that the library at an absolute path can be loaded here, without running any
    /// of its code. Succeeds if no fault is known.
    ///
    /// # Errors
    /// [`Kind::Load`] with the message of the dynamic loader.
    fn resolve(&self, path: &Path) -> Result<()> {
        let _ = path;
        Ok(())
    }
}

/// The dynamic loader of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// A library that is never dropped, hence never closed: see the comment of the module.
struct Loaded {
    library: ManuallyDrop<Library>,
    /// The address that `dlopen` gave for it.
    handle: usize,
}

impl Loaded {
    fn new(library: Library) -> Self {
        let handle = library.into_raw();
        // SAFETY: the handle is that of the library, which is not closed in between.
        let library = ManuallyDrop::new(unsafe { Library::from_raw(handle) });
        Self { library, handle: handle.expose_provenance() }
    }
}

impl Image for Loaded {
    fn symbol(&self, name: &str) -> Option<*const c_void> {
        let name = CString::new(name).ok()?;
        // SAFETY: the symbol is only asked for its address and not used as any type; the library stays
        // loaded.
        let symbol = unsafe { self.library.get::<*const c_void>(name.as_bytes_with_nul()) };
        symbol.ok().map(|symbol| symbol.into_raw().cast_const()).filter(|address| !address.is_null())
    }

    fn handle(&self) -> Option<*mut c_void> {
        Some(std::ptr::with_exposed_provenance_mut(self.handle))
    }
}

/// A library whose initialiser threw. The dynamic loader keeps it, and would return it to every later call
/// for its path or its file.
struct Uninitialized {
    path: PathBuf,
    file: Option<FileId>,
    reason: String,
}

static UNINITIALIZED: Mutex<Vec<Uninitialized>> = Mutex::new(Vec::new());

impl Loader for System {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        check_initialised(path)?;
        if let Some(word) = fsutil::loader_token(path) {
            let text = format!(
                "cannot load {}: the dynamic loader would replace {word} in its path; name another directory \
                 (cache.temp_dir_root or TMPDIR, cache.node_stage_dir, cache.cache_dir)",
                path.display()
            );
            return Err(Error::new(Kind::Load, text));
        }
        let library = open(path).map_err(|reason| refused(path, &reason))?;
        // The same library may have failed in another thread meanwhile.
        check_initialised(path)?;
        Ok(Arc::new(Loaded::new(library)))
    }

    fn resolve(&self, path: &Path) -> Result<()> {
        resolve::check(path, &CurrentProcess).map_err(|reason| refused(path, &reason))
    }
}

fn refused(path: &Path, reason: &str) -> Error {
    let error = Error::new(Kind::Load, format!("the dynamic loader refuses {}: {reason}", path.display()));
    match advice::of_loader(reason) {
        Some(advice) => error.with_note(advice),
        None => error,
    }
}

/// The libraries and symbols of this process.
struct CurrentProcess;

/// Returns the library of this name if it is loaded already.
fn loaded(library: &str) -> Option<Library> {
    // SAFETY: with RTLD_NOLOAD nothing is loaded and no initialiser runs.
    unsafe { Library::open(Some(library), RTLD_LAZY | RTLD_LOCAL | libc::RTLD_NOLOAD) }.ok()
}

impl resolve::Process for CurrentProcess {
    fn has(&self, library: &str) -> bool {
        loaded(library).is_some()
    }

    fn provides(&self, symbol: &str, libraries: &[&str]) -> bool {
        let Ok(name) = CString::new(symbol) else { return false };
        let mut scopes =
            std::iter::once(Library::this()).chain(libraries.iter().filter_map(|name| loaded(name)));
        scopes.any(|scope| {
            // SAFETY: the symbol is only looked up and not used.
            unsafe { scope.get::<*const c_void>(name.as_bytes_with_nul()) }.is_ok()
        })
    }
}

/// Refuses a library whose initialiser threw before.
fn check_initialised(path: &Path) -> Result<()> {
    let broken = lock(&UNINITIALIZED);
    if broken.is_empty() {
        return Ok(());
    }
    let file = FileId::of(path).ok();
    let same = |known: &&Uninitialized| known.path == path || (known.file.is_some() && known.file == file);
    broken.iter().find(same).map_or(Ok(()), |known| {
        let text = format!(
            "the dynamic loader refuses {}: {}. This process has tried it before and cannot load another \
             library from this path: correct the source and start the program again",
            path.display(),
            known.reason
        );
        Err(Error::new(Kind::Load, text))
    })
}

/// Loads a library, or returns the reason of the loader.
fn open(path: &Path) -> std::result::Result<Library, String> {
    let mode = RTLD_NOW | RTLD_LOCAL;
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    return guarded::dlopen(path, mode, |exception| {
        let reason = format!("an initialiser in it (the constructor of a static object) threw {exception}");
        let broken =
            Uninitialized { path: path.to_owned(), file: FileId::of(path).ok(), reason: reason.clone() };
        lock(&UNINITIALIZED).push(broken);
        reason
    });
    // SAFETY: loading runs the library's initialisers. Its bytes carry the digest that the builder of this
    // very cache gave them. A process that can forge that can already run code as this user.
    #[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
    unsafe { Library::open(Some(path), mode) }.map_err(|error| {
        use std::error::Error as _;
        error.source().map_or_else(|| error.to_string(), ToString::to_string)
    })
}
