//! A make in progress: the schedule, and what the threads of this process are doing.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::cache::results::ResultStore;
use crate::error::{Error, Result};
use crate::fsutil::FileStamp;
use crate::jit::pending::Pending;
use crate::jit::{Session, Source};
use crate::plan::execution::Execution;
use crate::plan::graph::{Plan, StopRequest};
use crate::plan::journal::{History, JournalLine, JournalWriter, NodeEnd};
use crate::plan::node::NodeId;
use crate::plan::schedule::Schedule;
use crate::plan::task::BACKOFF;
use crate::plan::view::{ResultOrigin, State};
use crate::process::phase::{Phase, PhaseClock};
use crate::sync::lock;

use super::admission::{JobTokens, MemoryGate};
use super::news::{News, NewsItem};
use super::node_attempt::{NextStep, NodeAttempt, NodeResult};
use super::options::{MakeEvent, MakeEventKind, MakeOptions, WaitReason};

/// A make in progress.
pub(super) struct Making<'a> {
    pub(super) plan: &'a Plan,
    pub(super) session: &'a Session,
    pub(super) store: ResultStore,
    pub(super) options: &'a MakeOptions,
    pub(super) jobs: usize,
    pub(super) history: History,
    pub(super) journal: Option<JournalWriter>,
    /// The identifier of the make.
    pub(super) run: String,
    pub(super) host: String,
    /// The rank, 0 without a communicator.
    pub(super) rank: usize,
    /// The number of ranks, and the host, for errors.
    pub(super) place: Option<(usize, String)>,
    /// The cache directory of this rank, if each rank has its own.
    pub(super) own_root: Option<PathBuf>,
    pub(super) state: Mutex<MakeState>,
    /// On which the threads of the make wait.
    pub(super) changed: Condvar,
    /// On which the thread of the host waits.
    pub(super) host_changed: Condvar,
    pub(super) digests: Mutex<HashMap<PathBuf, (FileStamp, String)>>,
    /// The signatures of tasks that this make has made, which are not made again although all are forced.
    pub(super) forced: Mutex<HashSet<String>>,
    /// The signatures of tasks that threads of this process are making.
    pub(super) in_progress: Mutex<HashSet<String>>,
    /// True if a node calls a function of the host, which may also add such nodes.
    pub(super) has_callbacks: bool,
}

/// The part of a make that changes while it runs.
#[derive(Default)]
pub(super) struct MakeState {
    pub(super) schedule: Schedule,
    /// The nodes that other ranks are to make; empty without a communicator.
    pub(super) elsewhere: Vec<bool>,
    /// Nodes that are not to be tried before a time, and true if another program builds them.
    pub(super) delayed: BTreeMap<NodeId, (Instant, bool)>,
    pub(super) clocks: HashMap<NodeId, PhaseClock>,
    /// Since when a node waits for another program.
    pub(super) waits: HashMap<NodeId, Instant>,
    attempts: HashMap<NodeId, u32>,
    /// Nodes that a callback which still runs has added.
    held: HashMap<NodeId, Vec<NodeId>>,
    /// The number of threads that wait for a node.
    pub(super) idle: usize,
    /// Sources that were generated before the libraries that they need.
    pub(super) sources: HashMap<NodeId, Source>,
    /// Libraries whose source the thread of the host has generated.
    pub(super) started: VecDeque<(NodeId, Pending)>,
    /// Rows for drawing: true if an execution uses it.
    slots: Vec<bool>,
    slot_of: HashMap<NodeId, usize>,
    pub(super) events: VecDeque<MakeEvent>,
    /// True if other ranks are told what happens.
    pub(super) tells_ranks: bool,
    /// The news since the ranks have met.
    pub(super) rank_news: Vec<NewsItem>,
    /// While the ranks meet: the nodes that may begin.
    pub(super) reserved: Option<HashSet<NodeId>>,
    /// Nothing new is started.
    pub(super) halted: bool,
    /// The threads are to end.
    pub(super) ended: bool,
    pub(super) memory: MemoryGate,
    tokens: JobTokens,
    pub(super) waiting: Option<WaitReason>,
}

impl MakeState {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, ..Self::default() }
    }

    fn tell(&mut self, label: String, what: impl FnOnce() -> News) {
        if self.tells_ranks {
            self.rank_news.push(NewsItem { label, what: what() });
        }
    }
}

/// The time after which a node is tried again that another program builds.
const PROGRAM_POLL: Duration = Duration::from_millis(20);

impl Making<'_> {
    pub(super) fn lock(&self) -> MutexGuard<'_, MakeState> {
        lock(&self.state)
    }

    /// Returns the cache of this rank.
    pub(super) fn cache(&self) -> Cache {
        match &self.own_root {
            Some(root) => Cache::with_shared_params(root, &self.plan.params().cache),
            None => self.plan.cache(),
        }
    }

    /// Returns true if nothing new is to be started.
    pub(super) fn is_halted(&self, state: &MakeState) -> bool {
        state.halted || self.plan.stop_request() != StopRequest::Go
    }

    /// Chooses what a thread does next, and begins it.
    pub(super) fn next(&self, state: &mut MakeState, is_host: bool) -> NextStep {
        if !is_host && let Some((id, pending)) = state.started.pop_front() {
            return NextStep::Finish(id, pending);
        }
        if self.is_halted(state) {
            state.waiting = state.schedule.has_ready().then_some(WaitReason::Stopped);
            return NextStep::Wait(None);
        }
        if is_host && !self.has_callbacks {
            return NextStep::Wait(None);
        }
        let now = Instant::now();
        let mut due: Option<Instant> = None;
        let mut programs = 0;
        let mut chosen = None;
        let mut reason = None;
        for id in state.schedule.ready_of(is_host) {
            let is_elsewhere = state.elsewhere.get(id).copied().unwrap_or_default();
            if is_elsewhere || state.reserved.as_ref().is_some_and(|reserved| !reserved.contains(&id)) {
                continue;
            }
            if let Some((at, by_program)) = state.delayed.get(&id).filter(|(at, _)| *at > now) {
                programs += usize::from(*by_program);
                due = Some(due.map_or(*at, |due| due.min(*at)));
                continue;
            }
            let running = state.schedule.running();
            if running >= self.limit(is_host) {
                reason = Some(WaitReason::Jobs(self.jobs));
            } else if !state.memory.admits(self.memory_of(id), running) {
                reason = Some(WaitReason::Memory);
                due = Some(now + MemoryGate::POLL);
            } else if !self.has_token(&mut state.tokens, running) {
                reason = Some(WaitReason::Jobserver);
                due = Some(now + JobTokens::POLL);
            } else {
                chosen = Some(id);
            }
            break;
        }
        state.waiting =
            reason.or((programs > 0 && chosen.is_none()).then_some(WaitReason::Programs(programs)));
        let Some(id) = chosen else { return NextStep::Wait(due) };
        self.begin(state, id);
        NextStep::Run(id)
    }

    /// Takes a token of GNU make for a node beside `running` others, if that is needed. Returns false if there is none.
    fn has_token(&self, tokens: &mut JobTokens, running: usize) -> bool {
        let jobserver = self.options.jobserver.as_ref();
        jobserver.is_none_or(|jobserver| tokens.suffice(jobserver, running, self.rank))
    }

    /// Returns the number of nodes that may run. The host generates one source ahead for each compiler.
    fn limit(&self, is_host: bool) -> usize {
        if is_host { 2 * self.jobs } else { self.jobs }
    }

    /// Keeps what has happened to a node for the other ranks.
    fn tell(&self, state: &mut MakeState, id: NodeId, what: impl FnOnce() -> News) {
        if state.tells_ranks {
            let label = self.plan.nodes().entries[id].spec.label.clone();
            state.tell(label, what);
        }
    }

    /// Returns true if a node calls a function of the host on its thread.
    pub(super) fn has_host_callbacks(&self) -> bool {
        let nodes = self.plan.nodes();
        self.has_callbacks && nodes.entries.iter().any(|entry| entry.spec.is_of_host())
    }

    /// Takes in what another rank has told of a node.
    pub(super) fn take_in_news(&self, item: &NewsItem) {
        let Some(id) = self.plan.find(&item.label) else { return };
        let mut state = self.lock();
        let state = &mut *state;
        if id >= state.schedule.len() {
            return;
        }
        match &item.what {
            News::Done { signature, digest, size, built, .. } => {
                if *built {
                    lock(&self.forced).insert(signature.clone());
                }
                let origin = if *built { ResultOrigin::Built } else { ResultOrigin::Hit };
                let (signature, digest, size) = (signature.clone(), digest.clone(), *size);
                self.note_done(state, id, &NodeResult { signature, digest, size, origin }, None);
                state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Done(origin, 0.0) });
            }
            News::Failed { error, .. } | News::Blocked { error, .. } => {
                let kind = MakeEventKind::Failed(error.clone(), 0.0);
                state.events.push_back(MakeEvent { node: id, kind });
                self.note_failed(state, id, error.clone());
            }
            News::Added { .. }
            | News::Reserved
            | News::Started
            | News::Interrupted { .. }
            | News::TakenBack => {}
        }
    }

    fn memory_of(&self, id: NodeId) -> u64 {
        let nodes = self.plan.nodes();
        let spec = &nodes.entries[id].spec;
        self.history.memory(&spec.label, spec.work.name())
    }

    fn begin(&self, state: &mut MakeState, id: NodeId) {
        state.schedule.begin(id);
        state.delayed.remove(&id);
        state.clocks.entry(id).or_default().enter(Phase::LookUp);
        state.memory.begin(id, self.memory_of(id));
        let slot = state.slots.iter().position(|used| !used).unwrap_or(state.slots.len());
        if slot == state.slots.len() {
            state.slots.push(true);
        }
        state.slots[slot] = true;
        state.slot_of.insert(id, slot);
        self.plan.nodes().entries[id].status.state = State::Running;
        self.tell(state, id, || News::Started);
        if !state.waits.contains_key(&id) {
            state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Started });
        }
    }

    /// Ends an attempt.
    pub(super) fn settle(&self, id: NodeId, attempt: NodeAttempt) {
        let mut state = self.lock();
        let state = &mut *state;
        self.take_in_added(state, Some(id));
        match attempt {
            NodeAttempt::Started(pending) => state.started.push_back((id, pending)),
            NodeAttempt::Elsewhere => {
                state.clocks.entry(id).or_default().enter(Phase::WaitForProgram);
                state.waits.entry(id).or_insert_with(Instant::now);
                self.postpone(state, id, Instant::now() + PROGRAM_POLL, true);
            }
            NodeAttempt::Interrupted => {
                self.note_interrupted(state, id);
                self.postpone(state, id, Instant::now(), false);
                // Also if a callback has given up by itself: the other ranks must not deal nodes to this one.
                self.plan.stop(StopRequest::Finish);
            }
            NodeAttempt::Parked(added) => {
                self.release_slot(state, id);
                let mut nodes = self.plan.nodes();
                nodes.entries[id].status.state = State::Todo;
                let predecessors: Vec<NodeId> = nodes.entries[id].predecessors().chain(added).collect();
                drop(nodes);
                state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Parked });
                if let Some(cause) = state.schedule.park(id, &predecessors) {
                    self.block(state, id, cause);
                }
            }
            NodeAttempt::Failed(error) if error.is_passing() && self.may_retry(state, id) => {
                let attempts = *state.attempts.entry(id).and_modify(|count| *count += 1).or_insert(1);
                let event = MakeEvent { node: id, kind: MakeEventKind::Retried(error) };
                state.events.push_back(event);
                let delay = BACKOFF * 2_u32.saturating_pow(attempts.min(8) - 1);
                self.postpone(state, id, Instant::now() + delay, false);
            }
            NodeAttempt::Failed(error) => self.fail(state, id, error),
            NodeAttempt::Done(result) => self.finish(state, id, result),
        }
        state.tokens.give_back(state.schedule.running(), self.rank);
        if state.idle > 0 {
            self.changed.notify_all();
        }
        if self.is_over(state) || state.tells_ranks || state.schedule.ready_of(true).next().is_some() {
            self.host_changed.notify_all();
        }
    }

    /// Wakes all threads.
    pub(super) fn wake_all(&self) {
        self.changed.notify_all();
        self.host_changed.notify_all();
    }

    fn may_retry(&self, state: &MakeState, id: NodeId) -> bool {
        state.attempts.get(&id).copied().unwrap_or_default() < self.options.retries
    }

    /// Lets a node be tried again later.
    fn postpone(&self, state: &mut MakeState, id: NodeId, at: Instant, by_program: bool) {
        self.release_slot(state, id);
        state.schedule.give_back(id);
        state.delayed.insert(id, (at, by_program));
        self.plan.nodes().entries[id].status.state = State::Todo;
    }

    fn release_slot(&self, state: &mut MakeState, id: NodeId) -> usize {
        state.memory.end(id);
        let slot = state.slot_of.remove(&id);
        if let Some(slot) = slot {
            state.slots[slot] = false;
        }
        slot.unwrap_or_default()
    }

    /// Ends the execution of a node.
    fn end_execution(&self, state: &mut MakeState, id: NodeId) -> Execution {
        let slot = self.release_slot(state, id);
        state.waits.remove(&id);
        let (begin, phases, memory) = state.clocks.remove(&id).unwrap_or_default().stop();
        let (host, pid) = (self.host.clone(), std::process::id());
        Execution { host, pid, rank: self.rank, slot, begin, phases, memory }
    }

    fn finish(&self, state: &mut MakeState, id: NodeId, result: NodeResult) {
        let execution = self.end_execution(state, id);
        let seconds = execution.seconds();
        self.tell(state, id, || News::Done {
            signature: result.signature.clone(),
            digest: result.digest.clone(),
            size: result.size,
            built: result.origin == ResultOrigin::Built,
            execution: Some(execution.clone()),
        });
        self.note_done(state, id, &result, Some(execution));
        let kind = MakeEventKind::Done(result.origin, seconds);
        state.events.push_back(MakeEvent { node: id, kind });
    }

    /// Notes that a node is done, on this rank or another.
    pub(super) fn note_done(
        &self,
        state: &mut MakeState,
        id: NodeId,
        result: &NodeResult,
        execution: Option<Execution>,
    ) {
        state.schedule.done(id);
        let mut nodes = self.plan.nodes();
        let entry = &mut nodes.entries[id];
        entry.status.state = State::Done;
        entry.status.stale = false;
        entry.status.origin = Some(result.origin);
        entry.status.signature = Some(result.signature.clone());
        entry.status.digest.clone_from(&result.digest);
        entry.status.size = Some(result.size);
        (entry.status.error, entry.status.blocked_by) = (None, None);
        if let Some(execution) = execution.filter(|_| result.origin == ResultOrigin::Built) {
            let (label, name) = (entry.spec.label.clone(), entry.spec.work.name().to_owned());
            self.write_node(label, name, Some(result.signature.clone()), execution.clone(), None);
            entry.status.last = Some(execution);
        }
    }

    pub(super) fn fail(&self, state: &mut MakeState, id: NodeId, error: Error) {
        let error = match &self.place {
            Some((size, host)) => error.on_rank(self.rank, *size, host),
            None => error,
        };
        let execution = self.end_execution(state, id);
        let (seconds, told) = (execution.seconds(), execution.clone());
        {
            let mut nodes = self.plan.nodes();
            let entry = &mut nodes.entries[id];
            let (label, name) = (entry.spec.label.clone(), entry.spec.work.name().to_owned());
            let signature = entry.status.signature.clone();
            self.write_node(label, name, signature, execution.clone(), Some(error.clone()));
            entry.status.last = Some(execution);
        }
        self.tell(state, id, || News::Failed { error: error.clone(), execution: Some(told) });
        state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Failed(error.clone(), seconds) });
        self.note_failed(state, id, error);
    }

    /// Notes that a node has failed, on this rank or another, and what it blocks.
    pub(super) fn note_failed(&self, state: &mut MakeState, id: NodeId, error: Error) {
        let blocked = state.schedule.failed(id);
        {
            let mut nodes = self.plan.nodes();
            let status = &mut nodes.entries[id].status;
            (status.state, status.error) = (State::Failed, Some(error));
        }
        blocked.into_iter().for_each(|blocked| self.block(state, blocked, id));
        state.halted |= self.options.fail_fast;
    }

    pub(super) fn block(&self, state: &mut MakeState, id: NodeId, cause: NodeId) {
        let mut nodes = self.plan.nodes();
        let label = nodes.entries[cause].spec.label.clone();
        let failed = nodes.entries[cause].status.error.clone();
        let status = &mut nodes.entries[id].status;
        (status.state, status.blocked_by) = (State::Blocked, Some(cause));
        let why = failed.as_ref().map_or("", Error::message);
        let kind = failed.as_ref().map_or(crate::error::Kind::Generate, Error::kind);
        let error = Error::new(kind, format!("\"{label}\", which it needs, has failed: {why}"));
        status.error = Some(error.clone());
        // The other ranks do not know what a callback has added here.
        let is_own = [id, cause].iter().any(|id| nodes.entries[*id].spec.definer.is_some());
        drop(nodes);
        if is_own {
            self.tell(state, id, || News::Blocked { cause: label, error });
        }
        state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Blocked(cause) });
    }

    /// Writes that a node was interrupted.
    fn note_interrupted(&self, state: &mut MakeState, id: NodeId) {
        let execution = self.end_execution(state, id);
        let told = execution.clone();
        self.tell(state, id, || News::Interrupted { execution: told });
        let (label, name, signature) = {
            let nodes = self.plan.nodes();
            let entry = &nodes.entries[id];
            let name = entry.spec.work.name().to_owned();
            (entry.spec.label.clone(), name, entry.status.signature.clone())
        };
        self.write_node(label, name, signature, execution, Some(interrupted()));
    }

    fn write_node(
        &self,
        label: String,
        name: String,
        signature: Option<String>,
        execution: Execution,
        error: Option<Error>,
    ) {
        // Of ranks one writes what all have told.
        if let Some(journal) = self.journal.as_ref().filter(|_| self.place.is_none()) {
            let run = self.run.clone();
            let node = NodeEnd { run, label, name, signature, execution, error };
            journal.write(&JournalLine::Node(Box::new(node)));
        }
    }

    /// Takes nodes into the schedule that callbacks have added. Those of `definer`, whose callback has ended,
    /// may run now.
    pub(super) fn take_in_added(&self, state: &mut MakeState, definer: Option<NodeId>) {
        let nodes = self.plan.nodes();
        let mut blocked = Vec::new();
        for id in state.schedule.len()..nodes.entries.len() {
            let spec = &nodes.entries[id].spec;
            let seconds = self.history.seconds(&spec.label, spec.work.name(), DEFAULT_SECONDS);
            state.schedule.add(spec.definer, seconds, spec.is_of_host());
            if let Some(definer) = spec.definer {
                state.held.entry(definer).or_default().push(id);
                let (is_task, name) = (spec.work.is_task(), spec.work.name().to_owned());
                let label = spec.label.clone();
                state.tell(label, || News::Added { is_task, name });
                state.events.push_back(MakeEvent { node: id, kind: MakeEventKind::Added });
            }
        }
        let Some(definer) = definer else { return };
        for id in state.held.remove(&definer).unwrap_or_default() {
            let entry = &nodes.entries[id];
            if entry.taken_back {
                state.schedule.take_back(id);
                state.tell(entry.spec.label.clone(), || News::TakenBack);
            } else if let Some(cause) = state.schedule.release(id, &entry.predecessors().collect::<Vec<_>>())
            {
                blocked.push((id, cause));
            }
        }
        drop(nodes);
        blocked.into_iter().for_each(|(id, cause)| self.block(state, id, cause));
    }

    /// Returns true if this process has nothing more to do: everything is settled, or nothing runs and nothing
    /// is to be started.
    pub(super) fn is_over(&self, state: &MakeState) -> bool {
        let idle = state.schedule.running() == 0 && state.started.is_empty();
        idle && (state.schedule.open() == 0 || self.is_halted(state))
    }

    /// Returns the digest of an input, from memory if the file has not changed.
    pub(super) fn input_digest(&self, label: &str, path: &std::path::Path) -> Result<String> {
        let stamp = FileStamp::of(path).ok().filter(FileStamp::is_settled);
        if let Some(stamp) = &stamp
            && let Some((_, digest)) = lock(&self.digests).get(path).filter(|(known, _)| known == stamp)
        {
            return Ok(digest.clone());
        }
        let digest = crate::plan::task::input_digest(label, path)?;
        if let Some(stamp) = stamp {
            lock(&self.digests).insert(path.to_owned(), (stamp, digest.clone()));
        }
        Ok(digest)
    }
}

/// The seconds that a node is expected to take if nothing is known.
pub(super) const DEFAULT_SECONDS: f64 = 1.0;

/// The error that a journal has for a node that was interrupted.
pub(super) fn interrupted() -> Error {
    Error::new(crate::error::Kind::Cancelled, "it was interrupted")
}
