//! Starting and finishing on a communicator.
//!
//! Both parts begin with the same reduction as a whole call, so ranks that do different things find that out
//! together. Between the `generate` callback of a rank and the end of its start there is no communication:
//! while one rank generates, the others go on to their next start.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use crate::cache::Cache;
use crate::error::{Error, Kind, Result};
use crate::jit::build_on_ranks::{plan, start_builds};
use crate::jit::build_pool::StartedBuild;
use crate::jit::build_roles::BuildRoles;
use crate::jit::call_summary::CallPhase;
use crate::jit::callbacks::Callbacks;
use crate::jit::comm_state::CommState;
use crate::jit::isa_groups::IsaGroup;
use crate::jit::item::{Item, ItemState};
use crate::jit::library::Library;
use crate::jit::look::look_and_load;
use crate::jit::preflight::enter;
use crate::jit::request::{Batch, Request, SignedRequest};
use crate::jit::sequence::{remember, serve};
use crate::jit::session::Session;
use crate::logging;
use crate::parallel::Communicator;
use crate::signature::Toolchain;

use super::{Pending, Stage};

/// A call on a communicator that has been started, and that its start has not settled.
pub(super) struct CollectivePending {
    /// The number of the start. At the finish the ranks compare it.
    number: u64,
    group: IsaGroup,
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    /// The roles, and the build of this rank, if not all ranks have found the library.
    started: Option<(BuildRoles, StartedBuild)>,
}

/// Starts a call on all ranks of `comm`; see [`Session::start_on`]. Collective.
pub(in crate::jit) fn start_on(
    session: &Session,
    comm: &dyn Communicator,
    state: &CommState,
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Pending> {
    comm.check_alive()?;
    if let Ok(request) = &request
        && let Some(library) = session.jit_from_memory(*request, state)
    {
        return Ok(Pending::new(*request, Stage::Known(library)));
    }
    let _here = logging::enter(comm.rank(), comm.size());
    let names = [request.as_ref().map_or("", |request| request.name)];
    let batch = request.map(|request| Batch { names: &names, params: request.params });
    let (call, mut items) = enter(session, comm, state, batch, callbacks, CallPhase::Start, None)?;
    let number = state.started.fetch_add(1, Ordering::Relaxed);
    let mut item = items.remove(0);
    if item.is_unknown() {
        look_and_load(&call, &mut [&mut item])?;
    }
    if item.is_settled() {
        remember(&call, &item);
        return Ok(Pending::new(item.signed.request, Stage::Known(item.result()?)));
    }
    let ranks = call.ranks().ok_or_else(|| Error::new(Kind::Internal, "a call without ranks"))?;
    // Nothing is built for a frozen cache: its ranks look again at the finish.
    if item.is_missing() && !call.params.cache.frozen {
        plan(&call, ranks, &mut [&mut item], callbacks, true)?;
        // From here to the end nothing is agreed on: the finish reports what fails.
        start_builds(&call, &mut [&mut item], callbacks);
    }
    let group = ranks.group.clone();
    let Item { signed: SignedRequest { request, signature, toolchain }, roles, started, .. } = item;
    let started = roles.map(|roles| (roles, started));
    let cache = call.cache;
    let pending = CollectivePending { number, group, signature, toolchain, cache, started };
    Ok(Pending::new(request, Stage::Collective(Box::new(pending))))
}

/// Finishes a call; see [`Session::finish_on`]. Collective, except for hits of the start.
pub(in crate::jit) fn finish_on(
    session: &Session,
    comm: &dyn Communicator,
    state: &CommState,
    mut pending: Pending,
    arguments: Result<()>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    let CollectivePending { number, group, signature, toolchain, cache, started } =
        match pending.take_stage()? {
            Stage::Collective(collective) => *collective,
            Stage::Known(library) => return arguments.map(|()| library),
            Stage::Local(_) => {
                return Err(Error::new(Kind::Internal, "the build was not started on a communicator"));
            }
        };
    comm.check_alive()?;
    let _here = logging::enter(comm.rank(), comm.size());
    let request = pending.request();
    let names = [request.name];
    let batch = arguments.map(|()| Batch { names: &names, params: request.params });
    let phase = CallPhase::Finish(number);
    let (mut call, mut items) = enter(session, comm, state, batch, callbacks, phase, Some(group))?;
    call.cache = cache;
    let item = &mut items[0];
    item.signed = SignedRequest { request, signature, toolchain };
    if let Some((roles, started)) = started {
        (item.state, item.roles, item.started) = (ItemState::Missing(None), Some(roles), started);
    }
    serve(&mut call, &mut items, callbacks)?;
    items[0].result()
}
