//! Schedules of a plan: layers, critical path, bounds of the time that a make takes. Pure functions of
//! [`PlanView`].
//!
//! All of them take the seconds of each node, which [`estimates`] and [`last_work`] give. A view that has a
//! cycle gives no sensible numbers, but an answer: edges within a cycle may be left out.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::execution::Execution;
use super::view::PlanView;

/// The longest chain of nodes that are made one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CriticalPath {
    /// The nodes, in the order in which they are made.
    pub nodes: Vec<usize>,
    /// The seconds that they take together. No number of workers makes the plan in less.
    pub seconds: f64,
}

/// The schedule of a greedy scheduler: a free worker takes the ready node with the longest rest of the plan
/// behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSchedule {
    /// The seconds after which each node begins.
    pub begins: Vec<f64>,
    /// The worker of each node, from 0.
    pub workers: Vec<usize>,
    /// The seconds after which all nodes are made.
    pub makespan: f64,
}

/// The longest break between executions of one make, in seconds. Executions after a longer one are of another
/// make: while a make runs, at least one of its nodes runs.
pub const LONGEST_BREAK: f64 = 10.0;

/// The time that the last executions of all nodes took, as [`summary`] counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MakeSummary {
    /// The number of executions.
    pub executions: usize,
    /// The number of slots of ranks that they ran in: the most that can run at the same time.
    pub slots: usize,
    /// The seconds in which at least one ran, without breaks between makes.
    pub wall: f64,
    /// The seconds that they worked, together.
    pub work: f64,
    /// The seconds that they waited for compiler slots and other programs, together.
    pub waits: f64,
}

impl MakeSummary {
    /// Returns the seconds in which slots had no execution, together.
    #[must_use]
    pub fn idle(&self) -> f64 {
        (self.capacity() - self.work - self.waits).max(0.0)
    }

    /// Returns the part of the time of all slots that was work, from 0 to 1; 0 if nothing ran.
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        if self.capacity() > 0.0 { (self.work / self.capacity()).min(1.0) } else { 0.0 }
    }

    #[allow(clippy::cast_precision_loss, reason = "there are fewer than 2^53 slots")]
    fn capacity(&self) -> f64 {
        self.wall * self.slots as f64
    }
}

/// A span of time in which executions ran without a long break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BusySpan {
    /// When the first of its executions began, in seconds since 1970.
    pub begin: f64,
    /// When the last of its executions ended, in seconds since 1970.
    pub end: f64,
}

/// Seconds in the order that heaps need.
#[derive(Clone, Copy, Debug)]
struct Seconds(f64);

impl PartialEq for Seconds {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Returns `seconds` as a length: what a damaged journal may have instead of one counts 0.
fn length(seconds: f64) -> f64 {
    if seconds.is_finite() { seconds.max(0.0) } else { 0.0 }
}

/// Returns the seconds that each node is expected to take.
#[must_use]
pub fn estimates(view: &PlanView) -> Vec<f64> {
    view.nodes.iter().map(|node| length(node.estimate)).collect()
}

/// Returns the seconds that the last execution of each node has worked, without its waits. A node that never
/// ran counts 0.
#[must_use]
pub fn last_work(view: &PlanView) -> Vec<f64> {
    let work = |execution: &Execution| length(execution.work());
    view.nodes.iter().map(|node| node.last.as_ref().map_or(0.0, work)).collect()
}

/// Returns all nodes in an order in which each comes after its predecessors, and otherwise in the order of
/// the plan. Nodes of a cycle, and what needs them, are at the end.
#[must_use]
pub fn topological_order(view: &PlanView) -> Vec<usize> {
    let dependants = view.dependants();
    let mut missing: Vec<usize> = view.nodes.iter().map(|node| node.predecessors().count()).collect();
    let ready = |(node, missing): (usize, &usize)| (*missing == 0).then_some(Reverse(node));
    let mut ready: BinaryHeap<_> = missing.iter().enumerate().filter_map(ready).collect();
    let mut order = Vec::with_capacity(view.nodes.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for &dependant in &dependants[node] {
            missing[dependant] -= 1;
            if missing[dependant] == 0 {
                ready.push(Reverse(dependant));
            }
        }
    }
    if order.len() < view.nodes.len() {
        order.extend((0..view.nodes.len()).filter(|node| missing[*node] > 0));
    }
    order
}

/// Returns the layer of each node: the number of nodes of the longest chain that ends with it, 1 if nothing is
/// made before it.
#[must_use]
pub fn layers(view: &PlanView) -> Vec<usize> {
    let mut layers = vec![0; view.nodes.len()];
    for node in topological_order(view) {
        let below = view.nodes[node].predecessors().map(|before| layers[before]).max();
        layers[node] = below.unwrap_or_default() + 1;
    }
    layers
}

/// Returns after how many seconds each node is made if there is a worker for each.
#[must_use]
pub fn ideal_finish(view: &PlanView, seconds: &[f64]) -> Vec<f64> {
    let mut finish = vec![0.0; view.nodes.len()];
    for node in topological_order(view) {
        let begin = view.nodes[node].predecessors().map(|before| finish[before]).fold(0.0, f64::max);
        finish[node] = begin + length(seconds[node]);
    }
    finish
}

/// Returns for each node the seconds from its begin to the end of the plan if there is a worker for each: the
/// longest chain that begins with it. It is the priority of the node in a list schedule.
#[must_use]
pub fn seconds_to_end(view: &PlanView, seconds: &[f64]) -> Vec<f64> {
    let mut rest = vec![0.0_f64; view.nodes.len()];
    // Holds for each node the longest chain behind it, until the loop comes to the node.
    for node in topological_order(view).into_iter().rev() {
        rest[node] += length(seconds[node]);
        for before in view.nodes[node].predecessors() {
            rest[before] = rest[before].max(rest[node]);
        }
    }
    rest
}

/// Returns the critical path. Of two that are equally long, it is the one whose nodes come first in the plan.
/// A node of no length is in it only if it joins two that have one.
#[must_use]
pub fn critical_path(view: &PlanView, seconds: &[f64]) -> CriticalPath {
    let finish = ideal_finish(view, seconds);
    let mut last: Option<usize> = None;
    for node in 0..finish.len() {
        if finish[node] > last.map_or(0.0, |last| finish[last]) {
            last = Some(node);
        }
    }
    let total = last.map_or(0.0, |last| finish[last]);
    let mut nodes = Vec::new();
    while let Some(node) = last {
        nodes.push(node);
        last = None;
        for before in view.nodes[node].predecessors() {
            let chosen = last.map_or(0.0, |last| finish[last]);
            // The order of nodes of a cycle could lead round it for ever.
            let is_later = finish[before] > chosen
                || (finish[before] >= chosen && last.is_some_and(|last| before < last));
            if is_later && nodes.len() < view.nodes.len() {
                last = Some(before);
            }
        }
    }
    nodes.reverse();
    CriticalPath { nodes, seconds: total }
}

/// Returns the schedule of a greedy scheduler on this many workers (at least 1). It takes at most twice as
/// long as the best one, and for most plans hardly longer.
#[must_use]
pub fn list_schedule(view: &PlanView, seconds: &[f64], workers: usize) -> ListSchedule {
    let count = view.nodes.len();
    let priority = seconds_to_end(view, seconds);
    let (dependants, order) = (view.dependants(), topological_order(view));
    let mut place = vec![0; count];
    order.iter().enumerate().for_each(|(at, node)| place[*node] = at);
    // Leaves out the edges that lead back in a cycle.
    let counts = |node: usize, before: usize| place[before] < place[node];
    let mut missing: Vec<usize> = (0..count)
        .map(|node| view.nodes[node].predecessors().filter(|before| counts(node, *before)).count())
        .collect();
    let entry = |node: usize| (Seconds(priority[node]), Reverse(node));
    let mut ready: BinaryHeap<_> = (0..count).filter(|node| missing[*node] == 0).map(entry).collect();
    let mut free: BinaryHeap<_> = (0..workers.max(1).min(count)).map(Reverse).collect();
    let mut running: BinaryHeap<Reverse<(Seconds, usize)>> = BinaryHeap::new();
    let mut schedule = ListSchedule { begins: vec![0.0; count], workers: vec![0; count], makespan: 0.0 };
    let mut now = 0.0;
    loop {
        while !ready.is_empty() {
            let Some(Reverse(worker)) = free.pop() else { break };
            let Some((_, Reverse(node))) = ready.pop() else { break };
            (schedule.begins[node], schedule.workers[node]) = (now, worker);
            running.push(Reverse((Seconds(now + length(seconds[node])), node)));
        }
        let Some(&Reverse((Seconds(end), _))) = running.peek() else { break };
        now = end;
        // Takes all that end now: the last of them may make the most urgent node ready.
        while let Some(&Reverse((Seconds(end), node))) = running.peek()
            && end <= now
        {
            running.pop();
            free.push(Reverse(schedule.workers[node]));
            for &dependant in dependants[node].iter().filter(|dependant| counts(**dependant, node)) {
                missing[dependant] -= 1;
                if missing[dependant] == 0 {
                    ready.push(entry(dependant));
                }
            }
        }
    }
    schedule.makespan = now;
    schedule
}

/// Returns a time that no schedule on this many workers (at least 1) can beat: the critical path, or the
/// whole work shared out evenly.
#[must_use]
pub fn lower_bound(view: &PlanView, seconds: &[f64], workers: usize) -> f64 {
    let work: f64 = seconds.iter().map(|seconds| length(*seconds)).sum();
    #[allow(clippy::cast_precision_loss, reason = "there are fewer than 2^53 workers")]
    let shared = work / workers.max(1) as f64;
    critical_path(view, seconds).seconds.max(shared)
}

/// Returns the spans in which executions ran, in order: a break of more than `longest_break` seconds begins a
/// new one. The last executions of a plan may come from several makes, days apart.
#[must_use]
pub fn busy_spans<'a>(
    executions: impl IntoIterator<Item = &'a Execution>,
    longest_break: f64,
) -> Vec<BusySpan> {
    let span = |execution: &Execution| {
        let begin = if execution.begin.is_finite() { execution.begin } else { 0.0 };
        BusySpan { begin, end: begin + length(execution.seconds()) }
    };
    let mut all: Vec<BusySpan> = executions.into_iter().map(span).collect();
    all.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let mut spans: Vec<BusySpan> = Vec::new();
    for span in all {
        match spans.last_mut() {
            Some(last) if span.begin - last.end <= longest_break => last.end = last.end.max(span.end),
            _ => spans.push(span),
        }
    }
    spans
}

/// Returns the time that the last executions of all nodes took.
#[must_use]
pub fn summary(view: &PlanView) -> MakeSummary {
    let executions = || view.nodes.iter().filter_map(|node| node.last.as_ref());
    let slots: BTreeSet<_> =
        executions().map(|execution| (&execution.host, execution.rank, execution.slot)).collect();
    let seconds: f64 = executions().map(|execution| length(execution.seconds())).sum();
    let work = last_work(view).iter().sum();
    MakeSummary {
        executions: executions().count(),
        slots: slots.len(),
        wall: busy_spans(executions(), LONGEST_BREAK).iter().map(|span| span.end - span.begin).sum(),
        work,
        waits: (seconds - work).max(0.0),
    }
}

#[cfg(test)]
mod tests;
