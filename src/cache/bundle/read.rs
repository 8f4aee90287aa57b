//! Imports a bundle: checks everything first and publishes afterwards.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use sha2::{Digest, Sha256};

use crate::cache::record::{self, EntryRecord, FileDigest};
use crate::cache::{Cache, EntryFiles, check_source};
use crate::codec::hex;
use crate::elf;
use crate::error::{Error, Result};
use crate::fsutil::{LONGEST_LIBRARY, LONGEST_TEXT};
use crate::human;
use crate::inputs::{Input, InputState};
use crate::language;
use crate::params::resolved::CacheParams;
use crate::signature::{check_name, check_signature};

use super::{
    BundleEntry, DIGESTS, FILE_MODE, FORMAT, LONGEST_MANIFEST, MANIFEST, MOST_ENTRIES, Manifest, Member,
    MemberKind, Naming, failed, tar,
};

/// Options of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Imports entries for another machine, too.
    pub force: bool,
    /// Reports what an import would do, and changes nothing.
    pub dry_run: bool,
}

/// The result for an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// It is new in the cache.
    New,
    /// The cache has the same library.
    There,
    /// The cache has a valid entry of this signature with another library, which stays.
    Other,
    /// It cannot be used here, for this reason.
    Refused(String),
}

/// An entry of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The signature.
    pub signature: String,
    /// The result.
    pub outcome: ImportOutcome,
    /// The machine that it was built for.
    pub target: String,
    /// The instruction sets that flags such as `-march=native` stood for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub isa: String,
    /// The kind of processor that they stood for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// Headers and libraries that it was built with and that differ here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Headers and libraries that it was built with and that do not exist here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The entries in the order of the bundle.
    pub entries: Vec<Imported>,
    /// The number of toolchains that are new here.
    pub new_toolchains: usize,
    /// The number of compilers for which this cache has another toolchain, which stays.
    pub other_toolchains: usize,
}

/// The progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// True if all of the bundle was checked, and entries are published.
    pub is_checked: bool,
    /// The number of entries that are done.
    pub done: usize,
    /// The number of all entries.
    pub total: usize,
}

/// The longest toolchain file.
const LONGEST_TOOLCHAIN: u64 = 64 << 10;

/// The largest number of toolchains.
const MOST_TOOLCHAINS: usize = 4096;

/// The longest name of a machine or list of its instruction sets.
const LONGEST_FIELD: usize = 64 << 10;

/// Imports the entries of a bundle into a cache. Checks all of the bundle first: one that is cut short,
/// altered, or of another version is refused as a whole. Existing entries stay. Reports each step to `progress`.
///
/// # Errors
/// [`crate::error::Kind::Cache`] if the bundle is refused, or a file cannot be written.
pub fn import<R: Read + Seek>(
    cache: &Cache,
    from: &mut R,
    options: ImportOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportReport> {
    let params = cache.layout().params();
    let (manifest, mut facts) = verify(from, params, progress).map_err(refused)?;
    let here = Naming::of(params);
    let libraries =
        |naming: &Naming| [&naming.lib_prefix, &naming.lib_basename, &naming.lib_postfix].map(Clone::clone);
    if libraries(&here) != libraries(&manifest.naming) {
        let [prefix, basename, postfix] = libraries(&manifest.naming);
        let text = format!(
            "its libraries have other names than here; set cache.lib_prefix = \"{prefix}\", \
             cache.lib_basename = \"{basename}\" and cache.lib_postfix = \"{postfix}\""
        );
        return Err(refused(text));
    }
    refuse_unusable(&manifest, &mut facts, options);
    if !options.dry_run {
        cache.ensure_dirs()?;
    }
    from.seek(SeekFrom::Start(0)).map_err(|error| refused(error.to_string()))?;
    read_manifest(from).map_err(refused)?;
    let mut report = ImportReport::default();
    let total = manifest.entries.len();
    for (done, (item, facts)) in manifest.entries.iter().zip(facts).enumerate() {
        progress(ImportProgress { is_checked: true, done, total });
        let outcome = publish(cache, from, &manifest, item, facts.refused, options)?;
        report.entries.push(Imported {
            signature: item.signature.clone(),
            outcome,
            target: item.target.clone(),
            isa: item.isa.clone(),
            cpu: facts.cpu,
            changed: facts.changed,
            gone: facts.gone,
        });
    }
    for toolchain in &manifest.toolchains {
        let data = member(from, &toolchain.member(params)).map_err(refused)?;
        match cache.read_toolchain(&toolchain.key)? {
            Some(known) if known == data => {}
            Some(_) => report.other_toolchains += 1,
            None => {
                report.new_toolchains += 1;
                if !options.dry_run {
                    cache.write_toolchain(&toolchain.key, &data)?;
                }
            }
        }
    }
    Ok(report)
}

pub(super) fn refused(reason: impl AsRef<str>) -> Error {
    failed(format!("the bundle is refused: {}; nothing was imported", reason.as_ref()))
}

/// The result of checking an entry.
struct EntryCheck {
    /// The machine in its ELF header.
    machine: Option<[u8; 4]>,
    cpu: String,
    changed: Vec<String>,
    gone: Vec<String>,
    refused: Option<String>,
}

/// Refuses entries for another machine, and those that need them.
fn refuse_unusable(manifest: &Manifest, facts: &mut [EntryCheck], options: ImportOptions) {
    let own = File::open("/proc/self/exe").ok().and_then(|mut file| {
        let mut head = [0; 20];
        file.read_exact(&mut head).ok()?;
        machine(&head)
    });
    let mut unusable: HashSet<&str> = HashSet::new();
    for (item, facts) in manifest.entries.iter().zip(facts) {
        let foreign = own.is_some() && facts.machine.is_some() && facts.machine != own && !options.force;
        if foreign {
            let (target, here) = (&item.target, std::env::consts::ARCH);
            facts.refused = Some(format!("it was built for {target}, and this machine is {here}"));
        } else if let Some(needed) = item.needs.iter().find(|needed| unusable.contains(needed.as_str())) {
            facts.refused = Some(format!("it needs {needed}, which is refused"));
        }
        if facts.refused.is_some() {
            unusable.insert(&item.signature);
        }
    }
}

/// Returns class, byte order and machine of an ELF file.
fn machine(head: &[u8]) -> Option<[u8; 4]> {
    (head.len() >= 20 && head.starts_with(b"\x7fELF")).then(|| [head[4], head[5], head[18], head[19]])
}

fn publish<R: Read + Seek>(
    cache: &Cache,
    from: &mut R,
    manifest: &Manifest,
    item: &BundleEntry,
    refused_for: Option<String>,
    options: ImportOptions,
) -> Result<ImportOutcome> {
    let mut files = EntryFiles {
        signature: item.signature.clone(),
        library: Vec::new(),
        header: None,
        source: None,
        log: None,
    };
    for expected in item.members(&manifest.naming, cache.layout().params()) {
        // Checked again, because the file may have been written to since.
        let data = member(from, &expected).map_err(refused)?;
        match expected.part {
            MemberKind::Library => files.library = data,
            MemberKind::Header => files.header = Some(data),
            MemberKind::Source => {
                let packed = item.source.as_ref().is_some_and(|source| source.packed);
                files.source = Some((data, packed));
            }
            MemberKind::Log | MemberKind::Toolchain => files.log = Some(data),
        }
    }
    if let Some(reason) = refused_for {
        return Ok(ImportOutcome::Refused(reason));
    }
    let postfix = item.source.as_ref().map(|source| source.postfix.as_str());
    let cache = postfix.map_or_else(|| cache.clone(), |postfix| cache.with_src_postfix(postfix));
    let new = if options.dry_run {
        !cache.layout().lib(&item.signature).exists()
    } else {
        cache.publish(&files)?
    };
    if new {
        return Ok(ImportOutcome::New);
    }
    let found = crate::cache::read(&cache.layout().lib(&item.signature))?;
    Ok(if found.is_some_and(|found| found == files.library) {
        ImportOutcome::There
    } else {
        ImportOutcome::Other
    })
}

pub(super) type BundleResult<T> = std::result::Result<T, String>;

/// Reads and checks all of a bundle.
fn verify<R: Read + Seek>(
    from: &mut R,
    like: &CacheParams,
    progress: &mut dyn FnMut(ImportProgress),
) -> BundleResult<(Manifest, Vec<EntryCheck>)> {
    from.seek(SeekFrom::Start(0)).map_err(|error| cut(&error))?;
    let (manifest, text) = read_manifest(from)?;
    check_manifest(&manifest, like)?;
    let mut facts = Vec::new();
    let total = manifest.entries.len();
    for (done, item) in manifest.entries.iter().enumerate() {
        progress(ImportProgress { is_checked: false, done, total });
        let mut of_library: Option<EntryRecord> = None;
        for expected in item.members(&manifest.naming, like) {
            match expected.part {
                MemberKind::Library => {
                    let library = member(from, &expected)?;
                    let (record, known) = check_library(item, &library)?;
                    facts.push(known);
                    of_library = Some(record);
                }
                MemberKind::Source => {
                    let data = member(from, &expected)?;
                    let packed = item.source.as_ref().is_some_and(|source| source.packed);
                    let checked = of_library.as_ref().map(|record| check_source(record, &data, packed));
                    if let Some(Err(reason)) = checked {
                        return Err(format!("the source of {} is refused: {reason}", item.signature));
                    }
                }
                MemberKind::Header | MemberKind::Log | MemberKind::Toolchain => skim(from, &expected)?,
            }
        }
    }
    for toolchain in &manifest.toolchains {
        skim(from, &toolchain.member(like))?;
    }
    let digests = manifest.digests(&text, like);
    let mut end = tar::front(DIGESTS, digests.len() as u64, FILE_MODE);
    end.extend(digests.as_bytes());
    end.extend(tar::padding(digests.len() as u64));
    end.extend(tar::END);
    if !tar::expect(from, &end).map_err(|error| cut(&error))? {
        return Err("its digests are not those of its contents".to_owned());
    }
    if from.read(&mut [0]).map_err(|error| cut(&error))? != 0 {
        return Err("there is something behind its end".to_owned());
    }
    Ok((manifest, facts))
}

fn cut(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// The part of a manifest that is read first.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
}

/// Reads the first member.
pub(super) fn read_manifest(from: &mut impl Read) -> BundleResult<(Manifest, Vec<u8>)> {
    let size = tar::first_size(from, MANIFEST, FILE_MODE).map_err(|error| cut(&error))?;
    let size = size.filter(|size| *size <= LONGEST_MANIFEST).ok_or("it is not a bundle of dijitso")?;
    let text = contents(from, size)?;
    if !tar::expect(from, &tar::padding(size)).map_err(|error| cut(&error))? {
        return Err("it is altered".to_owned());
    }
    // A tree of values would take many times the memory of the text.
    let head: Head = serde_json::from_slice(&text).map_err(|error| match error.classify() {
        Category::Data => "it is not a bundle of dijitso".to_owned(),
        _ => "its manifest is not JSON".to_owned(),
    })?;
    match head.format {
        Some(format) if format == FORMAT => {}
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            return Err(format!("it is of another version (\"{other}\"; this dijitso reads \"{FORMAT}\")"));
        }
        None => return Err("it is not a bundle of dijitso".to_owned()),
    }
    let manifest = serde_json::from_slice(&text)
        .map_err(|error| format!("its manifest is not that of a bundle: {error}"))?;
    Ok((manifest, text))
}

/// Checks a manifest without its files.
pub(super) fn check_manifest(manifest: &Manifest, like: &CacheParams) -> BundleResult<()> {
    let naming = &manifest.naming;
    let parts = [
        &naming.lib_prefix,
        &naming.lib_basename,
        &naming.lib_postfix,
        &naming.inc_postfix,
        &naming.log_postfix,
    ];
    if parts.iter().any(|part| part.contains(['/', '\0', '\n']) || part.len() > 255) {
        return Err("a part of a file name is invalid".to_owned());
    }
    if manifest.entries.len() > MOST_ENTRIES || manifest.toolchains.len() > MOST_TOOLCHAINS {
        return Err(format!("it has more than {MOST_ENTRIES} entries, or {MOST_TOOLCHAINS} toolchains"));
    }
    let mut before: HashSet<&str> = HashSet::new();
    for item in &manifest.entries {
        check_sizes(item)?;
        check_signature(&item.signature).map_err(|error| error.message().to_owned())?;
        check_name(&item.name).map_err(|error| error.message().to_owned())?;
        if let Some(needed) = item.needs.iter().find(|needed| !before.contains(needed.as_str())) {
            return Err(format!("{} needs {needed:?}, which does not come before it", item.signature));
        }
        if let Some(source) = &item.source
            && source.postfix != like.src_postfix
            && !language::suffixes().contains(&source.postfix.as_str())
        {
            let text = format!("the source of {} is named {:?}", item.signature, source.postfix);
            return Err(format!("{text}; set cache.src_postfix"));
        }
        if !before.insert(&item.signature) {
            return Err(format!("{} is in it twice", item.signature));
        }
    }
    for toolchain in &manifest.toolchains {
        let key = toolchain.key.as_str();
        let is_key = key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_key || toolchain.file.size > LONGEST_TOOLCHAIN {
            return Err("a toolchain file is invalid".to_owned());
        }
    }
    Ok(())
}

/// Checks the sizes and digests that the manifest gives for an entry, before any of its files is read.
fn check_sizes(item: &BundleEntry) -> BundleResult<()> {
    let source = item.source.as_ref().map(|source| &source.file);
    let texts = [item.header.as_ref(), source, item.log.as_ref()];
    let files = texts.into_iter().flatten().map(|file| (file, LONGEST_TEXT));
    for (file, longest) in files.chain([(&item.library, LONGEST_LIBRARY)]) {
        if file.size > longest {
            let text = format!("a file of {} has {} bytes", item.signature, file.size);
            return Err(format!("{text}, and {longest} are allowed"));
        }
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("a digest of {} is invalid", item.signature));
        }
    }
    if item.target.len() > LONGEST_FIELD || item.isa.len() > LONGEST_FIELD {
        return Err(format!("the machine of {} has too long a description", item.signature));
    }
    Ok(())
}

/// Checks a library against the manifest.
fn check_library(item: &BundleEntry, library: &[u8]) -> BundleResult<(EntryRecord, EntryCheck)> {
    let signature = &item.signature;
    let record = record::open(library, signature)
        .map_err(|invalid| format!("the library of {signature} is invalid: {}", invalid.describe()))?;
    // The machine is checked later: with `force`, entries for another one are imported.
    elf::check(record::image_of(library))
        .map_err(|reason| format!("the library of {signature} is not a complete shared library: {reason}"))?;
    let matches = record.name == item.name
        && record.needs().eq(item.needs.iter().map(String::as_str))
        && record.header == item.header
        && record.toolchain.target == item.target
        && record.toolchain.isa == item.isa;
    if !matches {
        return Err(format!("the manifest and the library of {signature} contradict each other"));
    }
    let cpu = record.build_spec.cpu.clone();
    let (gone, here): (Vec<&Input>, Vec<&Input>) =
        record.inputs.iter().partition(|input| matches!(input.state(), InputState::Gone(_)));
    let facts = EntryCheck {
        machine: machine(library),
        cpu,
        changed: here.into_iter().filter_map(Input::change).collect(),
        gone: gone.into_iter().map(|input| input.path.clone()).collect(),
        refused: None,
    };
    Ok((record, facts))
}

/// Reads the next member, which has to be this one.
fn member(from: &mut impl Read, expected: &Member<'_>) -> BundleResult<Vec<u8>> {
    begin(from, expected)?;
    let data = contents(from, expected.file.size)?;
    end(from, expected, &hex(&Sha256::digest(&data)))?;
    Ok(data)
}

/// Checks the next member, which has to be this one, without keeping its contents.
fn skim(from: &mut impl Read, expected: &Member<'_>) -> BundleResult<()> {
    begin(from, expected)?;
    let mut hasher = Sha256::new();
    let mut part = from.take(expected.file.size);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match part.read(&mut buffer).map_err(|error| cut(&error))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    end(from, expected, &hex(&hasher.finalize()))
}

fn begin(from: &mut impl Read, expected: &Member<'_>) -> BundleResult<()> {
    let FileDigest { size, .. } = expected.file;
    let front = tar::front(&expected.path, *size, expected.mode);
    let found = tar::expect(from, &front).map_err(|error| cut(&error))?;
    if found { Ok(()) } else { Err(format!("there is something else in the place of {}", expected.path)) }
}

fn end(from: &mut impl Read, expected: &Member<'_>, sha256: &str) -> BundleResult<()> {
    if sha256 != expected.file.sha256 {
        return Err(format!("{} is altered or cut short", expected.path));
    }
    let padding = tar::expect(from, &tar::padding(expected.file.size)).map_err(|error| cut(&error))?;
    if padding { Ok(()) } else { Err("it is altered".to_owned()) }
}

/// Reads `size` bytes. Memory is allocated as they arrive, because a wrong size may be huge.
fn contents(from: &mut impl Read, size: u64) -> BundleResult<Vec<u8>> {
    const STEP: u64 = 16 << 20;
    let mut data = Vec::new();
    while (data.len() as u64) < size {
        let step = (size - data.len() as u64).min(STEP);
        let room = usize::try_from(step).unwrap_or(usize::MAX);
        data.try_reserve(room)
            .map_err(|_| format!("there is not enough memory for {}", human::size(size)))?;
        let read = from.take(step).read_to_end(&mut data).map_err(|error| cut(&error))?;
        if read as u64 != step {
            return Err("it is cut short".to_owned());
        }
    }
    Ok(data)
}
