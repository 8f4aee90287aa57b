//! Starting and finishing without a communicator.

#![forbid(unsafe_code)]

use crate::cache::{Cache, VerifiedEntry, Verify};
use crate::error::{Error, Kind, Result};
use crate::jit::build_pool::StartedBuild;
use crate::jit::build_step::start_build;
use crate::jit::callbacks::Callbacks;
use crate::jit::library::Library;
use crate::jit::local::{LocalCall, check_roles, run_failure_callbacks};
use crate::jit::nested;
use crate::jit::request::{Request, SignedRequest};
use crate::jit::session::Session;
use crate::signature::Toolchain;

use super::{Pending, Stage};

/// A call without a communicator that has been started.
pub(super) struct LocalPending {
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    /// The entry that was in the cache at the start.
    found: Option<VerifiedEntry>,
    started: StartedBuild,
}

/// Starts a call; see [`Session::start`].
pub(in crate::jit) fn start(
    session: &Session,
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Pending> {
    if !nested::is_nested() {
        check_roles(callbacks)?;
        if let Ok(request) = &request
            && let Some(library) = session.from_memory(*request)
        {
            return Ok(Pending::new(*request, Stage::Known(library)));
        }
    }
    let start = |request| {
        let verify = if nested::is_nested() { Verify::ForLink } else { Verify::ForLoad };
        let (call, found) = LocalCall::look_up(session, request, verify, callbacks.generate.is_some())?;
        let LocalCall { signed, cache, .. } = call;
        let started = if found.is_some() {
            StartedBuild::Nothing
        } else {
            start_build(session, &signed, &cache, callbacks, None)
        };
        let SignedRequest { signature, toolchain, .. } = signed;
        // Others may have renamed the directory when the call is finished: it is checked again.
        let found = found.map(|entry| VerifiedEntry { lib_dir: None, ..entry });
        let pending = LocalPending { signature, toolchain, cache, found, started };
        Ok(Pending::new(request, Stage::Local(Box::new(pending))))
    };
    request.and_then(start).map_err(|error| {
        // Other processes wait for the role of this one.
        if nested::is_nested() { error } else { run_failure_callbacks(error, callbacks) }
    })
}

/// Finishes a call; see [`Session::finish`].
pub(in crate::jit) fn finish(
    session: &Session,
    mut pending: Pending,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    let LocalPending { signature, toolchain, cache, found, started } = match pending.take_stage()? {
        Stage::Local(local) => *local,
        Stage::Known(library) => return Ok(library),
        Stage::Collective(_) => {
            let text = "a build that was started on a communicator is finished on it";
            return Err(Error::new(Kind::State, text));
        }
    };
    let signed = SignedRequest { request: pending.request(), signature, toolchain };
    LocalCall { session, signed, cache }.answer(found, started, callbacks)
}
