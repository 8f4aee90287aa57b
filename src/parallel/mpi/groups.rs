//! Broadcasts within groups of ranks: from the leader of a group to one of its ranks on each other host, and
//! from there through the memory of the host.

use crate::error::Result;
use crate::parallel::node::shared::{PIECE, SharedMemory};

use super::between::{receive, send};
use super::collectives::{Completer, FIRST};
use super::{MpiComm, release_or_leak};

/// Bytes of a message between hosts.
const MESSAGE: usize = 4 << 20;

/// One rank's place in its group.
struct GroupPlace {
    /// The rank of its host that has the data before the others: the leader of the group, or the lowest rank of
    /// the group there.
    head: usize,
    /// The leader, if this rank is a head and receives from it.
    from: Option<usize>,
    /// The heads on other hosts, if this rank leads the group.
    to: Vec<usize>,
}

/// Sends the data of each group's leader to the members of its group, as
/// [`broadcast_in_groups`](crate::parallel::Communicator::broadcast_in_groups) does.
pub(super) fn broadcast(comm: &MpiComm, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
    if leaders.iter().enumerate().all(|(rank, leader)| rank == *leader) {
        return Ok(());
    }
    let (rank, one_host) = (comm.rank, comm.hosts().is_one_host());
    let head_of = |rank: usize| {
        let (leader, host) = (leaders[rank], comm.hosts().leader_of(rank));
        let same = |other: &usize| leaders[*other] == leader && comm.hosts().leader_of(*other) == host;
        if same(&leader) { leader } else { (0..=rank).find(same).unwrap_or(rank) }
    };
    let leader = leaders[rank];
    let is_remote = |other: &usize| leaders[*other] == rank && head_of(*other) == *other && *other != rank;
    let place = GroupPlace {
        head: head_of(rank),
        from: (head_of(rank) == rank && leader != rank).then_some(leader),
        to: if leader == rank && !one_host {
            (0..leaders.len()).filter(is_remote).collect()
        } else {
            Vec::new()
        },
    };
    // Length and beginning go first, in one message of a fixed size.
    let room = FIRST - 8;
    let mut first = vec![0_u8; FIRST];
    if leader == rank {
        first[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
        let some = data.len().min(room);
        first[8..8 + some].copy_from_slice(&data[..some]);
    }
    let (first, lengths) = lengths(comm, &place, first)?;
    let index_of = |rank: usize| comm.hosts().members().binary_search(&rank).unwrap_or_default();
    let length = lengths[index_of(place.head)];
    let mut all = std::mem::take(data);
    let mut has_memory = true;
    if leader != rank {
        all.clear();
        has_memory = usize::try_from(length).is_ok_and(|length| all.try_reserve_exact(length).is_ok());
    }
    if place.head == rank {
        has_memory &= comm.memory().is_none_or(SharedMemory::has_pieces);
    }
    // Groups have data of different lengths, so that all ranks come here whatever they have received.
    comm.agree_on_memory(has_memory, true)?;
    if leader != rank {
        all.resize(usize::try_from(length).unwrap_or_default(), 0);
    }
    if !one_host {
        if place.from.is_some() {
            let some = all.len().min(room);
            all[..some].copy_from_slice(&first[8..8 + some]);
        }
        all = exchange(comm, &place, all, room)?;
    }
    if let Some(memory) = comm.memory() {
        // One group of the host after the other: all its ranks come to each piece.
        let members = comm.hosts().members();
        let mut number = 0;
        for (index, head) in members.iter().enumerate() {
            let shares = |other: &&usize| **other != *head && head_of(**other) == *head;
            if head_of(*head) == *head && members.iter().any(|other| shares(&other)) {
                let mine = if place.head == *head { all.as_mut_slice() } else { &mut [] };
                number = share(comm, memory, *head == rank, mine, lengths[index], number)?;
            }
        }
    }
    *data = all;
    Ok(())
}

/// Sends the first message of each leader to other hosts. Returns that of this rank's group, if this rank is a
/// head, and the lengths of the data of all heads on this host, by the places of the ranks.
fn lengths(comm: &MpiComm, place: &GroupPlace, mut first: Vec<u8>) -> Result<(Vec<u8>, Vec<u64>)> {
    comm.collective(|attempt| {
        let done = comm.transfer(attempt, |handle, requests| {
            place.from.map_or(Ok(()), |from| receive(handle, requests, from, &mut first))?;
            place.to.iter().try_for_each(|to| send(handle, requests, *to, &first))
        });
        first = release_or_leak(done, first)?;
        let length = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let Some(memory) = comm.memory() else {
            let lengths = vec![length(&first)];
            return Ok((first, lengths));
        };
        let before = attempt.before;
        memory.contribute(before, &first[..8]);
        comm.meet(attempt, memory, memory.ranks(), Completer::Last, |_| Ok(()))?;
        let lengths = (0..memory.ranks()).map(|index| {
            let mut bytes = [0; 8];
            memory.contribution(before, index, &mut bytes);
            length(&bytes)
        });
        Ok((first, lengths.collect()))
    })
}

/// Sends `data[from..]` of the leaders to the heads on other hosts, and returns the data. One collective,
/// whatever the number of messages.
fn exchange(comm: &MpiComm, place: &GroupPlace, mut data: Vec<u8>, from: usize) -> Result<Vec<u8>> {
    let part = data.get_mut(from..).unwrap_or_default();
    let result = comm.collective(|attempt| {
        comm.transfer(attempt, |handle, requests| {
            for message in part.chunks_mut(MESSAGE) {
                if let Some(from) = place.from {
                    receive(handle, requests, from, message)?;
                }
                place.to.iter().try_for_each(|to| send(handle, requests, *to, message))?;
            }
            Ok(())
        })
    });
    release_or_leak(result, data)
}

/// Gives `length` bytes of the head of a group to the ranks of this host that have room for them, from the
/// piece `number` on. Returns the number of the next piece. All ranks of the host call this.
fn share(
    comm: &MpiComm,
    memory: &SharedMemory,
    is_head: bool,
    data: &mut [u8],
    length: u64,
    mut number: usize,
) -> Result<usize> {
    let mut pieces = data.chunks_mut(PIECE);
    for _ in 0..length.div_ceil(PIECE as u64) {
        let piece = pieces.next().unwrap_or_default();
        comm.piece(number, |attempt| {
            if is_head {
                memory.write_piece(number, piece);
            }
            comm.meet(attempt, memory, memory.ranks(), Completer::Last, |_| Ok(()))?;
            if !is_head {
                memory.read_piece(number, piece);
            }
            Ok(())
        })?;
        number += 1;
    }
    Ok(number)
}
