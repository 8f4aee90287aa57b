//! `dijitso plan graph PLAN`.

#![forbid(unsafe_code)]

mod dot;
mod drawing;
mod mermaid;
mod placement;
mod svg;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use dijitso::error::Result;
use dijitso::escape;
use dijitso::plan::analysis::layers;
use dijitso::plan::view::{NodeKind, PlanView};

use super::super::Status;
use super::super::context::CommandContext;
use super::ChosenNodes;
use super::color_classes::ColorBy;
use super::part::part;
use super::picture_file::PictureFile;
use drawing::GraphDrawing;

/// Options of `dijitso plan graph`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    nodes: ChosenNodes,

    #[command(flatten)]
    options: GraphArguments,
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
struct GraphArguments {
    /// The format. By default it is that of the name of the file, otherwise dot
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<GraphFormat>,

    /// The meaning of the colours of nodes
    #[arg(long, value_name = "MEANING", value_enum, default_value_t = ColorBy::State)]
    color_by: ColorBy,

    #[command(flatten)]
    file: PictureFile,
}

/// The format of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// The language of Graphviz
    Dot,
    /// The language of Mermaid, which Markdown pages of code hosts and editors draw
    Mermaid,
    /// A picture for browsers
    Svg,
    /// Nodes and edges for programs
    Json,
}

impl GraphArguments {
    /// Writes the graph of a plan, or of a part of it.
    fn run(&self, view: &PlanView, context: &mut CommandContext) -> Result<Status> {
        let format = self.format(context.options.json);
        let graph = draw(view, format, self.color_by);
        let edges: usize = view.nodes.iter().map(|node| node.predecessors().count()).sum();
        if format == GraphFormat::Mermaid && (edges > mermaid::MAX_EDGES || graph.len() > mermaid::MAX_TEXT) {
            context.note(&format_args!(
                "Mermaid draws at most {} edges and {} characters unless maxEdges and maxTextSize say more; \
                 --format svg has no limit",
                mermaid::MAX_EDGES,
                mermaid::MAX_TEXT
            ));
        }
        self.file.write(&graph, view.nodes.len(), context)?;
        Ok(Status::Done)
    }

    fn format(&self, is_json: bool) -> GraphFormat {
        let of_file = || match self.file.extension()?.as_str() {
            "dot" | "gv" => Some(GraphFormat::Dot),
            "mmd" | "mermaid" => Some(GraphFormat::Mermaid),
            "svg" => Some(GraphFormat::Svg),
            "json" => Some(GraphFormat::Json),
            _ => None,
        };
        let default = if is_json && !self.file.is_file() { GraphFormat::Json } else { GraphFormat::Dot };
        self.format.or_else(of_file).unwrap_or(default)
    }
}

/// Returns the graph of a plan.
fn draw(view: &PlanView, format: GraphFormat, by: ColorBy) -> String {
    match format {
        GraphFormat::Dot => dot::dot(&GraphDrawing::new(view, by)),
        GraphFormat::Mermaid => mermaid::mermaid(&GraphDrawing::new(view, by)),
        GraphFormat::Svg => svg::svg(&GraphDrawing::new(view, by)),
        GraphFormat::Json => escape::json(&format!("{:#}\n", document(view))).into_owned(),
    }
}

/// Returns the nodes with labels in place of indices.
fn document(view: &PlanView) -> Json {
    let labels = |nodes: &[usize]| -> Vec<&str> {
        nodes.iter().map(|node| view.nodes[*node].label.as_str()).collect()
    };
    let label = |node: Option<usize>| node.map(|node| view.nodes[node].label.as_str());
    let layers = layers(view);
    let nodes = view.nodes.iter().zip(layers).map(|(node, layer)| {
        json!({
            "label": node.label,
            "kind": if node.kind == NodeKind::Task { "task" } else { "module" },
            "name": node.name,
            "signature": node.signature,
            "state": node.state.word(),
            "stale": node.stale,
            "layer": layer,
            "needs": labels(&node.needs),
            "after": labels(&node.order_only),
            "added_by": label(node.definer),
            "blocked_by": label(node.blocked_by),
            "error": node.error.as_ref().map(dijitso::error::Error::message),
            "seconds": node.last.as_ref().map(dijitso::plan::execution::Execution::seconds),
            "estimate": node.estimate,
            "size": node.size,
        })
    });
    json!({ "plan": view.name, "nodes": nodes.collect::<Vec<_>>() })
}

#[cfg(test)]
pub(super) mod tests;
