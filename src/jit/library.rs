//! A library that a call was answered with.

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

/// How a call got its library.
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
    /// The origin in one word.
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

/// A loaded library; clones share it. The code stays loaded when the last of them is gone.
#[derive(Clone)]
pub struct Library {
    shared: Arc<Shared>,
    origin: Origin,
}

/// There are as many of these as loaded libraries, and those may be many: each text is there once, and as C wants it.
struct Shared {
    signature: CString,
    path: CString,
    image: Option<Arc<dyn Image>>,
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

/// From when an entry is that does not do, and what can be done; nothing if it has no record.
pub(super) fn provenance(path: &Path) -> String {
    let file = fsutil::open_trusted(path).ok().flatten();
    let Some(record) = file.and_then(|file| record::read_record_tail(&file).ok()?.record()) else {
        return String::new();
    };
    let by_text = if record.text.is_some() {
        ""
    } else {
        "; if generate gives something else by now, remove the entry (dijitso clean), call it otherwise, use \
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
        // No file has a name with a NUL in it.
        let text = |text: &[u8]| CString::new(text).unwrap_or_default();
        let (signature, path) = (text(signature.as_bytes()), text(path.as_os_str().as_bytes()));
        Self { shared: Arc::new(Shared { signature, path, image, kept: OnceLock::new() }), origin }
    }

    /// The same library, as a call gives it that got it so.
    #[must_use]
    pub fn with_origin(&self, origin: Origin) -> Self {
        Self { shared: Arc::clone(&self.shared), origin }
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.shared.signature.to_str().unwrap_or_default()
    }

    /// The signature, as a C string.
    #[must_use]
    pub fn signature_in_c(&self) -> &CStr {
        &self.shared.signature
    }

    /// The file in the cache.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.shared.path.to_bytes()))
    }

    /// The file in the cache, as a C string.
    #[must_use]
    pub fn path_in_c(&self) -> &CStr {
        &self.shared.path
    }

    /// What the caller wants to keep with this library, made when it is first asked for; as libraries are never
    /// unloaded, it lives as long as the process. `None` when something of another type is kept already.
    pub fn kept<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Option<&'static T> {
        self.shared.kept.get_or_init(|| Box::leak(Box::new(make(self)))).downcast_ref()
    }

    /// The image, if it was loaded.
    pub(super) fn is_loaded(&self) -> bool {
        self.shared.image.is_some()
    }

    /// How the call that returned this value got the library.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The address of a symbol.
    ///
    /// # Errors
    /// [`Kind::Symbol`] when the library has no such symbol, [`Kind::State`] when it was built and not loaded
    /// (`cache.lib_loader = "import"`).
    pub fn symbol(&self, name: &str) -> Result<*const c_void> {
        let Some(image) = &self.shared.image else {
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
