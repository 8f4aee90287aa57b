//! Cancels calls on communicators of MPI; see [`cancellation`](crate::parallel::cancellation).
//!
//! A rank that waits and whose host cancels sends a message to the ranks that build in the step. They read it
//! where they ask their own hosts. Other ranks are in no long step: they learn it in the next agreement.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::process::interrupt::Interrupt;

use super::MpiComm;
use super::abi::Handle;
use super::wait::Waiter;

/// The messages of a communicator, for a rank that builds.
struct BuilderMessages {
    comm: Handle,
    state: Arc<Waiter>,
}

// SAFETY: as for `MpiComm`. An interrupt uses it on the thread of the call alone.
unsafe impl Send for BuilderMessages {}
// SAFETY: as above.
unsafe impl Sync for BuilderMessages {}

impl BuilderMessages {
    /// Reads the messages of this rank, and returns the error of the call if one of them cancels it.
    fn cancelled(&self) -> Option<Error> {
        // Errors of MPI are found by the next collective.
        let _: Result<()> = self.state.poll_decision(self.comm);
        self.state.cancellation.known()
    }
}

/// Begins a call as [`begin_polling`](crate::parallel::Communicator::begin_polling) does.
pub(super) fn begin(comm: &MpiComm, poll: Option<&Interrupt>) -> Option<Interrupt> {
    let state = &comm.state;
    state.cancellation.begin(state.status.upcoming(), poll.cloned());
    let Some(handle) = comm.comm().ok().filter(|_| comm.size > 1) else { return poll.cloned() };
    let messages = BuilderMessages { comm: handle, state: Arc::clone(state) };
    let heard = Interrupt::new(move || messages.cancelled());
    Some(poll.cloned().map_or(heard.clone(), |own| own.within(Some(heard))))
}
