//! Calls on a communicator: a fixed sequence of agreed steps.
//!
//! Every function here that takes a call is collective, and what comes next depends only on values that all
//! ranks share.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::cache::{Cache, VerifiedLib, Verify};
use crate::error::{Error, Result};
use crate::fsutil;
use crate::logging;
use crate::parallel::cache_domains::CacheDomains;
use crate::parallel::roles::{self, ROOT, RoleInput, RolePlan};
use crate::parallel::{Communicator, agree, agree_min};
use crate::params::resolved::{BuildOn, Resolved};

use super::build_pool::StartedBuild;
use super::build_step::complete;
use super::call::{Call, LoadOutcome};
use super::callbacks::Callbacks;
use super::check::check_source_on;
use super::comm_state::CommState;
use super::counting::{HIT_TOUCH_INTERVAL, count_hit, count_only, note_use};
use super::library::{Library, Origin};
use super::lookup::{MAX_LOOKUPS, find, was_evicted};
use super::node_groups::NodeGroup;
use super::node_staging::Found;
use super::preflight::CallPhase;
use super::quarantine::quarantine;
use super::refusal::LoadRefusal;
use super::request::{Request, SignedRequest};
use super::session::Session;
use super::transport::{distribute, publish_received, send};

/// The roles of the ranks on a miss; the same on all ranks of a group.
pub(super) struct Roles {
    leaders: Vec<usize>,
    /// For each rank, whether the entry was on its disk.
    had_entry: Vec<bool>,
    plan: RolePlan,
}

impl Roles {
    /// Returns whether this rank builds.
    pub(super) fn builds(&self, rank: usize) -> bool {
        self.plan.builders.contains(&rank)
    }

    /// Returns whether this rank logs for all builders.
    pub(super) fn speaks(&self, rank: usize) -> bool {
        self.plan.builders.first() == Some(&rank)
    }
}

/// Gives `take` the library of a memory hit. Neither communicates nor locks nor allocates.
pub(super) fn memory_hit_on<T>(
    session: &Session,
    state: &CommState,
    name: &[u8],
    params: &Resolved,
    take: impl FnOnce(&Library) -> T,
) -> Option<T> {
    let hit = state.hits.get(name, &params.request_digest, take);
    hit.inspect(|_| session.counter.memory_hit())
}

/// Gets the library of a request on all ranks of `comm`. Collective.
pub(super) fn jit_on(
    session: &Session,
    comm: &dyn Communicator,
    state: &CommState,
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    comm.check_alive()?;
    if let Ok(request) = &request
        && let Some(library) = session.jit_from_memory(*request, state)
    {
        return Ok(library);
    }
    let _here = logging::enter(comm.rank(), comm.size());
    let mut call = Call::enter(session, comm, state, request, callbacks, CallPhase::Whole, None)?;
    let signed = call.sign()?;
    let cache = call.own_cache()?;
    serve(&mut call, &signed, &cache, None, callbacks)
}

/// Returns the library, loaded on all ranks. If a start has found it missing, `started` is who builds and
/// what this rank has started.
pub(super) fn serve(
    call: &mut Call<'_>,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    mut started: Option<(Roles, StartedBuild)>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    if started.is_none() {
        check_source_on(call, signed, cache, callbacks)?;
    }
    let mut lookups_left = MAX_LOOKUPS;
    let library = loop {
        lookups_left -= 1;
        let can_retry = lookups_left > 0;
        let started = started.take();
        let first = match started {
            Some(_) => LoadOutcome::Missing(None),
            None => attempt(call, call.nodes.as_deref(), &signed.signature, cache, None, can_retry)?,
        };
        let was_missing = matches!(first, LoadOutcome::Missing(_));
        let outcome = match first {
            LoadOutcome::Missing(_) => miss(call, signed, cache, started, callbacks, can_retry)?,
            outcome => outcome,
        };
        match outcome {
            LoadOutcome::Loaded(library) => break library,
            LoadOutcome::Refused(refusal) => {
                // Once: a library that was just built would be refused again.
                let rebuild = std::mem::take(&mut call.rebuilds) && !was_missing;
                quarantine(call, &signed.signature, cache, refusal, rebuild)?;
            }
            LoadOutcome::Evicted | LoadOutcome::Missing(_) => {}
        }
        // From now on each rank reads the cache: staging may be what does not work.
        call.nodes = None;
    };
    call.note_run(cache, &signed.signature);
    call.state.hits.put(call.request.name, call.request.params.request_digest, &library);
    Ok(library)
}

/// Step 4 of a call that is started: returns whether all ranks have the library.
pub(super) fn all_have(call: &Call<'_>, signature: &str, cache: &Cache) -> Result<bool> {
    let mut all_hit = [0];
    agree_min(call.all, "looking into the cache", &mut all_hit, |all_hit| {
        all_hit[0] = u64::from(!call.reads() || find(cache, signature, Verify::ForLoad)?.is_some());
        Ok(())
    })?;
    Ok(all_hit == [1])
}

/// Step 4: all ranks look the library up, and those that find it load it. `nodes` says which ranks read the
/// cache; `origin` is given if it was built in this call.
///
/// One agreement for both: it is all that a call takes if every rank finds the library.
fn attempt(
    call: &Call<'_>,
    nodes: Option<&NodeGroup>,
    signature: &str,
    cache: &Cache,
    origin: Option<Origin>,
    can_retry: bool,
) -> Result<LoadOutcome> {
    const STEP: &str = "looking into the cache";
    let (session, rank) = (call.session, call.all.rank());
    let batch = [signature];
    let found = Found::look_up_all(session, rank, nodes, cache, &batch);
    // When this is dropped, all ranks have loaded, and what was staged is removed.
    let found = Found::share_all(call.all, nodes, found)?;
    let found = found.into_iter().next().unwrap_or(Ok(Found::Nothing));
    // Each 0 if on some rank: it is missing; it was evicted; it was refused.
    let mut votes = [0, 0, 0];
    let mut refused = None;
    let loaded = agree_min(call.all, STEP, &mut votes, |votes| {
        let found = found.as_ref().map_err(Clone::clone)?;
        let is_found = u64::from(!found.is_miss());
        votes.copy_from_slice(&[is_found, 1, 1]);
        let libs = || found.entry().map(|entry| entry.libs).unwrap_or_default();
        let loaded = found.load(&session.libraries, rank, cache, signature, origin);
        match loaded.map_err(|refusal| refusal.blame_built(origin, &libs())) {
            Err(LoadRefusal { error, .. }) if can_retry && was_evicted(cache, &libs()) => {
                log::info!("looking again: {error}");
                votes[1] = 0;
                Ok(None)
            }
            Err(refusal) if refusal.needs_quarantine(call.rebuilds, origin.is_some()) => {
                votes[2] = 0;
                refused = Some(refusal);
                Ok(None)
            }
            loaded => loaded
                .map_err(Error::from)
                .inspect(|library| votes[1] = u64::from(library.is_some()).max(1 - is_found)),
        }
    })?;
    // A rank that has not looked itself does not count; the one that has does.
    let reads = nodes.is_none_or(|nodes| nodes.reads(rank));
    let entry = found.ok().filter(|_| reads).and_then(|found| found.entry());
    match (votes, loaded) {
        ([_, _, 0], _) => Ok(LoadOutcome::Refused(refused)),
        ([0, ..], _) => Ok(LoadOutcome::Missing(entry)),
        ([_, 1, _], Some(library)) => {
            if let (Some(entry), None) = (entry, origin) {
                // The list of runs says that this run uses it.
                let is_listed = nodes.is_some_and(|nodes| nodes.prefetched(signature).is_some());
                note_hit(call, cache, &entry, library.origin(), is_listed);
            }
            Ok(LoadOutcome::Loaded(library))
        }
        _ => Ok(LoadOutcome::Evicted),
    }
}

/// Counts a hit of all ranks.
fn note_hit(call: &Call<'_>, cache: &Cache, order: &[VerifiedLib], origin: Origin, is_listed: bool) {
    if is_listed {
        if call.counts() {
            count_only(&call.session.counter, cache, order, origin);
        }
    } else if call.counts() {
        count_hit(&call.session.counter, cache, order, origin, HIT_TOUCH_INTERVAL);
    } else if fsutil::is_local(cache.layout().root()) {
        // It may be a directory of another host, which no counting rank touches.
        note_use(cache, order, HIT_TOUCH_INTERVAL);
    }
}

/// Steps 5 to 7: roles, building, transport. Each group builds and transports for itself, and all groups wait
/// together.
fn miss(
    call: &Call<'_>,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    started: Option<(Roles, StartedBuild)>,
    callbacks: &mut Callbacks<'_>,
    can_retry: bool,
) -> Result<LoadOutcome> {
    let (roles, started) = match started {
        Some(started) => started,
        None => (assign_roles(call, signed, cache, callbacks, None)?, StartedBuild::Nothing),
    };
    let built = build(call, signed, cache, &roles, started, callbacks);
    let origin = call.agree_all_groups("building", built)?;
    // The ranks have the same callbacks.
    if callbacks.wait.is_some() {
        agree(call.all, "waiting", || callbacks.wait())?;
    }
    let nodes = call.nodes.as_ref().map(|nodes| nodes.after_build(&roles.leaders));
    match attempt(call, nodes.as_ref(), &signed.signature, cache, Some(origin), can_retry)? {
        LoadOutcome::Missing(found) => {
            let outcome = distribute(call, &signed.signature, cache, &roles.leaders, found, origin);
            call.agree_all_groups("distributing", outcome)
        }
        outcome => Ok(outcome),
    }
}

/// Step 5: assigns roles. With a `turn`, the builds of a directory are assigned in turn to the ranks that
/// share it.
pub(super) fn assign_roles(
    call: &Call<'_>,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &Callbacks<'_>,
    turn: Option<u64>,
) -> Result<Roles> {
    let buildon = call.request.params.buildon;
    let domains = match buildon {
        BuildOn::Process => Arc::new(CacheDomains::separate(call.all.size())),
        BuildOn::Node | BuildOn::Root => call.domains()?,
    };
    let is_one_group = call.group.sub_comm.is_none();
    let leaders = call.group.leaders(domains.leaders());
    let had_entry =
        call.agree_all_groups("choosing builders", call.gather_presence(&signed.signature, cache))?;
    if callbacks.send.is_some() && !is_one_group {
        // The callbacks transport one library from rank 0 to all, and here there are several.
        log::warn!(
            "send and receive are not used for {}: ranks with different processors need different libraries",
            signed.signature
        );
    }
    let mut plan = roles::plan(&RoleInput {
        leaders: &leaders,
        on_disk: &had_entry,
        buildon,
        own_transport: callbacks.send.is_some() && is_one_group,
    });
    if let Some(turn) = turn
        && buildon == BuildOn::Node
        && is_one_group
    {
        plan.builders = roles::assign_round_robin(&plan.builders, &leaders, domains.hosts(), turn);
    }
    Ok(Roles { leaders, had_entry, plan })
}

/// Steps 6 and 7: builds, and transports by the callbacks of the host.
fn build(
    call: &Call<'_>,
    signed: &SignedRequest<'_>,
    cache: &Cache,
    roles: &Roles,
    started: StartedBuild,
    callbacks: &mut Callbacks<'_>,
) -> Result<Origin> {
    let (session, params) = (call.session, call.request.params);
    let signature = signed.signature.as_str();
    let (comm, rank) = (call.comm(), call.comm().rank());
    let Roles { leaders, had_entry, plan } = roles;
    if params.cache.frozen {
        // Parameters and `had_entry` are the same on all ranks: all fail here, or one distributes it.
        if had_entry.contains(&true) {
            return Ok(Origin::Disk);
        }
        let missing = || Err(session.frozen_misses.error(signed, cache, rank == ROOT));
        return agree(comm, "looking into the frozen cache", missing);
    }
    comm.expect("building", &plan.builders);
    // One builder logs; which one does not matter.
    let voice = logging::speak(roles.speaks(rank));
    let built = agree(comm, "building", || {
        if !roles.builds(rank) {
            return Ok(false);
        }
        // The other ranks wait in this agreement.
        let context = signed.context().awaited(params.timeout);
        complete(session, started, signed, cache, callbacks, &context)
    })?;
    drop(voice);
    let mut origin = if built { Origin::Built } else { Origin::Disk };

    let is_leader = leaders[rank] == rank;
    if plan.transport {
        agree(comm, "sending and receiving", || {
            if rank == ROOT {
                return send(signature, cache, callbacks);
            }
            let closure = callbacks.receive()?;
            if is_leader { publish_received(&closure, signature, cache) } else { Ok(()) }
        })?;
        if is_leader && rank != ROOT && !had_entry[rank] {
            origin = Origin::Received;
        }
    }
    Ok(origin)
}
