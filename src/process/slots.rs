//! Limits the number of compilers that run at once on this host, over all programs of this user.
//!
//! ```text
//! <build.slots_dir>/<boot id of the host>/slot-0  slot-1 ...
//! ```
//!
//! A compiler runs while its program holds a lock (`flock`) on one of these files, which stay. The kernel
//! drops a lock with its owner, however that ends, so no slot is ever lost. The file names its owner
//! ([`ProcessId::tag`]) while it is locked: the slot of a stopped program does not count, and the first free
//! one of `slot-0.1`, `slot-0.2`, ... replaces it. The same holds if the program has ended and a child that
//! it forked keeps the lock.
//!
//! If hosts share a home directory, it has a folder for each host, so hosts do not count each other.
//!
//! Slots are for economy only. If they do not work (a disk without locks, a folder of another user, a wait
//! that takes too long), the compiler runs without one. A process that waits long logs which processes it
//! waits for.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::thread::CpuSet;

use crate::fsutil;
use crate::logging::progress;
use crate::owner::{self, Liveness, ProcessId};
use crate::signals::without_signals;

use super::affinity::{self, Cores};
use super::exec_context::ExecContext;

/// A request for a slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotRequest<'a> {
    /// The directory in which the programs of this user count their compilers; absolute.
    pub dir: &'a Path,
    /// The slots that may be taken; see [`choices`].
    pub choices: &'a [usize],
    /// After this long the compiler runs without one.
    pub patience: Duration,
}

/// A slot that this process holds until this is dropped.
#[derive(Debug)]
pub struct Slot {
    file: File,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = without_signals(|| self.file.set_len(0));
        // Not left to the closing of the file: a process that the host has forked may have a copy of it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Returns the slots that a build may take: the first `count`, or one for each of its `cores`.
///
/// The slot of a core has the core's number. So programs that are bound to different cores do not wait for
/// each other, programs on the same core do, and ranks whose compilers run on all cores of their job share as
/// many slots.
#[must_use]
pub fn choices(count: Option<usize>, cores: Cores) -> Vec<usize> {
    if let Some(count) = count {
        return (0..count.max(1)).collect();
    }
    // A control group may grant fewer than the mask has.
    let (mask, cores) = affinity::available(cores);
    let bound: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).take(cores).collect();
    if bound.is_empty() { (0..cores).collect() } else { bound }
}

/// Waits for one of the slots. Returns `None` if compilers are not counted, all slots stay taken for too
/// long, or the context is cancelled or hurried.
#[must_use]
pub fn take(request: &SlotRequest<'_>, context: &ExecContext) -> Option<Slot> {
    match open_folder(request.dir).and_then(|folder| wait(&folder, request, context)) {
        Ok(slot) => slot,
        Err(why) => {
            static LOGGED: AtomicBool = AtomicBool::new(false);
            if !LOGGED.swap(true, Ordering::Relaxed) {
                let dir = request.dir.display();
                log::info!("compilers are not counted in {dir} (build.slots_dir): {why}");
            }
            None
        }
    }
}

/// A slot for a command that nothing waits for, or the leave to run it where compilers are not counted.
#[derive(Debug)]
pub struct Spare {
    _slot: Option<Slot>,
}

/// Waits for a slot for a command that nothing waits for, and logs nothing. Returns `None` if all slots stay
/// taken: the command is not to be run then. Succeeds at once if compilers are not counted.
#[must_use]
pub fn take_spare(request: &SlotRequest<'_>) -> Option<Spare> {
    const NAP: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    let Ok(folder) = open_folder(request.dir) else { return Some(Spare { _slot: None }) };
    let mut holders = Holders::default();
    loop {
        holders.begin_round();
        for index in request.choices {
            match try_take(&folder, *index, &mut holders) {
                Ok(None) => {}
                Ok(Some(slot)) => return Some(Spare { _slot: Some(slot) }),
                Err(_) => return Some(Spare { _slot: None }),
            }
        }
        if begin.elapsed() >= request.patience {
            return None;
        }
        std::thread::sleep(NAP);
    }
}

/// Opens the folder of this host, which only this user can have filled.
fn open_folder(dir: &Path) -> io::Result<File> {
    // A library must not make a home directory, such as that of a service.
    if !dir.is_dir() && !dir.parent().and_then(Path::parent).is_some_and(Path::is_dir) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its parent directories are not there"));
    }
    fsutil::create_dirs(dir)?;
    let all = trusted(File::from(openat(CWD, dir, FOLDER, Mode::empty())?))?;
    let boot = std::str::from_utf8(owner::boot_id()).map_or("", str::trim);
    if !is_boot_id(boot) {
        return Err(io::Error::other("the system does not say when it was started"));
    }
    match mkdirat(&all, boot, Mode::RWXU) {
        Ok(()) => remove_old(&all, dir),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    trusted(File::from(openat(&all, boot, FOLDER | OFlags::NOFOLLOW, Mode::empty())?))
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Returns the open file if only this user or root can have put it there.
fn trusted(file: File) -> io::Result<File> {
    let facts: Metadata = file.metadata()?;
    match fsutil::untrusted_reason(&facts) {
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        None => Ok(file),
    }
}

fn is_boot_id(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The age at which the folder of a host, or of an earlier boot of it, is removed.
const OLD: Duration = Duration::from_secs(30 * 24 * 3600);

/// Removes the folders of earlier boots and of hosts that are gone. A host that is only busy makes its folder
/// again.
fn remove_old(all: &File, dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let changed = entry.metadata().and_then(|facts| facts.modified()).ok();
        let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if name.to_str().is_none_or(|name| !is_boot_id(name)) || age.is_none_or(|age| age < OLD) {
            continue;
        }
        let Ok(folder) = openat(all, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) else { continue };
        for file in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if file.file_name().as_encoded_bytes().starts_with(b"slot-") {
                let _ = unlinkat(&folder, file.file_name(), AtFlags::empty());
            }
        }
        // Refused while anything else is in it.
        let _ = unlinkat(all, &name, AtFlags::REMOVEDIR);
    }
}

/// The time of the first log line about a wait. The next comes after eight times as long, and so on.
const LOG_AFTER: Duration = Duration::from_secs(30);

fn wait(folder: &File, request: &SlotRequest<'_>, context: &ExecContext) -> io::Result<Option<Slot>> {
    const LONGEST: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    let mut nap = Duration::from_millis(1);
    let mut log_after = LOG_AFTER;
    let mut holders = Holders::default();
    loop {
        holders.begin_round();
        // Begins anywhere, or all that wait would try the same slot first.
        let first = usize::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
        for at in 0..request.choices.len() {
            let index = request.choices[(first + at) % request.choices.len()];
            if let Some(slot) = try_take(folder, index, &mut holders)? {
                let waited = begin.elapsed();
                if waited > Duration::from_secs(1) {
                    log::info!(
                        "waited {:.0} s for other compilers on this host (build.max_compilers)",
                        waited.as_secs_f64()
                    );
                }
                return Ok(Some(slot));
            }
        }
        if context.is_cancelled() || context.is_hurried() {
            return Ok(None);
        }
        let waited = begin.elapsed();
        if waited >= log_after {
            holders.log(request.choices.len(), waited);
            log_after *= 8;
        }
        let left = request.patience.saturating_sub(waited);
        if left.is_zero() {
            if !request.patience.is_zero() {
                log::warn!(
                    "{} compilers were busy on this host for {:.0} s: compiling all the same \
                     (build.max_compilers)",
                    request.choices.len(),
                    request.patience.as_secs_f64()
                );
            }
            return Ok(None);
        }
        std::thread::sleep(nap.min(left));
        nap = (nap * 2).min(LONGEST);
    }
}

/// The number of replacements of a slot whose owner was stopped.
const REPLACEMENTS: usize = 8;

/// Takes the slot with this number, or a replacement of it.
fn try_take(folder: &File, index: usize, holders: &mut Holders) -> io::Result<Option<Slot>> {
    for replacement in 0..=REPLACEMENTS {
        let name =
            if replacement == 0 { format!("slot-{index}") } else { format!("slot-{index}.{replacement}") };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)?);
        if lock(&file)? {
            let tag = ProcessId::current().tag();
            // Without the tag its owner is unknown, and the slot counts.
            let _ = without_signals(|| file.set_len(0).and_then(|()| file.write_all_at(tag.as_bytes(), 0)));
            return Ok(Some(Slot { file }));
        }
        if !holders.is_idle(name, &file) {
            break;
        }
    }
    Ok(None)
}

/// Takes the lock of a slot. Returns false if it is taken.
fn lock(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The owners of slots by the names of their files, as far as a waiting thread has read them.
#[derive(Default)]
struct Holders {
    /// The owner, and since when it has been stopped or dead.
    seen: HashMap<String, (Option<ProcessId>, Option<Instant>)>,
    checked: Option<Instant>,
    /// True if this round reads the owners.
    checks: bool,
}

impl Holders {
    /// The time between two checks of the owners, which cost more than trying a lock.
    const CHECK_INTERVAL: Duration = Duration::from_millis(250);

    /// The time after which the slot of a stopped owner does not count. By then a slot that was released and
    /// taken again names its new owner.
    const IDLE: Duration = Duration::from_secs(1);

    fn begin_round(&mut self) {
        self.checks = self.checked.is_none_or(|checked| checked.elapsed() >= Self::CHECK_INTERVAL);
        if self.checks {
            self.checked = Some(Instant::now());
        }
    }

    /// Returns true if the owner of a taken slot has been stopped or has ended.
    fn is_idle(&mut self, name: String, file: &File) -> bool {
        if self.checks {
            let owner = read_owner(file);
            let idle = owner
                .as_ref()
                .is_some_and(|owner| matches!(owner.liveness(), Liveness::Stopped | Liveness::Dead));
            let before = self.seen.get(&name).filter(|(before, _)| *before == owner).and_then(|seen| seen.1);
            let since = idle.then(|| before.unwrap_or_else(Instant::now));
            self.seen.insert(name, (owner, since));
            return since.is_some_and(|since| since.elapsed() >= Self::IDLE);
        }
        let since = self.seen.get(&name).and_then(|(_, since)| *since);
        since.is_some_and(|since| since.elapsed() >= Self::IDLE)
    }

    /// Logs which processes hold the slots. If only this process does, that is no warning.
    fn log(&self, count: usize, waited: Duration) {
        const NAMED: usize = 4;
        let me = ProcessId::current();
        let working = self.seen.values().filter(|(_, idle)| idle.is_none());
        let mut owners: Vec<&ProcessId> = working.filter_map(|(owner, _)| owner.as_ref()).collect();
        owners.sort_by_key(|owner| (**owner == me, owner.pid));
        owners.dedup();
        // Of the ranks of a host that build, one speaks.
        let is_known = owners.iter().all(|owner| **owner == me) || !progress::reports();
        let level = if is_known { log::Level::Info } else { log::Level::Warn };
        let names: Vec<String> = owners.iter().take(NAMED).map(|owner| describe(owner)).collect();
        let by = if names.is_empty() { "other programs".to_owned() } else { names.join(", ") };
        let more = owners.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        log::log!(
            level,
            "waiting since {} s for a compiler slot of this host: all {count} are taken by {by}{more} \
             (build.max_compilers)",
            waited.as_secs()
        );
    }
}

fn read_owner(file: &File) -> Option<ProcessId> {
    let mut text = [0; 128];
    let length = file.read_at(&mut text, 0).ok()?;
    ProcessId::from_tag(std::str::from_utf8(&text[..length]).ok()?)
}

/// "process 12 (poisson)".
fn describe(owner: &ProcessId) -> String {
    let program = std::fs::read_to_string(format!("/proc/{}/comm", owner.pid)).unwrap_or_default();
    let program = program.trim();
    if program.is_empty() {
        format!("process {}", owner.pid)
    } else {
        format!("process {} ({program})", owner.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
    use std::sync::atomic::AtomicUsize;

    fn take(request: &SlotRequest<'_>) -> Option<Slot> {
        super::take(request, &ExecContext::default())
    }

    fn ask<'a>(dir: &'a Path, choices: &'a [usize]) -> SlotRequest<'a> {
        SlotRequest { dir, choices, patience: Duration::ZERO }
    }

    #[test]
    fn six_that_want_two_slots_are_never_three_inside() {
        let dir = tempfile::tempdir().unwrap();
        let slots = dir.path().join("slots");
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let wanted =
                            SlotRequest { dir: &slots, choices: &[0, 1], patience: Duration::from_secs(60) };
                        let slot = take(&wanted).unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(3));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn a_command_that_nothing_waits_for_takes_a_free_slot_or_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(&ask(dir.path(), &[0])).unwrap();
        assert!(take_spare(&ask(dir.path(), &[0])).is_none());
        drop(first);
        let spare = take_spare(&ask(dir.path(), &[0])).unwrap();
        assert!(take(&ask(dir.path(), &[0])).is_none(), "it counts like any other");
        drop(spare);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(take_spare(&ask(&dir.path().join("file"), &[0])).is_some(), "nothing is counted here");
    }

    #[test]
    fn a_wait_that_is_too_long_ends_without_a_slot_and_other_folders_do_not_count() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = take(&ask(one.path(), &[3])).unwrap();
        assert!(take(&ask(one.path(), &[3])).is_none());
        assert!(take(&ask(one.path(), &[3, 4])).is_some());
        assert!(take(&ask(other.path(), &[3])).is_some());
        drop(first);
        assert!(take(&ask(one.path(), &[3])).is_some());
    }

    /// A process that the host forked has a copy of the descriptor, which does not keep the slot.
    #[test]
    fn a_dropped_slot_is_free_although_a_copy_of_its_descriptor_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let slot = take(&ask(dir.path(), &[0])).unwrap();
        let copy = slot.file.try_clone().unwrap();
        drop(slot);
        assert!(take(&ask(dir.path(), &[0])).is_some());
        drop(copy);
    }

    #[test]
    fn slots_of_another_user_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let slots = dir.path().join("slots");
        std::fs::DirBuilder::new().mode(0o700).create(&slots).unwrap();
        let mode = |mode| std::fs::set_permissions(&slots, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert!(take(&ask(&slots, &[0])).is_none());
        assert_eq!(std::fs::read_dir(&slots).unwrap().count(), 0);
        mode(0o700);
        drop(take(&ask(&slots, &[0])).unwrap());
        // A link instead of a slot, or of the folder of the host.
        let host = std::fs::read_dir(&slots).unwrap().next().unwrap().unwrap().path();
        std::fs::remove_file(host.join("slot-0")).unwrap();
        symlink(dir.path().join("target"), host.join("slot-0")).unwrap();
        assert!(take(&ask(&slots, &[0])).is_none());
        assert!(!dir.path().join("target").exists());
        std::fs::rename(&host, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &host).unwrap();
        assert!(take(&ask(&slots, &[1])).is_none());
    }

    #[test]
    fn a_home_directory_is_not_made_and_a_file_is_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        assert!(take(&ask(&home.join(".cache/dijitso-slots"), &[0])).is_none());
        assert!(!home.exists());
        std::fs::create_dir(&home).unwrap();
        let slots = home.join(".cache/dijitso-slots");
        assert!(take(&ask(&slots, &[0])).is_some());
        assert_eq!(slots.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(take(&ask(&dir.path().join("file"), &[0])).is_none());
    }

    #[test]
    fn folders_of_hosts_that_are_gone_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, days: u64| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("slot-0"), "").unwrap();
            let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            File::open(&folder).unwrap().set_modified(then).unwrap();
            folder
        };
        let old = make("00000000-0000-0000-0000-000000000001", 31);
        let young = make("00000000-0000-0000-0000-000000000002", 29);
        let other = make("something", 400);
        drop(take(&ask(dir.path(), &[0])).unwrap());
        assert_eq!([&old, &young, &other].map(|folder| folder.exists()), [false, true, true]);
    }

    #[test]
    fn there_is_one_slot_for_each_core_unless_a_count_is_given() {
        assert_eq!(choices(Some(3), Cores::Auto), [0, 1, 2]);
        assert_eq!(choices(Some(0), Cores::Auto), [0]);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(choices(None, Cores::Auto).len(), cores);
    }
}
