//! The first step of every collective call: do all ranks make the same call?

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::build::toolchain;
use crate::codec::{Digest32, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min, all_same, gather_bytes, same_votes};
use crate::params::compared::Compared;
use crate::params::resolved::BuildOn;
use crate::signature::{Toolchain, check_name};

use super::call::{Call, Place, RankGroups, cache_of_rank};
use super::call_summary::{CallPhase, CallSummary};
use super::callbacks::Callbacks;
use super::check::checks_source;
use super::comm_state::CommState;
use super::isa_groups::{HostIsa, IsaGroup};
use super::item::Item;
use super::library::Origin;
use super::look::{Attempt, accept, attempt_each, settle};
use super::node_groups::Readers;
use super::node_staging::Found;
use super::prefetch::find_nodes;
use super::request::{Batch, title_and_timeout};
use super::session::Session;

/// The votes of a rank when a call begins, which are reduced to their minimum.
#[derive(Default)]
struct Ballot {
    /// Do all ranks make the same call?
    same_call: [u64; 4],
    /// Are all hosts alike?
    same_isa: [u64; 4],
    /// Do all ranks know the same groups by instruction set?
    isa_groups: [u64; 2],
    /// Have all ranks signed with the same toolchain, as far as they have looked into the cache?
    toolchain: [u64; 4],
    /// The readers that rank 0 chooses; see [`Readers::vote`].
    readers: u64,
    /// Do all ranks know the same groups by host?
    node_groups: [u64; 2],
    /// Do all ranks know the same about who shares their cache directories?
    domains: [u64; 2],
    /// 1 if this rank has looked into the cache.
    looked: u64,
    /// 1 if this rank has loaded all libraries of the call.
    loaded: u64,
}

/// The numbers of a [`Ballot`].
const VOTES: usize = 4 + 4 + 2 + 4 + 1 + 2 + 2 + 1 + 1;

impl Ballot {
    fn encode(&self) -> [u64; VOTES] {
        let parts: [&[u64]; 9] = [
            &self.same_call,
            &self.same_isa,
            &self.isa_groups,
            &self.toolchain,
            &[self.readers],
            &self.node_groups,
            &self.domains,
            &[self.looked],
            &[self.loaded],
        ];
        parts.concat().try_into().expect("VOTES is the sum")
    }

    fn decode(votes: &[u64; VOTES]) -> Self {
        fn take<const N: usize>(rest: &mut &[u64]) -> [u64; N] {
            let (first, others) = rest.split_first_chunk().expect("VOTES is the sum");
            *rest = others;
            *first
        }
        let rest = &mut &votes[..];
        Self {
            same_call: take(rest),
            same_isa: take(rest),
            isa_groups: take(rest),
            toolchain: take(rest),
            readers: take::<1>(rest)[0],
            node_groups: take(rest),
            domains: take(rest),
            looked: take::<1>(rest)[0],
            loaded: take::<1>(rest)[0],
        }
    }
}

/// The result of a look into the cache before the ranks have talked: the call as this rank believes it to be.
struct EarlyLook<'a> {
    call: Call<'a>,
    items: Vec<Item<'a>>,
    attempts: Vec<Attempt>,
}

impl EarlyLook<'_> {
    /// Returns the signatures of the libraries that this rank has loaded, with their origins.
    fn origins(&self) -> Vec<(String, Origin)> {
        let loaded = self.items.iter().zip(&self.attempts);
        loaded.filter_map(|(item, attempt)| Some((item.signature().to_owned(), attempt.origin()?))).collect()
    }

    fn toolchain_votes(&self) -> [u64; 4] {
        let Place::Ranks(ranks) = &self.call.place else { return [0; 4] };
        let Toolchain { identity, target, isa } = &ranks.group.toolchain;
        let mut writer = Writer::default();
        [identity, target, isa].into_iter().for_each(|text| writer.bytes(text.as_bytes()));
        same_votes(&digest(&writer.finish()))
    }
}

/// Step 1 of a call on a communicator: checks that no rank has an error and that all ranks make the same
/// call, and finds the groups of this rank. Returns the call and its libraries. Collective.
///
/// A rank that knows the groups from earlier calls looks and loads before it talks. If all ranks had every
/// library, this one reduction was the whole call. `known` is the group of a call that was started before.
///
/// # Errors
/// The same on every rank: the error of `batch`, [`Kind::InvalidArgument`] for a bad name or bad callbacks,
/// or [`Kind::RanksDisagree`].
pub(super) fn enter<'a>(
    session: &'a Session,
    comm: &'a dyn Communicator,
    state: &'a CommState,
    batch: Result<Batch<'a>>,
    callbacks: &Callbacks<'_>,
    phase: CallPhase,
    known: Option<IsaGroup>,
) -> Result<(Call<'a>, Vec<Item<'a>>)> {
    let (title, timeout) = title_and_timeout(&batch);
    comm.begin(&title, timeout);
    let mut votes = [0; VOTES];
    let mut own = Vec::new();
    let (batch, isa, early) = agree_min(comm, "checking the call", &mut votes, |votes| {
        let batch = batch?;
        batch.names.iter().try_for_each(|name| check_name(name))?;
        if callbacks.send.is_some() != callbacks.receive.is_some() {
            let text =
                "on a communicator send and receive are set together or not at all: every rank passes both";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        own = CallSummary::encode(&batch, callbacks.mask(), phase, None);
        let params = batch.params;
        let isa = HostIsa::new(params);
        let (readers, expected) = state.node_groups.choose(comm, params);
        let early = match known {
            Some(_) => None,
            None => look_early(session, comm, state, &batch, callbacks, (&isa, expected))?,
        };
        let loaded = early.as_ref().is_some_and(|early| early.attempts.iter().all(Attempt::is_loaded));
        let ballot = Ballot {
            same_call: same_votes(&digest(&own)),
            same_isa: isa.votes(),
            isa_groups: state.isa_groups.votes(&isa),
            toolchain: early.as_ref().map_or([0; 4], EarlyLook::toolchain_votes),
            readers,
            node_groups: state.node_groups.votes(params),
            // If one rank has another directory than last time, all find out again who shares theirs.
            domains: state.domains.votes(&params.cache.cache_dir),
            looked: u64::from(early.is_some()),
            loaded: u64::from(loaded),
        };
        votes.copy_from_slice(&ballot.encode());
        Ok((batch, isa, early))
    })?;
    let ballot = Ballot::decode(&votes);
    if !all_same(&ballot.same_call) {
        return Err(explain_difference(comm, &batch, &own)?);
    }
    let params = batch.params;
    let readers = Readers::of_vote(ballot.readers);
    state.node_groups.note_choice(params, readers);
    let by_name = params.cache.signature_is_name;
    let (were_alike, all_alike) = (state.isa_groups.were_alike(), all_same(&ballot.same_isa));
    if !by_name {
        state.isa_groups.note_alike(all_alike);
    }
    let same_groups = if all_alike && were_alike {
        all_same(&ballot.toolchain)
    } else {
        !all_alike && !were_alike && all_same(&ballot.isa_groups)
    };
    let same_cache = params.buildon != BuildOn::Process || all_same(&ballot.domains);
    // All values but `early` are the same on all ranks, and `looked` tells that every rank has it.
    let counts = ballot.looked == 1 && (by_name || same_groups) && same_cache;
    let loaded_early = match &early {
        Some(early) if !counts => early.origins(),
        _ => Vec::new(),
    };
    if counts && let Some(EarlyLook { mut call, mut items, attempts }) = early {
        if let Place::Ranks(ranks) = &mut call.place {
            ranks.domain_votes = ballot.domains;
            if all_alike && !by_name {
                state.isa_groups.insert_toolchain(&isa, &ranks.group.toolchain);
            }
        }
        let all = &mut items.iter_mut().collect::<Vec<_>>();
        if ballot.loaded == 1 {
            accept(&call, all, attempts);
        } else {
            // From now on each rank reads the cache: staging may be what does not work.
            call.forget_nodes();
            settle(&call, all, attempts)?;
        }
        return Ok((call, items));
    }
    let group = match known {
        Some(group) => group,
        None if by_name => IsaGroup::all(Toolchain::unknown()),
        None => state.isa_groups.get(comm, &isa, all_alike, &ballot.isa_groups, || {
            // The answer is kept, so the compiler is looked at anew.
            toolchain::invalidate();
            session.toolchains.get(params)
        })?,
    };
    let nodes = if group.is_only_one() {
        find_nodes(session, comm, &state.node_groups, params, readers, &ballot.node_groups)?
    } else {
        None
    };
    let ranks = RankGroups::new(state, group, nodes, ballot.domains);
    let domains = if params.buildon == BuildOn::Process { Some(ranks.domains(comm, params)?) } else { None };
    let cache = cache_of_rank(params, domains.as_deref(), comm.rank());
    let call = Call { session, comm, params, cache, place: Place::Ranks(ranks) };
    let mut items = make_items(&call, &batch, callbacks)?;
    for item in &mut items {
        let early = loaded_early.iter().find(|(signature, _)| signature == item.signature());
        item.loaded_early = early.map(|(_, origin)| *origin);
    }
    Ok((call, items))
}

/// Begins to make a plan on the ranks of a communicator: checks that no rank has an error and that all make the
/// same plan. A plan is its name and parameters, as a batch, and the digest of its nodes. Collective.
///
/// # Errors
/// The same on every rank: the error of `plan`, or [`Kind::RanksDisagree`], also if ranks ask for libraries.
pub fn enter_plan(comm: &dyn Communicator, plan: Result<(Batch<'_>, Digest32)>) -> Result<()> {
    let (title, timeout) = title_and_timeout(&plan.as_ref().map(|(batch, _)| *batch).map_err(Clone::clone));
    comm.begin(&title, timeout);
    let mut votes = [0; VOTES];
    let mut own = Vec::new();
    let batch = agree_min(comm, "checking the call", &mut votes, |votes| {
        let (batch, nodes) = plan?;
        own = CallSummary::encode(&batch, 0, CallPhase::Plan, Some(&nodes));
        let same_call = same_votes(&digest(&own));
        votes.copy_from_slice(&Ballot { same_call, ..Ballot::default() }.encode());
        Ok(batch)
    })?;
    let is_same = all_same(&Ballot::decode(&votes).same_call);
    if is_same { Ok(()) } else { Err(explain_difference(comm, &batch, &own)?) }
}

/// Looks libraries up and loads them by what this rank knows; `None` if that is not enough.
/// Not collective.
fn look_early<'a>(
    session: &'a Session,
    comm: &'a dyn Communicator,
    state: &'a CommState,
    batch: &Batch<'a>,
    callbacks: &Callbacks<'_>,
    (isa, readers): (&HostIsa, Readers),
) -> Result<Option<EarlyLook<'a>>> {
    let params = batch.params;
    if checks_source(params, callbacks) {
        return Ok(None);
    }
    let group = if params.cache.signature_is_name {
        IsaGroup::all(Toolchain::unknown())
    } else {
        match state.isa_groups.last(isa) {
            Some(group) => group,
            // In the first call each rank has what its cache knows of the compiler. If some rank has another
            // toolchain, all learn that of rank 0.
            None if state.isa_groups.were_alike() && readers == Readers::All => {
                toolchain::invalidate();
                match session.toolchains.recall(params) {
                    Some(known) if !known.is_unknown() => IsaGroup::all(known),
                    _ => return Ok(None),
                }
            }
            None => return Ok(None),
        }
    };
    let domains = state.domains.get(&params.cache.cache_dir);
    if params.buildon == BuildOn::Process && domains.is_none() {
        return Ok(None);
    }
    let cache = cache_of_rank(params, domains.as_deref(), comm.rank());
    let nodes = state.node_groups.last(params, readers).map(Arc::new);
    let ranks = RankGroups::new(state, group, nodes.clone(), [0, 0]);
    let call = Call { session, comm, params, cache, place: Place::Ranks(ranks) };
    let mut items = make_items(&call, batch, callbacks)?;
    let signatures: Vec<&str> = items.iter().map(Item::signature).collect();
    let found = match (readers, nodes.as_deref()) {
        (Readers::All, _) => call.find_each(&signatures),
        (_, Some(nodes)) if signatures.iter().all(|signature| nodes.prefetched(signature).is_some()) => {
            // It is on this host, so there is nothing to share.
            let found = Found::look_up_all(session, comm.rank(), Some(nodes), &call.cache, &signatures);
            found.prefetched()
        }
        _ => return Ok(None),
    };
    let attempts = attempt_each(&call, nodes.as_deref(), &items.iter_mut().collect::<Vec<_>>(), &found);
    Ok(Some(EarlyLook { call, items, attempts }))
}

/// Signs the requests of a batch, each name once. They are signed on all ranks or on none: the arguments that
/// can be wrong are the same.
fn make_items<'a>(call: &Call<'a>, batch: &Batch<'a>, callbacks: &Callbacks<'_>) -> Result<Vec<Item<'a>>> {
    let Place::Ranks(ranks) = &call.place else { return Ok(Vec::new()) };
    let rebuilds = callbacks.generate.is_some() && !call.params.cache.frozen;
    let mut seen = BTreeSet::new();
    let first = batch.requests().filter(|request| seen.insert(request.name));
    first.map(|request| Ok(Item::new(call.sign(request, &ranks.group)?, rebuilds))).collect()
}

/// Returns the error of ranks that make different calls. Collective; all ranks come here.
fn explain_difference(comm: &dyn Communicator, batch: &Batch<'_>, own: &[u8]) -> Result<Error> {
    let calls: Vec<CallSummary> =
        gather_bytes(comm, own)?.iter().map(|call| CallSummary::decode(call)).collect();
    let other = calls.iter().position(|call| *call != calls[0]).unwrap_or_default();
    let difference = match calls[0].difference(&calls[other], other) {
        Some(difference) => difference,
        // Every rank has the same summaries, so all come here.
        None => compare_params(comm, batch, other)?,
    };
    let count = calls.iter().filter(|call| **call != calls[0]).count();
    let verb = if count == 1 { "rank differs" } else { "ranks differ" };
    let text = format!(
        "the {} ranks of the communicator do not make the same call: {difference} ({count} {verb} from rank \
         0)",
        calls.len()
    );
    Ok(Error::new(Kind::RanksDisagree, text))
}

/// Says which parameters differ between rank 0 and rank `other`. Collective.
fn compare_params(comm: &dyn Communicator, batch: &Batch<'_>, other: usize) -> Result<String> {
    comm.enter("comparing parameters");
    let mut values = [0, other].map(|root| {
        let own = if comm.rank() == root { batch.params.compared.encode() } else { Vec::new() };
        (root, own)
    });
    for (root, values) in &mut values {
        comm.broadcast(*root, values)?;
    }
    let [(_, first), (_, second)] = values;
    let difference = Compared::decode(&first).difference(0, &Compared::decode(&second), other);
    Ok(format!("for \"{}\" {difference}; environment and config files count", batch.title()))
}
