//! Bundles as files, for `dijitso export` and `dijitso import`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::Serialize;

use crate::build::toolchain::{self, CompilerKeys, cpu, native};
use crate::cache::Cache;
use crate::cache::bundle::{
    self, ExportProgress, Exported, ImportOptions, ImportProgress, ImportReport, Imported,
};
use crate::cache::record::EntryRecord;
use crate::error::{Error, Result};
use crate::fsutil::{self, OutputFile};
use crate::params::resolved::Resolved;
use crate::signals::WithoutSignals;
use crate::signature::Toolchain;

/// The mode of a bundle, without the bits of the umask. Other users may read it.
const MODE: u32 = 0o644;

/// Returns the signatures that `words` select (see [`crate::cache::select`]); all if there are no words.
///
/// # Errors
/// `Kind::InvalidArgument` for a word that selects nothing, `Kind::Cache` if the cache cannot be read.
pub fn select(cache: &Cache, words: Option<&[String]>) -> Result<Vec<String>> {
    match words {
        Some(words) => bundle::select(cache, words),
        None => {
            let mut all = cache.signatures()?;
            all.sort();
            Ok(all)
        }
    }
}

/// Writes these entries and their dependencies to the file `to`, which appears complete or not at all; see
/// [`OutputFile`] for other kinds of files. With `lenient`, damaged entries are left out.
///
/// # Errors
/// `Kind::Cache` if an entry is damaged, or the file cannot be written.
pub fn export(cache: &Cache, signatures: &[String], lenient: bool, to: &Path) -> Result<Exported> {
    let mut file = create(to)?;
    let done = export_into(cache, signatures, lenient, &mut file, &mut |_| {})?;
    finish(file, to)?;
    Ok(done)
}

/// Creates the file of a bundle; see [`export`].
///
/// # Errors
/// `Kind::Cache` if it cannot be created.
pub fn create(to: &Path) -> Result<OutputFile> {
    OutputFile::create(to, MODE).map_err(|error| Error::file("cannot write", to, &error))
}

/// Completes the file of a bundle.
///
/// # Errors
/// `Kind::Cache` if it cannot be written.
pub fn finish(file: OutputFile, to: &Path) -> Result<()> {
    file.finish().map_err(|error| Error::file("cannot write", to, &error))
}

/// Like [`export`], to an open stream. Reports each step to `progress`.
///
/// # Errors
/// `Kind::Cache` if an entry is damaged, or the stream cannot be written.
pub fn export_into(
    cache: &Cache,
    signatures: &[String],
    lenient: bool,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<Exported> {
    bundle::export(cache, signatures, lenient, toolchains, &mut BufWriter::new(WithoutSignals(to)), progress)
}

/// The longest wait for a program that writes to a FIFO.
const FIFO_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Puts the entries of the bundle `from` into a cache. Reports each step to `progress`.
///
/// # Errors
/// `Kind::Cache` if the bundle cannot be read, is damaged, or cannot be published.
pub fn import(
    cache: &Cache,
    from: &Path,
    options: ImportOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportReport> {
    let cannot = |error: io::Error| Error::file("cannot read", from, &error);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = File::options().read(true).custom_flags(flags).open(from).map_err(cannot)?;
    let kind = file.metadata().map_err(cannot)?.file_type();
    if kind.is_file() {
        return bundle::import(cache, &mut BufReader::with_capacity(1 << 20, file), options, progress);
    }
    if kind.is_fifo() {
        let mut ready = [PollFd::new(&file, PollFlags::IN)];
        if poll(&mut ready, Some(&FIFO_TIMEOUT)).map_err(|error| cannot(error.into()))? == 0 {
            return Err(cannot(io::Error::other("no program writes to it")));
        }
    } else if !kind.is_char_device() {
        return Err(cannot(fsutil::not_plain(kind)));
    }
    let flags = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK));
    flags.map_err(|error| cannot(error.into()))?;
    import_from(cache, &mut file, options, progress)
}

/// Like [`import`], from a stream that can be read once, such as a pipe. Copies it to an unnamed file first:
/// as many bytes as its manifest says, and none if the disk has not enough room.
///
/// # Errors
/// `Kind::Cache` if the stream cannot be copied, is damaged, or cannot be published.
pub fn import_from(
    cache: &Cache,
    from: &mut dyn Read,
    options: ImportOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportReport> {
    let params = cache.layout().params();
    let root = &params.temp_dir_root;
    let cannot = |error: io::Error| Error::io("cannot copy the bundle to", root, &error);
    let stream = bundle::Stream::begin(from, params)?;
    let room = fsutil::free_bytes(root).map_err(cannot)?;
    if stream.size() > room {
        let text = format!("it has {} bytes, and {} has room for {room}", stream.size(), root.display());
        return Err(cannot(io::Error::new(io::ErrorKind::StorageFull, text)));
    }
    let mut file = tempfile::tempfile_in(root).map_err(cannot)?;
    stream.copy(from, &mut WithoutSignals(&mut file)).map_err(cannot)?;
    bundle::import(cache, &mut BufReader::with_capacity(1 << 20, file), options, progress)
}

/// Returns the toolchains that an importing host without these compilers needs: for each command, and each
/// kind of processor that native flags stood for, the toolchain in the signature of the latest entry.
fn toolchains(records: &[EntryRecord]) -> Vec<(String, Vec<u8>)> {
    let mut latest: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
    for record in records {
        let spec = &record.build_spec;
        if record.toolchain.is_unknown() || spec.compiler.is_empty() {
            continue;
        }
        let compiler = CompilerKeys::absent(&spec.compiler);
        let plain = Toolchain { isa: String::new(), ..record.toolchain.clone() };
        let mut keys = vec![(compiler.command_key.clone(), plain)];
        if let Some(flags) = native::flags_of(&spec.compiler, &spec.flags) {
            let key = compiler.on_machine(&flags, &spec.cpu).command_key;
            keys.push((key, record.toolchain.clone()));
        }
        for (key, toolchain) in keys {
            let data = toolchain::encode(&spec.compiler, &toolchain);
            let known = latest.get(&key);
            if known.is_none_or(|(built_at, _)| *built_at < record.built_at) {
                latest.insert(key, (record.built_at, data));
            }
        }
    }
    latest.into_iter().map(|(key, (_, data))| (key, data)).collect()
}

/// Remarks on an import, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remarks {
    /// One sentence or two each.
    pub remarks: Vec<String>,
}

/// Returns what an import means for this host.
#[must_use]
pub fn remarks(report: &ImportReport, params: &Resolved) -> Remarks {
    let mut remarks = Vec::new();
    let own = cpu::key(&params.build);
    let elsewhere = report.entries.iter().filter(|entry| !entry.cpu.is_empty() && entry.cpu != own).count();
    if elsewhere > 0 {
        remarks.push(format!(
            "{elsewhere} were built with flags such as -march=native for another kind of processor than \
             this one: \
             machines of that kind will find them, this one will not (build.cpu gives kinds a name)"
        ));
    }
    let first = |pick: fn(&Imported) -> &Vec<String>| {
        let those: Vec<&Imported> = report.entries.iter().filter(|entry| !pick(entry).is_empty()).collect();
        those.first().map(|entry| (those.len(), pick(entry)[0].clone()))
    };
    let checks_inputs = params.cache.check_inputs && !params.cache.signature_is_name;
    if let Some((count, change)) = first(|entry| &entry.changed).filter(|_| checks_inputs) {
        remarks.push(format!(
            "{count} were built with headers or libraries that are other ones here ({change}), so they will \
             not be \
             used; cache.check_inputs = false takes them as they are"
        ));
    }
    if let Some((count, path)) = first(|entry| &entry.gone).filter(|_| checks_inputs && !params.cache.frozen)
    {
        remarks.push(format!(
            "{count} were built with headers or libraries that are not here ({path}), so they will be built \
             again; \
             with cache.frozen = true they are used"
        ));
    }
    if report.other_toolchains > 0 {
        remarks.push(format!(
            "this cache knows {} of the compilers by another version than the bundle: it keeps that, and \
             entries of \
             the other version are found only where the compiler is that one",
            report.other_toolchains
        ));
    }
    if !params.cache.frozen
        && !report.entries.is_empty()
        && toolchain::inspect(&params.build).file_key.is_none()
    {
        remarks.push(
            "there is no compiler here: with cache.frozen = true what is missing is an error that says why"
                .to_owned(),
        );
    }
    Remarks { remarks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::build_spec::BuildSpec;
    use crate::cache::record;
    use crate::jit::tests::test_params;

    fn record(version: &str, built_at: u64, flags: &[&str]) -> EntryRecord {
        EntryRecord {
            build_spec: BuildSpec {
                compiler: vec!["c++".into()],
                flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
                cpu: if flags.is_empty() { String::new() } else { "zen".into() },
                ..BuildSpec::default()
            },
            toolchain: Toolchain {
                identity: version.into(),
                target: "t".into(),
                isa: if flags.is_empty() { String::new() } else { "-mavx2".into() },
            },
            built_at,
            ..record::tests::record("s")
        }
    }

    #[test]
    fn remarks_name_entries_that_this_host_cannot_use() {
        let mut params = test_params(Path::new("/nonexistent"), &[("build.cxx", "/nonexistent/c++")]);
        let entry = Imported {
            signature: "s".into(),
            outcome: bundle::ImportOutcome::New,
            target: "t".into(),
            isa: "-mavx2".into(),
            cpu: "another".into(),
            changed: vec!["/x.h has changed".into()],
            gone: vec!["/y.h".into()],
        };
        let report = ImportReport { entries: vec![entry], new_toolchains: 0, other_toolchains: 1 };
        let all = remarks(&report, &params.resolve().unwrap()).remarks;
        assert_eq!(all.len(), 5, "{all:?}");
        params.set("cache.frozen", "true").unwrap();
        let frozen = remarks(&report, &params.resolve().unwrap()).remarks;
        assert_eq!(frozen.len(), 3, "{frozen:?}");
        assert!(frozen[0].contains("another kind of processor") && frozen[1].contains("/x.h has changed"));
        assert!(remarks(&ImportReport::default(), &params.resolve().unwrap()).remarks.is_empty());
    }

    #[test]
    fn each_command_and_kind_of_processor_has_the_toolchain_of_the_latest_entry() {
        let records =
            [record("gcc 2", 20, &[]), record("gcc 1", 10, &[]), record("gcc 2", 5, &["-march=native"])];
        let found: BTreeMap<String, Toolchain> = toolchains(&records)
            .into_iter()
            .map(|(key, data)| (key, toolchain::decode(&data).unwrap()))
            .collect();
        assert_eq!(found.len(), 2);
        let compiler = CompilerKeys::absent(&["c++".to_owned()]);
        assert_eq!(found[&compiler.command_key], records[0].toolchain);
        let native = compiler.on_machine(&["-march=native".to_owned()], "zen");
        assert_eq!(found[&native.command_key], records[2].toolchain);
        let unknown = EntryRecord { toolchain: Toolchain::unknown(), ..record("x", 1, &[]) };
        assert!(toolchains(&[unknown]).is_empty());
    }
}
