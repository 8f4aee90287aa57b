//! The first step of every collective call: do all ranks make the same call?

#![forbid(unsafe_code)]

use crate::codec::{Reader, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min, all_same, gather_bytes, same_votes};
use crate::params::compared::Compared;
use crate::signature::check_name;

use super::Request;
use super::callbacks::Callbacks;
use super::comm_state::CommState;
use super::isa_groups::HostIsa;
use super::node_groups::Readers;

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
    same_call: [u64; 8],
    /// Are all hosts alike?
    same_isa: [u64; 8],
    /// Do all ranks know the same groups by instruction set?
    isa_groups: [u64; 2],
    /// The readers that rank 0 chooses; see [`Readers::vote`].
    readers: u64,
    /// Do all ranks know the same groups by host?
    node_groups: [u64; 2],
    /// Do all ranks know the same about who shares their cache directories?
    domains: [u64; 2],
}

/// The numbers of a [`Ballot`].
const VOTES: usize = 8 + 8 + 2 + 1 + 2 + 2;

impl Ballot {
    fn encode(&self) -> [u64; VOTES] {
        let parts: [&[u64]; 6] = [
            &self.same_call,
            &self.same_isa,
            &self.isa_groups,
            &[self.readers],
            &self.node_groups,
            &self.domains,
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
            readers: take::<1>(rest)[0],
            node_groups: take(rest),
            domains: take(rest),
        }
    }
}

/// The result of the first step: the request and host of this rank; the rest is the same on all ranks.
pub(super) struct SameCall<'a> {
    pub(super) request: Request<'a>,
    pub(super) isa: HostIsa,
    /// Are all hosts alike?
    pub(super) all_alike: bool,
    /// The reduced votes on the groups by instruction set.
    pub(super) isa_groups: [u64; 2],
    /// The ranks that read libraries from the cache.
    pub(super) readers: Readers,
    /// The reduced votes on the groups by host.
    pub(super) node_groups: [u64; 2],
    /// The reduced votes on who shares the cache directories.
    pub(super) domains: [u64; 2],
}

/// Step 1: checks that no rank has an error and that all ranks make the same call. One reduction, which also
/// carries the votes on what the ranks know of each other.
///
/// # Errors
/// The same on every rank: the error of `request`, [`Kind::InvalidArgument`] for a bad name or bad callbacks,
/// or [`Kind::RanksDisagree`].
pub(super) fn check_same_call<'a>(
    comm: &dyn Communicator,
    state: &CommState,
    request: Result<Request<'a>>,
    callbacks: &Callbacks<'_>,
    phase: CallPhase,
) -> Result<SameCall<'a>> {
    let mut votes = [0; VOTES];
    let mut own = Vec::new();
    let (request, isa) = agree_min(comm, "checking the call", &mut votes, |votes| {
        let request = request?;
        check_name(request.name)?;
        if callbacks.send.is_some() != callbacks.receive.is_some() {
            let text =
                "on a communicator send and receive are set together or not at all: every rank passes both";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        own = CallSummary::encode(&request, callbacks, phase);
        let isa = HostIsa::new(request.params);
        let decides = comm.rank() == 0 && comm.size() > 1;
        let readers = if decides { Readers::choose(request.params) } else { Readers::All };
        let ballot = Ballot {
            same_call: same_votes(&digest(&own)),
            same_isa: isa.votes(),
            isa_groups: state.isa_groups.votes(&isa),
            readers: readers.vote(),
            node_groups: state.node_groups.votes(request.params),
            // If one rank has another directory than last time, all find out again who shares theirs.
            domains: state.domains.votes(&request.params.cache.cache_dir),
        };
        votes.copy_from_slice(&ballot.encode());
        Ok((request, isa))
    })?;
    let ballot = Ballot::decode(&votes);
    if !all_same(&ballot.same_call) {
        return Err(explain_difference(comm, &request, &own)?);
    }
    Ok(SameCall {
        request,
        isa,
        all_alike: all_same(&ballot.same_isa),
        isa_groups: ballot.isa_groups,
        readers: Readers::of_vote(ballot.readers),
        node_groups: ballot.node_groups,
        domains: ballot.domains,
    })
}

/// Returns the error of ranks that make different calls. Collective; all ranks come here.
fn explain_difference(comm: &dyn Communicator, request: &Request<'_>, own: &[u8]) -> Result<Error> {
    let calls: Vec<CallSummary> =
        gather_bytes(comm, own)?.iter().map(|call| CallSummary::decode(call)).collect();
    let other = calls.iter().position(|call| *call != calls[0]).unwrap_or_default();
    let difference = match calls[0].difference(&calls[other], other) {
        Some(difference) => difference,
        // Every rank has the same summaries, so all come here.
        None => compare_params(comm, request, other)?,
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

/// A rank's call, as the other ranks see it.
#[derive(Debug, Default, PartialEq, Eq)]
struct CallSummary {
    name: String,
    /// Digest of the parameters.
    params: Vec<u8>,
    /// Digest of the source text that the call gives; empty if it gives none.
    text: Vec<u8>,
    callbacks: u32,
    phase: u32,
    number: u64,
}

impl CallSummary {
    fn encode(request: &Request<'_>, callbacks: &Callbacks<'_>, phase: CallPhase) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(request.name.as_bytes());
        writer.bytes(&request.params.shared_digest);
        writer.bytes(request.params.text.as_ref().map_or(&[][..], |text| &text[..]));
        writer.u32(callbacks.mask());
        let (phase, number, _) = phase.code();
        writer.u32(phase);
        writer.u64(number);
        writer.finish()
    }

    fn decode(call: &[u8]) -> Self {
        let mut reader = Reader::new(call);
        let mut decode = || {
            Some(Self {
                name: reader.text()?.to_owned(),
                params: reader.bytes()?.to_vec(),
                text: reader.bytes()?.to_vec(),
                callbacks: reader.u32()?,
                phase: reader.u32()?,
                number: reader.u64()?,
            })
        };
        decode().unwrap_or_default()
    }

    /// Says in what this call, of rank 0, and the one of `other_rank` differ; `None` if it is the parameters.
    fn difference(&self, other: &Self, other_rank: usize) -> Option<String> {
        let (name, other_name) = (&self.name, &other.name);
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
        if name != other_name {
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
fn compare_params(comm: &dyn Communicator, request: &Request<'_>, other: usize) -> Result<String> {
    comm.enter("comparing parameters");
    let mut values = [0, other].map(|root| {
        let own = if comm.rank() == root { request.params.compared.encode() } else { Vec::new() };
        (root, own)
    });
    for (root, values) in &mut values {
        comm.broadcast(*root, values)?;
    }
    let [(_, first), (_, second)] = values;
    let difference = Compared::decode(&first).difference(0, &Compared::decode(&second), other);
    Ok(format!("for \"{}\" {difference}; environment and config files count", request.name))
}
