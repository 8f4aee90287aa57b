//! `dijitso plan details PLAN SELECTION`.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use unicode_width::UnicodeWidthStr;

use dijitso::error::Result;
use dijitso::plan::view::{NodeView, PlanView};

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::{Out, STRONG, count, size};
use super::describe::{coarse, idle_time, marked_state, reason, span, state_style};
use super::node_json::{error_json, kind_word, labels, node_json, origin_word};
use super::{load, selection};

/// The labels of a list that are shown as text.
const SHOWN: usize = 20;

/// Options of `dijitso plan details`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,

    /// Nodes: labels, patterns such as "poisson_*", states, or words such as top; "dijitso plan --help" lists
    /// them
    #[arg(value_name = "SELECTION", required = true)]
    selection: Vec<String>,

    /// The lines of a log that are shown; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 40)]
    max_lines: usize,
}

/// The nodes around each node, which the view has in the other direction only.
struct Neighbours {
    dependants: Vec<Vec<usize>>,
    has_added: Vec<Vec<usize>>,
}

impl Neighbours {
    fn of(view: &PlanView) -> Self {
        let mut has_added = vec![Vec::new(); view.nodes.len()];
        for (at, node) in view.nodes.iter().enumerate() {
            node.definer.into_iter().for_each(|definer| has_added[definer].push(at));
        }
        Self { dependants: view.dependants(), has_added }
    }
}

impl Arguments {
    /// Writes a paragraph for each node.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let (view, nodes) = load(&self.plan, &self.selection, context)?;
        let neighbours = Neighbours::of(&view);
        let out = &mut context.out;
        if out.json {
            let list: Vec<Json> = nodes.iter().map(|at| document(&view, *at, &neighbours)).collect();
            out.document(&Json::Array(list));
            return Ok(Status::Done);
        }
        for (nth, at) in nodes.iter().enumerate() {
            if nth > 0 {
                out.line("");
            }
            self.write(&view, *at, &neighbours, out);
        }
        Ok(Status::Done)
    }

    fn write(&self, view: &PlanView, at: usize, neighbours: &Neighbours, out: &mut Out) {
        let node = &view.nodes[at];
        out.line(out.paint(STRONG, format_args!("{} ({})", node.label, kind_word(node.kind))));
        field("name", &node.name, out);
        let state = out.paint(state_style(node.state), marked_state(view, at));
        out.line(format_args!("    {:<14}{state}", "state"));
        if let Some(reason) = reason(view, at).filter(|_| node.error.is_none()) {
            field("reason", &reason, out);
        }
        if let Some(origin) = node.origin {
            field("last make", origin_word(origin), out);
        }
        field("signature", node.signature.as_deref().unwrap_or("not known yet"), out);
        if let Some(bytes) = node.size {
            field("size", &size(bytes), out);
        }
        nodes("needs", view, &node.needs, out);
        nodes("made after", view, &node.order_only, out);
        nodes("needed by", view, &neighbours.dependants[at], out);
        nodes("added by", view, node.definer.as_slice(), out);
        nodes("has added", view, &neighbours.has_added[at], out);
        field("expected", &span(node.estimate), out);
        last_execution(node, out);
        self.error(node, out);
    }

    /// Writes error and log.
    fn error(&self, node: &NodeView, out: &mut Out) {
        let Some(error) = &node.error else { return };
        field("error", error.message(), out);
        if !error.path().is_empty() {
            field("reproduce in", error.path(), out);
        }
        let lines = error.log().lines().count();
        if lines == 0 {
            return;
        }
        out.line("    log");
        let limit = if self.max_lines == 0 { usize::MAX } else { self.max_lines };
        error.log().lines().take(limit).for_each(|line| out.line(format_args!("        {line}")));
        if lines > limit {
            out.line(format_args!("        [+{}]", count(lines - limit, "line", "lines")));
        }
    }
}

fn field(name: &str, value: &str, out: &mut Out) {
    out.line(format_args!("    {name:<14}{value}"));
}

/// Writes labels in lines of at most 80 columns. No labels are no line.
fn nodes(name: &str, view: &PlanView, nodes: &[usize], out: &mut Out) {
    const COLUMNS: usize = 80 - 18;
    let mut line = String::new();
    let mut name = name;
    let shown = nodes.iter().take(SHOWN).map(|at| {
        let label = &view.nodes[*at].label;
        if selection::needs_quotes(label) { selection::written(label) } else { label.clone() }
    });
    let more = nodes.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    for label in shown.chain(more) {
        if !line.is_empty() && line.width() + 1 + label.width() > COLUMNS {
            field(std::mem::take(&mut name), &line, out);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&label);
    }
    if !line.is_empty() {
        field(name, &line, out);
    }
}

fn last_execution(node: &NodeView, out: &mut Out) {
    let Some(last) = &node.last else { return };
    let place = format!("{}, rank {}, slot {}, process {}", last.host, last.rank, last.slot, last.pid);
    field("last run", &format!("{} ago on {place}", coarse(idle_time(node))), out);
    if last.memory > 0 {
        field("memory", &size(last.memory), out);
    }
    for (phase, seconds) in &last.phases {
        out.line(format_args!("    {:<14}  {:<16} {:>8}", "", phase.word(), span(*seconds)));
    }
    out.line(format_args!("    {:<14}  {:<16} {:>8}", "", "total", span(last.seconds())));
}

fn document(view: &PlanView, at: usize, neighbours: &Neighbours) -> Json {
    let node = &view.nodes[at];
    let mut json = node_json(view, at);
    json["needed_by"] = labels(view, &neighbours.dependants[at]);
    json["has_added"] = labels(view, &neighbours.has_added[at]);
    json["estimate_seconds"] = node.estimate.into();
    json["error"] = node.error.as_ref().map_or(Json::Null, error_json);
    json["last"] = node.last.as_ref().map_or(Json::Null, |last| {
        let phase = |(phase, seconds): &(dijitso::plan::execution::Phase, f64)| {
            json!({ "phase": phase.word(), "seconds": seconds })
        };
        json!({
            "host": last.host,
            "pid": last.pid,
            "rank": last.rank,
            "slot": last.slot,
            "begin": last.begin,
            "end": last.end(),
            "memory": Some(last.memory).filter(|memory| *memory > 0),
            "phases": last.phases.iter().map(phase).collect::<Vec<_>>(),
        })
    });
    json
}
