//! Leases: who is building a signature. For economy alone: whoever has none may build all the same, and the first
//! publisher wins.
//!
//! ```text
//! lease/<key>  := JSON, see Lease; made in one step, removed by its owner, or by whoever finds the owner dead
//! ```
//! A lease names its owner (host since its boot, process, time of its start), so that one whose owner has died is taken
//! over at once, and one that is only slow is waited for. What cannot be seen from here, an owner on another host, is
//! believed as long as it gives signs of life, which it does by touching its lease.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::fsutil::{self, Durability, Folder, Tree};
use crate::logging::progress::Progress;
use crate::owner::{Liveness, ProcessId};
use crate::sync::lock;

use super::{FILE_MODE, read};

/// How often an owner gives a sign of life.
const BEAT: Duration = Duration::from_secs(5);

/// How long an owner that cannot be seen may give none.
const EXPIRY: Duration = Duration::from_secs(90);

/// The same of an owner that is seen to be stopped.
const STOPPED: Duration = Duration::from_secs(10);

/// The contents of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseRecord {
    format: String,
    owner: ProcessId,
    host: String,
    /// Tells the leases of one process apart.
    number: u64,
}

const FORMAT: &str = "dijitso lease 1";

impl LeaseRecord {
    /// What stands in a file that cannot be read: it was made in one step, so its owner went down with the host.
    fn nobody() -> Self {
        let owner = ProcessId { boot: String::new(), space: 0, pid: 0, start: 0 };
        Self { format: String::new(), owner, host: "an unknown host".to_owned(), number: 0 }
    }

    /// The owner in words.
    fn process(&self) -> String {
        format!("process {} on {}", self.owner.pid, self.host)
    }
}

/// The right to build, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    tree: Arc<Tree>,
    path: PathBuf,
    claim: LeaseRecord,
    beat: Option<Sender<()>>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Acquire {
    /// It is ours.
    Acquired(Lease),
    /// What was to be built is there.
    AlreadyBuilt,
    /// There will be none, for this reason: leases do not work here, or the patience is over.
    Unavailable(String),
}

/// The leases that this process holds: path and number.
static HELD: Mutex<Option<HashSet<(PathBuf, u64)>>> = Mutex::new(None);

thread_local! {
    /// The leases that this thread holds: it does not wait for itself.
    ///
    /// Without a destructor, so that calls from static destructors still find it. It is empty between calls.
    static MINE: RefCell<ManuallyDrop<Vec<PathBuf>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// From now on the lease is not that of this thread.
fn forget(path: &Path) {
    MINE.with_borrow_mut(|mine| {
        mine.retain(|own| own != path);
        if mine.is_empty() {
            // Nothing frees it when the thread ends.
            drop(std::mem::take(&mut **mine));
        }
    });
}

fn held<T>(with: impl FnOnce(&mut HashSet<(PathBuf, u64)>) -> T) -> T {
    with(lock(&HELD).get_or_insert_default())
}

/// Takes the lease at `path` in the tree of a cache, or waits until `there` says that it is not needed any more, at most as long as
/// `patience`.
#[must_use]
pub fn take(tree: &Arc<Tree>, path: &Path, patience: Duration, there: impl FnMut() -> bool) -> Acquire {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    take_to_build(&file, tree, path, patience, there)
}

/// As [`take`], for a build that the log calls `name`.
#[must_use]
pub fn take_to_build(
    name: &str,
    tree: &Arc<Tree>,
    path: &Path,
    patience: Duration,
    mut there: impl FnMut() -> bool,
) -> Acquire {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);
    if patience.is_zero() {
        return Acquire::Unavailable("build.lease_timeout is 0".to_owned());
    }
    if MINE.with_borrow(|mine| mine.iter().any(|own| own == path)) {
        return Acquire::Unavailable("this thread has it already".to_owned());
    }
    let begin = Instant::now();
    let mut nap = SHORTEST;
    let mut seen = Observer::default();
    let mut progress = Progress::default();
    loop {
        match claim(tree, path) {
            Ok(Some(lease)) => return Acquire::Acquired(lease),
            Ok(None) => {}
            Err(error) => {
                log::info!("no lease at {}: {error}", path.display());
                return Acquire::Unavailable(error.to_string());
            }
        }
        if there() {
            return Acquire::AlreadyBuilt;
        }
        let other = seen.look(path);
        if let Some(other) = other.as_ref().filter(|other| seen.is_over(Some(tree), path, other)) {
            log::info!("{} was left by {}", path.display(), other.process());
            if let Err(error) = remove(tree, path, other) {
                log::info!("{} cannot be removed: building without a lease: {error}", path.display());
                return Acquire::Unavailable(error.to_string());
            }
            nap = SHORTEST;
        }
        if begin.elapsed() >= patience {
            let seconds = patience.as_secs();
            let path = path.display();
            let whose = other.as_ref().map_or_else(|| "another process".to_owned(), LeaseRecord::process);
            log::warn!("{whose} has been building {path} for more than {seconds} s: building it as well");
            return Acquire::Unavailable(format!("{whose} has it"));
        }
        if let Some(other) = &other
            && progress.due().is_some()
        {
            log::warn!("{}", waiting_for(other, name, path));
        }
        // Also where it has just gone: a network disk may say so for a while.
        std::thread::sleep(nap);
        nap = (nap * 2).min(LONGEST);
    }
}

/// The line of a process that waits: for whom, and since when that one has been building.
fn waiting_for(other: &LeaseRecord, name: &str, path: &Path) -> String {
    let stopped = if other.owner.liveness() == Liveness::Stopped { " (which is stopped)" } else { "" };
    let since = match path.symlink_metadata().and_then(|facts| facts.created()) {
        Ok(made) => format!(" for {} s", made.elapsed().unwrap_or_default().as_secs()),
        Err(_) => String::new(),
    };
    format!("waiting for {}{stopped}, which has been building \"{name}\"{since}", other.process())
}

/// Takes the lease at `path` if that is possible now; `None` while somebody who may be at work has it.
#[must_use]
pub fn try_take(tree: &Arc<Tree>, path: &Path) -> Option<Acquire> {
    if MINE.with_borrow(|mine| mine.iter().any(|own| own == path)) {
        return Some(Acquire::Unavailable("this thread has it already".to_owned()));
    }
    // Once more where it was left by somebody.
    for _ in 0..2 {
        match claim(tree, path) {
            Ok(Some(lease)) => return Some(Acquire::Acquired(lease)),
            Ok(None) => {}
            Err(error) => {
                log::info!("no lease at {}: {error}", path.display());
                return Some(Acquire::Unavailable(error.to_string()));
            }
        }
        let mut seen = Observer::default();
        if let Some(other) = seen.look(path).filter(|other| seen.is_over(Some(tree), path, other)) {
            log::info!("{} was left by {}", path.display(), other.process());
            let _ = remove(tree, path, &other);
        }
    }
    None
}

impl Lease {
    /// From now on another thread does what it is for: this one, when it wants the same, waits like any other.
    pub fn leave_thread(&self) {
        forget(&self.path);
    }
}

/// Removes the leases of processes that have ended from the directory of leases.
pub fn sweep(tree: &Tree, dir: &Path) {
    for name in tree.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        // Somebody is writing a lease there, and looks like nobody's until it is written.
        if fsutil::is_staged(&path) || !is_lease(&name) {
            continue;
        }
        let mut seen = Observer::default();
        if let Some(claim) = seen.look(&path).filter(|claim| seen.is_over(Some(tree), &path, claim)) {
            let _ = remove(tree, &path, &claim);
        }
    }
}

/// The lease of whoever makes room.
pub(super) const COLLECTOR: &str = ".collector";

/// Whether a lease can have this name.
fn is_lease(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name == COLLECTOR || crate::signature::check_signature(name).is_ok())
}

/// Makes the lease, unless there is one.
fn claim(tree: &Arc<Tree>, path: &Path) -> io::Result<Option<Lease>> {
    use std::hash::{BuildHasher, RandomState};
    let owner = ProcessId::current();
    let number = RandomState::new().hash_one((SystemTime::now(), &owner));
    let claim = LeaseRecord { format: FORMAT.to_owned(), owner, host: crate::host_name(), number };
    let data = serde_json::to_vec(&claim).expect("a claim consists of strings and numbers");
    if path.symlink_metadata().is_ok() {
        return Ok(None);
    }
    tree.enter(path.parent().unwrap_or(Path::new("/")), true)?;
    // Before it can be seen: nobody must take ours for a leftover.
    held(|held| held.insert((path.to_owned(), number)));
    match tree.publish_noclobber(path, &data, FILE_MODE, Durability::Volatile) {
        Ok(true) => {
            MINE.with_borrow_mut(|mine| mine.push(path.to_owned()));
            Ok(Some(Lease {
                tree: Arc::clone(tree),
                path: path.to_owned(),
                claim,
                beat: heartbeat(tree, path),
            }))
        }
        other => {
            held(|held| held.remove(&(path.to_owned(), number)));
            other.map(|_| None)
        }
    }
}

/// Gives signs of life until the sender is dropped. Without a thread for it the lease is as good on this host.
fn heartbeat(tree: &Tree, path: &Path) -> Option<Sender<()>> {
    let (sender, receiver) = channel();
    let file = tree.enter(path.parent()?, false).ok()??.open_to_touch(path.file_name()?).ok()?;
    let beat = move || {
        while receiver.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let _ = file.set_modified(SystemTime::now());
        }
    };
    std::thread::Builder::new().name("dijitso-lease".to_owned()).spawn(beat).ok().map(|_| sender)
}

/// What has been seen of somebody else's lease, by our own clock.
#[derive(Default)]
struct Observer {
    last: Option<(LeaseRecord, SystemTime, Instant)>,
    /// For how long it had been silent when it was seen first, by the clock of the disk, if that can be told.
    age: Option<Option<Duration>>,
}

impl Observer {
    /// The claim at `path`; `None` when it is gone.
    fn look(&mut self, path: &Path) -> Option<LeaseRecord> {
        let modified = path.symlink_metadata().and_then(|facts| facts.modified()).ok()?;
        if let Some((claim, at, _)) = &self.last
            && *at == modified
        {
            return Some(claim.clone());
        }
        let data = read(path).ok().flatten();
        let claim = data
            .and_then(|data| serde_json::from_slice::<LeaseRecord>(&data).ok())
            .unwrap_or_else(LeaseRecord::nobody);
        self.last = Some((claim.clone(), modified, Instant::now()));
        Some(claim)
    }

    fn is_over(&mut self, tree: Option<&Tree>, path: &Path, claim: &LeaseRecord) -> bool {
        match claim.owner.liveness() {
            // Damaged, or of another version of this library, which will build the same as well.
            _ if claim.format != FORMAT => true,
            Liveness::Dead => true,
            Liveness::Alive if claim.owner == ProcessId::current() => {
                !held(|held| held.iter().any(|(_, number)| *number == claim.number))
            }
            Liveness::Alive => false,
            life @ (Liveness::Stopped | Liveness::Unknown) => {
                let limit = if life == Liveness::Stopped { STOPPED } else { EXPIRY };
                let silent = self.last.as_ref().is_none_or(|(_, _, since)| since.elapsed() >= limit);
                silent || tree.and_then(|tree| self.age(tree, path)).is_some_and(|age| age >= limit)
            }
        }
    }

    /// Asked once: a file that is made now, beside the lease, has the time of now on the same clock.
    fn age(&mut self, tree: &Tree, path: &Path) -> Option<Duration> {
        let (_, modified, _) = self.last.as_ref()?;
        let now = |folder: &Folder| folder.stage(FILE_MODE)?.file().metadata()?.modified();
        *self.age.get_or_insert_with(|| {
            let folder = tree.enter(path.parent().unwrap_or(Path::new("/")), false).ok().flatten()?;
            now(&folder).ok()?.duration_since(*modified).ok()
        })
    }
}

/// What somebody who does not want to build can see of a lease.
#[derive(Clone, Debug)]
pub struct LeaseInfo {
    claim: LeaseRecord,
    /// Whether its owner may still be at work.
    pub living: bool,
    /// For how long it has been there; `None` where the file system does not tell.
    pub age: Option<Duration>,
}

impl LeaseInfo {
    /// The owner in words.
    #[must_use]
    pub fn describe(&self) -> String {
        self.claim.process()
    }
}

/// Looks at the lease at `path`, once: an owner that cannot be seen from here is believed to be at work for as long as
/// clocks may differ, or, where something may be written to `tree`, for as long as the clock of the disk says. `None`
/// when there is none.
#[must_use]
pub fn look(tree: Option<&Tree>, path: &Path) -> Option<LeaseInfo> {
    const LONG: Duration = Duration::from_secs(3600);
    let facts = path.symlink_metadata().ok()?;
    let mut seen = Observer::default();
    let claim = seen.look(path)?;
    let silence = facts.modified().ok()?.elapsed().unwrap_or_default();
    let unseen = matches!(claim.owner.liveness(), Liveness::Stopped | Liveness::Unknown);
    let over = seen.is_over(tree, path, &claim) || (unseen && silence >= LONG);
    let age = facts.created().ok().map(|made| made.elapsed().unwrap_or_default());
    Some(LeaseInfo { claim, living: !over, age })
}

/// Removes a lease that [`look`] has found left.
///
/// # Errors
/// Those of the file system.
pub fn clear(tree: &Tree, path: &Path, held: &LeaseInfo) -> io::Result<()> {
    if held.living { Ok(()) } else { remove(tree, path, &held.claim) }
}

/// Removes the lease with this claim; one that somebody else has made meanwhile stays. An error where nothing can be
/// removed.
fn remove(tree: &Tree, path: &Path, claim: &LeaseRecord) -> io::Result<()> {
    // Many find out at once that an owner has died. Between the look and the removal of one, another may have made room
    // and taken the lease; so they do both one at a time. Where such locks do not work, some build twice.
    let Some(folder) = tree.enter(path.parent().unwrap_or(Path::new("/")), false)? else { return Ok(()) };
    // Opened once more: threads that share a descriptor share its lock.
    let own = folder.sub(OsStr::new("."))?;
    if let Some(own) = &own
        && flock(own.file(), FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
    {
        // Its holder is about to remove something, perhaps this.
        return Ok(());
    }
    let now = match read_claim(tree, path) {
        Ok(None) => return Ok(()),
        Ok(Some(there)) => there,
        Err(_) => LeaseRecord::nobody(),
    };
    if now == *claim { tree.remove(path).map(drop) } else { Ok(()) }
}

/// The claim in a file; `None` when there is no such file.
fn read_claim(tree: &Tree, path: &Path) -> io::Result<Option<LeaseRecord>> {
    const LONGEST: u64 = 1 << 16;
    let data = tree.read(path, LONGEST)?;
    Ok(data.map(|data| serde_json::from_slice(&data).unwrap_or_else(|_| LeaseRecord::nobody())))
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.beat.take());
        // At the end of the process this thread may have nothing of its own any more.
        forget(&self.path);
        // A child that the host forked has a copy of this value, and is not the owner.
        if self.claim.owner == ProcessId::current() {
            let there = read_claim(&self.tree, &self.path).ok().flatten();
            if there.is_some_and(|there| there == self.claim) {
                let _ = self.tree.remove(&self.path);
            }
        }
        // Last: a lease that is there and not held is taken for a leftover, and another could be made meanwhile.
        held(|held| held.remove(&(self.path.clone(), self.claim.number)));
    }
}

#[cfg(test)]
mod tests;
