//! The functions of `mpi.rs` in a library without MPI: the only communicator is the null one, the only role
//! is the builder.

use crate::error::Result;
use crate::parallel::app_roles::HostComms;
use crate::params::resolved::BuildOn;

use super::comm::{self, MPI_Comm};
use super::convert::invalid;

pub(super) fn null() -> MPI_Comm {
    std::ptr::null_mut()
}

/// Returns the error of a bad argument, else that of the communicator: the same order as with MPI.
fn unsupported<T, U>(comm: MPI_Comm, argument: Result<T>) -> Result<U> {
    argument?;
    if comm.is_null() {
        return Err(invalid("comm is the null communicator"));
    }
    comm::unsupported()
}

pub(super) fn discover(comm: MPI_Comm, path: Result<&str>, _capacity: usize) -> Result<Vec<i32>> {
    unsupported(comm, path)
}

pub(super) fn node_comm(comm: MPI_Comm, path: Result<&str>) -> Result<(MPI_Comm, i32)> {
    unsupported(comm, path)
}

pub(super) fn node_roots_comm(comm: MPI_Comm, node_root: Result<i32>) -> Result<MPI_Comm> {
    unsupported(comm, node_root)
}

pub(super) fn subcomm(comm: MPI_Comm, ranks: Result<&[i32]>) -> Result<MPI_Comm> {
    unsupported(comm, ranks)
}

pub(super) fn plan(comm: MPI_Comm, request: Result<(&str, BuildOn)>) -> Result<HostComms<MPI_Comm>> {
    if !comm.is_null() {
        return unsupported(comm, request);
    }
    request.map(|_| HostComms::alone(null()))
}

pub(super) fn plan_of(
    comm: MPI_Comm,
    _node_comm: MPI_Comm,
    node_root: Result<i32>,
    _buildon: BuildOn,
) -> Result<HostComms<MPI_Comm>> {
    unsupported(comm, node_root)
}

pub(super) fn transfer(comm: MPI_Comm, data: Result<Option<&[u8]>>) -> Result<Option<Vec<u8>>> {
    unsupported(comm, data)
}

pub(super) fn uuid(comm: MPI_Comm, good: Result<()>) -> Result<u64> {
    unsupported(comm, good)
}

pub(super) fn partitions(comm: MPI_Comm, mine: Result<u64>, _capacity: usize) -> Result<Vec<u64>> {
    unsupported(comm, mine)
}
