//! `dijitso plan invalidate PLAN [SELECTION]`.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::error::Result;
use dijitso::plan::view::PlanView;

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::count;
use super::ChosenNodes;
use super::node_json::labels;
use super::removal::NodeRemoval;

/// The end of the help.
const HELP: &str = "\
Removes the results and libraries of the nodes, so that the next make makes them again. Nodes that need them are
stale until then; if they are made again with the same bytes, nothing changes for these. The cache is shared:
other plans and programs that use the same make it again, too. \"clean\" does the same after a question.";

/// Options of `dijitso plan invalidate`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,
}

impl Arguments {
    /// Removes results.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let removal = NodeRemoval::of(&self.nodes, context)?;
        let outcome = removal.apply(context);
        let stale = dependants(&removal.view, &removal.nodes_with_files());
        if context.out.json {
            let mut json = outcome.to_json(&removal, context);
            json["stale"] = labels(&removal.view, &stale);
            context.out.document(&json);
        } else {
            let nodes = count(removal.nodes_with_files().len(), "node", "nodes");
            let verb = if context.options.dry_run { "would be invalidated" } else { "invalidated" };
            let need = match stale.len() {
                0 => String::new(),
                some => {
                    format!("; {} stale", count(some, "node that needs them is", "nodes that need them are"))
                }
            };
            context.out.line(format_args!("{nodes} {verb}, {}{need}", outcome.describe()));
        }
        outcome.end(context)
    }
}

/// Returns the nodes that need some nodes, also through others, without these themselves.
fn dependants(view: &PlanView, nodes: &[usize]) -> Vec<usize> {
    let dependants = view.dependants();
    let (mut reached, mut open) = (vec![false; view.nodes.len()], nodes.to_vec());
    while let Some(at) = open.pop() {
        for next in &dependants[at] {
            if !std::mem::replace(&mut reached[*next], true) {
                open.push(*next);
            }
        }
    }
    nodes.iter().for_each(|at| reached[*at] = false);
    (0..view.nodes.len()).filter(|at| reached[*at]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn dependants_are_found_through_others() {
        let view = sample::view();
        let labels = |nodes: &[usize]| {
            let found = dependants(&view, nodes);
            found.into_iter().map(|at| view.nodes[at].label.clone()).collect::<Vec<_>>()
        };
        assert_eq!(labels(&[2]), ["poisson", "Wärme", "solve", "report"]);
        assert_eq!(labels(&[2, 3]), ["Wärme", "solve", "report"]);
        assert!(labels(&[6]).is_empty() && labels(&[]).is_empty());
    }
}
