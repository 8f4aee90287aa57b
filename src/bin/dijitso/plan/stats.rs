//! `dijitso plan stats PLAN [SELECTION]`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use dijitso::error::Result;
use dijitso::plan::view::{PlanView, ResultOrigin, State};

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::{Align, Out, STRONG, Table, count, shortened};
use super::ChosenNodes;
use super::critical_path::{WorkSummary, summarize};
use super::describe::{span, state_word};

/// The states in the order of the table.
const STATES: [&str; 6] = ["done", "failed", "blocked", "running", "ready", "todo"];

/// The nodes of a critical path that are shown as text.
const SHOWN: usize = 20;

/// Options of `dijitso plan stats`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,
}

/// The number of nodes by state.
#[derive(Clone, Copy, Default)]
struct StateCounts {
    /// By the places in [`STATES`].
    states: [usize; 6],
    stale: usize,
    hits: usize,
    built: usize,
}

impl StateCounts {
    fn total(&self) -> usize {
        self.states.iter().sum()
    }

    fn add(&mut self, view: &PlanView, at: usize) {
        let node = &view.nodes[at];
        let word = state_word(view, at);
        self.states.iter_mut().zip(STATES).filter(|(_, state)| *state == word).for_each(|(sum, _)| *sum += 1);
        self.stale += usize::from(node.stale);
        self.hits += usize::from(node.origin == Some(ResultOrigin::Hit));
        self.built += usize::from(node.origin == Some(ResultOrigin::Built));
    }

    fn to_json(self) -> Json {
        let mut json: Map<String, Json> =
            STATES.iter().zip(self.states).map(|(state, sum)| ((*state).to_owned(), sum.into())).collect();
        json.insert("stale".to_owned(), self.stale.into());
        json.insert("hits".to_owned(), self.hits.into());
        json.insert("built".to_owned(), self.built.into());
        json.insert("nodes".to_owned(), self.total().into());
        Json::Object(json)
    }
}

/// Everything that the command counts.
struct PlanCounts<'a> {
    total: StateCounts,
    by_name: BTreeMap<&'a str, StateCounts>,
    work: WorkSummary,
}

impl<'a> PlanCounts<'a> {
    fn of(view: &'a PlanView, nodes: &[usize]) -> Self {
        let (mut total, mut by_name) = (StateCounts::default(), BTreeMap::<&str, StateCounts>::new());
        for at in nodes {
            total.add(view, *at);
            by_name.entry(&view.nodes[*at].name).or_default().add(view, *at);
        }
        let work = summarize(view, nodes, |at| view.nodes[at].state != State::Done || view.nodes[at].stale);
        Self { total, by_name, work }
    }

    fn to_json(&self, view: &PlanView) -> Json {
        let names = self.by_name.iter().map(|(name, counts)| ((*name).to_owned(), counts.to_json()));
        let step =
            |at: &usize| json!({ "label": view.nodes[*at].label, "seconds": view.nodes[*at].estimate });
        json!({
            "plan": view.name,
            "total": self.total.to_json(),
            "names": names.collect::<Map<_, _>>(),
            "work_seconds": self.work.total,
            "left_seconds": self.work.left,
            "critical_path": {
                "seconds": self.work.critical,
                "nodes": self.work.path.iter().map(step).collect::<Vec<_>>(),
            },
        })
    }
}

impl Arguments {
    /// Counts nodes and sums up their work.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let (view, nodes) = self.nodes.load(context)?;
        let counts = PlanCounts::of(&view, &nodes);
        let out = &mut context.out;
        if out.json {
            out.document(&counts.to_json(&view));
            return Ok(Status::Done);
        }
        out.line(out.paint(STRONG, format_args!("{}: {}", view.name, count(nodes.len(), "node", "nodes"))));
        if !nodes.is_empty() {
            table(&counts, out);
            out.line("");
            work(&view, &counts, out);
        }
        Ok(Status::Done)
    }
}

/// Writes the counts. Columns of states that no node has are left out.
fn table(counts: &PlanCounts<'_>, out: &mut Out) {
    const HEADINGS: [&str; 6] = ["DONE", "FAILED", "BLOCKED", "RUNNING", "READY", "TODO"];
    /// The columns of numbers, if none is left out.
    const NUMBERS: usize = 60;
    let is_shown = |at: &usize| *at == 0 || counts.total.states[*at] > 0;
    let states: Vec<usize> = (0..STATES.len()).filter(is_shown).collect();
    let stale = counts.total.stale > 0;
    let mut columns = vec![("NAME", Align::Left)];
    columns.extend(states.iter().map(|at| (HEADINGS[*at], Align::Right)));
    columns.extend(stale.then_some(("STALE", Align::Right)));
    columns.push(("NODES", Align::Right));
    let mut table = Table::new(&columns);
    let room = out.columns().map_or(usize::MAX, |columns| columns.saturating_sub(NUMBERS));
    let mut row = |name: &str, counts: &StateCounts| {
        let mut cells = vec![shortened(name, room.max(16), true).into_owned()];
        cells.extend(states.iter().map(|at| counts.states[*at].to_string()));
        cells.extend(stale.then(|| counts.stale.to_string()));
        cells.push(counts.total().to_string());
        table.row(cells);
    };
    counts.by_name.iter().for_each(|(name, counts)| row(name, counts));
    if counts.by_name.len() > 1 {
        row("all", &counts.total);
    }
    table.write(out);
}

/// Writes total work and critical path.
fn work(view: &PlanView, counts: &PlanCounts<'_>, out: &mut Out) {
    let StateCounts { hits, built, .. } = counts.total;
    if hits + built > 0 {
        let hits = count(hits, "hit", "hits");
        out.line(format_args!("last make      {hits}, {built} built"));
    }
    let WorkSummary { total, left, critical, path } = &counts.work;
    out.line(format_args!("work           {}, {} of it left to do", span(*total), span(*left)));
    if *critical > 0.0 {
        out.line(format_args!("parallelism    {:.1} (work by critical path)", total / critical));
    }
    let nodes = count(path.len(), "node", "nodes");
    out.line(format_args!("critical path  {} in {nodes}", span(*critical)));
    for at in path.iter().take(SHOWN) {
        let node = &view.nodes[*at];
        let room = out.columns().map_or(usize::MAX, |columns| columns.saturating_sub(13).max(20));
        out.line(format_args!("{:>10}  {}", span(node.estimate), shortened(&node.label, room, true)));
    }
    if path.len() > SHOWN {
        out.line(format_args!("{:>10}  and {} more; --json has all", "", path.len() - SHOWN));
    }
}
