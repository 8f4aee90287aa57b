//! Communicators of MPI. Only the files of this module use `mpi_sys`.
//!
//! The library communicates on a duplicate of the host program's communicator. The duplicate is made at the
//! first call, kept as an attribute of the communicator and freed with it. A wait tests a non-blocking
//! collective with growing sleeps in between, so that a rank that waits for a compiler leaves its core to the
//! compiler and reads the messages of the [failure detector](super::failure_detector).
//!
//! If a collective is given up, MPI may still write into its buffers: they are never freed, and neither is
//! the communicator.

pub mod app_roles;
mod attach;
mod cancel;
mod groups;
mod mailbox;
mod request;
mod wait;
mod wakeup;
mod world;

use std::any::Any;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mpi_sys::{
    MPI_Comm, MPI_Comm_free, MPI_Comm_rank, MPI_Comm_set_errhandler, MPI_Comm_size, MPI_Comm_split,
    MPI_Iallgather, MPI_Iallreduce, MPI_Ibcast, MPI_Request, RSMPI_COMM_NULL, RSMPI_ERRORS_RETURN,
    RSMPI_INT64_T, RSMPI_MIN, RSMPI_UINT8_T,
};

use crate::error::{Error, Kind, Result};
use crate::owner;
use crate::process::interrupt::Interrupt;
use crate::sync::lock;

use super::Communicator;
use super::timeout::{self, RankTable};

use request::{check, count};
use wakeup::WakeFutex;

pub use attach::{attached, lookup_cached};
pub use world::{World, library_version, world};

/// The communicator type of the C interface.
pub type RawComm = MPI_Comm;

/// Bytes of the first message of a broadcast, which has the length of the data and their beginning.
const FIRST: usize = 1024;

/// Bytes of each further message, and the memory of a rank that only forwards them. MPI counts are `int`.
const PIECE: usize = 4 << 20;

/// The library's duplicate of a host program's communicator, and the state kept with it.
pub struct MpiComm {
    /// `None` if it could not be made or has been freed.
    comm: Mutex<Option<MPI_Comm>>,
    rank: usize,
    size: usize,
    host: String,
    machine: u64,
    state: Arc<wait::Waiter>,
    extra: Box<dyn Any + Send + Sync>,
    /// Splits of this communicator in the order in which they were made; freed with it.
    sub_comms: Mutex<Vec<Arc<MpiComm>>>,
}

// SAFETY: handles of communicators and requests are integers or pointers that only MPI dereferences. MPI
// functions may be called with them from any thread at the thread level that the host program has asked MPI
// for, as the documentation of the interface says. All mutable state is behind locks.
unsafe impl Send for MpiComm {}
// SAFETY: as above.
unsafe impl Sync for MpiComm {}

impl MpiComm {
    fn new(rank: usize, size: usize, extra: Box<dyn Any + Send + Sync>) -> Self {
        let (host, machine) = (crate::host_name(), machine());
        let state = Arc::new(wait::Waiter::new(rank, size));
        Self { comm: Mutex::new(None), rank, size, host, machine, state, extra, sub_comms: Mutex::default() }
    }

    /// Returns the value that the first caller of [`attached`] made for this communicator.
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

    /// Exchanges hosts, processes and wake-up futexes of all ranks. Collective.
    fn handshake(&self, call: &str, timeout: Option<Duration>) -> Result<()> {
        self.begin(call, timeout);
        self.enter("handshake");
        let own = WakeFutex::new().ok();
        let mine = [
            &wakeup::entry(self.machine, own.as_ref())[..],
            &RankTable::entry(std::process::id(), &self.host),
        ];
        let all = self.all_gather(&mine.concat())?;
        let entries = || {
            all.chunks_exact(wakeup::ENTRY_SIZE + timeout::ENTRY_SIZE)
                .map(|entry| entry.split_at(wakeup::ENTRY_SIZE))
        };
        let rank_table = RankTable::new(entries().flat_map(|(_, entry)| entry).copied().collect());
        let wakeup = wakeup::choose(own, entries().map(|(entry, _)| entry), self.rank);
        self.state.set_ranks(rank_table, wakeup);
        Ok(())
    }

    fn free(&self) {
        std::mem::take(&mut *lock(&self.sub_comms)).iter().for_each(|sub_comm| sub_comm.free());
        let comm = self.handle().take();
        // With messages in transit the communicator is leaked, so that MPI does not give its number to
        // another one.
        if let Some(mut comm) = comm
            && self.state.is_quiet(comm)
        {
            // SAFETY: our own duplicate, taken out above, so that it is freed once. MPI is not finalised:
            // this runs in delete callbacks only.
            unsafe { MPI_Comm_free(&raw mut comm) };
        }
    }
}

/// Returns the null communicator.
#[must_use]
pub fn null() -> RawComm {
    // SAFETY: a constant of the MPI library, set when the program was loaded.
    unsafe { RSMPI_COMM_NULL }
}

/// Tells if this is the null communicator.
#[must_use]
pub fn is_null(comm: RawComm) -> bool {
    comm == null()
}

/// Returns the number of this machine. All its containers have the same one: their inodes are comparable.
fn machine() -> u64 {
    let digest = crate::codec::digest(owner::boot_id());
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// Returns the buffers of a complete collective. After an error they are leaked, because MPI may still use
/// them.
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
    /// Runs the non-blocking collective `function` of MPI.
    fn collective_of_mpi(
        &self,
        function: &str,
        start: impl FnOnce(MPI_Comm, *mut MPI_Request) -> c_int,
    ) -> Result<()> {
        self.collective(function, |comm, requests| {
            request::start(requests, function, |request| start(comm, request))
        })
    }

    /// Fails on all ranks if one of them has not enough memory for what it is about to receive: it cannot
    /// take part, and the others must not begin. Collective.
    fn agree_on_memory(&self, has_memory: bool) -> Result<()> {
        let mut lacking = [if has_memory { u64::MAX } else { self.rank as u64 }];
        self.min(&mut lacking)?;
        if lacking == [u64::MAX] {
            return Ok(());
        }
        Err(Error::new(Kind::Mpi, format!("rank {} has not enough memory for what it receives", lacking[0])))
    }

    /// Broadcasts into or from `data[from..to]`.
    fn broadcast_part(&self, root: usize, mut data: Vec<u8>, from: usize, to: usize) -> Result<Vec<u8>> {
        let part = &mut data[from..to];
        let (start, length, root) = (part.as_mut_ptr(), count(part.len())?, count(root)?);
        let result = self.collective_of_mpi("MPI_Ibcast", |comm, request| {
            // SAFETY: the buffer is ours, and stays in place until the request is complete, or for ever.
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
        self.state.status.begin(call, timeout);
    }

    fn enter(&self, step: &str) {
        self.state.status.enter(step);
    }

    fn expect(&self, step: &str, builders: &[usize]) {
        self.state.status.expect(step, builders);
    }

    fn begin_polling(&self, poll: Option<&Interrupt>) -> Option<Interrupt> {
        cancel::begin(self, poll)
    }

    fn end_polling(&self) {
        self.state.cancellation.end();
    }

    fn cancelled(&self) -> Option<Error> {
        self.state.cancellation.known()
    }

    fn check_alive(&self) -> Result<()> {
        self.state.status.check_alive()
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        // Maps to signed numbers in the same order: MPICH 4.0 computes the minimum of MPI_UINT64_T as if it
        // were signed.
        const TOP: u64 = 1 << 63;
        let mine: Vec<u64> = values.iter().map(|value| value ^ TOP).collect();
        let mut least = vec![0_u64; mine.len()];
        let (from, to, length) = (mine.as_ptr(), least.as_mut_ptr(), count(mine.len())?);
        let result = self.collective_of_mpi("MPI_Iallreduce", |comm, request| {
            // SAFETY: both buffers have that many elements, and stay in place until the request is complete,
            // or for ever.
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
        // The length and the beginning go first, in one message of a fixed size.
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
        // A rank that does not want the data receives all pieces into one buffer of the size of a piece.
        let holds = self.rank == root || wants;
        let size = if holds { length } else { rest.min(PIECE as u64) };
        let mut all = std::mem::take(data);
        let mut has_memory = true;
        if self.rank != root {
            all.clear();
            has_memory = usize::try_from(size).is_ok_and(|size| all.try_reserve_exact(size).is_ok());
        }
        if rest > 0 {
            self.agree_on_memory(has_memory)?;
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
        let result = self.collective_of_mpi("MPI_Iallgather", |comm, request| {
            let (from, to) = (from.cast(), to.cast());
            // SAFETY: the receive buffer has room for the bytes of each rank; both stay in place until the
            // request is complete, or for ever.
            unsafe { MPI_Iallgather(from, length, RSMPI_UINT8_T, to, length, RSMPI_UINT8_T, comm, request) }
        });
        Ok(release_or_leak(result, (mine, all))?.1)
    }

    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
        groups::broadcast(self, leaders, data)
    }

    /// Blocks, because MPI has no non-blocking split: callers split just after another collective, when all
    /// ranks are present.
    fn split(&self, color: usize) -> Result<Arc<dyn Communicator + Send + Sync>> {
        self.check_alive()?;
        let (color, key) = (count(color)?, count(self.rank)?);
        let mut handle = null();
        // SAFETY: our own communicator, and a pointer to a local.
        check(unsafe { MPI_Comm_split(self.comm()?, color, key, &raw mut handle) }, "MPI_Comm_split")?;
        let (mut rank, mut size): (c_int, c_int) = (0, 1);
        // SAFETY: the communicator that was just made, and pointers to locals.
        unsafe {
            MPI_Comm_set_errhandler(handle, RSMPI_ERRORS_RETURN);
            MPI_Comm_rank(handle, &raw mut rank);
            MPI_Comm_size(handle, &raw mut size);
        }
        let (rank, size) = (usize::try_from(rank).unwrap_or_default(), usize::try_from(size).unwrap_or(1));
        let sub_comm = Arc::new(Self::new(rank, size, Box::new(())));
        *sub_comm.handle() = Some(handle);
        lock(&self.sub_comms).push(Arc::clone(&sub_comm));
        let (waiting, timeout) = self.state.status.waiting(0);
        sub_comm.handshake(&waiting.call, timeout)?;
        Ok(sub_comm)
    }
}
