//! The error of calls of hosts in Rust.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::error::Kind;

/// The reason for which a generator has failed, as the host gave it.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A call that failed. All ranks of a call get the same error, apart from
/// [`source`](std::error::Error::source).
pub struct Error {
    inner: crate::error::Error,
    cause: Option<Cause>,
}

impl Error {
    pub(super) fn new(inner: crate::error::Error, cause: Option<Cause>) -> Self {
        Self { inner, cause }
    }

    /// Returns the kind of the failure; [`Kind::code`] is the status of the C interface.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind()
    }

    /// Returns one paragraph: what failed, on which path and rank, what the compiler said first, what to do
    /// next.
    #[must_use]
    pub fn message(&self) -> &str {
        self.inner.message()
    }

    /// Returns the whole output of the compiler; an empty text if there is none.
    #[must_use]
    pub fn log(&self) -> &str {
        self.inner.log()
    }

    /// Returns the rank in the communicator on which it happened.
    #[must_use]
    pub fn rank(&self) -> Option<usize> {
        usize::try_from(self.inner.rank()).ok()
    }

    /// Returns the folder that reproduces the failure: `recompile.sh` in it runs the compiler again.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        Some(self.inner.path()).filter(|path| !path.is_empty()).map(Path::new)
    }
}

impl From<crate::error::Error> for Error {
    fn from(inner: crate::error::Error) -> Self {
        Self::new(inner, None)
    }
}

/// Shows message and log: `main` prints an error that it returns in this form.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())?;
        if self.log().is_empty() { Ok(()) } else { write!(f, "\n{}", self.log()) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {
    /// Returns the error of the `generate` closure, if it failed on this rank.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
