//! A bell for the ranks of one host: whoever was away for long rings it when it comes, so that those who sleep need
//! not look at short intervals whether it has.
//!
//! It is a number in memory that the ranks share: nothing depends on it but how soon a nap ends. The lowest rank of a
//! host has it in a file without a name, which goes with its last user; the others open it by number of process and
//! descriptor, and know it by its inode. Where that is not possible (another user, another name space of processes,
//! no `/proc`), a rank has no bell, and naps as if it were alone.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, Timespec};
use rustix::fs::{fallocate, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::signals::without_signals;
use crate::sync::lock;

/// Bytes of what a rank tells the others of the bell that it could offer.
pub(super) const HANDLE_SIZE: usize = 12;

/// Bytes of the memory: a page.
const SIZE: usize = 4096;

/// What is in the memory.
#[repr(C)]
struct Page {
    /// How often it was rung.
    rung: AtomicU32,
    /// How many ranks have it.
    ranks: AtomicU32,
}

/// The memory, and for as long as others may open it, its file.
pub(super) struct WakeFutex {
    memory: NonNull<Page>,
    file: Mutex<Option<File>>,
}

// SAFETY: the memory is shared with other processes anyway, and is only used as atomic numbers.
unsafe impl Send for WakeFutex {}
// SAFETY: as above.
unsafe impl Sync for WakeFutex {}

impl WakeFutex {
    /// A bell of this process.
    pub(super) fn make() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create("dijitso-bell", flags | MemfdFlags::NOEXEC_SEAL) {
            // A kernel that does not know it.
            Err(Errno::INVAL) => memfd_create("dijitso-bell", flags)?,
            made => made?,
        };
        // Memory that is not there is missed now, and not at the first use; and nobody can take it away.
        without_signals(|| Ok(fallocate(&file, FallocateFlags::empty(), 0, SIZE as u64)?))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let bell = Self::of(File::from(file))?;
        bell.join();
        Ok(bell)
    }

    /// What others need to open it: the descriptor and the inode. Zeros for none.
    fn handle(bell: Option<&Self>) -> [u8; HANDLE_SIZE] {
        let mut offer = [0; HANDLE_SIZE];
        let Some(bell) = bell else { return offer };
        if let Some(file) = &*lock(&bell.file)
            && let Ok(facts) = file.metadata()
        {
            offer[..4].copy_from_slice(&file.as_raw_fd().to_le_bytes());
            offer[4..].copy_from_slice(&facts.ino().to_le_bytes());
        }
        offer
    }

    /// The bell that another process of this host offers, by the file system that `own` is in: files of memory of all
    /// processes of a machine are in one.
    fn open(own: &Self, process: u32, offer: [u8; HANDLE_SIZE]) -> io::Result<Self> {
        let (descriptor, inode) = offer.split_at(4);
        let descriptor = u32::from_le_bytes(descriptor.try_into().unwrap_or_default());
        let inode = u64::from_le_bytes(inode.try_into().unwrap_or_default());
        let device = match &*lock(&own.file) {
            Some(file) if inode != 0 => file.metadata()?.dev(),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let is_it =
            |facts: &fs::Metadata| (facts.dev(), facts.ino(), facts.len()) == (device, inode, SIZE as u64);
        // What stands there may be something else, of another program, that must not even be opened.
        let path = format!("/proc/{process}/fd/{descriptor}");
        if !is_it(&fs::metadata(&path)?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        if !is_it(&file.metadata()?) || !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let bell = Self::of(file)?;
        bell.close();
        bell.join();
        Ok(bell)
    }

    fn of(file: File) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the system's choice, of a file of that size, which is sealed: nobody
        // makes it shorter.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, file: Mutex::new(Some(file)) })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until this is dropped, aligned to a page, and all processes use it as atomic numbers.
        unsafe { self.memory.as_ref() }
    }

    fn join(&self) {
        self.page().ranks.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether so many ranks have it. Then nobody will open it any more: descriptors are the host's, and few.
    fn is_of(&self, ranks: usize) -> bool {
        let all = self.page().ranks.load(Ordering::Acquire) as usize >= ranks;
        if all {
            self.close();
        }
        all
    }

    fn close(&self) {
        // Another thread that does the same need not be waited for.
        if let Ok(mut file) = self.file.try_lock() {
            drop(file.take());
        }
    }

    /// How often it was rung.
    pub(super) fn generation(&self) -> u32 {
        self.page().rung.load(Ordering::Acquire)
    }

    /// Wakes all who sleep on it.
    pub(super) fn wake_all(&self) {
        self.page().rung.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Wakes all who sleep on it, unless somebody has rung it since `before`.
    pub(super) fn wake_all_unless_woken(&self, before: u32) {
        let next = before.wrapping_add(1);
        let rung = &self.page().rung;
        if rung.compare_exchange(before, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        let _ = futex::wake(&self.page().rung, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps until it is rung once more than `before`, or for so long. It may end earlier.
    pub(super) fn wait(&self, before: u32, nap: Duration) {
        let Ok(limit) = Timespec::try_from(nap) else { return };
        match futex::wait(&self.page().rung, futex::Flags::empty(), before, Some(&limit)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            Err(_) => std::thread::sleep(nap),
        }
    }
}

/// A bell, as the ranks of a communicator have it.
#[derive(Default)]
pub(super) struct NodeWakeup {
    /// That of this host's ranks.
    pub(super) bell: Option<WakeFutex>,
    /// How many ranks are on this host.
    here: usize,
    /// Whether all ranks are on this host.
    together: bool,
}

impl NodeWakeup {
    /// Whether whoever comes can wake this rank.
    pub(super) fn is_of_all(&self) -> bool {
        let of_all = |bell: &WakeFutex| bell.is_of(self.here) && self.together;
        self.bell.as_ref().is_some_and(of_all)
    }
}

/// Bytes of what a rank tells the others: its machine (a `u64`), its process (a `u32`), its offer.
pub(super) const ENTRY_SIZE: usize = 8 + 4 + HANDLE_SIZE;

/// What this rank tells the others.
pub(super) fn entry(machine: u64, own: Option<&WakeFutex>) -> [u8; ENTRY_SIZE] {
    let mut row = [0; ENTRY_SIZE];
    row[..8].copy_from_slice(&machine.to_le_bytes());
    row[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    row[12..].copy_from_slice(&WakeFutex::handle(own));
    row
}

/// The bell of the lowest rank of this machine, by the rows of all ranks in their order.
pub(super) fn choose<'a>(
    own: Option<WakeFutex>,
    rows: impl Iterator<Item = &'a [u8]>,
    rank: usize,
) -> NodeWakeup {
    let rows: Vec<&[u8]> = rows.collect();
    let mine = rows.get(rank).copied().unwrap_or_default();
    let neighbours: Vec<_> =
        rows.iter().enumerate().filter(|(_, row)| row.get(..8) == mine.get(..8)).collect();
    let here = neighbours.len();
    let bell = match (own, neighbours.first()) {
        (Some(own), Some((first, _))) if *first == rank && here > 1 => Some(own),
        (Some(own), Some((_, row))) if here > 1 => open(&own, row),
        _ => None,
    };
    NodeWakeup { bell, here, together: here == rows.len() }
}

fn open(own: &WakeFutex, row: &[u8]) -> Option<WakeFutex> {
    let process = u32::from_le_bytes(row.get(8..12)?.try_into().ok()?);
    WakeFutex::open(own, process, row.get(12..)?.try_into().ok()?).ok()
}

impl Drop for WakeFutex {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, and nobody has a reference to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn ring_of(machines: &[u64]) -> Vec<NodeWakeup> {
        let bells: Vec<WakeFutex> = machines.iter().map(|_| WakeFutex::make().unwrap()).collect();
        let rows: Vec<_> =
            bells.iter().zip(machines).map(|(bell, machine)| entry(*machine, Some(bell))).collect();
        let rows = || rows.iter().map(<[u8; ENTRY_SIZE]>::as_slice);
        // The first one still has its file when the others open it.
        let mut shared: Vec<(usize, NodeWakeup)> = (bells.into_iter().enumerate().rev())
            .map(|(rank, bell)| (rank, choose(Some(bell), rows(), rank)))
            .collect();
        shared.reverse();
        shared.into_iter().map(|(_, shared)| shared).collect()
    }

    #[test]
    fn who_sleeps_is_woken_by_whoever_opened_the_same_bell() {
        let shared = ring_of(&[7, 7]);
        let [bell, same] = [0, 1].map(|rank: usize| shared[rank].bell.as_ref().unwrap());
        assert!(shared.iter().all(NodeWakeup::is_of_all));
        assert!(shared.iter().all(|shared| shared.bell.as_ref().unwrap().file.lock().unwrap().is_none()));
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let before = bell.generation();
                while bell.generation() == before {
                    bell.wait(before, LONG);
                }
            });
            same.wake_all();
            std::thread::sleep(Duration::from_millis(20));
            same.wake_all();
        });
        assert!(begin.elapsed() < LONG);
        let before = bell.generation();
        same.wake_all_unless_woken(before);
        same.wake_all_unless_woken(before);
        assert_eq!(bell.generation(), before + 1);
        // What was rung before it slept is not slept through.
        bell.wait(before, LONG);
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn the_ranks_of_a_machine_share_the_bell_of_the_first_of_them() {
        let shared = ring_of(&[7, 8, 7, 8]);
        assert!(!shared.iter().any(NodeWakeup::is_of_all), "there are other machines");
        let bell = |rank: usize| shared[rank].bell.as_ref().unwrap();
        bell(0).wake_all();
        assert_eq!([0, 1, 2, 3].map(|rank| bell(rank).generation()), [1, 0, 1, 0]);
        assert!(ring_of(&[7]).iter().all(|alone| alone.bell.is_none()), "nobody else is there");
    }

    #[test]
    fn where_a_rank_cannot_open_it_nobody_relies_on_it() {
        let own = WakeFutex::make().unwrap();
        let rows = [entry(7, Some(&own)), entry(7, None)];
        let rows = || rows.iter().map(<[u8; ENTRY_SIZE]>::as_slice);
        let first = choose(Some(own), rows(), 0);
        assert!(first.bell.is_some() && !first.is_of_all());
        let second = choose(None, rows(), 1);
        assert!(second.bell.is_none() && !second.is_of_all());
        let without = [entry(7, None), entry(7, None)];
        let third = choose(WakeFutex::make().ok(), without.iter().map(<[u8; ENTRY_SIZE]>::as_slice), 1);
        assert!(third.bell.is_none(), "the first rank has none");
    }

    #[test]
    fn what_is_not_a_bell_is_not_opened() {
        let own = WakeFutex::make().unwrap();
        let offer = WakeFutex::handle(Some(&own));
        let me = std::process::id();
        assert!(WakeFutex::open(&own, me, offer).is_ok());
        let other = tempfile::tempfile().unwrap();
        other.set_len(SIZE as u64).unwrap();
        let mut wrong = offer;
        wrong[..4].copy_from_slice(&other.as_raw_fd().to_le_bytes());
        assert!(WakeFutex::open(&own, me, wrong).is_err(), "another file");
        let second = WakeFutex::make().unwrap();
        wrong[..4].copy_from_slice(&WakeFutex::handle(Some(&second))[..4]);
        assert!(WakeFutex::open(&own, me, wrong).is_err(), "another bell");
        assert!(WakeFutex::open(&own, me, WakeFutex::handle(None)).is_err(), "none");
        assert!(WakeFutex::open(&own, u32::MAX, offer).is_err(), "no such process");
    }
}
