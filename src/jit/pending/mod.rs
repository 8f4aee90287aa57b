//! Builds that are started ahead: code is generated at once, on the host's thread, and compiled by other threads while
//! the host starts more.
//!
//! A call is in two parts. The first, `start`, looks whether the library is there, and if not asks the host for the
//! source and leaves the rest to the threads of `pool`. The second, `finish`, is a whole call that finds its build
//! done, or waits for it. So what must hold of a call holds of a finish: roles, transport, agreement, what is counted.
//!
//! Nothing in `start` waits for another program: where one builds the same, `finish` waits for it, and builds if that
//! one fails.

#![forbid(unsafe_code)]

mod pool;
mod ranks;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::cache::lease::{self, Acquire};
use crate::cache::{Cache, Lookup, VerifiedLib, Verify};
use crate::error::{Error, Kind, Result, catch};
use crate::logging;
use crate::owner::Creator;
use crate::params::resolved::Resolved;
use crate::process::exec_context::ExecContext;
use crate::process::slots;
use crate::signature::Toolchain;

use super::build_step::SignedRequest;
use super::callbacks::Callbacks;
use super::library::Library;
use super::local::run_failure_callbacks;
use super::removed::lost;
use super::{Request, Session, lock, nested};

pub use pool::close;
use pool::{Build, Pool, Task};

/// A build that several calls of this process may wait for; given up when all of them are.
pub(super) struct Shared {
    build: Arc<Build>,
    /// What calls within its `generate` were answered with.
    asked: Vec<String>,
    /// Whether one of them has counted it.
    settled: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.build.cancel();
    }
}

/// Builds under way in this process, by the files of their libraries.
pub(super) type InFlight = std::collections::HashMap<PathBuf, Weak<Shared>>;

/// What a call has begun.
#[derive(Default)]
pub(super) enum StartedBuild {
    /// Nothing: all is still to be done.
    #[default]
    Nothing,
    /// A build, by another thread.
    Build(Arc<Shared>),
    /// The host could not generate the source.
    Failed(Error),
}

/// A call that has been started and not been finished. Dropping it gives it up.
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
    /// Memory had the answer.
    Known(Library),
    /// Of a call without a communicator.
    Alone(Box<LocalPending>),
    /// Of one on a communicator.
    OnRanks(Box<ranks::CollectivePending>),
}

/// A call without a communicator that has been started.
struct LocalPending {
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    /// What was in the cache at the start.
    found: Option<Vec<VerifiedLib>>,
    begun: StartedBuild,
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

    /// The name that was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request { name: &self.name, params: &self.params }
    }

    /// A finish belongs to where the start was: in the same process, and outside of any `generate`, or within the same
    /// one.
    fn check_place(&self) -> Result<()> {
        // Before anything is locked: a thread that builds may have had the lock when the process was forked, and a child
        // has no such thread to give it back.
        if !self.creator.is_current() && !matches!(self.stage, Some(Stage::Known(_))) {
            let text = format!(
                "the build of {} was started by process {}, of which this is a forked child: finish it there",
                self.name, self.creator
            );
            return Err(Error::new(Kind::State, text));
        }
        let here = nested::current();
        if self.within == here {
            return Ok(());
        }
        let name = &self.name;
        let text = match (self.within, here) {
            (0, _) => format!(
                "the build of {name} was started outside of this generate callback and cannot be finished within it: \
                 finish it before, or start another within"
            ),
            _ => format!(
                "the build of {name} was started within a generate callback and has to be finished within the same one, \
                 on the same thread"
            ),
        };
        Err(Error::new(Kind::State, text))
    }
}

impl Session {
    /// Begins a call without a communicator: looks for the library, and on a miss asks `generate`, at once and on this
    /// thread, and leaves the rest to other threads. Of the callbacks no other is called.
    ///
    /// # Errors
    /// For arguments that [`Session::jit`] would refuse before anything else, and when the cache cannot be read. What
    /// fails in generating and compiling is told by [`Session::finish`].
    pub fn start(&self, request: Result<Request<'_>>, callbacks: &mut Callbacks<'_>) -> Result<Pending> {
        if !nested::is_nested() {
            if callbacks.generate.is_some() && callbacks.receive.is_some() {
                let text = "both generate and receive are set: a rank is a builder or a receiver";
                return Err(Error::new(Kind::InvalidArgument, text));
            }
            if let Ok(request) = &request
                && let Some(library) = self.from_memory(*request)
            {
                return Ok(Pending::new(*request, Stage::Known(library)));
            }
        }
        request.and_then(|request| self.start_alone(request, callbacks)).map_err(|error| {
            // Others wait for what this process was to do.
            if nested::is_nested() { error } else { run_failure_callbacks(error, callbacks) }
        })
    }

    fn start_alone(&self, request: Request<'_>, callbacks: &mut Callbacks<'_>) -> Result<Pending> {
        let root = nested::effective_dir(&request.params.cache.cache_dir);
        let cache = Cache::sharing(&root, &request.params.cache);
        let check = if nested::is_nested() { Verify::ForLink } else { Verify::ForLoad };
        let (ticket, found) = self.look_up(request, &cache, check, callbacks.generate.is_some())?;
        let begun = if found.is_some() {
            StartedBuild::Nothing
        } else {
            self.begin(&ticket, &cache, callbacks, None)
        };
        let SignedRequest { signature, toolchain, .. } = ticket;
        let alone = LocalPending { signature, toolchain, cache, found, begun };
        Ok(Pending::new(request, Stage::Alone(Box::new(alone))))
    }

    /// Ends what [`Session::start`] has begun, as [`Session::jit`] would. The callbacks are those of the start:
    /// `generate` is called now only where another program was to build and has failed, or what was found has gone.
    ///
    /// # Errors
    /// Any of [`Kind`].
    pub fn finish(&self, mut pending: Pending, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        pending.check_place()?;
        let LocalPending { signature, toolchain, cache, found, begun } = match pending.stage.take() {
            Some(Stage::Alone(alone)) => *alone,
            Some(Stage::Known(library)) => return Ok(library),
            Some(Stage::OnRanks(_)) => {
                let text = "a build that was started on a communicator is finished on it";
                return Err(Error::new(Kind::State, text));
            }
            None => return Err(Error::new(Kind::Internal, "a build is finished twice")),
        };
        let ticket = SignedRequest { request: pending.request(), signature, toolchain };
        if nested::is_nested() {
            self.answer_nested(&ticket, &cache, found, begun, callbacks)
        } else {
            self.answer_and_store(&ticket, &cache, found, begun, callbacks)
        }
    }

    /// Begins the build of a ticket that is not in `cache`, as far as that takes no waiting for anybody.
    fn begin(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        place: Option<(usize, usize)>,
    ) -> StartedBuild {
        let params = ticket.request.params;
        if params.cache.frozen || callbacks.generate.is_none() {
            return StartedBuild::Nothing;
        }
        let signature = ticket.signature.as_str();
        if let Err(error) = nested::check_chain(ticket.request.name, signature, cache.layout()) {
            return StartedBuild::Failed(error);
        }
        let path = cache.layout().lib(signature);
        if let Some(shared) = self.in_flight(&path) {
            return StartedBuild::Build(shared);
        }
        let lease = if params.build.lease_timeout.is_zero() {
            None
        } else {
            let tree = match cache.open_or_make() {
                Ok(tree) => Arc::new(tree),
                Err(error) => {
                    self.count_made(cache, signature, &Err(error.clone()));
                    return StartedBuild::Failed(error);
                }
            };
            match lease::try_take(&tree, &cache.layout().lease(signature)) {
                Some(Acquire::Acquired(lease)) => Some(lease),
                Some(_) => None,
                None => return StartedBuild::Nothing,
            }
        };
        // Whoever had the lease before us may have built it.
        if matches!(cache.lookup(signature, Verify::ForLink), Ok(Lookup::Hit(..))) {
            return StartedBuild::Nothing;
        }
        let work = match catch("generating", || self.prepare(ticket, cache, callbacks, &ticket.context())) {
            Ok(work) => work,
            Err(error) => {
                self.count_made(cache, signature, &Err(error.clone()));
                return StartedBuild::Failed(error);
            }
        };
        if let Some(lease) = &lease {
            lease.leave_thread();
        }
        let asked = work.asked.clone();
        let (runner, loader) = (Arc::clone(&self.runner), Arc::clone(&self.loader));
        let build = Build::new(
            Task { work, lease, runner, loader, place, speaks: logging::is_chosen() },
            ExecContext::new(params.build.cores, None),
        );
        let shared = Arc::new(Shared { build, asked, settled: AtomicBool::new(false) });
        {
            let mut under_way = lock(&self.under_way);
            under_way.retain(|_, shared| shared.strong_count() > 0);
            under_way.insert(path, Arc::downgrade(&shared));
        }
        let limit = slots::choices(params.build.max_compilers, params.build.cores).len();
        Pool::submit(&shared.build, limit);
        StartedBuild::Build(shared)
    }

    /// The build of this file, if this process has started one that has not ended.
    fn in_flight(&self, path: &PathBuf) -> Option<Arc<Shared>> {
        let shared = lock(&self.under_way).get(path)?.upgrade()?;
        shared.build.is_under_way().then_some(shared)
    }

    /// As [`Session::provide`], by what was begun.
    pub(super) fn complete(
        &self,
        begun: StartedBuild,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        context: &ExecContext,
    ) -> Result<bool> {
        match begun {
            StartedBuild::Nothing => self.build_or_wait(ticket, cache, callbacks, context),
            StartedBuild::Failed(error) => Err(error),
            StartedBuild::Build(shared) => {
                let made = shared.build.wait(context).map(Some);
                if made.is_err()
                    && callbacks.generate.is_some()
                    && let Some(lost) = lost(cache, &shared.asked)
                {
                    log::info!("{}: generating again: {lost} has been removed", ticket.signature);
                    cache.forget_failure(&ticket.signature);
                    return self.build_or_wait(ticket, cache, callbacks, context);
                }
                if shared.settled.swap(true, Ordering::Relaxed) {
                    return made.map(|_| false);
                }
                self.record_outcome(cache, &ticket.signature, made)
            }
        }
    }
}
