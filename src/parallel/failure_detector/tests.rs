//! Failure detectors of simulated ranks. Messages take a random time and overtake each other.

use proptest::prelude::*;

use super::*;
use crate::error::Kind;

/// Pseudo-random numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const STEP: Duration = Duration::from_millis(2);

struct SimRank {
    detector: FailureDetector,
    wait: Option<WaitState>,
    error: Option<Error>,
    warnings: Vec<String>,
}

struct Simulation {
    ranks: Vec<SimRank>,
    /// Messages to each rank: arrival time, sender, bytes.
    in_flight: Vec<Vec<(Duration, usize, Vec<u8>)>>,
    now: Duration,
    random: Random,
    sent: usize,
    /// Ranks that get no core.
    paused: Vec<usize>,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn rank_table(size: usize) -> RankTable {
    let entry = |rank| RankTable::entry(100 + u32::try_from(rank).unwrap(), "node");
    RankTable::new((0..size).flat_map(entry).collect())
}

impl Simulation {
    fn new(size: usize, seed: u64) -> Self {
        let rank = |rank| SimRank {
            detector: FailureDetector::new(rank, rank_table(size)),
            wait: None,
            error: None,
            warnings: Vec::new(),
        };
        let ranks = (0..size).map(rank).collect();
        let (now, random) = (Duration::ZERO, Random(seed));
        Self { ranks, in_flight: vec![Vec::new(); size], now, random, sent: 0, paused: Vec::new() }
    }

    /// Lets a rank wait in the collective `number`.
    fn wait(&mut self, rank: usize, number: u64, timeout: Option<Duration>) {
        let waiting =
            Waiting { number, call: "poisson".into(), step: format!("step {number}"), ..Waiting::default() };
        self.ranks[rank].wait = Some(WaitState::new(waiting, timeout, self.now));
    }

    /// Completes the collective for a rank.
    fn arrive(&mut self, rank: usize) {
        self.ranks[rank].wait = None;
        self.ranks[rank].detector.arrived();
    }

    fn collect(&mut self, from: usize) {
        for (to, message) in self.ranks[from].detector.take_messages() {
            assert_ne!(to, from);
            self.sent += 1;
            let at = self.now + millis(self.random.below(8));
            self.in_flight[to].push((at, from, message));
        }
    }

    /// Lets each waiting rank sleep once and poll.
    fn step(&mut self) {
        self.now += STEP;
        for rank in 0..self.ranks.len() {
            if self.ranks[rank].wait.is_none() || self.ranks[rank].error.is_some() {
                continue;
            }
            // A rank does not always get a core.
            if self.random.below(4) == 0 || self.paused.contains(&rank) {
                continue;
            }
            let now = self.now;
            let (due, later) =
                std::mem::take(&mut self.in_flight[rank]).into_iter().partition(|message| message.0 <= now);
            self.in_flight[rank] = later;
            let due: Vec<(Duration, usize, Vec<u8>)> = due;
            let SimRank { detector, wait, error, warnings } = &mut self.ranks[rank];
            for (_, from, message) in due {
                detector.receive(from, &message, wait.as_ref(), now);
            }
            match detector.poll(wait.as_mut().unwrap(), now) {
                WaitAction::Wait => {}
                WaitAction::Warn(text) => warnings.push(text),
                WaitAction::GiveUp(reason) => *error = Some(reason),
            }
            self.collect(rank);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until all of these ranks have given up, and returns their common error.
    fn decision(&mut self, ranks: &[usize]) -> Error {
        for _ in 0..20_000 {
            self.step();
            if ranks.iter().all(|rank| self.ranks[*rank].error.is_some()) {
                let first = self.ranks[ranks[0]].error.clone().unwrap();
                for rank in ranks {
                    assert_eq!(self.ranks[*rank].error.as_ref(), Some(&first), "rank {rank}");
                }
                return first;
            }
        }
        panic!("ranks wait for ever");
    }
}

fn expected_start(late: &[usize], size: usize) -> String {
    format!("rank {} of {size} on node: process {} is late", late[0], 100 + late[0])
}

#[test]
fn waiting_ranks_agree_on_the_late_ones_for_any_set_of_late_ranks() {
    let mut random = Random(1);
    for size in 2..=40 {
        for round in 0..6 {
            // The number of ranks that wait: 1, all but one, any.
            let count = match round {
                0 => 1,
                1 => size - 1,
                _ => 1 + usize::try_from(random.below(size as u64 - 1)).unwrap(),
            };
            let mut ranks: Vec<usize> = (0..size).collect();
            for at in (1..size).rev() {
                ranks.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
            }
            let (waiting, late) = ranks.split_at(count);
            let mut late = late.to_vec();
            late.sort_unstable();
            let mut sim = Simulation::new(size, random.below(1 << 30));
            for rank in waiting {
                sim.pass(millis(random.below(20)));
                sim.wait(*rank, 7, Some(millis(1000 + random.below(500))));
            }
            sim.now += millis(900);
            let error = sim.decision(waiting);
            assert_eq!((error.kind(), error.rank()), (Kind::Timeout, i32::try_from(late[0]).unwrap()));
            assert!(error.message().starts_with(&expected_start(&late, size)), "{late:?}: {error}");
            assert_eq!(error.message().contains(", and so are"), late.len() > 1, "{late:?}: {error}");
            if late.len() > 1 {
                assert!(
                    error.message().contains(&format!("are rank {} on node", late[1])),
                    "{late:?}: {error}"
                );
            }
            if late.len() > 4 {
                assert!(error.message().contains(&format!(" {} more", late.len() - 4)), "{late:?}: {error}");
            }
            assert!(error.message().contains("\"step 7\" of \"poisson\""));
            // One that wakes up finds the decision.
            for rank in late {
                sim.wait(rank, 7, None);
                assert_eq!(sim.decision(&[rank]), error);
            }
        }
    }
}

#[test]
fn the_number_of_messages_is_small() {
    let size = 256;
    let mut sim = Simulation::new(size, 5);
    (1..size).for_each(|rank| sim.wait(rank, 1, Some(millis(5000))));
    sim.decision(&(1..size).collect::<Vec<_>>());
    // 16 neighbours each, a few rounds until all know all, and the decision.
    assert!(sim.sent < size * 16 * 12, "{} messages", sim.sent);
}

#[test]
fn the_error_names_the_earliest_of_several_collectives() {
    let mut sim = Simulation::new(4, 2);
    sim.wait(0, 8, Some(millis(1000)));
    sim.wait(3, 7, Some(millis(1000)));
    sim.wait(1, 8, Some(millis(1000)));
    let error = sim.decision(&[0, 1, 3]);
    assert!(error.message().contains("\"step 7\"") && error.rank() == 2, "{error}");
}

#[test]
fn a_rank_that_arrives_in_the_grace_period_is_not_late() {
    for seed in 0..50 {
        let mut sim = Simulation::new(5, seed);
        for number in 0..6 {
            let late = usize::try_from(number % 5).unwrap();
            for rank in (0..5).filter(|rank| *rank != late) {
                sim.wait(rank, number, Some(millis(1000)));
            }
            sim.pass(millis(1000 + sim.random.0 % 190));
            assert!(sim.ranks.iter().all(|rank| rank.error.is_none()));
            (0..5).for_each(|rank| sim.arrive(rank));
            // The next wait begins before or after the epoch expires.
            sim.now += millis((seed % 3) * 700);
        }
        for rank in [0, 1, 3, 4] {
            sim.wait(rank, 9, Some(millis(1000)));
        }
        let error = sim.decision(&[0, 1, 3, 4]);
        assert!(error.rank() == 2 && !error.message().contains("and so"), "{seed}: {error}");
    }
}

#[test]
fn an_old_message_makes_no_rank_late() {
    // Rank 0 arrives, and then reads messages of the epoch that waited for it.
    let mut sim = Simulation::new(4, 3);
    (1..4).for_each(|rank| sim.wait(rank, 1, Some(millis(1000))));
    sim.pass(millis(1100));
    (1..4).for_each(|rank| sim.arrive(rank));
    sim.wait(0, 2, Some(millis(100_000)));
    sim.wait(3, 2, Some(millis(100_000)));
    sim.pass(millis(8000));
    assert!(sim.ranks.iter().all(|rank| rank.error.is_none()));
    let before = sim.sent;
    sim.pass(millis(8000));
    assert_eq!(sim.sent, before, "messages circulate for ever");
}

#[test]
fn a_rank_that_missed_earlier_epochs_rejoins() {
    let mut sim = Simulation::new(3, 4);
    // Ranks 0 and 1 have had detector calls that were over before rank 2 heard of them.
    for number in 0..3 {
        sim.wait(0, number, Some(millis(1000)));
        sim.wait(1, number, Some(millis(1000)));
        sim.pass(millis(1100));
        sim.arrive(0);
        sim.arrive(1);
        sim.now += millis(5000);
    }
    sim.in_flight.iter_mut().for_each(Vec::clear);
    sim.wait(1, 9, None);
    sim.wait(2, 9, Some(millis(1000)));
    let error = sim.decision(&[1, 2]);
    assert!(error.rank() == 0 && !error.message().contains("and so"), "{error}");
}

#[test]
fn after_thirty_seconds_the_lowest_rank_warns_once_and_names_the_late() {
    let mut sim = Simulation::new(6, 6);
    for rank in [1, 2, 3, 5] {
        sim.wait(rank, 4, None);
    }
    sim.pass(Duration::from_secs(100));
    let warnings = |sim: &Simulation| sim.ranks.iter().map(|rank| rank.warnings.len()).collect::<Vec<_>>();
    assert_eq!(warnings(&sim), [0, 1, 0, 0, 0, 0]);
    let text = &sim.ranks[1].warnings[0];
    for part in ["rank 0 on node (process 100)", "rank 4 on node", "\"step 4\"", "35 s"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A new wait may warn again.
    [1, 2, 3, 5].into_iter().for_each(|rank| sim.arrive(rank));
    [1, 2, 3, 5].into_iter().for_each(|rank| sim.wait(rank, 5, None));
    sim.pass(Duration::from_secs(100));
    assert_eq!(warnings(&sim), [0, 2, 0, 0, 0, 0]);
    assert!(sim.ranks.iter().all(|rank| rank.error.is_none()));
}

#[test]
fn with_all_ranks_present_the_timeout_runs_twice() {
    let mut sim = Simulation::new(3, 8);
    (0..3).for_each(|rank| sim.wait(rank, 1, Some(millis(1000))));
    sim.pass(millis(1900));
    assert!(sim.ranks.iter().all(|rank| rank.error.is_none()));
    let error = sim.decision(&[0, 1, 2]);
    assert!(error.message().starts_with("all 3 ranks take part"), "{error}");
}

/// Rank 3 is late. The others are two groups, one of which gets no core when the grace period begins.
#[test]
fn ranks_that_get_no_core_for_long_share_the_error_of_the_others() {
    let host = |rank| if rank < 3 { 0 } else { 1 };
    let machines: Vec<u64> = (0..5).map(host).collect();
    for hosts in [false, true] {
        for paused in [vec![0, 1, 2], vec![4], vec![0], vec![0, 4]] {
            for seed in 0..8 {
                let mut sim = Simulation::new(5, seed);
                for rank in [0, 1, 2, 4] {
                    if hosts {
                        let hosts = RankHosts::new(rank, &machines, &[true; 5]);
                        sim.ranks[rank].detector.set_ranks(rank_table(5), hosts);
                    }
                    sim.wait(rank, 1, Some(millis(2000)));
                    let on_host = if rank < 3 && hosts { vec![0, 1, 2] } else { vec![rank] };
                    let now = sim.now;
                    let wait = sim.ranks[rank].wait.as_mut().unwrap();
                    wait.observe(rank, on_host, Duration::ZERO, now);
                }
                sim.pass(millis(1990));
                sim.paused = paused.clone();
                sim.pass(millis(800));
                sim.paused.clear();
                let error = sim.decision(&[0, 1, 2, 4]);
                let alone = error.rank() == 3 && !error.message().contains("and so");
                assert!(alone, "{hosts} {paused:?} {seed}: {error}");
            }
        }
    }
}

#[test]
fn an_announced_error_reaches_all_ranks() {
    let mut sim = Simulation::new(9, 9);
    (1..9).for_each(|rank| sim.wait(rank, 1, None));
    sim.ranks[0].detector.announce(Error::new(Kind::Mpi, "the network is down"));
    sim.collect(0);
    assert_eq!(sim.decision(&(1..9).collect::<Vec<_>>()).message(), "the network is down");
}

proptest! {
    #[test]
    fn a_damaged_message_does_no_harm(cut in 0..400_usize, at in 0..400_usize, bit in 0..8_u32, junk: Vec<u8>) {
        let mut sim = Simulation::new(20, 1);
        sim.wait(3, 1, Some(millis(100)));
        while sim.in_flight[4].is_empty() {
            sim.step();
        }
        let wait = sim.ranks[3].wait.clone();
        let error = Error::new(Kind::Timeout, "x");
        let decision = Decision { by: 3, error, until: None }.encode(1);
        for message in [sim.in_flight[4][0].2.clone(), decision, epoch_closed(7), junk] {
            let mut damaged = message[..message.len().min(cut)].to_vec();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << bit;
            }
            let mut other = FailureDetector::new(4, rank_table(20));
            other.receive(3, &damaged, wait.as_ref(), sim.now);
            other.receive(3, &message, wait.as_ref(), sim.now);
            let _ = other.poll(&mut wait.clone().unwrap(), sim.now);
            assert!(other.take_messages().iter().all(|(to, _)| *to < 20));
        }
    }
}

#[test]
fn a_late_rank_of_the_first_call_gets_the_error_of_the_others() {
    for size in [2, 3, 5] {
        for alone in [0, size - 1] {
            let mut sim = Simulation::new(size, 3);
            sim.ranks[alone].detector = FailureDetector::new(alone, RankTable::unknown(size));
            sim.wait(alone, 0, Some(millis(1500)));
            let error = sim.decision(&[alone]);
            assert_eq!(error, first_call_timeout(size, "poisson", millis(1500)));
        }
    }
}
