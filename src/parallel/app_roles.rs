//! Roles for programs that organise builds themselves: which ranks share a directory, the role of each rank,
//! and how a library gets from rank to rank.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::codec::{digest, try_with_capacity};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, FileId};
use crate::human;
use crate::params::resolved::BuildOn;

use super::cache_domains::{CacheDomains, discover, random};
use super::roles::ROOT;
use super::{Communicator, agree, agree_min, all_same, on_root, same_votes};

/// The role of a rank in a build that the program organises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Role {
    /// Generates and builds, and sends to the receivers.
    Builder = 0,
    /// Receives from a builder, and stores what it receives in its directory.
    Receiver = 1,
    /// Waits for a builder or receiver that shares its directory.
    Waiter = 2,
}

impl From<Role> for i32 {
    fn from(role: Role) -> Self {
        role as Self
    }
}

/// The role of this rank and the communicators that it builds with, of the type `C`.
#[derive(Clone, Copy, Debug)]
pub struct HostComms<C> {
    /// The builder (rank 0) and the receivers; null if there are no receivers, and on other ranks.
    pub copy: C,
    /// The ranks that wait for each other; null if none waits.
    pub wait: C,
    /// The role of this rank.
    pub role: Role,
}

impl<C: Copy> HostComms<C> {
    /// Makes those of a rank that builds on its own.
    #[must_use]
    pub fn alone(null: C) -> Self {
        Self { copy: null, wait: null, role: Role::Builder }
    }
}

/// Finds out which ranks share a directory. Each rank names it with its own `path`, at which it is created if
/// needed. Collective.
///
/// # Errors
/// [`Kind::Cache`] on all ranks if one rank cannot use its directory.
pub fn discover_domains(comm: &dyn Communicator, path: Result<&Path>) -> Result<CacheDomains> {
    let path = agree(comm, "checking the call", || path)?;
    let identify = || {
        let cannot = |error: std::io::Error| Error::io("cannot use the directory", path, &error);
        fsutil::create_dirs(path).map_err(cannot)?;
        FileId::of(path).map_err(cannot)
    };
    discover(comm, identify, path, path, None)
}

/// Returns the role of a rank. `leaders` has for each rank the lowest rank that shares its directory.
#[must_use]
pub fn role(buildon: BuildOn, rank: usize, leaders: &[usize]) -> Role {
    let leads = leaders[rank] == rank;
    match buildon {
        BuildOn::Process => Role::Builder,
        BuildOn::Node if leads => Role::Builder,
        BuildOn::Root if rank == ROOT => Role::Builder,
        BuildOn::Root if leads => Role::Receiver,
        BuildOn::Node | BuildOn::Root => Role::Waiter,
    }
}

/// Sends `data`, of any length, from rank 0 to all ranks. Rank 0 passes it and gets `None`; all others pass
/// `None` and get it. Collective.
///
/// # Errors
/// The same on all ranks: [`Kind::InvalidArgument`] if another rank sends or rank 0 does not, [`Kind::Cache`]
/// if a rank has not enough memory, and those of the communicator.
pub fn transfer(comm: &dyn Communicator, data: Result<Option<&[u8]>>) -> Result<Option<Vec<u8>>> {
    let sends = comm.rank() == ROOT;
    let mut length = [u64::MAX];
    let data = agree_min(comm, "announcing a library", &mut length, |length| {
        let data = data?;
        if data.is_some() != sends {
            let text = "rank 0 has to send and all other ranks have to receive";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        length[0] = data.map_or(u64::MAX, |data| data.len() as u64);
        Ok(data)
    })?;
    let mut blob = agree(comm, "allocating memory for a library", || {
        let mut blob = usize::try_from(length[0]).ok().and_then(try_with_capacity).ok_or_else(|| {
            Error::new(Kind::Cache, format!("not enough memory for {} of a library", human::size(length[0])))
        })?;
        blob.extend_from_slice(data.unwrap_or_default());
        Ok(blob)
    })?;
    comm.enter("sending a library");
    comm.broadcast(ROOT, &mut blob)?;
    Ok((!sends).then_some(blob))
}

/// Returns a random number, the same on all ranks. Collective.
///
/// # Errors
/// [`Kind::Unsupported`] if the system has no random numbers, and those of the communicator.
pub fn shared_id(comm: &dyn Communicator) -> Result<u64> {
    let bytes = on_root(comm, "choosing a number", || Ok(random::<8>()?.to_vec()))?;
    let bytes = bytes.try_into().map_err(|_| Error::new(Kind::Internal, "rank 0 has sent another number"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Returns the different numbers of all ranks, in ascending order. Collective.
///
/// # Errors
/// Those of the communicator.
pub fn partitions(comm: &dyn Communicator, mine: u64) -> Result<Vec<u64>> {
    comm.enter("gathering partitions");
    let mut all = gather_numbers(comm, mine)?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Returns the numbers of all ranks, in rank order. Collective.
///
/// # Errors
/// Those of the communicator.
pub fn gather_numbers(comm: &dyn Communicator, mine: u64) -> Result<Vec<u64>> {
    let all = comm.all_gather(&mine.to_le_bytes())?;
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
    Ok(all.chunks_exact(8).map(number).collect())
}

/// Checks that all ranks pass the same value, named `what`. The value comes with the bytes to compare.
/// Collective.
///
/// # Errors
/// The error of the lowest rank that passes one; [`Kind::RanksDisagree`] if the values differ.
pub fn same<T>(comm: &dyn Communicator, what: &str, value: Result<(T, Vec<u8>)>) -> Result<T> {
    let mut votes = [0; 4];
    let value = agree_min(comm, "checking the call", &mut votes, |votes| {
        let (value, bytes) = value?;
        votes.copy_from_slice(&same_votes(&digest(&bytes)));
        Ok(value)
    })?;
    if all_same(&votes) {
        return Ok(value);
    }
    let text = format!("the {} ranks of the communicator do not pass the same {what}", comm.size());
    Err(Error::new(Kind::RanksDisagree, text))
}

/// Checks the ranks named for a new communicator: all ranks name the same ones. Collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] if a rank is not in the communicator or is named twice, and those of [`same`].
pub fn same_ranks(comm: &dyn Communicator, ranks: Result<&[i32]>) -> Result<Vec<usize>> {
    let check = |ranks: &[i32]| {
        let mut checked: Vec<usize> = Vec::new();
        for rank in ranks {
            let valid =
                usize::try_from(*rank).ok().filter(|rank| *rank < comm.size() && !checked.contains(rank));
            checked.push(valid.ok_or_else(|| {
                let size = comm.size();
                let text =
                    format!("rank {rank} is named twice, or is not one of the {size} of the communicator");
                Error::new(Kind::InvalidArgument, text)
            })?);
        }
        let bytes = ranks.iter().flat_map(|rank| rank.to_le_bytes()).collect();
        Ok((checked, bytes))
    };
    same(comm, "ranks", ranks.and_then(check))
}

#[cfg(test)]
mod tests {
    use super::super::threads::run;
    use super::*;

    #[test]
    fn roles_follow_from_directories_as_dijitso_documents() {
        use Role::{Builder, Receiver, Waiter};
        let leaders = [0, 1, 0, 1];
        let roles = |buildon| [0, 1, 2, 3].map(|rank| role(buildon, rank, &leaders));
        assert_eq!(roles(BuildOn::Node), [Builder, Builder, Waiter, Waiter]);
        assert_eq!(roles(BuildOn::Root), [Builder, Receiver, Waiter, Waiter]);
        assert_eq!(roles(BuildOn::Process), [Builder; 4]);
    }

    /// Defects W8 and W9 of the original: one byte meant failure, and was received as another type.
    #[test]
    fn w8_w9_blobs_of_any_length_arrive_unchanged() {
        for length in [0, 1, 8, 5000, 3 << 20] {
            let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let results = run(3, |comm| transfer(comm, Ok((comm.rank() == 0).then_some(sent.as_slice()))));
            assert_eq!(results[0], Ok(None));
            assert_eq!(results[1], Ok(Some(sent.clone())));
            assert_eq!(results[2], Ok(Some(sent)));
        }
    }

    #[test]
    fn a_second_sender_and_no_sender_fail_on_all() {
        for senders in [vec![0, 1], vec![], vec![2]] {
            let results =
                run(3, |comm| transfer(comm, Ok(senders.contains(&comm.rank()).then_some(&b"x"[..]))));
            let error = results[0].clone().unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(results.iter().all(|result| *result == Err(error.clone())), "{results:?}");
        }
    }

    #[test]
    fn shared_ids_and_partitions() {
        let numbers = run(3, |comm| shared_id(comm).unwrap());
        assert!(numbers.iter().all(|number| *number == numbers[0]));
        assert_ne!(numbers, run(3, |comm| shared_id(comm).unwrap()));
        let all = run(4, |comm| partitions(comm, [7, 1 << 40, 7, 2][comm.rank()]).unwrap());
        assert_eq!(all, vec![vec![2, 7, 1 << 40]; 4]);
    }

    /// Defect H6 of the original: one rank raised while the others were in a collective.
    #[test]
    fn h6_one_rank_without_a_directory_fails_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        // The original could not take a name with characters that are special to the shell.
        let good = dir.path().join("new [a*]/sub");
        let results = run(3, |comm| discover_domains(comm, Ok(if comm.rank() == 1 { &file } else { &good })));
        assert!(results.iter().all(|result| result == &results[0]));
        assert_eq!(results[0].clone().unwrap_err().rank(), 1);
        let results = run(3, |comm| discover_domains(comm, Ok(&good)));
        assert_eq!(results[2].clone().unwrap().leaders(), [0, 0, 0]);
    }

    #[test]
    fn ranks_of_a_new_communicator_are_checked_and_compared() {
        assert_eq!(run(3, |comm| same_ranks(comm, Ok(&[2, 0]))), vec![Ok(vec![2, 0]); 3]);
        for bad in [&[3][..], &[-1], &[1, 1]] {
            let results = run(3, |comm| same_ranks(comm, Ok(if comm.rank() == 2 { bad } else { &[1] })));
            let kinds = results.iter().map(|result| result.clone().unwrap_err().kind());
            assert!(kinds.into_iter().all(|kind| kind == Kind::InvalidArgument), "{results:?}");
        }
        let results = run(3, |comm| same_ranks(comm, Ok(if comm.rank() == 2 { &[0] } else { &[1] })));
        let kinds = results.iter().map(|result| result.clone().unwrap_err().kind());
        assert!(kinds.into_iter().all(|kind| kind == Kind::RanksDisagree), "{results:?}");
    }
}
