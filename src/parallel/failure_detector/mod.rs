//! Failure detector: the ranks that wait find out together which ranks are late, without hearing from those.
//!
//! A rank that has waited too long opens an *epoch*: it sends the set of ranks that it knows to be waiting
//! (at first only itself) to peers at distances that are powers of two. A waiting rank that receives the set
//! joins the epoch, adds itself and forwards what it has learnt. The present ranks share out the ranks that
//! have not been heard of and ping them directly, so that they find each other whichever other ranks are
//! missing. After a grace period the lowest rank that has timed out takes all silent ranks for late and sends
//! its *decision* to all: the error, whose text is made once and forwarded unchanged. Late ranks get it too,
//! so that a rank that wakes up does not wait for ranks that have given up.
//!
//! Ranks that wait may not get a core for longer than a short grace period, and then two groups of them could
//! decide without each other. This takes two silent ranks: one that is late and one that is not. So with two
//! silent ranks or more there is some time in addition, and twice as much for a group that is not
//! more than half of the ranks: it gets the decision of the others.
//!
//! Presence may be overstated, but is never understated for long: a rank that was present and has left counts
//! as present until the next epoch. So a decision never names a rank that answered; it may come one epoch
//! late. It is not certain that all ranks get the decision: if a late rank arrives while the others time out,
//! the collective may complete on some of them, whose next wait then fails with the same decision. A rank
//! that loses all contact while the decision is made may make one of its own.
//!
//! Ranks that share the memory of a host see each other there: each of them knows which ranks of its host wait,
//! and says so for all of them. The lowest one that waits opens the epochs of its host. If all ranks are on one
//! host, no message is sent and no epoch is opened.
//!
//! This code is pure: messages come in and go out as bytes, and the time is an argument.

#![forbid(unsafe_code)]

mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::parallel::comm_status::warn_after;
use crate::parallel::node::hosts::RankHosts;
use crate::parallel::timeout::{RankTable, Waiting, first_call_timeout, slow_warning, timeout_error};

use message::{Message, Presence, cancelled, epoch_closed};

/// In place of a rank: no rank.
const NONE: u32 = u32::MAX;

/// Rounds of messages in a grace period.
const ROUNDS: u32 = 20;

/// The time that silent ranks get besides the grace period, if there are several.
const SECOND_CHANCE: Duration = Duration::from_millis(700);

/// Rounds in which messages go to the first peers only, before silent ranks are pinged.
const QUIET_ROUNDS: u32 = 3;

/// Silent ranks that one rank pings in one round.
const MAX_PINGS: usize = 64;

/// The wait of one rank in one collective.
#[derive(Clone, Debug)]
pub struct WaitState {
    waiting: Waiting,
    since: Duration,
    timeout: Option<Duration>,
    warn_at: Option<Duration>,
    give_up_at: Option<Duration>,
    stalled: bool,
    /// The ranks of this host that wait, if they share memory.
    present: Vec<usize>,
    /// Set if this is the lowest of them.
    speaks: bool,
}

impl WaitState {
    /// Makes a wait that began at `since` and ends with an error after `timeout`.
    #[must_use]
    pub fn new(waiting: Waiting, timeout: Option<Duration>, since: Duration) -> Self {
        Self {
            waiting,
            since,
            timeout,
            warn_at: Some(since + warn_after(timeout)),
            give_up_at: timeout.map(|timeout| since.saturating_add(timeout)),
            stalled: false,
            present: Vec::new(),
            speaks: true,
        }
    }

    /// Sets which ranks of this host wait, in ascending order, and for how long the first of them has waited.
    /// This wait counts from then.
    pub fn observe(&mut self, rank: usize, present: Vec<usize>, longest: Duration, now: Duration) {
        self.speaks = present.first().is_none_or(|first| *first >= rank);
        self.present = present;
        let since = now.saturating_sub(longest);
        if let Some(earlier) = self.since.checked_sub(since) {
            let sooner = |at: Option<Duration>| at.map(|at| at.saturating_sub(earlier));
            (self.since, self.warn_at, self.give_up_at) =
                (since, sooner(self.warn_at), sooner(self.give_up_at));
        }
    }

    /// Tells if this rank speaks for the waiting ranks of its host.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.speaks
    }

    /// Returns the time at which this rank has to give up, unless another one does so for it before.
    fn give_up_at(&self) -> Option<Duration> {
        let patience = if self.speaks { Duration::ZERO } else { self.grace() * 2 };
        self.give_up_at.map(|at| at.saturating_add(patience))
    }

    /// Returns the time of the next poll that has something to do, if that is after `now`.
    #[must_use]
    pub fn next_event(&self, now: Duration) -> Option<Duration> {
        let warning = self.warn_at.filter(|_| self.speaks);
        [warning, self.give_up_at()].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Returns the longest time between two polls in which messages are answered soon enough.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.grace() / ROUNDS
    }

    /// Returns the length of an epoch.
    fn grace(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(5);
        self.timeout.map_or(LONGEST, |timeout| (timeout / 10).clamp(SHORTEST, LONGEST))
    }

    fn at(&self, now: Duration) -> Waiting {
        Waiting { waited: now.saturating_sub(self.since), ..self.waiting.clone() }
    }
}

/// The result of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitAction {
    /// Continue to wait.
    Wait,
    /// Continue to wait, and log this text.
    Warn(String),
    /// Stop waiting: all ranks get this error.
    GiveUp(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Warn,
    GiveUp,
}

/// An epoch that this rank takes part in.
#[derive(Debug)]
struct Epoch {
    number: u32,
    known: Presence,
    /// Ranks to send to, each with the version last sent to it, or 0.
    peers: BTreeMap<usize, u64>,
    /// Grows with each change that peers have to hear of.
    version: u64,
    round: u32,
    next_round: Duration,
    /// Set while this rank has a warning or an error to decide on.
    purpose: Option<Purpose>,
    since: Duration,
    grace: Duration,
    outdated: bool,
}

#[derive(Clone, Debug)]
struct Decision {
    by: u32,
    error: Error,
    /// Until then a decision of a lower rank replaces this one.
    until: Option<Duration>,
}

/// One rank's part in the failure detection of a communicator.
#[derive(Debug)]
pub struct FailureDetector {
    rank: usize,
    rank_table: RankTable,
    hosts: RankHosts,
    /// The highest epoch that this rank has heard of.
    epoch: u32,
    /// The highest epoch that is closed for this rank.
    closed_epoch: u32,
    active: Option<Epoch>,
    decision: Option<Decision>,
    outbox: Vec<(usize, Vec<u8>)>,
    /// The last call that another rank has cancelled: the number of its collective, and its error.
    cancelled: Option<(u64, Error)>,
}

impl FailureDetector {
    /// Makes a detector that has seen no epoch.
    #[must_use]
    pub fn new(rank: usize, rank_table: RankTable) -> Self {
        let hosts = RankHosts::separate(rank, rank_table.size());
        Self {
            rank,
            rank_table,
            hosts,
            epoch: 0,
            closed_epoch: 0,
            active: None,
            decision: None,
            outbox: Vec::new(),
            cancelled: None,
        }
    }

    /// Sets hosts and processes of the ranks, once they are known, and which ranks share memory. A table of
    /// another size is ignored.
    pub fn set_ranks(&mut self, rank_table: RankTable, hosts: RankHosts) {
        if rank_table.size() == self.rank_table.size() {
            (self.rank_table, self.hosts) = (rank_table, hosts);
        }
    }

    /// Tells if an epoch is open, in which messages come and go.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Takes the messages to send now, each with the rank to send it to.
    pub fn take_messages(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.outbox)
    }

    /// Returns the error that all ranks get, if one is decided.
    #[must_use]
    pub fn decision(&self) -> Option<&Error> {
        self.decision.as_ref().map(|decision| &decision.error)
    }

    /// Sends all ranks an error that this rank alone knows, as a decision.
    pub fn announce(&mut self, error: Error) {
        let all: Vec<usize> = (0..self.rank_table.size()).collect();
        self.adopt(Decision { by: self.me(), error, until: None }, &all);
    }

    /// Tells these ranks that this one, which waits in the collective `number`, has cancelled the call.
    pub fn cancel(&mut self, number: u64, error: &Error, to: &[usize]) {
        let message = cancelled(self.epoch, number, error);
        self.outbox.extend(to.iter().filter(|rank| **rank != self.rank).map(|rank| (*rank, message.clone())));
    }

    /// Takes what another rank has said by [`cancel`](Self::cancel).
    pub fn take_cancelled(&mut self) -> Option<(u64, Error)> {
        self.cancelled.take()
    }

    /// Ends the wait of this rank: the collective is complete.
    pub fn arrived(&mut self) {
        if let Some(active) = &mut self.active {
            active.purpose = None;
        }
    }

    /// Processes a message. `wait` is the wait of this rank, `None` if it only reads its messages.
    pub fn receive(&mut self, from: usize, message: &[u8], wait: Option<&WaitState>, now: Duration) {
        match Message::decode(message, self.rank_table.size()) {
            Some((_, Message::Decision { by, error })) => {
                // A rank that does not wait has no peers to forward it to.
                let takes_part = wait.is_some() || self.active.is_some();
                let peers = if takes_part { self.peers() } else { Vec::new() };
                let until = wait.map(|wait| now + wait.grace() / 2);
                self.adopt(Decision { by, error, until }, &peers);
            }
            Some((epoch, Message::EpochClosed)) => self.rejoin(epoch, wait, now),
            Some((_, Message::Cancelled { number, error })) => self.cancelled = Some((number, error)),
            Some((epoch, Message::Presence(presence))) => {
                if let Some(decision) = &self.decision {
                    self.outbox.push((from, decision.encode(self.epoch)));
                } else if let Some(wait) = wait {
                    self.merge(from, epoch, presence, wait, now);
                } else {
                    self.epoch = self.epoch.max(epoch);
                }
            }
            // Only ranks of this communicator send to it: an unreadable message is dropped.
            None => {}
        }
    }

    /// Does all that is due in the wait of this rank.
    pub fn poll(&mut self, wait: &mut WaitState, now: Duration) -> WaitAction {
        if let Some(decision) = &self.decision {
            let settled = decision.until.is_none_or(|until| now >= until);
            return if settled { WaitAction::GiveUp(decision.error.clone()) } else { WaitAction::Wait };
        }
        let due = |at: Option<Duration>| at.is_some_and(|at| now >= at);
        if self.hosts.is_one_host() {
            return self.poll_on_host(wait, now);
        }
        if let Some(active) = &mut self.active {
            active.add(&wait.present);
        }
        if due(wait.give_up_at()) {
            (wait.give_up_at, wait.warn_at) = (None, None);
            self.start(Purpose::GiveUp, wait, now);
        } else if wait.speaks && due(wait.warn_at) {
            wait.warn_at = None;
            self.start(Purpose::Warn, wait, now);
        }
        let action = self.decide(wait, now);
        self.gossip(now);
        action
    }

    /// Does what is due if all ranks see each other in shared memory.
    fn poll_on_host(&self, wait: &mut WaitState, now: Duration) -> WaitAction {
        let late = || -> Vec<usize> {
            (0..self.rank_table.size())
                .filter(|rank| *rank != self.rank && !wait.present.contains(rank))
                .collect()
        };
        if wait.give_up_at().is_some_and(|at| now >= at) {
            let late = late();
            if late.is_empty() && !wait.stalled {
                wait.stalled = true;
                wait.give_up_at = wait.timeout.map(|timeout| now.saturating_add(timeout));
                return WaitAction::Wait;
            }
            return WaitAction::GiveUp(timeout_error(&self.rank_table, &late, &wait.at(now)));
        }
        if wait.speaks && wait.warn_at.is_some_and(|at| now >= at) {
            let late = late();
            wait.warn_at = None;
            return WaitAction::Warn(slow_warning(&self.rank_table, &late, &wait.at(now)));
        }
        WaitAction::Wait
    }

    fn me(&self) -> u32 {
        u32::try_from(self.rank).unwrap_or(NONE)
    }

    /// Returns the first peers: the leaders of the hosts at distances that are powers of two.
    fn neighbours(&self) -> BTreeMap<usize, u64> {
        let (leaders, host) = (self.hosts.leaders(), self.hosts.host());
        let size = leaders.len();
        let distances = std::iter::successors(Some(1), |distance| Some(distance * 2));
        let both = distances
            .take_while(|distance| *distance < size)
            .flat_map(|distance| [(host + distance) % size, (host + size - distance) % size]);
        both.filter(|other| *other != host).map(|other| (leaders[other], 0)).collect()
    }

    fn peers(&self) -> Vec<usize> {
        match &self.active {
            Some(active) => active.peers.keys().copied().collect(),
            None => self.neighbours().into_keys().collect(),
        }
    }

    /// Joins the epoch `number`, in which only this rank is known to be present.
    fn join(&mut self, number: u32, wait: &WaitState, now: Duration) -> &mut Epoch {
        let me = self.me();
        let purpose = self.active.take().and_then(|active| active.purpose);
        let mut present = vec![false; self.rank_table.size()];
        for rank in wait.present.iter().chain([&self.rank]) {
            present[*rank] = true;
        }
        let waiting = wait.at(now);
        self.epoch = self.epoch.max(number);
        let peers = self.neighbours();
        let known = Presence {
            present,
            warns: if purpose == Some(Purpose::Warn) { me } else { NONE },
            gives_up: if purpose == Some(Purpose::GiveUp) { me } else { NONE },
            longest: waiting.waited,
            earliest: (waiting, me),
        };
        self.active.insert(Epoch {
            number,
            known,
            peers,
            version: 1,
            round: 0,
            next_round: now,
            purpose,
            since: now,
            grace: wait.grace(),
            outdated: false,
        })
    }

    fn start(&mut self, purpose: Purpose, wait: &WaitState, now: Duration) {
        let me = self.me();
        self.expire(now);
        let number = self.epoch + 1;
        if self.active.is_none() {
            self.join(number, wait, now);
        }
        if let Some(active) = &mut self.active {
            active.purpose = Some(purpose);
            active.since = now;
            let known = &mut active.known;
            known.longest = known.longest.max(wait.at(now).waited);
            match purpose {
                Purpose::Warn => known.warns = known.warns.min(me),
                Purpose::GiveUp => known.gives_up = known.gives_up.min(me),
            }
            active.version += 1;
        }
    }

    /// Opens a later epoch if the one of this rank is `epoch` or earlier, which other ranks have closed.
    fn rejoin(&mut self, epoch: u32, wait: Option<&WaitState>, now: Duration) {
        self.epoch = self.epoch.max(epoch);
        let Some(active) = self.active.as_mut().filter(|active| active.number <= epoch) else { return };
        match (active.purpose, wait) {
            (Some(_), Some(wait)) => {
                self.join(epoch + 1, wait, now);
            }
            _ if !active.outdated => {
                active.outdated = true;
                let starters = [active.known.warns, active.known.gives_up];
                let others = starters.iter().filter(|rank| **rank != NONE).map(|rank| *rank as usize);
                self.outbox.extend(others.map(|rank| (rank, epoch_closed(epoch))));
            }
            _ => {}
        }
    }

    fn merge(&mut self, from: usize, epoch: u32, presence: Presence, wait: &WaitState, now: Duration) {
        self.expire(now);
        if epoch <= self.closed_epoch {
            self.outbox.push((from, epoch_closed(self.epoch)));
            return;
        }
        if self.active.as_ref().is_none_or(|active| active.number < epoch) {
            self.join(epoch, wait, now);
        }
        let Some(active) = &mut self.active else { return };
        let new_peer = !active.peers.contains_key(&from);
        active.peers.entry(from).or_insert(0);
        if active.number > epoch {
            // The sender joins this later epoch when it reads of it.
            active.peers.insert(from, 0);
            active.version += 1;
            active.next_round = now;
            return;
        }
        if active.known.merge(presence) || new_peer {
            active.version += 1;
        }
    }

    /// Closes the epoch if it has ended without a decision.
    fn expire(&mut self, now: Duration) {
        const GRACE_PERIODS: u32 = 4;
        if let Some(active) = &self.active
            && active.purpose.is_none()
            && now >= active.since + active.grace * GRACE_PERIODS
        {
            self.closed_epoch = active.number;
            self.active = None;
        }
    }

    /// Warns or decides at the end of the grace period, if that is up to this rank.
    fn decide(&mut self, wait: &mut WaitState, now: Duration) -> WaitAction {
        self.expire(now);
        let me = self.me();
        let Some(active) = &mut self.active else { return WaitAction::Wait };
        let Some(purpose) = active.purpose else { return WaitAction::Wait };
        let known = &active.known;
        let lowest = match purpose {
            Purpose::Warn => known.warns == me,
            Purpose::GiveUp => known.gives_up == me,
        };
        // If a lower rank should have decided and has not, it has left.
        let patience = match purpose {
            Purpose::Warn => active.grace,
            Purpose::GiveUp if lowest => active.grace + known.second_chance(),
            Purpose::GiveUp => active.grace * 2 + known.second_chance().max(SECOND_CHANCE),
        };
        if now < active.since + patience {
            return WaitAction::Wait;
        }
        active.purpose = None;
        let late = self.hosts.late(&known.present);
        let waiting = Waiting { waited: known.longest.max(wait.at(now).waited), ..known.earliest.0.clone() };
        if purpose == Purpose::Warn {
            // Messages do not name the builders; a rank that waits in the same collective knows them.
            let same = waiting.number == wait.waiting.number;
            let builders = if same { wait.waiting.builders.clone() } else { Vec::new() };
            let waiting = Waiting { builders, ..waiting };
            let warning = slow_warning(&self.rank_table, &late, &waiting);
            return if lowest { WaitAction::Warn(warning) } else { WaitAction::Wait };
        }
        if late.is_empty() && !wait.stalled {
            // All ranks are present: MPI gets the same time once more to complete the collective.
            wait.stalled = true;
            wait.give_up_at = wait.timeout.map(|timeout| now.saturating_add(timeout));
            return WaitAction::Wait;
        }
        let mut to: Vec<usize> = active.peers.keys().copied().chain(late.iter().copied()).collect();
        to.sort_unstable();
        to.dedup();
        let error = match wait.timeout {
            // A late rank may get past the step in which the others gave up the first call. Its error must be
            // theirs.
            Some(timeout) if !self.rank_table.is_known() && !late.is_empty() => {
                first_call_timeout(self.rank_table.size(), &waiting.call, timeout)
            }
            _ => timeout_error(&self.rank_table, &late, &waiting),
        };
        self.adopt(Decision { by: me, error, until: Some(now + wait.grace() / 2) }, &to);
        WaitAction::Wait
    }

    /// Takes over a decision and forwards it, unless one of the same or a lower rank is known.
    fn adopt(&mut self, decision: Decision, to: &[usize]) {
        if self.decision.as_ref().is_some_and(|known| known.by <= decision.by) {
            return;
        }
        let message = decision.encode(self.epoch);
        let others = to.iter().filter(|rank| **rank != self.rank);
        self.outbox.extend(others.map(|rank| (*rank, message.clone())));
        self.decision = Some(decision);
    }

    /// Sends the latest version to peers that have an older one; to a silent rank only once.
    fn gossip(&mut self, now: Duration) {
        let (rank, epoch) = (self.rank, self.epoch);
        let Some(active) = &mut self.active else { return };
        if self.decision.is_some() || now < active.next_round {
            return;
        }
        debug_assert!(epoch >= active.number);
        if active.round >= QUIET_ROUNDS {
            active.ping_unheard(rank, &self.hosts);
        }
        active.round += 1;
        active.next_round = now + active.grace / ROUNDS;
        let message = active.known.encode(active.number);
        for (peer, sent) in &mut active.peers {
            if *sent == 0 || (active.known.present[*peer] && *sent < active.version) {
                *sent = active.version;
                self.outbox.push((*peer, message.clone()));
            }
        }
    }
}

impl Epoch {
    /// Adds ranks that wait.
    fn add(&mut self, ranks: &[usize]) {
        for rank in ranks {
            if !std::mem::replace(&mut self.known.present[*rank], true) {
                self.version += 1;
            }
        }
    }

    /// Shares out the ranks of silent hosts among the present hosts and makes those of this host peers.
    fn ping_unheard(&mut self, rank: usize, hosts: &RankHosts) {
        let heard = hosts.with_any(&self.known.present);
        let count = heard.iter().filter(|heard| **heard).count();
        let lower = heard[..hosts.leader_of(rank)].iter().filter(|heard| **heard).count();
        let unheard = (0..heard.len()).filter(|other| !heard[hosts.leader_of(*other)]);
        let mine: Vec<usize> = unheard
            .enumerate()
            .filter(|(index, other)| index % count == lower && !self.peers.contains_key(other))
            .map(|(_, other)| other)
            .take(MAX_PINGS)
            .collect();
        self.peers.extend(mine.into_iter().map(|other| (other, 0)));
    }
}

#[cfg(test)]
mod tests;
