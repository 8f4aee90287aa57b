//! Collectives over all ranks: the ranks of a host meet in their memory, the leaders of the hosts exchange
//! messages.

use crate::error::{Error, Kind, Result};
use crate::parallel::node::hosts::RankHosts;
use crate::parallel::node::shared::{CONTRIBUTION, PIECE, RESULT, SharedMemory};

use super::between::{HostTree, receive, send};
use super::wait::Turn;
use super::{MpiComm, release_or_leak};

/// Bytes of the first message of a broadcast, which has the length of the data and their beginning.
pub(super) const FIRST: usize = RESULT;

/// Values of one reduction. One more number goes with them.
const VALUES: usize = CONTRIBUTION / 8 - 1;

/// The rank of a host that completes a step for the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Completer {
    /// The one that comes last.
    Last,
    /// The leader, which talks to the other hosts.
    Leader,
}

fn to_bytes(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes")))
}

/// The data of a broadcast in pieces.
pub(super) struct Pieces {
    pub(super) root: usize,
    /// The data, or an empty buffer if this rank only forwards them.
    pub(super) data: Vec<u8>,
    /// The place in the data at which the pieces begin, and the bytes of all pieces.
    pub(super) from: usize,
    pub(super) bytes: u64,
    /// The number of ranks of this host that take part.
    pub(super) participants: usize,
}

impl MpiComm {
    pub(super) fn hosts(&self) -> &RankHosts {
        &self.state.node().hosts
    }

    pub(super) fn memory(&self) -> Option<&SharedMemory> {
        self.state.node().memory.as_ref()
    }

    pub(super) fn leads(&self) -> bool {
        self.hosts().index() == 0
    }

    /// Returns the rank that completes steps in which the hosts exchange something.
    fn completer(&self) -> Completer {
        if self.hosts().is_one_host() { Completer::Last } else { Completer::Leader }
    }

    /// Waits until `participants` ranks of the host have arrived and one of them has done `work`.
    pub(super) fn meet(
        &self,
        attempt: &mut Turn,
        memory: &SharedMemory,
        participants: usize,
        completer: Completer,
        work: impl FnOnce(&mut Turn) -> Result<()>,
    ) -> Result<()> {
        let barrier = memory.barrier(attempt.stage);
        let ready = barrier.ready.get();
        let last = barrier.arrive(participants);
        let completes = match completer {
            Completer::Last => last,
            Completer::Leader => self.leads(),
        };
        if !completes {
            if last {
                barrier.ready.advance(ready);
            }
            return self.wait_for_word(attempt, &barrier.done, attempt.before);
        }
        if !last {
            self.wait_for_word(attempt, &barrier.ready, ready)?;
        }
        work(attempt)?;
        barrier.done.advance(attempt.before);
        memory.check(barrier.done.get())
    }

    /// Reduces at most [`VALUES`] values to their minima over all ranks, and returns the sum of `own` over the
    /// ranks of this host.
    fn min_and_sum(&self, values: &mut [u64], own: u64) -> Result<u64> {
        self.collective(|attempt| {
            let Some(memory) = self.memory() else {
                values.copy_from_slice(&self.min_between(attempt, values.to_vec())?);
                return Ok(own);
            };
            let before = attempt.before;
            let mine = [to_bytes(values), own.to_le_bytes().to_vec()].concat();
            memory.contribute(before, &mine);
            let mut row = vec![0; mine.len()];
            self.meet(attempt, memory, memory.ranks(), self.completer(), |attempt| {
                let mut least = vec![u64::MAX; values.len()];
                let mut sum = 0;
                for index in 0..memory.ranks() {
                    memory.contribution(before, index, &mut row);
                    least
                        .iter_mut()
                        .zip(from_bytes(&row))
                        .for_each(|(least, value)| *least = (*least).min(value));
                    sum += from_bytes(&row).last().unwrap_or_default();
                }
                let mut result = self.min_between(attempt, least)?;
                result.push(sum);
                memory.set_result(before, &to_bytes(&result));
                Ok(())
            })?;
            memory.result(before, &mut row);
            values.iter_mut().zip(from_bytes(&row)).for_each(|(value, least)| *value = least);
            Ok(from_bytes(&row).last().unwrap_or_default())
        })
    }

    /// Computes the minima of `values` over all ranks.
    pub(super) fn min_of_all(&self, values: &mut [u64]) -> Result<()> {
        values.chunks_mut(VALUES).try_for_each(|values| self.min_and_sum(values, 0).map(drop))
    }

    /// Fails on all ranks if one of them has not enough memory for what it is about to receive: it cannot take
    /// part, and the others must not begin. Returns the number of ranks of this host that take part. Collective.
    pub(super) fn agree_on_memory(&self, has_memory: bool, takes_part: bool) -> Result<usize> {
        let mut lacking = [if has_memory { u64::MAX } else { self.rank as u64 }];
        let count = self.min_and_sum(&mut lacking, u64::from(takes_part))?;
        if lacking == [u64::MAX] {
            return Ok(usize::try_from(count).unwrap_or_default());
        }
        Err(Error::new(Kind::Mpi, format!("rank {} has not enough memory for what it receives", lacking[0])))
    }

    /// Returns the first message of `root`, of [`FIRST`] bytes.
    pub(super) fn broadcast_first(&self, root: usize, mut first: Vec<u8>) -> Result<Vec<u8>> {
        self.collective(|attempt| {
            let (hosts, leader) = (self.hosts(), self.hosts().leader_of(root));
            let Some(memory) = self.memory() else { return self.broadcast_between(attempt, leader, first) };
            let before = attempt.before;
            if self.rank == root {
                memory.set_result(before, &first);
            }
            self.meet(attempt, memory, memory.ranks(), self.completer(), |attempt| {
                if hosts.is_one_host() {
                    return Ok(());
                }
                let mut bytes = vec![0; FIRST];
                memory.result(before, &mut bytes);
                let bytes = self.broadcast_between(attempt, leader, bytes)?;
                memory.set_result(before, &bytes);
                Ok(())
            })?;
            memory.result(before, &mut first);
            Ok(first)
        })
    }

    /// Sends data in pieces to the ranks that take part: through the memory of each host, and from host to host
    /// once. While the ranks of a host read a piece, the next one is received and the one before is forwarded.
    pub(super) fn broadcast_pieces(&self, pieces: Pieces) -> Result<Vec<u8>> {
        let Pieces { root, mut data, from, bytes, participants } = pieces;
        let (hosts, leader) = (self.hosts(), self.hosts().leader_of(root));
        let between = self.leads() && !hosts.is_one_host();
        let tree = if between {
            HostTree::new(hosts, leader)
        } else {
            HostTree { parent: None, children: Vec::new() }
        };
        let holds = !data.is_empty();
        let mut forward: Vec<u8> = Vec::new();
        let count = usize::try_from(bytes.div_ceil(PIECE as u64)).unwrap_or_default();
        for number in 0..count {
            let begin = from + number * PIECE;
            let length =
                usize::try_from(bytes - (number * PIECE) as u64).map_or(PIECE, |left| left.min(PIECE));
            let piece = &mut if holds { &mut data[begin..begin + length] } else { &mut [][..] };
            forward = self.piece(number, |attempt| {
                let mut next = vec![0; if between { length } else { 0 }];
                let done = self.transfer(attempt, |comm, requests| {
                    tree.parent.map_or(Ok(()), |parent| receive(comm, requests, parent, &mut next))?;
                    tree.children.iter().try_for_each(|child| send_some(comm, requests, *child, &forward))
                });
                (next, _) = release_or_leak(done, (next, std::mem::take(&mut forward)))?;
                if between && self.rank == root {
                    next.copy_from_slice(piece);
                }
                if let (Some(memory), true) = (self.memory(), participants > 1) {
                    if self.rank == root {
                        memory.write_piece(number, piece);
                    } else if tree.parent.is_some() {
                        memory.write_piece(number, &next);
                    }
                    self.meet(attempt, memory, participants, Completer::Last, |_| Ok(()))?;
                    if between && tree.parent.is_none() && self.rank != root {
                        memory.read_piece(number, &mut next);
                    }
                    if holds && self.rank != root && !between {
                        memory.read_piece(number, piece);
                    }
                }
                if holds && self.rank != root && between {
                    piece.copy_from_slice(&next);
                }
                Ok(next)
            })?;
        }
        if !tree.children.is_empty() && count > 0 {
            self.piece(count, |attempt| {
                let done = self.transfer(attempt, |comm, requests| {
                    tree.children.iter().try_for_each(|child| send_some(comm, requests, *child, &forward))
                });
                release_or_leak(done, forward).map(drop)
            })?;
        }
        Ok(data)
    }

    /// Returns the bytes of all ranks, of which each has as many, in rank order.
    pub(super) fn gather_all(&self, mine: &[u8]) -> Result<Vec<u8>> {
        let (hosts, length) = (self.hosts(), mine.len());
        let Some(memory) = self.memory() else {
            let all = self.collective(|attempt| self.gather_hosts(attempt, mine.to_vec(), length))?;
            return Ok(all);
        };
        let (ranks, one_host) = (memory.ranks(), hosts.is_one_host());
        let total = length * self.size;
        let mut block = vec![0; ranks * length];
        let mut all = Vec::new();
        // An empty gather is a barrier.
        let count = length.div_ceil(CONTRIBUTION).max(1);
        for number in 0..count {
            let begin = number * CONTRIBUTION;
            let end = (begin + CONTRIBUTION).min(length);
            self.collective(|attempt| {
                let before = attempt.before;
                memory.contribute(before, &mine[begin..end]);
                let collect = |block: &mut [u8]| {
                    for (index, row) in block.chunks_exact_mut(length.max(1)).enumerate() {
                        memory.contribution(before, index, &mut row[begin..end]);
                    }
                };
                self.meet(attempt, memory, ranks, self.completer(), |attempt| {
                    if one_host {
                        return Ok(());
                    }
                    collect(&mut block);
                    if number + 1 == count {
                        all = self.gather_hosts(attempt, std::mem::take(&mut block), length)?;
                        if total <= RESULT {
                            memory.set_result(before, &all);
                        }
                    }
                    Ok(())
                })?;
                if one_host {
                    collect(&mut block);
                } else if number + 1 == count && total <= RESULT && !self.leads() {
                    all = vec![0; total];
                    memory.result(before, &mut all);
                }
                Ok(())
            })?;
        }
        if one_host {
            return Ok(block);
        }
        if total > RESULT {
            all.resize(total, 0);
            self.share(memory, &mut all)?;
        }
        Ok(all)
    }

    /// Gathers the rows of all hosts, and puts them into rank order.
    fn gather_hosts(&self, attempt: &mut Turn, block: Vec<u8>, length: usize) -> Result<Vec<u8>> {
        let sizes: Vec<usize> = self.hosts().sizes().iter().map(|ranks| ranks * length).collect();
        let by_host = self.gather_between(attempt, block, &sizes)?;
        let mut all = vec![0; by_host.len()];
        if length > 0 {
            for (row, rank) in by_host.chunks_exact(length).zip(self.hosts().by_host()) {
                all[rank * length..(rank + 1) * length].copy_from_slice(row);
            }
        }
        Ok(all)
    }

    /// Gives the bytes of the leader to all ranks of its host.
    fn share(&self, memory: &SharedMemory, bytes: &mut [u8]) -> Result<()> {
        for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
            self.piece(number, |attempt| {
                if self.leads() {
                    need_pieces(memory)?;
                    memory.write_piece(number, piece);
                }
                self.meet(attempt, memory, memory.ranks(), Completer::Last, |_| Ok(()))?;
                if !self.leads() {
                    memory.read_piece(number, piece);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Starts to send bytes, if there are any.
fn send_some(
    comm: super::abi::Handle,
    requests: &mut Vec<super::abi::Handle>,
    to: usize,
    bytes: &[u8],
) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { send(comm, requests, to, bytes) }
}

fn need_pieces(memory: &SharedMemory) -> Result<()> {
    if memory.has_pieces() {
        return Ok(());
    }
    Err(Error::new(Kind::Mpi, "there is not enough memory to share with the ranks of this host"))
}
