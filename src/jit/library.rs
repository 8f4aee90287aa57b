//! Libraries that calls return.

#![forbid(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, CString, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::cache::explain::utc;
use crate::cache::record;
use crate::elf;
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::load::Image;

/// The origin of a library in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Origin {
    /// It was loaded already.
    Memory = 0,
    /// It was in the cache directory, or another rank put it there.
    Disk = 1,
    /// This call built it.
    Built = 2,
    /// This call received it from another rank.
    Received = 3,
}

impl Origin {
    /// Returns the origin in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Built => "built",
            Self::Received => "received",
        }
    }
}

/// A loaded library; clones share it. The code stays loaded when the last clone is dropped.
#[derive(Clone)]
pub struct Library {
    data: Arc<LibraryData>,
    origin: Origin,
}

/// A process may have many libraries, so each text is stored once, as a C string.
struct LibraryData {
    signature: CString,
    path: CString,
    image: Option<Arc<dyn Image>>,
    /// See [`Library::kept`].
    kept: OnceLock<&'static (dyn Any + Send + Sync)>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("signature", &self.signature())
            .field("path", &self.path())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Says when and where an unfit entry was built, and what to do; an empty text if it has no record.
pub(super) fn provenance(path: &Path) -> String {
    let file = fsutil::open_trusted(path).ok().flatten();
    let Some(record) = file.and_then(|file| record::read_record_tail(&file).ok()?.record()) else {
        return String::new();
    };
    let by_text = if record.text.is_some() {
        ""
    } else {
        "; if generate returns something else by now, remove the entry (dijitso clean), call it otherwise, \
         use \
         dijitso_jit_source, or set cache.check_source = rebuild"
    };
    format!(
        ". It was not built by this call, but on {} on {} by {} (dijitso checkout shows its source){by_text}",
        utc(record.built_at),
        record.host,
        record.toolchain.identity
    )
}

impl Library {
    pub(super) fn new(signature: &str, path: &Path, image: Option<Arc<dyn Image>>, origin: Origin) -> Self {
        // Neither a signature nor a path contains a NUL.
        let text = |text: &[u8]| CString::new(text).unwrap_or_default();
        let (signature, path) = (text(signature.as_bytes()), text(path.as_os_str().as_bytes()));
        Self { data: Arc::new(LibraryData { signature, path, image, kept: OnceLock::new() }), origin }
    }

    /// Returns the same library with another origin.
    #[must_use]
    pub fn with_origin(&self, origin: Origin) -> Self {
        Self { data: Arc::clone(&self.data), origin }
    }

    /// Returns the signature.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.data.signature.to_str().unwrap_or_default()
    }

    /// Returns the signature as a C string.
    #[must_use]
    pub fn signature_in_c(&self) -> &CStr {
        &self.data.signature
    }

    /// Returns the path of the file in the cache.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.data.path.to_bytes()))
    }

    /// Returns the path of the file in the cache as a C string.
    #[must_use]
    pub fn path_in_c(&self) -> &CStr {
        &self.data.path
    }

    /// Returns a value that the caller keeps with this library; `make` makes it at the first call. It lives
    /// as long as the process, because libraries are never unloaded. `None` if a value of another type is
    /// kept already.
    pub fn kept<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Option<&'static T> {
        self.data.kept.get_or_init(|| Box::leak(Box::new(make(self)))).downcast_ref()
    }

    /// Returns whether it was loaded, and not only built.
    pub(super) fn is_loaded(&self) -> bool {
        self.data.image.is_some()
    }

    /// Returns how the call got the library.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the handle of the dynamic loader. `None` if the library was built and not loaded.
    #[must_use]
    pub fn handle(&self) -> Option<*mut c_void> {
        self.data.image.as_ref()?.handle()
    }

    /// Returns the address of a symbol.
    ///
    /// # Errors
    /// [`Kind::Symbol`] if the library has no such symbol, [`Kind::State`] if it was built and not loaded
    /// (`cache.lib_loader = "import"`).
    pub fn symbol(&self, name: &str) -> Result<*const c_void> {
        let Some(image) = &self.data.image else {
            let text = format!("{} is not loaded (cache.lib_loader is \"import\")", self.path().display());
            return Err(Error::new(Kind::State, text));
        };
        image.symbol(name).ok_or_else(|| {
            let path = self.path();
            let mut text =
                format!("{} has no symbol \"{name}\"{}", path.display(), elf::explain_missing(path, name));
            if self.origin != Origin::Built {
                let built = provenance(path);
                text.push_str(if text.ends_with('?') { built.trim_start_matches('.') } else { &built });
            }
            Error::new(Kind::Symbol, text)
        })
    }
}
