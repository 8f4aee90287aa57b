//! Ranks: how they talk, and how they stay together.
//!
//! The one rule: between two collectives nothing returns early except inside [`agree`], and which collective comes
//! next depends only on values that all ranks already share.

#![deny(unsafe_code)]

pub mod app_roles;
pub mod cache_domains;
pub mod comm_status;
pub mod failure_detector;
#[cfg(feature = "mpi")]
#[allow(unsafe_code, reason = "MPI is a C library")]
pub mod mpi;
pub mod roles;
pub mod serial;
pub mod threads;
pub mod timeout;

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result, catch};

/// A group of ranks that call the same functions in the same order.
///
/// `min`, `broadcast` and `all_gather` are collective: each rank has to call them, with arguments that fit together. An
/// error of one means that the communicator itself failed; then nothing more can be agreed on.
pub trait Communicator {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The name of this rank's host, for people.
    fn host(&self) -> &str;

    /// A number that ranks have in common if and only if they run on the same booted machine.
    fn machine(&self) -> u64;

    /// Element-wise minimum over all ranks; as many elements everywhere.
    ///
    /// # Errors
    /// When communication fails.
    fn min(&self, values: &mut [u64]) -> Result<()>;

    /// Gives every rank the data of `root`; of any size, which the others need not know.
    ///
    /// # Errors
    /// When communication fails.
    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()>;

    /// As [`broadcast`](Communicator::broadcast), for data that may be large and that not every rank wants: `data` is
    /// empty afterwards on a rank that does not, `root` included, and it has never held all of it, unless it is `root`.
    ///
    /// # Errors
    /// When communication fails.
    fn broadcast_to_some(&self, root: usize, data: &mut Vec<u8>, wants: bool) -> Result<()> {
        self.broadcast(root, data)?;
        if !wants {
            *data = Vec::new();
        }
        Ok(())
    }

    /// The bytes of all ranks in rank order; equally many from each.
    ///
    /// # Errors
    /// When communication fails.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>>;

    /// A communicator of the ranks that pass the same color, in the order of their ranks here. It lasts as long as
    /// this one, so whoever splits keeps what he gets.
    ///
    /// # Errors
    /// When communication fails.
    fn split(&self, color: usize) -> Result<Arc<dyn Communicator + Send + Sync>>;

    /// A call begins, called `call`; in each step of it this rank waits so long for the others, `None` for ever.
    /// When that time is over, those who wait agree on who is late, all get that as an error of kind
    /// [`Timeout`](crate::error::Kind::Timeout), and nothing can be agreed on any more. Not collective.
    fn begin(&self, _call: &str, _timeout: Option<Duration>) {}

    /// The next collective is the end of this step of the call, as errors and warnings call it. Not collective.
    fn enter(&self, _step: &str) {}

    /// In this step these ranks compile, so that whoever waits for them can say so. Not collective.
    fn expect(&self, _step: &str, _builders: &[usize]) {}

    /// Whether anything can still be agreed on; quick, and not collective.
    ///
    /// # Errors
    /// The one after which nothing can.
    fn check_alive(&self) -> Result<()> {
        Ok(())
    }

    /// Puts rank and host into an error that happened here.
    fn locate(&self, error: Error) -> Error {
        error.on_rank(self.rank(), self.size(), self.host())
    }
}

/// Runs a rank-local step, turns its error or panic into a value, and gives every rank the same verdict: success only
/// if all succeeded, else the error of the lowest failing rank.
///
/// # Errors
/// That error.
pub fn agree<T>(comm: &dyn Communicator, step: &str, local: impl FnOnce() -> Result<T>) -> Result<T> {
    agree_min(comm, step, &mut [], |_| local())
}

/// As [`agree`], and reduces `votes` to their minimum over the ranks in the same communication. `local` fills in the
/// votes of this rank.
///
/// # Errors
/// The error of the lowest failing rank.
pub fn agree_min<T>(
    comm: &dyn Communicator,
    step: &str,
    votes: &mut [u64],
    local: impl FnOnce(&mut [u64]) -> Result<T>,
) -> Result<T> {
    let result = catch(step, || local(votes));
    let mut reduced = Vec::with_capacity(votes.len() + 1);
    reduced.push(if result.is_err() { comm.rank() as u64 } else { u64::MAX });
    reduced.extend_from_slice(votes);
    comm.enter(step);
    comm.min(&mut reduced)?;
    votes.copy_from_slice(&reduced[1..]);
    if reduced[0] == u64::MAX {
        return result;
    }
    let first = usize::try_from(reduced[0]).unwrap_or_default();
    let mut bytes = match result {
        Err(error) if first == comm.rank() => comm.locate(error).to_bytes(),
        _ => Vec::new(),
    };
    comm.broadcast(first, &mut bytes)?;
    Err(Error::from_bytes(&bytes))
}

/// As [`agree`], and gives every rank the bytes of all ranks, in rank order, in the same communication.
///
/// # Errors
/// The error of the lowest failing rank.
pub fn agree_gather<const N: usize>(
    comm: &dyn Communicator,
    step: &str,
    local: impl FnOnce() -> Result<[u8; N]>,
) -> Result<Vec<[u8; N]>> {
    let result = catch(step, local);
    let mut mine = vec![u8::from(result.is_err())];
    mine.extend_from_slice(result.as_ref().unwrap_or(&[0; N]));
    comm.enter(step);
    let all = comm.all_gather(&mine)?;
    let rows = || all.chunks_exact(N + 1);
    let Some(first) = rows().position(|row| row[0] != 0) else {
        return Ok(rows().map(|row| row[1..].try_into().expect("as many as were sent")).collect());
    };
    let mut bytes = match result {
        Err(error) if first == comm.rank() => comm.locate(error).to_bytes(),
        _ => Vec::new(),
    };
    comm.broadcast(first, &mut bytes)?;
    Err(Error::from_bytes(&bytes))
}

/// Runs a step on rank 0 alone and gives all ranks its bytes, or its error.
///
/// # Errors
/// That error.
pub fn on_root(
    comm: &dyn Communicator,
    step: &str,
    local: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if comm.rank() == 0 {
        match catch(step, local) {
            Ok(data) => {
                bytes.push(0);
                bytes.extend_from_slice(&data);
            }
            Err(error) => {
                bytes.push(1);
                bytes.extend_from_slice(&comm.locate(error).to_bytes());
            }
        }
    }
    comm.enter(step);
    comm.broadcast(0, &mut bytes)?;
    match bytes.split_first() {
        Some((0, data)) => Ok(data.to_vec()),
        Some((_, error)) => Err(Error::from_bytes(error)),
        None => Err(Error::from_bytes(&[])),
    }
}

/// The byte strings of all ranks in rank order, of any lengths.
///
/// # Errors
/// When communication fails.
pub fn gather_bytes(comm: &dyn Communicator, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
    // The complement makes the minimum a maximum.
    let mut longest = [!(mine.len() as u64)];
    comm.min(&mut longest)?;
    let width = usize::try_from(!longest[0]).unwrap_or_default() + 8;
    let mut padded = vec![0; width];
    padded[..8].copy_from_slice(&(mine.len() as u64).to_le_bytes());
    padded[8..8 + mine.len()].copy_from_slice(mine);
    let all = comm.all_gather(&padded)?;
    let unpad = |row: &[u8]| {
        let mut reader = crate::codec::Reader::new(row);
        reader.bytes().unwrap_or_default().to_vec()
    };
    Ok(all.chunks_exact(width).map(unpad).collect())
}

/// Whether all ranks voted the same, from a vote made by [`same_votes`] and reduced to the minimum.
#[must_use]
pub fn all_same(votes: &[u64]) -> bool {
    votes.chunks_exact(2).all(|pair| pair[0] == !pair[1])
}

/// Two votes for each word of a digest, whose minimum tells whether the digest was the same everywhere.
#[must_use]
pub fn same_votes(digest: &[u8; 32]) -> [u64; 8] {
    let mut votes = [0; 8];
    for (pair, word) in votes.chunks_exact_mut(2).zip(digest.chunks_exact(8)) {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight bytes"));
        pair.copy_from_slice(&[word, !word]);
    }
    votes
}

#[cfg(test)]
mod tests {
    use super::threads::run;
    use super::*;
    use crate::error::Kind;

    #[test]
    fn one_failing_rank_fails_all_with_the_same_error() {
        for size in [1, 2, 3, 5] {
            for bad in 0..size {
                let results = run(size, |comm| {
                    agree(comm, "testing", || {
                        if comm.rank() >= bad {
                            return Err(Error::new(Kind::Compile, format!("no {}", comm.rank())));
                        }
                        Ok(comm.rank())
                    })
                });
                for result in &results {
                    assert_eq!(result.as_ref().unwrap_err(), results[0].as_ref().unwrap_err());
                    assert_eq!(result.as_ref().unwrap_err().rank(), i32::try_from(bad).unwrap());
                    assert_eq!(result.as_ref().unwrap_err().kind(), Kind::Compile);
                }
            }
            let results = run(size, |comm| agree(comm, "testing", || Ok(comm.rank())));
            assert_eq!(results, (0..size).map(Ok).collect::<Vec<_>>());
        }
    }

    /// Defect H1 of the original: whatever was raised before the wait left the others waiting.
    #[test]
    fn h1_a_panic_on_one_rank_is_an_error_on_all() {
        let results = run(3, |comm| {
            agree(comm, "testing", || {
                assert!(comm.rank() != 1, "rank one breaks");
                Ok(())
            })
        });
        for result in results {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.rank()), (Kind::Internal, 1));
            assert!(error.message().contains("rank one breaks"));
        }
    }

    #[test]
    fn votes_are_reduced_with_the_verdict() {
        let results = run(4, |comm| {
            let mut votes = [0, 0];
            agree_min(comm, "voting", &mut votes, |votes| {
                votes.copy_from_slice(&[10 + comm.rank() as u64, 20 - comm.rank() as u64]);
                Ok(())
            })
            .map(|()| votes)
        });
        assert_eq!(results, vec![Ok([10, 17]); 4]);
    }

    #[test]
    fn bytes_are_gathered_with_the_verdict() {
        let results = run(3, |comm| {
            let before = comm.collectives();
            let all = agree_gather(comm, "gathering", || Ok([comm.rank() as u8, 7]));
            comm.min(&mut [0]).unwrap();
            (all, comm.collectives() - before)
        });
        assert_eq!(results, vec![(Ok(vec![[0, 7], [1, 7], [2, 7]]), 2); 3]);
        for bad in 0..3 {
            let results = run(3, |comm| {
                agree_gather(comm, "gathering", || {
                    assert!(comm.rank() < bad, "rank {} breaks", comm.rank());
                    Ok([1])
                })
            });
            for result in results {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.rank()), (Kind::Internal, bad as i32));
            }
        }
    }

    #[test]
    fn what_root_finds_or_fails_at_is_everybodys() {
        let found = run(3, |comm| on_root(comm, "finding", || Ok(vec![9, 9])));
        assert_eq!(found, vec![Ok(vec![9, 9]); 3]);
        let failed = run(3, |comm| on_root(comm, "finding", || Err(Error::new(Kind::Cache, "no"))));
        assert!(failed.iter().all(|result| result == &failed[0] && result.is_err()));
        let panicked = run(3, |comm| on_root(comm, "finding", || panic!("no")));
        assert!(panicked.iter().all(|result| result == &panicked[0] && result.is_err()));
    }

    #[test]
    fn bytes_of_any_length_and_equality() {
        let rows = run(3, |comm| gather_bytes(comm, &vec![7; comm.rank()]));
        assert_eq!(rows[2], Ok(vec![vec![], vec![7], vec![7, 7]]));
        let same = run(3, |comm| {
            let mut votes = same_votes(&[u8::from(comm.rank() == 2); 32]);
            comm.min(&mut votes).map(|()| all_same(&votes))
        });
        assert_eq!(same, vec![Ok(false); 3]);
        assert!(all_same(&same_votes(&[5; 32])));
    }
}
