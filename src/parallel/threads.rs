//! Ranks that are threads of one process: a test double.
//!
//! A mistake is an error and does not hang: if ranks are in different collectives, or if one leaves while
//! others wait, all of them get an error at once. Late ranks are seen directly, so time-outs need no failure
//! detector.

#![forbid(unsafe_code)]

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::process::interrupt::{Interrupt, POLL_INTERVAL};
use crate::sync::{lock, recover};

use super::Communicator;
use super::cancellation::{Cancellation, HostCancels};
use super::comm_status::{CommStatus, warn_after};
use super::timeout::{RankTable, Waiting, slow_warning, timeout_error};

/// The state that the ranks share.
#[derive(Debug)]
struct Group {
    rank_table: RankTable,
    state: Mutex<GroupState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GroupState {
    /// Contributions to the collective in progress, by rank, each with the name of the collective.
    arrived: Vec<Option<(String, Vec<u8>)>>,
    /// The result of the last complete collective, and the ranks that have not fetched it.
    complete: Option<(Vec<Vec<u8>>, Vec<usize>)>,
    /// The error of all further collectives.
    broken: Option<Error>,
    /// The error of a rank that has cancelled a call, and the number of the collective in which it waited.
    cancelled: Option<(u64, Error)>,
    collectives: usize,
}

/// One rank of a group of threads.
#[derive(Debug)]
pub struct ThreadComm {
    group: Arc<Group>,
    rank: usize,
    host: String,
    status: CommStatus,
    cancellation: Arc<Cancellation>,
}

/// The wait of one rank.
struct Wait {
    since: Instant,
    waiting: Waiting,
    timeout: Option<Duration>,
    warned: bool,
    /// Set if this rank asks its host.
    nap: Option<Duration>,
}

impl GroupState {
    /// Returns the ranks that the others wait for.
    fn late(&self) -> Vec<usize> {
        match &self.complete {
            Some((_, left)) => left.clone(),
            None => (0..self.arrived.len()).filter(|rank| self.arrived[*rank].is_none()).collect(),
        }
    }
}

impl Group {
    fn new(rank_table: RankTable) -> Self {
        let state = GroupState { arrived: vec![None; rank_table.size()], ..GroupState::default() };
        Self { rank_table, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, GroupState> {
        lock(&self.state)
    }

    fn fail(&self, state: &mut GroupState, reason: Error) {
        state.broken.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Sleeps until the state changes or a time is over. Then warns or fails if that is due.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, GroupState>,
        wait: &mut Wait,
        rank: usize,
    ) -> MutexGuard<'a, GroupState> {
        let waited = wait.since.elapsed();
        wait.waiting.waited = waited;
        if wait.timeout.is_some_and(|timeout| waited >= timeout) {
            let error = timeout_error(&self.rank_table, &state.late(), &wait.waiting);
            self.fail(&mut state, error);
            return state;
        }
        if !wait.warned && waited >= warn_after(wait.timeout) {
            wait.warned = true;
            let late = state.late();
            if (0..rank).all(|lower| late.contains(&lower)) {
                let _voice = crate::logging::speak(true);
                log::warn!("{}", slow_warning(&self.rank_table, &late, &wait.waiting));
            }
        }
        let warning = (!wait.warned).then(|| warn_after(wait.timeout));
        let nap = wait.nap.map(|nap| waited + nap);
        match [warning, wait.timeout, nap].into_iter().flatten().min() {
            Some(end) => {
                let slept = self.changed.wait_timeout(state, end - waited);
                recover(slept).0
            }
            None => recover(self.changed.wait(state)),
        }
    }
}

impl ThreadComm {
    fn new(group: Arc<Group>, rank: usize, host: String) -> Self {
        Self { group, rank, host, status: CommStatus::default(), cancellation: Arc::default() }
    }

    /// Makes the only rank of a group.
    #[must_use]
    pub fn single() -> Self {
        let host = "localhost".to_owned();
        let rank_table = RankTable::new(RankTable::entry(std::process::id(), &host).to_vec());
        Self::new(Arc::new(Group::new(rank_table)), 0, host)
    }

    /// Returns the number of complete collectives of this group.
    #[must_use]
    pub fn collectives(&self) -> usize {
        self.group.lock().collectives
    }

    /// Takes part in the collective `what` and returns the contributions of all ranks, in rank order.
    fn exchange(&self, what: &str, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let exchanged = self.check_alive().and_then(|()| self.try_exchange(what, mine));
        exchanged.map_err(|error| self.status.fail(error))
    }

    fn try_exchange(&self, what: &str, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let (group, rank) = (self.group.as_ref(), self.rank);
        let (waiting, timeout) = self.status.waiting(self.status.next());
        let nap = self.cancellation.asks().then_some(POLL_INTERVAL);
        let since = Instant::now();
        let mut wait = Wait { since, waiting, timeout, warned: false, nap };
        let mut state = group.lock();
        // The collective before this one ends when all ranks have fetched its result.
        while state.complete.is_some() && state.broken.is_none() {
            state = self.wait(state, &mut wait);
        }
        if let Some((other, _)) = state.arrived.iter().flatten().find(|(other, _)| other != what) {
            let reason =
                format!("ranks are in different collectives: rank {rank} in {what}, others in {other}");
            group.fail(&mut state, Error::new(Kind::Mpi, reason));
        }
        if state.broken.is_none() {
            state.arrived[rank] = Some((what.to_owned(), mine));
        }
        if state.arrived.iter().all(Option::is_some) {
            let contributions = state.arrived.iter_mut().filter_map(|slot| Some(slot.take()?.1)).collect();
            state.complete = Some((contributions, (0..self.size()).collect()));
            state.collectives += 1;
            group.changed.notify_all();
        }
        loop {
            if let Some(reason) = &state.broken {
                return Err(reason.clone());
            }
            if let Some((contributions, left)) = &mut state.complete {
                let contributions = contributions.clone();
                left.retain(|other| *other != rank);
                if left.is_empty() {
                    state.complete = None;
                }
                group.changed.notify_all();
                return Ok(contributions);
            }
            state = self.wait(state, &mut wait);
        }
    }

    /// Sleeps like [`Group::wait`]. Then asks the host, and tells the other ranks if it cancels.
    fn wait<'a>(&'a self, state: MutexGuard<'a, GroupState>, wait: &mut Wait) -> MutexGuard<'a, GroupState> {
        let state = self.group.wait(state, wait, self.rank);
        if wait.nap.is_none() {
            return state;
        }
        drop(state);
        let number = wait.waiting.number;
        let asked = self.cancellation.ask(number, |error| self.locate(error));
        let mut state = self.group.lock();
        if let Some(HostCancels { error, gives_up, .. }) = asked {
            if !gives_up {
                state.cancelled = Some((number, error));
            } else if state.complete.is_none() {
                self.group.fail(&mut state, error);
            }
        }
        state
    }
}

impl Drop for ThreadComm {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        // Ranks that wait, now or later, wait for a rank that is gone. A complete collective can still be
        // fetched.
        let waiting = state.complete.is_none() && state.arrived.iter().any(Option::is_some);
        let reason = format!("rank {} has left while others wait for it", self.rank);
        state.arrived[self.rank] = Some((reason.clone(), Vec::new()));
        if waiting {
            self.group.fail(&mut state, Error::new(Kind::Mpi, reason));
        }
    }
}

impl Communicator for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.group.rank_table.size()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn machine(&self) -> u64 {
        self.host.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte))
    }

    fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.status.begin(call, timeout);
    }

    fn enter(&self, step: &str) {
        self.status.enter(step);
    }

    fn expect(&self, step: &str, builders: &[usize]) {
        self.status.expect(step, builders);
    }

    fn check_alive(&self) -> Result<()> {
        self.status.check_alive()
    }

    fn begin_polling(&self, poll: Option<&Interrupt>) -> Option<Interrupt> {
        self.cancellation.begin(self.status.upcoming(), poll.cloned());
        let (group, cancellation) = (Arc::clone(&self.group), Arc::clone(&self.cancellation));
        let heard = Interrupt::new(move || {
            if let Some((number, error)) = &group.lock().cancelled {
                cancellation.hear(*number, error);
            }
            cancellation.known()
        });
        Some(poll.cloned().map_or(heard.clone(), |own| own.within(Some(heard))))
    }

    fn end_polling(&self) {
        self.cancellation.end();
    }

    fn cancelled(&self) -> Option<Error> {
        if let Some((number, error)) = &self.group.lock().cancelled {
            self.cancellation.hear(*number, error);
        }
        self.cancellation.known()
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        let mine = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        for row in self.exchange(&format!("min of {}", values.len()), mine)? {
            for (value, bytes) in values.iter_mut().zip(row.chunks_exact(8)) {
                let other = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                *value = (*value).min(other);
            }
        }
        Ok(())
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        let mine = if root == self.rank { std::mem::take(data) } else { Vec::new() };
        *data = self.exchange(&format!("broadcast from {root}"), mine)?.swap_remove(root);
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        Ok(self.exchange(&format!("all_gather of {}", mine.len()), mine.to_vec())?.concat())
    }

    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
        let leader = leaders[self.rank];
        if leaders.iter().enumerate().all(|(rank, leader)| rank == *leader) {
            return Ok(());
        }
        let mine = if leader == self.rank { std::mem::take(data) } else { Vec::new() };
        *data = self.exchange(&format!("broadcast in groups {leaders:?}"), mine)?.swap_remove(leader);
        Ok(())
    }
}

/// Runs `program` on `size` ranks of one host and returns the results in rank order.
pub fn run<T: Send>(size: usize, program: impl Fn(&ThreadComm) -> T + Sync) -> Vec<T> {
    run_on_hosts(&vec!["host"; size], program)
}

/// Runs `program` on a rank for each host name and returns the results in rank order.
///
/// # Panics
/// If `program` panics.
pub fn run_on_hosts<T: Send>(hosts: &[&str], program: impl Fn(&ThreadComm) -> T + Sync) -> Vec<T> {
    let entries = hosts.iter().flat_map(|host| RankTable::entry(std::process::id(), host)).collect();
    let group = Arc::new(Group::new(RankTable::new(entries)));
    std::thread::scope(|scope| {
        let ranks: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(rank, host)| {
                let host = (*host).to_owned();
                let group = Arc::clone(&group);
                let comm = ThreadComm::new(group, rank, host);
                let program = &program;
                scope.spawn(move || program(&comm))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().expect("a rank panicked")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_collectives_are_reported_and_do_not_hang() {
        let results =
            run(
                3,
                |comm| {
                    if comm.rank() == 1 { comm.all_gather(b"x").map(drop) } else { comm.min(&mut [1]) }
                },
            );
        assert!(results.iter().all(Result::is_err));
    }

    #[test]
    fn a_rank_that_leaves_is_reported_and_does_not_hang_the_others() {
        let results = run(3, |comm| if comm.rank() == 2 { Ok(()) } else { comm.min(&mut [1]) });
        assert!(results[0].is_err() && results[1].is_err());
    }

    #[test]
    fn a_late_rank_is_named_and_gets_the_same_error() {
        let (failed, wait) = std::sync::mpsc::channel::<()>();
        let (failed, wait) = (Mutex::new(failed), Mutex::new(wait));
        let results = run(4, |comm| {
            comm.begin("poisson", Some(Duration::from_millis(50)));
            if comm.rank() == 2 {
                for _ in 0..3 {
                    wait.lock().unwrap().recv().unwrap();
                }
            }
            comm.enter("building");
            let first = comm.min(&mut [1]).unwrap_err();
            let second = comm.min(&mut [1]).unwrap_err();
            if comm.rank() != 2 {
                failed.lock().unwrap().send(()).unwrap();
            }
            (first, second)
        });
        for (first, second) in &results {
            assert_eq!((first.kind(), first.rank()), (Kind::Timeout, 2));
            assert_eq!((first, second), (&results[0].0, &results[0].1));
            assert!(second.message().ends_with(first.message()));
        }
        let pid = std::process::id();
        let start =
            format!("rank 2 of 4 on host: process {pid} is late: ranks in step \"building\" of \"poisson\"");
        assert!(results[0].0.message().starts_with(&start), "{}", results[0].0);
    }

    #[test]
    fn a_slow_rank_within_the_timeout_is_no_error() {
        let results = run(3, |comm| {
            comm.begin("poisson", Some(Duration::from_secs(100)));
            if comm.rank() == 0 {
                std::thread::sleep(Duration::from_millis(60));
            }
            comm.min(&mut [1])
        });
        assert_eq!(results, vec![Ok(()); 3]);
    }

    #[test]
    fn each_group_gets_the_data_of_its_leader() {
        let results = run(5, |comm| {
            let mut data = vec![comm.rank() as u8; comm.rank() + 1];
            comm.broadcast_in_groups(&[0, 1, 0, 1, 4], &mut data).map(|()| data)
        });
        assert_eq!(results, [0, 1, 0, 1, 4].map(|leader: u8| Ok(vec![leader; usize::from(leader) + 1])));
        let alone = run(3, |comm| {
            let mut data = vec![comm.rank() as u8];
            comm.broadcast_in_groups(&[0, 1, 2], &mut data).map(|()| (data, comm.collectives()))
        });
        assert_eq!(alone, [0, 1, 2].map(|rank| Ok((vec![rank], 0))));
    }

    #[test]
    fn a_late_rank_of_one_group_is_an_error_in_all_groups() {
        let results = run(4, |comm| {
            comm.begin("poisson", Some(Duration::from_millis(50)));
            if comm.rank() == 2 {
                return None;
            }
            Some(comm.broadcast_in_groups(&[0, 1, 0, 1], &mut vec![1]).unwrap_err())
        });
        assert_eq!((&results[0], &results[0]), (&results[1], &results[3]));
        let left = "rank 2 has left while others wait for it";
        assert!(results[0].as_ref().is_some_and(|error| error.message().contains(left)));
    }

    #[test]
    fn many_collectives_in_a_row() {
        let results = run(5, |comm| {
            for round in 0..200 {
                let mut values = [round + comm.rank() as u64];
                comm.min(&mut values)?;
                assert_eq!(values, [round]);
                let mut data = vec![comm.rank() as u8];
                comm.broadcast(3, &mut data)?;
                assert_eq!(data, [3]);
            }
            Ok(comm.collectives())
        });
        assert!(results.iter().all(|count: &Result<usize>| count.is_ok()));
    }
}
