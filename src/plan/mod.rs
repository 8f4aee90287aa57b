//! Build plans: directed acyclic graphs of modules and tasks, made in parallel on the call of [`mod@crate::jit`].
//!
//! A [`Plan`] has nodes and edges. [`make`] makes them: alone, or on the ranks of a communicator. What a node
//! has made lies in the cache under its signature, so a plan has no state of its own that could be lost; its
//! journal has times and failures, for people and for the next schedule.

#![forbid(unsafe_code)]

pub mod analysis;
pub mod definition;
pub mod execution;
pub mod file;
pub mod from_cache;
mod from_definition;
mod graph;
pub mod journal;
pub mod make;
pub mod memo;
mod refresh;
mod renamed;
#[cfg(any(test, feature = "test-doubles"))]
pub mod sample;
mod schedule;
mod source;
mod task;
pub mod view;

pub use graph::node::{self, NodeId};
pub use graph::{Edge, Plan, StopRequest, is_in_callback};

#[cfg(test)]
mod tests;
