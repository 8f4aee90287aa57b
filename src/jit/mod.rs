//! Just-in-time building: from a name and a callback to a loaded library.
//!
//! [`Session`] has the calls. A call is a [`Batch`] of libraries; most have one. `ranks` begins those on a
//! communicator, `local` those without one, and `sequence` takes both through the same steps: look and load,
//! plan, build, distribute, load. `pending` makes a call in two parts, between which other calls can be
//! started. Files import downwards only: shared types are below, executors above.

#![forbid(unsafe_code)]

mod admission;
mod batch_error;
mod build_alone;
mod build_input;
mod build_on_ranks;
mod build_plan;
mod build_pool;
mod build_roles;
mod build_step;
pub mod bundle;
mod call;
mod call_summary;
pub mod callbacks;
mod check;
mod comm_state;
mod counting;
mod distribution;
mod epoch_cache;
mod explain;
mod generate;
mod hit_cache;
mod isa_groups;
mod item;
mod library;
mod loading;
mod local;
mod look;
mod lookup;
mod nested;
mod node_groups;
mod node_staging;
pub mod pending;
pub mod plan_entry;
mod polling;
mod prefetch;
mod preflight;
pub mod progress;
mod quarantine;
pub mod query;
mod ranks;
mod recorder;
mod refusal;
mod request;
mod run_log;
mod sequence;
mod session;
mod staged_folder;
mod staged_set;
mod toolchain;
mod transport;

use crate::cache::Cache;
use crate::cache::explain::Explanation;
use crate::cache::stats::{Event, write_all};
use crate::error::{Error, Kind, Result};
use crate::parallel::Communicator;
use crate::params::resolved::{CacheParams, Resolved};

pub use batch_error::batch_error;
pub use callbacks::{Callbacks, Source};
pub use comm_state::CommState;
pub use library::{Library, Origin};
pub use nested::is_nested;
use pending::Pending;
pub use preflight::enter_plan;
pub use request::{Batch, Request, title_and_timeout};
pub use session::Session;

/// Counts.
impl Session {
    /// Returns how many builds of this session have ended, with or without success, and how many have begun.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.progress.counts()
    }
}

/// Calls without a communicator.
impl Session {
    /// Gives `take` the library that an earlier call has returned; `None` within a `generate` callback.
    /// Neither locks nor allocates.
    pub fn memory_hit<T>(
        &self,
        name: &[u8],
        params: &Resolved,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        local::memory_hit(self, name, params, take)
    }

    /// Returns the library that an earlier call has returned; see [`Session::memory_hit`].
    #[must_use]
    pub fn from_memory(&self, request: Request<'_>) -> Option<Library> {
        self.memory_hit(request.name.as_bytes(), request.params, |library| {
            library.with_origin(Origin::Memory)
        })
    }

    /// Gets the library of a request. Communicates by the callbacks of the host alone, and only on a miss.
    ///
    /// With `generate` this process is a builder, which also calls `send` if set; with `receive` a receiver;
    /// with neither a waiter. All call `wait` if set before they load. A builder that fails still calls
    /// `send` and `wait`, with a closure that carries its error, so that receivers report it.
    ///
    /// Within a `generate` callback the call is local to the builder: only `generate` is used.
    ///
    /// An error in place of the request (say, parameters that could not be read) is a failure like any other:
    /// this process plays the role that its callbacks give it, because other processes wait for it.
    ///
    /// # Errors
    /// Any [`Kind`].
    pub fn jit(&self, request: Result<Request<'_>>, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        let names = [request.as_ref().map_or("", |request| request.name)];
        let batch = request.map(|request| Batch { names: &names, params: request.params });
        let _call = polling::enter(callbacks.poll.as_ref());
        only(local::jit(self, batch, callbacks)?)
    }

    /// Gets the libraries of a batch, in the order of its names: each has its own result, and one that fails
    /// does not stop the others. See [`Session::jit`]; callbacks are called for each library that is missing.
    ///
    /// # Errors
    /// Errors of the call itself.
    pub fn jit_many(
        &self,
        batch: Result<Batch<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Vec<Result<Library>>> {
        let _call = polling::enter(callbacks.poll.as_ref());
        local::jit(self, batch, callbacks)
    }

    /// Starts a call: looks the library up, and on a miss calls `generate`, at once and on this thread, and
    /// leaves the rest to other threads. Calls no other callback, unless it fails.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad name or bad callbacks, `Kind::Cache` if the cache cannot be read.
    /// Errors of generating and compiling are returned by [`Session::finish`].
    pub fn start(&self, request: Result<Request<'_>>, callbacks: &mut Callbacks<'_>) -> Result<Pending> {
        let _call = polling::enter(callbacks.poll.as_ref());
        pending::start(self, request, callbacks)
    }

    /// Finishes what [`Session::start`] has started, like [`Session::jit`]. The callbacks are those of the
    /// start. Calls `generate` only if another program was to build and has failed, or if what was found has
    /// been removed.
    ///
    /// # Errors
    /// Any [`Kind`].
    pub fn finish(&self, pending: Pending, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        let _call = polling::enter(callbacks.poll.as_ref());
        pending::finish(self, pending, callbacks)
    }
}

/// Calls on a communicator.
impl Session {
    /// Gives `take` the library that an earlier call on the communicator has returned. Neither communicates
    /// nor locks nor allocates.
    pub fn memory_hit_on<T>(
        &self,
        state: &CommState,
        name: &[u8],
        params: &Resolved,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        ranks::memory_hit_on(self, state, name, params, take)
    }

    /// Returns the library that an earlier call on the communicator has returned. Does not communicate.
    #[must_use]
    pub fn jit_from_memory(&self, request: Request<'_>, state: &CommState) -> Option<Library> {
        let take = |library: &Library| library.with_origin(Origin::Memory);
        self.memory_hit_on(state, request.name.as_bytes(), request.params, take)
    }

    /// Gets the library of a request on all ranks of `comm`. Collective, except for memory hits.
    ///
    /// `request` and `callbacks` are those of this rank. An error in place of the request (say, parameters
    /// that could not be read) is agreed on like any other.
    ///
    /// # Errors
    /// Any [`Kind`]; the same on every rank.
    pub fn jit_on(
        &self,
        comm: &dyn Communicator,
        state: &CommState,
        request: Result<Request<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let names = [request.as_ref().map_or("", |request| request.name)];
        let batch = request.map(|request| Batch { names: &names, params: request.params });
        let _call = polling::enter_on(comm, callbacks.poll.as_ref());
        only(ranks::jit_on(self, comm, state, batch, callbacks)?)
    }

    /// Gets the libraries of a batch on all ranks of `comm`, in the order of its names: each has its own
    /// result, the same on every rank, and one that fails does not stop the others. Takes as many collectives
    /// as one call if all ranks find all libraries. Collective, except for memory hits.
    ///
    /// # Errors
    /// Errors of the call itself, such as [`Kind::RanksDisagree`].
    pub fn jit_many_on(
        &self,
        comm: &dyn Communicator,
        state: &CommState,
        batch: Result<Batch<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Vec<Result<Library>>> {
        let _call = polling::enter_on(comm, callbacks.poll.as_ref());
        ranks::jit_on(self, comm, state, batch, callbacks)
    }

    /// Starts a call on all ranks of `comm`; see [`Session::start`]. Collective, except for memory hits.
    ///
    /// # Errors
    /// Any [`Kind`] that a call has before it builds; the same on every rank. Errors of
    /// generating and compiling are returned by [`Session::finish_on`].
    pub fn start_on(
        &self,
        comm: &dyn Communicator,
        state: &CommState,
        request: Result<Request<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Pending> {
        let _call = polling::enter_on(comm, callbacks.poll.as_ref());
        pending::start_on(self, comm, state, request, callbacks)
    }

    /// Finishes what [`Session::start_on`] has started on the same communicator. Collective, except for
    /// memory hits of the start.
    ///
    /// `arguments` is an error of this rank alone, say a bad argument, which is agreed on like any other.
    ///
    /// # Errors
    /// Any [`Kind`]; the same on every rank.
    pub fn finish_on(
        &self,
        comm: &dyn Communicator,
        state: &CommState,
        pending: Pending,
        arguments: Result<()>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let _call = polling::enter_on(comm, callbacks.poll.as_ref());
        pending::finish_on(self, comm, state, pending, arguments, callbacks)
    }
}

/// Returns the result of a batch of one.
fn only(results: Vec<Result<Library>>) -> Result<Library> {
    let missing = || Err(Error::new(Kind::Internal, "a call has no result"));
    results.into_iter().next().unwrap_or_else(missing)
}

/// Queries, and counts.
impl Session {
    /// Returns the signature that a call would use on this host. May ask the compiler what it is.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad name.
    pub fn signature(&self, request: Request<'_>) -> Result<String> {
        self.toolchains.sign(request).map(|signed| signed.signature)
    }

    /// Loads an entry of the cache by its signature, and what it is linked to.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad signature, `Kind::Cache` if the entry is missing or damaged,
    /// `Kind::Load`.
    pub fn open(&self, params: &CacheParams, signature: &str) -> Result<Library> {
        query::open(self, params, signature)
    }

    /// Returns the command that would build a library, in the folder of its source, linked to `dependencies`
    /// in the cache. May ask the compiler what it is.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad signature.
    pub fn command(&self, params: &Resolved, signature: &str, dependencies: &[&str]) -> Result<Vec<String>> {
        query::command(self, params, signature, dependencies)
    }

    /// Explains why the library of a request is, or is not, in the cache directory of its parameters:
    /// compares it with the nearest entry of the same name, component by component. Communicates with no rank
    /// and builds nothing.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a bad name, `Kind::Cache` if the cache cannot be read.
    pub fn explain(&self, request: Request<'_>) -> Result<Explanation> {
        // The user may just have changed the compiler.
        crate::build::toolchain::invalidate();
        let cache = Cache::new(&request.params.cache.cache_dir, &request.params.cache);
        explain::explain(&self.toolchains.sign(request)?, &cache)
    }

    /// Writes all hits that are kept for later. For the end of the process.
    pub fn write_hits(&self) {
        write_all(|| self.counter.take());
    }

    /// Writes down which entries this process has used, and removes what it has staged for later calls. For
    /// the end of the process.
    pub fn end_runs(&self) {
        self.staged.remove_all();
        self.runs.write_all();
    }

    /// Writes the memory hits since the last event, if there are any. Events write them, too; a host that is
    /// about to end may call this for those after the last event.
    pub fn flush_counts(&self, cache: &Cache) {
        let hits = self.counter.take();
        if hits > 0 {
            cache.count(Event::Memory, "", 0, hits);
        }
    }
}

#[cfg(test)]
mod tests;
