//! Distributed just-in-time building of shared libraries, for simulation codes that generate code while they
//! run.
//!
//! A program hands over a name and a callback that generates C or C++ source; it gets back a loaded shared
//! library: from memory, from the disk cache, or by generating, compiling, distributing and loading it, on
//! every rank.
//!
//! The product is the C interface, `include/dijitso.h`. The modules below are its parts, in layers whose
//! imports point downwards only:
//!
//! * 4, door: [`capi`], the C interface;
//! * 3, plans: [`plan`], graphs of modules and tasks that are made on the call;
//! * 2, policy: [`jit`], the fixed sequence of agreed steps;
//! * 1, siblings: [`params`], [`signature`], [`cache`], [`build`], [`load`], [`parallel`];
//! * 0, facts: [`advice`], [`codec`], [`cpp_functions`], [`elf`], [`error`], [`escape`], [`fsutil`], [`human`],
//!   [`inputs`], [`language`], [`logging`], [`owner`], [`process`], [`signals`], [`sync`],
//!   [`toml_text`].
//!
//! The command `dijitso` is a program of its own on this crate: `src/bin/dijitso`.
//!
//! Unsafe code is in `capi`, `load`, `parallel::mpi`, `process::jobserver` and `signals` alone; every other file forbids it.

pub mod advice;
pub mod build;
pub mod cache;
pub mod capi;
pub mod codec;
pub mod cpp_functions;
pub mod elf;
pub mod error;
pub mod escape;
pub mod fsutil;
pub mod human;
pub mod inputs;
pub mod jit;
pub mod language;
pub mod load;
pub mod logging;
pub mod owner;
pub mod parallel;
pub mod params;
pub mod plan;
pub mod process;
pub mod signals;
pub mod signature;
pub mod sync;
pub mod toml_text;

/// The version of this library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of this host.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
