//! Nodes as JSON.

#![forbid(unsafe_code)]

use serde_json::{Value as Json, json};

use dijitso::error::Error;
use dijitso::plan::view::{NodeKind, PlanView, ResultOrigin};

use super::describe::{idle_time, reason, state_word};

/// Returns the word for a kind of node.
pub(super) fn kind_word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Module => "module",
        NodeKind::Task => "task",
    }
}

/// Returns the word for an origin.
pub(super) fn origin_word(origin: ResultOrigin) -> &'static str {
    match origin {
        ResultOrigin::Hit => "hit",
        ResultOrigin::Built => "built",
    }
}

/// Returns the labels of nodes.
pub(super) fn labels(view: &PlanView, nodes: &[usize]) -> Json {
    nodes.iter().map(|at| view.nodes[*at].label.as_str()).collect()
}

/// Returns an error as JSON.
pub(super) fn error_json(error: &Error) -> Json {
    json!({
        "code": error.kind().code(),
        "message": error.message(),
        "log": error.log(),
        "path": Some(error.path()).filter(|path| !path.is_empty()),
        "rank": Some(error.rank()).filter(|rank| *rank >= 0),
    })
}

/// Returns a node as JSON.
pub(super) fn node_json(view: &PlanView, at: usize) -> Json {
    let node = &view.nodes[at];
    let last = node.last.as_ref();
    let label = |at: usize| view.nodes[at].label.as_str();
    json!({
        "label": node.label,
        "kind": kind_word(node.kind),
        "name": node.name,
        "state": state_word(view, at),
        "stale": node.stale,
        "origin": node.origin.map(origin_word),
        "signature": node.signature,
        "bytes": node.size,
        "seconds": last.map(|last| last.seconds()),
        "age_seconds": idle_time(node).map(|time| time.as_secs()),
        "host": last.map(|last| &last.host),
        "rank": last.map(|last| last.rank),
        "needs": labels(view, &node.needs),
        "after": labels(view, &node.order_only),
        "added_by": node.definer.map(label),
        "blocked_by": node.blocked_by.map(label),
        "reason": reason(view, at),
    })
}
