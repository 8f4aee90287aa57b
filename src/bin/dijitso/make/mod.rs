//! `dijitso make PLAN [SELECTION]`.

#![forbid(unsafe_code)]

mod ask_to_stop;
mod event_file;
mod explain;
mod observer;
mod progress_line;
mod ranks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use dijitso::error::{Error, Kind, Result};
use dijitso::jit::Session;
use dijitso::plan::make::{MakeOptions, MakeReport, make};
use dijitso::plan::memo::PlanState;
use dijitso::plan::view::PlanView;
use dijitso::plan::{NodeId, Plan};
use dijitso::process::jobserver::Jobserver;

use super::Status;
use super::cluster::ClusterOptions;
use super::context::CommandContext;
use super::parameters::Parameters;
use super::plan::{load_plan, load_plan_and_directories, selection, write_trace};
use super::usage;

use observer::Reporter;

/// The exit code if a node has failed.
const NODE_FAILED: u8 = 113;

/// The exit code after an error of dijitso itself.
const BUG: u8 = 114;

/// The meaning of the exit codes, at the end of the help.
const EXIT_CODES: &str = "\
Exit codes, the same on all ranks:
  0    everything is made
  1    the plan cannot be made, or the make was stopped
  2    the command line is wrong
  113  a node failed; what does not need it is made
  114  a bug in dijitso

Ctrl-C once: nothing new starts, and what runs is finished. Twice: what runs is ended. Both leave nodes to do.";

/// Options of `dijitso make`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,

    /// Nodes to make, with all that they need: labels, patterns such as "poisson_*", states, or words such as
    /// failed; "dijitso plan --help" lists them; default: all
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,

    /// The most nodes that run at once; default: one on each core. Within GNU make also as many as it has jobs
    #[arg(short = 'j', long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,

    /// Go on after a failure with what does not need the failed node: the default
    #[arg(short = 'k', long, conflicts_with = "fail_fast")]
    keep_going: bool,

    /// Start nothing new after the first failure
    #[arg(long)]
    fail_fast: bool,

    /// Say first which nodes are made, and why. --dry-run says the same, and makes nothing
    #[arg(long)]
    explain: bool,

    /// Make tasks again whose results are in the cache
    #[arg(long)]
    force: bool,

    /// Try a node again so many times if it was killed or timed out, or if memory or a disk was short
    #[arg(long, value_name = "N", default_value_t = 1)]
    retries: u32,

    /// Make every Nth node that needs no other, beginning with the Ith: "1/4" to "4/4"
    #[arg(long, value_name = "I/N")]
    part: Option<String>,

    /// Write what ran where and when in Chrome's trace format
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    trace: Option<PathBuf>,

    /// Write each event as a line of JSON
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    events: Option<PathBuf>,

    #[command(flatten)]
    parameters: Parameters,

    #[command(flatten)]
    cluster: ClusterOptions,
}

impl Arguments {
    /// Makes a plan, here, on the ranks that a launcher has started, or in a batch job.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let words: Vec<String> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        if self.cluster.is_array() {
            let plan = load_plan(&self.plan, &context.params()?, &self.parameters.pairs()?)?;
            check_edges(&plan.view())?;
        }
        if let Some(code) = self.cluster.run(&words, &self.plan, context)? {
            return Ok(Status::Ended(u8::try_from(code).unwrap_or(1)));
        }
        self.cluster.forget_status();
        let code = match self.make(context) {
            Ok(code) => code,
            Err(error) => {
                if context.is_speaker {
                    context.note_error(&error);
                }
                match error.kind() {
                    Kind::Internal => BUG,
                    _ => 1,
                }
            }
        };
        self.cluster.write_status(i32::from(code))?;
        Ok(if code == 0 { Status::Done } else { Status::Ended(code) })
    }

    fn make(&self, context: &mut CommandContext) -> Result<u8> {
        let overrides = self.parameters.pairs()?;
        // A console makes several times, and what is in the memory of a session may be gone from the cache.
        let session = &Session::default();
        let jobserver = jobserver();
        let ranks = ranks::start(context)?;
        let state = if ranks.is_none() && self.makes_all(context) {
            Some(PlanState::of(&self.plan, &context.params()?, &overrides)?)
        } else {
            None
        };
        if let Some(nodes) = state.as_ref().and_then(PlanState::unchanged) {
            observer::unchanged(nodes, context);
            return Ok(0);
        }
        let (plan, searched) = ranks::agree(ranks.as_ref(), "reading the plan", || {
            load_plan_and_directories(&self.plan, &context.params()?, &overrides)
        })?;
        let plan = Arc::new(plan);
        let targets = ranks::of_first(ranks.as_ref(), "selecting nodes", || self.targets(&plan, context))?;
        let targets = match targets {
            Some(targets) if targets.is_empty() => {
                if context.is_speaker {
                    context.note(&"no node is selected");
                }
                return Ok(0);
            }
            targets => targets.unwrap_or_default(),
        };
        if context.options.dry_run || self.explain {
            ranks::agree(ranks.as_ref(), "looking into the cache", || plan.refresh(session))?;
            if context.is_speaker {
                explain::explain(&plan, &targets, context);
            }
            if context.options.dry_run {
                return Ok(0);
            }
        }
        let options = MakeOptions {
            targets,
            jobs: self.jobs.map_or(0, std::num::NonZeroUsize::get),
            fail_fast: self.fail_fast,
            retries: self.retries,
            force: self.force,
            jobserver,
            ..MakeOptions::default()
        };
        let mut reporter = ranks::agree(ranks.as_ref(), "opening the file of events", || {
            Reporter::new(&plan, &self.plan, self.events.as_deref(), context)
        })?;
        let listening = ask_to_stop::listen(&plan);
        let report = match &ranks {
            Some(ranks) => ranks.make(&plan, session, &options, &mut reporter)?,
            None => make(&plan, session, &options, &mut reporter)?,
        };
        if let (Some(state), Some(searched), None) = (&state, &searched, &report.error) {
            state.remember(&plan, searched);
        }
        reporter.say_stop(listening.asked());
        reporter.finish(&plan, &report, context);
        context.out.flush();
        ranks::agree(ranks.as_ref(), "writing the outcome", || match &self.trace {
            Some(file) if context.is_speaker => write_trace(&plan.view(), file),
            _ => Ok(()),
        })?;
        if ranks.is_some() {
            // Launchers send SIGTERM to the other ranks once one has ended with another code than 0.
            listening.stay();
        }
        Ok(exit_code(&report))
    }

    /// Returns true if a make has nothing to do once everything is made.
    fn makes_all(&self, context: &CommandContext) -> bool {
        let is_plain = self.selection.is_empty() && self.part.is_none() && !self.force && !self.explain;
        is_plain && !context.options.dry_run && self.trace.is_none() && self.events.is_none()
    }

    /// Returns the nodes that are asked for; `None` for all.
    fn targets(&self, plan: &Plan, context: &mut CommandContext) -> Result<Option<Vec<NodeId>>> {
        let part = self.part.as_deref().map(parse_part).transpose()?;
        if self.selection.is_empty() && part.is_none() {
            return Ok(None);
        }
        let view = if self.selection.is_empty() {
            plan.view()
        } else {
            plan.refresh(Session::of_process())?;
            plan.view()
        };
        let mut chosen = if self.selection.is_empty() {
            (0..view.nodes.len()).collect()
        } else {
            selection::select(&self.selection, &view, context.last_nodes.as_deref())?
        };
        if let Some((part, parts)) = part {
            check_edges(&view)?;
            chosen = chosen.into_iter().skip(part - 1).step_by(parts).collect();
        }
        // A view leaves out nothing before callbacks add nodes, so its places are those of the plan.
        Ok(Some(chosen))
    }
}

/// Returns the jobserver of the GNU make that has started this command.
fn jobserver() -> Option<Jobserver> {
    Jobserver::of_environment(ranks::is_launched()).unwrap_or_else(|error| {
        log::warn!(
            "the jobserver of make cannot be used ({error}): begin the line of the makefile with + or with $(MAKE)"
        );
        None
    })
}

/// Refuses a plan with edges: its parts would make the same nodes.
fn check_edges(view: &PlanView) -> Result<()> {
    let Some(node) = view.nodes.iter().find(|node| node.predecessors().next().is_some()) else {
        return Ok(());
    };
    let text = format!(
        "a plan with edges cannot be made in parts: \"{}\" needs another node; submit it without --array",
        node.label
    );
    Err(usage(text))
}

/// Reads "1/4".
fn parse_part(text: &str) -> Result<(usize, usize)> {
    let read = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
    let parts = text.split_once('/').and_then(|(part, parts)| Some((read(part)?, read(parts)?)));
    parts
        .filter(|(part, parts)| part <= parts)
        .ok_or_else(|| usage(format!("--part {text}: write I/N, for example 1/4, with I from 1 to N")))
}

fn exit_code(report: &MakeReport) -> u8 {
    match &report.error {
        None => 0,
        Some(error) if error.kind() == Kind::Internal => BUG,
        Some(_) if !report.failed.is_empty() => NODE_FAILED,
        Some(_) => 1,
    }
}

/// Returns the error of a file that the command cannot write.
fn unwritable(path: &Path, cause: &std::io::Error) -> Error {
    Error::file("cannot write", path, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_failures_stops_and_bugs_apart() {
        let report = |kind: Option<Kind>, failed: Vec<NodeId>| {
            let error = kind.map(|kind| Error::new(kind, "no"));
            exit_code(&MakeReport { error, failed, ..MakeReport::default() })
        };
        assert_eq!(report(None, Vec::new()), 0);
        assert_eq!(report(Some(Kind::Cancelled), Vec::new()), 1);
        assert_eq!(report(Some(Kind::Compile), vec![3]), 113);
        assert_eq!(report(Some(Kind::Internal), vec![3]), 114);
    }
}
