//! The C interface, and nothing else: arguments are checked and translated, everything else is one layer below.
//!
//! The comments of the exported items are the reference manual: they become `include/dijitso.h`. The body of every
//! exported function runs inside [`boundary`]; a test checks that.

#![allow(non_camel_case_types, reason = "the names of the C interface")]

mod at_exit;
mod boundary;
pub mod build;
pub mod bundle;
pub mod cache;
mod convert;
mod defaults;
pub mod elf;
pub mod error;
mod fast_path;
pub mod jit;
pub mod layout;
pub mod library;
pub mod logging;
pub mod maintenance;
pub mod mpi;
#[cfg(feature = "mpi")]
mod mpi_ops;
#[cfg(not(feature = "mpi"))]
mod mpi_stub;
pub mod params;
pub mod pending;
pub mod source;
pub mod status;
pub mod text;
pub mod visit;
