//! Build plans: directed acyclic graphs of modules and tasks, made in parallel on the call of [`crate::jit`].

#![forbid(unsafe_code)]

pub mod definition;
pub mod execution;
pub mod view;
