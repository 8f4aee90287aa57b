//! The dynamic loader: the only user of libloading.
//!
//! Libraries are never unloaded: code that registered itself somewhere, or a function pointer that somebody kept,
//! would crash the host. Symbols stay local to each library.

use std::ffi::{CString, c_void};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::error::{Error, Kind, Result};

/// A loaded library.
pub trait Image: Send + Sync {
    /// The address of a symbol; `None` when there is no such symbol.
    fn symbol(&self, name: &str) -> Option<*const c_void>;
}

/// Something that loads libraries; a trait so that tests of ranks need no real ones.
pub trait Loader: Send + Sync {
    /// Loads the library at an absolute path.
    ///
    /// # Errors
    /// [`Kind::Load`] with the loader's own words.
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>>;
}

/// The loader of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// Never dropped, hence never closed: see the comment of the module.
struct Loaded(ManuallyDrop<Library>);

impl Image for Loaded {
    fn symbol(&self, name: &str) -> Option<*const c_void> {
        let name = CString::new(name).ok()?;
        // SAFETY: the symbol is only asked for its address and not used as any type; the library stays loaded.
        let symbol = unsafe { self.0.get::<*const c_void>(name.as_bytes_with_nul()) };
        symbol.ok().map(|symbol| symbol.into_raw().cast_const()).filter(|address| !address.is_null())
    }
}

impl Loader for System {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        // SAFETY: loading runs the library's initialisers. Its bytes carry the digest that the builder of this very
        // cache gave them; whoever can forge that can already run code as this user.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        match library {
            Ok(library) => Ok(Arc::new(Loaded(ManuallyDrop::new(library)))),
            Err(error) => {
                use std::error::Error as _;
                let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                let text = format!("the dynamic loader refuses {}: {reason}", path.display());
                Err(Error::new(Kind::Load, text))
            }
        }
    }
}
