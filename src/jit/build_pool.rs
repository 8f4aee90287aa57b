//! Builds in other threads: as many at once as there are slots for compilers. The threads end when nothing is
//! left to build.
//!
//! They run compilers and write to the cache. They call nothing of the host and no function of MPI, and load
//! nothing, because initialisers of a library may call anything.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::cache::lease::Lease;
use crate::error::{Error, Kind, Result, catch};
use crate::load::Loader;
use crate::logging;
use crate::owner::Creator;
use crate::process::Runner;
use crate::process::exec_context::ExecContext;
use crate::sync::{lock, recover};

use super::admission::Admission;
use super::build_input::BuildInput;
use super::progress::{CountedBuild, wait_in_call};

/// Everything that a thread needs for a build.
pub(super) struct BuildTask {
    pub(super) input: Box<BuildInput>,
    /// Held until the library is built or the build is cancelled.
    pub(super) lease: Option<Lease>,
    /// Dropped at the same time.
    pub(super) counted: CountedBuild,
    pub(super) runner: Arc<dyn Runner>,
    /// Resolves the library. A thread of the host loads it later.
    pub(super) loader: Arc<dyn Loader>,
    /// Rank and size of the communicator of the call, for the log.
    pub(super) rank_and_size: Option<(usize, usize)>,
    /// True if this rank logs for all ranks.
    pub(super) speaks: bool,
    /// True if this rank reports the progress of the builds of its host.
    pub(super) reports: bool,
}

/// The longest time that an awaited build waits for other programs.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A build in another thread. Several calls of this process may wait for it; when all of them have dropped
/// it, it is cancelled.
pub(super) struct InFlightBuild {
    build: Arc<BackgroundBuild>,
    /// Signatures that calls within its `generate` were answered with.
    pub(super) asked: Vec<String>,
    is_counted: AtomicBool,
}

impl InFlightBuild {
    /// Has it built by one of at most `max_threads` threads; by this thread if none can be started.
    pub(super) fn submit(task: BuildTask, context: ExecContext, max_threads: usize) -> Arc<Self> {
        let asked = task.input.asked.clone();
        let build = Arc::new(BackgroundBuild {
            creator: Creator::current(),
            state: Mutex::new(BuildState::Waiting(Box::new(task))),
            ended: Condvar::new(),
            context,
        });
        Pool::get().submit(&build, max_threads);
        Arc::new(Self { build, asked, is_counted: AtomicBool::new(false) })
    }

    /// Drops a build that the call no longer waits for. If no other call waits for it either, waits for a
    /// moment until its compiler has ended and its lease is given back.
    pub(super) fn abandon(build: Arc<Self>) {
        const MAX_ABANDON: Duration = Duration::from_millis(500);
        let background = Arc::clone(&build.build);
        if Arc::into_inner(build).map(drop).is_some() {
            background.wait_for_end(MAX_ABANDON);
        }
    }

    /// Waits for the outcome: the seconds that the compiler took. `context` is that of the waiting call; if
    /// it is cancelled, the build goes on.
    pub(super) fn wait(&self, context: &ExecContext) -> Result<f64> {
        self.build.wait(context)
    }

    /// Returns true for the first caller, which counts the build.
    pub(super) fn is_first_to_count(&self) -> bool {
        !self.is_counted.swap(true, Ordering::Relaxed)
    }
}

impl Drop for InFlightBuild {
    fn drop(&mut self) {
        self.build.cancel();
    }
}

/// The build that a call has started.
#[derive(Default)]
pub(super) enum StartedBuild {
    /// Nothing: the whole build is still to be done.
    #[default]
    Nothing,
    /// Nothing: another program has the lease.
    ElsewhereInProgress,
    /// A build in another thread.
    InFlight(Arc<InFlightBuild>),
    /// The host could not generate the source.
    Failed(Error),
}

/// Builds in flight in this process, by the files of their libraries.
#[derive(Default)]
pub(super) struct InFlightBuilds(Mutex<HashMap<PathBuf, Weak<InFlightBuild>, FixedState>>);

impl InFlightBuilds {
    /// Returns the build of this file, if this process has started one that has not ended.
    pub(super) fn get(&self, path: &Path) -> Option<Arc<InFlightBuild>> {
        let build = lock(&self.0).get(path)?.upgrade()?;
        build.build.is_in_flight().then_some(build)
    }

    pub(super) fn insert(&self, path: PathBuf, build: &Arc<InFlightBuild>) {
        let mut builds = lock(&self.0);
        builds.retain(|_, build| build.strong_count() > 0);
        builds.insert(path, Arc::downgrade(build));
    }
}

/// A build that a thread of the pool runs.
struct BackgroundBuild {
    /// The process that started it: a forked child has none of its threads.
    creator: Creator,
    state: Mutex<BuildState>,
    ended: Condvar,
    /// Other threads cancel and hurry the build by this.
    context: ExecContext,
}

enum BuildState {
    Waiting(Box<BuildTask>),
    Running,
    /// The seconds that the compiler took.
    Ended(Result<f64>),
}

impl BackgroundBuild {
    /// Returns whether it is waiting or running, in this process.
    fn is_in_flight(&self) -> bool {
        self.creator.is_current()
            && !self.context.is_cancelled()
            && !matches!(*lock(&self.state), BuildState::Ended(_))
    }

    /// Runs it if it is still waiting.
    fn run(&self) {
        let task = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, BuildState::Running) {
                BuildState::Waiting(task) => task,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        let BuildTask { input, lease, mut counted, runner, loader, rank_and_size, speaks, reports } = *task;
        let admission = Admission::Resolved(loader.as_ref());
        let here = rank_and_size.map(|(rank, size)| logging::enter(rank, size));
        let (voice, reporter) = (logging::speak(speaks), logging::report(reports));
        let outcome = catch("building", || input.run(runner.as_ref(), &admission, &self.context));
        if outcome.is_ok() {
            counted.succeed();
        }
        // Before others learn that it has ended, so that they find no lease.
        drop((lease, voice, reporter, here, counted));
        self.end(outcome);
    }

    fn end(&self, outcome: Result<f64>) {
        *lock(&self.state) = BuildState::Ended(outcome);
        self.ended.notify_all();
    }

    /// Waits for the outcome. If it is still waiting, it runs next.
    fn wait(self: &Arc<Self>, context: &ExecContext) -> Result<f64> {
        if !self.creator.is_current() {
            let text = format!(
                "this build was started by process {}, of which this is a forked child: finish it there",
                self.creator
            );
            return Err(Error::new(Kind::State, text));
        }
        if let Some(pool) = Pool::of_process() {
            pool.prioritize(self);
        }
        let _waiting = wait_in_call();
        let (begin, limit) = (Instant::now(), context.patience(MAX_WAIT));
        let mut state = lock(&self.state);
        loop {
            if let BuildState::Ended(outcome) = &*state {
                return outcome.clone();
            }
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                // Other ranks wait, so from now on it waits for no other program. A running compiler goes on:
                // its library is there for the next call, whatever the ranks do.
                self.context.hurry();
            }
            let nap = context.nap(if left.is_zero() { MAX_WAIT } else { left });
            (state, _) = recover(self.ended.wait_timeout(state, nap));
            drop(state);
            // Without the lock: this may call the host.
            context.check("a library")?;
            state = lock(&self.state);
        }
    }

    /// Waits until it has ended, at most for `limit`.
    fn wait_for_end(&self, limit: Duration) {
        let begin = Instant::now();
        let mut state = lock(&self.state);
        while !matches!(*state, BuildState::Ended(_)) {
            let Some(left) = limit.checked_sub(begin.elapsed()) else { return };
            (state, _) = recover(self.ended.wait_timeout(state, left));
        }
    }

    /// Cancels it: a waiting build never runs, and a running compiler is killed soon.
    fn cancel(&self) {
        if !self.creator.is_current() {
            return;
        }
        self.context.cancel();
        let mut state = lock(&self.state);
        if matches!(*state, BuildState::Waiting(_)) {
            let error = Error::new(Kind::State, "the build was cancelled before it began");
            let task = std::mem::replace(&mut *state, BuildState::Ended(Err(error)));
            drop(state);
            // Without the lock, because it removes the lease.
            drop(task);
            self.ended.notify_all();
        }
    }
}

/// The threads of this process.
struct Pool {
    creator: Creator,
    queue: Mutex<BuildQueue>,
    changed: Condvar,
}

#[derive(Default)]
struct BuildQueue {
    waiting: VecDeque<Arc<BackgroundBuild>>,
    running: Vec<Arc<BackgroundBuild>>,
    threads: usize,
    /// The process is about to end.
    closed: bool,
}

/// Locked by threads of the host alone, for a moment: a child that one of them forks does not find it locked.
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

impl Pool {
    /// Returns the pool of this process, if there has been a build.
    fn of_process() -> Option<Arc<Self>> {
        lock(&POOL).clone().filter(|pool| pool.creator.is_current())
    }

    /// Returns the pool of this process. The pool of the parent of a fork is of no use: its threads are not
    /// here.
    fn get() -> Arc<Self> {
        let mut pool = lock(&POOL);
        if let Some(pool) = pool.as_ref().filter(|pool| pool.creator.is_current()) {
            return Arc::clone(pool);
        }
        let new =
            Arc::new(Self { creator: Creator::current(), queue: Mutex::default(), changed: Condvar::new() });
        // Dropping the pool of the other process would remove its leases.
        if let Some(old) = pool.replace(Arc::clone(&new)) {
            std::mem::forget(old);
        }
        new
    }

    fn submit(self: Arc<Self>, build: &Arc<BackgroundBuild>, max_threads: usize) {
        let runs_here = {
            let mut queue = lock(&self.queue);
            if queue.threads < max_threads.max(1) && !queue.closed {
                let pool = Arc::clone(&self);
                let name = "dijitso-build".to_owned();
                let thread = std::thread::Builder::new().name(name).spawn(move || pool.run_thread());
                queue.threads += usize::from(thread.is_ok());
            }
            let runs_here = queue.closed || queue.threads == 0;
            if !runs_here {
                queue.waiting.push_back(Arc::clone(build));
            }
            runs_here
        };
        if runs_here {
            build.run();
        }
    }

    /// Runs builds until none is waiting.
    fn run_thread(&self) {
        let mut queue = lock(&self.queue);
        while let Some(build) = queue.waiting.pop_front() {
            queue.running.push(Arc::clone(&build));
            drop(queue);
            build.run();
            queue = lock(&self.queue);
            queue.running.retain(|other| !Arc::ptr_eq(other, &build));
            self.changed.notify_all();
        }
        queue.threads -= 1;
    }

    /// Moves a waiting build to the front of the queue.
    fn prioritize(&self, build: &Arc<BackgroundBuild>) {
        let mut queue = lock(&self.queue);
        if let Some(at) = queue.waiting.iter().position(|other| Arc::ptr_eq(other, build))
            && let Some(build) = queue.waiting.remove(at)
        {
            queue.waiting.push_front(build);
        }
    }

    /// Cancels everything. Waits, a few seconds at most, until the compilers have ended and have left no
    /// files.
    fn close(&self) {
        const MAX_CLOSE: Duration = Duration::from_secs(10);
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        queue.running.iter().for_each(|build| build.cancel());
        drop(queue);
        waiting.iter().for_each(|build| build.cancel());
        let begin = Instant::now();
        let mut queue = lock(&self.queue);
        while let Some(left) = MAX_CLOSE.checked_sub(begin.elapsed()).filter(|_| !queue.running.is_empty()) {
            (queue, _) = recover(self.changed.wait_timeout(queue, left));
        }
    }
}

/// Cancels what this process has started and not finished. Called when the process is about to end.
pub fn close() {
    if let Some(pool) = Pool::of_process() {
        pool.close();
    }
}
