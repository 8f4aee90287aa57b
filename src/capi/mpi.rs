//! Roles and transport for programs that do their own transport.

use std::ffi::c_char;

use crate::error::Result;
use crate::parallel::app_roles::HostComms;
use crate::parallel::mpi::CommPlace;
use crate::params::resolved::BuildOn;

use super::boundary;
use super::comm::{MPI_Comm, comm_output};
use super::convert::{bytes, invalid, output, reference_mut, slice, text};
use super::error::dijitso_error;
use super::mpi_ops as ops;
use super::source::dijitso_blob;
use super::status::dijitso_status;

/// Generates and builds; sends to the receivers, if any.
pub const DIJITSO_ROLE_BUILDER: i32 = 0;
/// Receives from the builder into its own cache directory.
pub const DIJITSO_ROLE_RECEIVER: i32 = 1;
/// Waits for a builder or receiver that shares its cache directory.
pub const DIJITSO_ROLE_WAITER: i32 = 2;

/// Finds out which ranks share a directory with this rank. Its path may differ between ranks.
///
/// Ranks of one machine compare device and inode. Between machines one rank of each puts a file into its
/// directory and looks for the files of the others. The findings are exchanged, so all ranks have the same
/// view.
///
/// @param comm       An intra-communicator.
/// @param path       The directory on this rank; made if it is missing. Taken literally. *Copied*.
/// @param ranks_out  Receives the ranks in ascending order, with this rank.
/// @param capacity   Numbers that fit at ranks_out: at least the size of comm.
/// @param count_out  Receives the number of ranks.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_CACHE
///         if a rank cannot have its directory, DIJITSO_ERROR_UNSUPPORTED, DIJITSO_ERROR_STATE,
///         DIJITSO_ERROR_MPI, DIJITSO_ERROR_TIMEOUT.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_discover_path_access_ranks(
    comm: MPI_Comm,
    path: *const c_char,
    ranks_out: *mut i32,
    capacity: i32,
    count_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_discover_path_access_ranks", || {
            let count_out = output(count_out, 0, "count_out");
            let places = output(ranks_out, 0, "ranks_out").map(std::ptr::from_mut);
            let arguments = count_out.and_then(|count_out| Ok((count_out, places?, text(path, "path")?)));
            let path = borrowed(&arguments).map(|(_, _, path)| *path);
            let ranks = ops::discover(comm, path, usize::try_from(capacity).unwrap_or_default())?;
            let (count_out, places, _) = arguments?;
            // No more than the capacity: the ranks have agreed that it is enough.
            places.copy_from_nonoverlapping(ranks.as_ptr(), ranks.len());
            *count_out = i32::try_from(ranks.len()).unwrap_or(i32::MAX);
            Ok(())
        })
    }
}

/// Makes a communicator of the ranks that share a directory with this rank.
///
/// @param comm           An intra-communicator.
/// @param path           As for dijitso_mpi_discover_path_access_ranks().
/// @param node_comm_out  Receives the communicator, in the order of comm; *owned* by the caller, freed by
///                       MPI_Comm_free().
/// @param node_root_out  Receives the rank in comm of its rank 0; may be NULL.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_node_comm(
    comm: MPI_Comm,
    path: *const c_char,
    node_comm_out: *mut MPI_Comm,
    node_root_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_node_comm", || {
            let node_comm_out = comm_output(node_comm_out, "node_comm_out");
            let arguments = node_comm_out.and_then(|node_comm_out| Ok((node_comm_out, text(path, "path")?)));
            let path = borrowed(&arguments).map(|(_, path)| *path);
            let (node_comm, node_root) = ops::node_comm(comm, path)?;
            arguments?.0.set(node_comm);
            if let Some(node_root_out) = node_root_out.as_mut() {
                *node_root_out = node_root;
            }
            Ok(())
        })
    }
}

/// Makes a communicator of the first rank of each node. A node is a group of ranks that share a directory.
///
/// @param comm       An intra-communicator.
/// @param node_root  From dijitso_mpi_create_node_comm().
/// @param comm_out   Receives the communicator, in the order of comm; *owned* by the caller, freed by
///                   MPI_Comm_free(). MPI_COMM_NULL on ranks that are not the first of their node.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_node_roots_comm(
    comm: MPI_Comm,
    node_root: i32,
    comm_out: *mut MPI_Comm,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_node_roots_comm", || {
            let comm_out = comm_output(comm_out, "comm_out");
            let made = ops::node_roots_comm(comm, borrowed(&comm_out).map(|_| node_root))?;
            comm_out?.set(made);
            Ok(())
        })
    }
}

/// Makes a communicator of some ranks.
///
/// @param comm       An intra-communicator.
/// @param ranks      Ranks in comm, each once; the same on every rank. They are numbered in this order.
///                   *Copied*.
/// @param count      Number of ranks.
/// @param comm_out   Receives the communicator; *owned* by the caller, freed by MPI_Comm_free().
///                   MPI_COMM_NULL on other ranks.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_subcomm(
    comm: MPI_Comm,
    ranks: *const i32,
    count: i32,
    comm_out: *mut MPI_Comm,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_subcomm", || {
            let comm_out = comm_output(comm_out, "comm_out");
            let arguments = comm_out.and_then(|comm_out| {
                let count = usize::try_from(count).map_err(|_| invalid("count is negative"))?;
                Ok((comm_out, slice(ranks, count, "ranks")?))
            });
            let made = ops::subcomm(comm, borrowed(&arguments).map(|(_, ranks)| *ranks))?;
            arguments?.0.set(made);
            Ok(())
        })
    }
}

/// Gives every rank its role in builds that the program organises itself, and the communicators for it.
///
/// "node": the first rank of each directory builds, the others wait. "root": rank 0 builds and sends to the
/// first rank of each other directory, which receives; the others wait. "process": every rank builds.
///
/// All ranks call dijitso_jit() with DIJITSO_COMM_NULL. A builder passes generate and, unless copy_comm is
/// MPI_COMM_NULL, a send that calls dijitso_mpi_send_binary() on it. A receiver passes a receive that calls
/// dijitso_mpi_receive_binary() on it. Every rank passes a wait that is a barrier on wait_comm, unless that
/// is MPI_COMM_NULL.
///
/// dijitso_jit() calls no callback on a rank that has the library. So the ranks first have to agree that some
/// rank misses it, and a rank that was answered without its callbacks has to do their part afterwards;
/// examples/c/04_roles shows how.
///
/// @param comm           An intra-communicator. DIJITSO_COMM_NULL makes this process a builder; MPI is not
///                       touched.
/// @param path           The cache directory on this rank, or a directory beside it. *Copied*.
/// @param buildon        "node", "root" or "process", the same on every rank. *Copied*.
/// @param copy_comm_out  Receives the communicator of builder (rank 0) and receivers, or MPI_COMM_NULL;
///                       *owned* by the caller, freed by MPI_Comm_free(), like wait_comm_out.
/// @param wait_comm_out  Receives the communicator of the ranks that share a directory, or MPI_COMM_NULL.
/// @param role_out       Receives one of the DIJITSO_ROLE_ values.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_comms_and_role(
    comm: MPI_Comm,
    path: *const c_char,
    buildon: *const c_char,
    copy_comm_out: *mut MPI_Comm,
    wait_comm_out: *mut MPI_Comm,
    role_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            let arguments = outputs.and_then(|outputs| {
                let (path, buildon) = (text(path, "path")?, strategy(text(buildon, "buildon")?)?);
                Ok((outputs, path, buildon))
            });
            let request = borrowed(&arguments).map(|(_, path, buildon)| (*path, *buildon));
            let plan = ops::plan(comm, request)?;
            arguments?.0.set(plan);
            Ok(())
        })
    }
}

/// Does dijitso_mpi_create_comms_and_role() with "node", for nodes that are known already.
///
/// @param comm           An intra-communicator.
/// @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      From dijitso_mpi_create_node_comm().
/// @param copy_comm_out  Receives MPI_COMM_NULL.
/// @param wait_comm_out  Receives a communicator of the ranks of node_comm; *owned* by the caller, freed by
///                       MPI_Comm_free(), as is node_comm.
/// @param role_out       Receives one of the DIJITSO_ROLE_ values.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_comms_and_role_node(
    comm: MPI_Comm,
    node_comm: MPI_Comm,
    node_root: i32,
    copy_comm_out: *mut MPI_Comm,
    wait_comm_out: *mut MPI_Comm,
    role_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_node", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            plan_of(comm, node_comm, node_root, BuildOn::Node, outputs)
        })
    }
}

/// Does dijitso_mpi_create_comms_and_role() with "root", for nodes that are known already.
///
/// @param comm           An intra-communicator.
/// @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      From dijitso_mpi_create_node_comm().
/// @param copy_comm_out  Receives a communicator of the first rank of each node, MPI_COMM_NULL on other
///                       ranks; *owned* by the caller, freed by MPI_Comm_free(), like wait_comm_out.
/// @param wait_comm_out  Receives a communicator of the ranks of node_comm.
/// @param role_out       Receives one of the DIJITSO_ROLE_ values.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_comms_and_role_root(
    comm: MPI_Comm,
    node_comm: MPI_Comm,
    node_root: i32,
    copy_comm_out: *mut MPI_Comm,
    wait_comm_out: *mut MPI_Comm,
    role_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_root", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            plan_of(comm, node_comm, node_root, BuildOn::Root, outputs)
        })
    }
}

/// Does dijitso_mpi_create_comms_and_role() with "process", for nodes that are known already.
///
/// If ranks that share a directory all build in it, one of them builds each library and the others find it. A
/// rank that is to have a library of its own needs a cache.cache_dir of its own.
///
/// @param comm           An intra-communicator.
/// @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      From dijitso_mpi_create_node_comm().
/// @param copy_comm_out  Receives MPI_COMM_NULL.
/// @param wait_comm_out  Receives MPI_COMM_NULL.
/// @param role_out       Receives DIJITSO_ROLE_BUILDER.
/// @param error_out      Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_create_comms_and_role_process(
    comm: MPI_Comm,
    node_comm: MPI_Comm,
    node_root: i32,
    copy_comm_out: *mut MPI_Comm,
    wait_comm_out: *mut MPI_Comm,
    role_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_process", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            plan_of(comm, node_comm, node_root, BuildOn::Process, outputs)
        })
    }
}

/// Sends bytes from rank 0 to all other ranks, which call dijitso_mpi_receive_binary().
///
/// Before the bytes are sent, the ranks agree that all have memory for them.
///
/// @param comm       An intra-communicator, such as the copy_comm of dijitso_mpi_create_comms_and_role().
///                   This is its rank 0.
/// @param data       *Borrowed* for the call; may be NULL if size is 0.
/// @param size       Bytes; may be 0, and may exceed 2 GiB.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT if another rank than 0
///         sends, DIJITSO_ERROR_CACHE if a rank has not enough memory, else as
///         dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_send_binary(
    comm: MPI_Comm,
    data: *const u8,
    size: usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_send_binary", || {
            ops::transfer(comm, bytes(data.cast(), size, "data").map(Some)).map(drop)
        })
    }
}

/// Receives the bytes that rank 0 sends by dijitso_mpi_send_binary().
///
/// @param comm       An intra-communicator. This is not its rank 0.
/// @param blob       Receives the bytes: the blob of a receive callback, or one of your own. *Borrowed* for
///                   the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_send_binary().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_receive_binary(
    comm: MPI_Comm,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_receive_binary", || {
            let blob = reference_mut(blob, "blob");
            let received = ops::transfer(comm, borrowed(&blob).map(|_| None))?;
            blob?.set(received.unwrap_or_default())
        })
    }
}

/// Gives all ranks the same number, which is unique.
///
/// @param comm       An intra-communicator.
/// @param uuid_out   Receives the number.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_bcast_uuid(
    comm: MPI_Comm,
    uuid_out: *mut u64,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_bcast_uuid", || {
            let uuid_out = output(uuid_out, 0, "uuid_out");
            let uuid = ops::uuid(comm, borrowed(&uuid_out).map(|_| ()))?;
            *uuid_out? = uuid;
            Ok(())
        })
    }
}

/// Gathers the distinct numbers that the ranks pass, in ascending order. Their count is the number of groups.
///
/// @param comm            An intra-communicator.
/// @param partition       The number of this rank.
/// @param partitions_out  Receives the numbers.
/// @param capacity        Numbers that fit at partitions_out: at least the size of comm.
/// @param count_out       Receives how many numbers there are.
/// @param error_out       Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_gather_global_partitions(
    comm: MPI_Comm,
    partition: u64,
    partitions_out: *mut u64,
    capacity: i32,
    count_out: *mut i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_gather_global_partitions", || {
            let count_out = output(count_out, 0, "count_out");
            let places = output(partitions_out, 0, "partitions_out").map(std::ptr::from_mut);
            let arguments = count_out.and_then(|count_out| Ok((count_out, places?)));
            let mine = borrowed(&arguments).map(|_| partition);
            let all = ops::partitions(comm, mine, usize::try_from(capacity).unwrap_or_default())?;
            let (count_out, places) = arguments?;
            // No more than the capacity: the ranks have agreed that it is enough.
            places.copy_from_nonoverlapping(all.as_ptr(), all.len());
            *count_out = i32::try_from(all.len()).unwrap_or(i32::MAX);
            Ok(())
        })
    }
}

/// The outputs of dijitso_mpi_create_comms_and_role().
struct Outputs<'a> {
    copy: CommPlace,
    wait: CommPlace,
    role: &'a mut i32,
}

impl Outputs<'_> {
    /// # Safety
    /// Each pointer is NULL or may be written.
    unsafe fn new(copy: *mut MPI_Comm, wait: *mut MPI_Comm, role: *mut i32) -> Result<Self> {
        // SAFETY: promised by the caller.
        let (copy, wait, role) = unsafe {
            let copy = comm_output(copy, "copy_comm_out");
            let wait = comm_output(wait, "wait_comm_out");
            (copy, wait, output(role, -1, "role_out"))
        };
        Ok(Self { copy: copy?, wait: wait?, role: role? })
    }

    fn set(self, plan: HostComms<MPI_Comm>) {
        self.copy.set(plan.copy);
        self.wait.set(plan.wait);
        *self.role = plan.role.into();
    }
}

/// Plans the roles of ranks whose nodes are known already.
fn plan_of(
    comm: MPI_Comm,
    node_comm: MPI_Comm,
    node_root: i32,
    buildon: BuildOn,
    outputs: Result<Outputs<'_>>,
) -> Result<()> {
    let plan = ops::plan_of(comm, node_comm, borrowed(&outputs).map(|_| node_root), buildon)?;
    outputs?.set(plan);
    Ok(())
}

/// Borrows an argument that is needed again after the call. A bad one reaches the other ranks as an error.
fn borrowed<T>(argument: &Result<T>) -> Result<&T> {
    argument.as_ref().map_err(Clone::clone)
}

fn strategy(text: &str) -> Result<BuildOn> {
    match text {
        "node" => Ok(BuildOn::Node),
        "root" => Ok(BuildOn::Root),
        "process" => Ok(BuildOn::Process),
        other => {
            Err(invalid(format!("buildon is \"{other}\"; it must be \"node\", \"root\" or \"process\"")))
        }
    }
}
