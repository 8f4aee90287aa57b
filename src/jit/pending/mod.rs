//! Pending calls: the source is generated at once, on the thread of the host, and compiled by other threads
//! while the host starts more calls.
//!
//! A call has two parts. The start looks the library up, and on a miss asks the host for the source and
//! leaves the rest to the threads of the build pool. The finish is a whole call that finds its build done, or
//! waits for it. So a finish has the same roles, transport, agreement and counts as a call.
//!
//! A start never waits for another program: if one builds the same, the finish waits for it, and builds if it
//! fails.

#![forbid(unsafe_code)]

mod local;
mod ranks;

use crate::error::{Error, Kind, Result};
use crate::owner::Creator;
use crate::params::resolved::Resolved;

use super::library::Library;
use super::nested;
use super::request::Request;

pub use super::build_pool::close;
pub(super) use local::{finish, start};
pub(super) use ranks::{finish_on, start_on};

/// A call that has been started and not finished. Dropping it cancels its build.
pub struct Pending {
    name: String,
    params: Box<Resolved>,
    /// The process that has started it.
    creator: Creator,
    /// The `generate` in which it was started; 0 for none.
    within: u64,
    /// Until it is finished.
    stage: Option<Stage>,
}

enum Stage {
    /// A memory hit.
    Known(Library),
    /// Without a communicator.
    Local(Box<local::LocalPending>),
    /// On a communicator.
    Collective(Box<ranks::CollectivePending>),
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.within != 0 {
            nested::count_pending(self.within, -1);
        }
    }
}

impl Pending {
    fn new(request: Request<'_>, stage: Stage) -> Self {
        let within = nested::current();
        if within != 0 {
            nested::count_pending(within, 1);
        }
        Self {
            name: request.name.to_owned(),
            params: Box::new(request.params.clone()),
            creator: Creator::current(),
            within,
            stage: Some(stage),
        }
    }

    /// Returns the name of the request.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the request.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request { name: &self.name, params: &self.params }
    }

    /// Returns true if another program was building the library when the call was started.
    #[must_use]
    pub fn waits_for_program(&self) -> bool {
        matches!(&self.stage, Some(Stage::Local(local)) if local.waits_for_program())
    }

    /// Returns true if the start has found the library.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.stage, Some(Stage::Known(_)))
    }

    /// Changes how long a finish waits for other ranks.
    #[cfg(test)]
    pub(super) fn set_timeout(&mut self, timeout: std::time::Duration) {
        self.params.timeout = Some(timeout);
    }

    /// Takes the stage, if the call is finished in the place of its start: in the same process, and outside
    /// of any `generate` or within the same one.
    fn take_stage(&mut self) -> Result<Stage> {
        // Before anything is locked: when the process was forked, a thread that builds may have had the lock,
        // and the child has no such thread to unlock it.
        if !self.creator.is_current() && !matches!(self.stage, Some(Stage::Known(_))) {
            let text = format!(
                "the build of {} was started by process {}, of which this is a forked child: finish it there",
                self.name, self.creator
            );
            return Err(Error::new(Kind::State, text));
        }
        if self.within != nested::current() {
            let name = &self.name;
            let text = if self.within == 0 {
                format!(
                    "the build of {name} was started outside of this generate callback and cannot be \
                     finished within \
                     it: finish it before, or start another within"
                )
            } else {
                format!(
                    "the build of {name} was started within a generate callback and has to be finished \
                     within the same \
                     one, on the same thread"
                )
            };
            return Err(Error::new(Kind::State, text));
        }
        self.stage.take().ok_or_else(|| Error::new(Kind::Internal, "a build is finished twice"))
    }
}
