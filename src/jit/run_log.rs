//! The entries that this process uses, for the lists of runs in the cache.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

use crate::cache::Cache;
use crate::cache::runs::{RunKey, UsedEntries};
use crate::codec::Writer;
use crate::sync::{lock, try_lock};

/// The number of new entries at which a list is written before the program ends; also at each power of two
/// above it. A program that is killed leaves the last of these.
const FIRST_WRITE: usize = 8;

/// The runs of this process, by cache and key.
#[derive(Default)]
pub(super) struct RunLogs(Mutex<Vec<RunLog>>);

struct RunLog {
    /// A forked process writes nothing.
    process: u32,
    cache: Cache,
    key: RunKey,
    before: UsedEntries,
    /// In the order of their first use.
    used: Vec<String>,
    known: HashSet<String>,
    /// The number of used entries that are not in `before`.
    new: usize,
    /// Is there no pack of it, or one that is not right any more?
    wants_pack: bool,
}

impl RunLogs {
    /// Begins a run, if it has not begun. `before` is what earlier runs have used.
    pub(super) fn begin(&self, cache: &Cache, key: &RunKey, before: &UsedEntries) {
        let mut logs = lock(&self.0);
        if !logs.iter().any(|log| log.is_of(cache, key)) {
            let (cache, key, before) = (cache.clone(), key.clone(), before.clone());
            let (process, used, known) = (std::process::id(), Vec::new(), HashSet::new());
            logs.push(RunLog { process, cache, key, before, used, known, new: 0, wants_pack: false });
        }
    }

    /// Lets the end of a run pack what is in its list.
    pub(super) fn want_pack(&self, cache: &Cache, key: &RunKey) {
        let mut logs = lock(&self.0);
        if let Some(log) = logs.iter_mut().find(|log| log.is_of(cache, key)) {
            log.wants_pack = true;
        }
    }

    /// Notes that a run has used an entry. Writes a list if there are many new ones.
    pub(super) fn note(&self, cache: &Cache, key: &RunKey, signature: &str) {
        let mut logs = lock(&self.0);
        let Some(log) = logs.iter_mut().find(|log| log.is_of(cache, key)) else { return };
        if !log.known.insert(signature.to_owned()) {
            return;
        }
        log.used.push(signature.to_owned());
        if !log.before.signatures().any(|before| before == signature) {
            log.new += 1;
            if log.new >= FIRST_WRITE && log.new.is_power_of_two() {
                log.write();
            }
        }
    }

    /// Writes the lists and packs of all runs. Waits for no other thread.
    pub(super) fn write_all(&self) {
        let Some(logs) = try_lock(&self.0) else { return };
        logs.iter().filter(|log| log.new > 0).for_each(RunLog::write);
        logs.iter().filter(|log| log.new > 0 || log.wants_pack).for_each(RunLog::pack);
    }
}

impl RunLog {
    fn is_of(&self, cache: &Cache, key: &RunKey) -> bool {
        self.cache.layout().root() == cache.layout().root() && self.key == *key
    }

    fn write(&self) {
        if self.process != std::process::id() {
            return;
        }
        if let Err(error) = self.cache.note_run(&self.key, &self.before, &self.used) {
            log::info!("the entries that this run uses are not written down: {error}");
        }
    }

    fn pack(&self) {
        if self.process != std::process::id() {
            return;
        }
        if let Err(error) = self.cache.pack_run(&self.key) {
            log::info!("the libraries that this run uses are not packed: {error}");
        }
    }
}

/// Returns the name of this program: of its executable and, for an interpreter, of its script.
pub(super) fn program_name() -> Vec<u8> {
    let file_name = |path: &Path| path.file_name().map_or(Vec::new(), |name| name.as_bytes().to_vec());
    let executable = std::env::current_exe().map_or(Vec::new(), |path| file_name(&path));
    name_of(executable, || fs::read("/proc/self/cmdline").unwrap_or_default())
}

/// The beginnings of the names of interpreters.
const INTERPRETERS: [&[u8]; 6] = [b"python", b"pypy", b"julia", b"ruby", b"perl", b"octave"];

fn name_of(executable: Vec<u8>, command: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::default();
    if INTERPRETERS.iter().any(|name| executable.starts_with(name)) {
        // The first argument that is no option; the module after `-m`.
        let command = command();
        let mut words = command.split(|byte| *byte == 0).skip(1);
        let script = words.find(|word| !word.is_empty() && !word.starts_with(b"-")).unwrap_or_default();
        writer.bytes(script.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    }
    writer.bytes(&executable);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_a_program() {
        let python = |command: &[u8]| name_of(b"python3.12".to_vec(), || command.to_vec());
        let one = python(b"python3\0/home/me/poisson.py\0mesh.xml\0");
        assert_eq!(one, python(b"python3\0-u\0poisson.py\0other.xml\0"));
        assert_ne!(one, python(b"python3\0stokes.py\0"));
        assert_ne!(one, python(b"python3\0"));
        let plain = |command: &[u8]| name_of(b"poisson".to_vec(), || command.to_vec());
        assert_eq!(plain(b"./poisson\0mesh.xml\0"), plain(b"poisson\0"));
    }
}
