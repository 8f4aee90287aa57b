//! `dijitso plan gantt PLAN`.

#![forbid(unsafe_code)]

mod chart_data;
mod tables;

use clap::Args;

use dijitso::error::Result;
use dijitso::human::count;
use dijitso::plan::execution::Phase;
use dijitso::plan::view::{PlanView, State};

use super::super::Status;
use super::super::context::CommandContext;
use super::ChosenNodes;
use super::markup::{fill, markup, script_json, seconds};
use super::part::part;
use super::picture_file::PictureFile;
use chart_data::{GanttData, PHASES};

/// Options of `dijitso plan gantt`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,

    #[command(flatten)]
    options: GanttArguments,
}

impl Arguments {
    /// Draws the chosen nodes.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let (view, nodes) = self.nodes.load(context)?;
        self.options.run(&part(&view, &nodes), context)
    }
}

/// Options of the picture.
#[derive(Debug, Args)]
struct GanttArguments {
    #[command(flatten)]
    file: PictureFile,
}

impl GanttArguments {
    /// Writes a page that shows when and where the nodes of a plan were made.
    fn run(&self, view: &PlanView, context: &mut CommandContext) -> Result<Status> {
        self.file.write(&page(view), view.nodes.len(), context)?;
        Ok(Status::Done)
    }
}

/// Returns the page.
pub(super) fn page(view: &PlanView) -> String {
    let data = GanttData::new(view);
    fill(
        include_str!("gantt/page.html"),
        &[
            ("title", &markup(&view.name)),
            ("style", include_str!("gantt/page.css")),
            ("states", &states(view)),
            ("lead", &lead(&data)),
            ("figures", &figures(&data)),
            ("charts", if data.seconds.iter().any(|seconds| *seconds > 0.0) { "" } else { "hidden" }),
            ("ran", if data.is_estimate { "hidden" } else { "" }),
            ("legend", &legend(&data)),
            ("ideal", ideal_title(&data)),
            ("tables", &tables::tables(&data)),
            ("version", dijitso::VERSION),
            ("data", &script_json(&data.json())),
            ("chart", include_str!("gantt/chart.js")),
            ("script", include_str!("gantt/page.js")),
        ],
    )
}

/// Returns the number of nodes in each state.
fn states(view: &PlanView) -> String {
    let all = [State::Done, State::Running, State::Todo, State::Failed, State::Blocked];
    let states = all.into_iter().filter_map(|state| {
        let number = view.nodes.iter().filter(|node| node.state == state).count();
        let word = state.word();
        (number > 0).then(|| format!("<li class=\"state {word}\"><b>{number}</b> {word}</li>"))
    });
    states.collect()
}

/// Returns the sentence below the title.
fn lead(data: &GanttData) -> String {
    let nodes = count(data.view.nodes.len(), "node", "nodes");
    if data.view.nodes.is_empty() {
        return "The plan has no nodes.".to_owned();
    }
    if data.is_estimate {
        let known = data.seconds.iter().any(|seconds| *seconds > 0.0);
        let rest = if known {
            "The chart shows the schedule that is expected with a worker for each node."
        } else {
            "There is no expectation of the time that they take either."
        };
        return format!("{nodes}. <strong>None of them has been made yet.</strong> {rest}");
    }
    let executions = data.view.nodes.iter().filter_map(|node| node.last.as_ref());
    let mut hosts: Vec<&str> = executions.map(|last| last.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let (hosts, slots) = (count(hosts.len(), "host", "hosts"), count(data.summary.slots, "slot", "slots"));
    let makes = match data.spans.len() {
        1 => String::new(),
        several => format!(" The executions are of {several} makes; breaks between them are cut out."),
    };
    let executed = count(data.summary.executions, "execution", "executions");
    format!("{nodes}, {executed} on {hosts} with {slots}, <time id=\"begin\"></time>.{makes}")
}

/// Returns the figures of the summary: a value with its name and an explanation.
fn figures(data: &GanttData) -> String {
    let summary = data.summary;
    let critical = seconds(data.critical.seconds);
    let chain = count(data.critical.nodes.len(), "node", "nodes");
    let path = ("Critical path", critical, format!("a chain of {chain}; no number of workers is faster"));
    if data.is_estimate {
        let work = seconds(data.seconds.iter().sum());
        let expected = ("Expected work", work, "of all nodes together".to_owned());
        let known = data.critical.seconds > 0.0;
        return [expected, path].iter().filter(|_| known).map(figure).collect();
    }
    let slots = count(summary.slots, "slot", "slots");
    let efficiency = format!("{:.0} %", 100.0 * summary.efficiency());
    let waits = if summary.waits < 0.0005 {
        "no waits for compiler slots or other programs".to_owned()
    } else {
        format!("and {} of waits for compiler slots or other programs", seconds(summary.waits))
    };
    let bound = format!("a greedy schedule on {slots}; none is faster than {}", seconds(data.bound));
    let figures = [
        ("Wall time", seconds(summary.wall), "in which something ran".to_owned()),
        ("Work", seconds(summary.work), waits),
        ("Idle", seconds(summary.idle()), format!("of {slots} together, with nothing to run")),
        ("Parallel efficiency", efficiency, format!("work in the time of {slots}")),
        path,
        ("List schedule", seconds(data.list), bound),
    ];
    figures.iter().map(figure).collect()
}

fn figure((name, value, explanation): &(&str, String, String)) -> String {
    format!("<div class=\"figure\"><dt>{name}</dt><dd><b>{value}</b> <small>{explanation}</small></dd></div>")
}

/// Returns the legend: the phases that there are, and marks of nodes.
fn legend(data: &GanttData) -> String {
    let has = |phase: Phase| {
        let mut nodes = data.view.nodes.iter().filter_map(|node| node.last.as_ref());
        nodes.any(|last| last.phases.iter().any(|(listed, _)| *listed == phase))
    };
    let text = |phase: Phase| match phase {
        Phase::LookUp => "looks into the cache",
        Phase::Generate => "generates source",
        Phase::Run => "runs a task",
        Phase::WaitForProgram => "waits for another program",
        Phase::WaitForSlot => "waits for a compiler slot",
        Phase::Compile => "compiles",
        Phase::Publish => "publishes",
    };
    let phases = PHASES.iter().filter(|phase| data.is_estimate || has(**phase));
    let phases = phases.filter(|phase| !data.is_estimate || matches!(phase, Phase::Run | Phase::Compile));
    let entry = |class: &str, text: &str| format!("<li><i class=\"{class}\"></i>{text}</li>");
    let mut legend: String = phases.map(|phase| entry(phase.word(), text(*phase))).collect();
    legend.push_str(&entry("critical", "critical path"));
    if data.view.nodes.iter().any(|node| node.state == State::Failed && node.last.is_some()) {
        legend.push_str(&entry("failed", "failed"));
    }
    legend
}

fn ideal_title(data: &GanttData) -> &'static str {
    if data.is_estimate {
        "Expected, with a worker for each node"
    } else {
        "Ideal: the same work with a worker for each node"
    }
}

#[cfg(test)]
mod tests;
