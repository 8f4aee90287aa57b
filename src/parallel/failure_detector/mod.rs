//! Finding out together who is late, without those who are late.
//!
//! A rank that has waited too long starts a roll call: it sends the set of ranks that it knows to be waiting (itself,
//! at first) to a few others, at distances that are powers of two. Whoever is waiting as well joins, adds itself, and
//! sends on what it has learnt. Ranks that nobody has heard of are asked directly, shared out among those that have
//! answered, so that the ones that are there find each other whoever else is missing. After a time of grace the lowest
//! rank that has waited too long takes all that have not answered for late, and says so to everybody: the verdict,
//! whose text is made once and passed on as it is. The late ranks are sent it as well, so that one that wakes up does
//! not wait in its turn for ranks that have gone.
//!
//! Presence is only ever overstated, never understated for long: a rank that was there and has left counts as there
//! until the next roll call. So a verdict names nobody who answered; it may come late, by one roll call. What cannot
//! be had is certainty that all get the verdict: the late rank may come, and complete the collective for some, in the
//! very moment of the verdict. Those who complete it go on and fail in their next wait, with the same verdict; and a
//! rank that loses all contact while the verdict is made may make one of its own.
//!
//! All this is pure: letters come in and go out, and time is a number that is passed in.

#![forbid(unsafe_code)]

mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::parallel::comm_status::warn_after;
use crate::parallel::timeout::{RankTable, Waiting, first_call_timeout, slow_warning, timeout_error};

use message::{Message, Presence, epoch_closed};

/// Nobody.
const NONE: u32 = u32::MAX;

/// Rounds of letters in a time of grace.
const ROUNDS: u32 = 20;

/// Rounds in which letters go to the usual ranks only.
const QUIET_ROUNDS: u32 = 3;

/// Ranks that one rank asks directly in one round.
const PROBES: usize = 64;

/// One rank's wait in one collective.
#[derive(Clone, Debug)]
pub struct WaitState {
    waiting: Waiting,
    since: Duration,
    timeout: Option<Duration>,
    warn_at: Option<Duration>,
    give_up_at: Option<Duration>,
    stalled: bool,
}

impl WaitState {
    /// A wait since `since`, which ends with an error after `timeout`.
    #[must_use]
    pub fn new(waiting: Waiting, timeout: Option<Duration>, since: Duration) -> Self {
        Self {
            waiting,
            since,
            timeout,
            warn_at: Some(since + warn_after(timeout)),
            give_up_at: timeout.map(|timeout| since.saturating_add(timeout)),
            stalled: false,
        }
    }

    /// How long a roll call takes.
    fn grace(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(5);
        self.timeout.map_or(LONGEST, |timeout| (timeout / 10).clamp(SHORTEST, LONGEST))
    }

    fn now(&self, now: Duration) -> Waiting {
        Waiting { waited: now.saturating_sub(self.since), ..self.waiting.clone() }
    }
}

/// What follows from a look at the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitAction {
    /// Wait on.
    Wait,
    /// Wait on, and put this into the log.
    Warn(String),
    /// Wait no longer: this is everybody's error.
    GiveUp(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Warn,
    GiveUp,
}

/// A roll call that this rank takes part in.
#[derive(Debug)]
struct Epoch {
    epoch: u32,
    present: Vec<bool>,
    warns: u32,
    gives_up: u32,
    /// The earliest collective that somebody waits in, and who.
    earliest: (Waiting, u32),
    longest: Duration,
    /// Ranks to write to, with the version that they have been sent; 0: none.
    links: BTreeMap<usize, u64>,
    version: u64,
    round: u32,
    next_round: Duration,
    /// Why this rank has started or joined, and when.
    purpose: Option<Purpose>,
    since: Duration,
    grace: Duration,
    outdated: bool,
}

#[derive(Clone, Debug)]
struct Decision {
    by: u32,
    error: Error,
    /// Until when one of a lower rank takes its place.
    until: Option<Duration>,
}

/// One rank's side of all roll calls on a communicator.
#[derive(Debug)]
pub struct FailureDetector {
    rank: usize,
    rank_table: RankTable,
    /// The highest number of a roll call that this rank has heard of.
    epoch: u32,
    /// Roll calls up to this one are over as far as this rank is concerned.
    closed_epoch: u32,
    active: Option<Epoch>,
    decision: Option<Decision>,
    outbox: Vec<(usize, Vec<u8>)>,
}

impl FailureDetector {
    /// No roll call yet.
    #[must_use]
    pub fn new(rank: usize, rank_table: RankTable) -> Self {
        Self { rank, rank_table, epoch: 0, closed_epoch: 0, active: None, decision: None, outbox: Vec::new() }
    }

    /// Who the ranks are, where that was not known at the beginning; as many as before.
    pub fn set_rank_table(&mut self, roster: RankTable) {
        if roster.size() == self.rank_table.size() {
            self.rank_table = roster;
        }
    }

    /// The letters to send now, with the ranks that they go to.
    pub fn take_messages(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.outbox)
    }

    /// What this rank has been told of why nothing can be agreed on any more.
    #[must_use]
    pub fn decision(&self) -> Option<&Error> {
        self.decision.as_ref().map(|verdict| &verdict.error)
    }

    /// This rank alone knows that nothing can be agreed on any more; it tells everybody.
    pub fn announce(&mut self, error: Error) {
        let everybody: Vec<usize> = (0..self.rank_table.size()).collect();
        self.adopt(Decision { by: self.me(), error, until: None }, &everybody);
    }

    /// The wait is over: the collective is complete.
    pub fn arrived(&mut self) {
        if let Some(active) = &mut self.active {
            active.purpose = None;
        }
    }

    /// Reads a letter. `vigil` is the wait of this rank, `None` where it only looks into its letters.
    pub fn receive(&mut self, from: usize, letter: &[u8], vigil: Option<&WaitState>, now: Duration) {
        match Message::decode(letter, self.rank_table.size()) {
            Some((_, Message::Verdict { by, error })) => {
                // One that comes late, and only looks, has nobody to tell.
                let takes_part = vigil.is_some() || self.active.is_some();
                let links = if takes_part { self.links() } else { Vec::new() };
                let until = vigil.map(|vigil| now + vigil.grace() / 2);
                self.adopt(Decision { by, error, until }, &links);
            }
            Some((epoch, Message::Over)) => self.rejoin(epoch, vigil, now),
            Some((epoch, Message::Roll(roll))) => {
                if let Some(verdict) = &self.decision {
                    self.outbox.push((from, verdict.encode(self.epoch)));
                } else if let Some(vigil) = vigil {
                    self.merge(from, epoch, roll, vigil, now);
                } else {
                    self.epoch = self.epoch.max(epoch);
                }
            }
            // Nobody else writes to us; a letter that cannot be read is no letter.
            None => {}
        }
    }

    /// Does what is due in the wait of this rank.
    pub fn poll(&mut self, vigil: &mut WaitState, now: Duration) -> WaitAction {
        if let Some(verdict) = &self.decision {
            let settled = verdict.until.is_none_or(|until| now >= until);
            return if settled { WaitAction::GiveUp(verdict.error.clone()) } else { WaitAction::Wait };
        }
        let due = |at: Option<Duration>| at.is_some_and(|at| now >= at);
        if due(vigil.give_up_at) {
            (vigil.give_up_at, vigil.warn_at) = (None, None);
            self.start(Purpose::GiveUp, vigil, now);
        } else if due(vigil.warn_at) {
            vigil.warn_at = None;
            self.start(Purpose::Warn, vigil, now);
        }
        let outcome = self.take_part(vigil, now);
        self.gossip(now);
        outcome
    }

    fn me(&self) -> u32 {
        u32::try_from(self.rank).unwrap_or(NONE)
    }

    /// The ranks that are written to first.
    fn neighbours(&self) -> BTreeMap<usize, u64> {
        let size = self.rank_table.size();
        let distances = std::iter::successors(Some(1), |distance| Some(distance * 2));
        let both = distances
            .take_while(|distance| *distance < size)
            .flat_map(|distance| [(self.rank + distance) % size, (self.rank + size - distance) % size]);
        both.filter(|other| *other != self.rank).map(|other| (other, 0)).collect()
    }

    fn links(&self) -> Vec<usize> {
        match &self.active {
            Some(active) => active.links.keys().copied().collect(),
            None => self.neighbours().into_keys().collect(),
        }
    }

    /// Takes part in the roll call `epoch`, with nobody known but this rank.
    fn join(&mut self, epoch: u32, vigil: &WaitState, now: Duration) -> &mut Epoch {
        let me = self.me();
        let purpose = self.active.take().and_then(|active| active.purpose);
        let mut present = vec![false; self.rank_table.size()];
        present[self.rank] = true;
        let waiting = vigil.now(now);
        self.epoch = self.epoch.max(epoch);
        let links = self.neighbours();
        self.active.insert(Epoch {
            epoch,
            present,
            warns: if purpose == Some(Purpose::Warn) { me } else { NONE },
            gives_up: if purpose == Some(Purpose::GiveUp) { me } else { NONE },
            longest: waiting.waited,
            earliest: (waiting, me),
            links,
            version: 1,
            round: 0,
            next_round: now,
            purpose,
            since: now,
            grace: vigil.grace(),
            outdated: false,
        })
    }

    fn start(&mut self, purpose: Purpose, vigil: &WaitState, now: Duration) {
        let me = self.me();
        self.expire(now);
        let epoch = self.epoch + 1;
        if self.active.is_none() {
            self.join(epoch, vigil, now);
        }
        if let Some(active) = &mut self.active {
            active.purpose = Some(purpose);
            active.since = now;
            active.longest = active.longest.max(vigil.now(now).waited);
            match purpose {
                Purpose::Warn => active.warns = active.warns.min(me),
                Purpose::GiveUp => active.gives_up = active.gives_up.min(me),
            }
            active.version += 1;
        }
    }

    /// Somebody knows that roll calls up to `epoch` are over: whoever takes part in such a one was not told.
    fn rejoin(&mut self, epoch: u32, vigil: Option<&WaitState>, now: Duration) {
        self.epoch = self.epoch.max(epoch);
        let Some(active) = self.active.as_mut().filter(|active| active.epoch <= epoch) else { return };
        match (active.purpose, vigil) {
            (Some(_), Some(vigil)) => {
                self.join(epoch + 1, vigil, now);
            }
            _ if !active.outdated => {
                active.outdated = true;
                let starters = [active.warns, active.gives_up];
                let others = starters.iter().filter(|rank| **rank != NONE).map(|rank| *rank as usize);
                self.outbox.extend(others.map(|rank| (rank, epoch_closed(epoch))));
            }
            _ => {}
        }
    }

    fn merge(&mut self, from: usize, epoch: u32, roll: Presence, vigil: &WaitState, now: Duration) {
        self.expire(now);
        if epoch <= self.closed_epoch {
            self.outbox.push((from, epoch_closed(self.epoch)));
            return;
        }
        if self.active.as_ref().is_none_or(|active| active.epoch < epoch) {
            self.join(epoch, vigil, now);
        }
        let Some(active) = &mut self.active else { return };
        let newcomer = !active.links.contains_key(&from);
        active.links.entry(from).or_insert(0);
        if active.epoch > epoch {
            // They join ours when they read it.
            active.links.insert(from, 0);
            active.version += 1;
            active.next_round = now;
            return;
        }
        let before = (active.present.clone(), active.warns, active.gives_up, active.earliest.1);
        active.present.iter_mut().zip(&roll.present).for_each(|(known, told)| *known |= told);
        active.warns = active.warns.min(roll.warns);
        active.gives_up = active.gives_up.min(roll.gives_up);
        active.longest = active.longest.max(roll.longest);
        if (roll.earliest.0.number, roll.earliest.1) < (active.earliest.0.number, active.earliest.1) {
            active.earliest = roll.earliest;
        }
        let after = (active.present.clone(), active.warns, active.gives_up, active.earliest.1);
        if before != after || newcomer {
            active.version += 1;
        }
    }

    /// Ends a roll call that came to nothing.
    fn expire(&mut self, now: Duration) {
        const AFTER: u32 = 4;
        if let Some(active) = &self.active
            && active.purpose.is_none()
            && now >= active.since + active.grace * AFTER
        {
            self.closed_epoch = active.epoch;
            self.active = None;
        }
    }

    fn take_part(&mut self, vigil: &mut WaitState, now: Duration) -> WaitAction {
        self.expire(now);
        let me = self.me();
        let Some(active) = &mut self.active else { return WaitAction::Wait };
        let Some(purpose) = active.purpose else { return WaitAction::Wait };
        let lowest = match purpose {
            Purpose::Warn => active.warns == me,
            Purpose::GiveUp => active.gives_up == me,
        };
        // A lower rank that should have said something by now has gone.
        let patience = if lowest || purpose == Purpose::Warn { active.grace } else { active.grace * 2 };
        if now < active.since + patience {
            return WaitAction::Wait;
        }
        active.purpose = None;
        let ranks = active.present.iter().enumerate();
        let late: Vec<usize> = ranks.filter(|(_, there)| !**there).map(|(rank, _)| rank).collect();
        let waiting =
            Waiting { waited: active.longest.max(vigil.now(now).waited), ..active.earliest.0.clone() };
        if purpose == Purpose::Warn {
            // The letters do not say who compiles; whoever waits in the same collective knows.
            let same = waiting.number == vigil.waiting.number;
            let builders = if same { vigil.waiting.builders.clone() } else { Vec::new() };
            let waiting = Waiting { builders, ..waiting };
            let warning = slow_warning(&self.rank_table, &late, &waiting);
            return if lowest { WaitAction::Warn(warning) } else { WaitAction::Wait };
        }
        if late.is_empty() && !vigil.stalled {
            // All are there: their communication is given as much time once more.
            vigil.stalled = true;
            vigil.give_up_at = vigil.timeout.map(|timeout| now.saturating_add(timeout));
            return WaitAction::Wait;
        }
        let mut to: Vec<usize> = active.links.keys().copied().chain(late.iter().copied()).collect();
        to.sort_unstable();
        to.dedup();
        let error = match vigil.timeout {
            // A rank that comes too late to the first call may get further than those that have given it up, and has to
            // say the same.
            Some(timeout) if !self.rank_table.is_known() && !late.is_empty() => {
                first_call_timeout(self.rank_table.size(), &waiting.call, timeout)
            }
            _ => timeout_error(&self.rank_table, &late, &waiting),
        };
        self.adopt(Decision { by: me, error, until: Some(now + vigil.grace() / 2) }, &to);
        WaitAction::Wait
    }

    /// Believes a verdict and passes it on, unless it has one of the same or a lower rank.
    fn adopt(&mut self, verdict: Decision, to: &[usize]) {
        if self.decision.as_ref().is_some_and(|known| known.by <= verdict.by) {
            return;
        }
        let letter = verdict.encode(self.epoch);
        let others = to.iter().filter(|rank| **rank != self.rank);
        self.outbox.extend(others.map(|rank| (*rank, letter.clone())));
        self.decision = Some(verdict);
    }

    /// Writes to whoever has not been told the latest; to a rank that has not answered, once.
    fn gossip(&mut self, now: Duration) {
        let (rank, epoch) = (self.rank, self.epoch);
        let Some(active) = &mut self.active else { return };
        if self.decision.is_some() || now < active.next_round {
            return;
        }
        debug_assert!(epoch >= active.epoch);
        if active.round >= QUIET_ROUNDS {
            active.ping_unheard(rank);
        }
        active.round += 1;
        active.next_round = now + active.grace / ROUNDS;
        let letter = active.encode();
        for (other, told) in &mut active.links {
            if *told == 0 || (active.present[*other] && *told < active.version) {
                *told = active.version;
                self.outbox.push((*other, letter.clone()));
            }
        }
    }
}

impl Epoch {
    /// Shares out the ranks that nobody has heard of among those that are there, and makes links to this rank's.
    fn ping_unheard(&mut self, rank: usize) {
        let here = self.present.iter().filter(|there| **there).count();
        let before_me = self.present[..rank].iter().filter(|there| **there).count();
        let unheard = self.present.iter().enumerate().filter(|(_, there)| !**there).map(|(other, _)| other);
        let mine: Vec<usize> = unheard
            .enumerate()
            .filter(|(place, other)| place % here == before_me && !self.links.contains_key(other))
            .map(|(_, other)| other)
            .take(PROBES)
            .collect();
        self.links.extend(mine.into_iter().map(|other| (other, 0)));
    }
}

#[cfg(test)]
mod tests;
