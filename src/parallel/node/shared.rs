//! The memory that the ranks of a host share: who has arrived, what each contributes, results, and the error
//! that ended it.
//!
//! ```text
//! memory  := control | 2 results | error | slot of each rank | 2 pieces
//! slot    := position, time of arrival, 2 contributions
//! ```
//!
//! A step begins when a rank arrives and ends when all have arrived, so no rank is more than one step ahead of
//! another. Results and contributions are there twice, for even and odd steps: all ranks have read those of a step
//! when one of them comes to the step after the next.

use std::mem::size_of;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::{Advice, MmapRaw};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::error::{Error, Kind, Result};
use crate::parallel::timeout::truncate;

use super::barrier::{Barrier, FAILED, Word};
use super::memory_file::MemoryFile;

/// The longest result of a step.
pub const RESULT: usize = 1024;

/// The longest contribution of a rank to a step.
pub const CONTRIBUTION: usize = 480;

/// Bytes of a piece of large data.
pub const PIECE: usize = 1 << 20;

/// The longest encoded error.
const LONGEST_ERROR: usize = 5120;

const RESULTS_AT: usize = 1024;
const ERROR_AT: usize = RESULTS_AT + 2 * RESULT;
const SLOTS_AT: usize = ERROR_AT + LONGEST_ERROR;
const SLOT: usize = size_of::<RankSlot>() + 2 * CONTRIBUTION;

#[repr(C)]
struct Control {
    steps: Barrier,
    pieces: Barrier,
    /// One more than the index of the rank that writes the error; 0 if none does.
    author: AtomicU32,
    error_length: AtomicU32,
    /// The position for which a rank has warned.
    warned: AtomicU64,
    /// Counts the wake-ups that found nothing.
    idle_wakeups: AtomicU64,
    /// The cores that the ranks may run on.
    cores: [AtomicU64; CpuSet::MAX_CPU / 64],
}

#[repr(C, align(64))]
struct RankSlot {
    position: AtomicU64,
    /// Time of the arrival, in nanoseconds of the clock of the host.
    since: AtomicU64,
}

const _: () = assert!(size_of::<Control>() <= RESULTS_AT && SLOT.is_multiple_of(64));

/// The barrier at which a rank waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierKind {
    /// All ranks of the host come to it.
    Step,
    /// The ranks that write, read or forward a piece of large data come to it.
    Piece,
}

/// The outcome of an error that a rank wanted to give all ranks of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailOutcome {
    /// All ranks get this error, which may be another one.
    Failed(Error),
    /// The step was complete before.
    Complete,
}

/// The shared memory, mapped by one rank.
#[derive(Debug)]
pub struct SharedMemory {
    memory: MmapRaw,
    ranks: usize,
    index: usize,
    spins: OnceLock<bool>,
    has_pieces: OnceLock<bool>,
}

/// Returns where the pieces begin.
fn pieces_at(ranks: usize) -> usize {
    (SLOTS_AT + ranks * SLOT).next_multiple_of(4096)
}

impl SharedMemory {
    /// Maps the memory of `ranks` ranks of a host, of which this is the one at `index`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn map(file: &MemoryFile, ranks: usize, index: usize) -> std::io::Result<Self> {
        let memory = file.map(pieces_at(ranks) + 2 * PIECE, pieces_at(ranks))?;
        let shared = Self { memory, ranks, index, spins: OnceLock::new(), has_pieces: OnceLock::new() };
        if let Ok(cores) = sched_getaffinity(None) {
            for core in (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)) {
                shared.control().cores[core / 64].fetch_or(1 << (core % 64), Ordering::Relaxed);
            }
        }
        Ok(shared)
    }

    /// Returns the number of ranks of the host.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    fn control(&self) -> &Control {
        // SAFETY: mapped until this is dropped, aligned to a page, long enough, and sealed against shrinking.
        // All processes use it as atomic numbers only, and any bytes are such numbers.
        unsafe { &*self.memory.as_ptr().cast() }
    }

    fn slot(&self, index: usize) -> &RankSlot {
        assert!(index < self.ranks);
        // SAFETY: as above; the slots are aligned to 64 bytes.
        unsafe { &*self.memory.as_ptr().add(SLOTS_AT + index * SLOT).cast() }
    }

    /// Returns the barrier of a stage.
    #[must_use]
    pub fn barrier(&self, stage: BarrierKind) -> &Barrier {
        match stage {
            BarrierKind::Step => &self.control().steps,
            BarrierKind::Piece => &self.control().pieces,
        }
    }

    /// Copies bytes into the memory. The protocol of the steps keeps other ranks from using that place
    /// meanwhile.
    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.memory.len());
        // SAFETY: within the memory, as checked; `bytes` is memory of this process alone.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.as_mut_ptr().add(at), bytes.len()) };
    }

    fn read(&self, at: usize, bytes: &mut [u8]) {
        assert!(at + bytes.len() <= self.memory.len());
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(self.memory.as_ptr().add(at), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Says that this rank waits at `position`. Positions grow.
    pub fn set_position(&self, position: u64) {
        let slot = self.slot(self.index);
        slot.since.store(clock(), Ordering::Relaxed);
        slot.position.store(position, Ordering::Release);
    }

    /// Returns for each rank of the host if it waits at `position` or a later one.
    #[must_use]
    pub fn present(&self, position: u64) -> Vec<bool> {
        (0..self.ranks).map(|index| self.slot(index).position.load(Ordering::Acquire) >= position).collect()
    }

    /// Returns the longest time that a rank of the host has waited at `position`.
    #[must_use]
    pub fn longest_wait(&self, position: u64) -> Duration {
        let now = clock();
        let waits = (0..self.ranks).map(|index| self.slot(index));
        let here = waits.filter(|slot| slot.position.load(Ordering::Acquire) == position);
        let longest = here.map(|slot| now.saturating_sub(slot.since.load(Ordering::Relaxed))).max();
        Duration::from_nanos(longest.unwrap_or_default())
    }

    /// Writes the contribution of this rank to the step that follows `before`.
    pub fn contribute(&self, before: u32, bytes: &[u8]) {
        assert!(bytes.len() <= CONTRIBUTION);
        self.write(self.contribution_at(before, self.index), bytes);
    }

    /// Reads the contribution of a rank to the step that follows `before`, when all have arrived.
    pub fn contribution(&self, before: u32, index: usize, bytes: &mut [u8]) {
        assert!(bytes.len() <= CONTRIBUTION);
        self.read(self.contribution_at(before, index), bytes);
    }

    fn contribution_at(&self, before: u32, index: usize) -> usize {
        SLOTS_AT + index * SLOT + size_of::<RankSlot>() + (before as usize & 1) * CONTRIBUTION
    }

    /// Writes the result of the step that follows `before`. One rank does that, before the step is complete.
    pub fn set_result(&self, before: u32, bytes: &[u8]) {
        assert!(bytes.len() <= RESULT);
        self.write(RESULTS_AT + (before as usize & 1) * RESULT, bytes);
    }

    /// Reads the result of the step that follows `before`.
    pub fn result(&self, before: u32, bytes: &mut [u8]) {
        assert!(bytes.len() <= RESULT);
        self.read(RESULTS_AT + (before as usize & 1) * RESULT, bytes);
    }

    /// Gets the memory for pieces, when they are first needed.
    #[must_use]
    pub fn has_pieces(&self) -> bool {
        let populate = || self.memory.advise_range(Advice::PopulateWrite, pieces_at(self.ranks), 2 * PIECE);
        *self.has_pieces.get_or_init(|| {
            // An old kernel gave all memory at the beginning.
            populate().map_or_else(|error| error.raw_os_error() == Some(libc::EINVAL), |()| true)
        })
    }

    /// Writes the piece `number` of large data. Its place is that of the piece before the last.
    pub fn write_piece(&self, number: usize, bytes: &[u8]) {
        assert!(bytes.len() <= PIECE);
        self.write(pieces_at(self.ranks) + number % 2 * PIECE, bytes);
    }

    /// Reads the piece `number` of large data.
    pub fn read_piece(&self, number: usize, bytes: &mut [u8]) {
        assert!(bytes.len() <= PIECE);
        self.read(pieces_at(self.ranks) + number % 2 * PIECE, bytes);
    }

    /// Gives all ranks of the host an error in place of the step that follows `before`, unless that is complete.
    /// The first error counts.
    pub fn fail(&self, stage: BarrierKind, before: u32, error: &Error) -> FailOutcome {
        self.fail_with(error, || self.barrier(stage).done.fail(before))
    }

    /// Gives all ranks of the host an error, whatever they do.
    pub fn fail_always(&self, error: &Error) -> FailOutcome {
        self.fail_with(error, || true)
    }

    fn fail_with(&self, error: &Error, fails: impl FnOnce() -> bool) -> FailOutcome {
        const PATIENCE: Duration = Duration::from_millis(200);
        let control = self.control();
        let author = u32::try_from(self.index + 1).unwrap_or(FAILED);
        let end = Instant::now() + PATIENCE;
        while control.author.compare_exchange(0, author, Ordering::AcqRel, Ordering::Acquire).is_err() {
            match self.failure() {
                Some(error) => return FailOutcome::Failed(error),
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                // The rank that wrote an error has stopped.
                None => return FailOutcome::Failed(error.clone()),
            }
        }
        let bytes = error.to_bytes();
        let (bytes, error) = if bytes.len() <= LONGEST_ERROR {
            (bytes, error.clone())
        } else {
            let text = truncate(error.message(), LONGEST_ERROR / 8);
            let shorter = Error::new(error.kind(), text);
            (shorter.to_bytes(), shorter)
        };
        self.write(ERROR_AT, &bytes);
        control.error_length.store(u32::try_from(bytes.len()).unwrap_or_default(), Ordering::Release);
        if !fails() {
            control.error_length.store(0, Ordering::Release);
            control.author.store(0, Ordering::Release);
            return FailOutcome::Complete;
        }
        for barrier in [&control.steps, &control.pieces] {
            barrier.done.fail_always();
            barrier.ready.fail_always();
        }
        FailOutcome::Failed(error)
    }

    /// Returns the error that all ranks of the host get, if there is one.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        let control = self.control();
        let has_failed = |barrier: &Barrier| barrier.done.get() & FAILED != 0;
        if !has_failed(&control.steps) && !has_failed(&control.pieces) {
            return None;
        }
        let length = control.error_length.load(Ordering::Acquire) as usize;
        let mut bytes = vec![0; length.min(LONGEST_ERROR)];
        self.read(ERROR_AT, &mut bytes);
        Some(Error::from_bytes(&bytes))
    }

    /// Returns the error of all ranks of the host if a number says that they failed.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self, value: u32) -> Result<()> {
        if value & FAILED == 0 {
            return Ok(());
        }
        Err(self.failure().unwrap_or_else(|| Error::new(Kind::Internal, "another rank of this host failed")))
    }

    /// Returns true for one of the ranks that want to warn at `position`.
    #[must_use]
    pub fn claim_warning(&self, position: u64) -> bool {
        self.control().warned.fetch_max(position, Ordering::AcqRel) < position
    }

    /// Tells if each rank has a core of its own, so that a rank may spin before it sleeps.
    #[must_use]
    pub fn spins(&self) -> bool {
        let count = || {
            let cores = self.control().cores.iter();
            cores.map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum::<usize>()
        };
        *self.spins.get_or_init(|| count() >= self.ranks)
    }

    /// Counts a wake-up that found nothing.
    pub fn count_idle_wakeup(&self) {
        self.control().idle_wakeups.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of wake-ups on the host that found nothing.
    #[must_use]
    pub fn idle_wakeups(&self) -> u64 {
        self.control().idle_wakeups.load(Ordering::Relaxed)
    }

    /// Returns the number that a leader waits for before it completes a step.
    #[must_use]
    pub fn ready(&self, stage: BarrierKind) -> &Word {
        &self.barrier(stage).ready
    }
}

/// Returns the time of a clock that all processes of a host share, in nanoseconds.
fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a pointer to a local. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests;
