//! The seal: what makes a library in the cache explainable and checkable, appended to the library itself.
//!
//! ```text
//! file    := image record footer
//! image   := the shared library as the linker wrote it
//! record  := JSON, see EntryRecord
//! footer  := digest  u64 length of record  u32 version (1)  "DIJITSO-SEAL"
//! digest  := SHA-256 of everything before it and the three fields after it
//! ```
//! A dynamic loader maps what the ELF headers name and never sees what follows, so one file, published in one step,
//! carries the code, its origin and the proof that both are whole. A library without a seal, or with the seal of
//! another signature, is not ours and is not loaded.

#![forbid(unsafe_code)]

use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::{Digest32, Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::human;
use crate::inputs::Input;
use crate::signature::Toolchain;

use super::build_spec::BuildSpec;

const MAGIC: &[u8; 12] = b"DIJITSO-SEAL";
const VERSION: u32 = 1;
const DIGEST: usize = 32;
/// The longest record: 64 MiB.
const LONGEST_RECORD: u64 = 64 << 20;
const TAIL: usize = 8 + 4 + MAGIC.len();

/// A file that belongs to an entry, beside the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// What is known of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// The signature.
    pub signature: String,
    /// The name that the caller gave.
    pub name: String,
    /// The header, if there is one.
    pub header: Option<FileDigest>,
    /// SHA-256 of the source as it was compiled, hexadecimal.
    pub source_sha256: String,
    /// What stands for the text in the signature, hexadecimal, if the call gave the text and no callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Signatures of the libraries it is linked to.
    pub dependencies: Vec<String>,
    /// Signatures of what `generate` built or asked for besides: they travel with this entry.
    pub nested: Vec<String>,
    /// Headers and libraries that the build has read, other than those of this cache.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// The compiler.
    pub toolchain: Toolchain,
    /// The command that was run.
    pub command: Vec<String>,
    /// The build parameters; `None` in entries of before they were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<BuildSpec>,
    /// The generator parameters, as JSON text.
    pub generator: String,
    /// Seconds since 1970 at the end of the build.
    pub built_at: u64,
    /// Seconds that the compiler took.
    pub seconds: f64,
    /// The host that built it.
    pub host: String,
    /// The version of this library that built it.
    pub dijitso: String,
}

impl EntryRecord {
    /// The signatures of everything that has to be there with this entry.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().chain(&self.nested).map(String::as_str)
    }

    /// Milliseconds that the compiler took.
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        milliseconds(self.seconds)
    }
}

fn milliseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_millis()).unwrap_or_default()
}

/// Why bytes are not a whole entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// No seal at the end: cut short, or not from here.
    NoSeal,
    /// A seal of another version of this library.
    Version,
    /// The bytes are not the ones that were sealed.
    Altered,
    /// A whole entry, but of another signature.
    Foreign,
    /// The header beside the library is missing or not the one that was built.
    Header,
    /// A library that it needs is missing or damaged.
    Dependency,
    /// A header or library that the build has read is not the same any more.
    Input(String),
    /// The generator of the source gives something else by now.
    Source(String),
    /// The dynamic loader does not take it, for a reason that lies in the file.
    Refused(String),
}

impl Invalid {
    /// The reason in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let text = match self {
            Self::Input(reason) | Self::Source(reason) | Self::Refused(reason) => return reason.clone(),
            Self::NoSeal => "it is cut short or was not made by dijitso",
            Self::Version => "it was made by another version of dijitso",
            Self::Altered => "its bytes are not those that were built",
            Self::Foreign => "it is the library of another signature",
            Self::Header => "its header is missing or altered",
            Self::Dependency => "a library that it needs is missing or damaged",
        };
        text.to_owned()
    }
}

/// Appends record and footer to an image.
///
/// # Errors
/// [`Kind::Cache`] when there is not enough memory: images may be large; when the record is too long.
pub fn append_record(mut image: Vec<u8>, record: &EntryRecord) -> Result<Vec<u8>> {
    let record = serde_json::to_vec(record).expect("a record consists of strings and numbers");
    if record.len() as u64 > LONGEST_RECORD {
        let text = format!(
            "the record of this library has {} bytes, and {LONGEST_RECORD} are allowed",
            record.len()
        );
        return Err(Error::new(Kind::Cache, text));
    }
    image.try_reserve_exact(record.len() + DIGEST + TAIL).map_err(|_| {
        Error::new(Kind::Cache, format!("not enough memory for a library of {}", human::length(image.len())))
    })?;
    image.extend_from_slice(&record);
    let mut tail = Writer::default();
    tail.u64(record.len() as u64);
    tail.u32(VERSION);
    let mut tail = tail.finish();
    tail.extend_from_slice(MAGIC);
    let digest = Sha256::new().chain_update(&image).chain_update(&tail).finalize();
    image.extend_from_slice(&digest);
    image.extend_from_slice(&tail);
    Ok(image)
}

/// Checks the seal of `file` and reads its record.
///
/// # Errors
/// The damage, if it is not the whole entry of `signature`.
pub fn open(file: &[u8], signature: &str) -> std::result::Result<EntryRecord, Invalid> {
    let record: EntryRecord = serde_json::from_slice(sealed_record(file)?).map_err(|_| Invalid::Altered)?;
    if record.signature == signature { Ok(record) } else { Err(Invalid::Foreign) }
}

/// What of a record it takes to load a library.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LoadRecord {
    signature: String,
    /// As [`EntryRecord::header`].
    pub header: Option<FileDigest>,
    /// As [`EntryRecord::dependencies`].
    pub dependencies: Vec<String>,
    /// As [`EntryRecord::nested`].
    pub nested: Vec<String>,
    /// As [`EntryRecord::inputs`].
    #[serde(default)]
    pub inputs: Vec<Input>,
    seconds: f64,
}

impl From<EntryRecord> for LoadRecord {
    fn from(record: EntryRecord) -> Self {
        let EntryRecord { signature, header, dependencies, nested, inputs, seconds, .. } = record;
        Self { signature, header, dependencies, nested, inputs, seconds }
    }
}

impl LoadRecord {
    /// As [`EntryRecord::needs`].
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().chain(&self.nested).map(String::as_str)
    }

    /// As [`EntryRecord::milliseconds`].
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        milliseconds(self.seconds)
    }
}

/// As [`open`], and reads of the record what it takes to load the library: with the rest, which is for people, reading
/// it takes three times as long.
///
/// # Errors
/// As [`open`].
pub fn open_to_load(file: &[u8], signature: &str) -> std::result::Result<LoadRecord, Invalid> {
    let needed: LoadRecord = serde_json::from_slice(sealed_record(file)?).map_err(|_| Invalid::Altered)?;
    if needed.signature == signature { Ok(needed) } else { Err(Invalid::Foreign) }
}

/// Checks the seal of `file`; gives the text of its record.
fn sealed_record(file: &[u8]) -> std::result::Result<&[u8], Invalid> {
    let (before, tail) = file.split_at_checked(file.len().wrapping_sub(TAIL)).ok_or(Invalid::NoSeal)?;
    let mut reader = Reader::new(tail);
    let length = reader.u64().ok_or(Invalid::NoSeal)?;
    let version = reader.u32().ok_or(Invalid::NoSeal)?;
    if reader.take(MAGIC.len()) != Some(MAGIC) {
        return Err(Invalid::NoSeal);
    }
    if version != VERSION {
        return Err(Invalid::Version);
    }
    let (sealed, digest) =
        before.split_at_checked(before.len().wrapping_sub(DIGEST)).ok_or(Invalid::NoSeal)?;
    if Sha256::new().chain_update(sealed).chain_update(tail).finalize().as_slice() != digest {
        return Err(Invalid::Altered);
    }
    if length > LONGEST_RECORD {
        return Err(Invalid::Altered);
    }
    let length = usize::try_from(length).map_err(|_| Invalid::Altered)?;
    sealed.len().checked_sub(length).and_then(|at| sealed.get(at..)).ok_or(Invalid::Altered)
}

/// The record of a sealed library, read from its end alone and taken for what it says: enough to list and to sort,
/// not to load. `None` when there is none.
///
/// # Errors
/// Those of the file system.
pub fn read_record_tail(file: &std::fs::File) -> std::io::Result<Option<EntryRecord>> {
    let size = file.metadata()?.len();
    let Some(at) = size.checked_sub((TAIL + DIGEST) as u64) else { return Ok(None) };
    let mut tail = [0; TAIL];
    file.read_exact_at(&mut tail, at + DIGEST as u64)?;
    let mut reader = Reader::new(&tail);
    let (length, version) = (reader.u64().unwrap_or_default(), reader.u32());
    if reader.take(MAGIC.len()) != Some(MAGIC) || version != Some(VERSION) || length > LONGEST_RECORD.min(at)
    {
        return Ok(None);
    }
    let mut record = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut record, at - length)?;
    Ok(serde_json::from_slice(&record).ok())
}

/// The image of a file that [`open`] has found whole: the library as the linker wrote it.
#[must_use]
pub fn image_of(file: &[u8]) -> &[u8] {
    let record = file.len().checked_sub(TAIL).and_then(|at| Reader::new(&file[at..]).u64());
    let record = record.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    let length = file.len().checked_sub(TAIL + DIGEST).and_then(|rest| rest.checked_sub(record));
    &file[..length.unwrap_or_default()]
}

/// The digest of a file that [`open`] has found whole.
#[must_use]
pub fn digest_of(file: &[u8]) -> Digest32 {
    let at = file.len().saturating_sub(TAIL + DIGEST);
    file.get(at..at + DIGEST).and_then(|digest| digest.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn record(signature: &str) -> EntryRecord {
        EntryRecord {
            signature: signature.to_owned(),
            name: "name".to_owned(),
            header: None,
            source_sha256: String::new(),
            text: None,
            dependencies: vec!["dependency".to_owned()],
            nested: Vec::new(),
            inputs: Vec::new(),
            toolchain: Toolchain::unknown(),
            command: vec!["c++".to_owned()],
            recipe: None,
            generator: "{}".to_owned(),
            built_at: 1,
            seconds: 0.5,
            host: "host".to_owned(),
            dijitso: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_sealed_library_is_the_library_with_something_behind_it() {
        let sealed = append_record(b"\x7fELF image".to_vec(), &record("s")).unwrap();
        assert!(sealed.starts_with(b"\x7fELF image"));
        assert_eq!(open(&sealed, "s"), Ok(record("s")));
        assert_eq!(image_of(&sealed), b"\x7fELF image");
        assert_eq!(open(&sealed, "t"), Err(Invalid::Foreign));
        assert_eq!(open_to_load(&sealed, "t"), Err(Invalid::Foreign));
        assert_eq!(open(b"\x7fELF image", "s"), Err(Invalid::NoSeal));
    }

    #[test]
    fn a_record_is_read_from_the_end_of_a_file() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        for (bytes, expected) in [
            (append_record(b"\x7fELF image".to_vec(), &record("s")).unwrap(), Some(record("s"))),
            (b"\x7fELF image".to_vec(), None),
            (vec![0; 200], None),
            (Vec::new(), None),
        ] {
            file.set_len(0).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            file.write_all(&bytes).unwrap();
            assert_eq!(read_record_tail(&file).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let sealed = append_record(vec![7; 300], &record("s")).unwrap();
            let mut flipped = sealed.clone();
            flipped[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(open(&flipped, "s").is_err());
            prop_assert!(open_to_load(&flipped, "s").is_err());
            prop_assert!(open(&sealed[..at.index(sealed.len())], "s").is_err());
        }

        #[test]
        fn any_record_comes_back(texts in prop::array::uniform4(any::<String>()), seconds in 0.0..1e6) {
            let [signature, name, dependency, command] = texts;
            let mut record = EntryRecord { name, seconds, command: vec![command], ..record(&signature) };
            record.nested.push(dependency);
            record.header = Some(FileDigest { size: u64::MAX, sha256: String::new() });
            let sealed = append_record(Vec::new(), &record).unwrap();
            let needed = open_to_load(&sealed, &signature).unwrap();
            prop_assert!(needed.needs().eq(record.needs()));
            prop_assert_eq!(needed.milliseconds(), record.milliseconds());
            prop_assert_eq!((&needed.header, &needed.inputs), (&record.header, &record.inputs));
            prop_assert_eq!(open(&sealed, &signature), Ok(record));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&bytes, "s").is_err());
            let _ = image_of(&bytes);
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(MAGIC);
            prop_assert!(open(&bytes, "s").is_err());
        }
    }
}
