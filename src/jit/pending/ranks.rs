//! Starting and finishing on a communicator.
//!
//! Both parts begin with the same reduction as a whole call, so ranks that do different things find that out
//! together. Between the `generate` callback of a rank and the end of its start there is no communication:
//! while one rank generates, the others go on to their next start.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use crate::cache::Cache;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::build_pool::StartedBuild;
use crate::jit::build_step::start_build;
use crate::jit::call::Call;
use crate::jit::callbacks::Callbacks;
use crate::jit::comm_state::CommState;
use crate::jit::isa_groups::IsaGroup;
use crate::jit::library::Library;
use crate::jit::preflight::CallPhase;
use crate::jit::ranks::{Roles, all_have, assign_roles, serve};
use crate::jit::request::{Request, SignedRequest};
use crate::jit::session::Session;
use crate::logging;
use crate::parallel::Communicator;
use crate::signature::Toolchain;

use super::{Pending, Stage};

/// A call on a communicator that has been started.
pub(super) struct CollectivePending {
    /// The number of the start. At the finish the ranks compare it.
    number: u64,
    group: IsaGroup,
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    /// The roles, and the build of this rank, if not all ranks have found the library.
    started: Option<(Roles, StartedBuild)>,
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
    let call = Call::enter(session, comm, state, request, callbacks, CallPhase::Start, None)?;
    let number = state.started.fetch_add(1, Ordering::Relaxed);
    let signed = call.sign()?;
    let cache = call.own_cache()?;
    let is_there = all_have(&call, &signed.signature, &cache)?;
    // Nothing is built for a frozen cache: its ranks look again at the finish.
    let started = if is_there || call.request.params.cache.frozen {
        None
    } else {
        let turn = state.next_builder.fetch_add(1, Ordering::Relaxed);
        let roles = assign_roles(&call, &signed, &cache, callbacks, Some(turn))?;
        let rank = call.comm().rank();
        // From here to the end nothing is agreed on: the finish reports what fails.
        let _voice = logging::speak(roles.speaks(rank));
        let start = || {
            let rank_and_size = Some((comm.rank(), comm.size()));
            Ok(if roles.builds(rank) {
                start_build(session, &signed, &cache, callbacks, rank_and_size)
            } else {
                StartedBuild::Nothing
            })
        };
        let started = catch("starting a build", start).unwrap_or_else(StartedBuild::Failed);
        Some((roles, started))
    };
    let SignedRequest { request, signature, toolchain } = signed;
    let group = call.group.clone();
    let pending = CollectivePending { number, group, signature, toolchain, cache, started };
    Ok(Pending::new(request, Stage::Collective(Box::new(pending))))
}

/// Finishes a call; see [`Session::finish_on`]. Collective, except for memory hits.
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
    let request = arguments.map(|()| pending.request());
    let phase = CallPhase::Finish(number);
    let mut call = Call::enter(session, comm, state, request, callbacks, phase, Some(group))?;
    let signed = SignedRequest { request: pending.request(), signature, toolchain };
    serve(&mut call, &signed, &cache, started, callbacks)
}
