//! One attempt to make a node, on any thread.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cache::lease::{self, Acquire};
use crate::cache::results::TaskResult;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::callbacks::{Code, GenerateRequest};
use crate::jit::pending::Pending;
use crate::jit::{Callbacks, Origin, Request, Source};
use crate::params::resolved::Resolved;
use crate::plan::graph::StopRequest;
use crate::plan::node::{
    GenerateNode, ModuleSource, ModuleWork, NodeCall, NodeId, NodeSpec, TaskAction, TaskWork, Work,
};
use crate::plan::source::{linked, need_digests, ready_source, result_of};
use crate::plan::task::{FolderInputs, copy_out, run_command, task_signature};
use crate::plan::view::{ResultOrigin, State};
use crate::process::exec_context::ExecContext;
use crate::process::interrupt::Interrupt;
use crate::process::phase::{Phase, PhaseClock, time_thread};
use crate::process::slots::{self, SlotRequest};
use crate::sync::lock;

use super::making::Making;
use super::node_attempt::{NodeAttempt, NodeResult};

/// The longest time between the end of a command by a signal and the same signal to this process.
const STOP_DELAY: Duration = Duration::from_millis(400);

/// The generate callback of a call.
type Generator<'g> = Box<dyn FnMut(GenerateRequest<'_>, &mut Source) -> std::result::Result<(), Code> + 'g>;

/// A signature that a thread of this make is making, until this is dropped.
struct InProgress<'a> {
    all: &'a Mutex<HashSet<String>>,
    signature: String,
}

impl<'a> InProgress<'a> {
    /// Begins to make a signature; `None` if another thread is making it.
    fn begin(making: &'a Making<'_>, signature: &str) -> Option<Self> {
        let is_new = lock(&making.in_progress).insert(signature.to_owned());
        is_new.then(|| Self { all: &making.in_progress, signature: signature.to_owned() })
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.signature);
    }
}

impl Making<'_> {
    /// Makes a node. On the thread of the host (`is_host`), compilers are only started.
    pub(super) fn attempt(&self, id: NodeId, is_host: bool) -> NodeAttempt {
        let clock = self.clock(id);
        let _timed = time_thread(clock.clone());
        let spec = self.plan.spec(id).expect("a node of the schedule is in the plan");
        let attempted = catch("making a node", || match &spec.work {
            Work::Module(module) => self.module(id, &spec, module, is_host),
            Work::Task(task) => self.task(id, &spec, task, &clock),
            Work::Remote(_) => {
                Err(Error::new(Kind::State, format!("\"{}\" can be made by another rank alone", spec.label)))
            }
        });
        attempted.unwrap_or_else(|error| self.failed(error))
    }

    fn clock(&self, id: NodeId) -> PhaseClock {
        self.lock().clocks.entry(id).or_default().clone()
    }

    /// Returns the interrupt of an attempt. The first request to stop ends an attempt that has begun nothing,
    /// because it waits for a slot or for another program; the second one ends all.
    fn interrupt(&self, clock: &PhaseClock) -> Interrupt {
        let clock = clock.clone();
        let waits = move || matches!(clock.current(), Some(Phase::WaitForSlot | Phase::WaitForProgram));
        self.plan.stop_interrupt(waits)
    }

    /// Returns true if a task is to be made although its result is in the cache. Two nodes with one signature are
    /// made once, and a frozen cache stays as it is.
    fn is_forced(&self, signature: &str) -> bool {
        self.options.force && !self.plan.params().cache.frozen && !lock(&self.forced).contains(signature)
    }

    /// Returns the attempt that has ended with this error. A node that was interrupted is still to be made.
    ///
    /// A batch system that cancels a job signals all its processes at once. So the command of a node may be
    /// killed a moment before this process hears of it.
    fn failed(&self, error: Error) -> NodeAttempt {
        if error.is_passing() {
            let begin = Instant::now();
            while self.plan.stop_request() == StopRequest::Go && begin.elapsed() < STOP_DELAY {
                std::thread::sleep(STOP_DELAY / 20);
            }
        }
        let interrupted = match self.plan.stop_request() {
            StopRequest::Go => false,
            StopRequest::Finish => error.is_passing(),
            StopRequest::Kill => error.is_passing() || matches!(error.kind(), Kind::Cancelled | Kind::State),
        };
        if interrupted || error.kind() == Kind::Cancelled {
            NodeAttempt::Interrupted
        } else {
            NodeAttempt::Failed(error)
        }
    }

    /// Finishes a library whose compiler was started.
    pub(super) fn finish_started(&self, id: NodeId, pending: Pending) -> NodeAttempt {
        let clock = self.clock(id);
        let _timed = time_thread(clock);
        let spec = self.plan.spec(id).expect("a node of the schedule is in the plan");
        let Work::Module(module) = &spec.work else {
            return NodeAttempt::Failed(Error::new(Kind::Internal, "a task was started as a library"));
        };
        let wanted_again = Cell::new(false);
        let finished = catch("finishing a library", || {
            let mut callbacks = match &module.source {
                // Its source was given at the start. If it is wanted again, the host generates it again.
                ModuleSource::Generate(_) => Callbacks {
                    generate: Some(Box::new(|_, source| {
                        wanted_again.set(true);
                        source.deferred = true;
                        Err(1)
                    })),
                    ..Callbacks::default()
                },
                _ => ready_source(self.plan, &self.store, id, module)?.into_callbacks(),
            };
            self.complete(id, pending, &mut callbacks)
        });
        if wanted_again.get() {
            return NodeAttempt::Parked(Vec::new());
        }
        finished.unwrap_or_else(|error| self.failed(error))
    }

    fn complete(&self, id: NodeId, pending: Pending, callbacks: &mut Callbacks<'_>) -> Result<NodeAttempt> {
        callbacks.poll = Some(self.interrupt(&self.clock(id)));
        let was_known = pending.is_known();
        let library = self.session.finish(pending, callbacks)?;
        let size = library.path().metadata().map_or(0, |facts| facts.len());
        let built = !was_known && library.origin() == Origin::Built;
        let origin = if built { ResultOrigin::Built } else { ResultOrigin::Hit };
        self.plan.nodes().entries[id].status.signature = Some(library.signature().to_owned());
        let (signature, digest) = (library.signature().to_owned(), String::new());
        Ok(NodeAttempt::Done(NodeResult { signature, digest, size, origin }))
    }

    fn module(&self, id: NodeId, spec: &NodeSpec, module: &ModuleWork, is_host: bool) -> Result<NodeAttempt> {
        let parked = Mutex::new(None);
        let params = module.params.for_building(self.own_root.as_deref());
        let (params, mut callbacks) = match &module.source {
            ModuleSource::Generate(generate) => (
                params,
                Callbacks { generate: Some(self.generator(id, generate, &parked)), ..Callbacks::default() },
            ),
            _ => {
                let ready = ready_source(self.plan, &self.store, id, module)?;
                (module.call_params(&params, &ready), ready.into_callbacks())
            }
        };
        callbacks.poll = Some(self.interrupt(&self.clock(id)));
        let request = Request { name: &module.name, params: &params };
        let pending = self.session.start(Ok(request), &mut callbacks)?;
        if let Some(parked) = lock(&parked).take() {
            return Ok(NodeAttempt::Parked(parked));
        }
        if pending.waits_for_program() && self.may_wait_for_program(id, &params) {
            return Ok(NodeAttempt::Elsewhere);
        }
        if is_host && !pending.is_known() {
            return Ok(NodeAttempt::Started(pending));
        }
        log::debug!("finishing {}", spec.label);
        let finished = self.complete(id, pending, &mut callbacks);
        match lock(&parked).take() {
            Some(parked) => Ok(NodeAttempt::Parked(parked)),
            None => finished,
        }
    }

    /// Returns true while another program may take its time with a library.
    fn may_wait_for_program(&self, id: NodeId, params: &Resolved) -> bool {
        let state = self.lock();
        state.waits.get(&id).is_none_or(|since| since.elapsed() < params.build.lease_timeout)
    }

    /// Wraps the callback of a node as the generate callback of a call. `parked` gets the nodes that the callback
    /// waits for.
    fn generator<'g>(
        &'g self,
        id: NodeId,
        generate: &'g Arc<GenerateNode>,
        parked: &'g Mutex<Option<Vec<NodeId>>>,
    ) -> Generator<'g> {
        Box::new(move |request: GenerateRequest<'_>, source: &mut Source| {
            self.plan.nodes().entries[id].status.signature = Some(request.signature.to_owned());
            let kept = self.lock().sources.remove(&id);
            if let Some(kept) = kept {
                *source = kept;
                source.dependencies.extend(linked(self.plan, id));
                return Ok(());
            }
            let first = self.plan.len();
            let call = NodeCall {
                plan: self.plan,
                node: id,
                signature: request.signature,
                params: request.generator,
                added: Mutex::default(),
            };
            let guard = self.plan.define_for(id);
            let result = generate(&call, source);
            drop(guard);
            if result.is_err() {
                self.plan.take_back(id, first);
                return result;
            }
            let added = self.add_needs(id, call);
            if !added.is_empty() {
                self.lock().sources.insert(id, std::mem::take(source));
                source.deferred = true;
                *lock(parked) = Some(added);
                return Err(1);
            }
            source.dependencies.extend(linked(self.plan, id));
            Ok(())
        })
    }

    /// Adds the needs that a callback has asked for. Returns those that are not done.
    fn add_needs(&self, id: NodeId, call: NodeCall<'_>) -> Vec<NodeId> {
        let mut added = call.added.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        added.dedup();
        let mut nodes = self.plan.nodes();
        let count = nodes.entries.len();
        added.retain(|needed| *needed < count && *needed != id);
        for needed in &added {
            nodes.entries[id].need(*needed, crate::plan::Edge::Use);
        }
        // The edges may also have been added directly.
        let open = |needed: &NodeId| nodes.entries[*needed].status.state != State::Done;
        nodes.entries[id].predecessors().filter(open).collect()
    }

    /// Returns true for a callback that is not known to take long: two programs that run it at once lose less than a
    /// lease takes.
    fn is_quick(&self, spec: &NodeSpec, task: &TaskWork) -> bool {
        const LONG: f64 = 0.1;
        let is_callback = matches!(task.action, TaskAction::Callback(_));
        is_callback && self.history.seconds(&spec.label, &task.name, 0.0) < LONG
    }

    fn task(&self, id: NodeId, spec: &NodeSpec, task: &TaskWork, clock: &PhaseClock) -> Result<NodeAttempt> {
        let label = spec.label.as_str();
        let digests = task.inputs.iter().map(|(_, path)| self.input_digest(label, path));
        let digests: Vec<String> = digests.collect::<Result<_>>()?;
        let needs = need_digests(self.plan, id);
        let signature = task_signature(task, &digests, &needs);
        self.plan.nodes().entries[id].status.signature = Some(signature.clone());
        if !self.is_forced(&signature)
            && let Some(found) = self.store.read(&signature)?
        {
            return self.task_done(label, task, &found, ResultOrigin::Hit);
        }
        if self.plan.params().cache.frozen {
            let text = format!(
                "\"{label}\": the cache {} is frozen (cache.frozen), and has no result of it",
                self.cache().layout().root().display()
            );
            return Err(Error::new(Kind::Cache, text));
        }
        let layout = self.cache().layout().clone();
        let lease = if self.plan.params().build.lease_timeout.is_zero() || self.is_quick(spec, task) {
            None
        } else {
            match lease::try_take(self.store.tree()?, &layout.lease(&signature)) {
                Some(Acquire::Acquired(lease)) => Some(lease),
                Some(_) => None,
                None if self.may_wait_for_program(id, self.plan.params()) => {
                    return Ok(NodeAttempt::Elsewhere);
                }
                None => None,
            }
        };
        // Another node of this make may have the same signature.
        let Some(_in_progress) = InProgress::begin(self, &signature) else {
            return Ok(NodeAttempt::Elsewhere);
        };
        // The last holder of the lease may have made it.
        let is_forced = self.is_forced(&signature);
        if !is_forced && let Some(found) = self.store.read(&signature)? {
            return self.task_done(label, task, &found, ResultOrigin::Hit);
        }
        let files = match &task.action {
            TaskAction::Command(command) => {
                let interrupt = Some(self.interrupt(clock));
                let context = ExecContext::new(self.plan.params().build.cores, None)
                    .interrupted_by(interrupt)
                    .timed_by(Some(clock.clone()));
                let slot = self.slot(&context);
                context.check(label)?;
                if self.plan.stop_request() != StopRequest::Go {
                    return Ok(NodeAttempt::Interrupted);
                }
                clock.enter(Phase::Run);
                let results = self.results_of_needs(id)?;
                let digest_of = |path: &Path| self.input_digest(label, path);
                let given = FolderInputs {
                    inputs: &task.inputs,
                    digests: &digests,
                    digest_of: &digest_of,
                    results: &results,
                };
                let runner = self.session.runner().as_ref();
                let files = run_command(label, command, &given, &self.cache(), runner, &context);
                drop(slot);
                files?
            }
            TaskAction::Callback(run) => {
                clock.enter(Phase::Run);
                let first = self.plan.len();
                let added = Mutex::default();
                let call = NodeCall {
                    plan: self.plan,
                    node: id,
                    signature: &signature,
                    params: &task.params,
                    added,
                };
                let guard = self.plan.define_for(id);
                let files = catch("running the callback of a task", || run(&call));
                drop(guard);
                if files.is_err() {
                    self.plan.take_back(id, first);
                }
                let files = files.map_err(|error| error.context(&format!("\"{label}\"")))?;
                let added = self.add_needs(id, call);
                if !added.is_empty() {
                    return Ok(NodeAttempt::Parked(added));
                }
                files
            }
        };
        clock.enter(Phase::Publish);
        // Nodes that its callback has added may have changed what it needs.
        let signature = if need_digests(self.plan, id) == needs {
            signature
        } else {
            task_signature(task, &digests, &need_digests(self.plan, id))
        };
        let made = TaskResult::new(&signature, &task.name, files);
        let made = if is_forced { self.store.replace(made)? } else { self.store.publish(made)? };
        lock(&self.forced).insert(signature);
        drop(lease);
        self.task_done(label, task, &made, ResultOrigin::Built)
    }

    fn task_done(
        &self,
        label: &str,
        task: &TaskWork,
        result: &TaskResult,
        origin: ResultOrigin,
    ) -> Result<NodeAttempt> {
        if let TaskAction::Command(command) = &task.action
            && let Some(directory) = &command.copy_to
        {
            copy_out(label, result, directory)?;
        }
        let record = &result.record;
        let (signature, digest, size) = (record.signature.clone(), record.digest.clone(), record.size);
        Ok(NodeAttempt::Done(NodeResult { signature, digest, size, origin }))
    }

    fn results_of_needs(&self, id: NodeId) -> Result<Vec<TaskResult>> {
        let tasks: Vec<NodeId> = {
            let nodes = self.plan.nodes();
            let needs = nodes.entries[id].needs.iter().copied();
            needs.filter(|needed| nodes.entries[*needed].spec.work.is_task()).collect()
        };
        tasks.into_iter().map(|task| result_of(self.plan, &self.store, task)).collect()
    }

    /// Waits for a slot among the compilers of this host.
    fn slot(&self, context: &ExecContext) -> Option<slots::Slot> {
        let build = &self.plan.params().build;
        let dir = build.slots_dir.as_deref()?;
        context.enter(Phase::WaitForSlot);
        let choices = slots::choices(build.max_compilers, build.cores);
        let patience = Duration::from_secs(1800);
        self.session.runner().slot(&SlotRequest { dir, choices: &choices, patience }, context)
    }
}
