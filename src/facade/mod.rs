//! The door for hosts in Rust: what [`crate`] exports. It wraps the types of the layers below, so that these may
//! change.

pub(crate) mod call;
pub(crate) mod comm;
pub(crate) mod error;
pub(crate) mod library;
pub(crate) mod source;
