//! A plan: its nodes and edges. Any thread may add to it, also a callback of one of its nodes.

#![forbid(unsafe_code)]

pub mod node;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::cache::Cache;
use crate::codec::{Digest32, Writer};
use crate::error::{Error, Kind, Result};
use crate::params::resolved::Resolved;
use crate::process::interrupt::Interrupt;
use crate::signature::check_name;
use crate::sync::lock;

use super::view::State;
use node::{NodeId, NodeSpec, NodeStatus, Work};

/// A directed acyclic graph of modules and tasks.
pub struct Plan {
    name: String,
    /// The key of its journal.
    key: String,
    params: Arc<Resolved>,
    nodes: Mutex<PlanNodes>,
    stop: Arc<AtomicU8>,
    /// The cache directory of this process, if the last make gave each rank its own.
    own_root: Mutex<Option<PathBuf>>,
}

/// The nodes of a plan.
#[derive(Default)]
pub(super) struct PlanNodes {
    pub(super) entries: Vec<NodeEntry>,
    labels: HashMap<String, NodeId>,
    /// For each name that labels are made from, a number up to which all are taken.
    taken_numbers: HashMap<String, usize>,
}

/// A node with its edges.
pub(super) struct NodeEntry {
    pub(super) spec: Arc<NodeSpec>,
    pub(super) needs: Vec<NodeId>,
    pub(super) after: Vec<NodeId>,
    pub(super) status: NodeStatus,
    /// True if the callback that had added it has failed.
    pub(super) taken_back: bool,
}

/// The kind of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The result is used: a library is linked, files are read.
    Use,
    /// The node is only made later.
    After,
}

/// A request to stop a make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopRequest {
    /// None.
    Go,
    /// Nothing new is started; what runs is finished.
    Finish,
    /// Running commands are killed.
    Kill,
}

thread_local! {
    /// The node whose callback runs on this thread, with the address of its plan; the plan is only compared.
    static DEFINER: Cell<Option<(usize, NodeId)>> = const { Cell::new(None) };
}

/// Calls of [`Plan::add`] on this thread come from the callback of a node, until this is dropped.
pub(super) struct DefinerGuard(Option<(usize, NodeId)>);

impl Drop for DefinerGuard {
    fn drop(&mut self) {
        DEFINER.set(self.0);
    }
}

impl Plan {
    /// Makes an empty plan. `name` names its journal; `params` are the parameters of modules without their own,
    /// and choose the cache.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] if the name is not one of a library.
    pub fn new(name: &str, params: Arc<Resolved>) -> Result<Self> {
        check_name(name)?;
        Ok(Self::with_key(name, name.to_owned(), params))
    }

    /// Makes an empty plan whose journal has another key than its name.
    pub(super) fn with_key(name: &str, key: String, params: Arc<Resolved>) -> Self {
        Self {
            name: name.to_owned(),
            key,
            params,
            nodes: Mutex::default(),
            stop: Arc::default(),
            own_root: Mutex::default(),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key of its journal.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the parameters of modules without their own.
    #[must_use]
    pub fn params(&self) -> &Arc<Resolved> {
        &self.params
    }

    /// Returns the cache of the plan: of its tasks and its journal.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache::with_shared_params(&self.params.cache.cache_dir, &self.params.cache)
    }

    /// Returns the cache directory in which this process has what the last make has made.
    pub(super) fn root(&self) -> PathBuf {
        lock(&self.own_root).clone().unwrap_or_else(|| self.params.cache.cache_dir.clone())
    }

    pub(super) fn set_own_root(&self, root: Option<PathBuf>) {
        *lock(&self.own_root) = root;
    }

    /// Returns the number of nodes that were ever added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes().entries.len()
    }

    /// Returns true if there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a node. If its label is empty, it gets one from its name, within a callback after that of the
    /// node which is running.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] if the label is taken or has control characters, or the name of a library is
    /// not valid.
    pub fn add(&self, label: &str, work: Work, any_thread: bool) -> Result<NodeId> {
        if let Work::Module(module) = &work {
            check_name(&module.name)?;
        }
        if let Some(bad) = label.chars().find(|c| c.is_control()) {
            return Err(Error::new(Kind::InvalidArgument, format!("the label {label:?} has {bad:?} in it")));
        }
        let definer = self.current();
        let nodes = &mut *self.nodes();
        let label = if label.is_empty() { nodes.free_label(&work, definer) } else { label.to_owned() };
        if nodes.labels.contains_key(&label) {
            let text = format!("two nodes of the plan {} have the label \"{label}\"", self.name);
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        let id = nodes.entries.len();
        nodes.labels.insert(label.clone(), id);
        let spec = Arc::new(NodeSpec { label, work, any_thread, definer });
        let (needs, after, status) = (Vec::new(), Vec::new(), NodeStatus::default());
        nodes.entries.push(NodeEntry { spec, needs, after, status, taken_back: false });
        Ok(id)
    }

    /// Adds an edge: `needed` is made before `node`. A second edge between the two adds nothing; if one of them
    /// is a use, both are.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a node that is not there, or that would need itself. Longer cycles are
    /// found when the plan is made.
    pub fn need(&self, node: NodeId, needed: NodeId, edge: Edge) -> Result<()> {
        let nodes = &mut *self.nodes();
        let count = nodes.entries.len();
        if let Some(bad) = [node, needed].into_iter().find(|id| *id >= count) {
            let text = format!("node {bad} is not in the plan {}, which has {count} nodes", self.name);
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        if node == needed {
            let text = format!("\"{}\" needs itself", nodes.entries[node].spec.label);
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        nodes.entries[node].need(needed, edge);
        Ok(())
    }

    /// Returns the node of a label.
    #[must_use]
    pub fn find(&self, label: &str) -> Option<NodeId> {
        self.nodes().labels.get(label).copied()
    }

    /// Returns the node as it was added.
    #[must_use]
    pub fn spec(&self, node: NodeId) -> Option<Arc<NodeSpec>> {
        self.nodes().entries.get(node).map(|entry| Arc::clone(&entry.spec))
    }

    /// Returns what has become of a node.
    #[must_use]
    pub fn status(&self, node: NodeId) -> Option<NodeStatus> {
        self.nodes().entries.get(node).map(|entry| entry.status.clone())
    }

    /// Returns the state of a node.
    #[must_use]
    pub fn state(&self, node: NodeId) -> Option<State> {
        self.nodes().entries.get(node).map(|entry| entry.status.state)
    }

    /// Returns the nodes whose results a node uses.
    #[must_use]
    pub fn needs(&self, node: NodeId) -> Vec<NodeId> {
        self.nodes().entries.get(node).map(|entry| entry.needs.clone()).unwrap_or_default()
    }

    /// Returns the nodes that are only made before a node.
    #[must_use]
    pub fn after(&self, node: NodeId) -> Vec<NodeId> {
        self.nodes().entries.get(node).map(|entry| entry.after.clone()).unwrap_or_default()
    }

    /// Returns true if something that is made before a node is not done.
    #[must_use]
    pub fn waits(&self, node: NodeId) -> bool {
        let nodes = self.nodes();
        let is_open = |needed: NodeId| nodes.entries[needed].status.state != State::Done;
        nodes.entries.get(node).is_some_and(|entry| entry.predecessors().any(is_open))
    }

    /// Returns true if the callback that had added a node has failed, or has not run again: the node is not part
    /// of the plan any more.
    #[must_use]
    pub fn is_taken_back(&self, node: NodeId) -> bool {
        self.nodes().entries.get(node).is_some_and(|entry| entry.taken_back)
    }

    /// Asks the make in progress, and the next one, to stop. Only stores a number, so that a signal handler may
    /// call it. A make that has stopped takes the request back.
    pub fn stop(&self, request: StopRequest) {
        self.stop.fetch_max(request as u8, Ordering::SeqCst);
    }

    /// Returns the request to stop.
    #[must_use]
    pub fn stop_request(&self) -> StopRequest {
        match self.stop.load(Ordering::SeqCst) {
            0 => StopRequest::Go,
            1 => StopRequest::Finish,
            _ => StopRequest::Kill,
        }
    }

    /// Returns an interrupt that ends a call once the plan is asked to kill what runs, or to stop while the call
    /// `waits` to begin.
    pub(super) fn stop_interrupt(&self, waits: impl Fn() -> bool + Send + Sync + 'static) -> Interrupt {
        let stop = Arc::clone(&self.stop);
        Interrupt::new(move || {
            let request = stop.load(Ordering::SeqCst);
            let ends = request >= StopRequest::Kill as u8 || (request != StopRequest::Go as u8 && waits());
            ends.then(|| Error::new(Kind::Cancelled, "the plan was asked to stop"))
        })
    }

    /// Takes a request to stop back.
    pub(super) fn resume(&self) {
        self.stop.store(0, Ordering::SeqCst);
    }

    pub(super) fn nodes(&self) -> std::sync::MutexGuard<'_, PlanNodes> {
        lock(&self.nodes)
    }

    /// Lets nodes that this thread adds have `node` as their definer.
    pub(super) fn define_for(&self, node: NodeId) -> DefinerGuard {
        DefinerGuard(DEFINER.replace(Some((std::ptr::from_ref(self).addr(), node))))
    }

    /// Returns the node whose callback runs on this thread.
    #[must_use]
    pub fn current(&self) -> Option<NodeId> {
        DEFINER.get().filter(|(plan, _)| *plan == std::ptr::from_ref(self).addr()).map(|(_, node)| node)
    }

    /// Returns a digest of the plan: of labels, edges, parameters that are the same on all ranks, and targets.
    pub(super) fn digest(&self, targets: &[NodeId]) -> Digest32 {
        let nodes = self.nodes();
        let mut writer = Writer::new(b"dijitso plan");
        writer.bytes(self.name.as_bytes());
        writer.bytes(&self.params.shared_digest);
        for entry in nodes.entries.iter().filter(|entry| !entry.taken_back) {
            writer.bytes(entry.spec.label.as_bytes());
            writer.bytes(entry.spec.work.name().as_bytes());
            writer.u32(u32::from(entry.spec.work.is_task()));
            if let Work::Module(module) = &entry.spec.work {
                writer.bytes(&module.params.shared_digest);
            }
            for edges in [&entry.needs, &entry.after] {
                writer.u64(edges.len() as u64);
                edges.iter().for_each(|needed| writer.u64(*needed as u64));
            }
        }
        targets.iter().for_each(|target| writer.u64(*target as u64));
        crate::codec::digest(&writer.finish())
    }

    /// Forgets the nodes that callbacks have added in the last make: they add them again, if they run again. So
    /// all ranks begin with the same nodes.
    pub(super) fn forget_added(&self) {
        let nodes = &mut *self.nodes();
        let mut forgotten = vec![false; nodes.entries.len()];
        for (forgotten, entry) in forgotten.iter_mut().zip(&mut nodes.entries) {
            let is_added = entry.spec.definer.is_some() || matches!(entry.spec.work, Work::Remote(_));
            if is_added && !std::mem::replace(&mut entry.taken_back, true) {
                nodes.labels.remove(&entry.spec.label);
                nodes.taken_numbers.clear();
            }
            *forgotten = entry.taken_back;
        }
        for entry in &mut nodes.entries {
            entry.needs.retain(|needed| !forgotten[*needed]);
            entry.after.retain(|needed| !forgotten[*needed]);
        }
    }

    /// Takes back what a callback had added that has failed: nodes from `first` on whose definer is `definer`,
    /// and that no other node needs, unless it has the same definer. Returns them.
    pub(super) fn take_back(&self, definer: NodeId, first: NodeId) -> Vec<NodeId> {
        let nodes = &mut *self.nodes();
        let mut wanted = vec![false; nodes.entries.len()];
        // The callback may have given its own node edges to what it has added.
        let is_other =
            |(id, entry): &(NodeId, &NodeEntry)| *id != definer && entry.spec.definer != Some(definer);
        for (_, entry) in nodes.entries.iter().enumerate().filter(is_other) {
            entry.predecessors().for_each(|needed| wanted[needed] = true);
        }
        let mut taken = Vec::new();
        for (id, entry) in nodes.entries.iter_mut().enumerate().skip(first) {
            if entry.spec.definer == Some(definer) && !wanted[id] && entry.status.state == State::Todo {
                entry.taken_back = true;
                taken.push(id);
                nodes.labels.remove(&entry.spec.label);
                nodes.taken_numbers.clear();
            }
        }
        let own = &mut nodes.entries[definer];
        own.needs.retain(|needed| !taken.contains(needed));
        own.after.retain(|needed| !taken.contains(needed));
        taken
    }
}

impl NodeEntry {
    pub(super) fn need(&mut self, needed: NodeId, edge: Edge) {
        match edge {
            Edge::Use if !self.needs.contains(&needed) => {
                self.after.retain(|other| *other != needed);
                self.needs.push(needed);
            }
            Edge::After if !self.needs.contains(&needed) && !self.after.contains(&needed) => {
                self.after.push(needed);
            }
            _ => {}
        }
    }

    /// Returns the predecessor of this number.
    fn predecessor(&self, number: usize) -> Option<NodeId> {
        let use_count = self.needs.len();
        self.needs.get(number).or_else(|| self.after.get(number.wrapping_sub(use_count))).copied()
    }

    pub(super) fn predecessors(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.needs.iter().chain(&self.after).copied()
    }
}

impl PlanNodes {
    /// Returns a label that is free: the name, perhaps after that of the definer, perhaps with a number.
    fn free_label(&mut self, work: &Work, definer: Option<NodeId>) -> String {
        let name = match definer {
            Some(definer) => format!("{}-{}", self.entries[definer].spec.label, work.name()),
            None => work.name().to_owned(),
        };
        if !self.labels.contains_key(&name) {
            return name;
        }
        let mut number = self.taken_numbers.get(&name).copied().unwrap_or_default();
        let label = loop {
            number += 1;
            let label = format!("{name}-{number}");
            if !self.labels.contains_key(&label) {
                break label;
            }
        };
        self.taken_numbers.insert(name, number);
        label
    }

    /// Returns the targets and everything that is made before them. All nodes, if there are no targets.
    pub(super) fn closure(&self, targets: &[NodeId]) -> Vec<bool> {
        let count = self.entries.len();
        let mut wanted = vec![false; count];
        let mut open: Vec<NodeId> = if targets.is_empty() { (0..count).collect() } else { targets.to_vec() };
        while let Some(id) = open.pop() {
            if id < count && !self.entries[id].taken_back && !std::mem::replace(&mut wanted[id], true) {
                open.extend(self.entries[id].predecessors());
            }
        }
        wanted
    }

    /// Returns the nodes in an order in which each comes after what it needs.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with the chain of labels if there is a cycle.
    pub(super) fn order(&self) -> Result<Vec<NodeId>> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const SETTLED: u8 = 2;
        let mut marks = vec![NEW; self.entries.len()];
        let mut order = Vec::with_capacity(marks.len());
        for root in 0..marks.len() {
            // Not recursive: a chain of thousands would overflow the stack.
            let mut path: Vec<(NodeId, usize)> = vec![(root, 0)];
            while let Some((id, next)) = path.pop() {
                if marks[id] == SETTLED {
                    continue;
                }
                marks[id] = OPEN;
                let Some(needed) = self.entries[id].predecessor(next) else {
                    marks[id] = SETTLED;
                    order.push(id);
                    continue;
                };
                path.push((id, next + 1));
                if marks[needed] == OPEN {
                    let begin = path.iter().position(|(other, _)| *other == needed).unwrap_or_default();
                    let chain = path[begin..].iter().map(|(other, _)| *other).chain([needed]);
                    return Err(self.cycle(chain));
                }
                if marks[needed] == NEW {
                    path.push((needed, 0));
                }
            }
        }
        Ok(order)
    }

    fn cycle(&self, chain: impl Iterator<Item = NodeId>) -> Error {
        let labels: Vec<&str> = chain.map(|id| self.entries[id].spec.label.as_str()).collect();
        let text =
            format!("the plan has a cycle, in which each node needs the next: {}", labels.join(" -> "));
        Error::new(Kind::InvalidArgument, text)
    }
}

/// Returns true if the callback of a node of any plan runs on this thread.
#[must_use]
pub fn is_in_callback() -> bool {
    DEFINER.get().is_some()
}

/// Returns the key of the journal of a plan that is in a file: its name, and a digest of its place.
pub(super) fn key_of_file(path: &Path) -> String {
    let place: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let digest = crate::codec::quick_digest(place.as_os_str().as_encoded_bytes());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let stem: String = stem.chars().map(allowed).take(60).collect();
    format!("{stem}-{}", &crate::codec::hex(&digest)[..12])
}
