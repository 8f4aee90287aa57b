//! Bundles as files: what `dijitso export` and `dijitso import` do.

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
use crate::cache::bundle::{self, ExportProgress, Exported, ImportOptions, ImportReport, Imported};
use crate::cache::record::EntryRecord;
use crate::error::{Error, Result};
use crate::fsutil::{self, OutputFile};
use crate::params::resolved::Resolved;
use crate::signals::WithoutSignals;
use crate::signature::Toolchain;

/// Mode of a bundle, but for what the umask takes away: it is made to be given to others.
const MODE: u32 = 0o644;

/// The signatures that `words` stand for (see [`crate::cache::select`]), else all.
///
/// # Errors
/// For a word that stands for nothing, and when the cache cannot be read.
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

/// Writes these entries with all that they need to the file `to`, which appears whole or not at all; see
/// [`OutputFile`] for what is no plain file. With `lenient`, what is not whole is left out.
///
/// # Errors
/// [`crate::error::Kind::Cache`].
pub fn export(cache: &Cache, signatures: &[String], lenient: bool, to: &Path) -> Result<Exported> {
    let mut file = create(to)?;
    let done = export_into(cache, signatures, lenient, &mut file, &mut |_| {})?;
    finish(file, to)?;
    Ok(done)
}

/// Begins to write a bundle; see [`export`].
///
/// # Errors
/// [`crate::error::Kind::Cache`].
pub fn create(to: &Path) -> Result<OutputFile> {
    OutputFile::create(to, MODE).map_err(|error| Error::file("cannot write", to, &error))
}

/// Ends a bundle.
///
/// # Errors
/// [`crate::error::Kind::Cache`].
pub fn finish(file: OutputFile, to: &Path) -> Result<()> {
    file.finish().map_err(|error| Error::file("cannot write", to, &error))
}

/// The same to something that is open, which says how far it is.
///
/// # Errors
/// As [`export`].
pub fn export_into(
    cache: &Cache,
    signatures: &[String],
    lenient: bool,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<Exported> {
    bundle::export(cache, signatures, lenient, toolchains, &mut BufWriter::new(WithoutSignals(to)), progress)
}

/// How long to wait for a program that writes to a FIFO.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Puts the entries of the bundle `from` into a cache.
///
/// # Errors
/// [`crate::error::Kind::Cache`] when it cannot be read, or is refused.
pub fn import(cache: &Cache, from: &Path, options: ImportOptions) -> Result<ImportReport> {
    let cannot = |error: io::Error| Error::file("cannot read", from, &error);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = File::options().read(true).custom_flags(flags).open(from).map_err(cannot)?;
    let kind = file.metadata().map_err(cannot)?.file_type();
    if kind.is_file() {
        return bundle::import(cache, &mut BufReader::with_capacity(1 << 20, file), options);
    }
    if kind.is_fifo() {
        let mut ready = [PollFd::new(&file, PollFlags::IN)];
        if poll(&mut ready, Some(&PATIENCE)).map_err(|error| cannot(error.into()))? == 0 {
            return Err(cannot(io::Error::other("no program writes to it")));
        }
    } else if !kind.is_char_device() {
        return Err(cannot(fsutil::not_plain(kind)));
    }
    let flags = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK));
    flags.map_err(|error| cannot(error.into()))?;
    import_from(cache, &mut file, options)
}

/// The same from something that can be read once, as a pipe: it is copied to an unnamed file first. No more is copied
/// than its manifest says, and nothing if there is no room for it.
///
/// # Errors
/// As [`import`].
pub fn import_from(cache: &Cache, from: &mut dyn Read, options: ImportOptions) -> Result<ImportReport> {
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
    bundle::import(cache, &mut BufReader::with_capacity(1 << 20, file), options)
}

/// What is to be known where the compilers of these entries are not: for each command, and each kind of processor that
/// native flags stood for, what the latest of the entries was signed with.
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

/// What of an import a person should know besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remarks {
    /// Sentences.
    pub remarks: Vec<String>,
}

/// Looks at an import with the eyes of this machine.
#[must_use]
pub fn remarks(report: &ImportReport, params: &Resolved) -> Remarks {
    let mut remarks = Vec::new();
    let own = cpu::key(&params.build);
    let elsewhere = report.entries.iter().filter(|entry| !entry.cpu.is_empty() && entry.cpu != own).count();
    if elsewhere > 0 {
        remarks.push(format!(
            "{elsewhere} were built with flags such as -march=native for another kind of processor than this one: \
             machines of that kind will find them, this one will not (build.cpu gives kinds a name)"
        ));
    }
    let first = |pick: fn(&Imported) -> &Vec<String>| {
        let those: Vec<&Imported> = report.entries.iter().filter(|entry| !pick(entry).is_empty()).collect();
        those.first().map(|entry| (those.len(), pick(entry)[0].clone()))
    };
    let looks = params.cache.check_inputs && !params.cache.signature_is_name;
    if let Some((count, change)) = first(|entry| &entry.changed).filter(|_| looks) {
        remarks.push(format!(
            "{count} were built with headers or libraries that are other ones here ({change}), so they will not be \
             used; cache.check_inputs = false takes them as they are"
        ));
    }
    if let Some((count, path)) = first(|entry| &entry.gone).filter(|_| looks && !params.cache.frozen) {
        remarks.push(format!(
            "{count} were built with headers or libraries that are not here ({path}), so they will be built again; \
             with cache.frozen = true they are used"
        ));
    }
    if report.other_toolchains > 0 {
        remarks.push(format!(
            "this cache knows {} of the compilers by another version than the bundle: it keeps that, and entries of \
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
    fn what_will_not_be_found_here_is_remarked() {
        let around = crate::params::Environment {
            variables: [("HOME", "/h".to_owned())].into(),
            cwd: "/c".into(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let mut params = crate::params::Params::in_environment(&around).unwrap();
        params.set("build.cxx", "/nonexistent/c++").unwrap();
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
        let told = remarks(&report, &params.resolve().unwrap()).remarks;
        assert_eq!(told.len(), 5, "{told:?}");
        params.set("cache.frozen", "true").unwrap();
        let frozen = remarks(&report, &params.resolve().unwrap()).remarks;
        assert_eq!(frozen.len(), 3, "{frozen:?}");
        assert!(frozen[0].contains("another kind of processor") && frozen[1].contains("/x.h has changed"));
        assert!(remarks(&ImportReport::default(), &params.resolve().unwrap()).remarks.is_empty());
    }

    #[test]
    fn each_command_and_kind_of_processor_has_one_note_of_the_latest_entry() {
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
