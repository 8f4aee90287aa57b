//! A rank's call, as the other ranks see it, to find out in what the calls of two ranks differ.

#![forbid(unsafe_code)]

use crate::codec::{Digest32, Reader, Writer, digest};

use super::callbacks::Callbacks;
use super::request::Batch;

/// The part of a call that the ranks make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallPhase {
    /// A whole call.
    Whole,
    /// The start of a call.
    Start,
    /// The finish of the call whose start had this number.
    Finish(u64),
    /// The making of a plan.
    Plan,
}

impl CallPhase {
    /// Returns the phase as numbers that ranks compare, and in words.
    fn code(self) -> (u32, u64, &'static str) {
        match self {
            Self::Whole => (0, 0, "calls dijitso_jit"),
            Self::Start => (1, 0, "calls dijitso_jit_start"),
            Self::Finish(number) => (2, number, "calls dijitso_jit_finish"),
            Self::Plan => (3, 0, "calls dijitso_plan_make"),
        }
    }

    fn words(code: u32) -> &'static str {
        let all = [Self::Whole, Self::Start, Self::Finish(0), Self::Plan].map(Self::code);
        all.iter().find(|(known, ..)| *known == code).map_or("makes another call", |(.., words)| words)
    }
}

/// Bytes of names in a summary. It is sent from every rank to every rank if the ranks disagree.
const SUMMARY_NAMES: usize = 1024;

/// A rank's call, as the other ranks see it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CallSummary {
    /// The number of names.
    count: u32,
    /// The first names, as far as [`SUMMARY_NAMES`] bytes go.
    names: Vec<String>,
    /// Digest of all names.
    all_names: Vec<u8>,
    /// Digest of the parameters.
    params: Vec<u8>,
    /// Digest of the source text that the call gives, or of the nodes of a plan; empty if there is none.
    text: Vec<u8>,
    callbacks: u32,
    phase: u32,
    number: u64,
}

impl CallSummary {
    /// Encodes the summary of a call for libraries, or of the making of a plan whose nodes have the digest
    /// `nodes`.
    pub(super) fn encode(
        batch: &Batch<'_>,
        callbacks: u32,
        phase: CallPhase,
        nodes: Option<&Digest32>,
    ) -> Vec<u8> {
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
        writer.bytes(nodes.or(batch.params.text.as_ref()).map_or(&[][..], |text| &text[..]));
        writer.u32(callbacks);
        let (phase, number, _) = phase.code();
        writer.u32(phase);
        writer.u64(number);
        writer.finish()
    }

    pub(super) fn decode(call: &[u8]) -> Self {
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
    pub(super) fn difference(&self, other: &Self, other_rank: usize) -> Option<String> {
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
        if self.text != other.text && self.phase == CallPhase::Plan.code().0 {
            return Some(format!(
                "nodes, edges or targets of the plan \"{name}\" are not the same on rank 0 and rank {other_rank}"
            ));
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
