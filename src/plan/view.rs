//! A plan as people see it: its nodes with their states, and what their last executions took. It is what the
//! command selects from, lists and draws.

#![forbid(unsafe_code)]

use crate::error::Error;

use super::execution::Execution;

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A library.
    Module,
    /// Bytes or files that a callback or a command makes.
    Task,
}

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not done yet. It is *ready* if everything that it needs is done.
    Todo,
    /// Running in this process.
    Running,
    /// Its result is in the cache.
    Done,
    /// Its last execution has failed.
    Failed,
    /// Something that it needs has failed.
    Blocked,
}

impl State {
    /// Returns the word for the state, in messages and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
        }
    }
}

/// The way in which a node that is done got its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultOrigin {
    /// It was in the cache already.
    Hit,
    /// This make has built it.
    Built,
}

/// A node as people see it. Other nodes are named by their places in [`PlanView::nodes`].
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The label, unique in the plan.
    pub label: String,
    /// Its kind.
    pub kind: NodeKind,
    /// The name of the library; of a task the word by which `f()` selects it.
    pub name: String,
    /// Its signature, if that is known: what it needs may have to be made first.
    pub signature: Option<String>,
    /// Its state.
    pub state: State,
    /// True if it was done once, and something that it depends on has changed since.
    pub stale: bool,
    /// True if it is to do and its last execution was interrupted.
    pub interrupted: bool,
    /// The way in which it got its result in the last make of this process.
    pub origin: Option<ResultOrigin>,
    /// The nodes whose results it uses.
    pub needs: Vec<usize>,
    /// The nodes that are only made before it.
    pub order_only: Vec<usize>,
    /// The node whose callback has added it.
    pub definer: Option<usize>,
    /// The error of its last execution, if it is failed.
    pub error: Option<Error>,
    /// The failed node that blocks it, if it is blocked.
    pub blocked_by: Option<usize>,
    /// Its last execution, of this make or an earlier one.
    pub last: Option<Execution>,
    /// The seconds that it is expected to take, from earlier executions of it and of its likes.
    pub estimate: f64,
    /// The size of its result in bytes, if it is done.
    pub size: Option<u64>,
}

/// A plan as people see it.
#[derive(Clone, Debug)]
pub struct PlanView {
    /// The name of the plan: that of its file, or the one that the program gave it.
    pub name: String,
    /// Its nodes, in the order in which they were added. A node may need one that comes after it.
    pub nodes: Vec<NodeView>,
}

impl NodeView {
    /// Returns everything that is made before this node.
    pub fn predecessors(&self) -> impl Iterator<Item = usize> + '_ {
        self.needs.iter().chain(&self.order_only).copied()
    }
}

impl PlanView {
    /// Returns for each node the nodes that need it, also by order only.
    #[must_use]
    pub fn dependants(&self) -> Vec<Vec<usize>> {
        let mut dependants = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.predecessors().for_each(|needed| dependants[needed].push(index));
        }
        dependants
    }

    /// Returns true if a node is not done and everything that it needs is.
    #[must_use]
    pub fn is_ready(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.state == State::Todo && node.predecessors().all(|needed| self.nodes[needed].state == State::Done)
    }
}
