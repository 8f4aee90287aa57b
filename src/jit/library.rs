//! A library that a call was answered with.

#![forbid(unsafe_code)]

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
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

struct Shared {
    signature: String,
    path: PathBuf,
    image: Option<Arc<dyn Image>>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("signature", &self.shared.signature)
            .field("path", &self.shared.path)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Library {
    pub(super) fn new(signature: &str, path: &Path, image: Option<Arc<dyn Image>>, origin: Origin) -> Self {
        let shared = Shared { signature: signature.to_owned(), path: path.to_owned(), image };
        Self { shared: Arc::new(shared), origin }
    }

    pub(super) fn with_origin(&self, origin: Origin) -> Self {
        Self { shared: Arc::clone(&self.shared), origin }
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &str {
        &self.shared.signature
    }

    /// The file in the cache.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
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
            let text =
                format!("{} is not loaded (cache.lib_loader is \"import\")", self.shared.path.display());
            return Err(Error::new(Kind::State, text));
        };
        image.symbol(name).ok_or_else(|| {
            let text = format!("{} has no symbol \"{name}\"", self.shared.path.display());
            Error::new(Kind::Symbol, text)
        })
    }
}
