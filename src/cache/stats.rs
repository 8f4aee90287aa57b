//! Statistics of a cache, and the time of the last use of each entry. They are for people and for eviction.
//! Nothing depends on them and nothing waits for them. If they cannot be written, they are not.
//!
//! ```text
//! stats/<host>~<boot>.jsonl           appended to, by all processes of one host since its boot
//! stats/<host>~<boot>~<part>.jsonl    earlier lines, moved away when the file was long
//! atime/<signature>                   empty; its time is that of the last use, to the hour
//!
//! file   := line*
//! line   := JSON "\n"                 written by one call; other lines than those of version 1 are ignored
//! JSON   := {"v": 1, "t": seconds since 1970, "e": event, ...}
//! event  := "hit"       "s" signature, "ms" that the compiler took: found in the cache directory
//!         | "build"     "s" signature, "ms": was missing and was built
//!         | "failure"   "s" signature: was missing and could not be built
//!         | "received"  "s" signature: came from another rank
//!         | "waited"    "s" signature: was missing, and another program built it meanwhile
//!         | "memory"    only "m" counts
//!         | "sum"       "sum" counts by host, "since" seconds since 1970, "of" names of files
//! each   may have "m": calls that were answered from memory since the last line of the process
//! ```
//! Each host writes its own file, so none waits for another, and network disks need not append in order.
//! Lines are appended without a lock: counters that are read, increased and written back would need one, and
//! a stopped process that holds it, or a network disk without locks, would make others wait or lose counts. A
//! long file is moved away, and summed up when the next one is long: no process appends to it any more. A sum
//! names the files that it stands for; a file that is named in a sum is not counted again. Hits are written a
//! little later, see the module `buffer`.

#![forbid(unsafe_code)]

mod buffer;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::fsutil::Tree;
use crate::owner;

use super::open::cannot;
use super::{Cache, FILE_MODE, read, verified};

pub use buffer::write_all;

/// The size at which a file is moved away: some hundred lines.
const LONG: u64 = 64 << 10;

/// The largest file that is read.
const LONGEST: usize = 64 << 20;

/// The time for which a file that was moved away must be unchanged before it is summed up. Processes that had
/// it open have written by then.
const SETTLED: Duration = Duration::from_secs(10);

/// The number of names that a sum takes over from others.
const NAMES: usize = 16;

/// The age at which the time of the last use is renewed.
pub const RENEWED: Duration = Duration::from_secs(3600);

const VERSION: u32 = 1;

/// The counters. Additions saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Calls that were answered from memory and have been written.
    pub memory_hits: u64,
    /// Calls for which the library was in the cache directory.
    pub disk_hits: u64,
    /// Calls that built.
    pub builds: u64,
    /// Calls that failed to build.
    pub failures: u64,
    /// Libraries that came from another rank.
    pub received: u64,
    /// Calls for which another program built.
    pub waited: u64,
    /// Milliseconds that compilers took.
    pub compiling_ms: u64,
    /// Milliseconds that compilers had taken for the libraries that were found in the cache directory.
    pub saved_ms: u64,
}

impl Counts {
    /// Calls for which the library was not in the cache directory.
    #[must_use]
    pub fn misses(&self) -> u64 {
        [self.failures, self.received, self.waited].iter().fold(self.builds, |sum, n| sum.saturating_add(*n))
    }

    /// Adds other counters.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.memory_hits, other.memory_hits),
            (&mut self.disk_hits, other.disk_hits),
            (&mut self.builds, other.builds),
            (&mut self.failures, other.failures),
            (&mut self.received, other.received),
            (&mut self.waited, other.waited),
            (&mut self.compiling_ms, other.compiling_ms),
            (&mut self.saved_ms, other.saved_ms),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The library was in the cache directory.
    Hit,
    /// The call built it.
    Build,
    /// The build failed.
    Failure,
    /// It came from another rank.
    Received,
    /// Another program built it.
    Waited,
    /// Calls were answered from memory.
    Memory,
    /// The sum of files that have been removed.
    Sum,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    v: u32,
    t: u64,
    e: Event,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    s: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    ms: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    m: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    since: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sum: BTreeMap<String, Counts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    of: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Line {
    fn new(event: Event, signature: &str, ms: u64, memory: u64) -> Self {
        let (sum, of) = (BTreeMap::new(), Vec::new());
        let s = signature.to_owned();
        Self { v: VERSION, t: now(), e: event, s, ms, m: memory, since: 0, sum, of }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { memory_hits: self.m, ..Counts::default() };
        match self.e {
            Event::Hit => (counts.disk_hits, counts.saved_ms) = (1, self.ms),
            Event::Build => (counts.builds, counts.compiling_ms) = (1, self.ms),
            Event::Failure => counts.failures = 1,
            Event::Received => counts.received = 1,
            Event::Waited => counts.waited = 1,
            Event::Memory | Event::Sum => {}
        }
        counts
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a line consists of strings and numbers");
        bytes.push(b'\n');
        bytes
    }
}

/// Reads the lines of a file, and counts those that are invalid.
fn parse(data: &[u8]) -> (Vec<Line>, u64) {
    let (mut lines, mut torn) = (Vec::new(), 0);
    for text in data.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        match line(text) {
            Some((line, whole)) => {
                lines.push(line);
                torn += u64::from(!whole);
            }
            None => torn += 1,
        }
    }
    (lines, torn)
}

/// Reads a line, even after the beginning of a torn one; false if there was such a beginning.
fn line(text: &[u8]) -> Option<(Line, bool)> {
    const BEGIN: &[u8] = br#"{"v":"#;
    let parse = |text: &[u8]| serde_json::from_slice::<Line>(text).ok().filter(|line| line.v == VERSION);
    if let Some(line) = parse(text) {
        return Some((line, true));
    }
    let at = text.windows(BEGIN.len()).rposition(|window| window == BEGIN).filter(|at| *at > 0)?;
    parse(&text[at..]).map(|line| (line, false))
}

/// The statistics of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The counters of each host.
    pub hosts: BTreeMap<String, Counts>,
    /// Seconds since 1970 of the first event; 0 if there is none.
    pub since: u64,
    /// The number of lines that could not be read.
    pub torn: u64,
}

impl Stats {
    /// Adds up all hosts.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.hosts.values().for_each(|counts| total.add(counts));
        total
    }

    fn begin(&mut self, time: u64) {
        if time > 0 && (self.since == 0 || time < self.since) {
            self.since = time;
        }
    }

    /// Adds the lines of a host. Sums of files in `summed` are ignored.
    fn merge(&mut self, host: &str, lines: &[Line], summed: &mut HashSet<String>) {
        for line in lines {
            if line.e == Event::Sum {
                // The same file, summed up by two processes at once.
                let known = line.of.first().is_some_and(|name| summed.contains(name));
                summed.extend(line.of.iter().cloned());
                if known {
                    continue;
                }
                for (host, counts) in &line.sum {
                    self.hosts.entry(host.clone()).or_default().add(counts);
                }
                self.begin(line.since);
            }
            let counts = line.counts();
            if counts != Counts::default() {
                self.hosts.entry(host.to_owned()).or_default().add(&counts);
                self.begin(line.t);
            }
        }
    }
}

/// The memory hits of a process that have not been written.
#[derive(Debug, Default)]
pub struct HitCounter {
    memory: [Shard; SHARDS],
}

/// The number of threads that count without waiting for each other.
const SHARDS: usize = 16;

/// A counter in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

impl HitCounter {
    /// Counts a call that was answered from memory. Costs no system call.
    pub fn memory_hit(&self) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        // A thread that is ending may use any.
        let own = OWN.try_with(|own| *own).unwrap_or_default();
        self.memory[own].0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the hits since the last call, and resets them.
    #[must_use]
    pub fn take(&self) -> u64 {
        // Most often the counter is 0, and then it is not written.
        let take = |shard: &Shard| match shard.0.load(Ordering::Relaxed) {
            0 => 0,
            _ => shard.0.swap(0, Ordering::Relaxed),
        };
        let count = self.memory.iter().map(take).sum();
        // A forked process has a copy of the hits of its parent, which the parent writes.
        if count > 0 && buffer::is_inherited() { 0 } else { count }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The time since the last change of a file; 0 if that is in the future of this clock. `None` without a file.
pub(super) fn age(path: &Path) -> Option<Duration> {
    let modified = path.symlink_metadata().and_then(|facts| facts.modified()).ok()?;
    Some(modified.elapsed().unwrap_or_default())
}

/// The name and boot of this host, as a part of file names.
pub(super) fn host_key() -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let host: String = crate::host_name().chars().map(safe).take(64).collect();
    format!("{host}~{}", owner::boot())
}

/// The host in the name of a file of counters.
fn host_of(name: &str) -> &str {
    name.split('~').next().unwrap_or_default()
}

impl Cache {
    /// Counts an event and memory hits.
    pub fn count(&self, event: Event, signature: &str, milliseconds: u64, memory: u64) {
        if self.layout().params().stats {
            let mut lines = buffer::take(self);
            buffer::set_last(self);
            lines.push(Line::new(event, signature, milliseconds, memory));
            self.write_or_log(&lines);
        }
    }

    /// Counts a hit and memory hits a little later: see [`write_all`].
    pub fn count_later(&self, event: Event, signature: &str, milliseconds: u64, memory: u64) {
        if self.layout().params().stats {
            buffer::push(self, Line::new(event, signature, milliseconds, memory));
        }
    }

    /// Writes lines. A failure is only logged, because nothing depends on counters.
    fn write_or_log(&self, lines: &[Line]) {
        if let Err(error) = self.write(lines) {
            log::debug!("not counted: {error}");
        }
    }

    fn write(&self, lines: &[Line]) -> std::io::Result<()> {
        let key = host_key();
        let path = self.layout().stats_file(&key);
        let bytes: Vec<u8> = lines.iter().flat_map(Line::to_bytes).collect();
        // A cache directory that was removed is not made again.
        let Some(tree) = self.open().map_err(|error| std::io::Error::other(error.to_string()))? else {
            return Ok(());
        };
        if tree.append(&path, &bytes, FILE_MODE)? >= LONG {
            self.compact(&tree, &key, &path)?;
        }
        Ok(())
    }

    /// Sums up the files that this host has moved away before, and moves away the present one.
    fn compact(&self, tree: &Tree, key: &str, path: &Path) -> std::io::Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let before = self.stats_files();
        let part = self.layout().stats_file(&format!("{key}~{time:x}-{}", std::process::id()));
        if !tree.rename(path, &part)? {
            return Ok(());
        }
        let own = |name: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('~'));
        let settled = |path: &Path| age(path).is_some_and(|age| age >= SETTLED);
        for (name, old) in before.iter().filter(|(name, path)| own(name) && settled(path)) {
            let Ok(Some(data)) = tree.read(old, LONGEST as u64) else { continue };
            let (lines, _) = parse(&data);
            let mut usage = Stats::default();
            let mut names = HashSet::new();
            usage.merge(host_of(name), &lines, &mut names);
            // The file itself comes first, so that a second sum of it is recognised.
            let carried = lines.iter().rev().flat_map(|line| &line.of).take(NAMES).cloned();
            let mut sum = Line::new(Event::Sum, "", 0, 0);
            (sum.since, sum.sum) = (usage.since, usage.hosts);
            sum.of = [name.clone()].into_iter().chain(carried).collect();
            tree.append(path, &sum.to_bytes(), FILE_MODE)?;
            tree.remove(old)?;
        }
        Ok(())
    }

    fn flush_stats(&self) {
        let lines = buffer::take(self);
        if !lines.is_empty() {
            self.write_or_log(&lines);
        }
    }

    /// The names and paths of the files of counters, sorted.
    fn stats_files(&self) -> Vec<(String, PathBuf)> {
        let mut files: Vec<_> = std::fs::read_dir(self.layout().stats())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
            .filter_map(|(name, path)| Some((name.strip_suffix(".jsonl")?.to_owned(), path)))
            .collect();
        files.sort();
        files
    }

    /// Reads the statistics of all hosts. Files that cannot be read are left out.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.flush_stats();
        let mut usage = Stats::default();
        let mut files = Vec::new();
        for (name, path) in self.stats_files() {
            match read(&path) {
                Ok(Some(data)) if data.len() <= LONGEST => {
                    let (lines, torn) = parse(&data);
                    usage.torn = usage.torn.saturating_add(torn);
                    files.push((name, lines));
                }
                Ok(None) => {}
                Ok(Some(_)) => log::warn!("{} is not counted: it is too long", path.display()),
                Err(error) => log::warn!("not counted: {error}"),
            }
        }
        let standing_for: HashSet<String> =
            files.iter().flat_map(|(_, lines)| lines).flat_map(|line| line.of.iter().cloned()).collect();
        let mut summed = HashSet::new();
        for (name, lines) in files.iter().filter(|(name, _)| !standing_for.contains(name)) {
            usage.merge(host_of(name), lines, &mut summed);
        }
        usage
    }

    /// Removes all statistics. Returns the number of files that it has removed.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if one cannot be removed; as [`Cache::open`].
    pub fn reset_stats(&self) -> Result<usize> {
        let Some(tree) = self.open()? else { return Ok(0) };
        self.flush_stats();
        let files = self.files(&tree, &self.layout().stats());
        for (path, _) in &files {
            tree.remove(path).map_err(|error| cannot("cannot remove", path, &error))?;
        }
        Ok(files.len())
    }

    /// Sets the time of the last use of an entry, unless it is newer than `renewed`; then this is one system
    /// call, or none if this process knows it. Only eviction needs it.
    pub fn note_use(&self, signature: &str, renewed: Duration) {
        let library = self.layout().lib(signature);
        if verified::is_used_since(&library, renewed) {
            return;
        }
        let path = self.layout().atime(signature);
        let now = Instant::now();
        let age = age(&path).filter(|age| *age < renewed);
        if let Some(used) = now.checked_sub(age.unwrap_or_default()) {
            verified::set_used(&library, used);
        }
        if age.is_some() {
            return;
        }
        let touched = self.open().and_then(|tree| match tree {
            Some(tree) => tree.touch(&path, FILE_MODE).map_err(|error| cannot("cannot write", &path, &error)),
            None => Ok(()),
        });
        touched.unwrap_or_else(|error| log::debug!("the time of use is not written: {error}"));
    }
}

#[cfg(test)]
mod tests;
