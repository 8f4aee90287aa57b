//! Ranks: how they communicate and agree.
//!
//! The one rule: between two collectives there is no early return except inside [`agree`], and which
//! collective comes next depends only on values that are already agreed.

#![deny(unsafe_code)]

pub mod app_roles;
pub mod cache_domains;
pub mod cancellation;
pub mod comm_status;
pub mod failure_detector;
#[allow(unsafe_code, reason = "MPI is a C library")]
pub mod mpi;
#[allow(unsafe_code, reason = "memory that processes share")]
pub mod node;
pub mod roles;
pub mod solo;
#[cfg(any(test, feature = "test-doubles"))]
pub mod threads;
pub mod timeout;

use std::time::Duration;

use crate::error::{Error, Result, catch};
use crate::process::interrupt::Interrupt;

/// A group of ranks that call the same functions in the same order.
///
/// `min`, `broadcast`, `broadcast_to_some`, `broadcast_in_groups` and `all_gather` are collective: each rank has
/// to call them, with arguments that fit together. If one of them fails, the communicator is broken, and every
/// further call fails.
pub trait Communicator {
    /// Returns this rank, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of ranks.
    fn size(&self) -> usize;

    /// Returns the name of this rank's host, for messages.
    fn host(&self) -> &str;

    /// Returns a number that is equal on two ranks if and only if they run on one machine since the same
    /// boot.
    fn machine(&self) -> u64;

    /// Computes the element-wise minimum over all ranks. All pass the same number of elements.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout`.
    fn min(&self, values: &mut [u64]) -> Result<()>;

    /// Sends the data of `root` to all ranks. The others need not know its size.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout`.
    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()>;

    /// Sends the data of `root`, which may be large, to the ranks that want it. On the others, `root`
    /// included, `data` is empty afterwards; a communicator that can need not hold all of it there.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout`.
    fn broadcast_to_some(&self, root: usize, data: &mut Vec<u8>, wants: bool) -> Result<()> {
        self.broadcast(root, data)?;
        if !wants {
            *data = Vec::new();
        }
        Ok(())
    }

    /// Sends the data of each group's leader to the members of its group. `leaders` has for each rank the
    /// leader of its group, which leads itself, and is the same on all ranks. Collective over all ranks. Sends
    /// nothing if each rank is a group of its own.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout`, the same on all ranks.
    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()>;

    /// Returns the bytes of all ranks in rank order. All pass the same number of bytes.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout`.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>>;

    /// Begins a call, in each step of which this rank waits `timeout` at most; without limit if `None`. When
    /// that time is over, the waiting ranks agree on which ranks are late, all get an error of
    /// `Kind::Timeout`, and the communicator is broken. Not collective.
    fn begin(&self, _call: &str, _timeout: Option<Duration>) {}

    /// Begins a step of the call, which the next collective ends. Errors and warnings name it. Not
    /// collective.
    fn enter(&self, _step: &str) {}

    /// Begins a step in which the ranks `builders` compile. Warnings of waiting ranks say so. Not collective.
    fn expect(&self, _step: &str, _builders: &[usize]) {}

    /// Begins a call that `poll` cancels on all ranks; see [`cancellation`]. The waits of this communicator
    /// ask `poll`. Returns the interrupt for the other waits of this rank, by which the other ranks cancel
    /// them, too. Not collective.
    fn begin_polling(&self, poll: Option<&Interrupt>) -> Option<Interrupt> {
        poll.cloned()
    }

    /// Ends the call that [`begin_polling`](Self::begin_polling) has begun. Not collective.
    fn end_polling(&self) {}

    /// Returns the error of the call in progress if it is cancelled, as far as this rank knows. Asks no host,
    /// and is not collective.
    fn cancelled(&self) -> Option<Error> {
        None
    }

    /// Checks that the communicator is not broken. Quick, and not collective.
    ///
    /// # Errors
    /// The error that broke it.
    fn check_alive(&self) -> Result<()> {
        Ok(())
    }

    /// Adds rank and host to an error of this rank.
    fn locate(&self, error: Error) -> Error {
        error.on_rank(self.rank(), self.size(), self.host())
    }
}

/// Runs a rank-local step, turns its error or panic into a value, and returns the same on all ranks: success
/// only if all succeeded, else the error of the lowest failing rank. Collective.
///
/// # Errors
/// The error of the lowest failing rank, and those of the communicator.
pub fn agree<T>(comm: &dyn Communicator, step: &str, local: impl FnOnce() -> Result<T>) -> Result<T> {
    agree_min(comm, step, &mut [], |_| local())
}

/// Runs [`agree`], and reduces `votes`, which `local` fills in, to their minimum in the same communication.
/// Collective.
///
/// # Errors
/// Those of [`agree`].
pub fn agree_min<T>(
    comm: &dyn Communicator,
    step: &str,
    votes: &mut [u64],
    local: impl FnOnce(&mut [u64]) -> Result<T>,
) -> Result<T> {
    let result = unless_cancelled(comm, catch(step, || local(votes)));
    let mut reduced = Vec::with_capacity(votes.len() + 1);
    reduced.push(if result.is_err() { comm.rank() as u64 } else { u64::MAX });
    reduced.extend_from_slice(votes);
    comm.enter(step);
    comm.min(&mut reduced)?;
    votes.copy_from_slice(&reduced[1..]);
    if reduced[0] == u64::MAX {
        return result;
    }
    Err(share_error(comm, usize::try_from(reduced[0]).unwrap_or_default(), result)?)
}

/// Returns the result of a step, or the error of a call that is cancelled.
fn unless_cancelled<T>(comm: &dyn Communicator, result: Result<T>) -> Result<T> {
    comm.cancelled().map_or(result, Err)
}

/// Returns on all ranks the error of the rank `failed`. Collective.
///
/// # Errors
/// Those of the communicator.
fn share_error<T>(comm: &dyn Communicator, failed: usize, result: Result<T>) -> Result<Error> {
    let mut bytes = match result {
        Err(error) if failed == comm.rank() => comm.locate(error).to_bytes(),
        _ => Vec::new(),
    };
    comm.broadcast(failed, &mut bytes)?;
    Ok(Error::from_bytes(&bytes))
}

/// Returns the result of an agreement as a value, so that a call can go on without what has failed.
///
/// # Errors
/// The error of an agreement that has failed because the communicator is broken.
pub fn unless_broken<T>(comm: &dyn Communicator, agreed: Result<T>) -> Result<Result<T>> {
    match agreed {
        Err(error) if comm.check_alive().is_err() => Err(error),
        agreed => Ok(agreed),
    }
}

/// Agrees on several results in one communication: each is a success only if it is one on all ranks, else
/// the error of the lowest rank on which it failed. The `votes` of each result are reduced to their minimum.
/// Collective; all ranks pass the same number of results.
///
/// # Errors
/// Those of the communicator.
pub fn agree_each<T, const N: usize>(
    comm: &dyn Communicator,
    step: &str,
    results: Vec<Result<T>>,
    votes: &mut [[u64; N]],
) -> Result<Vec<Result<T>>> {
    let results: Vec<Result<T>> = results.into_iter().map(|result| unless_cancelled(comm, result)).collect();
    let mut reduced = Vec::with_capacity(results.len() * (N + 1));
    for (result, votes) in results.iter().zip(votes.iter()) {
        reduced.push(if result.is_err() { comm.rank() as u64 } else { u64::MAX });
        reduced.extend_from_slice(votes);
    }
    comm.enter(step);
    comm.min(&mut reduced)?;
    let rows = results.into_iter().zip(votes).zip(reduced.chunks_exact(N + 1));
    let settle = |((result, votes), row): ((Result<T>, &mut [u64; N]), &[u64])| {
        votes.copy_from_slice(&row[1..]);
        if row[0] == u64::MAX {
            return Ok(result);
        }
        share_error(comm, usize::try_from(row[0]).unwrap_or_default(), result).map(Err)
    };
    rows.map(settle).collect()
}

/// Runs [`agree`], and returns the bytes of all ranks, in rank order, in the same communication. `local`
/// returns `width` bytes, as many as on the other ranks. Collective.
///
/// # Errors
/// Those of [`agree`].
pub fn agree_gather_bytes(
    comm: &dyn Communicator,
    step: &str,
    width: usize,
    local: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Vec<Vec<u8>>> {
    let result = unless_cancelled(comm, catch(step, local));
    let mut mine = vec![u8::from(result.is_err())];
    mine.extend_from_slice(result.as_deref().unwrap_or_default());
    mine.resize(width + 1, 0);
    comm.enter(step);
    let all = comm.all_gather(&mine)?;
    let rows = || all.chunks_exact(width + 1);
    match rows().position(|row| row[0] != 0) {
        Some(failed) => Err(share_error(comm, failed, result)?),
        None => Ok(rows().map(|row| row[1..].to_vec()).collect()),
    }
}

/// Runs [`agree_gather_bytes`] with a number of bytes that the compiler knows. Collective.
///
/// # Errors
/// Those of [`agree`].
pub fn agree_gather<const N: usize>(
    comm: &dyn Communicator,
    step: &str,
    local: impl FnOnce() -> Result<[u8; N]>,
) -> Result<Vec<[u8; N]>> {
    let all = agree_gather_bytes(comm, step, N, || local().map(|bytes| bytes.to_vec()))?;
    Ok(all.into_iter().map(|row| row.try_into().expect("as many as were sent")).collect())
}

/// Runs a step on rank 0 alone and returns its bytes or its error on all ranks. Collective.
///
/// # Errors
/// The error of rank 0, and those of the communicator.
pub fn on_root(
    comm: &dyn Communicator,
    step: &str,
    local: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if comm.rank() == 0 {
        match unless_cancelled(comm, catch(step, local)) {
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

/// Returns the byte strings of all ranks, of any lengths, in rank order. Collective.
///
/// # Errors
/// Those of the communicator.
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

/// Tells if all ranks passed the same digest to [`same_votes`]. `votes` is the minimum over the ranks.
#[must_use]
pub fn all_same(votes: &[u64]) -> bool {
    votes.chunks_exact(2).all(|pair| pair[0] == !pair[1])
}

/// Makes two votes for each word of the first half of a digest: the word and its complement. Their minima are
/// complements of each other if and only if the word is the same on all ranks. Half of a digest is enough to
/// find differences, and a shorter message.
#[must_use]
pub fn same_votes(digest: &[u8; 32]) -> [u64; 4] {
    let mut votes = [0; 4];
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

    /// Defect H1 of the original: an exception before the wait left the others waiting.
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
    fn votes_are_reduced_in_the_same_communication() {
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
    fn several_results_are_agreed_on_in_one_communication() {
        let results = run(3, |comm| {
            let before = comm.collectives();
            // The second fails on ranks 1 and 2.
            let own = (0..3).map(|index| match (index, comm.rank()) {
                (1, 1..) => Err(Error::new(Kind::Compile, format!("no {}", comm.rank()))),
                (_, rank) => Ok(rank),
            });
            let mut votes = [[comm.rank() as u64 + 4], [7], [9 - comm.rank() as u64]];
            let agreed = agree_each(comm, "agreeing", own.collect(), &mut votes).unwrap();
            comm.min(&mut [0]).unwrap();
            (agreed, votes, comm.collectives() - before)
        });
        for (rank, (agreed, votes, collectives)) in results.iter().enumerate() {
            assert_eq!((&agreed[0], &agreed[2]), (&Ok(rank), &Ok(rank)));
            let error = agreed[1].as_ref().unwrap_err();
            assert_eq!((error.kind(), error.rank()), (Kind::Compile, 1));
            assert_eq!((votes, *collectives), (&[[4], [7], [7]], 3));
        }
    }

    #[test]
    fn bytes_are_gathered_in_the_same_communication() {
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
    fn all_ranks_get_the_result_of_root() {
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
