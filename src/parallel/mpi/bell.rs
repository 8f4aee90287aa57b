//! A bell for the ranks of one host: whoever was away for long rings it when it comes, so that those who sleep need
//! not look at short intervals whether it has.
//!
//! It is a number in memory that the ranks share: nothing depends on it but how soon a nap ends. The lowest rank of a
//! host has it in a file without a name, which goes with its last user; the others open it by number of process and
//! descriptor, and know it by its inode. Where that is not possible (another user, another name space of processes,
//! no `/proc`), a rank has no bell, and naps as if it were alone.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, Timespec, memfd_create};
use rustix::thread::futex;

/// Bytes of what a rank tells the others of the bell that it could offer.
pub(super) const OFFER: usize = 12;

/// Bytes of the memory: a page.
const SIZE: usize = 4096;

/// The memory with the number of times that it was rung.
pub(super) struct Bell {
    memory: NonNull<AtomicU32>,
    /// Kept so that others can open it.
    file: File,
}

// SAFETY: the memory is shared with other processes anyway, and is only used as an atomic number.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// A bell of this process.
    pub(super) fn make() -> io::Result<Self> {
        let file = File::from(memfd_create("dijitso-bell", MemfdFlags::CLOEXEC)?);
        file.set_len(SIZE as u64)?;
        Self::of(file)
    }

    /// What others need to open it: the descriptor and the inode. Zeros for none.
    pub(super) fn offer(bell: Option<&Self>) -> [u8; OFFER] {
        let mut offer = [0; OFFER];
        if let Some(bell) = bell
            && let Ok(facts) = bell.file.metadata()
        {
            offer[..4].copy_from_slice(&bell.file.as_raw_fd().to_le_bytes());
            offer[4..].copy_from_slice(&facts.ino().to_le_bytes());
        }
        offer
    }

    /// The bell that a process of this host offers.
    pub(super) fn open(&self, process: u32, offer: [u8; OFFER]) -> io::Result<Self> {
        let (descriptor, inode) = offer.split_at(4);
        let descriptor = u32::from_le_bytes(descriptor.try_into().unwrap_or_default());
        let inode = u64::from_le_bytes(inode.try_into().unwrap_or_default());
        // What stands there now may be another file, of another program: it must not hold us.
        let path = format!("/proc/{process}/fd/{descriptor}");
        let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let (theirs, ours) = (file.metadata()?, self.file.metadata()?);
        // Files of memory of all processes of a machine are in one file system.
        if inode == 0 || (theirs.dev(), theirs.ino(), theirs.len()) != (ours.dev(), inode, SIZE as u64) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::of(file)
    }

    fn of(file: File) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the system's choice, of a file of that size, which nobody makes shorter.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, file })
    }

    fn number(&self) -> &AtomicU32 {
        // SAFETY: mapped until this is dropped, aligned to a page, and all processes use it as an atomic number.
        unsafe { self.memory.as_ref() }
    }

    /// How often it was rung.
    pub(super) fn rung(&self) -> u32 {
        self.number().load(Ordering::Acquire)
    }

    /// Wakes all who sleep on it.
    pub(super) fn ring(&self) {
        self.number().fetch_add(1, Ordering::AcqRel);
        let _ = futex::wake(self.number(), futex::Flags::empty(), i32::MAX as u32);
    }

    /// Wakes all who sleep on it, unless somebody has rung it since `before`.
    pub(super) fn ring_if_silent(&self, before: u32) {
        let next = before.wrapping_add(1);
        if self.number().compare_exchange(before, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let _ = futex::wake(self.number(), futex::Flags::empty(), i32::MAX as u32);
        }
    }

    /// Sleeps until it is rung once more than `before`, or for so long. It may end earlier.
    pub(super) fn nap(&self, before: u32, nap: Duration) {
        if let Ok(nap) = Timespec::try_from(nap) {
            let _ = futex::wait(self.number(), futex::Flags::empty(), before, Some(&nap));
        }
    }
}

/// A bell, as the ranks of a communicator have it.
#[derive(Default)]
pub(super) struct Shared {
    /// That of this host's ranks.
    pub(super) bell: Option<Bell>,
    /// Whether all ranks are on this host.
    pub(super) by_all: bool,
}

/// Bytes of what a rank tells the others: its machine (a `u64`), its process (a `u32`), its offer.
pub(super) const ROW: usize = 8 + 4 + OFFER;

/// What this rank tells the others.
pub(super) fn row(machine: u64, own: Option<&Bell>) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[..8].copy_from_slice(&machine.to_le_bytes());
    row[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    row[12..].copy_from_slice(&Bell::offer(own));
    row
}

/// The bell of the lowest rank of this machine, by the rows of all ranks in their order.
pub(super) fn choose<'a>(own: Option<Bell>, rows: impl Iterator<Item = &'a [u8]>, rank: usize) -> Shared {
    let rows: Vec<&[u8]> = rows.collect();
    let mine = rows.get(rank).copied().unwrap_or_default();
    let here = |row: &&[u8]| row.get(..8) == mine.get(..8);
    let by_all = rows.iter().all(|row| here(row));
    let Some((first, row)) = rows.iter().enumerate().find(|(_, row)| here(row)) else {
        return Shared::default();
    };
    if first == rank || rows.iter().filter(|row| here(row)).count() < 2 {
        return Shared { bell: own, by_all };
    }
    let bell = own.and_then(|own| {
        let process = u32::from_le_bytes(row.get(8..12)?.try_into().ok()?);
        own.open(process, row.get(12..)?.try_into().ok()?).ok()
    });
    Shared { bell, by_all }
}

impl Drop for Bell {
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

    #[test]
    fn who_sleeps_is_woken_by_whoever_opened_the_same_bell() {
        let bell = Bell::make().unwrap();
        let same = bell.open(std::process::id(), Bell::offer(Some(&bell))).unwrap();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let before = bell.rung();
                while bell.rung() == before {
                    bell.nap(before, LONG);
                }
            });
            same.ring();
            std::thread::sleep(Duration::from_millis(20));
            same.ring();
        });
        assert!(begin.elapsed() < LONG);
        let before = bell.rung();
        same.ring_if_silent(before);
        same.ring_if_silent(before);
        assert_eq!(bell.rung(), before + 1);
        // What was rung before it slept is not slept through.
        bell.nap(before, LONG);
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn the_ranks_of_a_machine_share_the_bell_of_the_first_of_them() {
        let bells = [(); 4].map(|()| Bell::make().unwrap());
        let machines = [7, 8, 7, 8];
        let rows: Vec<_> =
            bells.iter().zip(machines).map(|(bell, machine)| row(machine, Some(bell))).collect();
        let shared: Vec<Shared> = (bells.into_iter().enumerate())
            .map(|(rank, bell)| (rank, choose(Some(bell), rows.iter().map(<[u8; ROW]>::as_slice), rank)))
            .map(|(_, shared)| shared)
            .collect();
        assert!(shared.iter().all(|shared| !shared.by_all));
        let bell = |rank: usize| shared[rank].bell.as_ref().unwrap();
        bell(0).ring();
        assert_eq!([0, 1, 2, 3].map(|rank| bell(rank).rung()), [1, 0, 1, 0]);
        let alone = row(7, None);
        let nobody = choose(None, [alone.as_slice(), &alone].into_iter(), 1);
        assert!(nobody.bell.is_none() && nobody.by_all);
    }

    #[test]
    fn what_is_not_a_bell_is_not_opened() {
        let bell = Bell::make().unwrap();
        let offer = Bell::offer(Some(&bell));
        let other = tempfile::tempfile().unwrap();
        other.set_len(SIZE as u64).unwrap();
        let mut wrong = offer;
        wrong[..4].copy_from_slice(&other.as_raw_fd().to_le_bytes());
        assert!(bell.open(std::process::id(), wrong).is_err(), "another file");
        let second = Bell::make().unwrap();
        wrong[..4].copy_from_slice(&second.file.as_raw_fd().to_le_bytes());
        assert!(bell.open(std::process::id(), wrong).is_err(), "another bell");
        assert!(bell.open(std::process::id(), Bell::offer(None)).is_err(), "none");
        assert!(bell.open(u32::MAX, offer).is_err(), "no such process");
    }
}
