//! Ranks that are threads of one process: for tests, in which a mistake is reported and does not hang.
//!
//! Every collective says what it is. When ranks meet in different ones, or when one has left while others wait, all
//! of them get an error at once.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};

use super::Communicator;

/// What the ranks share.
#[derive(Debug)]
struct Meeting {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Contributions to the collective under way, by rank.
    arrived: Vec<Option<(String, Vec<u8>)>>,
    /// What the last complete collective brought together, and how many have still to fetch it.
    complete: Option<(Vec<Vec<u8>>, usize)>,
    /// Why no collective can succeed any more.
    broken: Option<String>,
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
}

impl Meeting {
    fn new(size: usize) -> Self {
        let state = State { arrived: vec![None; size], ..State::default() };
        Self { size, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, state: &mut State, reason: String) {
        state.broken.get_or_insert(reason);
        self.changed.notify_all();
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
        let meeting = &self.meeting;
        let wait = |state| meeting.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        let mut state = meeting.lock();
        // The collective before this one is over when everybody has fetched its result.
        while state.complete.is_some() && state.broken.is_none() {
            state = wait(state);
        }
        if let Some((_, (other, _))) =
            state.arrived.iter().flatten().enumerate().find(|(_, (other, _))| other != what)
        {
            let reason = format!(
                "ranks are in different collectives: rank {} in {what}, others in {other}",
                self.rank
            );
            meeting.fail(&mut state, reason);
        }
        state.arrived[self.rank] = Some((what.to_owned(), mine));
        if state.arrived.iter().all(Option::is_some) {
            let rows = state.arrived.iter_mut().filter_map(|slot| Some(slot.take()?.1)).collect();
            state.complete = Some((rows, meeting.size));
            state.collectives += 1;
            meeting.changed.notify_all();
        }
        loop {
            if let Some(reason) = &state.broken {
                return Err(Error::new(Kind::Mpi, reason.clone()));
            }
            if let Some((rows, left)) = &mut state.complete {
                let rows = rows.clone();
                *left -= 1;
                if *left == 0 {
                    state.complete = None;
                }
                meeting.changed.notify_all();
                return Ok(rows);
            }
            state = wait(state);
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
            self.meeting.fail(&mut state, reason);
        }
    }
}

impl Communicator for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.size
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn machine(&self) -> u64 {
        self.host.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte))
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
        let colors = self.meet("split", mine.clone())?;
        let same = |ranks: &[Vec<u8>]| ranks.iter().filter(|other| **other == mine).count();
        let meeting = {
            let mut state = self.meeting.lock();
            let new = || Arc::new(Meeting::new(same(&colors)));
            Arc::clone(state.parts.entry(color).or_insert_with(new))
        };
        // The next split is another one, and nobody is there before all have fetched this one's.
        self.meet("end of split", Vec::new())?;
        self.meeting.lock().parts.clear();
        self.meet("end of split", Vec::new())?;
        Ok(Arc::new(Self { meeting, rank: same(&colors[..self.rank]), host: self.host.clone() }))
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
    let meeting = Arc::new(Meeting::new(hosts.len()));
    std::thread::scope(|scope| {
        let ranks: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(rank, host)| {
                let comm = ThreadComm { meeting: Arc::clone(&meeting), rank, host: (*host).to_owned() };
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
