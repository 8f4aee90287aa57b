//! Communicators for hosts: made from theirs, owned by them, freed by `MPI_Comm_free`.

use std::ffi::c_int;

use mpi_sys::{
    MPI_Comm, MPI_Comm_free, MPI_Comm_get_errhandler, MPI_Comm_rank, MPI_Comm_set_errhandler, MPI_Comm_size,
    MPI_Comm_split, MPI_Errhandler_free, RSMPI_COMM_NULL, RSMPI_UNDEFINED,
};

use crate::error::{Error, Kind, Result};
use crate::parallel::app_roles::{self, Role};
use crate::parallel::roles::ROOT;
use crate::parallel::{Communicator, agree};
use crate::params::resolved::BuildOn;

use super::wait::check;
use super::{MpiComm, RawComm, count};

/// What a host builds with: its part, and whom it talks with.
#[derive(Clone, Copy, Debug)]
pub struct HostComms {
    /// Between the builder and the receivers, the builder being rank 0; null where there are none, or not this rank.
    pub copy: RawComm,
    /// Between those who wait for one another; null where nobody waits.
    pub wait: RawComm,
    /// The part of this rank.
    pub role: Role,
}

impl HostComms {
    /// That of a process without a communicator.
    #[must_use]
    pub fn alone() -> Self {
        Self { copy: null(), wait: null(), role: Role::Builder }
    }
}

/// The null communicator.
#[must_use]
pub fn null() -> RawComm {
    // SAFETY: a constant of the MPI library, set when the program was loaded.
    unsafe { RSMPI_COMM_NULL }
}

/// Gives a communicator back that was to be the host's.
fn free(mut comm: MPI_Comm) {
    if comm != null() {
        // SAFETY: it was made here and has not been given to anybody.
        unsafe { MPI_Comm_free(&raw mut comm) };
    }
}

/// A communicator for each color, with the ranks in the order of `key`; null for ranks without one. Collective over
/// `ours`, which stands for `of`: the host's communicator, whose error handler the new one gets.
fn split(ours: &MpiComm, of: RawComm, color: Option<usize>, key: usize) -> Result<RawComm> {
    let made = start_split(ours, of, color, key);
    let agreed = agree(ours, "making a communicator", || made.clone().map(drop));
    match (made, agreed) {
        (Ok(comm), Ok(())) => Ok(comm),
        (made, agreed) => {
            let _ = made.map(free);
            Err(agreed
                .err()
                .unwrap_or_else(|| Error::new(Kind::Internal, "a communicator was made and is not there")))
        }
    }
}

fn start_split(ours: &MpiComm, of: RawComm, color: Option<usize>, key: usize) -> Result<RawComm> {
    ours.check_alive()?;
    // SAFETY: a constant of the MPI library.
    let undefined = unsafe { RSMPI_UNDEFINED };
    let (color, key) = (color.map_or(Ok(undefined), count)?, count(key)?);
    let mut comm = null();
    // SAFETY: our own communicator, and a pointer to a local.
    check(unsafe { MPI_Comm_split(ours.comm()?, color, key, &raw mut comm) }, "MPI_Comm_split")?;
    if comm != null() {
        // SAFETY: two valid communicators and a pointer to a local; the handler lives on in the new one.
        unsafe {
            let mut handler = std::mem::zeroed();
            if MPI_Comm_get_errhandler(of, &raw mut handler) == 0 {
                MPI_Comm_set_errhandler(comm, handler);
                MPI_Errhandler_free(&raw mut handler);
            }
        }
    }
    Ok(comm)
}

/// A communicator of the ranks that share a directory, by the lowest ranks that share them. Collective.
///
/// # Errors
/// The same on all ranks, as for all functions here.
pub fn node_comm(ours: &MpiComm, of: RawComm, leaders: &[usize]) -> Result<RawComm> {
    split(ours, of, Some(leaders[ours.rank()]), ours.rank())
}

/// A communicator of these ranks, in this order; null for the others. Collective.
///
/// # Errors
/// As [`node_comm`].
pub fn subcomm(ours: &MpiComm, of: RawComm, ranks: &[usize]) -> Result<RawComm> {
    let place = ranks.iter().position(|rank| *rank == ours.rank());
    split(ours, of, place.map(|_| 0), place.unwrap_or_default())
}

/// A communicator of the first ranks of all nodes, null for the others: each rank passes the rank of its first one.
/// Collective.
///
/// # Errors
/// As [`node_comm`].
pub fn node_roots_comm(ours: &MpiComm, of: RawComm, node_root: Result<i32>) -> Result<RawComm> {
    let root = agree(ours, "checking the call", || {
        let root = node_root?;
        usize::try_from(root).ok().filter(|root| *root < ours.size()).ok_or_else(|| {
            let text = format!("node_root is {root}, and there are {} ranks", ours.size());
            Error::new(Kind::InvalidArgument, text)
        })
    })?;
    split(ours, of, (root == ours.rank()).then_some(0), ours.rank())
}

/// The communicators and the part of each rank, by the strategy and the lowest ranks that share directories. Collective.
///
/// # Errors
/// As [`node_comm`].
pub fn plan(ours: &MpiComm, of: RawComm, buildon: BuildOn, leaders: &[usize]) -> Result<HostComms> {
    let rank = ours.rank();
    let role = app_roles::role(buildon, rank, leaders);
    if buildon == BuildOn::Process {
        return Ok(HostComms { role, ..HostComms::alone() });
    }
    let wait = node_comm(ours, of, leaders)?;
    if buildon == BuildOn::Node {
        return Ok(HostComms { wait, role, ..HostComms::alone() });
    }
    let copy = split(ours, of, (leaders[rank] == rank).then_some(0), rank);
    // On all ranks or on none.
    if copy.is_err() {
        free(wait);
    }
    Ok(HostComms { copy: copy?, wait, role })
}

/// The lowest ranks that share directories, as a host knows them from [`node_comm`]: each rank has the communicator of
/// those that share its directory, and the rank of the first of them in `ours`. Collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] on all ranks when what one of them passes cannot be right.
pub fn leaders(ours: &MpiComm, node_comm: RawComm, node_root: Result<i32>) -> Result<Vec<usize>> {
    let root = agree(ours, "checking the call", || {
        let wrong = |text: String| Error::new(Kind::InvalidArgument, text);
        let root = node_root?;
        let root = usize::try_from(root).ok().filter(|root| *root <= ours.rank());
        let root = root
            .ok_or_else(|| wrong("node_root is not the lowest rank that shares the directory".to_owned()))?;
        if node_comm == null() {
            return Err(wrong("node_comm is the null communicator".to_owned()));
        }
        let (mut rank, mut size): (c_int, c_int) = (0, 0);
        // SAFETY: a communicator of the host that is not null, and pointers to locals.
        unsafe {
            check(MPI_Comm_rank(node_comm, &raw mut rank), "MPI_Comm_rank")?;
            check(MPI_Comm_size(node_comm, &raw mut size), "MPI_Comm_size")?;
        }
        if (rank == 0) != (root == ours.rank()) {
            return Err(wrong(format!("node_root is {root}, which is not rank 0 of node_comm")));
        }
        Ok((root, u64::try_from(size).unwrap_or_default()))
    })?;
    let (root, size) = root;
    let all = ours.all_gather(&(root as u64).to_le_bytes())?;
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
    let all: Vec<usize> =
        all.chunks_exact(8).map(|bytes| usize::try_from(number(bytes)).unwrap_or_default()).collect();
    agree(ours, "comparing nodes", || {
        let same = all.iter().filter(|other| **other == root).count() as u64;
        if all[root] == root && same == size && all[ROOT] == ROOT {
            return Ok(());
        }
        let text = format!("{same} ranks have node_root {root}, and node_comm has {size}");
        Err(Error::new(Kind::InvalidArgument, text))
    })?;
    Ok(all)
}
