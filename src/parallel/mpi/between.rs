//! Collectives among the leaders of the hosts, of messages on our duplicate. The leaders of other ranks do not
//! take part.

use std::ffi::c_int;

use crate::error::Result;
use crate::parallel::node::hosts::RankHosts;

use super::abi::Handle;
use super::find::mpi;
use super::request::{count, start};
use super::wait::Turn;
use super::{MpiComm, release_or_leak};

/// The tag of these messages. Those of one sender and tag arrive in the order in which they were sent.
const TAG: c_int = 2;

/// Starts to send bytes, which stay in place until the request is complete, or for ever.
pub(super) fn send(comm: Handle, requests: &mut Vec<Handle>, to: usize, bytes: &[u8]) -> Result<()> {
    let (first, length, to) = (bytes.as_ptr().cast(), count(bytes.len())?, count(to)?);
    // SAFETY: the callers keep the buffer.
    start(requests, "MPI_Isend", |request| unsafe {
        mpi().functions.isend(first, length, mpi().uint8(), to, TAG, comm, request)
    })
}

/// Starts to receive bytes, into a buffer that stays in place until the request is complete, or for ever.
pub(super) fn receive(comm: Handle, requests: &mut Vec<Handle>, from: usize, bytes: &mut [u8]) -> Result<()> {
    let (first, length, from) = (bytes.as_mut_ptr().cast(), count(bytes.len())?, count(from)?);
    // SAFETY: the callers keep the buffer.
    start(requests, "MPI_Irecv", |request| unsafe {
        mpi().functions.irecv(first, length, mpi().uint8(), from, TAG, comm, request)
    })
}

/// The place of a host in a binomial tree.
pub(super) struct HostTree {
    /// The leader to receive from; `None` at the root.
    pub(super) parent: Option<usize>,
    /// The leaders to send to, that of the largest part first.
    pub(super) children: Vec<usize>,
}

impl HostTree {
    /// Makes the tree whose root is the host with the leader `root`.
    pub(super) fn new(hosts: &RankHosts, root: usize) -> Self {
        let (leaders, size) = (hosts.leaders(), hosts.leaders().len());
        let root = leaders.binary_search(&root).unwrap_or_default();
        let place = (hosts.host() + size - root) % size;
        let leader = |place: usize| leaders[(place + root) % size];
        // The lowest bit of the place; at the root a bit above all places.
        let lowest = if place == 0 { size.next_power_of_two() } else { place & place.wrapping_neg() };
        let distances = std::iter::successors(Some(lowest / 2), |distance| Some(distance / 2));
        let distances = distances.take_while(|distance| *distance > 0);
        let children = distances.map(|distance| place + distance).filter(|child| *child < size).map(leader);
        Self { parent: (place != 0).then(|| leader(place - lowest)), children: children.collect() }
    }
}

impl MpiComm {
    /// Returns the minima of the values of all leaders. A minimum may count a value twice: so ranks at distances
    /// that are powers of two exchange what they have, for any number of hosts.
    pub(super) fn min_between(&self, attempt: &mut Turn, mut values: Vec<u64>) -> Result<Vec<u64>> {
        let (leaders, host) = (self.hosts().leaders(), self.hosts().host());
        let size = leaders.len();
        let mut distance = 1;
        while distance < size {
            let mine: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut other = vec![0_u8; mine.len()];
            let (to, from) = (leaders[(host + distance) % size], leaders[(host + size - distance) % size]);
            let done = self.transfer(attempt, |comm, requests| {
                receive(comm, requests, from, &mut other)?;
                send(comm, requests, to, &mine)
            });
            let (_, other) = release_or_leak(done, (mine, other))?;
            for (value, bytes) in values.iter_mut().zip(other.chunks_exact(8)) {
                *value = (*value).min(u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes")));
            }
            distance *= 2;
        }
        Ok(values)
    }

    /// Returns the bytes of all hosts in the order of the hosts. `sizes` has the number of bytes of each.
    pub(super) fn gather_between(
        &self,
        attempt: &mut Turn,
        mine: Vec<u8>,
        sizes: &[usize],
    ) -> Result<Vec<u8>> {
        let (leaders, host) = (self.hosts().leaders(), self.hosts().host());
        let size = leaders.len();
        // Begins with this host, goes on with those after it.
        let bytes_of = |first: usize, count: usize| -> usize {
            (first..first + count).map(|other| sizes[(host + other) % size]).sum()
        };
        let mut all = mine;
        let mut have = 1;
        while have < size {
            let more = have.min(size - have);
            let (to, from) = (leaders[(host + size - have) % size], leaders[(host + have) % size]);
            let sent = bytes_of(0, more);
            let begin = all.len();
            all.resize(begin + bytes_of(have, more), 0);
            let done = self.transfer(attempt, |comm, requests| {
                let (old, new) = all.split_at_mut(begin);
                receive(comm, requests, from, new)?;
                send(comm, requests, to, &old[..sent])
            });
            all = release_or_leak(done, all)?;
            have += more;
        }
        let before: usize = sizes[..host].iter().sum();
        let end = all.len() - before;
        all.rotate_left(end);
        Ok(all)
    }

    /// Sends bytes from the leader `root` to the leaders of all hosts. All pass as many.
    pub(super) fn broadcast_between(
        &self,
        attempt: &mut Turn,
        root: usize,
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let tree = HostTree::new(self.hosts(), root);
        if let Some(parent) = tree.parent {
            let done = self.transfer(attempt, |comm, requests| receive(comm, requests, parent, &mut bytes));
            bytes = release_or_leak(done, bytes)?;
        }
        let done = self.transfer(attempt, |comm, requests| {
            tree.children.iter().try_for_each(|child| send(comm, requests, *child, &bytes))
        });
        release_or_leak(done, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_reaches_each_host_once() {
        for size in 1..20 {
            for root in 0..size {
                let mut parents = vec![0; size];
                for rank in 0..size {
                    let tree = HostTree::new(&RankHosts::separate(rank, size), root);
                    assert_eq!(tree.parent.is_none(), rank == root);
                    for child in tree.children {
                        parents[child] += 1;
                        assert_eq!(HostTree::new(&RankHosts::separate(child, size), root).parent, Some(rank));
                    }
                }
                parents[root] += 1;
                assert_eq!(parents, vec![1; size]);
            }
        }
    }
}
