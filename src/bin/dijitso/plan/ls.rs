//! `dijitso plan ls PLAN [SELECTION]`.

#![forbid(unsafe_code)]

use anstyle::Style;
use clap::Args;
use serde_json::Value as Json;

use dijitso::error::Result;
use dijitso::plan::analysis::{estimates, seconds_to_end};
use dijitso::plan::view::{PlanView, State};

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::{Align, Out, Table, shortened, size};
use super::ChosenNodes;
use super::describe::{coarse, idle_time, marked_state, reason, span, state_style};
use super::node_json::{kind_word, node_json};

/// The least width of a label that is shortened.
const LEAST_LABEL: usize = 20;

/// Options of `dijitso plan ls`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,

    /// Say below each node why it is failed, blocked, stale or not done
    #[arg(long)]
    reason: bool,

    /// Show also the seconds from the begin of each node to the end of the plan, by which the next one is
    /// chosen; the largest first
    #[arg(long)]
    priority: bool,

    /// Show also kind, name, host, rank, memory and signature, and whole labels on a terminal
    #[arg(long)]
    all: bool,
}

impl Arguments {
    /// Lists the nodes.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let (view, mut nodes) = self.nodes.load(context)?;
        let priorities = if self.priority { priorities(&view) } else { Vec::new() };
        if self.priority {
            nodes.sort_by(|a, b| priorities[*b].total_cmp(&priorities[*a]));
        }
        let out = &mut context.out;
        if out.json {
            let json = |at: &usize| {
                let mut json = node_json(&view, *at);
                if let Some(seconds) = priorities.get(*at) {
                    json["priority_seconds"] = (*seconds).into();
                }
                json
            };
            let list: Vec<Json> = nodes.iter().map(json).collect();
            out.document(&Json::Array(list));
        } else {
            self.write(&view, &nodes, &priorities, out);
        }
        Ok(Status::Done)
    }

    /// Writes the table. No priorities are no column.
    fn write(&self, view: &PlanView, nodes: &[usize], priorities: &[f64], out: &mut Out) {
        if nodes.is_empty() {
            return;
        }
        let mut columns = vec![
            ("STATE", Align::Left),
            ("SIZE", Align::Right),
            ("TIME", Align::Right),
            ("AGE", Align::Right),
        ];
        columns.extend(self.priority.then_some(("PRIORITY", Align::Right)));
        if self.all {
            let more = ["KIND", "NAME", "HOST", "RANK", "MEMORY", "SIGNATURE"];
            columns.extend(more.map(|name| {
                (name, if ["RANK", "MEMORY"].contains(&name) { Align::Right } else { Align::Left })
            }));
        }
        columns.push(("LABEL", Align::Left));
        let mut table = Table::new(&columns);
        for at in nodes {
            table.styled_row(self.cells(view, *at, priorities.get(*at).copied()));
        }
        let width = out.columns().filter(|_| !self.all);
        if let Some(width) = width {
            table.fit_last(width, LEAST_LABEL, |row, room| {
                shortened(&view.nodes[nodes[row]].label, room, true).into_owned()
            });
        }
        if !self.reason {
            table.write(out);
            return;
        }
        // The reasons stand where the labels do not: they are longer than a column can be.
        let reasons = nodes.iter().map(|at| {
            let reason = reason(view, *at)?;
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(INDENT.len()));
            Some(format!("{INDENT}{}", shortened(&reason, room, false)))
        });
        table.write_with(reasons, out);
    }

    fn cells(&self, view: &PlanView, at: usize, priority: Option<f64>) -> Vec<(String, Style)> {
        let node = &view.nodes[at];
        let last = node.last.as_ref();
        let unknown = || "-".to_owned();
        let mut cells = vec![
            node.size.map_or_else(unknown, size),
            last.map_or_else(unknown, |last| span(last.seconds())),
            coarse(idle_time(node)),
        ];
        cells.extend(priority.map(span));
        if self.all {
            cells.extend([
                kind_word(node.kind).to_owned(),
                node.name.clone(),
                last.map_or_else(unknown, |last| last.host.clone()),
                last.map_or_else(unknown, |last| last.rank.to_string()),
                last.filter(|last| last.memory > 0).map_or_else(unknown, |last| size(last.memory)),
                node.signature.clone().unwrap_or_else(unknown),
            ]);
        }
        cells.push(node.label.clone());
        let state = (marked_state(view, at), state_style(node.state));
        std::iter::once(state).chain(cells.into_iter().map(|cell| (cell, Style::new()))).collect()
    }
}

/// Returns the seconds from the begin of each node to the end of the plan, if there is a worker for each. What is
/// done takes none.
fn priorities(view: &PlanView) -> Vec<f64> {
    let mut seconds = estimates(view);
    for (seconds, node) in seconds.iter_mut().zip(&view.nodes) {
        if node.state == State::Done {
            *seconds = 0.0;
        }
    }
    seconds_to_end(view, &seconds)
}

/// The blanks before a reason.
const INDENT: &str = "          ";
