//! Threads that build what has been started, as many at once as there are places for compilers; they end when nothing
//! is left to do.
//!
//! They run compilers and write to the cache. They call nothing of the host, load nothing, since initialisers of a
//! library may call anything, and call no function of MPI.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::cache::lease::Lease;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::admission::Admission;
use crate::jit::build_step::BuildInput;
use crate::jit::lock;
use crate::load::Loader;
use crate::logging;
use crate::owner::Creator;
use crate::process::Runner;
use crate::process::exec_context::ExecContext;
use crate::sync::recover;

/// What a thread needs for a build.
pub(super) struct Task {
    pub(super) work: BuildInput,
    /// Held until it has been built or given up.
    pub(super) lease: Option<Lease>,
    pub(super) runner: Arc<dyn Runner>,
    /// By which it is resolved: initialisers run on a thread of the host, which loads it later.
    pub(super) loader: Arc<dyn Loader>,
    /// Rank and size of the communicator for which it is done, for the log.
    pub(super) place: Option<(usize, usize)>,
    /// Whether it was chosen to speak for all ranks.
    pub(super) speaks: bool,
}

/// How long a build that is waited for may wait for other programs at most.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A build that another thread does.
pub(super) struct Build {
    /// The process that started it: a child that the host forks has none of its threads.
    creator: Creator,
    state: Mutex<State>,
    ended: Condvar,
    /// By which other threads cancel and hurry it.
    context: ExecContext,
}

enum State {
    Waiting(Box<Task>),
    Running,
    /// The seconds that the compiler took.
    Ended(Result<f64>),
}

impl Build {
    pub(super) fn new(task: Task, context: ExecContext) -> Arc<Self> {
        Arc::new(Self {
            creator: Creator::current(),
            state: Mutex::new(State::Waiting(Box::new(task))),
            ended: Condvar::new(),
            context,
        })
    }

    /// Whether it is still to be done or under way, in this process.
    pub(super) fn is_under_way(&self) -> bool {
        self.creator.is_current()
            && !self.context.is_cancelled()
            && !matches!(*lock(&self.state), State::Ended(_))
    }

    /// Does it, unless somebody else does.
    fn run(&self) {
        let task = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, State::Running) {
                State::Waiting(task) => task,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        let Task { work, lease, runner, loader, place, speaks } = *task;
        let admission = Admission::Resolved(loader.as_ref());
        let here = place.map(|(rank, size)| logging::enter(rank, size));
        let voice = logging::speak(speaks);
        let outcome = catch("building", || work.run(runner.as_ref(), &admission, &self.context));
        // Before others learn of the end: nothing of it is left then.
        drop((lease, voice, here));
        self.end(outcome);
    }

    fn end(&self, outcome: Result<f64>) {
        *lock(&self.state) = State::Ended(outcome);
        self.ended.notify_all();
    }

    /// The outcome, when there is one. What has not begun yet is begun next. `context` is that of the waiting call.
    pub(super) fn wait(self: &Arc<Self>, context: &ExecContext) -> Result<f64> {
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
        let (begin, limit) = (Instant::now(), context.patience(LONGEST));
        let mut state = lock(&self.state);
        loop {
            if let State::Ended(outcome) = &*state {
                return outcome.clone();
            }
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                // Other ranks wait: from now on it waits for no other program. A compiler that runs goes on, and what
                // it makes is there for the next call, whatever the ranks do.
                self.context.hurry();
                state = recover(self.ended.wait(state));
            } else {
                (state, _) = recover(self.ended.wait_timeout(state, left));
            }
        }
    }

    /// Nobody wants it any more: it is not begun, or its compiler is ended soon.
    pub(super) fn cancel(&self) {
        if !self.creator.is_current() {
            return;
        }
        self.context.cancel();
        let mut state = lock(&self.state);
        if matches!(*state, State::Waiting(_)) {
            let error = Error::new(Kind::State, "the build was given up before it began");
            let task = std::mem::replace(&mut *state, State::Ended(Err(error)));
            drop(state);
            // Outside of the lock, since it removes the lease.
            drop(task);
            self.ended.notify_all();
        }
    }
}

/// The threads of this process.
pub(super) struct Pool {
    creator: Creator,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Arc<Build>>,
    running: Vec<Arc<Build>>,
    threads: usize,
    /// The process is about to end.
    closed: bool,
}

/// Used by threads of the host alone, for a moment: a child that it forks finds it as it is between calls.
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

impl Pool {
    /// That of this process, if there has been a build.
    fn of_process() -> Option<Arc<Self>> {
        lock(&POOL).clone().filter(|pool| pool.creator.is_current())
    }

    /// That of this process. That of the process that forked this one is no use: its threads are not here.
    fn get() -> Arc<Self> {
        let mut pool = lock(&POOL);
        if let Some(pool) = pool.as_ref().filter(|pool| pool.creator.is_current()) {
            return Arc::clone(pool);
        }
        let new =
            Arc::new(Self { creator: Creator::current(), inside: Mutex::default(), changed: Condvar::new() });
        // What belonged to the other process must not be taken apart here.
        if let Some(old) = pool.replace(Arc::clone(&new)) {
            std::mem::forget(old);
        }
        new
    }

    /// Has it built by one of at most `limit` threads; here and now where there is none to be had.
    pub(super) fn submit(build: &Arc<Build>, limit: usize) {
        let pool = Self::get();
        let alone = {
            let mut inside = lock(&pool.inside);
            if inside.threads < limit.max(1) && !inside.closed {
                let workers = Arc::clone(&pool);
                let name = "dijitso-build".to_owned();
                let thread = std::thread::Builder::new().name(name).spawn(move || workers.work());
                inside.threads += usize::from(thread.is_ok());
            }
            let alone = inside.closed || inside.threads == 0;
            if !alone {
                inside.waiting.push_back(Arc::clone(build));
            }
            alone
        };
        if alone {
            build.run();
        }
    }

    /// What a thread does until nothing is left to do.
    fn work(&self) {
        let mut inside = lock(&self.inside);
        while let Some(build) = inside.waiting.pop_front() {
            inside.running.push(Arc::clone(&build));
            drop(inside);
            build.run();
            inside = lock(&self.inside);
            inside.running.retain(|other| !Arc::ptr_eq(other, &build));
            self.changed.notify_all();
        }
        inside.threads -= 1;
    }

    /// Somebody waits for it.
    fn prioritize(&self, build: &Arc<Build>) {
        let mut inside = lock(&self.inside);
        if let Some(at) = inside.waiting.iter().position(|other| Arc::ptr_eq(other, build))
            && let Some(build) = inside.waiting.remove(at)
        {
            inside.waiting.push_front(build);
        }
    }

    /// Gives up everything, and waits until compilers have ended and nothing of them is left, for some seconds at most.
    fn close(&self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut inside = lock(&self.inside);
        inside.closed = true;
        let waiting = std::mem::take(&mut inside.waiting);
        inside.running.iter().for_each(|build| build.cancel());
        drop(inside);
        waiting.iter().for_each(|build| build.cancel());
        let begin = Instant::now();
        let mut inside = lock(&self.inside);
        while let Some(left) = PATIENCE.checked_sub(begin.elapsed()).filter(|_| !inside.running.is_empty()) {
            (inside, _) = recover(self.changed.wait_timeout(inside, left));
        }
    }
}

/// Ends what this process has started and not finished: called when it is about to end.
pub fn close() {
    if let Some(pool) = Pool::of_process() {
        pool.close();
    }
}
