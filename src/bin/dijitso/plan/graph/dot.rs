//! A plan as a graph in the language of Graphviz.

#![forbid(unsafe_code)]

use std::fmt::Write;

use dijitso::escape;
use dijitso::plan::view::NodeKind;

use super::super::color_classes::{Border, ColorClass};
use super::super::markup::markup;
use super::drawing::{GraphDrawing, LegendEntry, clusters};

/// Quotes a text. What Graphviz would read as an escape stays as it is.
fn quoted(text: &str) -> String {
    let line = escape::paragraph(text);
    format!("\"{}\"", line.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns the attributes of a node of a class.
fn attributes(label: &str, kind: NodeKind, class: &ColorClass, border: Border) -> String {
    let shape = if kind == NodeKind::Task { "ellipse" } else { "box" };
    let border = match border {
        Border::Thin => "",
        Border::Thick => ", penwidth=3",
        Border::Dashed => ", style=\"filled,dashed\"",
    };
    let (label, colors) = (quoted(label), class.colors);
    format!("label={label}, shape={shape}, fillcolor=\"{}\", color=\"{}\"{border}", colors.fill, colors.line)
}

/// Returns the graph. Edges lead from what is made first to what needs it.
pub(super) fn dot(drawing: &GraphDrawing) -> String {
    let view = drawing.view;
    let mut text = format!("digraph {} {{\n", quoted(&view.name));
    let label = quoted(&view.name);
    let _ = writeln!(text, "  graph [rankdir=LR, label={label}, labelloc=t, fontname=\"sans-serif\"];");
    text.push_str("  node [style=filled, fontname=\"sans-serif\", fontcolor=\"#1a1a1a\"];\n");
    text.push_str("  edge [color=\"#666666\"];\n");
    for (number, cluster) in clusters(view).into_iter().enumerate() {
        let mut indent = "  ";
        if let Some(definer) = cluster.definer {
            let label = quoted(&format!("added by {}", view.nodes[definer].label));
            let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label={label}; color=\"#999999\";");
            indent = "    ";
        }
        for node in cluster.nodes {
            let class = drawing.class(node);
            let attributes =
                attributes(&view.nodes[node].label, view.nodes[node].kind, class, drawing.border(node));
            let _ = writeln!(text, "{indent}n{node} [{attributes}];");
        }
        if cluster.definer.is_some() {
            text.push_str("  }\n");
        }
    }
    for edge in &drawing.edges {
        let style = if edge.order_only { " [style=dashed]" } else { "" };
        let _ = writeln!(text, "  n{} -> n{}{style};", edge.from, edge.to);
    }
    write_legend(&mut text, drawing);
    text.push_str("}\n");
    text
}

/// Writes the legend: a table in one node, which takes less room than a node for each entry.
fn write_legend(text: &mut String, drawing: &GraphDrawing) {
    let legend = drawing.legend();
    if legend.is_empty() {
        return;
    }
    text.push_str(
        "  legend [shape=plaintext, style=\"\", fontsize=11, label=<<table border=\"0\" cellspacing=\"4\">\n",
    );
    for LegendEntry { text: title, kind, class, .. } in &legend {
        let (title, colors) = (markup(title), class.colors);
        let round = (*kind == NodeKind::Task).then_some("rounded");
        let (width, dashed) = match class.border {
            Border::Thin => (1, None),
            Border::Thick => (3, None),
            Border::Dashed => (1, Some("dashed")),
        };
        let style: Vec<&str> = round.into_iter().chain(dashed).collect();
        let style = if style.is_empty() { String::new() } else { format!(" style=\"{}\"", style.join(",")) };
        let _ = writeln!(
            text,
            "    <tr><td border=\"{width}\" bgcolor=\"{}\" color=\"{}\"{style}>{title}</td></tr>",
            colors.fill, colors.line
        );
    }
    if drawing.has_order_only() {
        text.push_str("    <tr><td>dashed edge: order only</td></tr>\n");
    }
    text.push_str("  </table>>];\n");
}
