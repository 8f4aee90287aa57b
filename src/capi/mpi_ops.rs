//! The work of the functions of `mpi.rs`. An argument that is bad on one rank alone must not keep
//! that rank away from the others, so it travels as an error until the ranks agree.

use std::path::Path;

use crate::error::Result;
use crate::logging;
use crate::parallel::app_roles::{self, HostComms};
use crate::parallel::mpi::{self, MpiComm};
use crate::parallel::{Communicator, agree};
use crate::params::resolved::{BuildOn, default_timeout};

use super::comm::{MPI_Comm, attached};
use super::convert::invalid;

/// Runs a call on the library's side of a host's communicator.
fn on<T>(comm: MPI_Comm, call: &str, body: impl FnOnce(&MpiComm) -> Result<T>) -> Result<T> {
    if comm.is_null() {
        return Err(invalid("comm is the null communicator"));
    }
    let ours = attached(comm, call, default_timeout(), None)?;
    let _here = logging::enter(ours.rank(), ours.size());
    ours.check_alive()?;
    ours.begin(call, default_timeout());
    body(&ours)
}

/// Checks that as many numbers fit as there are ranks.
fn check_capacity(ours: &MpiComm, capacity: usize) -> Result<()> {
    if capacity >= ours.size() {
        return Ok(());
    }
    Err(invalid(format!("capacity is {capacity}; it must be at least the size of comm, {}", ours.size())))
}

pub(super) fn discover(comm: MPI_Comm, path: Result<&str>, capacity: usize) -> Result<Vec<i32>> {
    on(comm, "discover_path_access_ranks", |ours| {
        let path = path.and_then(|path| check_capacity(ours, capacity).map(|()| Path::new(path)));
        let domains = app_roles::discover_domains(ours, path)?;
        let leaders = domains.leaders();
        let mine = (0..leaders.len()).filter(|rank| leaders[*rank] == leaders[ours.rank()]);
        Ok(mine.map(|rank| i32::try_from(rank).unwrap_or(i32::MAX)).collect())
    })
}

pub(super) fn node_comm(comm: MPI_Comm, path: Result<&str>) -> Result<(MPI_Comm, i32)> {
    on(comm, "create_node_comm", |ours| {
        let domains = app_roles::discover_domains(ours, path.map(Path::new))?;
        let made = mpi::app_roles::node_comm(ours, comm, domains.leaders())?;
        Ok((made, i32::try_from(domains.leaders()[ours.rank()]).unwrap_or(i32::MAX)))
    })
}

pub(super) fn node_roots_comm(comm: MPI_Comm, node_root: Result<i32>) -> Result<MPI_Comm> {
    on(comm, "create_node_roots_comm", |ours| mpi::app_roles::node_roots_comm(ours, comm, node_root))
}

pub(super) fn subcomm(comm: MPI_Comm, ranks: Result<&[i32]>) -> Result<MPI_Comm> {
    on(comm, "create_subcomm", |ours| {
        let ranks = app_roles::same_ranks(ours, ranks)?;
        mpi::app_roles::subcomm(ours, comm, &ranks)
    })
}

pub(super) fn plan(comm: MPI_Comm, request: Result<(&str, BuildOn)>) -> Result<HostComms<MPI_Comm>> {
    if comm.is_null() {
        return request.map(|_| HostComms::alone(MPI_Comm::NULL));
    }
    on(comm, "create_comms_and_role", |ours| {
        let compared = request.map(|(path, buildon)| ((path, buildon), vec![buildon as u8]));
        let (path, buildon) = app_roles::same(ours, "buildon", compared)?;
        let domains = app_roles::discover_domains(ours, Ok(Path::new(path)))?;
        mpi::app_roles::plan(ours, comm, buildon, domains.leaders())
    })
}

pub(super) fn plan_of(
    comm: MPI_Comm,
    node_comm: MPI_Comm,
    node_root: Result<i32>,
    buildon: BuildOn,
) -> Result<HostComms<MPI_Comm>> {
    on(comm, "create_comms_and_role", |ours| {
        let compared = node_root.map(|root| (root, vec![buildon as u8]));
        let node_root = app_roles::same(ours, "strategy", compared);
        let leaders = mpi::app_roles::leaders(ours, node_comm, Ok(node_root?))?;
        mpi::app_roles::plan(ours, comm, buildon, &leaders)
    })
}

pub(super) fn transfer(comm: MPI_Comm, data: Result<Option<&[u8]>>) -> Result<Option<Vec<u8>>> {
    on(comm, "send_binary", |ours| app_roles::transfer(ours, data))
}

pub(super) fn uuid(comm: MPI_Comm, good: Result<()>) -> Result<u64> {
    on(comm, "bcast_uuid", |ours| {
        agree(ours, "checking the call", || good)?;
        app_roles::shared_id(ours)
    })
}

pub(super) fn partitions(comm: MPI_Comm, mine: Result<u64>, capacity: usize) -> Result<Vec<u64>> {
    on(comm, "gather_global_partitions", |ours| {
        let mine = agree(ours, "checking the call", || {
            mine.and_then(|mine| check_capacity(ours, capacity).map(|()| mine))
        })?;
        app_roles::partitions(ours, mine)
    })
}
