//! The transitive dependency closure of an entry as one blob, which a builder sends to other ranks; or its
//! error.
//!
//! ```text
//! blob    := "DIJITSO-BLOB" u32 version (1)  bytes payload  digest
//! digest  := SHA-256 of everything before it
//! payload := u32 0  u64 count  entry*           dependencies first
//!          | u32 1  bytes error                 the builder failed, see Error::to_bytes
//! entry   := bytes signature  bytes library  file header  file source  file log
//! file    := u32 0 | u32 1 bytes | u32 2 bytes          absent, plain, compressed
//! ```
//! Libraries need no relocation: they find each other through `$ORIGIN`.

#![forbid(unsafe_code)]

use crate::codec::{Reader, Writer, copy, digest, try_with_capacity};
use crate::error::{Error, Kind, Result};
use crate::human;

use super::{EntryFiles, EntryView};

const MAGIC: &[u8; 12] = b"DIJITSO-BLOB";
const VERSION: u32 = 1;
const DIGEST: usize = 32;
/// Magic, version, and the length of the payload.
const HEAD: usize = MAGIC.len() + 4 + 8;

/// The message of a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closure {
    /// The entry and all that it needs.
    Entries(Vec<EntryFiles>),
    /// The reason why there is none.
    Failure(Error),
}

impl Closure {
    /// Encodes the closure as one blob. Memory is allocated once, because libraries may be large.
    ///
    /// # Errors
    /// [`Kind::Cache`] if there is not enough memory.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut blob = begin(self.payload_size())?;
        match self {
            Self::Entries(entries) => {
                blob.u32(0);
                blob.u64(entries.len() as u64);
                for entry in entries {
                    blob.bytes(entry.signature.as_bytes());
                    blob.bytes(&entry.library);
                    file(&mut blob, entry.header.as_deref(), false);
                    let packed = entry.source.as_ref().is_some_and(|(_, packed)| *packed);
                    file(&mut blob, entry.source.as_ref().map(|(data, _)| data.as_slice()), packed);
                    file(&mut blob, entry.log.as_deref(), false);
                }
            }
            Self::Failure(error) => {
                blob.u32(1);
                blob.bytes(&error.to_bytes());
            }
        }
        Ok(end(blob.finish()))
    }

    /// Encodes the error of a builder. Without enough memory the blob is empty, which no receiver accepts.
    #[must_use]
    pub fn failure(error: &Error) -> Vec<u8> {
        Self::Failure(error.clone()).encode().unwrap_or_default()
    }

    fn payload_size(&self) -> usize {
        let file = |length: Option<usize>| 4 + length.map_or(0, |length| 8 + length);
        match self {
            Self::Entries(entries) => entries.iter().fold(4 + 8, |sum, entry| {
                let header = file(entry.header.as_ref().map(Vec::len));
                let source = file(entry.source.as_ref().map(|(data, _)| data.len()));
                let log = file(entry.log.as_ref().map(Vec::len));
                sum + 8 + entry.signature.len() + 8 + entry.library.len() + header + source + log
            }),
            Self::Failure(error) => 4 + 8 + error.to_bytes().len(),
        }
    }

    /// Borrows the entries of a blob.
    ///
    /// # Errors
    /// The error in the blob; [`Kind::Callback`] if it is not a complete blob of this version.
    pub fn entries(blob: &[u8]) -> Result<Vec<EntryView<'_>>> {
        match read(blob).ok_or_else(|| refused(blob, NO_BLOB))? {
            Payload::Entries(entries) => Ok(entries),
            Payload::Failure(error) => Err(Error::from_bytes(error)),
        }
    }

    /// Decodes a blob into copies.
    ///
    /// # Errors
    /// [`Kind::Callback`] if it is not a complete blob of this version, or there is not enough memory for its
    /// entries.
    pub fn decode(blob: &[u8]) -> Result<Self> {
        match read(blob).ok_or_else(|| refused(blob, NO_BLOB))? {
            Payload::Failure(error) => Ok(Self::Failure(Error::from_bytes(error))),
            Payload::Entries(entries) => {
                let entries = entries.iter().map(copied).collect::<Option<_>>();
                entries
                    .map(Self::Entries)
                    .ok_or_else(|| refused(blob, "do not fit into memory a second time"))
            }
        }
    }
}

const NO_BLOB: &str = "are not what a builder sent: cut short, altered, or from another version";

fn refused(blob: &[u8], reason: &str) -> Error {
    Error::new(Kind::Callback, format!("the {} bytes received {reason}", blob.len()))
}

/// Begins a blob with capacity for all of it.
pub(super) fn begin(payload: usize) -> Result<Writer> {
    let size = payload.saturating_add(HEAD + DIGEST);
    let mut blob = try_with_capacity(size).ok_or_else(|| no_room(size))?;
    blob.extend_from_slice(MAGIC);
    let mut blob = Writer::onto(blob);
    blob.u32(VERSION);
    blob.u64(0);
    Ok(blob)
}

/// Completes a blob of [`begin`] after its payload.
pub(super) fn end(mut blob: Vec<u8>) -> Vec<u8> {
    let payload = (blob.len() - HEAD) as u64;
    blob[HEAD - 8..HEAD].copy_from_slice(&payload.to_le_bytes());
    let sum = digest(&blob);
    blob.extend_from_slice(&sum);
    blob
}

pub(super) fn no_room(size: usize) -> Error {
    let text = format!("not enough memory for {} that are to be sent to other ranks", human::length(size));
    Error::new(Kind::Cache, text)
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

/// The contents of a blob, borrowed.
enum Payload<'a> {
    Entries(Vec<EntryView<'a>>),
    Failure(&'a [u8]),
}

/// Copies an entry. `None` if there is not enough memory.
fn copied(entry: &EntryView<'_>) -> Option<EntryFiles> {
    Some(EntryFiles {
        signature: entry.signature.to_owned(),
        library: copy(entry.library)?,
        header: entry.header.map_or(Some(None), |data| copy(data).map(Some))?,
        source: entry
            .source
            .map_or(Some(None), |(data, packed)| copy(data).map(|data| Some((data, packed))))?,
        log: entry.log.map_or(Some(None), |data| copy(data).map(Some))?,
    })
}

fn read(blob: &[u8]) -> Option<Payload<'_>> {
    let (body, sum) = blob.split_at_checked(blob.len().checked_sub(DIGEST)?)?;
    if digest(body) != *sum {
        return None;
    }
    let mut reader = Reader::new(body);
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    let mut payload = Reader::new(reader.bytes()?);
    let held = match payload.u32()? {
        0 => {
            let count = payload.u64()?;
            Payload::Entries((0..count).map(|_| read_entry(&mut payload)).collect::<Option<_>>()?)
        }
        1 => Payload::Failure(payload.bytes()?),
        _ => return None,
    };
    (reader.at_end() && payload.at_end()).then_some(held)
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Option<EntryView<'a>> {
    let signature = reader.text()?;
    // A signature becomes part of paths.
    crate::signature::check_signature(signature).ok()?;
    let library = reader.bytes()?;
    let header = read_file(reader)?.map(|(data, _)| data);
    let source = read_file(reader)?;
    let log = read_file(reader)?.map(|(data, _)| data);
    Some(EntryView { signature, library, header, source, log })
}

fn read_file<'a>(reader: &mut Reader<'a>) -> Option<Option<(&'a [u8], bool)>> {
    match reader.u32()? {
        0 => Some(None),
        kind @ (1 | 2) => Some(Some((reader.bytes()?, kind == 2))),
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

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    #[test]
    fn closures_and_failures_are_decoded_as_they_were_encoded() {
        let failure = Closure::Failure(Error::new(Kind::Compile, "no"));
        for closure in [sample(), failure, Closure::Entries(Vec::new())] {
            assert_eq!(Closure::decode(&closure.encode().unwrap()), Ok(closure));
        }
    }

    /// A receiver puts signatures into paths: a blob cannot make it write elsewhere.
    #[test]
    fn a_signature_that_leaves_the_cache_is_refused() {
        let Closure::Entries(mut entries) = sample() else { unreachable!() };
        entries[0].signature = "../../evil".to_owned();
        assert!(Closure::decode(&Closure::Entries(entries).encode().unwrap()).is_err());
    }

    /// Defect W9 of the original: sizes had 32 bits, so that 4 GiB and a bit were a bit.
    #[test]
    fn w9_a_size_that_is_off_by_4_gib_is_noticed() {
        let blob = sample().encode().unwrap();
        let body = &blob[..blob.len() - 32];
        let payload = MAGIC.len() + 4;
        let count = payload + 8 + 4;
        let signature = count + 8;
        let library = signature + 8 + "a_1".len();
        for (at, size) in [(payload, body.len() - payload - 8), (count, 2), (signature, 3), (library, 100)] {
            let mut wrong = body.to_vec();
            assert_eq!(wrong[at..at + 8], (size as u64).to_le_bytes(), "the size is here");
            wrong[at + 4] = 1;
            wrong.extend_from_slice(&digest(&wrong));
            assert!(Closure::decode(&wrong).is_err(), "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let blob = sample().encode().unwrap();
            let mut flipped = blob.clone();
            flipped[at.index(blob.len())] ^= 1 << bit;
            prop_assert!(Closure::decode(&flipped).is_err());
            prop_assert!(Closure::decode(&blob[..at.index(blob.len())]).is_err());
        }

        #[test]
        fn any_closure_comes_back(
            entries in prop::collection::vec(
                ("[A-Za-z0-9_][A-Za-z0-9_.+-]{0,9}", bytes(), prop::option::of(bytes()),
                 prop::option::of((bytes(), any::<bool>())), prop::option::of(bytes())),
                0..4,
            ),
        ) {
            let entry = |(signature, library, header, source, log)| {
                EntryFiles { signature, library, header, source, log }
            };
            let closure = Closure::Entries(entries.into_iter().map(entry).collect());
            let blob = closure.encode().unwrap();
            prop_assert_eq!(blob.capacity(), blob.len(), "room is asked for once, and is enough");
            prop_assert_eq!(Closure::decode(&blob), Ok(closure));
        }

        /// Wrong lengths under a right digest.
        #[test]
        fn any_payload_is_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut writer = Writer::new(MAGIC);
            writer.u32(VERSION);
            writer.bytes(&payload);
            let mut blob = writer.finish();
            blob.extend_from_slice(&digest(&blob));
            let _ = Closure::decode(&blob);
        }
    }
}
