//! A plan as a flow chart in the language of Mermaid.

#![forbid(unsafe_code)]

use std::fmt::Write;

use dijitso::escape;
use dijitso::plan::view::NodeKind;

use super::super::color_classes::Border;
use super::drawing::{GraphDrawing, clusters};

/// The most edges that Mermaid draws unless `maxEdges` in its configuration says more.
pub(super) const MAX_EDGES: usize = 500;
/// The longest text that Mermaid draws unless `maxTextSize` in its configuration says more.
pub(super) const MAX_TEXT: usize = 50_000;

/// Quotes a text. Whatever could be markup, a directive or Markdown becomes the number of a character.
fn quoted(text: &str) -> String {
    let line = escape::paragraph(text);
    let mut quoted = String::with_capacity(line.len() + 2);
    quoted.push('"');
    let begins_list = line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(['.', ')', '-', '+']);
    for (at, c) in line.char_indices() {
        let is_plain = c.is_alphanumeric()
            || matches!(c, ' ' | '_' | '-' | '.' | ',' | ':' | '/' | '(' | ')' | '=' | '+');
        let is_bullet = begins_list && !c.is_alphanumeric() && line[..at].chars().all(|c| c.is_ascii_digit());
        if is_plain && !is_bullet {
            quoted.push(c);
        } else {
            let _ = write!(quoted, "#{};", u32::from(c));
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the text of a node: a rectangle for a module, with round ends for a task.
fn shape(label: &str, kind: NodeKind) -> String {
    let label = quoted(label);
    if kind == NodeKind::Task { format!("([{label}])") } else { format!("[{label}]") }
}

/// Returns the flow chart. Edges lead from what is made first to what needs it.
pub(super) fn mermaid(drawing: &GraphDrawing) -> String {
    let view = drawing.view;
    let mut text = "flowchart LR\n".to_owned();
    for (number, cluster) in clusters(view).into_iter().enumerate() {
        let mut indent = "  ";
        if let Some(definer) = cluster.definer {
            let title = quoted(&format!("added by {}", view.nodes[definer].label));
            let _ = writeln!(text, "  subgraph added{number}[{title}]");
            indent = "    ";
        }
        for node in cluster.nodes {
            let shape = shape(&view.nodes[node].label, view.nodes[node].kind);
            let _ = writeln!(text, "{indent}n{node}{shape}:::{}", class_name(drawing.classes.of[node]));
        }
        if cluster.definer.is_some() {
            text.push_str("  end\n");
        }
    }
    for edge in &drawing.edges {
        let arrow = if edge.order_only { "-.->" } else { "-->" };
        let _ = writeln!(text, "  n{} {arrow} n{}", edge.from, edge.to);
    }
    let legend = drawing.legend();
    if !legend.is_empty() {
        text.push_str("  subgraph legend[\"Legend\"]\n    direction LR\n");
        for (number, entry) in legend.iter().enumerate() {
            let shape = shape(&entry.text, entry.kind);
            let class = entry.place.map_or_else(|| "plain".to_owned(), class_name);
            let _ = writeln!(text, "    legend{number}{shape}:::{class}");
        }
        // Links that are not seen put two entries beside each other.
        for number in (1..legend.len()).step_by(2) {
            let _ = writeln!(text, "    legend{} ~~~ legend{number}", number - 1);
        }
        if drawing.has_order_only() {
            text.push_str("    first:::plain -. order only .-> then:::plain\n");
        }
        text.push_str("  end\n  classDef plain fill:#ffffff,stroke:#6e6e6e,color:#1a1a1a\n");
    }
    for (place, class) in drawing.classes.classes.iter().enumerate() {
        let border = match class.border {
            Border::Thin => "",
            Border::Thick => ",stroke-width:3px",
            Border::Dashed => ",stroke-dasharray:5 3",
        };
        let (name, colors) = (class_name(place), class.colors);
        let _ = writeln!(
            text,
            "  classDef {name} fill:{},stroke:{},color:#1a1a1a{border}",
            colors.fill, colors.line
        );
    }
    text
}

fn class_name(place: usize) -> String {
    format!("class{place}")
}
