//! Roles and transport for hosts that do their own parallel work.

use std::ffi::c_char;

use crate::error::{Error, Kind, Result};
use crate::parallel::app_roles::HostComms;
use crate::params::resolved::BuildOn;

use super::boundary;
use super::convert::{bytes, output, reference_mut, text};
use super::error::dijitso_error;
use super::jit::MPI_Comm;
#[cfg(feature = "mpi")]
use super::mpi_ops as ops;
#[cfg(not(feature = "mpi"))]
use super::mpi_stub as ops;
use super::source::dijitso_blob;
use super::status::dijitso_status;

/// Generates and builds, and sends to the receivers if there are any.
pub const DIJITSO_ROLE_BUILDER: i32 = 0;
/// Receives what the builder sends, into its own cache directory.
pub const DIJITSO_ROLE_RECEIVER: i32 = 1;
/// Waits for a builder or receiver that shares its cache directory.
pub const DIJITSO_ROLE_WAITER: i32 = 2;

/// Finds out which ranks share a directory with this one, whatever its path is on each of them.
///
/// Every rank looks at the device and inode of its directory; between machines, one rank of each puts a file into it
/// and looks for those of the others. All ranks are told what each has seen, so that all have the same view.
///
/// @param comm       An intra-communicator.
/// @param path       The directory, on this rank; made where it is not there. Special characters mean nothing.
///                   *Copied*.
/// @param ranks_out  Receives the ranks in ascending order, this one among them.
/// @param capacity   Places at ranks_out: no less than comm has ranks.
/// @param count_out  Receives how many there are.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_CACHE when a
///         rank cannot have its directory, DIJITSO_ERROR_UNSUPPORTED, DIJITSO_ERROR_STATE, DIJITSO_ERROR_MPI,
///         DIJITSO_ERROR_TIMEOUT.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_discover_path_access_ranks", || {
            let count_out = output(count_out, 0, "count_out");
            let places = output(ranks_out, 0, "ranks_out").map(std::ptr::from_mut);
            let arguments = count_out.and_then(|count_out| Ok((count_out, places?, text(path, "path")?)));
            let path = arguments.as_ref().map(|(_, _, path)| *path).map_err(Clone::clone);
            let ranks = ops::discover(comm, path, usize::try_from(capacity).unwrap_or_default())?;
            let (count_out, places, _) = arguments?;
            // Not more than the capacity, on which the ranks have agreed.
            places.copy_from_nonoverlapping(ranks.as_ptr(), ranks.len());
            *count_out = i32::try_from(ranks.len()).unwrap_or(i32::MAX);
            Ok(())
        })
    }
}

/// Makes a communicator of the ranks that share a directory with this one.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_node_comm", || {
            let node_comm_out = output(node_comm_out, ops::null(), "node_comm_out");
            let arguments = node_comm_out.and_then(|node_comm_out| Ok((node_comm_out, text(path, "path")?)));
            let path = arguments.as_ref().map(|(_, path)| *path).map_err(Clone::clone);
            let (node_comm, node_root) = ops::node_comm(comm, path)?;
            *arguments?.0 = node_comm;
            if let Some(node_root_out) = node_root_out.as_mut() {
                *node_root_out = node_root;
            }
            Ok(())
        })
    }
}

/// Makes a communicator of the first ranks of all nodes.
///
/// @param comm       An intra-communicator.
/// @param node_root  That of dijitso_mpi_create_node_comm().
/// @param comm_out   Receives the communicator, in the order of comm; *owned* by the caller, freed by
///                   MPI_Comm_free(). MPI_COMM_NULL on ranks that are not the first of theirs.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_node_roots_comm", || {
            let comm_out = output(comm_out, ops::null(), "comm_out");
            let made =
                ops::node_roots_comm(comm, comm_out.as_ref().map(|_| node_root).map_err(Clone::clone))?;
            *comm_out? = made;
            Ok(())
        })
    }
}

/// Makes a communicator of some ranks.
///
/// @param comm       An intra-communicator.
/// @param ranks      Ranks in comm, each once; the same on every rank. The new ones follow this order. *Copied*.
/// @param count      How many.
/// @param comm_out   Receives the communicator; *owned* by the caller, freed by MPI_Comm_free(). MPI_COMM_NULL on
///                   ranks that are not among them.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_subcomm", || {
            let comm_out = output(comm_out, ops::null(), "comm_out");
            let arguments = comm_out.and_then(|comm_out| {
                let count = usize::try_from(count).map_err(|_| wrong("count is negative"))?;
                if ranks.is_null() && count > 0 {
                    return Err(wrong("ranks is NULL"));
                }
                let ranks: &[i32] = if count == 0 { &[] } else { std::slice::from_raw_parts(ranks, count) };
                Ok((comm_out, ranks))
            });
            let made = ops::subcomm(comm, arguments.as_ref().map(|(_, ranks)| *ranks).map_err(Clone::clone))?;
            *arguments?.0 = made;
            Ok(())
        })
    }
}

/// Gives every rank its part in builds of the host's own making, and the communicators for it.
///
/// "node": the first rank of each directory builds, the others wait. "root": rank 0 builds, and sends to the first
/// ranks of the other directories, who receive; the others wait. "process": every rank builds, and nobody waits.
///
/// A builder passes generate to dijitso_jit(), and, where copy_comm is not MPI_COMM_NULL, a send that calls
/// dijitso_mpi_send_binary() on it; a receiver passes a receive that calls dijitso_mpi_receive_binary() on it;
/// everybody passes a wait that is a barrier on wait_comm, unless that is MPI_COMM_NULL. All pass DIJITSO_COMM_NULL as
/// communicator. dijitso_jit() calls no callback on a rank that has the library already: ranks first have to agree
/// that somebody misses it, and one that was answered without its callbacks has to do their part afterwards, as
/// examples/c/04_roles does.
///
/// @param comm           An intra-communicator. DIJITSO_COMM_NULL makes this process a builder; MPI is not touched.
/// @param path           The cache directory, or one that lies in the same place, on this rank. *Copied*.
/// @param buildon        "node", "root" or "process", the same on every rank. *Copied*.
/// @param copy_comm_out  Receives the communicator of builder and receivers, of which the builder is rank 0, or
///                       MPI_COMM_NULL; *owned* by the caller, freed by MPI_Comm_free(), as the next one.
/// @param wait_comm_out  Receives the communicator of those that share a directory, or MPI_COMM_NULL.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            let arguments = outputs.and_then(|outputs| {
                let (path, buildon) = (text(path, "path")?, strategy(text(buildon, "buildon")?)?);
                Ok((outputs, path, buildon))
            });
            let asked = arguments.as_ref().map(|(_, path, buildon)| (*path, *buildon)).map_err(Clone::clone);
            let plan = ops::plan(comm, asked)?;
            arguments?.0.set(plan);
            Ok(())
        })
    }
}

/// As dijitso_mpi_create_comms_and_role() with "node", where the nodes are known already.
///
/// @param comm           An intra-communicator.
/// @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      That of dijitso_mpi_create_node_comm().
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_node", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            let root = outputs.as_ref().map(|_| node_root).map_err(Clone::clone);
            let plan = ops::plan_of(comm, node_comm, root, BuildOn::Node)?;
            outputs?.set(plan);
            Ok(())
        })
    }
}

/// As dijitso_mpi_create_comms_and_role() with "root", where the nodes are known already.
///
/// @param comm           An intra-communicator.
/// @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      That of dijitso_mpi_create_node_comm().
/// @param copy_comm_out  Receives a communicator of the first ranks of all nodes, MPI_COMM_NULL on the others;
///                       *owned* by the caller, freed by MPI_Comm_free(), as the next one.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_root", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            let root = outputs.as_ref().map(|_| node_root).map_err(Clone::clone);
            let plan = ops::plan_of(comm, node_comm, root, BuildOn::Root)?;
            outputs?.set(plan);
            Ok(())
        })
    }
}

/// As dijitso_mpi_create_comms_and_role() with "process", where the nodes are known already.
///
/// Ranks that share a directory may all build in it: each library is built by one of them, the others find it. To
/// have a library of its own, a rank sets a "cache.cache_dir" of its own.
///
/// @param comm           An intra-communicator.
/// @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
/// @param node_root      That of dijitso_mpi_create_node_comm().
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_create_comms_and_role_process", || {
            let outputs = Outputs::new(copy_comm_out, wait_comm_out, role_out);
            let root = outputs.as_ref().map(|_| node_root).map_err(Clone::clone);
            let plan = ops::plan_of(comm, node_comm, root, BuildOn::Process)?;
            outputs?.set(plan);
            Ok(())
        })
    }
}

/// Sends bytes from rank 0 to all other ranks, which call dijitso_mpi_receive_binary(). Any number of bytes, also
/// none; whether there is room for them is agreed on first.
///
/// @param comm       An intra-communicator, such as the copy_comm of dijitso_mpi_create_comms_and_role(), on its
///                   rank 0.
/// @param data       *Borrowed* for the call; may be NULL when size is 0.
/// @param size       Bytes; may exceed 2 GiB.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT when another rank than 0 sends,
///         DIJITSO_ERROR_CACHE when a rank has not enough memory, and as dijitso_mpi_discover_path_access_ranks().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_send_binary(
    comm: MPI_Comm,
    data: *const u8,
    size: usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_send_binary", || {
            ops::transfer(comm, bytes(data.cast(), size, "data").map(Some)).map(drop)
        })
    }
}

/// Receives what rank 0 sends by dijitso_mpi_send_binary().
///
/// @param comm       An intra-communicator, on a rank that is not 0.
/// @param blob       Receives the bytes. That of a receive callback, or one of your own. *Borrowed* for the call.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_mpi_send_binary().
/// @collective over comm  @threads as dijitso_jit()  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_mpi_receive_binary(
    comm: MPI_Comm,
    blob: *mut dijitso_blob,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_receive_binary", || {
            let blob = reference_mut(blob, "blob");
            let received = ops::transfer(comm, blob.as_ref().map(|_| None).map_err(Clone::clone))?;
            blob?.set(received.unwrap_or_default())
        })
    }
}

/// Gives all ranks the same number, which nobody else has.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_bcast_uuid", || {
            let uuid_out = output(uuid_out, 0, "uuid_out");
            let uuid = ops::uuid(comm, uuid_out.as_ref().map(|_| ()).map_err(Clone::clone))?;
            *uuid_out? = uuid;
            Ok(())
        })
    }
}

/// Gathers the different numbers that the ranks pass, in ascending order: in how many groups they are.
///
/// @param comm            An intra-communicator.
/// @param partition       That of this rank.
/// @param partitions_out  Receives the numbers.
/// @param capacity        Places at partitions_out: no less than comm has ranks.
/// @param count_out       Receives how many there are.
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
    // SAFETY: the comment above says what each pointer has to be; none is used before it is checked for NULL.
    unsafe {
        boundary::status(error_out, "dijitso_mpi_gather_global_partitions", || {
            let count_out = output(count_out, 0, "count_out");
            let places = output(partitions_out, 0, "partitions_out").map(std::ptr::from_mut);
            let arguments = count_out.and_then(|count_out| Ok((count_out, places?)));
            let mine = arguments.as_ref().map(|_| partition).map_err(Clone::clone);
            let all = ops::partitions(comm, mine, usize::try_from(capacity).unwrap_or_default())?;
            let (count_out, places) = arguments?;
            // Not more than the capacity, on which the ranks have agreed.
            places.copy_from_nonoverlapping(all.as_ptr(), all.len());
            *count_out = i32::try_from(all.len()).unwrap_or(i32::MAX);
            Ok(())
        })
    }
}

/// Where the answer of dijitso_mpi_create_comms_and_role() goes.
struct Outputs<'a> {
    copy: &'a mut MPI_Comm,
    wait: &'a mut MPI_Comm,
    role: &'a mut i32,
}

impl Outputs<'_> {
    /// # Safety
    /// Each is NULL, or may be written.
    unsafe fn new(copy: *mut MPI_Comm, wait: *mut MPI_Comm, role: *mut i32) -> Result<Self> {
        // SAFETY: promised by the caller.
        let (copy, wait, role) = unsafe {
            let copy = output(copy, ops::null(), "copy_comm_out");
            let wait = output(wait, ops::null(), "wait_comm_out");
            (copy, wait, output(role, -1, "role_out"))
        };
        Ok(Self { copy: copy?, wait: wait?, role: role? })
    }

    fn set(self, plan: HostComms<MPI_Comm>) {
        (*self.copy, *self.wait, *self.role) = (plan.copy, plan.wait, plan.role.into());
    }
}

fn wrong(text: &str) -> Error {
    Error::new(Kind::InvalidArgument, text)
}

fn strategy(text: &str) -> Result<BuildOn> {
    match text {
        "node" => Ok(BuildOn::Node),
        "root" => Ok(BuildOn::Root),
        "process" => Ok(BuildOn::Process),
        other => Err(wrong(&format!("buildon is \"{other}\", and may be \"node\", \"root\" or \"process\""))),
    }
}
