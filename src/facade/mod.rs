//! The door for hosts in Rust: what [`crate`] exports. It wraps the types of the layers below, so that these
//! may change.

#![deny(unsafe_code)]

pub(crate) mod call;
#[allow(unsafe_code, reason = "a communicator of the host, by its bytes")]
pub(crate) mod comm;
pub(crate) mod error;
#[allow(unsafe_code, reason = "an address as a function of the host's type")]
pub(crate) mod library;
pub(crate) mod source;
