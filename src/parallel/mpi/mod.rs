//! Communicators of MPI. Only the files of this module call MPI, whichever the process has.
//!
//! The library communicates on a duplicate of the host program's communicator. The duplicate is made at the
//! first call, kept as an attribute of the communicator and freed with it. The ranks of a host meet in memory
//! that they [share](super::node); one rank of each host sends messages to other hosts. A rank that waits
//! sleeps, which leaves its core to a compiler. It calls MPI at growing intervals, because MPI proceeds only if
//! it is called, and reads the messages of the [failure detector](super::failure_detector).
//!
//! If a collective is given up, MPI may still write into its buffers: they are never freed, and neither is
//! the communicator.

pub mod abi;
pub mod app_roles;
mod attach;
mod between;
mod cancel;
mod collectives;
mod find;
mod groups;
mod handshake;
mod launcher;
mod mailbox;
mod raw;
mod request;
mod wait;
mod world;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::process::interrupt::Interrupt;
use crate::sync::lock;

use super::Communicator;
use super::node::shared::SharedMemory;

use abi::Handle;
use collectives::{FIRST, Pieces};
use find::mpi;

pub use attach::{attached, lookup_cached};
pub use find::{Declaration, declare};
pub use raw::{CommPlace, FORTRAN_NULL, RawComm, fortran_of_word};
pub use world::{World, library_version, world};

/// The library's duplicate of a host program's communicator, and the state kept with it.
pub struct MpiComm {
    /// `None` if it could not be made or has been freed.
    comm: Mutex<Option<Handle>>,
    rank: usize,
    size: usize,
    host: String,
    machine: u64,
    state: Arc<wait::Waiter>,
    extra: Box<dyn Any + Send + Sync>,
}

// SAFETY: handles of communicators and requests are integers or pointers that only MPI dereferences. MPI
// functions may be called with them from any thread at the thread level that the host program has asked MPI
// for, as the documentation of the interface says. All mutable state is behind locks.
unsafe impl Send for MpiComm {}
// SAFETY: as above.
unsafe impl Sync for MpiComm {}

impl MpiComm {
    fn new(rank: usize, size: usize, extra: Box<dyn Any + Send + Sync>) -> Self {
        let (host, machine) = (crate::host_name(), handshake::machine());
        let state = Arc::new(wait::Waiter::new(rank, size));
        Self { comm: Mutex::new(None), rank, size, host, machine, state, extra }
    }

    /// Returns the value that the first caller of [`attached`] made for this communicator.
    #[must_use]
    pub fn extra(&self) -> &(dyn Any + Send + Sync) {
        self.extra.as_ref()
    }

    fn handle(&self) -> MutexGuard<'_, Option<Handle>> {
        lock(&self.comm)
    }

    fn comm(&self) -> Result<Handle> {
        attach::check_process()?;
        self.handle().ok_or_else(|| Error::new(Kind::State, "the communicator has been freed"))
    }

    /// Returns the number of wake-ups of the ranks of this host that found nothing, for tests.
    #[must_use]
    pub fn idle_wakeups(&self) -> u64 {
        self.memory().map_or(0, SharedMemory::idle_wakeups)
    }

    fn free(&self) {
        let comm = self.handle().take();
        // With messages in transit the communicator is leaked, so that MPI does not give its number to
        // another one.
        if let Some(mut comm) = comm
            && self.state.is_quiet(comm)
        {
            // SAFETY: our own duplicate, taken out above, so that it is freed once. MPI is not finalised:
            // this runs in delete callbacks only.
            unsafe { mpi().functions.comm_free(&raw mut comm) };
        }
    }
}

/// Returns the family of the MPI of this process and the bytes of its handles, if it has one.
#[must_use]
pub fn family() -> Option<(abi::Family, usize)> {
    find::find().ok().map(|mpi| (mpi.family, mpi.constants.handle_size))
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
        self.min_of_all(values)
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        self.broadcast_to_some(root, data, true)
    }

    fn broadcast_to_some(&self, root: usize, data: &mut Vec<u8>, wants: bool) -> Result<()> {
        let is_root = self.rank == root;
        // The length and the beginning go first, in one message of a fixed size.
        let mut first = vec![0_u8; FIRST];
        let room = FIRST - 8;
        if is_root {
            first[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
            let some = data.len().min(room);
            first[8..8 + some].copy_from_slice(&data[..some]);
        }
        let first = self.broadcast_first(root, first)?;
        let length = u64::from_le_bytes(first[..8].try_into().expect("eight bytes"));
        let from = usize::try_from(length).map_or(room, |length| length.min(room));
        let mut all = std::mem::take(data);
        let mut has_memory = true;
        if !is_root {
            all = Vec::new();
            let size = usize::try_from(if wants { length } else { 0 });
            has_memory = size.is_ok_and(|size| all.try_reserve_exact(size).is_ok());
        }
        let bytes = length - from as u64;
        let forwards = self.leads() && !self.hosts().is_one_host();
        let takes_part = is_root || forwards || wants;
        let mut participants = 1;
        if bytes > 0 {
            if is_root || forwards {
                has_memory &= self.memory().is_none_or(SharedMemory::has_pieces);
            }
            participants = self.agree_on_memory(has_memory, takes_part)?;
        }
        if !is_root && wants {
            all.extend_from_slice(&first[8..8 + from]);
            all.resize(usize::try_from(length).unwrap_or_default(), 0);
        }
        if bytes > 0 && takes_part {
            all = self.broadcast_pieces(Pieces { root, data: all, from, bytes, participants })?;
        }
        if wants {
            *data = all;
        }
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        self.gather_all(mine)
    }

    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
        groups::broadcast(self, leaders, data)
    }
}
