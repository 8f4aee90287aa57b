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
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::fsutil::{self, Power};
use crate::owner::{Life, Owner};

use super::{FILE_MODE, read};

/// How often an owner gives a sign of life.
const BEAT: Duration = Duration::from_secs(5);

/// How long an owner that cannot be seen, or has been stopped, may give none.
const SILENCE: Duration = Duration::from_secs(90);

/// The contents of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    format: String,
    owner: Owner,
    host: String,
    /// Tells the leases of one process apart.
    number: u64,
}

const FORMAT: &str = "dijitso lease 1";

impl Claim {
    /// What stands in a file that cannot be read: it was made in one step, so its owner went down with the host.
    fn nobody() -> Self {
        let owner = Owner { boot: String::new(), space: 0, pid: 0, start: 0 };
        Self { format: String::new(), owner, host: "an unknown host".to_owned(), number: 0 }
    }
}

/// The right to build, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    claim: Claim,
    beat: Option<Sender<()>>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Lease),
    /// What was to be built is there.
    NotNeeded,
    /// There will be none: leases do not work here, or the patience is over.
    Without,
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
    with(HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Takes the lease at `path`, or waits until `there` says that it is not needed any more, at most as long as
/// `patience`.
#[must_use]
pub fn take(path: &Path, patience: Duration, mut there: impl FnMut() -> bool) -> Taken {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);
    if patience.is_zero() || MINE.with_borrow(|mine| mine.iter().any(|own| own == path)) {
        return Taken::Without;
    }
    let begin = Instant::now();
    let mut nap = SHORTEST;
    let mut seen = Seen::default();
    let mut told = false;
    loop {
        match claim(path) {
            Ok(Some(lease)) => return Taken::Ours(lease),
            Ok(None) => {}
            Err(error) => {
                log::info!("no lease at {}: {error}", path.display());
                return Taken::Without;
            }
        }
        if there() {
            return Taken::NotNeeded;
        }
        let other = seen.look(path);
        if let Some(other) = other.as_ref().filter(|other| seen.is_over(path, other)) {
            log::info!("{} was left by process {} of {}", path.display(), other.owner.pid, other.host);
            if !remove(path, other) {
                log::info!("{} cannot be removed: building without a lease", path.display());
                return Taken::Without;
            }
            nap = SHORTEST;
        }
        let whose = || match &other {
            Some(other) => format!("process {} of {}", other.owner.pid, other.host),
            None => "another process".to_owned(),
        };
        if begin.elapsed() >= patience {
            let seconds = patience.as_secs();
            let path = path.display();
            log::warn!("{} has been building {path} for more than {seconds} s: building it as well", whose());
            return Taken::Without;
        }
        if !told && begin.elapsed() > Duration::from_secs(30) {
            told = true;
            log::warn!("waiting for {}, which builds {}", whose(), path.display());
        }
        // Also where it has just gone: a network disk may say so for a while.
        std::thread::sleep(nap);
        nap = (nap * 2).min(LONGEST);
    }
}

/// Takes the lease at `path` if that is possible now; `None` while somebody who may be at work has it.
#[must_use]
pub fn try_take(path: &Path) -> Option<Taken> {
    if MINE.with_borrow(|mine| mine.iter().any(|own| own == path)) {
        return Some(Taken::Without);
    }
    // Once more where it was left by somebody.
    for _ in 0..2 {
        match claim(path) {
            Ok(Some(lease)) => return Some(Taken::Ours(lease)),
            Ok(None) => {}
            Err(error) => {
                log::info!("no lease at {}: {error}", path.display());
                return Some(Taken::Without);
            }
        }
        let mut seen = Seen::default();
        if let Some(other) = seen.look(path).filter(|other| seen.is_over(path, other)) {
            log::info!("{} was left by process {} of {}", path.display(), other.owner.pid, other.host);
            remove(path, &other);
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
pub fn sweep(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // Somebody is writing a lease there, and looks like nobody's until it is written.
        if fsutil::is_staged(&path) {
            continue;
        }
        let mut seen = Seen::default();
        if let Some(claim) = seen.look(&path).filter(|claim| seen.is_over(&path, claim)) {
            remove(&path, &claim);
        }
    }
}

/// Makes the lease, unless there is one.
fn claim(path: &Path) -> io::Result<Option<Lease>> {
    use std::hash::{BuildHasher, RandomState};
    let owner = Owner::me();
    let number = RandomState::new().hash_one((SystemTime::now(), &owner));
    let claim = Claim { format: FORMAT.to_owned(), owner, host: crate::host_name(), number };
    let data = serde_json::to_vec(&claim).expect("a claim consists of strings and numbers");
    if path.symlink_metadata().is_ok() {
        return Ok(None);
    }
    fsutil::create_dirs(path.parent().unwrap_or(Path::new("/")))?;
    // Before it can be seen: nobody must take ours for a leftover.
    held(|held| held.insert((path.to_owned(), number)));
    match fsutil::publish_first(path, &data, FILE_MODE, Power::Careless) {
        Ok(true) => {
            MINE.with_borrow_mut(|mine| mine.push(path.to_owned()));
            Ok(Some(Lease { path: path.to_owned(), claim, beat: heart(path) }))
        }
        other => {
            held(|held| held.remove(&(path.to_owned(), number)));
            other.map(|_| None)
        }
    }
}

/// Gives signs of life until the sender is dropped. Without a thread for it the lease is as good on this host.
fn heart(path: &Path) -> Option<Sender<()>> {
    let (sender, receiver) = channel();
    let file =
        File::options().append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path).ok()?;
    let beat = move || {
        while receiver.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let _ = file.set_modified(SystemTime::now());
        }
    };
    std::thread::Builder::new().name("dijitso-lease".to_owned()).spawn(beat).ok().map(|_| sender)
}

/// What has been seen of somebody else's lease, by our own clock.
#[derive(Default)]
struct Seen {
    last: Option<(Claim, SystemTime, Instant)>,
    /// Whether it had been silent for long already when it was seen first, by the clock of the disk.
    old: Option<bool>,
}

impl Seen {
    /// The claim at `path`; `None` when it is gone.
    fn look(&mut self, path: &Path) -> Option<Claim> {
        let modified = path.symlink_metadata().and_then(|facts| facts.modified()).ok()?;
        if let Some((claim, at, _)) = &self.last
            && *at == modified
        {
            return Some(claim.clone());
        }
        let data = read(path).ok().flatten();
        let claim =
            data.and_then(|data| serde_json::from_slice::<Claim>(&data).ok()).unwrap_or_else(Claim::nobody);
        self.last = Some((claim.clone(), modified, Instant::now()));
        Some(claim)
    }

    fn is_over(&mut self, path: &Path, claim: &Claim) -> bool {
        match claim.owner.life() {
            // Damaged, or of another version of this library, which will build the same as well.
            _ if claim.format != FORMAT => true,
            Life::Dead => true,
            Life::Alive if claim.owner == Owner::me() => {
                !held(|held| held.iter().any(|(_, number)| *number == claim.number))
            }
            Life::Alive => false,
            Life::Stopped | Life::Unknown => {
                let silent = self.last.as_ref().is_none_or(|(_, _, since)| since.elapsed() >= SILENCE);
                silent || self.was_old(path)
            }
        }
    }

    /// Asked once: a file that is made now, beside the lease, has the time of now on the same clock.
    fn was_old(&mut self, path: &Path) -> bool {
        let Some((_, modified, _)) = self.last else { return false };
        *self.old.get_or_insert_with(|| {
            let dir = path.parent().unwrap_or(Path::new("/"));
            let now = fsutil::staging(dir, FILE_MODE).and_then(|file| file.as_file().metadata()?.modified());
            now.is_ok_and(|now| now.duration_since(modified).is_ok_and(|age| age >= SILENCE))
        })
    }
}

/// What somebody who does not want to build can see of a lease.
#[derive(Clone, Debug)]
pub struct Held {
    claim: Claim,
    /// Whether its owner may still be at work.
    pub living: bool,
    /// For how long it has been there; `None` where the file system does not tell.
    pub age: Option<Duration>,
}

impl Held {
    /// The owner in words.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("process {} of {}", self.claim.owner.pid, self.claim.host)
    }
}

/// Looks at the lease at `path`, once: an owner that cannot be seen from here is believed to be at work for as long as
/// clocks may differ. `None` when there is none.
#[must_use]
pub fn look(path: &Path) -> Option<Held> {
    const LONG: Duration = Duration::from_secs(3600);
    let facts = path.symlink_metadata().ok()?;
    let mut seen = Seen::default();
    let claim = seen.look(path)?;
    let silence = facts.modified().ok()?.elapsed().unwrap_or_default();
    let unseen = matches!(claim.owner.life(), Life::Stopped | Life::Unknown);
    let over = seen.is_over(path, &claim) || (unseen && silence >= LONG);
    let age = facts.created().ok().map(|made| made.elapsed().unwrap_or_default());
    Some(Held { claim, living: !over, age })
}

/// Removes a lease that [`look`] has found left.
pub fn clear(path: &Path, held: &Held) {
    if !held.living {
        remove(path, &held.claim);
    }
}

/// Removes the lease with this claim; one that somebody else has made meanwhile stays. False where nothing can be removed.
fn remove(path: &Path, claim: &Claim) -> bool {
    // Many find out at once that an owner has died. Between the look and the removal of one, another may have made room
    // and taken the lease; so they do both one at a time. Where such locks do not work, some build twice.
    let dir = path.parent().unwrap_or(Path::new("/"));
    let guard = File::open(dir).and_then(|dir| {
        flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
        Ok(dir)
    });
    match &guard {
        // Its holder is about to remove something, perhaps this.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
        _ => {}
    }
    let now = match read(path) {
        Ok(None) => return true,
        Ok(Some(there)) => serde_json::from_slice(&there).ok(),
        Err(_) => None,
    };
    let now = now.unwrap_or_else(Claim::nobody);
    now != *claim || std::fs::remove_file(path).is_ok()
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.beat.take());
        // At the end of the process this thread may have nothing of its own any more.
        forget(&self.path);
        // A child that the host forked has a copy of this value, and is not the owner.
        if self.claim.owner == Owner::me() {
            let there = read(&self.path).ok().flatten();
            let ours = there.and_then(|data| serde_json::from_slice::<Claim>(&data).ok());
            if ours.is_some_and(|ours| ours == self.claim) {
                let _ = std::fs::remove_file(&self.path);
            }
        }
        // Last: a lease that is there and not held is taken for a leftover, and another could be made meanwhile.
        held(|held| held.remove(&(self.path.clone(), self.claim.number)));
    }
}

#[cfg(test)]
mod tests;
