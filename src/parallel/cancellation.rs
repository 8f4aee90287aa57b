//! Cancels a call on a communicator by the poll callback of any rank.
//!
//! A rank that waits in a collective cannot leave it. So if its host cancels, it tells the other ranks, with the
//! number of the collective, and waits on. Ranks that work learn it where they ask their own host, and end their
//! work. All go on to the next agreement, in which those that know of it fail, and so all do, with the same
//! error. The communicator stays usable.
//!
//! A rank that does not come, because it is not in the call or its host's code runs, is waited for [`grace`].
//! Then the communicator is broken, as after a time-out.

#![forbid(unsafe_code)]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::interrupt::Interrupt;
use crate::sync::lock;

/// Returns how long a rank that has cancelled waits for the collective `number` of a call whose first one is
/// `first`. After the first collective all ranks are known to be in the call.
#[must_use]
pub fn grace(number: u64, first: u64) -> Duration {
    Duration::from_secs(if number <= first { 1 } else { 10 })
}

/// The cancellation of the call in progress, as one rank sees it.
#[derive(Debug, Default)]
pub struct Cancellation(Mutex<Option<CancellableCall>>);

#[derive(Debug)]
struct CancellableCall {
    /// The number of its first collective.
    first: u64,
    poll: Option<Interrupt>,
    /// The error of a rank that has cancelled it.
    heard: Option<Error>,
    /// The collective in which this rank has said last that its host cancels, and since when.
    told: Option<(u64, Instant)>,
}

/// The answer of a host that cancels, while its rank waits.
#[derive(Debug, PartialEq, Eq)]
pub struct HostCancels {
    /// The error, with rank and host.
    pub error: Error,
    /// True if the other ranks are to be told.
    pub is_new: bool,
    /// True if they have had their time.
    pub gives_up: bool,
}

impl Cancellation {
    /// Begins a call whose first collective has the number `first`.
    pub fn begin(&self, first: u64, poll: Option<Interrupt>) {
        *lock(&self.0) = Some(CancellableCall { first, poll, heard: None, told: None });
    }

    /// Ends the call. Its poll callback is not used any more.
    pub fn end(&self) {
        *lock(&self.0) = None;
    }

    /// Takes the error of another rank, which cancelled in the collective `number`. Ignores it if that is of
    /// an earlier call.
    pub fn hear(&self, number: u64, error: &Error) {
        if let Some(call) = lock(&self.0).as_mut().filter(|call| number >= call.first) {
            call.heard.get_or_insert_with(|| error.clone());
        }
    }

    /// Returns the error of the call if it is cancelled, as far as this rank knows. Does not ask the host.
    #[must_use]
    pub fn known(&self) -> Option<Error> {
        let call = lock(&self.0);
        let call = call.as_ref()?;
        let own = call.poll.as_ref().filter(|poll| poll.is_cancelled());
        own.and_then(|poll| poll.reason().cloned()).or_else(|| call.heard.clone())
    }

    /// Asks the host, if it has a poll callback, in a wait for the collective `number`. `locate` adds rank and
    /// host.
    #[must_use]
    pub fn ask(&self, number: u64, locate: impl FnOnce(Error) -> Error) -> Option<HostCancels> {
        let poll = lock(&self.0).as_ref()?.poll.clone()?;
        // Without the lock: the host's code may take its time.
        let error = locate(poll.reason()?.clone());
        let mut call = lock(&self.0);
        let call = call.as_mut()?;
        let told = call.told.filter(|(earlier, _)| *earlier == number);
        let (_, since) = *call.told.insert(told.unwrap_or_else(|| (number, Instant::now())));
        let grace = grace(number, call.first);
        let gives_up = since.elapsed() >= grace;
        let error = if gives_up { unanswered(error, grace) } else { error };
        Some(HostCancels { error, is_new: told.is_none(), gives_up })
    }

    /// Returns true if the host has a poll callback, so that a wait has to ask it.
    #[must_use]
    pub fn asks(&self) -> bool {
        lock(&self.0).as_ref().is_some_and(|call| call.poll.is_some())
    }
}

/// Makes the error of ranks that stop waiting, from the one of the rank that has cancelled.
#[must_use]
pub fn unanswered(error: Error, grace: Duration) -> Error {
    error.with_note(&format!(
        "the ranks have not all answered within {} s, so every further call on this communicator fails at once",
        grace.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_an_earlier_call_is_ignored() {
        let cancellation = Cancellation::default();
        let error = Error::cancelled().on_rank(2, 3, "node1");
        cancellation.hear(7, &error);
        assert_eq!(cancellation.known(), None, "no call is in progress");
        cancellation.begin(8, None);
        cancellation.hear(7, &error);
        assert_eq!(cancellation.known(), None);
        cancellation.hear(8, &error);
        assert_eq!(cancellation.known(), Some(error));
        assert!(cancellation.ask(8, |error| error).is_none() && !cancellation.asks());
        cancellation.begin(9, Some(Interrupt::new(|| Some(Error::cancelled()))));
        assert_eq!((cancellation.known(), cancellation.asks()), (None, true));
        let locate = |error: Error| error.on_rank(1, 3, "node1");
        let error = locate(Error::cancelled());
        let mut answer = HostCancels { error, is_new: true, gives_up: false };
        assert_eq!(cancellation.ask(9, locate).as_ref(), Some(&answer));
        answer.is_new = false;
        assert_eq!(cancellation.ask(9, locate).as_ref(), Some(&answer));
        answer.is_new = true;
        assert_eq!(cancellation.ask(10, locate), Some(answer));
        assert_eq!(cancellation.known(), Some(Error::cancelled()));
        assert_eq!([grace(9, 9), grace(10, 9)].map(|grace| grace.as_secs()), [1, 10]);
        cancellation.end();
        assert_eq!((cancellation.known(), cancellation.ask(9, locate)), (None, None));
    }
}
