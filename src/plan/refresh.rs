//! Finds the state of each node of a plan from the cache, and makes nothing.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::cache::results::ResultStore;
use crate::cache::{Cache, Lookup, Verify};
use crate::error::{Kind, Result};
use crate::jit::{Request, Session};

use super::graph::Plan;
use super::journal::{History, read_history};
use super::node::{ModuleWork, NodeId, NodeSpec, NodeStatus, Work};
use super::source::{need_digests, ready_source};
use super::task::{input_digest, task_signature};
use super::view::{NodeKind, NodeView, PlanView, State};

/// The seconds that a node is expected to take if nothing is known.
const DEFAULT_SECONDS: f64 = 1.0;

/// The result that a node would have.
enum Expected {
    /// The signature is known, and its result is there: digest and size.
    Present(String, String, u64),
    /// The signature is known, and nothing is there.
    Absent(String),
    /// Something that it needs has to be made first.
    Unknown,
}

impl Plan {
    /// Finds the state of each node: from its signature and the cache, and from the journal.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a cycle.
    pub fn refresh(&self, session: &Session) -> Result<()> {
        let cache = self.cache();
        let (store, history) = (ResultStore::open(&cache), read_history(&cache, self.key()));
        let order = self.nodes().order()?;
        for id in order {
            let (spec, needs, predecessors) = {
                let nodes = self.nodes();
                let entry = &nodes.entries[id];
                if entry.taken_back || entry.status.state == State::Running {
                    continue;
                }
                (Arc::clone(&entry.spec), entry.needs.clone(), entry.predecessors().collect::<Vec<_>>())
            };
            let ready = needs.iter().all(|needed| self.state(*needed) == Some(State::Done));
            let expected =
                if ready { self.expected(session, &store, &cache, &spec, id) } else { Expected::Unknown };
            let status = self.status_of(&history, &spec, &predecessors, expected);
            self.nodes().entries[id].status = status;
        }
        Ok(())
    }

    fn status_of(
        &self,
        history: &History,
        spec: &NodeSpec,
        predecessors: &[NodeId],
        expected: Expected,
    ) -> NodeStatus {
        let before = history.nodes.get(&spec.label);
        let mut status =
            NodeStatus { last: before.map(|node| node.execution.clone()), ..NodeStatus::default() };
        let (signature, done) = match expected {
            Expected::Present(signature, digest, size) => {
                (status.digest, status.size) = (digest, Some(size));
                (Some(signature), true)
            }
            Expected::Absent(signature) => (Some(signature), false),
            Expected::Unknown => (None, false),
        };
        let same = |node: &&super::journal::NodeEnd| {
            signature.is_none() || node.signature.is_none() || node.signature == signature
        };
        let failed = before.filter(same).and_then(|node| node.error.clone());
        let bad = |needed: &&NodeId| matches!(self.state(**needed), Some(State::Failed | State::Blocked));
        if done {
            status.state = State::Done;
        } else if let Some(cause) = predecessors.iter().find(bad) {
            status.state = State::Blocked;
            let above = self.status(*cause).and_then(|status| status.blocked_by);
            status.blocked_by = Some(above.unwrap_or(*cause));
        } else if failed.as_ref().is_some_and(|error| error.kind() == Kind::Cancelled) {
            status.interrupted = true;
        } else if let Some(error) = failed {
            (status.state, status.error) = (State::Failed, Some(error));
        } else {
            status.stale = before.is_some_and(|node| node.error.is_none());
        }
        status.signature = signature;
        status
    }

    fn expected(
        &self,
        session: &Session,
        store: &ResultStore,
        cache: &Cache,
        spec: &NodeSpec,
        id: NodeId,
    ) -> Expected {
        let signature = match &spec.work {
            Work::Remote(_) => return Expected::Unknown,
            Work::Task(task) => {
                let inputs: Result<Vec<String>> =
                    task.inputs.iter().map(|(_, path)| input_digest(&spec.label, path)).collect();
                let Ok(inputs) = inputs else { return Expected::Unknown };
                let signature = task_signature(task, &inputs, &need_digests(self, id));
                return match store.peek(&signature) {
                    Some(record) => Expected::Present(signature, record.digest, record.size),
                    None => Expected::Absent(signature),
                };
            }
            Work::Module(module) => self.module_signature(session, store, module, id),
        };
        let Some(signature) = signature else { return Expected::Unknown };
        match cache.lookup(&signature, Verify::ForLoad) {
            Ok(Lookup::Hit(_)) => {
                let size = cache.layout().lib(&signature).metadata().map_or(0, |facts| facts.len());
                Expected::Present(signature, String::new(), size)
            }
            _ => Expected::Absent(signature),
        }
    }

    /// Returns the signature of a library whose needs are done.
    fn module_signature(
        &self,
        session: &Session,
        store: &ResultStore,
        module: &ModuleWork,
        id: NodeId,
    ) -> Option<String> {
        let keyed;
        let params = if module.is_keyed_by_text() {
            let ready = ready_source(self, store, id, module).ok()?;
            keyed = module.params.with_text(ready.digest());
            &keyed
        } else {
            &*module.params
        };
        session.signature(Request { name: &module.name, params }).ok()
    }

    /// Returns the plan as people see it: with the states of the last [`Plan::refresh`] or make, and what the
    /// journal has of earlier ones.
    #[must_use]
    pub fn view(&self) -> PlanView {
        let history = read_history(&self.cache(), self.key());
        let nodes = self.nodes();
        // Nodes that were taken back are left out, and the others move up.
        let mut places = Vec::with_capacity(nodes.entries.len());
        let mut next = 0;
        for entry in &nodes.entries {
            places.push((!entry.taken_back).then_some(next));
            next += usize::from(!entry.taken_back);
        }
        let place = |id: &NodeId| places[*id];
        let shown = nodes.entries.iter().filter(|entry| !entry.taken_back).map(|entry| {
            let (spec, status) = (&entry.spec, &entry.status);
            let before = history.nodes.get(&spec.label).map(|node| node.execution.clone());
            NodeView {
                label: spec.label.clone(),
                kind: if spec.work.is_task() { NodeKind::Task } else { NodeKind::Module },
                name: spec.work.name().to_owned(),
                signature: status.signature.clone(),
                state: status.state,
                stale: status.stale,
                interrupted: status.interrupted,
                origin: status.origin,
                needs: entry.needs.iter().filter_map(place).collect(),
                order_only: entry.after.iter().filter_map(place).collect(),
                definer: spec.definer.as_ref().and_then(place),
                error: status.error.clone(),
                blocked_by: status.blocked_by.as_ref().and_then(place),
                last: status.last.clone().or(before),
                estimate: history.seconds(&spec.label, spec.work.name(), DEFAULT_SECONDS),
                size: status.size,
            }
        });
        PlanView { name: self.name().to_owned(), nodes: shown.collect() }
    }
}
