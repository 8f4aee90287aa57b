//! The letters of roll calls.
//!
//! ```text
//! letter  := "DJRC" u32 kind u32 epoch body
//! kind 0  := roll call: u32 lowest rank that warns, u32 lowest rank that gives up (none: u32::MAX),
//!            u64 number, u32 rank, bytes call, bytes step (of the earliest collective), u64 longest wait in ms,
//!            bytes set (one bit a rank)
//! kind 1  := verdict: u32 rank that made it, bytes error
//! kind 2  := a roll call of this epoch is over: start with a later one
//! ```

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::codec::{Reader, Writer};
use crate::error::Error;
use crate::parallel::timeout::{Waiting, cut};

use super::{Decision, Epoch, NONE};

const MAGIC: &[u8] = b"DJRC";

impl Epoch {
    /// The letter that says what this rank knows of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut set = vec![0_u8; self.present.len().div_ceil(8)];
        for (rank, there) in self.present.iter().enumerate() {
            set[rank / 8] |= u8::from(*there) << (rank % 8);
        }
        let mut writer = Writer::new(MAGIC);
        let (waiting, by) = &self.earliest;
        [0, self.epoch, self.warns, self.gives_up].iter().for_each(|value| writer.u32(*value));
        writer.u64(waiting.number);
        writer.u32(*by);
        writer.bytes(waiting.call.as_bytes());
        writer.bytes(waiting.step.as_bytes());
        writer.u64(u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX));
        writer.bytes(&set);
        writer.finish()
    }
}

impl Decision {
    pub(super) fn encode(&self, epoch: u32) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC);
        [1, epoch, self.by].iter().for_each(|value| writer.u32(*value));
        writer.bytes(&self.error.to_bytes());
        writer.finish()
    }
}

/// The letter that says so.
pub(super) fn epoch_closed(epoch: u32) -> Vec<u8> {
    let mut writer = Writer::new(MAGIC);
    [2, epoch].iter().for_each(|value| writer.u32(*value));
    writer.finish()
}

/// What a roll call tells.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) present: Vec<bool>,
    pub(super) warns: u32,
    pub(super) gives_up: u32,
    pub(super) earliest: (Waiting, u32),
    pub(super) longest: Duration,
}

/// What a letter says.
#[derive(Debug)]
pub(super) enum Message {
    Roll(Presence),
    Verdict { by: u32, error: Error },
    Over,
}

impl Message {
    pub(super) fn decode(letter: &[u8], size: usize) -> Option<(u32, Self)> {
        let mut reader = Reader::new(letter);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (kind, epoch) = (reader.u32()?, reader.u32()?);
        let letter = match kind {
            0 => {
                let (warns, gives_up, number, by) =
                    (reader.u32()?, reader.u32()?, reader.u64()?, reader.u32()?);
                let (call, step) = (reader.text()?, reader.text()?);
                let longest = Duration::from_millis(reader.u64()?);
                let set = reader.bytes()?;
                let rank_or_none = |rank: u32| rank == NONE || (rank as usize) < size;
                if set.len() != size.div_ceil(8) || ![warns, gives_up, by].into_iter().all(rank_or_none) {
                    return None;
                }
                let present = (0..size).map(|rank| set[rank / 8] >> (rank % 8) & 1 == 1).collect();
                let waiting = Waiting {
                    number,
                    call: cut(call, 200).to_owned(),
                    step: cut(step, 200).to_owned(),
                    builders: Vec::new(),
                    waited: Duration::ZERO,
                };
                Self::Roll(Presence { present, warns, gives_up, earliest: (waiting, by), longest })
            }
            1 => Self::Verdict { by: reader.u32()?, error: Error::from_bytes(reader.bytes()?) },
            2 => Self::Over,
            _ => return None,
        };
        reader.at_end().then_some((epoch, letter))
    }
}
