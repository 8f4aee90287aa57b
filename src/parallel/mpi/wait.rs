//! Waiting: for MPI, with an eye on the clock and on the letters of others.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use mpi_sys::{MPI_Comm, MPI_Error_string, MPI_Request, MPI_Test, RSMPI_REQUEST_NULL, RSMPI_STATUS_IGNORE};

use crate::error::{Error, Kind, Result};
use crate::parallel::Communicator;
use crate::parallel::comm_status::CommStatus;
use crate::parallel::failure_detector::{FailureDetector, WaitAction, WaitState};
use crate::parallel::timeout::RankTable;
use crate::sync::lock;

use super::MpiComm;
use super::mailbox::Mailbox;
use super::wakeup::{NodeWakeup, WakeFutex};

/// A rank that was away or waiting for so long reads its letters before it goes on: it may have been given up.
const RESYNC_AFTER: Duration = Duration::from_millis(20);

/// What a communicator knows of waiting.
pub(super) struct Waiter {
    pub(super) watch: CommStatus,
    /// Times are counted from here.
    origin: Instant,
    /// When this rank last came out of a collective, in nanoseconds.
    last: AtomicU64,
    desk: Mutex<DetectorIo>,
    /// Known once the ranks have met.
    shared: OnceLock<NodeWakeup>,
}

/// Where letters are written and read.
struct DetectorIo {
    roll: FailureDetector,
    post: Mailbox,
}

impl Waiter {
    pub(super) fn new(rank: usize, size: usize) -> Self {
        let roll = FailureDetector::new(rank, RankTable::unknown(size));
        Self {
            watch: CommStatus::default(),
            origin: Instant::now(),
            last: AtomicU64::new(0),
            desk: Mutex::new(DetectorIo { roll, post: Mailbox::default() }),
            shared: OnceLock::new(),
        }
    }

    fn wakeup(&self) -> Option<&WakeFutex> {
        self.shared.get()?.bell.as_ref()
    }

    fn detector_io(&self) -> MutexGuard<'_, DetectorIo> {
        lock(&self.desk)
    }

    /// From now on the ranks know who they are, and those of this host have a bell.
    pub(super) fn set_ranks(&self, roster: RankTable, shared: NodeWakeup) {
        self.detector_io().roll.set_rank_table(roster);
        let _ = self.shared.set(shared);
    }

    /// Sends what the roll call has to say, and wakes who is to hear it.
    fn send_messages(&self, comm: MPI_Comm, desk: &mut DetectorIo) {
        let letters = desk.roll.take_messages();
        if letters.is_empty() {
            return;
        }
        letters.into_iter().for_each(|(to, letter)| desk.post.send(comm, to, letter));
        if let Some(bell) = self.wakeup() {
            bell.wake_all();
        }
    }

    /// Whether no collective has been given up and no letter is on its way to or from this rank.
    pub(super) fn is_quiet(&self, comm: MPI_Comm) -> bool {
        let DetectorIo { post, .. } = &mut *self.detector_io();
        // Old letters, of roll calls that came to nothing, are not left to whoever gets the communicator's number.
        while post.fetch(comm).is_ok_and(|letters| !letters.is_empty()) {}
        post.is_empty() && self.watch.health().is_ok()
    }

    /// The verdict of the others, if there is one among the letters of this rank.
    fn poll_decision(&self, comm: MPI_Comm) -> Result<()> {
        let now = self.origin.elapsed();
        let mut desk = self.detector_io();
        for (from, letter) in desk.post.fetch(comm)? {
            desk.roll.receive(from, &letter, None, now);
        }
        self.send_messages(comm, &mut desk);
        desk.roll.decision().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Reads and writes letters while this rank waits.
    fn exchange(&self, comm: MPI_Comm, vigil: &mut WaitState) -> Result<()> {
        let now = self.origin.elapsed();
        let outcome = {
            let mut desk = self.detector_io();
            for (from, letter) in desk.post.fetch(comm)? {
                desk.roll.receive(from, &letter, Some(vigil), now);
            }
            let outcome = desk.roll.poll(vigil, now);
            self.send_messages(comm, &mut desk);
            outcome
        };
        match outcome {
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
    /// Starts a non-blocking collective and waits for its end. After an error nothing can be agreed on any more, and
    /// the buffers have to stay where they are.
    pub(super) fn collective(
        &self,
        what: &str,
        start: impl FnOnce(MPI_Comm, *mut MPI_Request) -> c_int,
    ) -> Result<()> {
        self.check_alive()?;
        let comm = self.comm()?;
        self.attempt(comm, what, start).map_err(|error| {
            let mut desk = self.state.detector_io();
            if desk.roll.decision().is_some() {
                return self.state.watch.fail(error);
            }
            // MPI fails here; as far as it still works the others are told why.
            let error = self.locate(error);
            desk.roll.announce(error.clone());
            self.state.send_messages(comm, &mut desk);
            self.state.watch.fail(error)
        })
    }

    fn attempt(
        &self,
        comm: MPI_Comm,
        what: &str,
        start: impl FnOnce(MPI_Comm, *mut MPI_Request) -> c_int,
    ) -> Result<()> {
        let state = &self.state;
        let since = state.origin.elapsed();
        let number = state.watch.next();
        // SAFETY: a constant of the MPI library.
        let mut request = unsafe { RSMPI_REQUEST_NULL };
        let away = since.saturating_sub(Duration::from_nanos(state.last.load(Ordering::Relaxed)));
        check(start(comm, &raw mut request), what)?;
        if away > RESYNC_AFTER
            && let Some(bell) = state.wakeup()
        {
            // Those who have waited all that time sleep.
            bell.wake_all();
        }
        if away > RESYNC_AFTER
            && let Err(error) = state.poll_decision(comm)
        {
            // Those who have given up this collective may want to end MPI, which is easier when it is complete.
            let end = Instant::now() + RESYNC_AFTER;
            let patience = || if Instant::now() < end { Ok(()) } else { Err(error.clone()) };
            wait(&mut request, what, None, patience)?;
            return Err(error);
        }
        let mut vigil = None;
        let silent = wait(&mut request, what, state.shared.get(), || {
            let vigil = vigil.get_or_insert_with(|| {
                let (waiting, timeout) = state.watch.waiting(number);
                WaitState::new(waiting, timeout, since)
            });
            state.exchange(comm, vigil)
        })?;
        let now = state.origin.elapsed();
        if vigil.is_some() {
            state.detector_io().roll.arrived();
            if now.saturating_sub(since) > RESYNC_AFTER {
                // Whoever it came from may be on another host, and others of this one sleep.
                if let (Some(bell), Some(silent)) = (state.wakeup(), silent) {
                    bell.wake_all_unless_woken(silent);
                }
                state.poll_decision(comm)?;
            }
        }
        state.last.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// Tests a request with growing naps until it is complete, or `after_nap` has an error. Gives how often the bell had
/// been rung before the last test.
pub(super) fn wait(
    request: &mut MPI_Request,
    what: &str,
    shared: Option<&NodeWakeup>,
    mut after_nap: impl FnMut() -> Result<()>,
) -> Result<Option<u32>> {
    // A few tests at once, since most collectives are short; then naps that cost a waiter nothing.
    const YIELDS: u32 = 20;
    const SHORTEST: Duration = Duration::from_micros(20);
    // News pass through about as many waiting ranks as their number has binary digits, each of which naps: a part in so
    // many of what was waited for anyway is not noticed, and who waits for long costs next to nothing.
    const SLEEP_FRACTION: u32 = 250;
    // Where the bell wakes all of them, it is not noticed either way: this is for ranks that nobody has heard.
    const SLEEP_FRACTION_WITH_WAKEUP: u32 = 10;
    const LONG_ENOUGH: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(20);
    let bell = shared.and_then(|shared| shared.bell.as_ref());
    let mut before = None;
    let since = Instant::now();
    let mut nap = SHORTEST;
    for round in 0_u32.. {
        // Before the test: what is rung after it is not slept through.
        before = bell.map(WakeFutex::generation);
        let mut done: c_int = 0;
        // SAFETY: the request was started by us; no status is asked for.
        let code = unsafe { MPI_Test(request, &raw mut done, RSMPI_STATUS_IGNORE) };
        check(code, what)?;
        if done != 0 {
            break;
        }
        if round < YIELDS {
            std::thread::yield_now();
            continue;
        }
        let part = if shared.is_some_and(NodeWakeup::is_of_all) {
            SLEEP_FRACTION_WITH_WAKEUP
        } else {
            SLEEP_FRACTION
        };
        let next = (nap * 3 / 2).min((since.elapsed() / part).clamp(LONG_ENOUGH, LONGEST));
        nap = match (bell, before) {
            // Ranks that come one soon after the other do not wake each other.
            (Some(bell), Some(before)) if nap >= LONG_ENOUGH => {
                bell.wait(before, nap);
                // What was rung for comes through others that were woken just now.
                if bell.generation() == before { next } else { SHORTEST }
            }
            _ => {
                std::thread::sleep(nap);
                next
            }
        };
        after_nap()?;
    }
    Ok(before)
}

/// An error for a code of MPI that is one.
pub(super) fn check(code: c_int, what: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0_u8; 4096];
    let mut length: c_int = 0;
    // SAFETY: the buffer is longer than MPI_MAX_ERROR_STRING of any MPI.
    unsafe { MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
    let length = usize::try_from(length).unwrap_or_default().min(text.len());
    let reason = String::from_utf8_lossy(&text[..length]).into_owned();
    Err(Error::new(Kind::Mpi, format!("{what} failed: {reason}")))
}
