//! Wakes the ranks of a host that wait in a collective: a counter in shared memory that they sleep on (a
//! futex).
//!
//! A rank that was away for long wakes all when it arrives, so that sleepers need not poll at short
//! intervals. Nothing but the length of a sleep depends on the counter. It is in a file without a name, of
//! the lowest rank of the host, which goes with its last user. The others open that file by process id and
//! descriptor, and recognise it by its inode. If that fails (another user, another pid namespace, no
//! `/proc`), a rank has no futex and sleeps by the clock.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, Timespec};
use rustix::fs::{fallocate, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::signals::without_signals;
use crate::sync::lock;

/// Bytes of a handle: a descriptor (`u32`) and an inode (`u64`).
pub(super) const HANDLE_SIZE: usize = 12;

/// Bytes of the shared memory: a page.
const SIZE: usize = 4096;

/// The content of the shared memory.
#[repr(C)]
struct Page {
    /// Counts the wake-ups.
    generation: AtomicU32,
    /// The number of ranks that have mapped the page.
    ranks: AtomicU32,
}

/// A futex in memory that the ranks of a host share.
pub(super) struct WakeFutex {
    memory: MmapRaw,
    /// Open as long as other ranks may have to open it.
    file: Mutex<Option<File>>,
}

impl WakeFutex {
    /// Makes the futex of this process.
    pub(super) fn new() -> io::Result<Self> {
        const NAME: &str = "dijitso-wakeup";
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
            // An old kernel without this flag.
            Err(Errno::INVAL) => memfd_create(NAME, flags)?,
            made => made?,
        };
        // Memory is allocated now, so that its lack is an error here and not a signal at the first access;
        // and sealed, so that no process takes it away.
        without_signals(|| Ok(fallocate(&file, FallocateFlags::empty(), 0, SIZE as u64)?))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(File::from(file))
    }

    /// Returns the handle by which other processes open a futex: its descriptor and inode, or zeros if there
    /// is none.
    fn handle(futex: Option<&Self>) -> [u8; HANDLE_SIZE] {
        let mut handle = [0; HANDLE_SIZE];
        let Some(futex) = futex else { return handle };
        if let Some(file) = &*lock(&futex.file)
            && let Ok(metadata) = file.metadata()
        {
            handle[..4].copy_from_slice(&file.as_raw_fd().to_le_bytes());
            handle[4..].copy_from_slice(&metadata.ino().to_le_bytes());
        }
        handle
    }

    /// Opens the futex of another process of this host. All memory files of a machine are in one file system,
    /// that of `own`.
    fn open(own: &Self, process: u32, handle: [u8; HANDLE_SIZE]) -> io::Result<Self> {
        let (descriptor, inode) = handle.split_at(4);
        let descriptor = u32::from_le_bytes(descriptor.try_into().unwrap_or_default());
        let inode = u64::from_le_bytes(inode.try_into().unwrap_or_default());
        let device = match &*lock(&own.file) {
            Some(file) if inode != 0 => file.metadata()?.dev(),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let is_same = |metadata: &fs::Metadata| {
            (metadata.dev(), metadata.ino(), metadata.len()) == (device, inode, SIZE as u64)
        };
        // The descriptor may by now be another file of another program, which must not even be opened.
        let path = format!("/proc/{process}/fd/{descriptor}");
        if !is_same(&fs::metadata(&path)?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        if !is_same(&file.metadata()?) || !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let futex = Self::map(file)?;
        futex.close();
        Ok(futex)
    }

    /// Maps a file of [`SIZE`] bytes that is sealed against shrinking, and counts this rank in it.
    fn map(file: File) -> io::Result<Self> {
        let memory = MmapOptions::new().len(SIZE).map_raw(&file)?;
        let futex = Self { memory, file: Mutex::new(Some(file)) };
        futex.page().ranks.fetch_add(1, Ordering::AcqRel);
        Ok(futex)
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until this is dropped and aligned to a page. All processes use it as atomic numbers
        // only, and the seal keeps the file from becoming shorter.
        unsafe { &*self.memory.as_ptr().cast() }
    }

    /// Tells if so many ranks have mapped it. Then no other will open it, and its file is closed: the host
    /// program needs its descriptors.
    fn is_shared_by(&self, ranks: usize) -> bool {
        let all = self.page().ranks.load(Ordering::Acquire) as usize >= ranks;
        if all {
            self.close();
        }
        all
    }

    fn close(&self) {
        // If another thread has the lock, it closes the file.
        if let Ok(mut file) = self.file.try_lock() {
            drop(file.take());
        }
    }

    /// Returns the number of wake-ups so far.
    pub(super) fn generation(&self) -> u32 {
        self.page().generation.load(Ordering::Acquire)
    }

    /// Wakes all ranks that sleep on it.
    pub(super) fn wake_all(&self) {
        self.page().generation.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Wakes all ranks that sleep on it, unless there was a wake-up since `before`.
    pub(super) fn wake_all_unless_woken(&self, before: u32) {
        let next = before.wrapping_add(1);
        let generation = &self.page().generation;
        if generation.compare_exchange(before, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        let _ = futex::wake(&self.page().generation, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps until there is a wake-up after `before`, for the time `limit` at most. May return earlier.
    pub(super) fn wait(&self, before: u32, limit: Duration) {
        let Ok(timespec) = Timespec::try_from(limit) else { return };
        match futex::wait(&self.page().generation, futex::Flags::empty(), before, Some(&timespec)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            Err(_) => std::thread::sleep(limit),
        }
    }
}

/// The futex of this host and how far it reaches in a communicator.
#[derive(Default)]
pub(super) struct NodeWakeup {
    pub(super) futex: Option<WakeFutex>,
    /// The number of ranks on this host.
    ranks: usize,
    /// Set if all ranks are on this host.
    one_host: bool,
}

impl NodeWakeup {
    /// Tells if any rank that arrives can wake this rank.
    pub(super) fn reaches_all(&self) -> bool {
        self.futex.as_ref().is_some_and(|futex| futex.is_shared_by(self.ranks) && self.one_host)
    }
}

/// Bytes of an entry: machine (`u64`), process (`u32`) and handle of a rank.
pub(super) const ENTRY_SIZE: usize = 8 + 4 + HANDLE_SIZE;

/// Makes the entry of this rank.
pub(super) fn entry(machine: u64, own: Option<&WakeFutex>) -> [u8; ENTRY_SIZE] {
    let mut entry = [0; ENTRY_SIZE];
    entry[..8].copy_from_slice(&machine.to_le_bytes());
    entry[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    entry[12..].copy_from_slice(&WakeFutex::handle(own));
    entry
}

/// Opens the futex of the lowest rank of this machine. `entries` are those of all ranks, in rank order.
pub(super) fn choose<'a>(
    own: Option<WakeFutex>,
    entries: impl Iterator<Item = &'a [u8]>,
    rank: usize,
) -> NodeWakeup {
    let entries: Vec<&[u8]> = entries.collect();
    let mine = entries.get(rank).copied().unwrap_or_default();
    let neighbours: Vec<_> =
        entries.iter().enumerate().filter(|(_, entry)| entry.get(..8) == mine.get(..8)).collect();
    let ranks = neighbours.len();
    let futex = match (own, neighbours.first()) {
        (Some(own), Some((first, _))) if *first == rank && ranks > 1 => Some(own),
        (Some(own), Some((_, entry))) if ranks > 1 => open(&own, entry),
        _ => None,
    };
    NodeWakeup { futex, ranks, one_host: ranks == entries.len() }
}

fn open(own: &WakeFutex, entry: &[u8]) -> Option<WakeFutex> {
    let process = u32::from_le_bytes(entry.get(8..12)?.try_into().ok()?);
    WakeFutex::open(own, process, entry.get(12..)?.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn node_wakeups(machines: &[u64]) -> Vec<NodeWakeup> {
        let futexes: Vec<WakeFutex> = machines.iter().map(|_| WakeFutex::new().unwrap()).collect();
        let entries: Vec<_> =
            futexes.iter().zip(machines).map(|(futex, machine)| entry(*machine, Some(futex))).collect();
        let entries = || entries.iter().map(<[u8; ENTRY_SIZE]>::as_slice);
        // The first rank still has its file when the others open it.
        let mut wakeups: Vec<(usize, NodeWakeup)> = (futexes.into_iter().enumerate().rev())
            .map(|(rank, futex)| (rank, choose(Some(futex), entries(), rank)))
            .collect();
        wakeups.reverse();
        wakeups.into_iter().map(|(_, wakeups)| wakeups).collect()
    }

    #[test]
    fn a_sleeping_rank_is_woken_by_another_one() {
        let wakeups = node_wakeups(&[7, 7]);
        let [futex, same] = [0, 1].map(|rank: usize| wakeups[rank].futex.as_ref().unwrap());
        assert!(wakeups.iter().all(NodeWakeup::reaches_all));
        assert!(wakeups.iter().all(|wakeups| wakeups.futex.as_ref().unwrap().file.lock().unwrap().is_none()));
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let before = futex.generation();
                while futex.generation() == before {
                    futex.wait(before, LONG);
                }
            });
            same.wake_all();
            std::thread::sleep(Duration::from_millis(20));
            same.wake_all();
        });
        assert!(begin.elapsed() < LONG);
        let before = futex.generation();
        same.wake_all_unless_woken(before);
        same.wake_all_unless_woken(before);
        assert_eq!(futex.generation(), before + 1);
        // A wake-up before the sleep ends it.
        futex.wait(before, LONG);
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn the_ranks_of_a_machine_share_the_futex_of_the_first_one() {
        let wakeups = node_wakeups(&[7, 8, 7, 8]);
        assert!(!wakeups.iter().any(NodeWakeup::reaches_all), "there are other machines");
        let futex = |rank: usize| wakeups[rank].futex.as_ref().unwrap();
        futex(0).wake_all();
        assert_eq!([0, 1, 2, 3].map(|rank| futex(rank).generation()), [1, 0, 1, 0]);
        assert!(node_wakeups(&[7]).iter().all(|alone| alone.futex.is_none()), "there is only one rank");
    }

    #[test]
    fn no_rank_relies_on_a_futex_that_one_cannot_open() {
        let own = WakeFutex::new().unwrap();
        let entries = [entry(7, Some(&own)), entry(7, None)];
        let entries = || entries.iter().map(<[u8; ENTRY_SIZE]>::as_slice);
        let first = choose(Some(own), entries(), 0);
        assert!(first.futex.is_some() && !first.reaches_all());
        let second = choose(None, entries(), 1);
        assert!(second.futex.is_none() && !second.reaches_all());
        let without = [entry(7, None), entry(7, None)];
        let third = choose(WakeFutex::new().ok(), without.iter().map(<[u8; ENTRY_SIZE]>::as_slice), 1);
        assert!(third.futex.is_none(), "the first rank has none");
    }

    #[test]
    fn only_the_futex_of_the_handle_is_opened() {
        let own = WakeFutex::new().unwrap();
        let handle = WakeFutex::handle(Some(&own));
        let me = std::process::id();
        assert!(WakeFutex::open(&own, me, handle).is_ok());
        let other = tempfile::tempfile().unwrap();
        other.set_len(SIZE as u64).unwrap();
        let mut wrong = handle;
        wrong[..4].copy_from_slice(&other.as_raw_fd().to_le_bytes());
        assert!(WakeFutex::open(&own, me, wrong).is_err(), "another file");
        let second = WakeFutex::new().unwrap();
        wrong[..4].copy_from_slice(&WakeFutex::handle(Some(&second))[..4]);
        assert!(WakeFutex::open(&own, me, wrong).is_err(), "another futex");
        assert!(WakeFutex::open(&own, me, WakeFutex::handle(None)).is_err(), "none");
        assert!(WakeFutex::open(&own, u32::MAX, handle).is_err(), "no such process");
    }
}
