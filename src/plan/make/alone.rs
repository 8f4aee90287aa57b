//! A make by one process.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::cache::results::ResultStore;
use crate::codec::hex;
use crate::error::{Error, Kind, Result};
use crate::jit::Session;
use crate::plan::graph::{Plan, StopRequest};
use crate::plan::journal::{JournalLine, JournalWriter, MakeBegin, MakeEnd, now, read_history};
use crate::plan::node::NodeId;
use crate::plan::schedule::{Schedule, Step};
use crate::plan::view::State;
use crate::process::slots;
use crate::sync::recover;

use super::load::load_libraries;
use super::making::{DEFAULT_SECONDS, MakeState, Making};
use super::node_attempt::NextStep;
use super::options::{MakeObserver, MakeOptions, MakeReport};

/// The longest sleep of the thread that makes: it asks the host and shows progress.
const NAP: Duration = Duration::from_millis(50);

/// The time between two snapshots for the observer.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Makes the nodes of a plan in this process.
///
/// # Errors
/// Errors of the make itself: [`Kind::InvalidArgument`] for a cycle or a target that is not there,
/// [`Kind::Cache`] if the cache cannot be used. Failures of nodes are in the report.
pub fn make(
    plan: &Plan,
    session: &Session,
    options: &MakeOptions,
    observer: &mut dyn MakeObserver,
) -> Result<MakeReport> {
    let begin = Instant::now();
    plan.forget_added();
    let making = begin_make(plan, session, options, (0, 1), None)?;
    run_threads(&making, |making| host_loop(making, observer));
    drain(&making, observer);
    if options.load {
        load_libraries(plan, session);
    }
    end_make(&making, begin)
}

/// Prepares a make by a rank of so many. `own_root` is its cache directory, if each rank has its own. Not
/// collective.
pub(super) fn begin_make<'a>(
    plan: &'a Plan,
    session: &'a Session,
    options: &'a MakeOptions,
    (rank, ranks): (usize, usize),
    own_root: Option<PathBuf>,
) -> Result<Making<'a>> {
    let root = own_root.clone().unwrap_or_else(|| plan.params().cache.cache_dir.clone());
    let cache = Cache::with_shared_params(&root, &plan.params().cache);
    let store = ResultStore::open_or_make(&cache)?;
    let history = read_history(&cache, plan.key());
    let journal = JournalWriter::open(&cache, plan.key()).ok();
    let build = &plan.params().build;
    let jobs = match options.jobs {
        0 => slots::choices(build.max_compilers, build.cores).len().max(1),
        jobs => jobs,
    };
    let (schedule, wanted) = schedule(plan, options, &history)?;
    let has_callbacks = plan.nodes().entries.iter().any(|entry| entry.spec.work.has_callback());
    let run = hex(&crate::codec::quick_digest(format!("{} {}", now(), std::process::id()).as_bytes())[..6]);
    if let (Some(journal), 0) = (&journal, rank) {
        let (host, pid) = (crate::host_name(), std::process::id());
        let begin = MakeBegin { run: run.clone(), at: now(), host, pid, ranks, jobs, nodes: wanted };
        journal.write(&JournalLine::Begin(begin));
    }
    plan.set_own_root(own_root.clone());
    Ok(Making {
        plan,
        session,
        store,
        options,
        jobs,
        history,
        journal,
        run,
        host: crate::host_name(),
        rank,
        own_root,
        place: None,
        state: Mutex::new(MakeState::new(schedule)),
        changed: Condvar::new(),
        host_changed: Condvar::new(),
        digests: Mutex::default(),
        forced: Mutex::default(),
        in_progress: Mutex::default(),
        has_callbacks,
    })
}

/// Makes the schedule of a make. Returns it with the number of nodes that are wanted.
fn schedule(
    plan: &Plan,
    options: &MakeOptions,
    history: &crate::plan::journal::History,
) -> Result<(Schedule, usize)> {
    let nodes = &mut *plan.nodes();
    let count = nodes.entries.len();
    if let Some(bad) = options.targets.iter().find(|target| **target >= count) {
        let text = format!("node {bad} is not in the plan {}, which has {count} nodes", plan.name());
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let order = nodes.order()?;
    let wanted = nodes.closure(&options.targets);
    let predecessors = nodes.entries.iter().map(|entry| entry.predecessors().collect()).collect();
    let seconds = nodes.entries.iter().map(|entry| {
        let failed_before = history.nodes.get(&entry.spec.label).is_some_and(|node| node.error.is_some());
        let seconds = history.seconds(&entry.spec.label, entry.spec.work.name(), DEFAULT_SECONDS);
        // What has failed the last time comes last, so that the rest is made.
        if failed_before { 0.0 } else { seconds }
    });
    let of_host = nodes.entries.iter().map(|entry| entry.spec.is_of_host()).collect();
    let schedule = Schedule::new(predecessors, &wanted, &order, seconds.collect(), of_host);
    for (entry, _) in nodes.entries.iter_mut().zip(&wanted).filter(|(_, wanted)| **wanted) {
        let signature = entry.status.signature.take();
        entry.status = crate::plan::node::NodeStatus { signature, ..Default::default() };
    }
    Ok((schedule, wanted.iter().filter(|wanted| **wanted).count()))
}

/// Runs `host` on this thread, and the other threads of the make beside it, until `host` returns.
pub(super) fn run_threads<'a, 'm: 'a, T>(
    making: &'a Making<'m>,
    host: impl FnOnce(&'a Making<'m>) -> T,
) -> T {
    std::thread::scope(|scope| {
        // Callbacks may add more nodes than there are.
        let open = if making.has_callbacks { usize::MAX } else { making.lock().schedule.open() };
        for number in 0..making.jobs.min(open) {
            let name = format!("dijitso-make-{number}");
            let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, || worker_loop(making));
            if let Err(error) = spawned {
                log::warn!("a thread of the make cannot be started: {error}");
                break;
            }
        }
        let result = host(making);
        making.lock().ended = true;
        making.wake_all();
        result
    })
}

/// Runs nodes until the make has ended.
fn worker_loop(making: &Making<'_>) {
    let mut state = making.lock();
    while !state.ended {
        match making.next(&mut state, false) {
            NextStep::Wait(due) => {
                let nap =
                    due.map_or(Duration::from_secs(1), |due| due.saturating_duration_since(Instant::now()));
                state.idle += 1;
                (state, _) = recover(making.changed.wait_timeout(state, nap.max(Duration::from_millis(1))));
                state.idle -= 1;
            }
            NextStep::Run(id) => {
                drop(state);
                making.settle(id, making.attempt(id, false));
                state = making.lock();
            }
            NextStep::Finish(id, pending) => {
                drop(state);
                making.settle(id, making.finish_started(id, pending));
                state = making.lock();
            }
        }
    }
}

/// Runs what belongs to the thread of the host, until everything has ended.
fn host_loop(making: &Making<'_>, observer: &mut dyn MakeObserver) {
    let mut shown = Instant::now();
    loop {
        drain(making, observer);
        if shown.elapsed() >= PROGRESS_INTERVAL {
            shown = Instant::now();
            let progress = snapshot(making);
            observer.progress(&progress);
        }
        ask_host(making);
        let mut state = making.lock();
        if making.is_over(&state) {
            return;
        }
        match making.next(&mut state, true) {
            NextStep::Run(id) => {
                drop(state);
                making.settle(id, making.attempt(id, true));
            }
            NextStep::Finish(id, pending) => state.started.push_back((id, pending)),
            NextStep::Wait(due) => {
                if making.break_circle(&mut state) {
                    continue;
                }
                let left = due.map_or(NAP, |due| due.saturating_duration_since(Instant::now()));
                drop(recover(
                    making.host_changed.wait_timeout(state, left.clamp(Duration::from_millis(1), NAP)),
                ));
            }
        }
    }
}

/// Returns a snapshot of a make.
pub(super) fn snapshot(making: &Making<'_>) -> super::options::MakeProgress {
    let state = making.lock();
    let total = (0..state.schedule.len()).filter(|id| state.schedule.step(*id) != Step::Unwanted).count();
    making.progress(&state, total)
}

/// Asks the host whether to cancel the make.
pub(super) fn ask_host(making: &Making<'_>) {
    if making.options.interrupt.as_ref().is_some_and(|interrupt| interrupt.reason().is_some()) {
        making.plan.stop(StopRequest::Kill);
        making.wake_all();
    }
}

/// Gives the observer what has happened.
pub(super) fn drain(making: &Making<'_>, observer: &mut dyn MakeObserver) {
    let events = std::mem::take(&mut making.lock().events);
    events.iter().for_each(|event| observer.event(event));
}

/// Makes the report of a make, and ends its journal.
pub(super) fn end_make(making: &Making<'_>, begin: Instant) -> Result<MakeReport> {
    let report = {
        let state = making.lock();
        let nodes = making.plan.nodes();
        // Beyond the schedule are nodes that other ranks have added.
        let wanted = |id: &NodeId| {
            !nodes.entries[*id].taken_back
                && (*id >= state.schedule.len() || state.schedule.step(*id) != Step::Unwanted)
        };
        let rows = (0..nodes.entries.len()).filter(wanted).map(|id| {
            let (entry, status) = (&nodes.entries[id], &nodes.entries[id].status);
            (id, entry.spec.label.as_str(), status.state, status.error.as_ref(), status.origin)
        });
        MakeReport::of(rows, begin.elapsed().as_secs_f64())
    };
    if let (Some(journal), 0) = (&making.journal, making.rank) {
        journal.write(&JournalLine::End(MakeEnd {
            run: making.run.clone(),
            at: now(),
            done: report.done,
            failed: report.failed.len(),
            blocked: report.blocked,
            todo: report.todo,
        }));
    }
    if making.plan.stop_request() != StopRequest::Go {
        making.plan.resume();
    }
    debug_assert!(making.plan.nodes().entries.iter().all(|entry| entry.status.state != State::Running));
    Ok(report)
}
