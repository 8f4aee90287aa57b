//! The first step of every collective call: do all ranks make the same call?

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::build::toolchain;
use crate::codec::{Reader, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min, all_same, gather_bytes, same_votes};
use crate::params::compared::Compared;
use crate::params::resolved::BuildOn;
use crate::signature::{Toolchain, check_name};

use super::call::{Call, Place, RankGroups, cache_of_rank};
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

/// The part of a call that the ranks make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallPhase {
    /// A whole call.
    Whole,
    /// The start of a call.
    Start,
    /// The finish of the call whose start had this number.
    Finish(u64),
}

impl CallPhase {
    /// Returns the phase as numbers that ranks compare, and in words.
    fn code(self) -> (u32, u64, &'static str) {
        match self {
            Self::Whole => (0, 0, "calls dijitso_jit"),
            Self::Start => (1, 0, "calls dijitso_jit_start"),
            Self::Finish(number) => (2, number, "calls dijitso_jit_finish"),
        }
    }

    fn words(code: u32) -> &'static str {
        let all = [Self::Whole, Self::Start, Self::Finish(0)].map(Self::code);
        all.iter().find(|(known, ..)| *known == code).map_or("makes another call", |(.., words)| words)
    }
}

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
        own = CallSummary::encode(&batch, callbacks, phase);
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

/// Bytes of names in a summary. It is sent from every rank to every rank if the ranks disagree.
const SUMMARY_NAMES: usize = 1024;

/// A rank's call, as the other ranks see it.
#[derive(Debug, Default, PartialEq, Eq)]
struct CallSummary {
    /// The number of names.
    count: u32,
    /// The first names, as far as [`SUMMARY_NAMES`] bytes go.
    names: Vec<String>,
    /// Digest of all names.
    all_names: Vec<u8>,
    /// Digest of the parameters.
    params: Vec<u8>,
    /// Digest of the source text that the call gives; empty if it gives none.
    text: Vec<u8>,
    callbacks: u32,
    phase: u32,
    number: u64,
}

impl CallSummary {
    fn encode(batch: &Batch<'_>, callbacks: &Callbacks<'_>, phase: CallPhase) -> Vec<u8> {
        let mut all_names = Writer::default();
        batch.names.iter().for_each(|name| all_names.bytes(name.as_bytes()));
        let mut room = SUMMARY_NAMES;
        let fits = |name: &&&str| {
            let fits = name.len() <= room;
            room = room.saturating_sub(name.len());
            fits
        };
        let names: Vec<&&str> = batch.names.iter().take_while(fits).collect();
        let mut writer = Writer::default();
        writer.u32(u32::try_from(batch.names.len()).unwrap_or(u32::MAX));
        writer.u32(u32::try_from(names.len()).unwrap_or_default());
        names.iter().for_each(|name| writer.bytes(name.as_bytes()));
        writer.bytes(&digest(&all_names.finish()));
        writer.bytes(&batch.params.shared_digest);
        writer.bytes(batch.params.text.as_ref().map_or(&[][..], |text| &text[..]));
        writer.u32(callbacks.mask());
        let (phase, number, _) = phase.code();
        writer.u32(phase);
        writer.u64(number);
        writer.finish()
    }

    fn decode(call: &[u8]) -> Self {
        let mut reader = Reader::new(call);
        let mut decode = || {
            let count = reader.u32()?;
            let kept = reader.u32()?;
            Some(Self {
                count,
                names: (0..kept).map(|_| reader.text().map(str::to_owned)).collect::<Option<_>>()?,
                all_names: reader.bytes()?.to_vec(),
                params: reader.bytes()?.to_vec(),
                text: reader.bytes()?.to_vec(),
                callbacks: reader.u32()?,
                phase: reader.u32()?,
                number: reader.u64()?,
            })
        };
        decode().unwrap_or_default()
    }

    fn title(&self) -> String {
        match (self.names.first(), self.count) {
            (None, _) => String::new(),
            (Some(first), 0 | 1) => first.clone(),
            (Some(first), count) => format!("{first} and {} more", count - 1),
        }
    }

    /// Says in what this call, of rank 0, and the one of `other_rank` differ; `None` if it is the parameters.
    fn difference(&self, other: &Self, other_rank: usize) -> Option<String> {
        let (name, other_name) = (&self.title(), &other.title());
        if self.phase != other.phase {
            let words = [self, other].map(|call| CallPhase::words(call.phase));
            return Some(format!(
                "rank 0 {} for \"{name}\", rank {other_rank} {} for \"{other_name}\"",
                words[0], words[1]
            ));
        }
        if self.number != other.number {
            return Some(format!(
                "rank 0 finishes the build of \"{name}\", rank {other_rank} that of \"{other_name}\" (start \
                 {} and \
                 start {} on this communicator)",
                self.number, other.number
            ));
        }
        if self.count != other.count {
            return Some(format!(
                "rank 0 asks for {} libraries and rank {other_rank} for {}",
                self.count, other.count
            ));
        }
        if self.all_names != other.all_names {
            let differ = self.names.iter().zip(&other.names).find(|(name, other)| name != other);
            let Some((name, other_name)) = differ else {
                return Some(format!(
                    "rank 0 and rank {other_rank} ask for other names, after the first {} of {}",
                    self.names.len(),
                    self.count
                ));
            };
            return Some(format!("name is \"{name}\" on rank 0 and \"{other_name}\" on rank {other_rank}"));
        }
        if self.params != other.params {
            return None;
        }
        if self.text != other.text {
            let gives = |call: &Self| if call.text.is_empty() { "gives no text" } else { "gives a text" };
            return Some(if self.text.is_empty() == other.text.is_empty() {
                format!(
                    "for \"{name}\" rank 0 and rank {other_rank} give different texts (code, header or \
                     dependencies)"
                )
            } else {
                format!("for \"{name}\" rank 0 {}, rank {other_rank} {}", gives(self), gives(other))
            });
        }
        let of = |call: &Self| {
            let set = Callbacks::names(call.callbacks).join(", ");
            if set.is_empty() { "no callback".to_owned() } else { set }
        };
        Some(format!("for \"{name}\" rank 0 sets {} and rank {other_rank} sets {}", of(self), of(other)))
    }
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
