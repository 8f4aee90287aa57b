//! The closure: what travels from a builder to a receiver, or the news that there is nothing.
//!
//! ```text
//! blob    := "DIJITSO-BLOB" u32 version (1)  bytes payload  digest
//! digest  := SHA-256 of everything before it
//! payload := u32 0  u64 count  entry*           what is needed comes before what needs it
//!          | u32 1  bytes error                 the builder failed, see Error::to_bytes
//! entry   := bytes signature  bytes library  file header  file source  file log
//! file    := u32 0 | u32 1 bytes | u32 2 bytes          absent, plain, compressed
//! ```
//! Libraries need no relocation: they find each other through `$ORIGIN`.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use crate::wire::{Reader, Writer, digest};

use super::EntryFiles;

const MAGIC: &[u8; 12] = b"DIJITSO-BLOB";
const VERSION: u32 = 1;

/// What a builder has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closure {
    /// The library and all that it needs.
    Entries(Vec<EntryFiles>),
    /// Why there is none.
    Failure(Error),
}

impl Closure {
    /// The closure as one blob.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Writer::default();
        match self {
            Self::Entries(entries) => {
                payload.u32(0);
                payload.u64(entries.len() as u64);
                for entry in entries {
                    payload.bytes(entry.signature.as_bytes());
                    payload.bytes(&entry.library);
                    file(&mut payload, entry.header.as_deref(), false);
                    let packed = entry.source.as_ref().is_some_and(|(_, packed)| *packed);
                    file(&mut payload, entry.source.as_ref().map(|(data, _)| data.as_slice()), packed);
                    file(&mut payload, entry.log.as_deref(), false);
                }
            }
            Self::Failure(error) => {
                payload.u32(1);
                payload.bytes(&error.to_bytes());
            }
        }
        let mut blob = Writer::new(MAGIC);
        blob.u32(VERSION);
        blob.bytes(&payload.finish());
        let mut blob = blob.finish();
        blob.extend_from_slice(&digest(&blob));
        blob
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// [`Kind::Callback`] when it is not a whole blob of this version: it was cut, altered, or is something else.
    pub fn decode(blob: &[u8]) -> Result<Self> {
        read(blob).ok_or_else(|| {
            let text = format!(
                "the {} bytes received are not what a builder sent: cut short, altered, or from another version",
                blob.len()
            );
            Error::new(Kind::Callback, text)
        })
    }
}

fn file(writer: &mut Writer, data: Option<&[u8]>, packed: bool) {
    match data {
        None => writer.u32(0),
        Some(data) => {
            writer.u32(1 + u32::from(packed));
            writer.bytes(data);
        }
    }
}

fn read(blob: &[u8]) -> Option<Closure> {
    let (body, sum) = blob.split_at_checked(blob.len().checked_sub(32)?)?;
    if digest(body) != *sum {
        return None;
    }
    let mut reader = Reader::new(body);
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    let mut payload = Reader::new(reader.bytes()?);
    let closure = match payload.u32()? {
        0 => {
            let count = payload.u64()?;
            let entries = (0..count).map(|_| read_entry(&mut payload)).collect::<Option<_>>()?;
            Closure::Entries(entries)
        }
        1 => Closure::Failure(Error::from_bytes(payload.bytes()?)),
        _ => return None,
    };
    (reader.at_end() && payload.at_end()).then_some(closure)
}

fn read_entry(reader: &mut Reader<'_>) -> Option<EntryFiles> {
    let signature = reader.text()?.to_owned();
    // It becomes part of paths: what is no signature is no entry.
    crate::signature::check_signature(&signature).ok()?;
    let library = reader.bytes()?.to_vec();
    let header = read_file(reader)?.map(|(data, _)| data);
    let source = read_file(reader)?;
    let log = read_file(reader)?.map(|(data, _)| data);
    Some(EntryFiles { signature, library, header, source, log })
}

fn read_file(reader: &mut Reader<'_>) -> Option<Option<(Vec<u8>, bool)>> {
    match reader.u32()? {
        0 => Some(None),
        kind @ (1 | 2) => Some(Some((reader.bytes()?.to_vec(), kind == 2))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Closure {
        let entry = |signature: &str| EntryFiles {
            signature: signature.to_owned(),
            library: vec![1; 100],
            header: Some(b"h".to_vec()),
            source: Some((b"gz".to_vec(), true)),
            log: None,
        };
        Closure::Entries(vec![entry("a_1"), entry("b_2")])
    }

    #[test]
    fn closures_and_failures_survive_the_way() {
        let failure = Closure::Failure(Error::new(Kind::Compile, "no"));
        for closure in [sample(), failure, Closure::Entries(Vec::new())] {
            assert_eq!(Closure::decode(&closure.encode()), Ok(closure));
        }
    }

    /// A receiver joins signatures to paths: a blob cannot make it write elsewhere.
    #[test]
    fn a_signature_that_leaves_the_cache_is_refused() {
        let Closure::Entries(mut entries) = sample() else { unreachable!() };
        entries[0].signature = "../../evil".to_owned();
        assert!(Closure::decode(&Closure::Entries(entries).encode()).is_err());
    }

    /// Defect W9 of the original: sizes had 32 bits, so that 4 GiB and a bit were a bit.
    #[test]
    fn w9_a_size_that_is_off_by_4_gib_is_noticed() {
        let blob = sample().encode();
        let body = &blob[..blob.len() - 32];
        let payload = MAGIC.len() + 4;
        let count = payload + 8 + 4;
        let signature = count + 8;
        let library = signature + 8 + "a_1".len();
        for (at, size) in [(payload, body.len() - payload - 8), (count, 2), (signature, 3), (library, 100)] {
            let mut far = body.to_vec();
            assert_eq!(far[at..at + 8], (size as u64).to_le_bytes(), "this is where it stands");
            far[at + 4] = 1;
            far.extend_from_slice(&digest(&far));
            assert!(Closure::decode(&far).is_err(), "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let blob = sample().encode();
            let mut flipped = blob.clone();
            flipped[at.index(blob.len())] ^= 1 << bit;
            prop_assert!(Closure::decode(&flipped).is_err());
            prop_assert!(Closure::decode(&blob[..at.index(blob.len())]).is_err());
        }

        /// Lengths that lie, under a right digest.
        #[test]
        fn any_payload_is_refused_or_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut writer = Writer::new(MAGIC);
            writer.u32(VERSION);
            writer.bytes(&payload);
            let mut blob = writer.finish();
            blob.extend_from_slice(&digest(&blob));
            let _ = Closure::decode(&blob);
        }
    }
}
