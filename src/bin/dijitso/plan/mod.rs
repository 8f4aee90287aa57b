//! `dijitso plan`: commands on build plans, one file each.
//!
//! Such a command is a module with a type `Arguments` that has a method `run`, and a line in `plan_commands!`.
//! If its first argument is the plan, in a field `plan`, `dijitso console` has it, too.

#![forbid(unsafe_code)]

mod check;
mod clean;
mod color_classes;
mod critical_path;
mod delete;
mod describe;
mod details;
mod from_cache;
mod gantt;
mod graph;
mod invalidate;
mod ls;
mod markup;
mod node_json;
mod part;
mod picture_file;
#[cfg(test)]
mod picture_tests;
mod record;
mod removal;
#[cfg(test)]
mod sample;
pub(super) mod selection;
mod stats;
mod trace;
mod why;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use dijitso::error::{Error, Result};
#[cfg(not(test))]
use dijitso::jit::Session;
use dijitso::params::Params;
use dijitso::plan::view::PlanView;
use dijitso::plan::{Plan, file};

use super::Status;
use super::context::CommandContext;

mod wait {
    //! `dijitso plan wait`: the command is beside what submits batch jobs.

    use clap::Args;

    use dijitso::error::Result;

    use crate::Status;
    use crate::cluster::WaitArguments;
    use crate::context::CommandContext;

    /// Options of `dijitso plan wait`.
    #[derive(Debug, Args)]
    pub(super) struct Arguments {
        #[command(flatten)]
        options: WaitArguments,
    }

    impl Arguments {
        /// Waits. The exit code is that of the make.
        pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
            let code = self.options.run(context)?;
            Ok(if code == 0 { Status::Done } else { Status::Ended(u8::try_from(code).unwrap_or(1)) })
        }
    }
}

/// Options of `dijitso plan`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = selection::help())]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: PlanCommands,
}

impl Arguments {
    /// Runs the command on a plan.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        self.command.run(context)
    }
}

/// Makes the list of commands from help, name and module of each.
macro_rules! plan_commands {
    ($($(#[$meta:meta])* $name:ident in $module:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum PlanCommands {
            $($(#[$meta])* $name($module::Arguments),)*
        }

        impl PlanCommands {
            fn run(&self, context: &mut CommandContext) -> Result<Status> {
                match self {
                    $(Self::$name(arguments) => arguments.run(context),)*
                }
            }
        }
    };
}

plan_commands! {
    /// List nodes: state, size of the result, time, age and label.
    #[command(visible_alias = "list")]
    Ls in ls,
    /// Count nodes by name and state; show work and critical path.
    Stats in stats,
    /// Show everything about nodes.
    Details in details,
    /// Show in a line each why nodes have failed or are blocked.
    Why in why,
    /// Draw a plan as a graph.
    Graph in graph,
    /// Draw when and where nodes were made, as a page for browsers.
    Gantt in gantt,
    /// Remove results of nodes: the next make makes them again.
    Invalidate in invalidate,
    /// Remove what nodes have in the cache.
    Clean in clean,
    /// Remove what nodes have in the cache, and forget their past.
    Delete in delete,
    /// Check plan and journal, and results and libraries of the nodes.
    Check in check,
    /// Wait until a submitted make has ended.
    Wait in wait,
    /// Run a program, and write a plan of the libraries that it uses.
    Record in record,
    /// Write a plan that builds the entries of the cache again.
    FromCache in from_cache,
}

/// A plan and some of its nodes.
#[derive(Debug, Args)]
pub(super) struct ChosenNodes {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,

    /// Nodes: labels, patterns such as "poisson_*", states, or words such as top; "dijitso plan --help" lists
    /// them; default: all
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl ChosenNodes {
    /// Loads the plan, and selects its nodes. The word `last` of the next selection stands for them.
    ///
    /// # Errors
    /// Those of [`load_view`]; `Kind::InvalidArgument` if the selection is wrong.
    fn load(&self, context: &mut CommandContext) -> Result<(PlanView, Vec<usize>)> {
        load(&self.plan, &self.selection, context)
    }
}

/// Loads a plan, and selects its nodes; all without words. The word `last` of the next selection stands for
/// them.
///
/// # Errors
/// Those of [`load_view`]; `Kind::InvalidArgument` if the selection is wrong.
fn load(plan: &Path, words: &[String], context: &mut CommandContext) -> Result<(PlanView, Vec<usize>)> {
    let view = load_view(plan, &context.params()?)?;
    let nodes = match words {
        [] => (0..view.nodes.len()).collect(),
        words => selection::select(words, &view, context.last_nodes.as_deref())?,
    };
    remember(&view, &nodes, context);
    Ok((view, nodes))
}

/// Makes the word `last` of the next selection stand for these nodes.
fn remember(view: &PlanView, nodes: &[usize], context: &mut CommandContext) {
    context.last_nodes = Some(nodes.iter().map(|at| view.nodes[*at].label.clone()).collect());
}

/// Reads a plan from its file. `overrides` are parameters that are set after those of the plan.
///
/// # Errors
/// Those of reading the plan file, and of bad parameters.
pub(super) fn load_plan(path: &Path, params: &Params, overrides: &[(String, String)]) -> Result<Plan> {
    load_plan_and_directories(path, params, overrides).map(|(plan, _)| plan)
}

/// Reads a plan as [`load_plan`] does, with the directories that its patterns have searched, if they are known.
///
/// # Errors
/// As [`load_plan`].
pub(super) fn load_plan_and_directories(
    path: &Path,
    params: &Params,
    overrides: &[(String, String)],
) -> Result<(Plan, Option<Vec<PathBuf>>)> {
    let (definition, searched) = file::read_plan_and_directories(path)?;
    Ok((Plan::of_definition(&definition, params, overrides, Some(path))?, searched))
}

/// Loads a plan, with the states of its nodes from cache and journal.
///
/// # Errors
/// Those of reading the plan file, the cache and the journal.
#[cfg(not(test))]
pub(super) fn load_view(path: &Path, params: &Params) -> Result<PlanView> {
    let plan = load_plan(path, params, &[])?;
    plan.refresh(Session::of_process())?;
    Ok(plan.view())
}

#[cfg(test)]
pub(crate) use sample::view as sample_view;

/// Returns the plan of the tests.
#[cfg(test)]
pub(super) fn load_view(path: &Path, _params: &Params) -> Result<PlanView> {
    if path == Path::new("sample.toml") {
        return Ok(sample::view());
    }
    Err(Error::file("cannot read", path, &std::io::ErrorKind::NotFound.into()))
}

/// Writes what ran where and when in Chrome's trace format.
///
/// # Errors
/// `Kind::Cache` if the file cannot be written.
pub(super) fn write_trace(view: &PlanView, path: &Path) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        trace::write_trace(view, &mut out)?;
        out.flush()
    });
    written.map_err(|error| Error::file("cannot write", path, &error))
}

#[cfg(test)]
use picture_tests::{check_golden, well_formed};
