//! The C interface, and nothing else: it checks and converts arguments; all work is done one layer below.
//!
//! The comments of the exported items become `include/dijitso.h`, which is the reference manual. The body of
//! every exported function is one call of `boundary`; a test checks that.

#![allow(non_camel_case_types, reason = "the names of the C interface")]

mod at_exit;
pub mod blob;
mod boundary;
pub mod bundle;
pub mod cache;
pub mod callbacks;
pub(crate) mod comm;
mod convert;
pub(crate) mod defaults;
pub mod details;
pub mod elf;
pub mod error;
mod fast_path;
pub mod jit;
pub mod jit_many;
pub mod languages;
pub mod layout;
pub mod library;
pub mod logging;
pub mod maintenance;
pub mod mpi;
mod mpi_ops;
pub mod mpi_table;
pub mod params;
pub mod pending;
pub mod plan;
pub mod plan_file;
pub mod plan_make;
pub mod plan_nodes;
pub mod plan_query;
pub mod plan_task;
pub mod query;
pub mod source;
pub mod status;
pub mod text;
pub mod visit;
