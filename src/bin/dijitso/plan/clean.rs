//! `dijitso plan clean PLAN [SELECTION]`.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::error::Result;

use super::super::Status;
use super::super::context::CommandContext;
use super::ChosenNodes;
use super::removal::NodeRemoval;

/// The end of the help.
const HELP: &str = "\
The cache is shared: results and libraries are removed also if another plan or program uses them, which makes them
again when it needs them. Copies of outputs outside the cache stay, and so do the times and failures in the journal.";

/// Options of `dijitso plan clean`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,

    /// Remove without asking
    #[arg(short = 'y', long)]
    yes: bool,
}

impl Arguments {
    /// Removes results and libraries.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let removal = NodeRemoval::of(&self.nodes, context)?;
        let is_asked = !(context.options.dry_run || self.yes || removal.is_empty());
        if is_asked && !removal.is_confirmed("plan clean", context)? {
            return Ok(Status::Done);
        }
        let outcome = removal.apply(context);
        if context.out.json {
            let json = outcome.to_json(&removal, context);
            context.out.document(&json);
        } else {
            let verb = if context.options.dry_run { "would be removed" } else { "removed" };
            let (files, root) = (outcome.describe(), removal.cache.layout().root().display());
            context.out.line(format_args!("{files} {verb} from {root}"));
        }
        outcome.end(context)
    }
}
