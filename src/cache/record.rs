//! The record of an entry: what makes a library explainable and checkable, appended to the library file.
//!
//! ```text
//! file    := image record footer
//! image   := the shared library as the linker wrote it
//! record  := JSON, see EntryRecord
//! footer  := digest  u64 length of record  u32 version (2)  "DIJITSO-SEAL"
//! digest  := SHA-256 of everything before it and the three fields after it
//! ```
//! A dynamic loader maps what the ELF headers name and never reads what follows. So one file, published in
//! one step, carries the code, its origin and the proof that both are complete. A library without a record,
//! or with the record of another signature or version, is not loaded. All versions end with the same 12
//! bytes.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
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
/// The version of the format. A record of another version is a miss.
pub const VERSION: u32 = 2;
const DIGEST: usize = 32;
/// The longest record: 64 MiB.
const LONGEST_RECORD: u64 = 64 << 20;
/// The footer without the digest.
const TAIL: usize = 8 + 4 + MAGIC.len();

/// Size and digest of a file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The description of an entry, stored behind its library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// The signature.
    pub signature: String,
    /// The name that the caller gave.
    pub name: String,
    /// The header, if there is one.
    pub header: Option<FileDigest>,
    /// SHA-256 of the source as it was compiled, hexadecimal; empty if it is not known.
    pub source_sha256: String,
    /// The digest of the text in the signature, hexadecimal, if the call gave the text and no callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Signatures of the libraries it is linked to.
    pub dependencies: Vec<String>,
    /// Signatures of other entries that `generate` built or asked for: they travel with this entry.
    pub nested: Vec<String>,
    /// Headers and libraries that the build has read, other than those of this cache.
    pub inputs: Vec<Input>,
    /// The compiler.
    pub toolchain: Toolchain,
    /// The command that was run.
    pub command: Vec<String>,
    /// The build parameters.
    pub build_spec: BuildSpec,
    /// The generator parameters, as JSON text.
    pub generator: String,
    /// Seconds since 1970 at the end of the build.
    pub built_at: u64,
    /// Seconds that the compiler took.
    pub seconds: f64,
    /// The host that built it.
    pub host: String,
    /// The version of dijitso that built it.
    pub dijitso: String,
}

impl EntryRecord {
    /// The signatures of all entries that have to be in the cache with this one.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().chain(&self.nested).map(String::as_str)
    }
}

/// Why the bytes of an entry are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The file has no footer: it is cut short, or was not made by dijitso.
    NoRecord,
    /// The record has the format of another version.
    Version,
    /// The digest does not match.
    Altered,
    /// The entry is valid, but of another signature.
    Foreign,
    /// The header beside the library is missing or not the one that was built.
    Header,
    /// A library that it needs is missing or invalid.
    Dependency,
    /// A header or library that the build has read has changed.
    Input(String),
    /// The generator gives another source now.
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
            Self::NoRecord => "it is cut short or was not made by dijitso",
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
/// [`Kind::Cache`] if there is not enough memory (images may be large), or the record is too long.
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

/// The fields of a record that loading a library needs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LoadRecord {
    signature: String,
    /// See [`EntryRecord::header`].
    pub header: Option<FileDigest>,
    /// See [`EntryRecord::dependencies`].
    pub dependencies: Vec<String>,
    /// See [`EntryRecord::nested`].
    pub nested: Vec<String>,
    /// See [`EntryRecord::inputs`].
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
    /// The milliseconds that the compiler took.
    #[must_use]
    pub fn build_ms(&self) -> u64 {
        let time = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        u64::try_from(time.as_millis()).unwrap_or_default()
    }
}

/// Checks the footer and digest of `file` and reads its record.
///
/// # Errors
/// The reason why it is not the entry of `signature`.
pub fn open(file: &[u8], signature: &str) -> std::result::Result<EntryRecord, Invalid> {
    let record: EntryRecord = serde_json::from_slice(checked_record(file)?).map_err(|_| Invalid::Altered)?;
    if record.signature == signature { Ok(record) } else { Err(Invalid::Foreign) }
}

/// Does the same as [`open`], but reads only the fields that loading needs: reading all takes three times as
/// long.
///
/// # Errors
/// As [`open`].
pub fn open_to_load(file: &[u8], signature: &str) -> std::result::Result<LoadRecord, Invalid> {
    let record: LoadRecord = serde_json::from_slice(checked_record(file)?).map_err(|_| Invalid::Altered)?;
    if record.signature == signature { Ok(record) } else { Err(Invalid::Foreign) }
}

/// The length of the record and the version, if these bytes are the end of a footer.
fn read_tail(tail: &[u8]) -> Option<(u64, u32)> {
    let mut reader = Reader::new(tail);
    let (length, version) = (reader.u64()?, reader.u32()?);
    (reader.take(MAGIC.len())? == MAGIC).then_some((length, version))
}

/// Checks the digest of `file`; gives the text of its record.
fn checked_record(file: &[u8]) -> std::result::Result<&[u8], Invalid> {
    let (before, tail) = file.split_at_checked(file.len().wrapping_sub(TAIL)).ok_or(Invalid::NoRecord)?;
    let (length, version) = read_tail(tail).ok_or(Invalid::NoRecord)?;
    if version != VERSION {
        return Err(Invalid::Version);
    }
    let (content, digest) =
        before.split_at_checked(before.len().wrapping_sub(DIGEST)).ok_or(Invalid::NoRecord)?;
    if Sha256::new().chain_update(content).chain_update(tail).finalize().as_slice() != digest {
        return Err(Invalid::Altered);
    }
    if length > LONGEST_RECORD {
        return Err(Invalid::Altered);
    }
    let length = usize::try_from(length).map_err(|_| Invalid::Altered)?;
    content.len().checked_sub(length).and_then(|at| content.get(at..)).ok_or(Invalid::Altered)
}

/// The end of a library file, read without checking the digest.
#[derive(Clone, Debug, PartialEq)]
pub enum Tail {
    /// The record, of this version.
    Record(Box<EntryRecord>),
    /// A footer of an older version: no program of this version uses the file.
    Outdated,
    /// A footer of a newer version, or none, or a record that cannot be read.
    Unknown,
}

/// Reads the record at the end of a library file without checking its digest: enough to list and to sort, not
/// to load.
///
/// # Errors
/// Any I/O error.
pub fn read_record_tail(file: &File) -> io::Result<Tail> {
    let size = file.metadata()?.len();
    let Some(at) = size.checked_sub((TAIL + DIGEST) as u64) else { return Ok(Tail::Unknown) };
    let mut tail = [0; TAIL];
    file.read_exact_at(&mut tail, at + DIGEST as u64)?;
    let length = match read_tail(&tail) {
        Some((length, VERSION)) if length <= LONGEST_RECORD.min(at) => length,
        Some((_, version)) if version < VERSION => return Ok(Tail::Outdated),
        _ => return Ok(Tail::Unknown),
    };
    let mut record = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut record, at - length)?;
    Ok(serde_json::from_slice(&record).map_or(Tail::Unknown, Tail::Record))
}

impl Tail {
    /// The record, if there is one of this version.
    #[must_use]
    pub fn record(self) -> Option<EntryRecord> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Outdated | Self::Unknown => None,
        }
    }
}

/// The shared library in a file that [`open`] has accepted, as the linker wrote it.
#[must_use]
pub fn image_of(file: &[u8]) -> &[u8] {
    let record = file.len().checked_sub(TAIL).and_then(|at| Reader::new(&file[at..]).u64());
    let record = record.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    let length = file.len().checked_sub(TAIL + DIGEST).and_then(|rest| rest.checked_sub(record));
    &file[..length.unwrap_or_default()]
}

/// The digest in the footer of a file that [`open`] has accepted.
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
            build_spec: BuildSpec::default(),
            generator: "{}".to_owned(),
            built_at: 1,
            seconds: 0.5,
            host: "host".to_owned(),
            dijitso: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_record_is_appended_and_the_image_is_unchanged() {
        let file = append_record(b"\x7fELF image".to_vec(), &record("s")).unwrap();
        assert!(file.starts_with(b"\x7fELF image"));
        assert_eq!(open(&file, "s"), Ok(record("s")));
        assert_eq!(image_of(&file), b"\x7fELF image");
        assert_eq!(open(&file, "t"), Err(Invalid::Foreign));
        assert_eq!(open_to_load(&file, "t"), Err(Invalid::Foreign));
        assert_eq!(open(b"\x7fELF image", "s"), Err(Invalid::NoRecord));
    }

    #[test]
    fn a_record_is_read_from_the_end_of_a_file() {
        use io::Write;
        let mut file = tempfile::tempfile().unwrap();
        let of = |version| of_version(&append_record(vec![7; 9], &record("s")).unwrap(), version);
        for (bytes, expected) in [
            (
                append_record(b"\x7fELF image".to_vec(), &record("s")).unwrap(),
                Tail::Record(Box::new(record("s"))),
            ),
            (of(1), Tail::Outdated),
            (of(VERSION + 1), Tail::Unknown),
            (b"\x7fELF image".to_vec(), Tail::Unknown),
            (vec![0; 200], Tail::Unknown),
            (Vec::new(), Tail::Unknown),
        ] {
            file.set_len(0).unwrap();
            io::Seek::rewind(&mut file).unwrap();
            file.write_all(&bytes).unwrap();
            assert_eq!(read_record_tail(&file).unwrap(), expected);
        }
    }

    /// The file with a footer of another version.
    pub(crate) fn of_version(file: &[u8], version: u32) -> Vec<u8> {
        let mut file = file.to_vec();
        let (digest, tail) = (file.len() - TAIL - DIGEST, file.len() - TAIL);
        file[tail + 8..tail + 12].copy_from_slice(&version.to_le_bytes());
        let sum = Sha256::new().chain_update(&file[..digest]).chain_update(&file[tail..]).finalize();
        file[digest..tail].copy_from_slice(&sum);
        file
    }

    #[test]
    fn records_of_other_versions_are_recognised() {
        let file = append_record(b"\x7fELF image".to_vec(), &record("s")).unwrap();
        for version in [1, VERSION + 1] {
            assert_eq!(open(&of_version(&file, version), "s"), Err(Invalid::Version));
            assert_eq!(open_to_load(&of_version(&file, version), "s"), Err(Invalid::Version));
        }
    }

    /// The format is frozen: bytes other than these need another version.
    #[test]
    fn the_bytes_of_the_format_are_those_of_version_2() {
        let json = concat!(
            r#"{"signature":"s","name":"name","header":{"size":3,"sha256":"0a"},"source_sha256":"0b","#,
            r#""text":"0c","#,
            r#""dependencies":["dependency"],"nested":["nested"],"#,
            r#""inputs":[{"path":"/h","size":1,"mtime":2,"ctime":3,"#,
            r#""inode":4,"identity":"sha256 00"}],"#,
            r#""toolchain":{"identity":"gcc","target":"x86_64","isa":"avx"},"#,
            r#""command":["c++"],"build_spec":{"language":"cxx","compiler":["c++"],"flags":["-O2"],"#,
            r#""include_dirs":["/i"],"lib_dirs":["/l"],"rpath_dirs":["/r"],"libs":["m"],"#,
            r#""debug":true,"cpu":"znver3"},"#,
            r#""generator":"{}","built_at":1,"seconds":0.5,"host":"host","dijitso":"0.1.0"}"#
        );
        let record: EntryRecord = serde_json::from_str(json).unwrap();
        let file = append_record(b"\x7fELF".to_vec(), &record).unwrap();
        assert_eq!(&file[..4 + json.len()], [b"\x7fELF", json.as_bytes()].concat());
        assert_eq!(
            crate::codec::hex(&file[4 + json.len()..]),
            concat!(
                "d64e1b23f540e12990e9fbcc0bdc380f49f085ca6b6afeebcf0cf3e3d4296738",
                "2e02000000000000",
                "02000000",
                "44494a4954534f2d5345414c"
            )
        );
        assert_eq!(open(&file, "s"), Ok(record));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let file = append_record(vec![7; 300], &record("s")).unwrap();
            let mut flipped = file.clone();
            flipped[at.index(file.len())] ^= 1 << bit;
            prop_assert!(open(&flipped, "s").is_err());
            prop_assert!(open_to_load(&flipped, "s").is_err());
            prop_assert!(open(&file[..at.index(file.len())], "s").is_err());
        }

        #[test]
        fn any_record_comes_back(texts in prop::array::uniform4(any::<String>()), seconds in 0.0..1e6) {
            let [signature, name, dependency, command] = texts;
            let mut record = EntryRecord { name, seconds, command: vec![command], ..record(&signature) };
            record.nested.push(dependency);
            record.header = Some(FileDigest { size: u64::MAX, sha256: String::new() });
            let file = append_record(Vec::new(), &record).unwrap();
            let needed = open_to_load(&file, &signature).unwrap();
            prop_assert_eq!((&needed.dependencies, &needed.nested), (&record.dependencies, &record.nested));
            prop_assert_eq!(needed.build_ms(), LoadRecord::from(record.clone()).build_ms());
            prop_assert_eq!((&needed.header, &needed.inputs), (&record.header, &record.inputs));
            prop_assert_eq!(open(&file, &signature), Ok(record));
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
