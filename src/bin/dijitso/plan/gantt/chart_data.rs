//! The numbers behind the charts: executions in rows of slots, and the ideal schedule with a worker for each
//! node. The page gets them as JSON, arrays in place of objects so that it stays small.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde_json::{Value as Json, json};

use dijitso::escape;
use dijitso::plan::analysis::{
    BusySpan, CriticalPath, LONGEST_BREAK, MakeSummary, busy_spans, critical_path, estimates, ideal_finish,
    last_work, list_schedule, lower_bound, seconds_to_end, summary,
};
use dijitso::plan::execution::{Execution, Phase};
use dijitso::plan::view::{NodeKind, NodeView, PlanView};

/// All phases, in the order of their numbers in the JSON and of the legend.
pub(super) const PHASES: [Phase; 7] = [
    Phase::LookUp,
    Phase::Generate,
    Phase::Run,
    Phase::Compile,
    Phase::Publish,
    Phase::WaitForSlot,
    Phase::WaitForProgram,
];

/// Everything that the page shows of a plan.
pub(super) struct GanttData<'a> {
    pub(super) view: &'a PlanView,
    pub(super) summary: MakeSummary,
    /// The seconds that each node has worked; if nothing ran yet, those that it is expected to take.
    pub(super) seconds: Vec<f64>,
    /// True if `seconds` are expectations.
    pub(super) is_estimate: bool,
    pub(super) critical: CriticalPath,
    /// The seconds of a greedy schedule on as many workers as there are slots; 0 if nothing ran.
    pub(super) list: f64,
    /// The seconds that no schedule on these workers beats; 0 if nothing ran.
    pub(super) bound: f64,
    pub(super) spans: Vec<BusySpan>,
}

/// A row of the chart: host, rank, slot.
type GanttRow<'a> = (&'a str, usize, usize);

impl<'a> GanttData<'a> {
    /// Returns the numbers of a plan.
    pub(super) fn new(view: &'a PlanView) -> Self {
        let summary = summary(view);
        let is_estimate = summary.executions == 0;
        let seconds = if is_estimate { estimates(view) } else { last_work(view) };
        let workers = summary.slots;
        let on_slots = |number: f64| if is_estimate { 0.0 } else { number };
        Self {
            view,
            critical: critical_path(view, &seconds),
            list: on_slots(list_schedule(view, &seconds, workers).makespan),
            bound: on_slots(lower_bound(view, &seconds, workers)),
            spans: busy_spans(executions(view), LONGEST_BREAK),
            summary,
            seconds,
            is_estimate,
        }
    }

    /// Returns the numbers as JSON, for the script of the page.
    pub(super) fn json(&self) -> String {
        let rows: BTreeSet<GanttRow> = executions(self.view).map(row).collect();
        let rows: BTreeMap<GanttRow, usize> =
            rows.into_iter().enumerate().map(|(at, row)| (row, at)).collect();
        let finish = ideal_finish(self.view, &self.seconds);
        let rest = seconds_to_end(self.view, &self.seconds);
        let begins: Vec<f64> = finish.iter().zip(&self.seconds).map(|(end, seconds)| end - seconds).collect();
        let critical: BTreeSet<usize> = self.critical.nodes.iter().copied().collect();
        let (ideal_rows, ideal_count) = ideal_rows(&begins, &self.seconds, &self.critical.nodes);
        let gap = self.gap();
        let nodes = self.view.nodes.iter().enumerate().filter_map(|(index, node)| {
            let row = node.last.as_ref().map(|last| rows[&row(last)]);
            if row.is_none() && !(self.is_estimate && self.seconds[index] > 0.0) {
                return None;
            }
            let begin = node.last.as_ref().map(|last| milliseconds(folded(last.begin, &self.spans, gap)));
            let slack = (self.critical.seconds - begins[index] - rest[index]).max(0.0);
            Some(json!([
                escape::paragraph(&node.label),
                usize::from(node.kind == NodeKind::Task),
                escape::paragraph(&node.name),
                node.state.word(),
                usize::from(critical.contains(&index)),
                row,
                begin,
                phases(node, self.seconds[index]),
                ideal_rows[index],
                milliseconds(begins[index]),
                milliseconds(slack),
                node.last.as_ref().map(|last| last.begin),
                node.last.as_ref().map(|last| last.pid),
                node.last.as_ref().map(|last| last.memory),
                node.size,
                details(self.view, node),
            ]))
        });
        let nodes: Vec<Json> = nodes.collect();
        let breaks = self.spans.windows(2).map(|pair| {
            json!([milliseconds(folded(pair[1].begin, &self.spans, gap) - gap), pair[1].begin - pair[0].end])
        });
        let rows = rows.keys().map(|(host, rank, slot)| json!([escape::paragraph(host), rank, slot]));
        json!({
            "phases": PHASES.map(Phase::word),
            "rows": rows.collect::<Vec<_>>(),
            "breaks": breaks.collect::<Vec<_>>(),
            "gap": milliseconds(gap),
            "end": milliseconds(self.end()),
            "begin": self.spans.first().map(|span| span.begin),
            "ideal": milliseconds(self.critical.seconds),
            "idealRows": ideal_count,
            "list": milliseconds(self.list),
            "estimate": self.is_estimate,
            "nodes": nodes,
        })
        .to_string()
    }

    /// Returns the width of a break between two makes, in seconds.
    fn gap(&self) -> f64 {
        0.03 * self.summary.wall
    }

    /// Returns the end of the last execution, with breaks cut to their width in the chart.
    fn end(&self) -> f64 {
        let end = self.spans.last().map_or(0.0, |span| folded(span.end, &self.spans, self.gap()));
        end.max(self.critical.seconds).max(self.list)
    }
}

fn executions(view: &PlanView) -> impl Iterator<Item = &Execution> {
    view.nodes.iter().filter_map(|node| node.last.as_ref())
}

fn row(execution: &Execution) -> GanttRow<'_> {
    (&execution.host, execution.rank, execution.slot)
}

/// Returns milliseconds with one decimal, which is shorter than the shortest exact number.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 10.0
}

/// Returns the seconds from the first begin to `time`, with breaks between makes cut to `gap` seconds.
fn folded(time: f64, spans: &[BusySpan], gap: f64) -> f64 {
    let mut before = 0.0;
    for span in spans {
        if time <= span.end {
            return before + (time - span.begin).max(0.0);
        }
        before += span.end - span.begin + gap;
    }
    before - gap
}

/// Returns numbers of phases and their milliseconds: of the last execution, otherwise the expected work as
/// one phase.
fn phases(node: &NodeView, expected: f64) -> Vec<Json> {
    let number = |phase: Phase| PHASES.iter().position(|listed| *listed == phase).unwrap_or_default();
    let pair = |phase: Phase, seconds: f64| [number(phase).into(), milliseconds(seconds).into()];
    match &node.last {
        Some(last) => last.phases.iter().flat_map(|(phase, seconds)| pair(*phase, *seconds)).collect(),
        None if node.kind == NodeKind::Task => pair(Phase::Run, expected).to_vec(),
        None => pair(Phase::Compile, expected).to_vec(),
    }
}

/// Returns a sentence on what went wrong; empty if nothing did.
fn details(view: &PlanView, node: &NodeView) -> String {
    let blocked =
        || node.blocked_by.map(|failed| format!("needs {}, which has failed", view.nodes[failed].label));
    let text = node.error.as_ref().map(|error| error.message().to_owned()).or_else(blocked);
    escape::paragraph(&text.unwrap_or_default()).into_owned()
}

/// Returns the row of each node in the chart of the ideal schedule, and the number of rows: the critical path
/// in the first one, every other node in the first one that is free. Nodes of no length have row 0.
fn ideal_rows(begins: &[f64], seconds: &[f64], critical: &[usize]) -> (Vec<usize>, usize) {
    let mut rows = vec![0; begins.len()];
    let mut order: Vec<usize> = (0..begins.len()).filter(|node| seconds[*node] > 0.0).collect();
    let critical: BTreeSet<usize> = critical.iter().copied().collect();
    order.retain(|node| !critical.contains(node));
    order.sort_by(|a, b| begins[*a].total_cmp(&begins[*b]).then(seconds[*b].total_cmp(&seconds[*a])));
    let mut count = 1;
    let mut free: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
    // Ends in microseconds, since floating-point numbers have no order.
    let mut busy: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let micros = |seconds: f64| (seconds * 1e6).round() as u64;
    for node in order {
        while let Some(&Reverse((end, row))) = busy.peek()
            && end <= micros(begins[node])
        {
            busy.pop();
            free.push(Reverse(row));
        }
        let row = free.pop().map_or(count, |Reverse(row)| row);
        count = count.max(row + 1);
        rows[node] = row;
        busy.push(Reverse((micros(begins[node] + seconds[node]), row)));
    }
    (rows, count)
}
