//! Remembers what a make that has made everything has seen: if nothing of it has changed, the next make of the
//! plan has nothing to do, and need not even read the plan.
//!
//! ```text
//! plan/<key>.state := "dijitso plan state 1\n"  bytes fingerprint  u64 nodes  u64 count  count * directory
//! directory        := bytes path  u64 count  count * (bytes name  u64 size  u64 mtime  u64 ctime  u64 inode)
//! ```
//! The fingerprint is a digest of the plan file and of everything that its parameters come from. The files are
//! inputs, sources, headers, compilers, and what was made; an empty name stands for the directory itself. A
//! file that is not right is ignored, and so is one that is a day old: then a make looks at everything, which
//! notes that it is used, so that eviction leaves it alone.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::Cache;
use crate::codec::{Digest32, Reader, Writer, digest, quick_digest};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileStamp};
use crate::params::Params;
use crate::process::find_program;

use super::definition::SourceDefinition;
use super::graph::{Plan, key_of_file};
use super::node::{ModuleSource, ModuleWork, Work};
use super::view::State;

const MAGIC: &[u8] = b"dijitso plan state 1\n";

/// The time before the begin of a make in which a file must not have changed, in nanoseconds: longer than a tick
/// of any file system's clock.
const TICK: i64 = 2_000_000_000;

/// The time for which a state is believed.
const LONGEST_BELIEF: Duration = Duration::from_secs(24 * 3600);

/// A plan file, as a make finds it.
pub struct PlanState {
    cache: Cache,
    key: String,
    fingerprint: Digest32,
    /// When it was looked at, in nanoseconds since 1970.
    begin: i64,
}

impl PlanState {
    /// Looks at a plan file. `overrides` are parameters that are set after those of the plan.
    ///
    /// # Errors
    /// [`Kind::Params`] if the file or the parameters cannot be read.
    pub fn of(file: &Path, params: &Params, overrides: &[(String, String)]) -> Result<Self> {
        let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let bytes = std::fs::read(file).map_err(|cause| {
            Error::new(Kind::Params, format!("cannot read the plan {}: {cause}", file.display()))
        })?;
        let resolved = params.resolve()?;
        let mut writer = Writer::new(b"dijitso plan state");
        writer.bytes(&digest(&bytes));
        writer.bytes(&resolved.request_digest);
        for (key, value) in overrides {
            writer.bytes(key.as_bytes());
            writer.bytes(value.as_bytes());
        }
        writer.bytes(std::env::var_os("PATH").unwrap_or_default().as_bytes());
        Ok(Self {
            cache: Cache::new(&resolved.cache.cache_dir, &resolved.cache),
            key: key_of_file(file),
            fingerprint: quick_digest(&writer.finish()),
            begin: i64::try_from(begin.as_nanos()).unwrap_or(i64::MAX),
        })
    }

    /// Returns the number of nodes if everything is made, and nothing has changed since.
    #[must_use]
    pub fn unchanged(&self) -> Option<u64> {
        let path = self.cache.layout().plan_state(&self.key);
        let (bytes, state) = fsutil::read_trusted_with_state(&path, u64::MAX).ok().flatten()?;
        let age = self.begin.saturating_sub(state.stamp.mtime);
        if u128::try_from(age).is_ok_and(|age| age > LONGEST_BELIEF.as_nanos()) {
            return None;
        }
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        if reader.bytes()? != self.fingerprint {
            return None;
        }
        let nodes = reader.u64()?;
        for _ in 0..reader.u64()? {
            let dir = Path::new(OsStr::from_bytes(reader.bytes()?));
            let open = File::open(dir).ok()?;
            for _ in 0..reader.u64()? {
                let name = reader.bytes()?;
                let then = [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
                let now = if name.is_empty() {
                    FileStamp::of(dir).ok()?
                } else {
                    FileStamp::below(&open, std::str::from_utf8(name).ok()?).ok()?
                };
                if fields(&now) != then {
                    return None;
                }
            }
        }
        reader.rest().is_empty().then_some(nodes)
    }

    /// Remembers a plan whose nodes are all done. `searched` are the directories that were searched for files.
    /// Remembers nothing if a file has changed since shortly before the make.
    pub fn remember(&self, plan: &Plan, searched: &[PathBuf]) {
        if let Some(bytes) = self.encode(plan, searched) {
            let path = self.cache.layout().plan_state(&self.key);
            let written = self.cache.open_or_make().and_then(|tree| {
                tree.replace_atomic(&path, &bytes, 0o644, Durability::Volatile)
                    .map_err(|error| Error::io("cannot write", &path, &error))
            });
            written.unwrap_or_else(|error| log::info!("the state of the plan is not written: {error}"));
        }
    }

    fn encode(&self, plan: &Plan, searched: &[PathBuf]) -> Option<Vec<u8>> {
        let mut files = SeenFiles { before: self.begin.saturating_sub(TICK), dirs: BTreeMap::new() };
        searched.iter().try_for_each(|dir| files.add(dir, "", true))?;
        let nodes = plan.nodes();
        let mut compilers = BTreeSet::new();
        let mut headers = BTreeSet::new();
        let mut count = 0;
        for entry in nodes.entries.iter().filter(|entry| !entry.taken_back) {
            count += 1;
            // What callbacks have added depends on more than the plan file.
            if entry.status.state != State::Done || entry.spec.definer.is_some() {
                return None;
            }
            let signature = entry.status.signature.as_deref()?;
            match &entry.spec.work {
                Work::Task(task) => {
                    task.inputs.iter().try_for_each(|(_, path)| files.add_file(path, true))?;
                    if let super::node::TaskAction::Command(command) = &task.action {
                        let copies = command
                            .copy_to
                            .iter()
                            .flat_map(|dir| command.outputs.iter().map(move |output| dir.join(output)));
                        copies.map(|copy| files.add_file(&copy, false)).collect::<Option<()>>()?;
                    }
                    files.add_file(&self.cache.layout().result(signature), false)?;
                }
                Work::Module(module) => {
                    sources(module).iter().try_for_each(|path| files.add_file(path, true))?;
                    let lib = self.cache.layout().lib(signature);
                    files.add_file(&lib, false)?;
                    compilers.insert(module.params.build.compiler.first()?.clone());
                    let record = self.cache.record(signature).ok()??;
                    headers.extend(record.inputs.into_iter().map(|input| input.path));
                }
                Work::Remote(_) => return None,
            }
        }
        let path = std::env::var_os("PATH");
        for compiler in compilers {
            let program = find_program(&compiler, path.as_deref(), Path::new("/"))?;
            files.add_file(&program, true)?;
        }
        headers.iter().try_for_each(|header| files.add_file(Path::new(header), true))?;
        Some(files.finish(&self.fingerprint, count))
    }
}

/// Returns the files that the source of a library is read from.
fn sources(module: &ModuleWork) -> Vec<PathBuf> {
    let ModuleSource::Defined { base, code, header, .. } = &module.source else { return Vec::new() };
    let file = |source: &SourceDefinition| match source {
        SourceDefinition::File(path) => Some(base.join(path)),
        _ => None,
    };
    [Some(code), header.as_ref()].into_iter().flatten().filter_map(file).collect()
}

fn fields(stamp: &FileStamp) -> [u64; 4] {
    [stamp.size, stamp.mtime.cast_unsigned(), stamp.ctime.cast_unsigned(), stamp.inode]
}

/// Files with their stamps, by directories.
struct SeenFiles {
    /// Files that others write must not have changed since.
    before: i64,
    dirs: BTreeMap<PathBuf, BTreeMap<String, [u64; 4]>>,
}

impl SeenFiles {
    fn add_file(&mut self, path: &Path, must_be_old: bool) -> Option<()> {
        self.add(path.parent()?, path.file_name()?.to_str()?, must_be_old)
    }

    /// Adds a file. Returns `None` if it is missing or too new.
    fn add(&mut self, dir: &Path, name: &str, must_be_old: bool) -> Option<()> {
        if self.dirs.get(dir).is_some_and(|names| names.contains_key(name)) {
            return Some(());
        }
        let stamp = FileStamp::of(&dir.join(name)).ok()?;
        if must_be_old && stamp.mtime.max(stamp.ctime) >= self.before {
            return None;
        }
        self.dirs.entry(dir.to_owned()).or_default().insert(name.to_owned(), fields(&stamp));
        Some(())
    }

    fn finish(self, fingerprint: &Digest32, nodes: u64) -> Vec<u8> {
        let mut writer = Writer::onto(MAGIC.to_vec());
        writer.bytes(fingerprint);
        writer.u64(nodes);
        writer.u64(self.dirs.len() as u64);
        for (dir, names) in &self.dirs {
            writer.bytes(dir.as_os_str().as_bytes());
            writer.u64(names.len() as u64);
            for (name, stamp) in names {
                writer.bytes(name.as_bytes());
                stamp.iter().for_each(|field| writer.u64(*field));
            }
        }
        writer.finish()
    }
}
