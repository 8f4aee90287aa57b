//! Making room: the least recently used entries go, until the cache is below its limits.
//!
//! What is used is told by `atime/<signature>` (see [`super::usage`]) and by the time of publication. An entry is as
//! recently used as the most recent of those that need it, so that none loses what it is linked to before it goes
//! itself. Kept in any case are: what somebody is building just now, what has been published or used within the last
//! minutes, or since the oldest build under way began, and all that these need.
//!
//! Beside running programs: the library goes first, in one step, so that others see a whole entry or none. Who has
//! loaded it keeps it. Who has found it and not yet loaded it finds it gone, looks again, and builds.
//!
//! ```text
//! lease/.collector     held by whoever makes room, so that it is one at a time
//! gc/<host>~<boot>     empty; its time is that of the last time this host has looked after a build
//! ```

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{EntryMetadata, FileId, Tree};
use crate::human;
use crate::params::resolved::CacheParams;

use super::layout::Category;
use super::lease::{self, Acquire, Lease};
use super::open::cannot;
use super::publish::plain;
use super::stats::{self, RENEWED};
use super::{Cache, FILE_MODE, record};

/// What was published or used since then is not removed: somebody may be about to load it or to link to it. What
/// builds have found is noted to the second (a hit, to the hour), and those that are under way are seen in time.
pub(super) const MIN_IDLE: Duration = Duration::from_secs(600);

/// How long after a build its host does not look again.
const INTERVAL: Duration = Duration::from_secs(300);

/// By how much the times of a build and of a use may seem to be in the wrong order.
const SLACK: Duration = Duration::from_secs(120);

/// What is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, as the disk counts them, that the cache is brought below.
    pub max_size: Option<u64>,
    /// How long an entry may go unused.
    pub max_age: Option<Duration>,
    /// Entries that were published or used since then stay.
    pub spared: Duration,
    /// Whether it is only said what would be removed.
    pub dry_run: bool,
}

impl Limits {
    /// The limits of these parameters.
    #[must_use]
    pub fn of(params: &CacheParams) -> Self {
        Self { max_size: params.max_size, max_age: params.max_age, spared: MIN_IDLE, dry_run: false }
    }
}

/// Something that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The signature; empty for what belongs to no entry.
    pub signature: String,
    /// The library; a file or folder else.
    pub path: PathBuf,
    /// Bytes, as the disk counts them.
    pub bytes: u64,
    /// For how long it has not been used, nor anything that needs it.
    pub idle: Duration,
}

/// What came of making room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes before and after.
    pub before: u64,
    /// Bytes after, or as they would be.
    pub after: u64,
    /// Entries that are left.
    pub kept: usize,
    /// Entries that were over a limit and were kept because they are in use.
    pub spared: usize,
    /// In the order in which it was removed.
    pub removed: Vec<Removed>,
    /// What could not be removed, and why.
    pub failures: Vec<String>,
}

/// Something that may go.
struct Candidate {
    /// Empty for what belongs to no entry.
    signature: String,
    path: PathBuf,
    bytes: u64,
    /// The file of the library.
    id: FileId,
    last_use: SystemTime,
    needs: Vec<String>,
}

impl Cache {
    /// Makes room. `patience` is how long to wait for somebody else who does.
    ///
    /// # Errors
    /// [`Kind::Cache`] when the cache cannot be looked at or changed, or somebody else makes room for so long.
    pub fn evict(&self, limits: &Limits, patience: Duration) -> Result<Collected> {
        let Some(tree) = self.open()?.map(Arc::new) else { return Ok(Collected::default()) };
        self.check_owner()?;
        let _collector = if limits.dry_run { None } else { Some(self.collector(&tree, patience)?) };
        let (busy, since) = self.in_use(&tree, !limits.dry_run);
        let recent = SystemTime::now() - since.max(limits.spared);
        let mut items = Vec::new();
        for (signature, path) in self.library_files()? {
            items.extend(self.item(&tree, signature, path));
        }
        let (order, kept) = order(&items, |item| busy.contains(&item.signature) || item.last_use >= recent);
        let mut queue: Vec<(SystemTime, &Candidate)> =
            order.iter().map(|(time, at)| (*time, &items[*at])).collect();
        let litter = self.litter(&tree);
        queue.extend(litter.iter().map(|item| (item.last_use, item)));
        queue.sort_by_key(|(time, _)| *time);

        let mut done =
            Collected { before: queue.iter().map(|(_, item)| item.bytes).sum(), ..Collected::default() };
        (done.after, done.kept) = (done.before, items.len());
        let mut kept: HashSet<String> = kept.into_iter().map(|at| items[at].signature.clone()).collect();
        for (time, item) in queue {
            let idle = time.elapsed().unwrap_or_default();
            let old = limits.max_age.is_some_and(|age| idle > age);
            if !old && limits.max_size.is_none_or(|size| done.after <= size) {
                continue;
            }
            if kept.contains(&item.signature) {
                done.spared += 1;
                kept.extend(item.needs.iter().cloned());
                continue;
            }
            let gone = if limits.dry_run { Ok(true) } else { self.remove_item(&tree, item) };
            match gone {
                Ok(true) => {
                    done.after -= item.bytes;
                    done.kept -= usize::from(!item.signature.is_empty());
                    let (signature, path) = (item.signature.clone(), item.path.clone());
                    done.removed.push(Removed { signature, path, bytes: item.bytes, idle });
                }
                // Somebody has begun to use it since we looked. What it needs comes later in the queue.
                Ok(false) => {
                    done.spared += 1;
                    kept.extend(item.needs.iter().cloned());
                }
                Err(error) => {
                    done.failures.push(error.message().to_owned());
                    kept.extend(item.needs.iter().cloned());
                }
            }
        }
        Ok(done)
    }

    /// Makes room after a build, where a limit is set, unless this host has done so a moment ago. Says what it did to
    /// the log, and never fails.
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
        let why = match lease::take(tree, &path, patience, || false) {
            Acquire::Acquired(lease) => return Ok(lease),
            Acquire::Unavailable(why) => why,
            Acquire::AlreadyBuilt => String::new(),
        };
        let text = match lease::look(Some(tree), &path) {
            Some(held) if held.living => format!("{} is making room in this cache", held.describe()),
            _ => format!("cannot make room: cannot write {}: {why}", path.display()),
        };
        Err(Error::new(Kind::Cache, text))
    }

    /// What is being built just now, and for how long the oldest of these builds has been under way, and some more.
    fn in_use(&self, tree: &Tree, writes: bool) -> (HashSet<String>, Duration) {
        let dir = self.layout().lease("");
        let (mut busy, mut since) = (HashSet::new(), Duration::ZERO);
        for name in tree.list(&dir).unwrap_or_default() {
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let held = lease::look(Some(tree).filter(|_| writes), &dir.join(&name));
            if let Some(held) = held.filter(|held| held.living) {
                // What a build has found in the cache it has noted as used, and links to later.
                since = since.max(held.age.unwrap_or(RENEWED) + SLACK);
                busy.insert(name);
            }
        }
        (busy, since)
    }

    /// The signatures and paths of all libraries.
    ///
    /// # Errors
    /// [`Kind::Cache`] when their directory cannot be read.
    pub(super) fn library_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let dir = self.layout().dir(Category::Lib);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &dir, &error)),
        };
        let mut libraries: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let signature = self.layout().signature_of(Category::Lib, &name)?;
                Some((signature.to_owned(), entry.path()))
            })
            .collect();
        libraries.sort();
        Ok(libraries)
    }

    fn item(&self, tree: &Tree, signature: String, path: PathBuf) -> Option<Candidate> {
        let file = tree.open_file(&path).ok()??;
        let facts = tree.metadata(&path).ok()??;
        // What has no record is damaged: nobody will use it, and nothing is known of what it needs.
        let record = record::read_record_tail(&file).ok().flatten();
        let needs = record.map_or_else(Vec::new, |record| record.needs().map(str::to_owned).collect());
        let besides = self.layout().sidecars(&signature);
        let size = |path: PathBuf| tree.metadata(&path).ok().flatten().map_or(0, |facts| facts.allocated);
        let bytes = facts.allocated + besides.into_iter().map(size).sum::<u64>();
        let last_use = self.last_use(tree, &signature, &facts);
        Some(Candidate { signature, path, bytes, id: facts.id, last_use, needs })
    }

    fn last_use(&self, tree: &Tree, signature: &str, library: &EntryMetadata) -> SystemTime {
        let used = tree.metadata(&self.layout().atime(signature)).ok().flatten();
        used.map_or(library.modified, |used| used.modified.max(library.modified))
    }

    /// What belongs to no entry and is kept for a while, for people: damaged files, failed builds. And notes.
    fn litter(&self, tree: &Tree) -> Vec<Candidate> {
        let layout = self.layout();
        let root = layout.root().to_owned();
        let mut dirs = vec![layout.quarantine(), layout.failed(""), layout.atime(""), root.join("pch")];
        // Where they are put elsewhere, they are not ours to count.
        let failures = layout.params().fail_dir_root.clone();
        dirs.extend(Some(failures).filter(|dir| tree.holds(dir)));
        let own = rustix::process::geteuid().as_raw();
        let mut items = Vec::new();
        for path in dirs.iter().flat_map(|dir| {
            let names = tree.list(dir).unwrap_or_default();
            names.into_iter().map(|name| dir.join(name)).collect::<Vec<_>>()
        }) {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let Ok(Some(facts)) = tree.metadata(&path) else { continue };
            let in_use = path.parent() == Some(&layout.atime("")) && layout.lib(name).exists();
            let is_folder = layout.is_failure(&path) || path.parent() == Some(&root.join("pch"));
            let right = if is_folder { facts.is_dir() } else { facts.is_file() };
            let ours = layout.names(&path) || layout.is_failure(&path);
            if name.starts_with('.') || facts.owner != own || in_use || !right || !ours {
                continue;
            }
            let bytes = facts.allocated + if is_folder { size_below(tree, &path) } else { 0 };
            let (signature, id, last_use) = (String::new(), FileId::default(), facts.modified);
            items.push(Candidate { signature, path, bytes, id, last_use, needs: Vec::new() });
        }
        items
    }

    /// Removes something. False when it is in use.
    fn remove_item(&self, tree: &Arc<Tree>, item: &Candidate) -> Result<bool> {
        let failed = |error: std::io::Error| cannot("cannot remove", &item.path, &error);
        if item.signature.is_empty() {
            return tree.remove_all(&item.path).map(|_| true).map_err(failed);
        }
        let signature = &item.signature;
        // Whoever builds it now is left alone; whoever comes while we are at it waits.
        let lease = lease::take(tree, &self.layout().lease(signature), Duration::from_millis(1), || false);
        let Acquire::Acquired(_lease) = lease else { return Ok(false) };
        let Some(facts) = tree.metadata(&item.path).map_err(failed)? else { return Ok(true) };
        if facts.id != item.id || self.last_use(tree, signature, &facts) != item.last_use {
            return Ok(false);
        }
        let dir = self.layout().dir(Category::Lib);
        let Some(folder) = tree.enter(&dir, false).map_err(failed)? else { return Ok(true) };
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = dir.join(own.name());
        if !tree.rename(&item.path, &staged).map_err(failed)? {
            return Ok(true);
        }
        // Who receives a library publishes without a lease.
        let moved = tree.metadata(&staged).map_err(failed)?;
        if moved.is_none_or(|moved| moved.id != item.id) && tree.link(&staged, &item.path).is_ok() {
            return Ok(false);
        }
        drop(own);
        let marker = self.layout().atime(signature);
        for path in self.layout().sidecars(signature).into_iter().chain([marker]) {
            if tree.metadata(&item.path).is_ok_and(|facts| facts.is_some()) {
                break;
            }
            if plain(tree, &path)? {
                tree.remove(&path).map_err(|error| cannot("cannot remove", &path, &error))?;
            }
        }
        Ok(true)
    }
}

/// What the files in a folder of this library take on the disk.
fn size_below(tree: &Tree, dir: &Path) -> u64 {
    let names = tree.list(dir).unwrap_or_default();
    let size = |name| {
        let path = dir.join(name);
        let facts = tree.metadata(&path).ok()??;
        Some(facts.allocated + if facts.is_dir() { size_below(tree, &path) } else { 0 })
    };
    names.into_iter().filter_map(size).sum()
}

/// In which order entries may go, with the time at which each, or what needs it, was last used; and those that stay
/// because of `stays`. What needs another comes before that other.
fn order(
    items: &[Candidate],
    stays: impl Fn(&Candidate) -> bool,
) -> (Vec<(SystemTime, usize)>, HashSet<usize>) {
    let by_signature: HashMap<&str, usize> =
        items.iter().enumerate().map(|(at, item)| (item.signature.as_str(), at)).collect();
    let stays: Vec<bool> = items.iter().map(stays).collect();
    let mut roots: Vec<usize> = (0..items.len()).collect();
    roots.sort_by_key(|at| std::cmp::Reverse((stays[*at], items[*at].last_use)));
    let (mut seen, mut kept, mut order) = (vec![false; items.len()], HashSet::new(), Vec::new());
    // Each is reached first from the most recently used of those that need it. A chain may be long: no recursion.
    for root in roots {
        let mut path = vec![(root, 0)];
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            if *next == 0 {
                if seen[at] {
                    path.pop();
                    continue;
                }
                seen[at] = true;
            }
            if let Some(needed) = items[at].needs.get(*next) {
                *next += 1;
                if let Some(needed) = by_signature.get(needed.as_str()).filter(|needed| !seen[**needed]) {
                    path.push((*needed, 0));
                }
                continue;
            }
            order.push((items[root].last_use, at));
            if stays[root] {
                kept.insert(at);
            }
            path.pop();
        }
    }
    order.reverse();
    (order, kept)
}

#[cfg(test)]
mod tests;
