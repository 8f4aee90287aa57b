//! Starting and finishing without a communicator.

#![forbid(unsafe_code)]

use crate::cache::Cache;
use crate::error::{Error, Kind, Result};
use crate::jit::build_alone::{SOLO, check_roles, is_independent, start_builds};
use crate::jit::build_pool::StartedBuild;
use crate::jit::call::{Call, Place};
use crate::jit::callbacks::Callbacks;
use crate::jit::item::{Item, ItemState};
use crate::jit::library::Library;
use crate::jit::local::begin;
use crate::jit::nested;
use crate::jit::request::{Batch, Request, SignedRequest};
use crate::jit::sequence::{remember, serve};
use crate::jit::session::Session;
use crate::signature::Toolchain;

use super::{Pending, Stage};

/// A call without a communicator that has been started, and whose library is missing.
pub(super) struct LocalPending {
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    started: StartedBuild,
}

impl LocalPending {
    pub(super) fn waits_for_program(&self) -> bool {
        matches!(self.started, StartedBuild::ElsewhereInProgress)
    }
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
    let names = [request.as_ref().map_or("", |request| request.name)];
    let batch = request.as_ref().map(|request| Batch { names: &names, params: request.params });
    let (call, mut items) = begin(session, batch.map_err(Clone::clone), callbacks)?;
    let item = &mut items[0];
    if item.is_settled() {
        remember(&call, item);
        return Ok(Pending::new(request?, Stage::Known(item.result()?)));
    }
    if item.is_missing() {
        start_builds(&call, &mut [item], callbacks);
    }
    let Call { cache, .. } = call;
    let Item { signed: SignedRequest { request, signature, toolchain }, started, .. } = items.remove(0);
    let pending = LocalPending { signature, toolchain, cache, started };
    Ok(Pending::new(request, Stage::Local(Box::new(pending))))
}

/// Finishes a call; see [`Session::finish`].
pub(in crate::jit) fn finish(
    session: &Session,
    mut pending: Pending,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    let LocalPending { signature, toolchain, cache, started } = match pending.take_stage()? {
        Stage::Local(local) => *local,
        Stage::Known(library) => return Ok(library),
        Stage::Collective(_) => {
            let text = "a build that was started on a communicator is finished on it";
            return Err(Error::new(Kind::State, text));
        }
    };
    let request = pending.request();
    let place = if nested::is_nested() { Place::Nested } else { Place::Alone };
    let mut call = Call { session, comm: &SOLO, params: request.params, cache, place };
    let can_build = callbacks.generate.is_some() && !request.params.cache.frozen;
    let independent = is_independent(&call, callbacks);
    let mut item = Item::new(SignedRequest { request, signature, toolchain }, can_build && independent);
    if !independent {
        item.lookups_left = 1;
    }
    (item.state, item.started) = (ItemState::Missing(None), started);
    serve(&mut call, std::slice::from_mut(&mut item), callbacks)?;
    item.result()
}
