//! Sends what a rank has made to the cache directories of the others.

#![forbid(unsafe_code)]

use crate::cache::Verify;
use crate::cache::results::TaskResult;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::query;
use crate::parallel::cache_domains::CacheDomains;
use crate::parallel::{Communicator, agree_each, agree_min};

use super::making::Making;

/// A result that a rank has made, and its state on the way to the others.
pub(super) struct SentResult {
    rank: usize,
    pub(super) label: String,
    signature: String,
    is_task: bool,
    outcome: Result<()>,
}

impl SentResult {
    pub(super) fn new(rank: usize, label: &str, signature: &str, is_task: bool) -> Self {
        let (label, signature) = (label.to_owned(), signature.to_owned());
        Self { rank, label, signature, is_task, outcome: Ok(()) }
    }

    /// Returns the error, the same on all ranks, if it could not be read, sent or published.
    pub(super) fn error(&self) -> Option<&Error> {
        self.outcome.as_ref().err()
    }
}

/// Sends results to the leaders of the directories that do not have them. Collective.
///
/// # Errors
/// Those of the communicator.
pub(super) fn send_results(
    comm: &dyn Communicator,
    domains: &CacheDomains,
    making: &Making<'_>,
    results: &mut [SentResult],
) -> Result<()> {
    let (rank, leaders) = (comm.rank(), domains.leaders());
    let is_leader = leaders[rank] == rank;
    let mut votes = vec![1; results.len()];
    agree_min(comm, "looking for what was made", &mut votes, |votes| {
        for (vote, result) in votes.iter_mut().zip(results.iter()) {
            let wants = is_leader && leaders[result.rank] != rank && !is_there(making, result);
            *vote = u64::from(!wants);
        }
        Ok(())
    })?;
    let mut outcomes = Vec::new();
    for (_, result) in votes.iter().zip(results.iter()).filter(|(vote, _)| **vote == 0) {
        let mut data = if result.rank == rank { encode(read(making, result)) } else { Vec::new() };
        let wants = is_leader && leaders[result.rank] != rank;
        comm.broadcast_to_some(result.rank, &mut data, wants)?;
        outcomes.push(if wants {
            catch("publishing what was received", || publish(making, result, &data))
        } else {
            Ok(())
        });
    }
    let count = outcomes.len();
    let agreed = agree_each(comm, "sending what was made", outcomes, &mut vec![[]; count])?;
    let sent = votes.iter().zip(results).filter(|(vote, _)| **vote == 0).map(|(_, result)| result);
    for (result, outcome) in sent.zip(agreed) {
        result.outcome = outcome;
    }
    Ok(())
}

fn is_there(making: &Making<'_>, result: &SentResult) -> bool {
    if result.is_task {
        return making.store.peek(&result.signature).is_some();
    }
    let found = making.plan.cache().lookup(&result.signature, Verify::ForLink);
    matches!(found, Ok(crate::cache::Lookup::Hit(_)))
}

fn read(making: &Making<'_>, result: &SentResult) -> Result<Vec<u8>> {
    catch("reading what was made", || {
        if !result.is_task {
            return query::read_binary(&making.plan.params().cache, &result.signature);
        }
        let found = making.store.read(&result.signature)?;
        let gone = || Error::new(Kind::Cache, format!("{} was removed before it was sent", result.signature));
        found.map(|found| found.to_bytes()).ok_or_else(gone)
    })
}

/// Puts data, or the error in their place, into bytes.
fn encode(read: Result<Vec<u8>>) -> Vec<u8> {
    match read {
        Ok(data) => [vec![0], data].concat(),
        Err(error) => [vec![1], error.to_bytes()].concat(),
    }
}

fn publish(making: &Making<'_>, result: &SentResult, data: &[u8]) -> Result<()> {
    let data = match data.split_first() {
        Some((0, data)) => data,
        Some((_, error)) => return Err(Error::from_bytes(error)),
        None => return Err(Error::new(Kind::Internal, "nothing was received")),
    };
    if !result.is_task {
        return query::write_binary(&making.plan.params().cache, &result.signature, data);
    }
    let received = TaskResult::from_bytes(data, &result.signature).ok_or_else(|| {
        Error::new(Kind::Internal, format!("what was received is not the result of {}", result.signature))
    })?;
    making.store.publish(received).map(drop)
}
