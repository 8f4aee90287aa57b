//! Exports entries into a bundle.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::cache::catalog::Catalog;
use crate::cache::record::{self, EntryRecord};
use crate::cache::walk::{DependencyWalk, Stopped};
use crate::cache::{Cache, EntryFiles, Lookup, Verify, check_source, file_digest};
use crate::error::{Error, Result};

use super::{
    BundleEntry, BundleSource, FORMAT, MANIFEST, MOST_ENTRIES, Manifest, Naming, ToolchainFile, failed,
    src_postfix, tar,
};

/// An entry that `all` asks for and that is not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The signature.
    pub signature: String,
    /// Why it is not valid.
    pub reason: String,
}

/// The result of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The signatures of the entries, dependencies first.
    pub entries: Vec<String>,
    /// The size of the bundle in bytes.
    pub bytes: u64,
    /// Entries that are not valid, if all were asked for.
    pub skipped: Vec<Skipped>,
}

/// The progress of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// The number of entries that are done.
    pub done: usize,
    /// The number of all entries.
    pub total: usize,
    /// The bytes that have been written; 0 while entries are checked.
    pub bytes: u64,
}

/// Returns the signatures of the libraries that words select; see [`crate::cache::select`].
///
/// # Errors
/// [`crate::error::Kind::Cache`] for a word that selects none or is ambiguous, and if the cache cannot be
/// read.
pub fn select(cache: &Cache, words: &[String]) -> Result<Vec<String>> {
    // Orphans cannot be exported, and refused directories are not read.
    cache.check_trust()?;
    let catalog = Catalog { entries: cache.entries()?, orphans: Vec::new() };
    Ok(catalog.select(words)?.into_iter().map(|entry| entry.signature.clone()).collect())
}

/// Writes these entries and all that they need as a bundle. Reads each twice and holds one in memory at a
/// time. With `lenient`, invalid entries are left out, else they are an error. `toolchains` gives the files
/// in `toolchain` that the entries need: keys and contents.
///
/// # Errors
/// [`crate::error::Kind::Cache`] if an entry is invalid or changes meanwhile, or writing fails.
pub fn export(
    cache: &Cache,
    signatures: &[String],
    lenient: bool,
    toolchains: impl FnOnce(&[EntryRecord]) -> Vec<(String, Vec<u8>)>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<Exported> {
    let mut gathering = Gathering { cache, walk: DependencyWalk::default(), invalid: HashMap::new() };
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for (done, signature) in signatures.iter().enumerate() {
        progress(ExportProgress { done, total: signatures.len(), bytes: 0 });
        match gathering.visit(signature) {
            Ok(more) => entries.extend(more),
            Err(reason) => skipped.push(Skipped { signature: signature.clone(), reason }),
        }
    }
    if !lenient && !skipped.is_empty() {
        let reasons: Vec<String> =
            skipped.iter().map(|skipped| format!("{}: {}", skipped.signature, skipped.reason)).collect();
        return Err(failed(format!("not all entries can be exported: {}", reasons.join("; "))));
    }
    let (records, entries): (Vec<EntryRecord>, Vec<BundleEntry>) = entries.into_iter().unzip();
    if entries.len() > MOST_ENTRIES {
        let text =
            format!("{} entries are to be exported, and a bundle has at most {MOST_ENTRIES}", entries.len());
        return Err(failed(format!("{text}; write several bundles")));
    }
    let params = cache.layout().params();
    let toolchains = toolchains(&records);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        dijitso: env!("CARGO_PKG_VERSION").to_owned(),
        naming: Naming::of(params),
        entries,
        toolchains: toolchains
            .iter()
            .map(|(key, data)| ToolchainFile { key: key.clone(), file: file_digest(data) })
            .collect(),
    };
    let mut out = Counted { to: out, bytes: 0 };
    let cannot = |error: io::Error| failed(format!("cannot write the bundle: {error}"));
    let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest consists of strings and numbers");
    text.push(b'\n');
    tar::write(&mut out, MANIFEST, super::FILE_MODE, &text).map_err(cannot)?;
    for (done, (item, record)) in manifest.entries.iter().zip(&records).enumerate() {
        progress(ExportProgress { done, total: records.len(), bytes: out.bytes });
        let (files, again) = read(cache, record)?;
        if again != *item {
            let text = format!("{} has changed while it was exported; run again", item.signature);
            return Err(failed(text));
        }
        let parts = [
            Some(&files.library),
            files.header.as_ref(),
            files.source.as_ref().map(|(data, _)| data),
            files.log.as_ref(),
        ];
        let members = item.members(&manifest.naming, params);
        for (member, data) in members.iter().zip(parts.into_iter().flatten()) {
            tar::write(&mut out, &member.path, member.mode, data).map_err(cannot)?;
        }
    }
    for (toolchain, (_, data)) in manifest.toolchains.iter().zip(&toolchains) {
        let member = toolchain.member(params);
        tar::write(&mut out, &member.path, member.mode, data).map_err(cannot)?;
    }
    let digests = manifest.digests(&text, params);
    tar::write(&mut out, super::DIGESTS, super::FILE_MODE, digests.as_bytes()).map_err(cannot)?;
    out.write_all(&tar::END).and_then(|()| out.flush()).map_err(cannot)?;
    let entries = manifest.entries.into_iter().map(|item| item.signature).collect();
    Ok(Exported { entries, bytes: out.bytes, skipped })
}

/// The entries that go into a manifest.
struct Gathering<'a> {
    cache: &'a Cache,
    walk: DependencyWalk,
    /// The entries that cannot be exported, and why.
    invalid: HashMap<String, String>,
}

impl Gathering<'_> {
    /// Reads an entry and all that it needs and that has not been read before, dependencies first. The error
    /// is why one of them cannot be exported.
    fn visit(&mut self, signature: &str) -> std::result::Result<Vec<(EntryRecord, BundleEntry)>, String> {
        let Self { cache, walk, invalid } = self;
        let cycles = walk.cycles.len();
        match walk.visit(signature, |signature| open(cache, invalid, signature)) {
            Ok(entries) if walk.cycles.len() == cycles => {
                Ok(entries.into_iter().map(|(_, entry)| entry).collect())
            }
            Ok(entries) => {
                let reason = || "it needs itself".to_owned();
                invalid.extend(entries.into_iter().map(|(signature, _)| (signature, reason())));
                Err(reason())
            }
            Err(Stopped { error: mut reason, path }) => {
                for (at, signature) in path.iter().enumerate().rev() {
                    if let Some(needed) = path.get(at + 1) {
                        reason = format!("it needs {needed}: {reason}");
                    }
                    invalid.insert(signature.clone(), reason.clone());
                }
                Err(reason)
            }
        }
    }
}

/// Reads an entry for a manifest; gives the signatures that it needs as well.
fn open(
    cache: &Cache,
    invalid: &HashMap<String, String>,
    signature: &str,
) -> std::result::Result<((EntryRecord, BundleEntry), Vec<String>), String> {
    if let Some(reason) = invalid.get(signature) {
        return Err(reason.clone());
    }
    let text = |error: Error| error.message().to_owned();
    let Some(record) = cache.record(signature).map_err(text)? else {
        return Err(match cache.lookup(signature, Verify::ForLoad) {
            Ok(Lookup::Damaged(invalid)) => invalid.describe(),
            Ok(_) => "it is not in the cache".to_owned(),
            Err(error) => text(error),
        });
    };
    let needs: Vec<String> = record.needs().map(str::to_owned).collect();
    if let Some((needed, reason)) = needs.iter().find_map(|needed| invalid.get_key_value(needed)) {
        return Err(format!("it needs {needed}: {reason}"));
    }
    if let Some((_, change)) = cache.changed_inputs(&record).next() {
        return Err(change);
    }
    let (_, entry) = read(cache, &record).map_err(text)?;
    Ok(((record, entry), needs))
}

/// Reads the files of a valid entry, and describes them for a manifest.
fn read(cache: &Cache, record: &EntryRecord) -> Result<(EntryFiles, BundleEntry)> {
    let signature = &record.signature;
    let postfix = src_postfix(record, cache.layout().params());
    let mut files = cache.with_src_postfix(&postfix).read_entry(signature)?;
    files.source = files.source.filter(|(data, packed)| match check_source(record, data, *packed) {
        Ok(()) => true,
        // Sources are for people: an entry is valid without, and with another one import would refuse it.
        Err(reason) => {
            log::warn!("the source of {signature} is left out: {reason}");
            false
        }
    });
    // The record was read before without checking its digest.
    if record::open(&files.library, signature).as_ref() != Ok(record) {
        return Err(failed(format!("{signature} has changed while it was exported; run again")));
    }
    let source = files.source.as_ref().map(|(data, packed)| BundleSource {
        postfix,
        packed: *packed,
        file: file_digest(data),
    });
    let item = BundleEntry {
        signature: signature.clone(),
        name: record.name.clone(),
        needs: record.needs().map(str::to_owned).collect(),
        target: record.toolchain.target.clone(),
        isa: record.toolchain.isa.clone(),
        library: file_digest(&files.library),
        header: files.header.as_deref().map(file_digest),
        source,
        log: files.log.as_deref().map(file_digest),
    };
    Ok((files, item))
}

/// Counts the bytes written.
struct Counted<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.to.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
