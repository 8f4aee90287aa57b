//! Waiting: for MPI, with an eye on the clock and on the letters of others.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpi_sys::{MPI_Comm, MPI_Error_string, MPI_Request, MPI_Test, RSMPI_REQUEST_NULL, RSMPI_STATUS_IGNORE};

use crate::error::{Error, Kind, Result};
use crate::parallel::Communicator;
use crate::parallel::late::Roster;
use crate::parallel::rollcall::{Outcome, RollCall, Vigil};
use crate::parallel::watch::Watch;

use super::MpiComm;
use super::post::Post;

/// A rank that was away or waiting for so long reads its letters before it goes on: it may have been given up.
const LONG: Duration = Duration::from_millis(20);

/// What a communicator knows of waiting.
pub(super) struct State {
    pub(super) watch: Watch,
    /// Times are counted from here.
    origin: Instant,
    /// When this rank last came out of a collective, in nanoseconds.
    last: AtomicU64,
    desk: Mutex<Desk>,
}

/// Where letters are written and read.
struct Desk {
    roll: RollCall,
    post: Post,
}

impl State {
    pub(super) fn new(rank: usize, size: usize) -> Self {
        let roll = RollCall::new(rank, Roster::unknown(size));
        Self {
            watch: Watch::default(),
            origin: Instant::now(),
            last: AtomicU64::new(0),
            desk: Mutex::new(Desk { roll, post: Post::default() }),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the ranks know who they are.
    pub(super) fn met(&self, roster: Roster) {
        self.desk().roll.set_roster(roster);
    }

    /// Whether no collective has been given up and no letter is on its way to or from this rank.
    pub(super) fn is_quiet(&self, comm: MPI_Comm) -> bool {
        let Desk { post, .. } = &mut *self.desk();
        // Old letters, of roll calls that came to nothing, are not left to whoever gets the communicator's number.
        while post.fetch(comm).is_ok_and(|letters| !letters.is_empty()) {}
        post.is_empty() && self.watch.health().is_ok()
    }

    /// The verdict of the others, if there is one among the letters of this rank.
    fn look(&self, comm: MPI_Comm) -> Result<()> {
        let now = self.origin.elapsed();
        let Desk { roll, post } = &mut *self.desk();
        for (from, letter) in post.fetch(comm)? {
            roll.receive(from, &letter, None, now);
        }
        roll.letters().into_iter().for_each(|(to, letter)| post.send(comm, to, letter));
        roll.verdict().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Reads and writes letters while this rank waits.
    fn correspond(&self, comm: MPI_Comm, vigil: &mut Vigil) -> Result<()> {
        let now = self.origin.elapsed();
        let outcome = {
            let Desk { roll, post } = &mut *self.desk();
            for (from, letter) in post.fetch(comm)? {
                roll.receive(from, &letter, Some(vigil), now);
            }
            let outcome = roll.watch(vigil, now);
            roll.letters().into_iter().for_each(|(to, letter)| post.send(comm, to, letter));
            outcome
        };
        match outcome {
            Outcome::Wait => Ok(()),
            Outcome::Warn(text) => {
                log::warn!("{text}");
                Ok(())
            }
            Outcome::GiveUp(error) => Err(error),
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
        self.health()?;
        let comm = self.comm()?;
        self.attempt(comm, what, start).map_err(|error| {
            let Desk { roll, post } = &mut *self.state.desk();
            if roll.verdict().is_some() {
                return self.state.watch.fail(error);
            }
            // MPI fails here; as far as it still works the others are told why.
            let error = self.locate(error);
            roll.announce(error.clone());
            roll.letters().into_iter().for_each(|(to, letter)| post.send(comm, to, letter));
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
        check(start(comm, &raw mut request), what)?;
        if since.saturating_sub(Duration::from_nanos(state.last.load(Ordering::Relaxed))) > LONG
            && let Err(error) = state.look(comm)
        {
            // Those who have given up this collective may want to end MPI, which is easier when it is complete.
            let end = Instant::now() + LONG;
            let patience = || if Instant::now() < end { Ok(()) } else { Err(error.clone()) };
            wait(&mut request, what, patience)?;
            return Err(error);
        }
        let mut vigil = None;
        wait(&mut request, what, || {
            let vigil = vigil.get_or_insert_with(|| {
                let (waiting, timeout) = state.watch.waiting(number);
                Vigil::new(waiting, timeout, since)
            });
            state.correspond(comm, vigil)
        })?;
        let now = state.origin.elapsed();
        if vigil.is_some() {
            state.desk().roll.arrived();
            if now.saturating_sub(since) > LONG {
                state.look(comm)?;
            }
        }
        state.last.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// Tests a request with growing naps until it is complete, or `after_nap` has an error.
pub(super) fn wait(
    request: &mut MPI_Request,
    what: &str,
    mut after_nap: impl FnMut() -> Result<()>,
) -> Result<()> {
    // A few tests at once, since most collectives are short; then naps that cost a waiter nothing.
    const YIELDS: u32 = 20;
    const SHORTEST: Duration = Duration::from_micros(20);
    // News pass through about as many waiting ranks as their number has binary digits, each of which naps: a part in so
    // many of what was waited for anyway is not noticed, and who waits for long costs next to nothing.
    const PART: u32 = 250;
    const LONG_ENOUGH: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(20);
    let since = Instant::now();
    let mut nap = SHORTEST;
    for round in 0_u32.. {
        let mut done: c_int = 0;
        // SAFETY: the request was started by us; no status is asked for.
        let code = unsafe { MPI_Test(request, &raw mut done, RSMPI_STATUS_IGNORE) };
        check(code, what)?;
        if done != 0 {
            break;
        }
        if round < YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(nap);
            nap = (nap * 3 / 2).min((since.elapsed() / PART).clamp(LONG_ENOUGH, LONGEST));
            after_nap()?;
        }
    }
    Ok(())
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
