//! Communicators for host programs: made from theirs, owned by them, freed by them with `MPI_Comm_free`.

use std::ffi::c_int;

use crate::error::{Error, Kind, Result};
use crate::parallel::app_roles::{HostComms, gather_numbers, role};
use crate::parallel::roles::ROOT;
use crate::parallel::{Communicator, agree};
use crate::params::resolved::BuildOn;

use super::abi::Handle;
use super::request::{check, count};
use super::{MpiComm, RawComm};

/// Frees a communicator that the host program does not get.
fn free(comm: RawComm) {
    if let (false, Ok((mpi, mut comm))) = (comm.is_null(), comm.handle()) {
        // SAFETY: it was made here and no other code has its handle.
        unsafe { mpi.functions.comm_free(&raw mut comm) };
    }
}

/// Makes a communicator for each color, with the ranks in the order of `key`; null for ranks without a color.
/// It gets the error handler of `of`, the host's communicator, of which `ours` is the duplicate. Collective.
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
    let (mpi, of) = of.handle()?;
    let (functions, undefined) = (&mpi.functions, mpi.constants.undefined);
    let (color, key) = (color.map_or(Ok(undefined), count)?, count(key)?);
    let null = Handle(mpi.constants.comm_null);
    let mut comm = null;
    // SAFETY: our own communicator, and a pointer to a local.
    let code = unsafe { functions.comm_split(ours.comm()?, color, key, &raw mut comm) };
    check(code, "MPI_Comm_split")?;
    if comm != null {
        // SAFETY: two valid communicators and a pointer to a local; the handler lives on in the new one.
        unsafe {
            let mut handler = Handle(0);
            if functions.comm_get_errhandler(of, &raw mut handler) == 0 {
                functions.comm_set_errhandler(comm, handler);
                functions.errhandler_free(&raw mut handler);
            }
        }
    }
    Ok(comm.into())
}

/// Makes the communicator of the ranks that share a directory. `leaders` has for each rank the lowest of
/// them. Collective.
///
/// # Errors
/// The same on all ranks: [`Kind::Mpi`], [`Kind::Timeout`].
pub fn node_comm(ours: &MpiComm, of: RawComm, leaders: &[usize]) -> Result<RawComm> {
    split(ours, of, Some(leaders[ours.rank()]), ours.rank())
}

/// Makes a communicator of these ranks, in this order; null for the others. Collective.
///
/// # Errors
/// Those of [`node_comm`].
pub fn subcomm(ours: &MpiComm, of: RawComm, ranks: &[usize]) -> Result<RawComm> {
    let place = ranks.iter().position(|rank| *rank == ours.rank());
    split(ours, of, place.map(|_| 0), place.unwrap_or_default())
}

/// Makes a communicator of the first ranks of all nodes; null for the others. Each rank passes the first rank
/// of its node. Collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] on all ranks if one of them passes no rank of the communicator; those of
/// [`node_comm`].
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

/// Makes the communicators of a strategy, and returns them with the role of this rank. `leaders` has for each
/// rank the lowest rank that shares its directory. Collective.
///
/// # Errors
/// Those of [`node_comm`].
pub fn plan(ours: &MpiComm, of: RawComm, buildon: BuildOn, leaders: &[usize]) -> Result<HostComms<RawComm>> {
    let rank = ours.rank();
    let alone = HostComms { role: role(buildon, rank, leaders), ..HostComms::alone(RawComm::NULL) };
    if buildon == BuildOn::Process {
        return Ok(alone);
    }
    let wait = node_comm(ours, of, leaders)?;
    if buildon == BuildOn::Node {
        return Ok(HostComms { wait, ..alone });
    }
    let copy = split(ours, of, (leaders[rank] == rank).then_some(0), rank);
    // Fails on all ranks or on none.
    if copy.is_err() {
        free(wait);
    }
    Ok(HostComms { copy: copy?, wait, ..alone })
}

/// Returns for each rank the lowest rank that shares its directory. Each rank passes its communicator of
/// [`node_comm`], and the rank in `ours` of the first rank in that. Collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] on all ranks if the arguments of one of them contradict those of others.
pub fn leaders(ours: &MpiComm, node_comm: RawComm, node_root: Result<i32>) -> Result<Vec<usize>> {
    let (root, size) = agree(ours, "checking the call", || {
        let wrong = |text: String| Error::new(Kind::InvalidArgument, text);
        let root = node_root?;
        let root = usize::try_from(root).ok().filter(|root| *root <= ours.rank());
        let root = root
            .ok_or_else(|| wrong("node_root is not the lowest rank that shares the directory".to_owned()))?;
        if node_comm.is_null() {
            return Err(wrong("node_comm is the null communicator".to_owned()));
        }
        let (mpi, node_comm) = node_comm.handle()?;
        let (mut rank, mut size): (c_int, c_int) = (0, 0);
        // SAFETY: a communicator of the host that is not null, and pointers to locals.
        unsafe {
            check(mpi.functions.comm_rank(node_comm, &raw mut rank), "MPI_Comm_rank")?;
            check(mpi.functions.comm_size(node_comm, &raw mut size), "MPI_Comm_size")?;
        }
        if (rank == 0) != (root == ours.rank()) {
            return Err(wrong(format!("node_root is {root}, which is not rank 0 of node_comm")));
        }
        Ok((root, u64::try_from(size).unwrap_or_default()))
    })?;
    let all = gather_numbers(ours, root as u64)?;
    let all: Vec<usize> = all.into_iter().map(|root| usize::try_from(root).unwrap_or_default()).collect();
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
