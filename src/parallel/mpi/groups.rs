//! Broadcasts within groups of ranks, by messages on the duplicate of the whole communicator.

use std::ffi::c_int;

use mpi_sys::{MPI_Irecv, MPI_Isend, RSMPI_UINT8_T};

use crate::error::Result;

use super::request::{count, start};
use super::{FIRST, MpiComm, PIECE, release_or_leak};

/// The tag of these messages. Those of one sender and tag arrive in the order in which they were sent.
const TAG: c_int = 2;

/// Sends the data of each group's leader to the members of its group, as
/// [`broadcast_in_groups`](crate::parallel::Communicator::broadcast_in_groups) does.
pub(super) fn broadcast(comm: &MpiComm, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
    if leaders.iter().enumerate().all(|(rank, leader)| rank == *leader) {
        return Ok(());
    }
    // Length and beginning go first, in one message of a fixed size.
    let head = FIRST - 8;
    let leads = leaders[comm.rank] == comm.rank;
    let mut first = vec![0_u8; FIRST];
    if leads {
        first[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
        let some = data.len().min(head);
        first[8..8 + some].copy_from_slice(&data[..some]);
    }
    let first = exchange(comm, leaders, first, 0)?;
    let length = u64::from_le_bytes(first[..8].try_into().expect("eight bytes"));
    let mut all = std::mem::take(data);
    let mut has_memory = true;
    if !leads {
        all.clear();
        has_memory = usize::try_from(length).is_ok_and(|length| all.try_reserve_exact(length).is_ok());
    }
    // Groups have data of different lengths, so that all ranks come here whatever they have received.
    comm.agree_on_memory(has_memory)?;
    if !leads {
        let length = usize::try_from(length).unwrap_or_default();
        all.extend_from_slice(&first[8..8 + length.min(head)]);
        all.resize(length, 0);
    }
    *data = exchange(comm, leaders, all, head)?;
    Ok(())
}

/// Sends `data[from..]` of the leaders to the members, in pieces, and returns the data. All members of a group
/// pass data of one length. One collective, whatever the number of pieces.
fn exchange(comm: &MpiComm, leaders: &[usize], mut data: Vec<u8>, from: usize) -> Result<Vec<u8>> {
    let leader = leaders[comm.rank];
    let members: Vec<usize> =
        (0..leaders.len()).filter(|rank| *rank != comm.rank && leaders[*rank] == comm.rank).collect();
    let part = data.get_mut(from..).unwrap_or_default();
    let result = comm.collective("MPI_Isend or MPI_Irecv", |handle, requests| {
        for piece in part.chunks_mut(PIECE) {
            let (start_of_piece, length) = (piece.as_mut_ptr().cast(), count(piece.len())?);
            if leader != comm.rank {
                let leader = count(leader)?;
                // SAFETY: the buffer is ours, and stays in place until the request is complete, or for ever.
                start(requests, "MPI_Irecv", |request| unsafe {
                    MPI_Irecv(start_of_piece, length, RSMPI_UINT8_T, leader, TAG, handle, request)
                })?;
            }
            for member in &members {
                let member = count(*member)?;
                // SAFETY: as above.
                start(requests, "MPI_Isend", |request| unsafe {
                    MPI_Isend(
                        start_of_piece.cast_const(),
                        length,
                        RSMPI_UINT8_T,
                        member,
                        TAG,
                        handle,
                        request,
                    )
                })?;
            }
        }
        Ok(())
    });
    release_or_leak(result, data)
}
