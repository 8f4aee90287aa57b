//! Distributed just-in-time building of shared libraries, for simulation codes that generate code while they
//! run.
//!
//! A program hands over a name and a closure that generates C, C++ or Fortran; it gets back a loaded shared
//! library: from memory, from the disk cache, or by generating, compiling, distributing and loading it, on
//! every rank.
//!
//! ```
//! use dijitso::{Comm, Error};
//!
//! fn main() -> Result<(), Error> {
//!     # let cache = std::env::temp_dir().join(format!("dijitso-doc-{}", std::process::id()));
//!     # let cache = cache.to_str().unwrap();
//!     let library = dijitso::jit("square")
//!         .param("build.cxxflags_append", "-O2")
//!         # .param("cache.cache_dir", cache)
//!         .generate(|source| {
//!             source.code(r#"extern "C" double square(double x) { return x * x; }"#);
//!             Ok::<(), Error>(())
//!         })
//!         .comm(Comm::none()) // or Comm::from_raw(world.as_raw()): then every rank makes this call
//!         .load()?;
//!     // SAFETY: `square` has this type in the source above.
//!     let square: extern "C" fn(f64) -> f64 = unsafe { library.symbol("square")? };
//!     assert_eq!(square(3.0), 9.0);
//!     # std::fs::remove_dir_all(cache).unwrap();
//!     Ok(())
//! }
//! ```
//!
//! The cache is keyed by name and parameters: a second run finds the library on disk, and runs neither
//! closure nor compiler. [`Jit::source`] keys it by the text itself, and [`jit_many`] builds many libraries
//! at the same time. A failure is an [`Error`] with the same message on every rank, the output of the
//! compiler ([`Error::log`]) and a folder that reproduces it ([`Error::path`]). Records of the library go to
//! the logger of the crate `log`.
//!
//! Depend on it with `default-features = false`, which leaves out the command and its crates. These items are
//! all that is public then. A program that links this crate must not load `libdijitso.so` as well: each has a
//! state of its own.
//!
//! # For those who change it
//!
//! The feature `internals`, which the command and the tests of the package have, makes the modules below
//! public. They are no interface, and change without notice. They are layers whose imports point downwards
//! only:
//!
//! * 4, doors: `capi`, the C interface, which is the product; `facade`, the items below;
//! * 3, plans: `plan`, graphs of modules and tasks that are made on the call;
//! * 2, policy: `jit`, the fixed sequence of agreed steps;
//! * 1, siblings: `params`, `signature`, `cache`, `build`, `load`, `parallel`;
//! * 0, facts: `advice`, `codec`, `cpp_functions`, `elf`, `error`, `escape`, `fsutil`, `human`, `inputs`,
//!   `language`, `logging`, `owner`, `process`, `signals`, `sync`, `toml_text`.
//!
//! The command `dijitso` is a program of its own on this crate: `src/bin/dijitso`.
//!
//! Unsafe code is in `capi`, `facade`, `load`, `parallel::mpi`, `process::jobserver` and `signals` alone;
//! every other file forbids it.

#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, unused_imports, reason = "the command and the tests use it")
)]

mod facade;

#[cfg(not(feature = "internals"))]
mod advice;
#[cfg(feature = "internals")]
pub mod advice;
#[cfg(not(feature = "internals"))]
mod build;
#[cfg(feature = "internals")]
pub mod build;
#[cfg(not(feature = "internals"))]
mod cache;
#[cfg(feature = "internals")]
pub mod cache;
#[cfg(not(feature = "internals"))]
mod capi;
#[cfg(feature = "internals")]
pub mod capi;
#[cfg(not(feature = "internals"))]
mod codec;
#[cfg(feature = "internals")]
pub mod codec;
#[cfg(not(feature = "internals"))]
mod cpp_functions;
#[cfg(feature = "internals")]
pub mod cpp_functions;
#[cfg(not(feature = "internals"))]
mod elf;
#[cfg(feature = "internals")]
pub mod elf;
#[cfg(not(feature = "internals"))]
mod error;
#[cfg(feature = "internals")]
pub mod error;
#[cfg(not(feature = "internals"))]
mod escape;
#[cfg(feature = "internals")]
pub mod escape;
#[cfg(not(feature = "internals"))]
mod fsutil;
#[cfg(feature = "internals")]
pub mod fsutil;
#[cfg(not(feature = "internals"))]
mod human;
#[cfg(feature = "internals")]
pub mod human;
#[cfg(not(feature = "internals"))]
mod inputs;
#[cfg(feature = "internals")]
pub mod inputs;
#[cfg(not(feature = "internals"))]
mod jit;
#[cfg(feature = "internals")]
pub mod jit;
#[cfg(not(feature = "internals"))]
mod language;
#[cfg(feature = "internals")]
pub mod language;
#[cfg(not(feature = "internals"))]
mod load;
#[cfg(feature = "internals")]
pub mod load;
#[cfg(not(feature = "internals"))]
mod logging;
#[cfg(feature = "internals")]
pub mod logging;
#[cfg(not(feature = "internals"))]
mod owner;
#[cfg(feature = "internals")]
pub mod owner;
#[cfg(not(feature = "internals"))]
mod parallel;
#[cfg(feature = "internals")]
pub mod parallel;
#[cfg(not(feature = "internals"))]
mod params;
#[cfg(feature = "internals")]
pub mod params;
#[cfg(not(feature = "internals"))]
mod plan;
#[cfg(feature = "internals")]
pub mod plan;
#[cfg(not(feature = "internals"))]
mod process;
#[cfg(feature = "internals")]
pub mod process;
#[cfg(not(feature = "internals"))]
mod signals;
#[cfg(feature = "internals")]
pub mod signals;
#[cfg(not(feature = "internals"))]
mod signature;
#[cfg(feature = "internals")]
pub mod signature;
#[cfg(not(feature = "internals"))]
mod sync;
#[cfg(feature = "internals")]
pub mod sync;
#[cfg(not(feature = "internals"))]
mod toml_text;
#[cfg(feature = "internals")]
pub mod toml_text;

/// The version of this library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use error::Kind;
pub use facade::call::{Jit, JitMany, jit, jit_many};
pub use facade::comm::Comm;
pub use facade::error::Error;
pub use facade::library::Library;
pub use facade::source::Source;
pub use jit::Origin;

/// The name of this host.
#[doc(hidden)]
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
