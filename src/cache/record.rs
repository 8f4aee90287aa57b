//! The record of an entry: what makes a library explainable and checkable, appended to the library file.
//!
//! ```text
//! file    := image inputs record footer
//! image   := the shared library as the linker wrote it
//! inputs  := the inputs of the build, see inputs/set.rs
//! record  := bytes load, then JSON, see EntryRecord, without inputs
//! load    := bytes signature  optional header  list dependencies  list nested  u64 bits of seconds
//! header  := u64 size  bytes sha256
//! footer  := digest  u64 length of inputs  u64 length of record  u32 version (4)  "DIJITSO-SEAL"
//! digest  := XXH3 of everything before it and the four fields after it: 128 bits, big endian
//! optional := u32 0 | u32 1, then the value
//! list    := u64 count, then that many bytes
//! ```
//! Loading reads the part that it needs (`load`); the same fields are in the JSON, for people and for checks.
//! The digest finds damage, at many times the speed of a cryptographic one. It does not keep people out: owner and
//! mode of the files do.
//!
//! A dynamic loader maps what the ELF headers name and never reads what follows. So one file, published in
//! one step, carries the code, its origin and the proof that both are complete. A library without a record,
//! or with the record of another signature or version, is not loaded. All versions end with the same 12
//! bytes.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::codec::{Digest32, Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::human;
use crate::inputs::{self, Input, InputSet};
use crate::signature::Toolchain;

use super::build_spec::BuildSpec;

const MAGIC: &[u8; 12] = b"DIJITSO-SEAL";
/// The version of the format. A record of another version is a miss.
pub const VERSION: u32 = 4;
const DIGEST: usize = 16;
/// The longest record: 64 MiB.
const LONGEST_RECORD: u64 = 64 << 20;
/// The footer without the digest.
const TAIL: usize = 8 + TAIL_OF_ALL;
/// The part of it that all versions have.
const TAIL_OF_ALL: usize = 8 + 4 + MAGIC.len();

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
    #[serde(default)]
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
    let inputs = inputs::set::encode(&record.inputs);
    let record = EntryRecord { inputs: Vec::new(), ..record.clone() };
    let mut writer = Writer::default();
    writer.bytes(&LoadRecord::encode(&record));
    let mut bytes = writer.finish();
    serde_json::to_writer(&mut bytes, &record).expect("a record consists of strings and numbers");
    let record = bytes;
    let length = record.len() + inputs.len();
    if length as u64 > LONGEST_RECORD {
        let text = format!("the record of this library has {length} bytes, and {LONGEST_RECORD} are allowed");
        return Err(Error::new(Kind::Cache, text));
    }
    image.try_reserve_exact(length + DIGEST + TAIL).map_err(|_| {
        Error::new(Kind::Cache, format!("not enough memory for a library of {}", human::length(image.len())))
    })?;
    image.extend_from_slice(&inputs);
    image.extend_from_slice(&record);
    append_footer(&mut image, inputs.len() as u64, record.len() as u64);
    Ok(image)
}

/// Appends the footer to an image with inputs and record of these lengths.
pub fn append_footer(file: &mut Vec<u8>, inputs: u64, record: u64) {
    let mut tail = Writer::default();
    tail.u64(inputs);
    tail.u64(record);
    tail.u32(VERSION);
    let mut tail = tail.finish();
    tail.extend_from_slice(MAGIC);
    let digest = footer_digest(file, &tail);
    file.extend_from_slice(&digest);
    file.extend_from_slice(&tail);
}

/// The fields of a record that loading a library needs.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadRecord {
    /// See [`EntryRecord::header`].
    pub header: Option<FileDigest>,
    /// See [`EntryRecord::dependencies`].
    pub dependencies: Vec<String>,
    /// See [`EntryRecord::nested`].
    pub nested: Vec<String>,
    /// See [`EntryRecord::inputs`].
    pub inputs: Arc<InputSet>,
    signature: String,
    seconds: f64,
}

impl LoadRecord {
    /// Encodes the fields of a record that loading needs, without inputs.
    fn encode(record: &EntryRecord) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(record.signature.as_bytes());
        writer.u32(u32::from(record.header.is_some()));
        if let Some(header) = &record.header {
            writer.u64(header.size);
            writer.bytes(header.sha256.as_bytes());
        }
        for list in [&record.dependencies, &record.nested] {
            writer.u64(list.len() as u64);
            list.iter().for_each(|signature| writer.bytes(signature.as_bytes()));
        }
        writer.u64(record.seconds.to_bits());
        writer.finish()
    }

    /// Decodes these fields; `None` if they are damaged.
    fn decode(load: &[u8], inputs: Arc<InputSet>) -> Option<Self> {
        fn list(reader: &mut Reader<'_>) -> Option<Vec<String>> {
            (0..reader.u64()?).map(|_| reader.text().map(str::to_owned)).collect()
        }
        let mut reader = Reader::new(load);
        let signature = reader.text()?.to_owned();
        let header = match reader.u32()? {
            0 => None,
            1 => Some(FileDigest { size: reader.u64()?, sha256: reader.text()?.to_owned() }),
            _ => return None,
        };
        let (dependencies, nested) = (list(&mut reader)?, list(&mut reader)?);
        let seconds = f64::from_bits(reader.u64()?);
        reader.at_end().then_some(Self { header, dependencies, nested, inputs, signature, seconds })
    }

    /// Returns true if this is the record of the library of `signature`.
    #[must_use]
    pub fn is_of(&self, signature: &str) -> bool {
        self.signature == signature
    }

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
    let (inputs, record) = checked_parts(file)?;
    let record = read_all(inputs, record).ok_or(Invalid::Altered)?;
    if record.signature == signature { Ok(record) } else { Err(Invalid::Foreign) }
}

/// Reads the inputs and the JSON of a record.
fn read_all(inputs: &[u8], record: &[u8]) -> Option<EntryRecord> {
    let mut reader = Reader::new(record);
    reader.bytes()?;
    let mut record: EntryRecord = serde_json::from_slice(reader.rest()).ok()?;
    record.inputs = inputs::set::decode(inputs)?;
    Some(record)
}

/// Does the same as [`open`], but reads only the fields that loading needs: reading all takes ten times as
/// long. A set of inputs is read once in a process.
///
/// # Errors
/// As [`open`].
pub fn open_to_load(file: &[u8], signature: &str) -> std::result::Result<LoadRecord, Invalid> {
    let (inputs, record) = checked_parts(file)?;
    let load = Reader::new(record).bytes().ok_or(Invalid::Altered)?;
    if Reader::new(load).text().ok_or(Invalid::Altered)? != signature {
        return Err(Invalid::Foreign);
    }
    let inputs = InputSet::read(inputs).ok_or(Invalid::Altered)?;
    LoadRecord::decode(load, inputs).ok_or(Invalid::Altered)
}

/// The digest of a file, without the digest itself.
fn footer_digest(content: &[u8], tail: &[u8]) -> [u8; DIGEST] {
    let mut hasher = Xxh3::new();
    hasher.update(content);
    hasher.update(tail);
    hasher.digest128().to_be_bytes()
}

/// The lengths in a footer.
#[derive(Clone, Copy)]
struct Lengths {
    inputs: u64,
    record: u64,
}

impl Lengths {
    /// Reads the footer without the digest.
    fn read(tail: &[u8]) -> std::result::Result<Self, Invalid> {
        let end =
            tail.len().checked_sub(TAIL_OF_ALL).and_then(|at| tail.get(at..)).ok_or(Invalid::NoRecord)?;
        let (record, version) = read_end(end).ok_or(Invalid::NoRecord)?;
        if version != VERSION {
            return Err(Invalid::Version);
        }
        let inputs = Reader::new(tail).u64().ok_or(Invalid::NoRecord)?;
        Ok(Self { inputs, record })
    }

    /// Splits what is before the footer into image, inputs and record.
    fn split(self, content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        if self.inputs.checked_add(self.record)? > LONGEST_RECORD {
            return None;
        }
        let (inputs, record) = (usize::try_from(self.inputs).ok()?, usize::try_from(self.record).ok()?);
        let (rest, record) = content.split_at_checked(content.len().checked_sub(record)?)?;
        let (image, inputs) = rest.split_at_checked(rest.len().checked_sub(inputs)?)?;
        Some((image, inputs, record))
    }
}

/// The length of the record and the version, if these bytes are the end of a footer of any version.
fn read_end(end: &[u8]) -> Option<(u64, u32)> {
    let mut reader = Reader::new(end);
    let (length, version) = (reader.u64()?, reader.u32()?);
    (reader.take(MAGIC.len())? == MAGIC).then_some((length, version))
}

/// Checks the digest of `file`; gives its inputs and the text of its record.
fn checked_parts(file: &[u8]) -> std::result::Result<(&[u8], &[u8]), Invalid> {
    let (before, tail) = file.split_at(file.len().saturating_sub(TAIL));
    let lengths = Lengths::read(tail)?;
    let (content, digest) =
        before.split_at_checked(before.len().wrapping_sub(DIGEST)).ok_or(Invalid::NoRecord)?;
    if footer_digest(content, tail) != *digest {
        return Err(Invalid::Altered);
    }
    let (_, inputs, record) = lengths.split(content).ok_or(Invalid::Altered)?;
    Ok((inputs, record))
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
    let mut end = [0; TAIL + DIGEST];
    let end = match usize::try_from(size) {
        Ok(size) if size < end.len() => &mut end[..size],
        _ => &mut end[..],
    };
    let at = size - end.len() as u64;
    file.read_exact_at(end, at)?;
    let lengths = match Lengths::read(&end[end.len().saturating_sub(TAIL)..]) {
        Ok(lengths) if end.len() == TAIL + DIGEST => lengths,
        Err(Invalid::Version) if is_older(end) => return Ok(Tail::Outdated),
        _ => return Ok(Tail::Unknown),
    };
    let length = lengths.inputs.saturating_add(lengths.record);
    if length > LONGEST_RECORD.min(at) {
        return Ok(Tail::Unknown);
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut content, at - length)?;
    let read = || {
        let (_, inputs, record) = lengths.split(&content)?;
        Some(Tail::Record(Box::new(read_all(inputs, record)?)))
    };
    Ok(read().unwrap_or(Tail::Unknown))
}

/// Returns true if a file that ends like this has a footer of an older version.
fn is_older(end: &[u8]) -> bool {
    let end = end.len().checked_sub(TAIL_OF_ALL).and_then(|at| read_end(&end[at..]));
    end.is_some_and(|(_, version)| version < VERSION)
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
    let image = || {
        let (before, tail) = file.split_at_checked(file.len().checked_sub(TAIL)?)?;
        let content = before.get(..before.len().checked_sub(DIGEST)?)?;
        Lengths::read(tail).ok()?.split(content).map(|(image, ..)| image)
    };
    image().unwrap_or_default()
}

/// The digest in the footer of a file that [`open`] has accepted, with zeros behind it.
#[must_use]
pub fn digest_of(file: &[u8]) -> Digest32 {
    let at = file.len().saturating_sub(TAIL + DIGEST);
    let mut digest = Digest32::default();
    if let Some(stored) = file.get(at..at + DIGEST) {
        digest[..DIGEST].copy_from_slice(stored);
    }
    digest
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
        file[tail + 16..tail + 20].copy_from_slice(&version.to_le_bytes());
        let sum = footer_digest(&file[..digest], &file[tail..]);
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
    fn the_bytes_of_the_format_are_those_of_version_4() {
        let json = concat!(
            r#"{"signature":"s","name":"name","header":{"size":3,"sha256":"0a"},"source_sha256":"0b","#,
            r#""text":"0c","#,
            r#""dependencies":["dependency"],"nested":["nested"],"#,
            r#""inputs":[],"#,
            r#""toolchain":{"identity":"gcc","target":"x86_64","isa":"avx"},"#,
            r#""command":["c++"],"build_spec":{"language":"cxx","compiler":["c++"],"flags":["-O2"],"#,
            r#""include_dirs":["/i"],"lib_dirs":["/l"],"rpath_dirs":["/r"],"libs":["m"],"#,
            r#""debug":true,"cpu":"znver3"},"#,
            r#""generator":"{}","built_at":1,"seconds":0.5,"host":"host","dijitso":"0.1.0"}"#
        );
        let input = r#"{"path":"/h","size":1,"mtime":2,"ctime":3,"inode":4,"identity":"sha256 00"}"#;
        let mut record: EntryRecord = serde_json::from_str(json).unwrap();
        record.inputs = vec![serde_json::from_str(input).unwrap()];
        let file = append_record(b"\x7fELF".to_vec(), &record).unwrap();
        let (image, rest) = file.split_at(4);
        let (rest, footer) = rest.split_at(rest.len() - DIGEST - TAIL);
        let (rest, text) = rest.split_at(rest.len() - json.len());
        let (inputs, load) = rest.split_at(75);
        assert_eq!((image, std::str::from_utf8(text)), (&b"\x7fELF"[..], Ok(json)));
        assert_eq!(
            crate::codec::hex(inputs),
            concat!(
                "0100000000000000",
                "02000000000000002f68",
                "0100000000000000",
                "0200000000000000",
                "010000000300000000000000",
                "010000000400000000000000",
                "0900000000000000736861323536203030",
            )
        );
        assert_eq!(
            crate::codec::hex(load),
            concat!(
                "5700000000000000",
                "010000000000000073",
                "01000000030000000000000002000000000000003061",
                "01000000000000000a00000000000000646570656e64656e6379",
                "010000000000000006000000000000006e6573746564",
                "000000000000e03f",
            )
        );
        assert_eq!(
            crate::codec::hex(footer),
            concat!(
                "692e12bff08a25be40bd741e9fc860a9",
                "4b00000000000000",
                "4202000000000000",
                "04000000",
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
            prop_assert_eq!(needed.build_ms(), (seconds * 1000.0) as u64);
            prop_assert_eq!((&needed.header, needed.inputs.inputs()), (&record.header, &record.inputs[..]));
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
