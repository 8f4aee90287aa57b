//! The knowledge that all ranks share about a make. It follows from their meetings alone, so it is the same on all of them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{Error, Kind};
use crate::plan::execution::Execution;
use crate::plan::graph::Plan;
use crate::plan::node::{NodeId, NodeStatus, RemoteWork, Work};
use crate::plan::schedule::{Schedule, Step};
use crate::plan::view::{ResultOrigin, State};

use super::news::{News, NewsItem};

/// The knowledge that all ranks share about a make.
pub(super) struct Agreed {
    /// The nodes that all ranks have had at the begin.
    pub(super) schedule: Schedule,
    ids: HashMap<String, NodeId>,
    labels: Vec<String>,
    names: Vec<String>,
    /// The ranks of the nodes that run.
    runners: BTreeMap<NodeId, usize>,
    statuses: Vec<AgreedStatus>,
    /// Nodes that callbacks have added, by label.
    added: BTreeMap<String, AddedNode>,
    reserved: HashSet<NodeId>,
    /// The number of ranks that have to make a node, and how many have.
    makers: usize,
    made: HashMap<String, usize>,
}

/// A node that the callback of a rank has added.
struct AddedNode {
    is_task: bool,
    name: String,
    status: AgreedStatus,
}

/// The end of a node, with labels in place of numbers.
#[derive(Clone, Default)]
struct AgreedStatus {
    state: Option<State>,
    signature: Option<String>,
    digest: String,
    size: Option<u64>,
    origin: Option<ResultOrigin>,
    error: Option<Error>,
    blocked_by: Option<String>,
    execution: Option<Execution>,
}

impl Agreed {
    /// `makers` is the number of ranks that have to make each node.
    pub(super) fn new(schedule: &Schedule, plan: &Plan, makers: usize) -> Self {
        let nodes = plan.nodes();
        let count = schedule.len();
        let labels: Vec<String> =
            nodes.entries[..count].iter().map(|entry| entry.spec.label.clone()).collect();
        let names = nodes.entries[..count].iter().map(|entry| entry.spec.work.name().to_owned()).collect();
        Self {
            schedule: schedule.clone(),
            ids: labels.iter().cloned().zip(0..).collect(),
            labels,
            names,
            runners: BTreeMap::new(),
            statuses: vec![AgreedStatus::default(); count],
            added: BTreeMap::new(),
            reserved: HashSet::new(),
            makers,
            made: HashMap::new(),
        }
    }

    /// Returns the name of the node of a label.
    pub(super) fn name(&self, label: &str) -> &str {
        match self.ids.get(label) {
            Some(id) => &self.names[*id],
            None => self.added.get(label).map_or("", |added| &added.name),
        }
    }

    /// Returns the number of nodes that are not settled.
    pub(super) fn open(&self) -> usize {
        let open = self.added.values().filter(|added| added.status.state.is_none()).count();
        self.schedule.open() + open
    }

    pub(super) fn has_failed(&self) -> bool {
        let added = self.added.values().map(|added| &added.status);
        self.statuses.iter().chain(added).any(|status| status.state == Some(State::Failed))
    }

    /// Returns the expected seconds of what a rank runs.
    pub(super) fn load_of(&self, rank: usize) -> f64 {
        let own = self.runners.iter().filter(|(_, runner)| **runner == rank);
        own.map(|(id, _)| self.schedule.seconds(*id)).sum()
    }

    /// Returns true if a rank may begin a node before the next meeting.
    pub(super) fn is_reserved(&self, id: NodeId) -> bool {
        self.reserved.contains(&id)
    }

    /// Begins a meeting: what was reserved before is not reserved any more.
    pub(super) fn begin_meeting(&mut self) {
        self.reserved.clear();
    }

    /// Takes in what `rank` has told.
    pub(super) fn merge(&mut self, item: &NewsItem, rank: usize) {
        let id = self.ids.get(&item.label).copied();
        match (&item.what, id) {
            (News::Added { is_task, name }, None) => {
                let (is_task, name, status) = (*is_task, name.clone(), AgreedStatus::default());
                self.added.entry(item.label.clone()).or_insert(AddedNode { is_task, name, status });
            }
            (News::TakenBack, None) => drop(self.added.remove(&item.label)),
            (News::Reserved, Some(id)) => drop(self.reserved.insert(id)),
            (News::Started, Some(id)) => {
                self.schedule.begin(id);
                if self.schedule.step(id) == Step::Running {
                    self.runners.insert(id, rank);
                }
            }
            (News::Done { signature, digest, size, built, execution }, _) => {
                let made = self.made.entry(item.label.clone()).or_default();
                *made += 1;
                if *made < self.makers {
                    return;
                }
                let origin = if *built { ResultOrigin::Built } else { ResultOrigin::Hit };
                let status = AgreedStatus {
                    state: Some(State::Done),
                    signature: Some(signature.clone()),
                    digest: digest.clone(),
                    size: Some(*size),
                    origin: Some(origin),
                    execution: execution.clone(),
                    ..AgreedStatus::default()
                };
                self.settle(&item.label, status);
                id.into_iter().for_each(|id| self.schedule.done(id));
            }
            (News::Failed { error, execution }, _) => {
                let (state, error, execution) = (Some(State::Failed), Some(error.clone()), execution.clone());
                self.settle(&item.label, AgreedStatus { state, error, execution, ..AgreedStatus::default() });
                self.block_dependants(id, &item.label);
            }
            (News::Blocked { cause, error }, _) => {
                let (state, error) = (Some(State::Blocked), Some(error.clone()));
                let blocked_by = Some(cause.clone());
                self.settle(
                    &item.label,
                    AgreedStatus { state, error, blocked_by, ..AgreedStatus::default() },
                );
                self.block_dependants(id, cause);
            }
            _ => {}
        }
    }

    /// Settles a node, unless it is settled. What the first rank has told stands.
    fn settle(&mut self, label: &str, status: AgreedStatus) {
        if let Some(id) = self.ids.get(label) {
            self.runners.remove(id);
        }
        let place = match self.ids.get(label) {
            Some(id) => Some(&mut self.statuses[*id]),
            None => self.added.get_mut(label).map(|added| &mut added.status),
        };
        if let Some(place) = place.filter(|place| place.state.is_none()) {
            *place = status;
        }
    }

    /// Blocks what needs a node that has failed, or that is blocked by the node `cause`.
    fn block_dependants(&mut self, id: Option<NodeId>, cause: &str) {
        let Some(id) = id else { return };
        let failed = match self.ids.get(cause) {
            Some(cause) => self.statuses[*cause].error.clone(),
            None => self.added.get(cause).and_then(|added| added.status.error.clone()),
        };
        let kind = failed.as_ref().map_or(Kind::Generate, Error::kind);
        let why = failed.as_ref().map_or("", Error::message);
        let error = Error::new(kind, format!("\"{cause}\", which it needs, has failed: {why}"));
        for blocked in self.schedule.failed(id) {
            let (state, blocked_by) = (Some(State::Blocked), Some(cause.to_owned()));
            let status =
                AgreedStatus { state, blocked_by, error: Some(error.clone()), ..AgreedStatus::default() };
            self.settle(&self.labels[blocked].clone(), status);
        }
    }

    /// Fails everything that is open, because no rank can go on.
    pub(super) fn fail_rest(&mut self) {
        let error =
            Error::new(Kind::Internal, "no rank can make this node: bug in dijitso, please report it");
        let open: Vec<String> = (0..self.labels.len())
            .filter(|id| matches!(self.schedule.step(*id), Step::Waiting(_) | Step::Ready | Step::Running))
            .map(|id| self.labels[id].clone())
            .chain(
                self.added
                    .iter()
                    .filter(|(_, added)| added.status.state.is_none())
                    .map(|(label, _)| label.clone()),
            )
            .collect();
        for label in open {
            let what = News::Failed { error: error.clone(), execution: None };
            self.merge(&NewsItem { label, what }, 0);
        }
    }

    /// Gives the nodes of a plan what the ranks have agreed on. Adds those that other ranks have added.
    pub(super) fn write_to(&self, plan: &Plan) {
        for (label, added) in &self.added {
            if plan.find(label).is_none() {
                let work = RemoteWork { is_task: added.is_task, name: added.name.clone() };
                let _ = plan.add(label, Work::Remote(work), true);
            }
        }
        let all = self.labels.iter().zip(&self.statuses);
        for (label, status) in all.chain(self.added.iter().map(|(label, added)| (label, &added.status))) {
            let blocked_by = status.blocked_by.as_ref().and_then(|label| plan.find(label));
            let Some(id) = plan.find(label) else { continue };
            let entry = &mut plan.nodes().entries[id];
            entry.status = NodeStatus {
                state: status.state.unwrap_or(State::Todo),
                stale: false,
                interrupted: false,
                origin: status.origin,
                signature: status.signature.clone(),
                digest: status.digest.clone(),
                size: status.size,
                error: status.error.clone(),
                blocked_by,
                last: status.execution.clone(),
            };
        }
    }
}
