//! `dijitso plan why PLAN [SELECTION]`.

#![forbid(unsafe_code)]

use anstyle::Style;
use clap::Args;
use serde_json::{Value as Json, json};

use dijitso::error::Result;
use dijitso::plan::view::{NodeView, PlanView, State};

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::{Align, Out, Table, count, shortened};
use super::describe::{reason, state_style};
use super::node_json::error_json;
use super::{ChosenNodes, remember};

/// The least width of a reason that is shortened.
const LEAST_REASON: usize = 30;

/// Options of `dijitso plan why`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,
}

impl Arguments {
    /// Writes a line for each node that is failed or blocked.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let (view, mut nodes) = self.nodes.load(context)?;
        nodes.retain(|at| matches!(view.nodes[*at].state, State::Failed | State::Blocked));
        remember(&view, &nodes, context);
        let out = &mut context.out;
        if out.json {
            let list: Vec<Json> = nodes.iter().map(|at| document(&view, *at)).collect();
            out.document(&Json::Array(list));
        } else {
            write(&view, &nodes, out);
        }
        Ok(Status::Done)
    }
}

fn write(view: &PlanView, nodes: &[usize], out: &mut Out) {
    let mut table = Table::new(&[("LABEL", Align::Left), ("STATE", Align::Left), ("REASON", Align::Left)]);
    for at in nodes {
        let node = &view.nodes[*at];
        let state = (node.state.word().to_owned(), state_style(node.state));
        let line = line(view, *at, usize::MAX);
        table.styled_row(vec![(node.label.clone(), Style::new()), state, (line, Style::new())]);
    }
    if let Some(width) = out.columns() {
        table.fit_last(width, LEAST_REASON, |row, room| line(view, nodes[row], room));
    }
    table.write_rows(out);
}

/// Returns the error of a node, or the label that blocks it, and how many lines of log there are; in at most
/// this many columns.
fn line(view: &PlanView, at: usize, room: usize) -> String {
    let reason = reason(view, at).unwrap_or_default();
    let more = match log_lines(&view.nodes[at]) {
        0 => String::new(),
        lines => format!(" [+{}]", count(lines, "line", "lines")),
    };
    format!("{}{more}", shortened(&reason, room.saturating_sub(more.len()), false))
}

/// Returns the number of lines that the log of the error of a node has.
fn log_lines(node: &NodeView) -> usize {
    node.error.as_ref().map_or(0, |error| error.log().lines().count())
}

fn document(view: &PlanView, at: usize) -> Json {
    let node = &view.nodes[at];
    json!({
        "label": node.label,
        "state": node.state.word(),
        "reason": reason(view, at),
        "blocked_by": node.blocked_by.map(|failed| view.nodes[failed].label.as_str()),
        "error": node.error.as_ref().map(error_json),
    })
}
