//! Waits of ranks: for the other ranks of the host in shared memory, for other hosts by requests of MPI; with
//! time-outs, while messages of the failure detector are exchanged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::parallel::Communicator;
use crate::parallel::cancellation::{Cancellation, HostCancels};
use crate::parallel::comm_status::CommStatus;
use crate::parallel::failure_detector::{FailureDetector, WaitAction, WaitState};
use crate::parallel::node::barrier::{Woken, Word};
use crate::parallel::node::hosts::RankHosts;
use crate::parallel::node::shared::{BarrierKind, FailOutcome, SharedMemory};
use crate::parallel::timeout::RankTable;
use crate::process::interrupt::POLL_INTERVAL;
use crate::sync::lock;

use super::MpiComm;
use super::abi::Handle;
use super::mailbox::Mailbox;
use super::request::are_complete;

/// A rank that was away or waiting for so long reads its messages before it goes on: the others may have
/// given up.
const RESYNC_AFTER: Duration = Duration::from_millis(20);

/// The ranks of this rank's host, and their memory if there is more than one.
pub(super) struct Node {
    pub(super) hosts: RankHosts,
    pub(super) memory: Option<SharedMemory>,
}

/// The state of a communicator's waits.
pub(super) struct Waiter {
    pub(super) status: CommStatus,
    pub(super) cancellation: Cancellation,
    rank: usize,
    size: usize,
    /// The zero of the detector's time.
    origin: Instant,
    /// The end of this rank's last collective, in nanoseconds.
    last: AtomicU64,
    detector_io: Mutex<DetectorIo>,
    /// In use until the handshake.
    separate: Node,
    /// Set by the handshake.
    node: OnceLock<Node>,
}

/// The failure detector and its messages.
struct DetectorIo {
    detector: FailureDetector,
    mailbox: Mailbox,
}

/// One rank's part in a collective, or in a piece of one.
pub(super) struct Turn {
    pub(super) comm: Handle,
    /// The number of the collective.
    number: u64,
    /// The barrier of the host that this rank comes to, and its number before.
    pub(super) stage: BarrierKind,
    pub(super) before: u32,
    /// The place in the sequence of all barriers.
    position: u64,
    since: Duration,
    /// Made if this rank has to wait for long.
    state: Option<WaitState>,
    /// The mean time of a call of MPI that found nothing to do.
    idle_call: Duration,
}

impl Waiter {
    pub(super) fn new(rank: usize, size: usize) -> Self {
        let detector = FailureDetector::new(rank, RankTable::unknown(size));
        Self {
            status: CommStatus::default(),
            cancellation: Cancellation::default(),
            rank,
            size,
            origin: Instant::now(),
            last: AtomicU64::new(0),
            detector_io: Mutex::new(DetectorIo { detector, mailbox: Mailbox::default() }),
            separate: Node { hosts: RankHosts::separate(rank, size), memory: None },
            node: OnceLock::new(),
        }
    }

    fn detector_io(&self) -> MutexGuard<'_, DetectorIo> {
        lock(&self.detector_io)
    }

    /// Returns the host of this rank.
    pub(super) fn node(&self) -> &Node {
        self.node.get().unwrap_or(&self.separate)
    }

    fn memory(&self) -> Option<&SharedMemory> {
        self.node().memory.as_ref()
    }

    /// Tells if the ranks need no message.
    fn is_one_host(&self) -> bool {
        self.node().hosts.is_one_host()
    }

    /// Sets what the handshake has found out.
    pub(super) fn set_ranks(&self, rank_table: RankTable, node: Node) {
        self.detector_io().detector.set_ranks(rank_table, node.hosts.clone());
        let _ = self.node.set(node);
    }

    /// Sends the messages of the detector.
    fn send_messages(&self, comm: Handle, io: &mut DetectorIo) {
        for (to, message) in io.detector.take_messages() {
            io.mailbox.send(comm, to, message);
        }
    }

    /// Tells if the communicator is not broken and no message is in transit from or to this rank.
    pub(super) fn is_quiet(&self, comm: Handle) -> bool {
        let DetectorIo { mailbox, .. } = &mut *self.detector_io();
        // Messages of expired epochs must not reach the next communicator of this number.
        while mailbox.fetch(comm).is_ok_and(|messages| !messages.is_empty()) {}
        mailbox.is_empty() && self.status.check_alive().is_ok()
    }

    /// Reads the messages of this rank, which does not wait. Fails if one of them is a decision.
    pub(super) fn poll_decision(&self, comm: Handle) -> Result<()> {
        let now = self.origin.elapsed();
        let mut io = self.detector_io();
        for (from, message) in io.mailbox.fetch(comm)? {
            io.detector.receive(from, &message, None, now);
        }
        self.hear(&mut io);
        self.send_messages(comm, &mut io);
        io.detector.decision().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Takes what another rank has said on the call in progress.
    fn hear(&self, io: &mut DetectorIo) {
        if let Some((number, error)) = io.detector.take_cancelled() {
            self.cancellation.hear(number, &error);
        }
    }

    /// Asks the host while this rank waits in the collective `number`. Tells the builders if it cancels. Returns
    /// the error if the ranks have not come since then.
    fn ask_host(&self, comm: Handle, number: u64) -> Option<Error> {
        let locate = |error: Error| error.on_rank(self.rank, self.size, &crate::host_name());
        let HostCancels { error, is_new, gives_up } = self.cancellation.ask(number, locate)?;
        if is_new {
            let (waiting, _) = self.status.waiting(number);
            let mut io = self.detector_io();
            io.detector.cancel(number, &error, &waiting.builders);
            self.send_messages(comm, &mut io);
        }
        gives_up.then_some(error)
    }

    /// Gives up a wait with an error that all ranks of the host get, unless they have just come.
    fn stop_waiting(&self, stage: BarrierKind, before: u32, error: Error) -> Result<()> {
        let Some(memory) = self.memory() else { return Err(error) };
        match memory.fail(stage, before, &error) {
            FailOutcome::Failed(error) => Err(error),
            // This rank goes on, and the next collective fails if other hosts have given up.
            FailOutcome::Complete => Ok(()),
        }
    }

    /// Begins a collective or a piece of one. Fails if the other ranks have given up.
    fn begin(&self, comm: Handle, number: u64, stage: BarrierKind, position: u64) -> Result<Turn> {
        let since = self.origin.elapsed();
        let away = since.saturating_sub(Duration::from_nanos(self.last.load(Ordering::Relaxed)));
        let mut before = 0;
        if let Some(memory) = self.memory() {
            before = memory.barrier(stage).done.get();
            memory.check(before)?;
            memory.set_position(position);
        }
        if away > RESYNC_AFTER && !self.is_one_host() {
            self.poll_decision(comm)?;
        }
        let (state, idle_call) = (None, Duration::from_micros(20));
        Ok(Turn { comm, number, stage, before, position, since, state, idle_call })
    }

    /// Ends an attempt that is complete.
    fn end(&self, attempt: &Turn) -> Result<()> {
        let now = self.origin.elapsed();
        if attempt.state.is_some() && !self.is_one_host() {
            self.detector_io().detector.arrived();
            if now.saturating_sub(attempt.since) > RESYNC_AFTER {
                self.poll_decision(attempt.comm)?;
            }
        }
        self.last.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// Lets MPI proceed, exchanges messages, and warns or gives up if that is due. Returns the time until this
    /// has to be done again at the latest; zero if MPI was busy.
    fn attend(&self, attempt: &mut Turn) -> Result<Duration> {
        /// After a sleep a call takes longer, too.
        const BUSY: Duration = Duration::from_micros(40);
        /// MPI proceeds only if it is called.
        const LONGEST_IN_MEMORY: Duration = Duration::from_secs(1);
        if let Some(error) = self.memory().and_then(SharedMemory::failure) {
            return Err(error);
        }
        if let Some(error) = self.ask_host(attempt.comm, attempt.number) {
            self.stop_waiting(attempt.stage, attempt.before, error)?;
        }
        let wait = attempt.state.get_or_insert_with(|| {
            let (waiting, timeout) = self.status.waiting(attempt.number);
            WaitState::new(waiting, timeout, attempt.since)
        });
        let now = self.origin.elapsed();
        if let Some(memory) = self.memory() {
            let members = self.node().hosts.members();
            let present = memory.present(attempt.position).into_iter().zip(members);
            let present = present.filter(|(present, _)| *present).map(|(_, rank)| *rank).collect();
            wait.observe(
                members[self.node().hosts.index()],
                present,
                memory.longest_wait(attempt.position),
                now,
            );
        }
        let mut io = self.detector_io();
        // By the clock a call may take long because other programs have the core.
        let before = cpu_time();
        let messages = io.mailbox.fetch(attempt.comm)?;
        let called = cpu_time().saturating_sub(before);
        let busy = !messages.is_empty() || called > attempt.idle_call * 3 + BUSY;
        if !busy {
            attempt.idle_call = (attempt.idle_call * 7 + called) / 8;
        }
        for (from, message) in messages {
            io.detector.receive(from, &message, Some(wait), now);
        }
        self.hear(&mut io);
        let action = io.detector.poll(wait, now);
        self.send_messages(attempt.comm, &mut io);
        let is_active = io.detector.is_active();
        drop(io);
        match action {
            WaitAction::Wait => {}
            WaitAction::Warn(text) => {
                if self.memory().is_none_or(|memory| memory.claim_warning(attempt.position)) {
                    let _voice = crate::logging::speak(true);
                    log::warn!("{text}");
                }
            }
            WaitAction::GiveUp(error) => self.stop_waiting(attempt.stage, attempt.before, error)?,
        }
        if busy {
            return Ok(Duration::ZERO);
        }
        let answers = is_active || (wait.speaks() && !self.is_one_host());
        let limit = if answers { wait.poll_interval().min(LONGEST_IN_MEMORY) } else { LONGEST_IN_MEMORY };
        let limit = if self.cancellation.asks() { limit.min(POLL_INTERVAL) } else { limit };
        Ok(wait.next_event(now).map_or(limit, |at| limit.min(at.saturating_sub(now))))
    }
}

/// Waits until `is_complete`. This is the one function in which ranks wait for each other. If `word` is given,
/// another rank of the host changes it when there is something to do; otherwise this rank tests at growing
/// intervals. `attend` is called after each sleep, and returns the time until it has to be called again at the
/// latest.
pub(super) fn wait(
    word: Option<(&Word, u32, &SharedMemory)>,
    mut is_complete: impl FnMut() -> Result<bool>,
    mut attend: impl FnMut() -> Result<Duration>,
) -> Result<()> {
    if is_complete()? || try_briefly(word.map(|(.., memory)| memory), &mut is_complete)? {
        return Ok(());
    }
    let begin = Instant::now();
    let mut pause = if word.is_some() { FIRST_PROGRESS } else { SHORTEST };
    // Short pauses that are left after MPI was busy.
    let mut short = 0;
    loop {
        let mut woken = Woken::InTime;
        match word {
            Some((word, before, _)) => woken = word.sleep(before, pause),
            None => std::thread::sleep(pause),
        }
        if is_complete()? {
            return Ok(());
        }
        if let (Woken::ForNothing, Some((.., memory))) = (woken, word) {
            memory.count_idle_wakeup();
        }
        let latest = attend()?;
        short = if latest.is_zero() { SHORT_PAUSES } else { short.saturating_sub(1) };
        let waited = begin.elapsed();
        let next = match word {
            Some(_) if short > 0 => pause * 2,
            Some(_) => (waited / 4).max(FIRST_PROGRESS),
            // A collective between hosts takes about log2(P) hops, and each peer may be asleep: a small part of
            // the time already waited bounds the added latency.
            None => (pause * 3 / 2).min((waited / 250).clamp(LONG_ENOUGH, LONGEST)),
        };
        pause = next.min(latest).max(SHORTEST);
        if is_complete()? {
            return Ok(());
        }
    }
}

/// Tests for a short while, as most waits are short.
fn try_briefly(
    memory: Option<&SharedMemory>,
    is_complete: &mut impl FnMut() -> Result<bool>,
) -> Result<bool> {
    const YIELDS: u32 = 20;
    const SPIN: Duration = Duration::from_micros(50);
    match memory {
        None => {
            for _ in 0..YIELDS {
                std::thread::yield_now();
                if is_complete()? {
                    return Ok(true);
                }
            }
        }
        Some(memory) if memory.spins() => {
            let end = Instant::now() + SPIN;
            while Instant::now() < end {
                (0..20).for_each(|_| std::hint::spin_loop());
                if is_complete()? {
                    return Ok(true);
                }
            }
        }
        Some(_) => {}
    }
    Ok(false)
}

/// The first pause of a rank that waits for MPI, and of one that has seen MPI busy.
const SHORTEST: Duration = Duration::from_micros(20);

/// The number of short pauses, each twice as long as the last, after MPI was busy.
const SHORT_PAUSES: u32 = 5;

/// The longest pauses of a rank that waits for MPI.
const LONG_ENOUGH: Duration = Duration::from_millis(2);
pub(super) const LONGEST: Duration = Duration::from_millis(20);

/// The time after which a rank that sleeps in shared memory calls MPI first.
const FIRST_PROGRESS: Duration = Duration::from_millis(4);

/// Returns the processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a pointer to a local. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

impl MpiComm {
    /// Runs a collective. After an error the communicator is broken, all ranks get the error as far as MPI
    /// still works, and MPI may still use the buffers.
    pub(super) fn collective<T>(&self, body: impl FnOnce(&mut Turn) -> Result<T>) -> Result<T> {
        self.check_alive()?;
        let comm = self.comm()?;
        let number = self.state.status.next();
        let attempt = || {
            let mut attempt = self.state.begin(comm, number, BarrierKind::Step, (number + 1) << 32)?;
            let value = body(&mut attempt)?;
            self.state.end(&attempt)?;
            Ok(value)
        };
        attempt().map_err(|error| self.give_up(comm, error))
    }

    /// Runs the piece `piece` of the last collective, as [`Self::collective`] does.
    pub(super) fn piece<T>(&self, piece: usize, body: impl FnOnce(&mut Turn) -> Result<T>) -> Result<T> {
        self.check_alive()?;
        let comm = self.comm()?;
        let number = self.state.status.last();
        let attempt = || {
            let position = ((number + 1) << 32) + piece as u64 + 1;
            let mut attempt = self.state.begin(comm, number, BarrierKind::Piece, position)?;
            let value = body(&mut attempt)?;
            self.state.end(&attempt)?;
            Ok(value)
        };
        attempt().map_err(|error| self.give_up(comm, error))
    }

    /// Breaks the communicator, and tells the other ranks if they do not know.
    fn give_up(&self, comm: Handle, error: Error) -> Error {
        let state = &self.state;
        let known = state.memory().and_then(SharedMemory::failure);
        if let (Some(_), false) = (&known, state.is_one_host()) {
            // MPI_Finalize of the senders may wait for messages that have not been received.
            let _: Result<()> = state.poll_decision(comm);
        }
        if let Some(error) = known {
            return state.status.fail(error);
        }
        let mut io = state.detector_io();
        let decision = io.detector.decision().cloned();
        let mut error = decision.clone().unwrap_or_else(|| self.locate(error));
        if let Some(FailOutcome::Failed(first)) = state.memory().map(|memory| memory.fail_always(&error)) {
            error = first;
        }
        if decision.is_none() && !state.is_one_host() {
            io.detector.announce(error.clone());
        }
        state.send_messages(comm, &mut io);
        state.status.fail(error)
    }

    /// Waits until a number in the memory of the host is no longer `before`.
    ///
    /// # Errors
    /// The error of all ranks of the host, if they fail.
    pub(super) fn wait_for_word(&self, attempt: &mut Turn, word: &Word, before: u32) -> Result<()> {
        let Some(memory) = self.state.memory() else { return Ok(()) };
        wait(Some((word, before, memory)), || Ok(word.get() != before), || self.state.attend(attempt))?;
        memory.check(word.get())
    }

    /// Starts operations of MPI with `start` and waits until they are complete. After an error MPI may still use
    /// their buffers.
    pub(super) fn transfer(
        &self,
        attempt: &mut Turn,
        start: impl FnOnce(Handle, &mut Vec<Handle>) -> Result<()>,
    ) -> Result<()> {
        let mut requests = Vec::new();
        start(attempt.comm, &mut requests)?;
        wait(None, || are_complete(&mut requests, "MPI_Test"), || self.state.attend(attempt))
    }
}
