//! Roll calls among ranks of a simulated world, with letters that take their time and overtake each other.

use proptest::prelude::*;

use super::*;
use crate::error::Kind;

/// A generator of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const STEP: Duration = Duration::from_millis(2);

struct Rank {
    roll: FailureDetector,
    vigil: Option<WaitState>,
    error: Option<Error>,
    warnings: Vec<String>,
}

struct World {
    ranks: Vec<Rank>,
    /// Letters on their way to each rank: when, from, what.
    post: Vec<Vec<(Duration, usize, Vec<u8>)>>,
    now: Duration,
    dice: Dice,
    sent: usize,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn roster(size: usize) -> RankTable {
    let row = |rank| RankTable::entry(100 + u32::try_from(rank).unwrap(), "node");
    RankTable::new((0..size).flat_map(row).collect())
}

impl World {
    fn new(size: usize, seed: u64) -> Self {
        let rank = |rank| Rank {
            roll: FailureDetector::new(rank, roster(size)),
            vigil: None,
            error: None,
            warnings: Vec::new(),
        };
        let ranks = (0..size).map(rank).collect();
        Self { ranks, post: vec![Vec::new(); size], now: Duration::ZERO, dice: Dice(seed), sent: 0 }
    }

    /// From now on this rank waits in the collective of this number.
    fn wait(&mut self, rank: usize, number: u64, timeout: Option<Duration>) {
        let waiting =
            Waiting { number, call: "poisson".into(), step: format!("step {number}"), ..Waiting::default() };
        self.ranks[rank].vigil = Some(WaitState::new(waiting, timeout, self.now));
    }

    /// The collective is complete for this rank.
    fn arrive(&mut self, rank: usize) {
        self.ranks[rank].vigil = None;
        self.ranks[rank].roll.arrived();
    }

    fn collect(&mut self, from: usize) {
        for (to, letter) in self.ranks[from].roll.take_messages() {
            assert_ne!(to, from);
            self.sent += 1;
            let at = self.now + millis(self.dice.throw(8));
            self.post[to].push((at, from, letter));
        }
    }

    /// One nap of every rank that waits.
    fn step(&mut self) {
        self.now += STEP;
        for rank in 0..self.ranks.len() {
            if self.ranks[rank].vigil.is_none() || self.ranks[rank].error.is_some() {
                continue;
            }
            // A rank may be late for its core.
            if self.dice.throw(4) == 0 {
                continue;
            }
            let now = self.now;
            let (due, later) =
                std::mem::take(&mut self.post[rank]).into_iter().partition(|letter| letter.0 <= now);
            self.post[rank] = later;
            let due: Vec<(Duration, usize, Vec<u8>)> = due;
            let Rank { roll, vigil, error, warnings } = &mut self.ranks[rank];
            for (_, from, letter) in due {
                roll.receive(from, &letter, vigil.as_ref(), now);
            }
            match roll.poll(vigil.as_mut().unwrap(), now) {
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

    /// Until all of these have given up; their one and only error.
    fn verdict(&mut self, ranks: &[usize]) -> Error {
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
fn all_that_wait_reach_the_same_verdict_whoever_is_missing() {
    let mut dice = Dice(1);
    for size in 2..=40 {
        for round in 0..6 {
            // From one that is missing to one that is there.
            let there = match round {
                0 => 1,
                1 => size - 1,
                _ => 1 + usize::try_from(dice.throw(size as u64 - 1)).unwrap(),
            };
            let mut ranks: Vec<usize> = (0..size).collect();
            for at in (1..size).rev() {
                ranks.swap(at, usize::try_from(dice.throw(at as u64 + 1)).unwrap());
            }
            let (here, late) = ranks.split_at(there);
            let mut late = late.to_vec();
            late.sort_unstable();
            let mut world = World::new(size, dice.throw(1 << 30));
            for rank in here {
                world.pass(millis(dice.throw(20)));
                world.wait(*rank, 7, Some(millis(1000 + dice.throw(500))));
            }
            world.now += millis(900);
            let error = world.verdict(here);
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
            // One that wakes up finds the verdict.
            for rank in late {
                world.wait(rank, 7, None);
                assert_eq!(world.verdict(&[rank]), error);
            }
        }
    }
}

#[test]
fn letters_are_few() {
    let size = 256;
    let mut world = World::new(size, 5);
    (1..size).for_each(|rank| world.wait(rank, 1, Some(millis(5000))));
    world.verdict(&(1..size).collect::<Vec<_>>());
    // 16 neighbours each, a few rounds until all know all, and the verdict.
    assert!(world.sent < size * 16 * 12, "{} letters", world.sent);
}

#[test]
fn those_who_wait_in_different_collectives_name_the_earliest() {
    let mut world = World::new(4, 2);
    world.wait(0, 8, Some(millis(1000)));
    world.wait(3, 7, Some(millis(1000)));
    world.wait(1, 8, Some(millis(1000)));
    let error = world.verdict(&[0, 1, 3]);
    assert!(error.message().contains("\"step 7\"") && error.rank() == 2, "{error}");
}

#[test]
fn a_rank_that_comes_during_the_grace_is_no_error_and_later_ones_are_named() {
    for seed in 0..50 {
        let mut world = World::new(5, seed);
        for number in 0..6 {
            let late = usize::try_from(number % 5).unwrap();
            for rank in (0..5).filter(|rank| *rank != late) {
                world.wait(rank, number, Some(millis(1000)));
            }
            world.pass(millis(1000 + world.dice.0 % 190));
            assert!(world.ranks.iter().all(|rank| rank.error.is_none()));
            (0..5).for_each(|rank| world.arrive(rank));
            // Sometimes the next wait begins at once, sometimes when all is forgotten.
            world.now += millis((seed % 3) * 700);
        }
        for rank in [0, 1, 3, 4] {
            world.wait(rank, 9, Some(millis(1000)));
        }
        let error = world.verdict(&[0, 1, 3, 4]);
        assert!(error.rank() == 2 && !error.message().contains("and so"), "{seed}: {error}");
    }
}

#[test]
fn an_old_letter_makes_nobody_late() {
    // Rank 0 reads late what was written to it before it came.
    let mut world = World::new(4, 3);
    (1..4).for_each(|rank| world.wait(rank, 1, Some(millis(1000))));
    world.pass(millis(1100));
    (1..4).for_each(|rank| world.arrive(rank));
    world.wait(0, 2, Some(millis(100_000)));
    world.wait(3, 2, Some(millis(100_000)));
    world.pass(millis(8000));
    assert!(world.ranks.iter().all(|rank| rank.error.is_none()));
    let before = world.sent;
    world.pass(millis(8000));
    assert_eq!(world.sent, before, "letters go round for ever");
}

#[test]
fn a_rank_that_has_not_heard_of_earlier_roll_calls_is_told() {
    let mut world = World::new(3, 4);
    // Ranks 0 and 1 have had roll calls that were over before rank 2 heard of them.
    for number in 0..3 {
        world.wait(0, number, Some(millis(1000)));
        world.wait(1, number, Some(millis(1000)));
        world.pass(millis(1100));
        world.arrive(0);
        world.arrive(1);
        world.now += millis(5000);
    }
    world.post.iter_mut().for_each(Vec::clear);
    world.wait(1, 9, None);
    world.wait(2, 9, Some(millis(1000)));
    let error = world.verdict(&[1, 2]);
    assert!(error.rank() == 0 && !error.message().contains("and so"), "{error}");
}

#[test]
fn after_thirty_seconds_the_lowest_rank_warns_once_and_names_the_late() {
    let mut world = World::new(6, 6);
    for rank in [1, 2, 3, 5] {
        world.wait(rank, 4, None);
    }
    world.pass(Duration::from_secs(100));
    let warnings = |world: &World| world.ranks.iter().map(|rank| rank.warnings.len()).collect::<Vec<_>>();
    assert_eq!(warnings(&world), [0, 1, 0, 0, 0, 0]);
    let text = &world.ranks[1].warnings[0];
    for part in ["rank 0 on node (process 100)", "rank 4 on node", "\"step 4\"", "35 s"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A new wait may warn again.
    [1, 2, 3, 5].into_iter().for_each(|rank| world.arrive(rank));
    [1, 2, 3, 5].into_iter().for_each(|rank| world.wait(rank, 5, None));
    world.pass(Duration::from_secs(100));
    assert_eq!(warnings(&world), [0, 2, 0, 0, 0, 0]);
    assert!(world.ranks.iter().all(|rank| rank.error.is_none()));
}

#[test]
fn where_all_are_there_the_communication_is_given_as_much_time_again() {
    let mut world = World::new(3, 8);
    (0..3).for_each(|rank| world.wait(rank, 1, Some(millis(1000))));
    world.pass(millis(1900));
    assert!(world.ranks.iter().all(|rank| rank.error.is_none()));
    let error = world.verdict(&[0, 1, 2]);
    assert!(error.message().starts_with("all 3 ranks take part"), "{error}");
}

#[test]
fn an_error_of_one_rank_is_told_to_all() {
    let mut world = World::new(9, 9);
    (1..9).for_each(|rank| world.wait(rank, 1, None));
    world.ranks[0].roll.announce(Error::new(Kind::Mpi, "the network is down"));
    world.collect(0);
    assert_eq!(world.verdict(&(1..9).collect::<Vec<_>>()).message(), "the network is down");
}

proptest! {
    #[test]
    fn a_damaged_letter_does_no_harm(cut in 0..400_usize, at in 0..400_usize, bit in 0..8_u32, junk: Vec<u8>) {
        let mut world = World::new(20, 1);
        world.wait(3, 1, Some(millis(100)));
        while world.post[4].is_empty() {
            world.step();
        }
        let vigil = world.ranks[3].vigil.clone();
        let error = Error::new(Kind::Timeout, "x");
        let verdict = Decision { by: 3, error, until: None }.encode(1);
        for letter in [world.post[4][0].2.clone(), verdict, epoch_closed(7), junk] {
            let mut damaged = letter[..letter.len().min(cut)].to_vec();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << bit;
            }
            let mut other = FailureDetector::new(4, roster(20));
            other.receive(3, &damaged, vigil.as_ref(), world.now);
            other.receive(3, &letter, vigil.as_ref(), world.now);
            let _ = other.poll(&mut vigil.clone().unwrap(), world.now);
            assert!(other.take_messages().iter().all(|(to, _)| *to < 20));
        }
    }
}

/// The text of ranks that have not met is the same as that of those that could not even begin to meet.
#[test]
fn ranks_that_have_not_met_say_what_those_say_that_have_given_up_the_first_call() {
    for size in [2, 3, 5] {
        for alone in [0, size - 1] {
            let mut world = World::new(size, 3);
            world.ranks[alone].roll = FailureDetector::new(alone, RankTable::unknown(size));
            world.wait(alone, 0, Some(millis(1500)));
            let error = world.verdict(&[alone]);
            assert_eq!(error, first_call_timeout(size, "poisson", millis(1500)));
        }
    }
}
