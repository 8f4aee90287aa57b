//! Ranks that are threads of one process: for tests, in which a mistake is reported and does not hang.
//!
//! Every collective says what it is. When ranks meet in different ones, or when one has left while others wait, all
//! of them get an error at once. Who is late is seen directly, so deadlines need no roll call here.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::sync::{lock, recover};

use super::Communicator;
use super::comm_status::{CommStatus, warn_after};
use super::timeout::{RankTable, Waiting, slow_warning, timeout_error};

/// What the ranks share.
#[derive(Debug)]
struct Meeting {
    roster: RankTable,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Contributions to the collective under way, by rank.
    arrived: Vec<Option<(String, Vec<u8>)>>,
    /// What the last complete collective brought together, and who has still to fetch it.
    complete: Option<(Vec<Vec<u8>>, Vec<usize>)>,
    /// Why no collective can succeed any more.
    broken: Option<Error>,
    collectives: usize,
    /// The groups that the last split made, by color.
    parts: HashMap<usize, Arc<Meeting>>,
}

/// One rank of a group of threads.
#[derive(Debug)]
pub struct ThreadComm {
    meeting: Arc<Meeting>,
    rank: usize,
    host: String,
    watch: CommStatus,
}

/// One rank's wait.
struct Wait {
    since: Instant,
    waiting: Waiting,
    timeout: Option<Duration>,
    warned: bool,
}

impl State {
    /// For whom the others wait.
    fn late(&self) -> Vec<usize> {
        match &self.complete {
            Some((_, left)) => left.clone(),
            None => (0..self.arrived.len()).filter(|rank| self.arrived[*rank].is_none()).collect(),
        }
    }
}

impl Meeting {
    fn new(rows: Vec<u8>) -> Self {
        let roster = RankTable::new(rows);
        let state = State { arrived: vec![None; roster.size()], ..State::default() };
        Self { roster, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn fail(&self, state: &mut State, reason: Error) {
        state.broken.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Sleeps until something has changed or a time is over, and does what is then due.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        wait: &mut Wait,
        rank: usize,
    ) -> MutexGuard<'a, State> {
        let waited = wait.since.elapsed();
        wait.waiting.waited = waited;
        if wait.timeout.is_some_and(|timeout| waited >= timeout) {
            let error = timeout_error(&self.roster, &state.late(), &wait.waiting);
            self.fail(&mut state, error);
            return state;
        }
        if !wait.warned && waited >= warn_after(wait.timeout) {
            wait.warned = true;
            let late = state.late();
            if (0..rank).all(|lower| late.contains(&lower)) {
                let _voice = crate::logging::speak(true);
                log::warn!("{}", slow_warning(&self.roster, &late, &wait.waiting));
            }
        }
        let warning = (!wait.warned).then(|| warn_after(wait.timeout));
        match [warning, wait.timeout].into_iter().flatten().min() {
            Some(end) => {
                let slept = self.changed.wait_timeout(state, end - waited);
                recover(slept).0
            }
            None => recover(self.changed.wait(state)),
        }
    }
}

impl ThreadComm {
    /// How many collectives have been completed by this group.
    #[must_use]
    pub fn collectives(&self) -> usize {
        self.meeting.lock().collectives
    }

    /// Meets the other ranks in the collective `what` and gives the contributions of all, in rank order.
    fn meet(&self, what: &str, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let met = self.check_alive().and_then(|()| self.meet_in_health(what, mine));
        met.map_err(|error| self.watch.fail(error))
    }

    fn meet_in_health(&self, what: &str, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let (meeting, rank) = (self.meeting.as_ref(), self.rank);
        let (waiting, timeout) = self.watch.waiting(self.watch.next());
        let mut wait = Wait { since: Instant::now(), waiting, timeout, warned: false };
        let mut state = meeting.lock();
        // The collective before this one is over when everybody has fetched its result.
        while state.complete.is_some() && state.broken.is_none() {
            state = meeting.wait(state, &mut wait, rank);
        }
        if let Some((other, _)) = state.arrived.iter().flatten().find(|(other, _)| other != what) {
            let reason =
                format!("ranks are in different collectives: rank {rank} in {what}, others in {other}");
            meeting.fail(&mut state, Error::new(Kind::Mpi, reason));
        }
        if state.broken.is_none() {
            state.arrived[rank] = Some((what.to_owned(), mine));
        }
        if state.arrived.iter().all(Option::is_some) {
            let rows = state.arrived.iter_mut().filter_map(|slot| Some(slot.take()?.1)).collect();
            state.complete = Some((rows, (0..self.size()).collect()));
            state.collectives += 1;
            meeting.changed.notify_all();
        }
        loop {
            if let Some(reason) = &state.broken {
                return Err(reason.clone());
            }
            if let Some((rows, left)) = &mut state.complete {
                let rows = rows.clone();
                left.retain(|other| *other != rank);
                if left.is_empty() {
                    state.complete = None;
                }
                meeting.changed.notify_all();
                return Ok(rows);
            }
            state = meeting.wait(state, &mut wait, rank);
        }
    }
}

impl Drop for ThreadComm {
    fn drop(&mut self) {
        let mut state = self.meeting.lock();
        // Whoever waits now, or comes later, waits for a rank that is gone. A complete collective is still fetched.
        let waiting = state.complete.is_none() && state.arrived.iter().any(Option::is_some);
        let reason = format!("rank {} has left while others wait for it", self.rank);
        state.arrived[self.rank] = Some((reason.clone(), Vec::new()));
        if waiting {
            self.meeting.fail(&mut state, Error::new(Kind::Mpi, reason));
        }
    }
}

impl Communicator for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.roster.size()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn machine(&self) -> u64 {
        self.host.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte))
    }

    fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.watch.begin(call, timeout);
    }

    fn enter(&self, step: &str) {
        self.watch.enter(step);
    }

    fn expect(&self, step: &str, builders: &[usize]) {
        self.watch.expect(step, builders);
    }

    fn check_alive(&self) -> Result<()> {
        self.watch.health()
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        let mine = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        for row in self.meet(&format!("min of {}", values.len()), mine)? {
            for (value, bytes) in values.iter_mut().zip(row.chunks_exact(8)) {
                let other = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                *value = (*value).min(other);
            }
        }
        Ok(())
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        let mine = if root == self.rank { std::mem::take(data) } else { Vec::new() };
        *data = self.meet(&format!("broadcast from {root}"), mine)?.swap_remove(root);
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        Ok(self.meet(&format!("all_gather of {}", mine.len()), mine.to_vec())?.concat())
    }

    fn split(&self, color: usize) -> Result<Arc<dyn Communicator + Send + Sync>> {
        let mine = color.to_le_bytes().to_vec();
        let all = self
            .meet("split", [mine.as_slice(), &RankTable::entry(std::process::id(), &self.host)].concat())?;
        let same = |ranks: &[Vec<u8>]| ranks.iter().filter(|other| other.starts_with(&mine)).count();
        let meeting = {
            let mut state = self.meeting.lock();
            let rows =
                || all.iter().filter(|row| row.starts_with(&mine)).flat_map(|row| row[mine.len()..].to_vec());
            let new = || Arc::new(Meeting::new(rows().collect()));
            Arc::clone(state.parts.entry(color).or_insert_with(new))
        };
        // The next split is another one, and nobody is there before all have fetched this one's.
        self.meet("end of split", Vec::new())?;
        self.meeting.lock().parts.clear();
        self.meet("end of split", Vec::new())?;
        let rank = same(&all[..self.rank]);
        Ok(Arc::new(Self { meeting, rank, host: self.host.clone(), watch: CommStatus::default() }))
    }
}

/// Runs `program` on `size` ranks of one host and gives what each returned, in rank order.
pub fn run<T: Send>(size: usize, program: impl Fn(&ThreadComm) -> T + Sync) -> Vec<T> {
    run_on_hosts(&vec!["host"; size], program)
}

/// As [`run`], with a host name for each rank.
///
/// # Panics
/// When `program` does.
pub fn run_on_hosts<T: Send>(hosts: &[&str], program: impl Fn(&ThreadComm) -> T + Sync) -> Vec<T> {
    let rows = hosts.iter().flat_map(|host| RankTable::entry(std::process::id(), host)).collect();
    let meeting = Arc::new(Meeting::new(rows));
    std::thread::scope(|scope| {
        let ranks: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(rank, host)| {
                let host = (*host).to_owned();
                let meeting = Arc::clone(&meeting);
                let comm = ThreadComm { meeting, rank, host, watch: CommStatus::default() };
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
    fn who_does_not_come_is_named_and_gets_the_same_error_when_it_comes() {
        let (gone, held) = std::sync::mpsc::channel::<()>();
        let (gone, held) = (Mutex::new(gone), Mutex::new(held));
        let results = run(4, |comm| {
            comm.begin("poisson", Some(Duration::from_millis(50)));
            if comm.rank() == 2 {
                for _ in 0..3 {
                    held.lock().unwrap().recv().unwrap();
                }
            }
            comm.enter("building");
            let first = comm.min(&mut [1]).unwrap_err();
            let second = comm.min(&mut [1]).unwrap_err();
            if comm.rank() != 2 {
                gone.lock().unwrap().send(()).unwrap();
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
    fn a_rank_that_is_slow_within_the_limit_is_waited_for() {
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
    fn parts_are_communicators_of_their_own() {
        let results = run(5, |comm| {
            let mut seen = Vec::new();
            for round in 0..20 {
                let part = comm.split((comm.rank() + round) % 2).unwrap();
                // Only one part communicates: the other does not have to.
                if (comm.rank() + round) % 2 == 0 {
                    seen.push((part.rank(), part.all_gather(&[comm.rank() as u8]).unwrap()));
                }
            }
            seen
        });
        assert_eq!(results[2][0], (1, vec![0, 2, 4]));
        assert_eq!(results[3][1], (1, vec![1, 3]));
        assert!(results.iter().all(|seen| seen.len() == 10));
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
