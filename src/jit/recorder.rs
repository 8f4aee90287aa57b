//! Records the calls of a program into a plan file: each entry that a call has returned becomes a module,
//! with what it is linked to.
//!
//! ```text
//! file   := comment* table*      the comments only if the recorder has made the file
//! table  := "\n[[module]]\n" 'label = "' signature '"\n' ...      in the form of plan files
//! ```
//! Tables are appended by one write, so the file is a plan at every moment. Several ranks and programs may
//! append to one file: each locks it, reads what others have appended, and leaves out what is there. If the
//! file system has no locks, an entry may be there twice, which readers accept.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::cache::Cache;
use crate::error::{Error, Kind, Result, catch};
use crate::logging;
use crate::params::resolved::Resolved;
use crate::process::environment;
use crate::signals::without_signals;
use crate::sync::lock;
use crate::toml_text::{key, list, string, value};

use super::plan_entry::PlanEntry;

/// The environment variable that names the file.
const VARIABLE: &str = "DIJITSO_RECORD";

/// The first line of a file that the recorder has made.
const HEAD: &str = "# Libraries that programs have used, recorded by dijitso.";

/// Text of which a plan file has one.
const MARKS: [&str; 5] = [HEAD, "[[module]]", "[[task]]", "[plan", "[params"];

/// Begins the line of a label.
const LABEL: &str = "label = \"";

/// Time to wait for the lock of another program. Locks save space, no more.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Records the calls of a program into a file.
pub(super) struct Recorder {
    path: PathBuf,
    state: Mutex<RecorderState>,
}

#[derive(Default)]
struct RecorderState {
    /// The signatures that were recorded, by this process or as far as it knows by others.
    recorded: HashSet<String>,
    /// The length of the file that was read.
    read: u64,
    /// True after a failure: nothing more is recorded.
    failed: bool,
    /// True after the warning that a source is not kept.
    warned: bool,
}

impl Recorder {
    /// Makes a recorder, if the environment of this process asks for one.
    pub(super) fn of_environment() -> Option<Self> {
        environment::variable(VARIABLE).map(|path| Self::new(Path::new(&path)))
    }

    /// Makes a recorder that appends to a file. The path stays what it is if the host changes its directory.
    pub(super) fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, state: Mutex::default() }
    }

    /// Records an entry that a call with these parameters has returned. A failure is a warning, once.
    pub(super) fn record(&self, cache: &Cache, params: &Resolved, signature: &str) {
        let mut state = lock(&self.state);
        if state.failed || state.recorded.contains(signature) {
            return;
        }
        let recorded = catch("recording a call", || {
            let mut entries = closure(cache, signature, &state.recorded)?;
            if let Some(asked) = entries.last_mut() {
                // What the caller has set says more than what it has become.
                asked.settings = changed_settings(params);
            }
            self.append(cache.layout().root(), &entries, &mut state)?;
            Ok(entries.iter().find(|entry| !entry.has_source).map(|entry| entry.signature.clone()))
        });
        let _voice = logging::speak(true);
        match recorded {
            Ok(Some(signature)) if !state.warned => {
                state.warned = true;
                log::warn!(
                    "the plan {} needs the source of {signature}, which is not kept: set cache.src_storage = \
                     compress",
                    self.path.display()
                );
            }
            Ok(_) => {}
            Err(error) => {
                state.failed = true;
                log::warn!(
                    "calls are not recorded in {} ({VARIABLE}) any more: {error}",
                    self.path.display()
                );
            }
        }
    }

    /// Appends the entries that are not in the file; their sources are in the cache `root`.
    fn append(&self, root: &Path, entries: &[PlanEntry], state: &mut RecorderState) -> Result<()> {
        let failed = |error: io::Error| Error::file("cannot write", &self.path, &error);
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default())
            .open(&self.path)
            .map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(Error::new(Kind::Cache, "it is no plain file"));
        }
        let is_locked = take_lock(&file);
        let ends_a_line = read_tail(&mut file, state).map_err(failed)?;
        let new = entries.iter().filter(|entry| !state.recorded.contains(&entry.signature));
        let mut text = if state.read == 0 { self.head(root) } else { String::new() };
        if !ends_a_line {
            text.push('\n');
        }
        let tables: Vec<String> = new.map(table).collect();
        text.extend(tables.iter().map(String::as_str));
        if !tables.is_empty() {
            let length = file.metadata().map_err(failed)?.len();
            let written = without_signals(|| file.write(text.as_bytes())).map_err(failed)?;
            if written < text.len() {
                if is_locked {
                    // Nobody has appended meanwhile.
                    without_signals(|| file.set_len(length)).map_err(failed)?;
                }
                return Err(failed(io::Error::new(io::ErrorKind::StorageFull, "no space for all of it")));
            }
        }
        state.recorded.extend(entries.iter().map(|entry| entry.signature.clone()));
        Ok(())
    }
}

impl Recorder {
    /// Returns the lines that begin a new file.
    fn head(&self, root: &Path) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = shell_words::quote(&file);
        // A path may have a line break.
        let root = root.display().to_string().escape_debug().to_string();
        format!(
            "{HEAD}\n# Their sources are in the cache {root}. To build them before the next run, also with\n\
             # other flags or another compiler:\n#     dijitso make {}\n",
            file.escape_debug()
        )
    }
}

/// Reads an entry and all that it needs, without those that are `known`; what is needed comes first.
fn closure(cache: &Cache, signature: &str, known: &HashSet<String>) -> Result<Vec<PlanEntry>> {
    let read = |signature: &str| {
        let missing = || {
            let text = format!("{signature} was removed from the cache {}", cache.layout().root().display());
            Error::new(Kind::Cache, text)
        };
        PlanEntry::read(cache, signature)?.ok_or_else(missing)
    };
    let mut seen = HashSet::from([signature.to_owned()]);
    // Each entry with the number of its needs that were looked at.
    let mut path = vec![(read(signature)?, 0)];
    let mut entries = Vec::new();
    while let Some((entry, looked)) = path.last_mut() {
        let next = entry.before().nth(*looked).cloned();
        *looked += 1;
        match next {
            Some(needed) if known.contains(&needed) || !seen.insert(needed.clone()) => {}
            Some(needed) => path.push((read(&needed)?, 0)),
            None => entries.extend(path.pop().map(|(entry, _)| entry)),
        }
    }
    Ok(entries)
}

/// Returns the parameters of a call that are not the defaults and change what is built.
fn changed_settings(params: &Resolved) -> BTreeMap<String, String> {
    params.compared.changed_settings()
}

/// Waits for the lock, but not for long.
fn take_lock(file: &File) -> bool {
    let begin = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return true,
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => return false,
        }
    }
}

/// Reads what was appended since the last time, and notes the labels. Returns true if the file ends with a
/// line, or is empty.
fn read_tail(file: &mut File, state: &mut RecorderState) -> io::Result<bool> {
    let length = file.metadata()?.len();
    // Somebody may have replaced the file.
    let from = if length < state.read { 0 } else { state.read };
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    let tail_of_file: &File = file;
    tail_of_file.take(length - from).read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    if from == 0 && !tail.is_empty() && !MARKS.iter().any(|mark| text.contains(mark)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is there already and is no plan"));
    }
    for line in text.lines() {
        let label = line.strip_prefix(LABEL).and_then(|rest| rest.strip_suffix('"'));
        state.recorded.extend(label.map(str::to_owned));
    }
    state.read = length;
    Ok(tail.last().is_none_or(|byte| *byte == b'\n'))
}

/// Returns an entry as a module of a plan file.
fn table(entry: &PlanEntry) -> String {
    let signature = string(&entry.signature);
    let mut text =
        format!("\n[[module]]\nlabel = {signature}\nname = {}\nentry = {signature}\n", string(&entry.name));
    let mut add = |name: &str, shown: &str| text.push_str(&format!("{name} = {shown}\n"));
    if entry.has_header {
        add("header", &format!("{{ entry = {signature} }}"));
    }
    if !entry.keyed_by_text {
        add("key", "\"name\"");
    }
    for (name, labels) in [("needs", &entry.needs), ("after", &entry.after)] {
        if !labels.is_empty() {
            add(name, &list(labels));
        }
    }
    for (name, setting) in &entry.settings {
        let parts: Vec<String> = name.split('.').map(key).collect();
        add(&format!("params.{}", parts.join(".")), &string(setting));
    }
    if !entry.generator.is_empty() {
        let json: Option<serde_json::Value> = serde_json::from_str(&entry.generator).ok();
        // A string is JSON: for what TOML does not have.
        let table = json.filter(|json| !json.is_string()).and_then(|json| value(&json));
        add("generator", &table.unwrap_or_else(|| string(&entry.generator)));
    }
    text
}
