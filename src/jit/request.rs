//! Requests: what a call asks for.

#![forbid(unsafe_code)]

use crate::params::resolved::Resolved;
use crate::process::exec_context::ExecContext;
use crate::signature::Toolchain;

use super::nested;
use super::polling;

/// The library that a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The name; see [`crate::signature::check_name`].
    pub name: &'a str,
    /// The parameters.
    pub params: &'a Resolved,
}

/// A request with its signature.
pub(super) struct SignedRequest<'a> {
    pub(super) request: Request<'a>,
    pub(super) signature: String,
    /// The toolchain that went into the signature.
    pub(super) toolchain: Toolchain,
}

impl SignedRequest<'_> {
    /// Returns the execution context of the build, which the call in progress on this thread can cancel. A
    /// call within `generate` has the deadline of the build that it is for.
    pub(super) fn context(&self) -> ExecContext {
        let context = ExecContext::new(self.request.params.build.cores, nested::deadline());
        context.interrupted_by(polling::current())
    }
}
