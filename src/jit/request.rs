//! Requests: what a call asks for.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::error::Result;
use crate::params::resolved::{Resolved, default_timeout};
use crate::process::exec_context::ExecContext;
use crate::process::phase::clock_of_thread;
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

/// The libraries that a call asks for, all with the same parameters.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The names. One that is given twice is built once.
    pub names: &'a [&'a str],
    /// The parameters.
    pub params: &'a Resolved,
}

impl<'a> Batch<'a> {
    /// Returns the requests, in the order of the names.
    pub(super) fn requests(&self) -> impl Iterator<Item = Request<'a>> + use<'a> {
        let params = self.params;
        self.names.iter().map(move |name| Request { name, params })
    }

    /// Describes the batch in a few words, for messages of other ranks.
    pub(super) fn title(&self) -> String {
        match self.names {
            [] => String::new(),
            [name] => (*name).to_owned(),
            [first, others @ ..] => format!("{first} and {} more", others.len()),
        }
    }
}

/// Returns the title of a call that others wait in, and how long this rank waits for them: the default if its
/// parameters could not be read.
#[must_use]
pub fn title_and_timeout(batch: &Result<Batch<'_>>) -> (String, Option<Duration>) {
    match batch {
        Ok(batch) => (batch.title(), batch.params.timeout),
        Err(_) => (String::new(), default_timeout()),
    }
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
        context.interrupted_by(polling::current()).timed_by(clock_of_thread())
    }
}
