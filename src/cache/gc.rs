//! Eviction: removes the least recently used entries until the cache is below its limits.
//!
//! The time of the last use is the latest of these: that of `atime/<signature>` (see [`super::stats`]); that
//! of a list in `runs/` which has the entry from its latest run (see [`super::runs`]); the time of
//! publication. An entry counts as recently used as the latest of the entries that need it, so none loses a
//! library that it is linked to before it goes itself. These stay in any case, with all that they need:
//! entries that are being built; entries that were published or used within the last minutes, or since the
//! oldest build in progress began.
//!
//! Running programs notice nothing. The library goes first, in one step, so others see a complete entry or
//! none. A program that has loaded it keeps it. A program that has found it and not yet loaded it finds it
//! gone, looks again, and builds.
//!
//! Results of tasks count as entries do, by the times of their files (see [`super::results`]). Nothing is
//! linked to them: a library that was made from one is complete without it. Journals of plans are evicted as
//! lists of runs are, unless a make has written to them within the last minutes.
//!
//! Entries and directories of older versions go whatever the limits are.
//!
//! ```text
//! lease/.collector     held by the program that evicts, so that it is one at a time
//! gc/<host>~<boot>     empty; its time is the last time that this host has looked after a build
//! ```

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{EntryMetadata, FileId, Tree};
use crate::human;
use crate::params::resolved::CacheParams;

use super::lease::{self, Acquire, Lease};
use super::open::cannot;
use super::publish::plain;
use super::record::{self, Tail};
use super::stats::{self, RENEWED};
use super::walk::DependencyWalk;
use super::{Cache, FILE_MODE};

/// Entries that were published or used within this time stay: a program may be about to load them or to link
/// to them. Uses by builds are noted to the second (a hit, to the hour), and builds in progress are found by
/// their leases.
pub(super) const MIN_IDLE: Duration = Duration::from_secs(600);

/// The time after an eviction in which a host does not look again.
const INTERVAL: Duration = Duration::from_secs(300);

/// By how much the times of a build and of a use may seem to be in the wrong order.
const SLACK: Duration = Duration::from_secs(120);

/// The limits of an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The size in bytes, as the disk counts them, that the cache is brought below.
    pub max_size: Option<u64>,
    /// The time for which an entry may be unused.
    pub max_age: Option<Duration>,
    /// Entries that were published or used within this time stay.
    pub min_idle: Duration,
    /// If true, nothing is removed.
    pub dry_run: bool,
    /// If set, only entries and results of these signatures are removed, and no other files.
    pub only: Option<HashSet<String>>,
}

impl Limits {
    /// The limits of these parameters.
    #[must_use]
    pub fn of(params: &CacheParams) -> Self {
        Self {
            max_size: params.max_size,
            max_age: params.max_age,
            min_idle: MIN_IDLE,
            dry_run: false,
            only: None,
        }
    }
}

/// The kind of something that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedKind {
    /// A library, with its header, source and log.
    Entry,
    /// The result of a task.
    Result,
    /// Any other file or folder.
    Other,
}

/// Something that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its kind.
    pub kind: RemovedKind,
    /// The signature; empty if it is neither an entry nor a result.
    pub signature: String,
    /// The library of an entry, else the file or folder.
    pub path: PathBuf,
    /// Bytes, as the disk counts them.
    pub bytes: u64,
    /// The time since it, or an entry that needs it, was last used.
    pub idle: Duration,
}

/// The result of an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Bytes before.
    pub before: u64,
    /// Bytes after, or as they would be.
    pub after: u64,
    /// The number of entries that are left.
    pub kept: usize,
    /// The number of entries and results that were over a limit and are in use.
    pub in_use: usize,
    /// In the order in which it was removed.
    pub removed: Vec<Removed>,
    /// Why something could not be removed.
    pub failures: Vec<String>,
}

/// An entry, file or folder that may be removed.
struct Candidate {
    kind: RemovedKind,
    /// Empty if it is neither an entry nor a result.
    signature: String,
    path: PathBuf,
    bytes: u64,
    /// The file of the library or result.
    id: FileId,
    last_use: SystemTime,
    /// The time of the last run that has used it, by the lists of runs.
    listed: SystemTime,
    needs: Vec<String>,
    /// Of an older version, which no program of this version uses.
    outdated: bool,
}

impl Candidate {
    /// The time of the last use, by this entry's own note or by a list of runs.
    fn last_run(&self) -> SystemTime {
        self.last_use.max(self.listed)
    }
}

impl Cache {
    /// Evicts entries until the cache is within `limits`. Waits up to `patience` for another program that
    /// evicts.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the cache cannot be read or changed, or another program evicts for longer than
    /// `patience`.
    pub fn evict(&self, limits: &Limits, patience: Duration) -> Result<Evicted> {
        self.evict_with(limits, patience, &mut |_, _| {})
    }

    /// Does the same as [`Cache::evict`]. Reports each step to `progress`: how many candidates were looked at, of
    /// how many.
    ///
    /// # Errors
    /// As [`Cache::evict`].
    pub fn evict_with(
        &self,
        limits: &Limits,
        patience: Duration,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evicted> {
        let Some(tree) = self.open()?.map(Arc::new) else { return Ok(Evicted::default()) };
        self.check_trust()?;
        let _collector = if limits.dry_run { None } else { Some(self.collector(&tree, patience)?) };
        let (busy, since) = self.being_built(&tree, !limits.dry_run);
        let recent = SystemTime::now() - since.max(limits.min_idle);
        let mut entries = Vec::new();
        let listed = self.listed_uses(&tree);
        for (signature, path) in self.library_files()? {
            if let Some(mut entry) = self.candidate(&tree, signature, path) {
                entry.listed = listed.get(&entry.signature).copied().unwrap_or(entry.listed);
                entries.push(entry);
            }
        }
        let is_used = |entry: &Candidate| {
            busy.contains(&entry.signature) || (entry.last_run() >= recent && !entry.outdated)
        };
        let (order, kept) = order(&entries, is_used);
        let mut queue: Vec<(SystemTime, &Candidate)> =
            order.iter().map(|(time, at)| (*time, &entries[*at])).collect();
        let results = self.result_candidates(&tree);
        let others = self.other_candidates(&tree, recent);
        queue.extend(results.iter().chain(&others).map(|other| (other.last_use, other)));
        queue.sort_by_key(|(time, _)| *time);

        let mut done =
            Evicted { before: queue.iter().map(|(_, other)| other.bytes).sum(), ..Evicted::default() };
        (done.after, done.kept) = (done.before, entries.len());
        let mut kept: HashSet<String> = kept.into_iter().map(|at| entries[at].signature.clone()).collect();
        kept.extend(results.iter().filter(|result| is_used(result)).map(|result| result.signature.clone()));
        let total = queue.len();
        for (at, (time, candidate)) in queue.into_iter().enumerate() {
            progress(at, total);
            if limits.only.as_ref().is_some_and(|only| !only.contains(&candidate.signature)) {
                kept.extend(candidate.needs.iter().cloned());
                continue;
            }
            let idle = time.elapsed().unwrap_or_default();
            let old = candidate.outdated || limits.max_age.is_some_and(|age| idle > age);
            if !old && limits.max_size.is_none_or(|size| done.after <= size) {
                continue;
            }
            if kept.contains(&candidate.signature) {
                done.in_use += 1;
                kept.extend(candidate.needs.iter().cloned());
                continue;
            }
            let gone = if limits.dry_run { Ok(true) } else { self.remove_candidate(&tree, candidate) };
            match gone {
                Ok(true) => {
                    done.after -= candidate.bytes;
                    let kind = candidate.kind;
                    done.kept -= usize::from(kind == RemovedKind::Entry);
                    let (signature, path) = (candidate.signature.clone(), candidate.path.clone());
                    done.removed.push(Removed { kind, signature, path, bytes: candidate.bytes, idle });
                }
                // Another program has begun to use it since. What it needs comes later in the queue.
                Ok(false) => {
                    done.in_use += 1;
                    kept.extend(candidate.needs.iter().cloned());
                }
                Err(error) => {
                    done.failures.push(error.message().to_owned());
                    kept.extend(candidate.needs.iter().cloned());
                }
            }
        }
        Ok(done)
    }

    /// Evicts after a build if the parameters set a limit and this host has not done so within five minutes.
    /// Logs the result and never fails.
    pub fn evict_if_due(&self) {
        let limits = Limits::of(self.layout().params());
        if limits.max_size.is_none() && limits.max_age.is_none() {
            return;
        }
        let stamp = self.layout().gc_stamp(&stats::host_key());
        if stats::age(&stamp).is_some_and(|age| age < INTERVAL) {
            return;
        }
        let Ok(Some(tree)) = self.open() else { return };
        if tree.touch(&stamp, FILE_MODE).is_err() {
            return;
        }
        match self.evict(&limits, Duration::from_millis(1)) {
            Ok(done) => {
                for failure in &done.failures {
                    log::info!("making room in {}: {failure}", self.layout().root().display());
                }
                if !done.removed.is_empty() {
                    log::info!(
                        "{}: {} removed, {} left",
                        self.layout().root().display(),
                        human::count(done.removed.len(), "thing", "things"),
                        human::size(done.after)
                    );
                }
            }
            Err(error) => log::info!("no room was made: {error}"),
        }
    }

    fn collector(&self, tree: &Arc<Tree>, patience: Duration) -> Result<Lease> {
        let path = self.layout().lease(lease::COLLECTOR);
        let reason = match lease::take(tree, &path, patience, || false) {
            Acquire::Acquired(lease) => return Ok(lease),
            Acquire::Unavailable(reason) => reason,
            Acquire::AlreadyBuilt => String::new(),
        };
        let text = match lease::look(Some(tree), &path) {
            Some(info) if info.living => format!("{} is making room in this cache", info.describe()),
            _ => format!("cannot make room: cannot write {}: {reason}", path.display()),
        };
        Err(Error::new(Kind::Cache, text))
    }

    /// The signatures that are being built, and the time since which builds in progress may have used
    /// entries.
    fn being_built(&self, tree: &Tree, writes: bool) -> (HashSet<String>, Duration) {
        let dir = self.layout().lease("");
        let (mut busy, mut since) = (HashSet::new(), Duration::ZERO);
        for name in tree.list(&dir).unwrap_or_default() {
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let info = lease::look(Some(tree).filter(|_| writes), &dir.join(&name));
            if let Some(info) = info.filter(|info| info.living) {
                // A build notes what it has found in the cache as used, and links to it later.
                since = since.max(info.age.unwrap_or(RENEWED) + SLACK);
                busy.insert(name);
            }
        }
        (busy, since)
    }

    fn candidate(&self, tree: &Tree, signature: String, path: PathBuf) -> Option<Candidate> {
        let file = tree.open_file(&path).ok()??;
        let facts = tree.metadata(&path).ok()??;
        // A library without a record is invalid, and what it needs is unknown.
        let tail = record::read_record_tail(&file).unwrap_or(Tail::Unknown);
        let outdated = tail == Tail::Outdated;
        let needs = tail.record().map_or_else(Vec::new, |record| record.needs().map(str::to_owned).collect());
        let sidecars = self.layout().sidecars(&signature);
        let size = |path: PathBuf| tree.metadata(&path).ok().flatten().map_or(0, |facts| facts.allocated);
        let bytes = facts.allocated + sidecars.into_iter().map(size).sum::<u64>();
        let last_use = self.last_use(tree, &signature, &facts);
        let (kind, listed) = (RemovedKind::Entry, SystemTime::UNIX_EPOCH);
        Some(Candidate { kind, signature, path, bytes, id: facts.id, last_use, listed, needs, outdated })
    }

    /// The results of tasks.
    fn result_candidates(&self, tree: &Tree) -> Vec<Candidate> {
        let own = rustix::process::geteuid().as_raw();
        let candidate = |signature: String| {
            let path = self.layout().result(&signature);
            let facts = tree.metadata(&path).ok()??;
            (facts.is_file() && facts.owner == own).then(|| Candidate {
                kind: RemovedKind::Result,
                signature,
                path,
                bytes: facts.allocated,
                id: facts.id,
                last_use: facts.modified,
                listed: facts.modified,
                needs: Vec::new(),
                outdated: false,
            })
        };
        self.result_signatures().into_iter().filter_map(candidate).collect()
    }

    fn last_use(&self, tree: &Tree, signature: &str, library: &EntryMetadata) -> SystemTime {
        let used = tree.metadata(&self.layout().atime(signature)).ok().flatten();
        used.map_or(library.modified, |used| used.modified.max(library.modified))
    }

    /// Files and folders that belong to no entry: quarantined files, failed builds, precompiled headers,
    /// times of use of entries that are gone, lists of runs, journals that nothing has been added to since
    /// `recent`, directories of older layouts.
    fn other_candidates(&self, tree: &Tree, recent: SystemTime) -> Vec<Candidate> {
        let layout = self.layout();
        let journals = layout.plans();
        let pch = layout.root().join("pch");
        let mut dirs =
            vec![layout.quarantine(), layout.failed(""), layout.atime(""), layout.runs(), pch.clone()];
        dirs.push(journals.clone());
        // Outside the cache, folders of failed builds are not counted.
        let failures = layout.params().fail_dir_root.clone();
        dirs.extend(Some(failures).filter(|dir| tree.holds(dir)));
        let own = rustix::process::geteuid().as_raw();
        let candidate = |path, bytes, last_use, outdated| {
            let (kind, id, needs) = (RemovedKind::Other, FileId::default(), Vec::new());
            let signature = String::new();
            Candidate { kind, signature, path, bytes, id, last_use, listed: last_use, needs, outdated }
        };
        let mut candidates = Vec::new();
        for path in dirs.iter().flat_map(|dir| {
            let names = tree.list(dir).unwrap_or_default();
            names.into_iter().map(|name| dir.join(name)).collect::<Vec<_>>()
        }) {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let Ok(Some(facts)) = tree.metadata(&path) else { continue };
            let in_use = path.parent() == Some(&layout.atime("")) && layout.lib(name).exists()
                || path.parent() == Some(&journals) && facts.modified >= recent;
            let is_folder = layout.is_failure(&path) || path.parent() == Some(&pch);
            let expected = if is_folder { facts.is_dir() } else { facts.is_file() };
            let ours = layout.names(&path) || layout.is_failure(&path);
            if name.starts_with('.') || facts.owner != own || in_use || !expected || !ours {
                continue;
            }
            let bytes = facts.allocated + if is_folder { size_below(tree, &path) } else { 0 };
            candidates.push(candidate(path, bytes, facts.modified, false));
        }
        candidates.extend(self.old_dirs(tree).into_iter().map(|(dir, content)| {
            let size = |path: &PathBuf| {
                let facts = tree.metadata(path).ok().flatten();
                facts.map_or(0, |facts| facts.allocated) + size_below(tree, path)
            };
            let modified = tree.metadata(&dir).ok().flatten().map_or(SystemTime::UNIX_EPOCH, |f| f.modified);
            candidate(dir, content.iter().map(size).sum(), modified, true)
        }));
        candidates
    }

    /// Removes the entry of `signature` if an older version has written it; false if it is another one, or in
    /// use.
    pub(super) fn remove_outdated(&self, tree: &Arc<Tree>, signature: &str) -> Result<bool> {
        let entry = self.candidate(tree, signature.to_owned(), self.layout().lib(signature));
        entry.filter(|entry| entry.outdated).map_or(Ok(false), |entry| self.remove_candidate(tree, &entry))
    }

    /// Removes a candidate; false if it is in use.
    fn remove_candidate(&self, tree: &Arc<Tree>, candidate: &Candidate) -> Result<bool> {
        let failed = |error: io::Error| cannot("cannot remove", &candidate.path, &error);
        if candidate.kind == RemovedKind::Other {
            let path = &candidate.path;
            let removed =
                if candidate.outdated { self.remove_old_dir(tree, path) } else { tree.remove_all(path) };
            return removed.map(|_| true).map_err(failed);
        }
        let signature = &candidate.signature;
        // A program that is building it now is left alone; one that comes later waits.
        let lease = lease::take(tree, &self.layout().lease(signature), Duration::from_millis(1), || false);
        let Acquire::Acquired(_lease) = lease else { return Ok(false) };
        let Some(facts) = tree.metadata(&candidate.path).map_err(failed)? else { return Ok(true) };
        let is_entry = candidate.kind == RemovedKind::Entry;
        let last_use = if is_entry { self.last_use(tree, signature, &facts) } else { facts.modified };
        if facts.id != candidate.id || last_use != candidate.last_use {
            return Ok(false);
        }
        let dir = candidate.path.parent().unwrap_or(self.layout().root());
        let Some(folder) = tree.enter(dir, false).map_err(failed)? else { return Ok(true) };
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = dir.join(own.name());
        if !tree.rename(&candidate.path, &staged).map_err(failed)? {
            return Ok(true);
        }
        // A rank that receives a library publishes it without a lease.
        let moved = tree.metadata(&staged).map_err(failed)?;
        if moved.is_none_or(|moved| moved.id != candidate.id) && tree.link(&staged, &candidate.path).is_ok() {
            return Ok(false);
        }
        drop(own);
        if !is_entry {
            return Ok(true);
        }
        let marker = self.layout().atime(signature);
        for path in self.layout().sidecars(signature).into_iter().chain([marker]) {
            if tree.metadata(&candidate.path).is_ok_and(|facts| facts.is_some()) {
                break;
            }
            if plain(tree, &path)? {
                tree.remove(&path).map_err(|error| cannot("cannot remove", &path, &error))?;
            }
        }
        Ok(true)
    }
}

/// The bytes of the disk that the files in a folder take.
fn size_below(tree: &Tree, dir: &Path) -> u64 {
    let names = tree.list(dir).unwrap_or_default();
    let size = |name| {
        let path = dir.join(name);
        let facts = tree.metadata(&path).ok()??;
        Some(facts.allocated + if facts.is_dir() { size_below(tree, &path) } else { 0 })
    };
    names.into_iter().filter_map(size).sum()
}

/// The order in which entries may be removed, each before the entries that it needs, with the time at which
/// it or an entry that needs it was last used; and the entries that stay because `stays` is true of one that
/// needs them.
fn order(
    entries: &[Candidate],
    stays: impl Fn(&Candidate) -> bool,
) -> (Vec<(SystemTime, usize)>, HashSet<usize>) {
    let by_signature: HashMap<&str, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.signature.as_str(), at)).collect();
    let stays: Vec<bool> = entries.iter().map(stays).collect();
    let mut roots: Vec<usize> = (0..entries.len()).collect();
    roots.sort_by_key(|at| std::cmp::Reverse((stays[*at], entries[*at].last_run())));
    let (mut walk, mut kept, mut order) = (DependencyWalk::default(), HashSet::new(), Vec::new());
    let open = |signature: &str| {
        let at = by_signature[signature];
        let needs = entries[at].needs.iter().filter(|needed| by_signature.contains_key(needed.as_str()));
        Ok::<_, ()>((at, needs.cloned().collect()))
    };
    // Each is reached first from the most recently used of the entries that need it.
    for root in roots {
        for (_, at) in walk.visit(&entries[root].signature, open).unwrap_or_default() {
            order.push((entries[root].last_run(), at));
            if stays[root] {
                kept.insert(at);
            }
        }
    }
    order.reverse();
    (order, kept)
}

#[cfg(test)]
mod tests;
