//! Removes what nodes have in the cache, for `plan invalidate`, `plan clean` and `plan delete`.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::layout::Category;
use dijitso::error::{Error, Kind, Result};
use dijitso::plan::Plan;
use dijitso::plan::journal::read_history;
use dijitso::plan::view::{NodeKind, PlanView};
use dijitso::signature::check_signature;

use super::super::context::CommandContext;
use super::super::output::{self, count, size};
use super::super::{Status, usage};
use super::{ChosenNodes, load_plan};

/// The files of one signature of a node.
struct NodeFiles {
    /// The place of the node in the view.
    node: usize,
    signature: String,
    files: Vec<(PathBuf, u64)>,
}

/// The chosen nodes of a plan, and what they have in the cache.
pub(super) struct NodeRemoval {
    pub(super) plan: Plan,
    pub(super) view: PlanView,
    pub(super) nodes: Vec<usize>,
    pub(super) cache: Cache,
    found: Vec<NodeFiles>,
}

/// The outcome of a removal.
#[derive(Default)]
pub(super) struct RemovalOutcome {
    removed: Vec<PathBuf>,
    bytes: u64,
    failures: Vec<Error>,
}

impl NodeRemoval {
    /// Finds the files of nodes: of their signatures now, and of those that the last make of the plan has made.
    ///
    /// # Errors
    /// Those of loading a plan; `Kind::Cache` if the cache may not be changed.
    pub(super) fn of(chosen: &ChosenNodes, context: &mut CommandContext) -> Result<Self> {
        let (view, nodes) = chosen.load(context)?;
        let plan = load_plan(&chosen.plan, &context.params()?, &[])?;
        let cache = plan.cache();
        // Reports a cache that may not be changed before it asks or lists.
        cache.open()?;
        let history = read_history(&cache, plan.key());
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for at in &nodes {
            let node = &view.nodes[*at];
            let before = history.nodes.get(&node.label).and_then(|node| node.signature.as_ref());
            // A journal may have anything in it, and signatures become paths.
            let is_valid = |signature: &&String| check_signature(signature).is_ok();
            for signature in node.signature.iter().chain(before).filter(is_valid) {
                let files = files_of(&cache, node.kind, signature);
                if !files.is_empty() && seen.insert(signature.clone()) {
                    found.push(NodeFiles { node: *at, signature: signature.clone(), files });
                }
            }
        }
        Ok(Self { plan, view, nodes, cache, found })
    }

    fn files(&self) -> impl Iterator<Item = &(PathBuf, u64)> {
        self.found.iter().flat_map(|found| &found.files)
    }

    /// Returns true if the nodes have nothing in the cache.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the nodes that have something in the cache.
    pub(super) fn nodes_with_files(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.found.iter().map(|found| found.node).collect();
        nodes.dedup();
        nodes
    }

    /// Describes all files: `5 files (12 kB) of 3 nodes`.
    pub(super) fn describe(&self) -> String {
        let bytes = self.files().map(|(_, bytes)| bytes).sum();
        let nodes = count(self.nodes_with_files().len(), "node", "nodes");
        format!("{} ({}) of {nodes}", count(self.files().count(), "file", "files"), size(bytes))
    }

    /// Asks whether to remove everything. Returns false if the answer is no.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` if there is no terminal to ask on.
    pub(super) fn is_confirmed(&self, command: &str, context: &mut CommandContext) -> Result<bool> {
        let (what, root) = (self.describe(), self.cache.layout().root().display());
        context.out.flush();
        match output::ask(&format!("Remove {what} from {root}?")) {
            Some(true) => Ok(true),
            Some(false) => {
                context.note(&"nothing was removed");
                Ok(false)
            }
            None => Err(usage(format!(
                "{command} would remove {what} from {root}, and there is no terminal to ask on: use --yes, or -n \
                 to see what it would remove"
            ))),
        }
    }

    /// Removes everything. A dry run says so, and changes nothing.
    pub(super) fn apply(&self, context: &mut CommandContext) -> RemovalOutcome {
        let mut outcome = RemovalOutcome::default();
        if context.options.dry_run {
            outcome.removed = self.files().map(|(path, _)| path.clone()).collect();
        } else {
            for found in &self.found {
                let removed = match self.view.nodes[found.node].kind {
                    NodeKind::Task => {
                        self.cache.remove_result(&found.signature).map(|path| path.into_iter().collect())
                    }
                    NodeKind::Module => self.cache.remove(&found.signature, &Category::ALL),
                };
                match removed {
                    Ok(paths) => outcome.removed.extend::<Vec<PathBuf>>(paths),
                    Err(error) => outcome.failures.push(error),
                }
            }
        }
        let gone: HashSet<&PathBuf> = outcome.removed.iter().collect();
        outcome.bytes = self.files().filter(|(path, _)| gone.contains(path)).map(|(_, bytes)| bytes).sum();
        if !context.out.json && (context.options.dry_run || context.options.verbose > 0) {
            let verb = if context.options.dry_run { "would remove" } else { "removed" };
            outcome
                .removed
                .iter()
                .for_each(|path| context.out.line(format_args!("{verb} {}", path.display())));
        }
        outcome
    }
}

/// Returns the files of a signature that are there, with their bytes.
fn files_of(cache: &Cache, kind: NodeKind, signature: &str) -> Vec<(PathBuf, u64)> {
    let layout = cache.layout();
    let paths = match kind {
        NodeKind::Task => vec![layout.result(signature)],
        NodeKind::Module => [vec![layout.lib(signature)], layout.sidecars(signature)].concat(),
    };
    let with_size = |path: PathBuf| {
        let facts = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((path, facts.len()))
    };
    paths.into_iter().filter_map(with_size).collect()
}

impl RemovalOutcome {
    /// Describes what was removed: `5 files (12 kB)`.
    pub(super) fn describe(&self) -> String {
        format!("{} ({})", count(self.removed.len(), "file", "files"), size(self.bytes))
    }

    /// Returns the outcome as JSON.
    pub(super) fn to_json(&self, removal: &NodeRemoval, context: &CommandContext) -> Json {
        let label = |at: &usize| removal.view.nodes[*at].label.as_str();
        json!({
            "plan": removal.view.name,
            "cache_dir": removal.cache.layout().root(),
            "dry_run": context.options.dry_run,
            "nodes": removal.nodes_with_files().iter().map(label).collect::<Vec<_>>(),
            "removed": self.removed,
            "bytes": self.bytes,
            "failures": self.failures.iter().map(Error::message).collect::<Vec<_>>(),
        })
    }

    /// Ends the command.
    ///
    /// # Errors
    /// `Kind::Cache` if something was not removed.
    pub(super) fn end(self, context: &mut CommandContext) -> Result<Status> {
        let Some((first, rest)) = self.failures.split_first() else { return Ok(Status::Done) };
        rest.iter().take(9).for_each(|error| context.note(error));
        let what = count(self.failures.len(), "node was", "nodes were");
        Err(Error::new(Kind::Cache, format!("{what} left as they are: {first}")))
    }
}
