//! `dijitso plan delete PLAN SELECTION`.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use dijitso::error::Result;
use dijitso::plan::journal::forget_nodes;

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::count;
use super::ChosenNodes;
use super::removal::NodeRemoval;

/// The end of the help.
const HELP: &str = "\
Removes the same as \"clean\", and the lines of the nodes in the journal of the plan: their times and failures are
forgotten. The plan file stays as it is, so they are still nodes of the plan.";

/// Options of `dijitso plan delete`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,

    /// Nodes: labels, patterns such as "poisson_*", states, or words such as top; "dijitso plan --help" lists
    /// them
    #[arg(value_name = "SELECTION", required = true)]
    selection: Vec<String>,

    /// Remove without asking
    #[arg(short = 'y', long)]
    yes: bool,
}

impl Arguments {
    /// Removes results, libraries and lines of the journal.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let nodes = ChosenNodes { plan: self.plan.clone(), selection: self.selection.clone() };
        let removal = NodeRemoval::of(&nodes, context)?;
        let is_asked = !(context.options.dry_run || self.yes || removal.is_empty());
        if is_asked && !removal.is_confirmed("plan delete", context)? {
            return Ok(Status::Done);
        }
        let outcome = removal.apply(context);
        let labels: HashSet<&str> =
            removal.nodes.iter().map(|at| removal.view.nodes[*at].label.as_str()).collect();
        let forgotten = if context.options.dry_run {
            0
        } else {
            forget_nodes(&removal.cache, removal.plan.key(), &labels)?
        };
        if context.out.json {
            let mut json = outcome.to_json(&removal, context);
            json["forgotten"] = forgotten.into();
            context.out.document(&json);
        } else {
            let verb = if context.options.dry_run { "would be removed" } else { "removed" };
            let (files, root) = (outcome.describe(), removal.cache.layout().root().display());
            let lines = count(forgotten, "execution", "executions");
            let lines = if context.options.dry_run { String::new() } else { format!("; {lines} forgotten") };
            context.out.line(format_args!("{files} {verb} from {root}{lines}"));
        }
        outcome.end(context)
    }
}
