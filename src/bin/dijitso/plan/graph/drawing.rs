//! The parts of a graph that all its formats have: edges, clusters, colours, legend.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use dijitso::plan::view::{NodeKind, PlanView};

use super::super::color_classes::{Border, ColorBy, ColorClass, ColorClasses, border};

/// An edge from what is made first to what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GraphEdge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// True if `to` does not use the result of `from`.
    pub(super) order_only: bool,
}

/// A plan with everything that its picture needs.
#[derive(Debug)]
pub(super) struct GraphDrawing<'a> {
    pub(super) view: &'a PlanView,
    /// The edges by the nodes that they lead to. There is at most one between two nodes.
    pub(super) edges: Vec<GraphEdge>,
    pub(super) classes: ColorClasses,
    by: ColorBy,
}

/// Nodes that the same node has added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GraphCluster {
    /// The node that has added them; `None` for those that the program or the file has.
    pub(super) definer: Option<usize>,
    pub(super) nodes: Vec<usize>,
}

/// An entry of the legend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LegendEntry {
    pub(super) text: String,
    pub(super) kind: NodeKind,
    pub(super) class: ColorClass,
    /// The place of its class; `None` for an entry that explains a shape.
    pub(super) place: Option<usize>,
}

impl<'a> GraphDrawing<'a> {
    /// Returns the drawing of a plan.
    pub(super) fn new(view: &'a PlanView, by: ColorBy) -> Self {
        let mut edges = Vec::new();
        for (to, node) in view.nodes.iter().enumerate() {
            let needs = node.needs.iter().map(|from| GraphEdge { from: *from, to, order_only: false });
            let order = node.order_only.iter().map(|from| GraphEdge { from: *from, to, order_only: true });
            let begin = edges.len();
            edges.extend(needs.chain(order));
            // A need comes before an edge for the order alone, and so stays.
            edges[begin..].sort_unstable();
            edges.dedup_by_key(|edge| (edge.from, edge.to));
        }
        Self { view, edges, classes: ColorClasses::new(view, by), by }
    }

    /// Returns the class of a node.
    pub(super) fn class(&self, node: usize) -> &ColorClass {
        &self.classes.classes[self.classes.of[node]]
    }

    /// Returns the border of a node.
    pub(super) fn border(&self, node: usize) -> Border {
        border(&self.view.nodes[node])
    }

    /// Returns true if there is an edge for the order alone.
    pub(super) fn has_order_only(&self) -> bool {
        self.edges.iter().any(|edge| edge.order_only)
    }

    /// Returns the legend: colours, and shapes if there are both. It is empty if it would explain nothing.
    pub(super) fn legend(&self) -> Vec<LegendEntry> {
        if self.view.nodes.is_empty() {
            return Vec::new();
        }
        let colours = self.classes.classes.iter().enumerate().filter(|_| self.by != ColorBy::None);
        let colours = colours.map(|(place, class)| LegendEntry {
            text: class.title.clone(),
            kind: NodeKind::Module,
            class: class.clone(),
            place: Some(place),
        });
        let plain = ColorClasses::new(self.view, ColorBy::None).classes.remove(0);
        let kinds = [(NodeKind::Module, "module"), (NodeKind::Task, "task")];
        let all = kinds.iter().all(|(kind, _)| self.view.nodes.iter().any(|node| node.kind == *kind));
        let shapes = kinds.into_iter().filter(|_| all).map(|(kind, text)| LegendEntry {
            text: text.to_owned(),
            kind,
            class: plain.clone(),
            place: None,
        });
        shapes.chain(colours).collect()
    }
}

/// Returns the nodes by the nodes that have added them, in the order of the plan.
pub(super) fn clusters(view: &PlanView) -> Vec<GraphCluster> {
    let mut by_definer: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (index, node) in view.nodes.iter().enumerate() {
        by_definer.entry(node.definer).or_default().push(index);
    }
    by_definer.into_iter().map(|(definer, nodes)| GraphCluster { definer, nodes }).collect()
}
