//! The beginning of everything that the ranks of a communicator do together: do all of them do the same?

#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min, all_same, gather_bytes, same_votes};
use crate::signature::check_name;
use crate::wire::{Writer, digest};

use super::Request;
use super::callbacks::Callbacks;
use super::kinds::{Machine, VOTES};
use super::ranks::Agreed;
use super::stage;

/// Votes of the first step on what the ranks know of each other: machines, hosts, shared directories.
const OTHERS: usize = VOTES + stage::VOTES + 2;

/// What the ranks of a communicator do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole call.
    Whole,
    /// The first part of one.
    Start,
    /// The second part of the call whose start had this number.
    Finish(u64),
}

impl Part {
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
pub(super) fn same_call<'a>(
    comm: &dyn Communicator,
    agreed: &Agreed,
    request: Result<Request<'a>>,
    callbacks: &Callbacks<'_>,
    part: Part,
) -> Result<(Request<'a>, Machine, [u64; OTHERS])> {
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
        let machine = Machine::new(request.params);
        votes[..8].copy_from_slice(&same_votes(&digest(&mine)));
        votes[8..8 + VOTES].copy_from_slice(&agreed.kinds.votes(&machine));
        votes[8 + VOTES..6 + OTHERS].copy_from_slice(&agreed.staging.votes(comm, request.params));
        // A rank with another directory than last time makes all look again.
        let number = agreed.discovery(&request.params.cache.cache_dir).unwrap_or(u64::MAX);
        votes[6 + OTHERS..].copy_from_slice(&[number, !number]);
        Ok((request, machine))
    })?;
    let (calls, others) = votes.split_at(8);
    if all_same(calls) {
        return Ok((request, machine, others.try_into().expect("as many as were reduced")));
    }
    let calls = gather_bytes(comm, &mine)?;
    Err(disagreement(&calls))
}

/// Names the first rank that differs from rank 0, and in what.
fn disagreement(calls: &[Vec<u8>]) -> Error {
    let read = |call: &[u8]| {
        let mut reader = crate::wire::Reader::new(call);
        let (name, params) = (reader.text()?.to_owned(), reader.bytes()?.to_vec());
        let text = reader.bytes()?.to_vec();
        Some((name, params, reader.u32()?, reader.u32()?, reader.u64()?, text))
    };
    let calls: Vec<_> = calls.iter().map(|call| read(call).unwrap_or_default()).collect();
    let other = calls.iter().position(|call| *call != calls[0]).unwrap_or_default();
    let (first, second) = (&calls[0], &calls[other]);
    let difference = if first.3 != second.3 {
        let words = [first, second].map(|call| Part::words(call.3));
        format!("rank 0 {} for \"{}\", rank {other} {} for \"{}\"", words[0], first.0, words[1], second.0)
    } else if first.4 != second.4 {
        format!(
            "rank 0 finishes the build of \"{}\", rank {other} that of \"{}\" (start {} and start {} on this communicator)",
            first.0, second.0, first.4, second.4
        )
    } else if first.0 != second.0 {
        format!("rank 0 asks for \"{}\", rank {other} for \"{}\"", first.0, second.0)
    } else if first.1 != second.1 {
        format!(
            "for \"{}\" rank 0 and rank {other} have different parameters (environment and config files count)",
            first.0
        )
    } else if first.5 != second.5 {
        let gives = |text: &[u8]| if text.is_empty() { "gives no text" } else { "gives a text" };
        let [first_gives, second_gives] = [first, second].map(|call| gives(&call.5));
        let how = if first_gives == second_gives {
            "give different texts (code, header or dependencies)".to_owned()
        } else {
            format!("do not make the same call: rank 0 {first_gives}, rank {other} {second_gives}")
        };
        format!("for \"{}\" rank 0 and rank {other} {how}", first.0)
    } else {
        format!("for \"{}\" rank 0 and rank {other} set different callbacks", first.0)
    };
    let count = calls.iter().filter(|call| **call != calls[0]).count();
    let text = format!(
        "the {} ranks of the communicator do not make the same call: {difference} ({count} differ from rank 0)",
        calls.len()
    );
    Error::new(Kind::RanksDisagree, text)
}
