//! The outcome of an attempt to make a node, and the next thing for a thread to do.

#![forbid(unsafe_code)]

use std::time::Instant;

use crate::error::Error;
use crate::jit::pending::Pending;
use crate::plan::node::NodeId;
use crate::plan::view::ResultOrigin;

/// The outcome of an attempt to make a node.
pub(super) enum NodeAttempt {
    Done(NodeResult),
    Failed(Error),
    /// Its callback waits for nodes that it has added.
    Parked(Vec<NodeId>),
    /// Another program is making it.
    Elsewhere,
    /// Its source is generated, and a compiler is started.
    Started(Pending),
    /// It was interrupted: it is still to be made.
    Interrupted,
}

/// The result of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeResult {
    pub(super) signature: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) origin: ResultOrigin,
}

/// The next thing for a thread to do.
pub(super) enum NextStep {
    Run(NodeId),
    Finish(NodeId, Pending),
    /// Nothing before this time.
    Wait(Option<Instant>),
}
