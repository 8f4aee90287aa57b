//! Says what a make would do, and why.

#![forbid(unsafe_code)]

use serde_json::json;

use dijitso::escape;
use dijitso::plan::view::{NodeView, PlanView, State};
use dijitso::plan::{NodeId, Plan};

use crate::context::CommandContext;

/// Writes the nodes that a make of the targets would make: label, and why.
pub(super) fn explain(plan: &Plan, targets: &[NodeId], context: &mut CommandContext) {
    let view = plan.view();
    let wanted = wanted(&view, targets);
    let is_made = |at: &usize| wanted[*at] && view.nodes[*at].state != State::Done;
    let made: Vec<usize> = (0..view.nodes.len()).filter(is_made).collect();
    if context.out.json {
        let rows =
            made.iter().map(|at| json!({ "label": view.nodes[*at].label, "reason": reason(&view, *at) }));
        let rows: Vec<_> = rows.collect();
        context.out.document(&json!({ "make": rows }));
        return;
    }
    for at in &made {
        let label = escape::paragraph(&view.nodes[*at].label);
        context.out.line(format_args!("{label}  {}", reason(&view, *at)));
    }
    let total = wanted.iter().filter(|wanted| **wanted).count();
    context.note(&format_args!("{} of {total} nodes are to be made", made.len()));
}

/// Returns for each node whether it is a target or made before one.
fn wanted(view: &PlanView, targets: &[NodeId]) -> Vec<bool> {
    let mut wanted = vec![targets.is_empty(); view.nodes.len()];
    let mut open = targets.to_vec();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut wanted[at], true) {
            open.extend(view.nodes[at].predecessors());
        }
    }
    wanted
}

/// Says why a node is made.
fn reason(view: &PlanView, at: usize) -> String {
    let node = &view.nodes[at];
    let waits: Vec<&str> = node
        .predecessors()
        .map(|needed| &view.nodes[needed])
        .filter(|needed| needed.state != State::Done)
        .map(|needed| needed.label.as_str())
        .collect();
    match (node.state, waits.first()) {
        (State::Failed, _) => format!("it has failed: {}", first_line(node)),
        (_, Some(first)) if waits.len() == 1 => format!("\"{first}\", which it needs, is made before"),
        (_, Some(first)) => {
            format!("\"{first}\" and {} more that it needs are made before", waits.len() - 1)
        }
        _ if node.stale => "something that it depends on has changed, or its result was removed".to_owned(),
        _ => "it is not in the cache".to_owned(),
    }
}

fn first_line(node: &NodeView) -> &str {
    node.error.as_ref().map_or("", |error| error.message().lines().next().unwrap_or_default())
}
