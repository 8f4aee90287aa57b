//! The beginning of everything that the ranks of a communicator do together: do all of them do the same?

#![forbid(unsafe_code)]

use crate::codec::{Reader, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min, all_same, gather_bytes, same_votes};
use crate::params::compared::Compared;
use crate::signature::check_name;

use super::Request;
use super::callbacks::Callbacks;
use super::isa_groups::{HostIsa, VOTES};
use super::node_staging;
use super::ranks::CommState;

/// Votes of the first step on what the ranks know of each other: machines, hosts, shared directories.
const OTHERS: usize = VOTES + node_staging::VOTES + 2;

/// What the ranks of a communicator do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallPhase {
    /// A whole call.
    Whole,
    /// The first part of one.
    Start,
    /// The second part of the call whose start had this number.
    Finish(u64),
}

impl CallPhase {
    /// As numbers that ranks compare, and in words.
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

/// Step 1: all ranks are well, and ask for the same. Also what this rank's machine is, and the votes on whether the
/// others have the same.
pub(super) fn check_same_call<'a>(
    comm: &dyn Communicator,
    agreed: &CommState,
    request: Result<Request<'a>>,
    callbacks: &Callbacks<'_>,
    part: CallPhase,
) -> Result<(Request<'a>, HostIsa, [u64; OTHERS])> {
    let mut votes = [0; 8 + OTHERS];
    let mut mine = Vec::new();
    let (request, machine) = agree_min(comm, "checking the call", &mut votes, |votes| {
        let request = request?;
        check_name(request.name)?;
        if callbacks.send.is_some() != callbacks.receive.is_some() {
            let text =
                "on a communicator send and receive are set together or not at all: every rank passes both";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        let mut writer = Writer::default();
        writer.bytes(request.name.as_bytes());
        writer.bytes(&request.params.shared_digest);
        writer.bytes(request.params.text.as_ref().map_or(&[][..], |text| &text[..]));
        writer.u32(callbacks.mask());
        let (part, number, _) = part.code();
        writer.u32(part);
        writer.u64(number);
        mine = writer.finish();
        let machine = HostIsa::new(request.params);
        votes[..8].copy_from_slice(&same_votes(&digest(&mine)));
        votes[8..8 + VOTES].copy_from_slice(&agreed.kinds.votes(&machine));
        votes[8 + VOTES..6 + OTHERS].copy_from_slice(&agreed.staging.votes(comm, request.params));
        // A rank with another directory than last time makes all look again.
        let number = agreed.epoch(&request.params.cache.cache_dir).unwrap_or(u64::MAX);
        votes[6 + OTHERS..].copy_from_slice(&[number, !number]);
        Ok((request, machine))
    })?;
    let (calls, others) = votes.split_at(8);
    if all_same(calls) {
        return Ok((request, machine, others.try_into().expect("as many as were reduced")));
    }
    let calls: Vec<Made> = gather_bytes(comm, &mine)?.iter().map(|call| Made::read(call)).collect();
    let other = calls.iter().position(|call| *call != calls[0]).unwrap_or_default();
    let difference = match calls[0].difference(&calls[other], other) {
        Some(difference) => difference,
        // Every rank knows by now that two of them have to tell their parameters.
        None => parameters(comm, &request, other)?,
    };
    let count = calls.iter().filter(|call| **call != calls[0]).count();
    let verb = if count == 1 { "rank differs" } else { "ranks differ" };
    let text = format!(
        "the {} ranks of the communicator do not make the same call: {difference} ({count} {verb} from rank 0)",
        calls.len()
    );
    Err(Error::new(Kind::RanksDisagree, text))
}

/// The call that a rank makes, as the others see it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Made {
    name: String,
    params: Vec<u8>,
    /// Digest of the text that it gives, empty if it gives none.
    text: Vec<u8>,
    callbacks: u32,
    part: u32,
    number: u64,
}

impl Made {
    fn read(call: &[u8]) -> Self {
        let mut reader = Reader::new(call);
        let mut made = || {
            Some(Self {
                name: reader.text()?.to_owned(),
                params: reader.bytes()?.to_vec(),
                text: reader.bytes()?.to_vec(),
                callbacks: reader.u32()?,
                part: reader.u32()?,
                number: reader.u64()?,
            })
        };
        made().unwrap_or_default()
    }

    /// In what this call, that of rank 0, and the one of rank `there` differ; `None` if it is the parameters.
    fn difference(&self, other: &Self, there: usize) -> Option<String> {
        let (name, other_name) = (&self.name, &other.name);
        if self.part != other.part {
            let words = [self, other].map(|call| CallPhase::words(call.part));
            return Some(format!(
                "rank 0 {} for \"{name}\", rank {there} {} for \"{other_name}\"",
                words[0], words[1]
            ));
        }
        if self.number != other.number {
            return Some(format!(
                "rank 0 finishes the build of \"{name}\", rank {there} that of \"{other_name}\" (start {} and start {} on \
                 this communicator)",
                self.number, other.number
            ));
        }
        if name != other_name {
            return Some(format!("name is \"{name}\" on rank 0 and \"{other_name}\" on rank {there}"));
        }
        if self.params != other.params {
            return None;
        }
        if self.text != other.text {
            let gives = |call: &Self| if call.text.is_empty() { "gives no text" } else { "gives a text" };
            return Some(if self.text.is_empty() == other.text.is_empty() {
                format!(
                    "for \"{name}\" rank 0 and rank {there} give different texts (code, header or dependencies)"
                )
            } else {
                format!("for \"{name}\" rank 0 {}, rank {there} {}", gives(self), gives(other))
            });
        }
        let of = |call: &Self| {
            let set = Callbacks::names(call.callbacks).join(", ");
            if set.is_empty() { "no callback".to_owned() } else { set }
        };
        Some(format!("for \"{name}\" rank 0 sets {} and rank {there} sets {}", of(self), of(other)))
    }
}

/// Which parameters differ between rank 0 and rank `other`. Collective.
fn parameters(comm: &dyn Communicator, request: &Request<'_>, other: usize) -> Result<String> {
    comm.enter("comparing parameters");
    let mut values = [0, other].map(|root| {
        let mine = if comm.rank() == root { request.params.compared.encode() } else { Vec::new() };
        (root, mine)
    });
    for (root, values) in &mut values {
        comm.broadcast(*root, values)?;
    }
    let [(_, first), (_, second)] = values;
    let difference = Compared::decode(&first).difference(0, &Compared::decode(&second), other);
    Ok(format!("for \"{}\" {difference}; environment and config files count", request.name))
}
