//! Waits for MPI, with time-outs, while messages of the failure detector are exchanged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use mpi_sys::{MPI_Comm, MPI_Request};

use crate::error::{Error, Result};
use crate::parallel::Communicator;
use crate::parallel::cancellation::{Cancellation, HostCancels};
use crate::parallel::comm_status::CommStatus;
use crate::parallel::failure_detector::{FailureDetector, WaitAction, WaitState};
use crate::parallel::timeout::RankTable;
use crate::sync::lock;

use super::MpiComm;
use super::mailbox::Mailbox;
use super::request::are_complete;
use super::wakeup::{NodeWakeup, WakeFutex};

/// A rank that was away or waiting for so long reads its messages before it goes on: the others may have
/// given up.
const RESYNC_AFTER: Duration = Duration::from_millis(20);

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
    /// Set by the handshake.
    wakeup: OnceLock<NodeWakeup>,
}

/// The failure detector and its messages.
struct DetectorIo {
    detector: FailureDetector,
    mailbox: Mailbox,
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
            wakeup: OnceLock::new(),
        }
    }

    fn futex(&self) -> Option<&WakeFutex> {
        self.wakeup.get()?.futex.as_ref()
    }

    fn detector_io(&self) -> MutexGuard<'_, DetectorIo> {
        lock(&self.detector_io)
    }

    /// Sets what the handshake has found out.
    pub(super) fn set_ranks(&self, rank_table: RankTable, wakeup: NodeWakeup) {
        self.detector_io().detector.set_rank_table(rank_table);
        let _ = self.wakeup.set(wakeup);
    }

    /// Sends the messages of the detector, and wakes their receivers on this host.
    fn send_messages(&self, comm: MPI_Comm, io: &mut DetectorIo) {
        let messages = io.detector.take_messages();
        if messages.is_empty() {
            return;
        }
        messages.into_iter().for_each(|(to, message)| io.mailbox.send(comm, to, message));
        if let Some(futex) = self.futex() {
            futex.wake_all();
        }
    }

    /// Tells if the communicator is not broken and no message is in transit from or to this rank.
    pub(super) fn is_quiet(&self, comm: MPI_Comm) -> bool {
        let DetectorIo { mailbox, .. } = &mut *self.detector_io();
        // Messages of expired epochs must not reach the next communicator of this number.
        while mailbox.fetch(comm).is_ok_and(|messages| !messages.is_empty()) {}
        mailbox.is_empty() && self.status.check_alive().is_ok()
    }

    /// Reads the messages of this rank, which does not wait. Fails if one of them is a decision.
    pub(super) fn poll_decision(&self, comm: MPI_Comm) -> Result<()> {
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

    /// Asks the host while this rank waits in the collective `number`. Tells the builders if it cancels. Fails
    /// if the ranks have not come since then.
    fn ask_host(&self, comm: MPI_Comm, number: u64) -> Result<()> {
        let locate = |error: Error| error.on_rank(self.rank, self.size, &crate::host_name());
        let Some(HostCancels { error, is_new, gives_up }) = self.cancellation.ask(number, locate) else {
            return Ok(());
        };
        if is_new {
            let (waiting, _) = self.status.waiting(number);
            let mut io = self.detector_io();
            io.detector.cancel(number, &error, &waiting.builders);
            self.send_messages(comm, &mut io);
        }
        if gives_up { Err(error) } else { Ok(()) }
    }

    /// Exchanges messages while this rank waits. Fails if the ranks have decided to give up.
    fn exchange(&self, comm: MPI_Comm, wait: &mut WaitState) -> Result<()> {
        let now = self.origin.elapsed();
        let action = {
            let mut io = self.detector_io();
            for (from, message) in io.mailbox.fetch(comm)? {
                io.detector.receive(from, &message, Some(wait), now);
            }
            self.hear(&mut io);
            let action = io.detector.poll(wait, now);
            self.send_messages(comm, &mut io);
            action
        };
        match action {
            WaitAction::Wait => Ok(()),
            WaitAction::Warn(text) => {
                let _voice = crate::logging::speak(true);
                log::warn!("{text}");
                Ok(())
            }
            WaitAction::GiveUp(error) => Err(error),
        }
    }
}

impl MpiComm {
    /// Starts the non-blocking operations of a collective, mostly with the MPI function `function`, and waits
    /// until they are complete. After an error the communicator is broken, and MPI may still use the buffers.
    pub(super) fn collective(
        &self,
        function: &str,
        start: impl FnOnce(MPI_Comm, &mut Vec<MPI_Request>) -> Result<()>,
    ) -> Result<()> {
        self.check_alive()?;
        let comm = self.comm()?;
        self.attempt(comm, function, start).map_err(|error| {
            let mut io = self.state.detector_io();
            if io.detector.decision().is_some() {
                return self.state.status.fail(error);
            }
            // MPI fails on this rank. The others are told why, as far as MPI still works.
            let error = self.locate(error);
            io.detector.announce(error.clone());
            self.state.send_messages(comm, &mut io);
            self.state.status.fail(error)
        })
    }

    fn attempt(
        &self,
        comm: MPI_Comm,
        function: &str,
        start: impl FnOnce(MPI_Comm, &mut Vec<MPI_Request>) -> Result<()>,
    ) -> Result<()> {
        let state = &self.state;
        let since = state.origin.elapsed();
        let number = state.status.next();
        let mut requests = Vec::new();
        let away = since.saturating_sub(Duration::from_nanos(state.last.load(Ordering::Relaxed)));
        start(comm, &mut requests)?;
        if away > RESYNC_AFTER {
            // Ranks that have waited all that time sleep.
            if let Some(futex) = state.futex() {
                futex.wake_all();
            }
            if let Err(error) = state.poll_decision(comm) {
                // The others have given up this collective. They may want to finalise MPI, which is easier if
                // it is complete.
                let end = Instant::now() + RESYNC_AFTER;
                let patience = || if Instant::now() < end { Ok(()) } else { Err(error.clone()) };
                wait(&mut requests, function, None, patience)?;
                return Err(error);
            }
        }
        let mut wait_state = None;
        let generation = wait(&mut requests, function, state.wakeup.get(), || {
            let wait_state = wait_state.get_or_insert_with(|| {
                let (waiting, timeout) = state.status.waiting(number);
                WaitState::new(waiting, timeout, since)
            });
            state.ask_host(comm, number)?;
            state.exchange(comm, wait_state)
        })?;
        let now = state.origin.elapsed();
        if wait_state.is_some() {
            state.detector_io().detector.arrived();
            if now.saturating_sub(since) > RESYNC_AFTER {
                // The last rank may be on another host, so that other ranks of this host still sleep.
                if let (Some(futex), Some(generation)) = (state.futex(), generation) {
                    futex.wake_all_unless_woken(generation);
                }
                state.poll_decision(comm)?;
            }
        }
        state.last.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// Tests requests, with growing sleeps between the tests, until all are complete or `after_sleep` fails.
/// Returns the futex' generation before the last test.
pub(super) fn wait(
    requests: &mut Vec<MPI_Request>,
    function: &str,
    wakeup: Option<&NodeWakeup>,
    mut after_sleep: impl FnMut() -> Result<()>,
) -> Result<Option<u32>> {
    // Most collectives are short: test often at first. Later sleep, which leaves the core to the compiler.
    const YIELDS: u32 = 20;
    const SHORTEST: Duration = Duration::from_micros(20);
    // A collective takes about log2(P) hops and each peer may be asleep; capping a sleep at 1/250 of the time
    // already waited bounds the added latency.
    const SLEEP_FRACTION: u32 = 250;
    // If any rank that arrives wakes this one, the cap only matters for ranks that are not woken.
    const SLEEP_FRACTION_WITH_WAKEUP: u32 = 10;
    const LONG_ENOUGH: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(20);
    let futex = wakeup.and_then(|wakeup| wakeup.futex.as_ref());
    let mut before = None;
    let since = Instant::now();
    let mut sleep = SHORTEST;
    for round in 0_u32.. {
        // Read before the test, so that a wake-up after the test ends the sleep.
        before = futex.map(WakeFutex::generation);
        if are_complete(requests, function)? {
            break;
        }
        if round < YIELDS {
            std::thread::yield_now();
            continue;
        }
        let fraction = if wakeup.is_some_and(NodeWakeup::reaches_all) {
            SLEEP_FRACTION_WITH_WAKEUP
        } else {
            SLEEP_FRACTION
        };
        let next = (sleep * 3 / 2).min((since.elapsed() / fraction).clamp(LONG_ENOUGH, LONGEST));
        sleep = match (futex, before) {
            // Short sleeps are not on the futex: ranks that arrive soon after each other do not wake each
            // other.
            (Some(futex), Some(before)) if sleep >= LONG_ENOUGH => {
                futex.wait(before, sleep);
                // After a wake-up the collective proceeds through other ranks that were just woken too.
                if futex.generation() == before { next } else { SHORTEST }
            }
            _ => {
                std::thread::sleep(sleep);
                next
            }
        };
        after_sleep()?;
    }
    Ok(before)
}
