//! Loaded libraries for hosts in Rust.

use std::ffi::c_void;
use std::path::Path;

use crate::error::Kind;
use crate::jit::Origin;

use super::error::Error;

/// A loaded library. Clones share it. Its code stays loaded until the process ends, so functions from it may
/// be kept after it is dropped.
#[derive(Clone, Debug)]
pub struct Library(crate::jit::Library);

impl Library {
    pub(super) fn new(library: crate::jit::Library) -> Self {
        Self(library)
    }

    /// Returns a symbol as a `T`: a pointer to a function, or to data.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), dijitso::Error> {
    /// # let library = dijitso::jit("square").load()?;
    /// // SAFETY: the source defines `double square(double)`.
    /// let square: extern "C" fn(f64) -> f64 = unsafe { library.symbol("square")? };
    /// // SAFETY: the source defines `const int degree`.
    /// let degree: *const i32 = unsafe { library.symbol("degree")? };
    /// # Ok(()) }
    /// ```
    ///
    /// A type of another size than a pointer is an error of the compiler.
    ///
    /// # Errors
    /// [`Kind::Symbol`] if the library has no such symbol; the message names the ones that are like it.
    ///
    /// # Safety
    /// `T` is a pointer, and what the symbol stands for has its type: a function of C with these parameters,
    /// or a variable of this type.
    pub unsafe fn symbol<T: Copy>(&self, name: &str) -> Result<T, Error> {
        const { assert!(size_of::<T>() == size_of::<*const c_void>(), "a symbol is a pointer") };
        let address = self.address(name)?;
        if address.is_null() {
            let text = format!("the symbol \"{name}\" of {} is NULL", self.path().display());
            return Err(crate::error::Error::new(Kind::Symbol, text).into());
        }
        // SAFETY: of the same size, as was checked; the caller promises that it is such a pointer.
        Ok(unsafe { std::mem::transmute_copy(&address) })
    }

    /// Returns the address of a symbol.
    ///
    /// # Errors
    /// [`Kind::Symbol`] if the library has no such symbol.
    pub fn address(&self, name: &str) -> Result<*const c_void, Error> {
        Ok(self.0.symbol(name)?)
    }

    /// Returns the signature, which names its files in the cache.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.0.signature()
    }

    /// Returns the path of its file in the cache.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns how the call got it: from memory, from disk, built, or received from another rank.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin()
    }
}
