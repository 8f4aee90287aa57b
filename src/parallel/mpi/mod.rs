//! Ranks of MPI: only the files of this module name `mpi_sys`.
//!
//! The library talks on a duplicate of the host's communicator, made at its first use there, kept as an attribute of
//! it and freed with it. Every wait is a non-blocking collective that is tested with growing pauses, so that a rank
//! that waits for a compiler leaves its core to the compiler, and sees the letters of others that have waited too long
//! ([`super::rollcall`]).
//!
//! A collective that has been given up stays where it is: MPI may still write into its buffers, so they are never
//! freed, and neither is the communicator.

pub mod app_roles;
mod attach;
mod mailbox;
mod wait;
mod wakeup;
mod world;

use std::any::Any;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mpi_sys::{
    MPI_Comm, MPI_Comm_free, MPI_Comm_rank, MPI_Comm_set_errhandler, MPI_Comm_size, MPI_Comm_split,
    MPI_Iallgather, MPI_Iallreduce, MPI_Ibcast, RSMPI_COMM_NULL, RSMPI_ERRORS_RETURN, RSMPI_INT64_T,
    RSMPI_MIN, RSMPI_UINT8_T,
};

use crate::error::{Error, Kind, Result};
use crate::owner;
use crate::sync::lock;

use super::Communicator;
use super::timeout::{self, RankTable};

use wakeup::WakeFutex;

pub use attach::{attached, lookup_cached};
pub use world::{World, library_version, world};

/// The communicator type of the C interface.
pub type RawComm = MPI_Comm;

/// Bytes of a broadcast that travel with its length.
const FIRST: usize = 1024;

/// Bytes of each further message, and what a rank holds that only passes them on. MPI counts are `int`.
const PIECE: usize = 4 << 20;

/// Our duplicate of a host's communicator, and what is kept with it.
pub struct MpiComm {
    /// `None` where it could not be made, and once it has been freed.
    comm: Mutex<Option<MPI_Comm>>,
    rank: usize,
    size: usize,
    host: String,
    machine: u64,
    state: wait::Waiter,
    extra: Box<dyn Any + Send + Sync>,
    /// Communicators of some of the ranks, in the order in which they were made; freed with this one.
    parts: Mutex<Vec<Arc<MpiComm>>>,
}

// SAFETY: handles of communicators and requests are integers or pointers that only MPI looks into; MPI functions may
// be called with them from any thread at the thread level that the host has asked MPI for, as the documentation of the
// interface says. What changes is behind locks.
unsafe impl Send for MpiComm {}
// SAFETY: as above.
unsafe impl Sync for MpiComm {}

impl MpiComm {
    fn new(rank: usize, size: usize, extra: Box<dyn Any + Send + Sync>) -> Self {
        let (host, machine) = (crate::host_name(), machine());
        let state = wait::Waiter::new(rank, size);
        Self { comm: Mutex::new(None), rank, size, host, machine, state, extra, parts: Mutex::default() }
    }

    /// What was made for this communicator by the caller of [`attached`].
    #[must_use]
    pub fn extra(&self) -> &(dyn Any + Send + Sync) {
        self.extra.as_ref()
    }

    fn handle(&self) -> MutexGuard<'_, Option<MPI_Comm>> {
        lock(&self.comm)
    }

    fn comm(&self) -> Result<MPI_Comm> {
        attach::check_process()?;
        self.handle().ok_or_else(|| Error::new(Kind::State, "the communicator has been freed"))
    }

    /// Tells all ranks who they are. Collective.
    fn handshake(&self, call: &str, timeout: Option<Duration>) -> Result<()> {
        self.begin(call, timeout);
        self.enter("meeting for the first time");
        let own = WakeFutex::make().ok();
        let mine = [
            &wakeup::entry(self.machine, own.as_ref())[..],
            &RankTable::entry(std::process::id(), &self.host),
        ];
        let all = self.all_gather(&mine.concat())?;
        let rows = || {
            all.chunks_exact(wakeup::ENTRY_SIZE + timeout::ENTRY_SIZE)
                .map(|row| row.split_at(wakeup::ENTRY_SIZE))
        };
        let roster = RankTable::new(rows().flat_map(|(_, row)| row).copied().collect());
        self.state.set_ranks(roster, wakeup::choose(own, rows().map(|(row, _)| row), self.rank));
        Ok(())
    }

    fn free(&self) {
        let parts = std::mem::take(&mut *lock(&self.parts));
        parts.iter().for_each(|part| part.free());
        let comm = self.handle().take();
        // Where something is still on its way MPI keeps the communicator: its number must not be given to another.
        if let Some(mut comm) = comm
            && self.state.is_quiet(comm)
        {
            // SAFETY: it is our own duplicate, taken out above so that it is freed once, and MPI is not finalised:
            // this runs in delete callbacks only.
            unsafe { MPI_Comm_free(&raw mut comm) };
        }
    }
}

/// Whether this handle is the null communicator.
#[must_use]
pub fn is_null(comm: RawComm) -> bool {
    // SAFETY: a constant of the MPI library, set when the program was loaded.
    comm == unsafe { RSMPI_COMM_NULL }
}

/// The boot identifier is one and the same for all containers of a machine, whose inodes are comparable.
fn machine() -> u64 {
    let digest = crate::codec::digest(owner::boot_id());
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

fn count(length: usize) -> Result<c_int> {
    c_int::try_from(length)
        .map_err(|_| Error::new(Kind::Mpi, format!("a message of {length} bytes is too long for MPI")))
}

/// Buffers of a collective: given back when it is complete; else left to MPI for ever.
fn release_or_leak<T>(result: Result<()>, buffers: T) -> Result<T> {
    match result {
        Ok(()) => Ok(buffers),
        Err(error) => {
            std::mem::forget(buffers);
            Err(error)
        }
    }
}

impl MpiComm {
    /// Broadcasts into or from `data[from..to]`.
    fn broadcast_part(&self, root: usize, mut data: Vec<u8>, from: usize, to: usize) -> Result<Vec<u8>> {
        let part = &mut data[from..to];
        let (start, length, root) = (part.as_mut_ptr(), count(part.len())?, count(root)?);
        let result = self.collective("MPI_Ibcast", |comm, request| {
            // SAFETY: the buffer is ours, and stays where it is until the request is complete, or for ever.
            unsafe { MPI_Ibcast(start.cast(), length, RSMPI_UINT8_T, root, comm, request) }
        });
        release_or_leak(result, data)
    }
}

impl Communicator for MpiComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn machine(&self) -> u64 {
        self.machine
    }

    fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.state.watch.begin(call, timeout);
    }

    fn enter(&self, step: &str) {
        self.state.watch.enter(step);
    }

    fn expect(&self, step: &str, builders: &[usize]) {
        self.state.watch.expect(step, builders);
    }

    fn check_alive(&self) -> Result<()> {
        self.state.watch.health()
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        // Signed numbers in the same order: MPICH 4.0 takes the minimum of MPI_UINT64_T as if it were signed.
        const TOP: u64 = 1 << 63;
        let mine: Vec<u64> = values.iter().map(|value| value ^ TOP).collect();
        let mut least = vec![0_u64; mine.len()];
        let (from, to, length) = (mine.as_ptr(), least.as_mut_ptr(), count(mine.len())?);
        let result = self.collective("MPI_Iallreduce", |comm, request| {
            // SAFETY: both buffers have that many elements, and stay until the request is complete, or for ever.
            unsafe { MPI_Iallreduce(from.cast(), to.cast(), length, RSMPI_INT64_T, RSMPI_MIN, comm, request) }
        });
        let (_, least) = release_or_leak(result, (mine, least))?;
        values.iter_mut().zip(least).for_each(|(value, least)| *value = least ^ TOP);
        Ok(())
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        self.broadcast_to_some(root, data, true)
    }

    fn broadcast_to_some(&self, root: usize, data: &mut Vec<u8>, wants: bool) -> Result<()> {
        // The length and the beginning go first, in one message of a size that everybody knows.
        let mut first = vec![0_u8; FIRST];
        let head = FIRST - 8;
        if self.rank == root {
            first[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
            let some = data.len().min(head);
            first[8..8 + some].copy_from_slice(&data[..some]);
        }
        let first = self.broadcast_part(root, first, 0, FIRST)?;
        let length = u64::from_le_bytes(first[..8].try_into().expect("eight bytes"));
        let some = usize::try_from(length).map_or(head, |length| length.min(head));
        let rest = length - some as u64;
        // Who does not want it has room for one piece, into which all of them come.
        let holds = self.rank == root || wants;
        let size = if holds { length } else { rest.min(PIECE as u64) };
        let mut all = std::mem::take(data);
        let mut room = true;
        if self.rank != root {
            all.clear();
            room = usize::try_from(size).is_ok_and(|size| all.try_reserve_exact(size).is_ok());
        }
        if rest > 0 {
            // A rank without memory cannot take part, and the others must not begin without it.
            let mut lacking = [if room { u64::MAX } else { self.rank as u64 }];
            self.min(&mut lacking)?;
            if lacking != [u64::MAX] {
                let text = format!("rank {} has no memory for {length} bytes that it is sent", lacking[0]);
                return Err(Error::new(Kind::Mpi, text));
            }
        }
        if self.rank != root && holds {
            all.extend_from_slice(&first[8..8 + some]);
        }
        if self.rank != root {
            all.resize(usize::try_from(size).unwrap_or_default(), 0);
        }
        let mut sent = 0;
        while sent < rest {
            let piece = usize::try_from(rest - sent).map_or(PIECE, |left| left.min(PIECE));
            let from = if holds { some + usize::try_from(sent).unwrap_or_default() } else { 0 };
            all = self.broadcast_part(root, all, from, from + piece)?;
            sent += piece as u64;
        }
        if wants {
            *data = all;
        }
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        let mine = mine.to_vec();
        let mut all = vec![0_u8; mine.len() * self.size];
        let (from, to, length) = (mine.as_ptr(), all.as_mut_ptr(), count(mine.len())?);
        let result = self.collective("MPI_Iallgather", |comm, request| {
            let (from, to) = (from.cast(), to.cast());
            // SAFETY: the receive buffer has room for as many bytes from each rank; both stay until the request is
            // complete, or for ever.
            unsafe { MPI_Iallgather(from, length, RSMPI_UINT8_T, to, length, RSMPI_UINT8_T, comm, request) }
        });
        Ok(release_or_leak(result, (mine, all))?.1)
    }

    /// Blocking, since MPI has no other: the ranks have just met, and come at once.
    fn split(&self, color: usize) -> Result<Arc<dyn Communicator + Send + Sync>> {
        self.check_alive()?;
        let (color, key) = (count(color)?, count(self.rank)?);
        // SAFETY: a constant of the MPI library.
        let mut handle = unsafe { RSMPI_COMM_NULL };
        // SAFETY: our own communicator, and a pointer to a local.
        let code = unsafe { MPI_Comm_split(self.comm()?, color, key, &raw mut handle) };
        wait::check(code, "MPI_Comm_split")?;
        let (mut rank, mut size): (c_int, c_int) = (0, 1);
        // SAFETY: the communicator that was just made, and pointers to locals.
        unsafe {
            MPI_Comm_set_errhandler(handle, RSMPI_ERRORS_RETURN);
            MPI_Comm_rank(handle, &raw mut rank);
            MPI_Comm_size(handle, &raw mut size);
        }
        let (rank, size) = (usize::try_from(rank).unwrap_or_default(), usize::try_from(size).unwrap_or(1));
        let part = Arc::new(Self::new(rank, size, Box::new(())));
        *part.handle() = Some(handle);
        lock(&self.parts).push(Arc::clone(&part));
        let (waiting, timeout) = self.state.watch.waiting(0);
        part.handshake(&waiting.call, timeout)?;
        Ok(part)
    }
}
