//! The messages of the failure detector.
//!
//! ```text
//! message := "DJFD" u32 kind u32 epoch body
//! kind 0  := presence: u32 lowest rank that warns, u32 lowest rank that gives up (none: u32::MAX),
//!            u64 number, u32 rank, bytes call, bytes step (of the earliest collective), u64 longest wait in ms,
//!            bytes set (one bit a rank)
//! kind 1  := decision: u32 rank that made it, bytes error
//! kind 2  := epoch closed: this epoch and all earlier ones are over
//! kind 3  := cancelled: u64 number of the collective in which the sender waits, bytes error
//! ```

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::codec::{Reader, Writer};
use crate::error::Error;
use crate::parallel::timeout::{Waiting, truncate};

use super::{Decision, NONE, SECOND_CHANCE};

const MAGIC: &[u8] = b"DJFD";

/// The ranks known to wait in an epoch, and for how long.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) present: Vec<bool>,
    /// The lowest rank that warns and the lowest that gives up, or [`NONE`].
    pub(super) warns: u32,
    pub(super) gives_up: u32,
    /// The earliest collective in which a rank waits, and that rank.
    pub(super) earliest: (Waiting, u32),
    pub(super) longest: Duration,
}

#[derive(Debug)]
pub(super) enum Message {
    Presence(Presence),
    Decision { by: u32, error: Error },
    EpochClosed,
    Cancelled { number: u64, error: Error },
}

fn writer(kind: u32, epoch: u32) -> Writer {
    let mut writer = Writer::new(MAGIC);
    writer.u32(kind);
    writer.u32(epoch);
    writer
}

impl Presence {
    pub(super) fn encode(&self, epoch: u32) -> Vec<u8> {
        let mut set = vec![0_u8; self.present.len().div_ceil(8)];
        for (rank, present) in self.present.iter().enumerate() {
            set[rank / 8] |= u8::from(*present) << (rank % 8);
        }
        let mut writer = writer(0, epoch);
        let (waiting, rank) = &self.earliest;
        writer.u32(self.warns);
        writer.u32(self.gives_up);
        writer.u64(waiting.number);
        writer.u32(*rank);
        writer.bytes(waiting.call.as_bytes());
        writer.bytes(waiting.step.as_bytes());
        writer.u64(u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX));
        writer.bytes(&set);
        writer.finish()
    }

    fn decode(reader: &mut Reader<'_>, size: usize) -> Option<Self> {
        const LONGEST_NAME: usize = 200;
        let (warns, gives_up, number, by) = (reader.u32()?, reader.u32()?, reader.u64()?, reader.u32()?);
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
            call: truncate(call, LONGEST_NAME).to_owned(),
            step: truncate(step, LONGEST_NAME).to_owned(),
            ..Waiting::default()
        };
        Some(Self { present, warns, gives_up, earliest: (waiting, by), longest })
    }

    /// Returns the time that silent ranks get besides the grace period: the others may hear of ranks that are only
    /// slow, or of their decision.
    pub(super) fn second_chance(&self) -> Duration {
        let present = self.present.iter().filter(|present| **present).count();
        match self.present.len() - present {
            0 | 1 => Duration::ZERO,
            silent if silent < present => SECOND_CHANCE,
            _ => SECOND_CHANCE * 2,
        }
    }

    /// Adds what another rank knows. Returns whether peers have to hear of it.
    pub(super) fn merge(&mut self, other: Self) -> bool {
        let state = |known: &Self| (known.present.clone(), known.warns, known.gives_up, known.earliest.1);
        let before = state(self);
        self.present.iter_mut().zip(&other.present).for_each(|(known, present)| *known |= present);
        self.warns = self.warns.min(other.warns);
        self.gives_up = self.gives_up.min(other.gives_up);
        self.longest = self.longest.max(other.longest);
        if (other.earliest.0.number, other.earliest.1) < (self.earliest.0.number, self.earliest.1) {
            self.earliest = other.earliest;
        }
        before != state(self)
    }
}

impl Decision {
    pub(super) fn encode(&self, epoch: u32) -> Vec<u8> {
        let mut writer = writer(1, epoch);
        writer.u32(self.by);
        writer.bytes(&self.error.to_bytes());
        writer.finish()
    }
}

/// Encodes that `epoch` is closed.
pub(super) fn epoch_closed(epoch: u32) -> Vec<u8> {
    writer(2, epoch).finish()
}

/// Encodes that a rank which waits in the collective `number` has cancelled the call.
pub(super) fn cancelled(epoch: u32, number: u64, error: &Error) -> Vec<u8> {
    let mut writer = writer(3, epoch);
    writer.u64(number);
    writer.bytes(&error.to_bytes());
    writer.finish()
}

impl Message {
    /// Decodes a message between `size` ranks, with its epoch; `None` if it is damaged.
    pub(super) fn decode(message: &[u8], size: usize) -> Option<(u32, Self)> {
        let mut reader = Reader::new(message);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (kind, epoch) = (reader.u32()?, reader.u32()?);
        let message = match kind {
            0 => Self::Presence(Presence::decode(&mut reader, size)?),
            1 => Self::Decision { by: reader.u32()?, error: Error::from_bytes(reader.bytes()?) },
            2 => Self::EpochClosed,
            3 => Self::Cancelled { number: reader.u64()?, error: Error::from_bytes(reader.bytes()?) },
            _ => return None,
        };
        reader.at_end().then_some((epoch, message))
    }
}
