//! Leases: the process that is building a signature. They save work only: a program without one may build all
//! the same, and the first publisher wins.
//!
//! ```text
//! lease/<key>  := JSON, see LeaseRecord; made in one step, removed by its owner, or after its death
//! ```
//! A lease names its owner: host since its boot, process, time of its start. So the lease of a dead owner is
//! taken over at once, and a slow owner is waited for. An owner on another host counts as alive as long as it
//! touches its lease.

#![forbid(unsafe_code)]

mod about;

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
use crate::logging::progress::{self, Progress};
use crate::owner::{Liveness, ProcessId};
use crate::process::exec_context::ExecContext;
use crate::sync::lock;

use super::{FILE_MODE, read};

pub use about::LeaseAbout;

/// The interval at which an owner touches its lease.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The silence after which an owner on another host counts as dead.
const EXPIRY: Duration = Duration::from_secs(90);

/// The silence after which a stopped owner on this host counts as dead.
const STOPPED: Duration = Duration::from_secs(10);

/// The contents of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseRecord {
    format: String,
    owner: ProcessId,
    host: String,
    /// Distinguishes the leases of one process.
    number: u64,
    #[serde(default)]
    about: LeaseAbout,
}

const FORMAT: &str = "dijitso lease 1";

impl LeaseRecord {
    /// The contents of a file that cannot be read. It was made in one step, so its owner went down with the
    /// host.
    fn unreadable() -> Self {
        let owner = ProcessId { boot: String::new(), pid_namespace: 0, pid: 0, start: 0 };
        Self {
            format: String::new(),
            owner,
            host: "an unknown host".to_owned(),
            number: 0,
            about: LeaseAbout::default(),
        }
    }

    /// The owner in words.
    fn process(&self) -> String {
        format!("process {} on {}", self.owner.pid, self.host)
    }
}

/// A lease that this process holds until the value is dropped.
#[derive(Debug)]
pub struct Lease {
    tree: Arc<Tree>,
    path: PathBuf,
    record: Box<LeaseRecord>,
    heartbeat: Option<Sender<()>>,
}

/// The result of asking for a lease.
#[derive(Debug)]
pub enum Acquire {
    /// This process holds it.
    Acquired(Lease),
    /// Another program has built the entry meanwhile.
    AlreadyBuilt,
    /// There is none, for this reason: leases do not work here, or the wait has timed out or was cancelled.
    Unavailable(String),
}

/// The leases that this process holds: path and number.
static HELD: Mutex<Option<HashSet<(PathBuf, u64)>>> = Mutex::new(None);

thread_local! {
    /// The leases that this thread holds: it does not wait for itself.
    ///
    /// It has no destructor, so that calls from static destructors can use it. It is empty between calls.
    static MINE: RefCell<ManuallyDrop<Vec<PathBuf>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// Removes the lease from those of this thread.
fn forget(path: &Path) {
    MINE.with_borrow_mut(|mine| {
        mine.retain(|own| own != path);
        if mine.is_empty() {
            // It is not freed when the thread ends.
            drop(std::mem::take(&mut **mine));
        }
    });
}

fn held<T>(with: impl FnOnce(&mut HashSet<(PathBuf, u64)>) -> T) -> T {
    with(lock(&HELD).get_or_insert_default())
}

/// Takes the lease at `path` in the tree of a cache, or waits until `built` returns true, at most for
/// `patience`.
#[must_use]
pub fn take(tree: &Arc<Tree>, path: &Path, patience: Duration, built: impl FnMut() -> bool) -> Acquire {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    take_to_build(&file, tree, path, patience, &ExecContext::default(), built)
}

/// Does the same as [`take`] for a build that the log calls `name`. The wait ends if `context` is cancelled.
#[must_use]
pub fn take_to_build(
    name: &str,
    tree: &Arc<Tree>,
    path: &Path,
    patience: Duration,
    context: &ExecContext,
    mut built: impl FnMut() -> bool,
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
    let mut waited = Progress::default();
    loop {
        match claim(tree, path) {
            Ok(Some(lease)) => return Acquire::Acquired(lease),
            Ok(None) => {}
            Err(error) => {
                log::info!("no lease at {}: {error}", path.display());
                return Acquire::Unavailable(error.to_string());
            }
        }
        if built() {
            return Acquire::AlreadyBuilt;
        }
        let other = seen.read(path);
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
            && waited.due().is_some()
            && progress::reports()
        {
            log::warn!("{}", waiting_for(other, name, path));
        }
        if context.is_cancelled() {
            return Acquire::Unavailable("the wait for it was cancelled".to_owned());
        }
        // Also if it has just gone: a network disk may show it for a while.
        std::thread::sleep(context.nap(nap));
        nap = (nap * 2).min(LONGEST);
    }
}

/// Makes the log line of a process that waits: the owner, and for how long it has been building.
fn waiting_for(other: &LeaseRecord, name: &str, path: &Path) -> String {
    let stopped = if other.owner.liveness() == Liveness::Stopped { " (which is stopped)" } else { "" };
    let since = match path.symlink_metadata().and_then(|facts| facts.created()) {
        Ok(made) => format!(" for {} s", made.elapsed().unwrap_or_default().as_secs()),
        Err(_) => String::new(),
    };
    format!("waiting for {}{stopped}, which has been building \"{name}\"{since}", other.process())
}

/// Takes the lease at `path` without waiting; `None` while its owner may be alive.
#[must_use]
pub fn try_take(tree: &Arc<Tree>, path: &Path) -> Option<Acquire> {
    if MINE.with_borrow(|mine| mine.iter().any(|own| own == path)) {
        return Some(Acquire::Unavailable("this thread has it already".to_owned()));
    }
    // A second time after a dead owner.
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
        if let Some(other) = seen.read(path).filter(|other| seen.is_over(Some(tree), path, other)) {
            log::info!("{} was left by {}", path.display(), other.process());
            let _ = remove(tree, path, &other);
        }
    }
    None
}

impl Lease {
    /// Hands the work to another thread: this one waits for the lease like any other.
    pub fn leave_thread(&self) {
        forget(&self.path);
    }
}

/// Removes the leases of dead processes from the directory of leases.
pub fn sweep(tree: &Tree, dir: &Path) {
    for name in tree.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        // Such a lease is being written.
        if fsutil::is_staged(&path) || !is_lease(&name) {
            continue;
        }
        let mut seen = Observer::default();
        if let Some(claim) = seen.read(&path).filter(|claim| seen.is_over(Some(tree), &path, claim)) {
            let _ = remove(tree, &path, &claim);
        }
    }
}

/// The name of the lease of the program that evicts.
pub(super) const COLLECTOR: &str = ".collector";

/// Returns true if a lease can have this name.
pub(super) fn is_lease(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name == COLLECTOR || crate::signature::check_signature(name).is_ok())
}

/// Makes the lease file, unless there is one.
fn claim(tree: &Arc<Tree>, path: &Path) -> io::Result<Option<Lease>> {
    use std::hash::{BuildHasher, RandomState};
    let owner = ProcessId::current();
    let number = RandomState::new().hash_one((SystemTime::now(), &owner));
    let (host, about) = (crate::host_name(), LeaseAbout::current());
    let record = LeaseRecord { format: FORMAT.to_owned(), owner, host, number, about };
    let data = serde_json::to_vec(&record).expect("a lease consists of strings and numbers");
    if path.symlink_metadata().is_ok() {
        return Ok(None);
    }
    tree.enter(path.parent().unwrap_or(Path::new("/")), true)?;
    // Before the file exists: another thread must not take it for that of a dead process.
    held(|held| held.insert((path.to_owned(), number)));
    match tree.publish_noclobber(path, &data, FILE_MODE, Durability::Volatile) {
        Ok(true) => {
            MINE.with_borrow_mut(|mine| mine.push(path.to_owned()));
            Ok(Some(Lease {
                tree: Arc::clone(tree),
                path: path.to_owned(),
                record: Box::new(record),
                heartbeat: heartbeat(tree, path),
            }))
        }
        other => {
            held(|held| held.remove(&(path.to_owned(), number)));
            other.map(|_| None)
        }
    }
}

/// Touches the lease until the sender is dropped. On this host the lease works without it.
fn heartbeat(tree: &Tree, path: &Path) -> Option<Sender<()>> {
    let (sender, receiver) = channel();
    let file = tree.enter(path.parent()?, false).ok()??.open_to_touch(path.file_name()?).ok()?;
    let beat = move || {
        while receiver.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            let _ = file.set_modified(SystemTime::now());
        }
    };
    std::thread::Builder::new().name("dijitso-lease".to_owned()).spawn(beat).ok().map(|_| sender)
}

/// The observations of a lease of another process, by the clock of this one.
#[derive(Default)]
struct Observer {
    last: Option<(LeaseRecord, SystemTime, Instant)>,
    /// The silence of its owner when it was read first, by the clock of the disk, if that is known.
    age: Option<Option<Duration>>,
}

impl Observer {
    /// Reads the lease at `path`; `None` if it is gone.
    fn read(&mut self, path: &Path) -> Option<LeaseRecord> {
        let modified = path.symlink_metadata().and_then(|facts| facts.modified()).ok()?;
        if let Some((record, at, _)) = &self.last
            && *at == modified
        {
            return Some(record.clone());
        }
        let data = read(path).ok().flatten();
        let record = data
            .and_then(|data| serde_json::from_slice::<LeaseRecord>(&data).ok())
            .unwrap_or_else(LeaseRecord::unreadable);
        self.last = Some((record.clone(), modified, Instant::now()));
        Some(record)
    }

    fn is_over(&mut self, tree: Option<&Tree>, path: &Path, record: &LeaseRecord) -> bool {
        match record.owner.liveness() {
            // Damaged, or of another version of dijitso.
            _ if record.format != FORMAT => true,
            Liveness::Dead => true,
            Liveness::Alive if record.owner == ProcessId::current() => {
                !held(|held| held.iter().any(|(_, number)| *number == record.number))
            }
            Liveness::Alive => false,
            liveness @ (Liveness::Stopped | Liveness::Unknown) => {
                let limit = if liveness == Liveness::Stopped { STOPPED } else { EXPIRY };
                let silent = self.last.as_ref().is_none_or(|(_, _, since)| since.elapsed() >= limit);
                silent || tree.and_then(|tree| self.age(tree, path)).is_some_and(|age| age >= limit)
            }
        }
    }

    /// The age of the lease, computed once: a new file beside it has the present time of the same clock.
    fn age(&mut self, tree: &Tree, path: &Path) -> Option<Duration> {
        let (_, modified, _) = self.last.as_ref()?;
        let now = |folder: &Folder| folder.stage(FILE_MODE)?.file().metadata()?.modified();
        *self.age.get_or_insert_with(|| {
            let folder = tree.enter(path.parent().unwrap_or(Path::new("/")), false).ok().flatten()?;
            now(&folder).ok()?.duration_since(*modified).ok()
        })
    }
}

/// The state of a lease, for programs that do not build.
#[derive(Clone, Debug)]
pub struct LeaseInfo {
    record: LeaseRecord,
    /// True if its owner may be alive.
    pub living: bool,
    /// The time since it was made; `None` if the file system does not keep it.
    pub age: Option<Duration>,
}

impl LeaseInfo {
    /// The owner in words.
    #[must_use]
    pub fn describe(&self) -> String {
        self.record.process()
    }

    /// User, program and rank, by the words of the owner.
    #[must_use]
    pub fn about(&self) -> &LeaseAbout {
        &self.record.about
    }

    /// The number of the owner's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.record.owner.pid
    }

    /// The name of the owner's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.record.host
    }

    /// The state of the owner's process.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.record.owner.liveness()
    }
}

/// Reads the lease at `path` once. An owner on another host counts as alive for an hour, because clocks may
/// differ; with `tree`, which may be written to, the clock of the disk decides. `None` if there is no lease.
#[must_use]
pub fn look(tree: Option<&Tree>, path: &Path) -> Option<LeaseInfo> {
    const LONG: Duration = Duration::from_secs(3600);
    let facts = path.symlink_metadata().ok()?;
    let mut seen = Observer::default();
    let record = seen.read(path)?;
    let silence = facts.modified().ok()?.elapsed().unwrap_or_default();
    let unseen = matches!(record.owner.liveness(), Liveness::Stopped | Liveness::Unknown);
    let over = seen.is_over(tree, path, &record) || (unseen && silence >= LONG);
    let age = facts.created().ok().map(|made| made.elapsed().unwrap_or_default());
    Some(LeaseInfo { record, living: !over, age })
}

/// Removes a lease whose owner [`look`] has found dead.
///
/// # Errors
/// Any I/O error.
pub fn clear(tree: &Tree, path: &Path, info: &LeaseInfo) -> io::Result<()> {
    if info.living { Ok(()) } else { remove(tree, path, &info.record) }
}

/// Removes exactly this lease. One that another process has made meanwhile stays.
///
/// # Errors
/// Any I/O error.
fn remove(tree: &Tree, path: &Path, record: &LeaseRecord) -> io::Result<()> {
    // Many processes may find a dead owner at once. Between the check and the removal of one, another may
    // have removed and taken the lease, so both happen under a lock. If such locks do not work here, some
    // entries are built twice.
    let Some(folder) = tree.enter(path.parent().unwrap_or(Path::new("/")), false)? else { return Ok(()) };
    // Opened once more: threads that share a descriptor share its lock.
    let own = folder.sub(OsStr::new("."))?;
    if let Some(own) = &own
        && flock(own.file(), FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
    {
        // Its holder is about to remove something, perhaps this.
        return Ok(());
    }
    let now = match read_record(tree, path) {
        Ok(None) => return Ok(()),
        Ok(Some(record)) => record,
        Err(_) => LeaseRecord::unreadable(),
    };
    if now == *record { tree.remove(path).map(drop) } else { Ok(()) }
}

/// Reads a lease file; `None` if there is none.
fn read_record(tree: &Tree, path: &Path) -> io::Result<Option<LeaseRecord>> {
    const LONGEST: u64 = 1 << 16;
    let data = tree.read(path, LONGEST)?;
    Ok(data.map(|data| serde_json::from_slice(&data).unwrap_or_else(|_| LeaseRecord::unreadable())))
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.heartbeat.take());
        forget(&self.path);
        // A forked child has a copy of this value, and is not the owner.
        if self.record.owner == ProcessId::current() {
            let found = read_record(&self.tree, &self.path).ok().flatten();
            if found.is_some_and(|found| found == *self.record) {
                let _ = self.tree.remove(&self.path);
            }
        }
        // Last: a lease file that is not in this set counts as that of a dead process.
        held(|held| held.remove(&(self.path.clone(), self.record.number)));
    }
}

#[cfg(test)]
mod tests;
