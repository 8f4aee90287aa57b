//! A plan as an SVG picture, for browsers and documents. It needs no other program, and no font of its own.

#![forbid(unsafe_code)]

use std::fmt::Write;

use dijitso::plan::view::NodeKind;

use super::super::color_classes::{Border, state_word};
use super::super::markup::{markup, seconds};
use super::drawing::{GraphDrawing, LegendEntry};
use super::placement::{DrawingPoint, EdgePart, HEIGHT, place};

/// Space around the drawing.
const MARGIN: f64 = 16.0;
/// The height of the title and of each line of the legend.
const HEAD: f64 = 34.0;
/// The narrowest and the widest node.
const WIDTHS: (f64, f64) = (48.0, 240.0);
/// Space between the text of a node and its sides.
const PADDING: f64 = 11.0;
/// On the screen of a phone, a picture that is less wide than this is shown whole.
const SHRINKS: f64 = 1600.0;
/// The narrowest picture: the legend breaks into lines within it.
const NARROWEST: f64 = 360.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1a1a1a}.title{font-size:15px;font-weight:600}.page{fill:#fff}\
.e{fill:none;stroke:#5f5f5f;stroke-opacity:.75}.o{stroke-dasharray:5 4}.head{fill:#5f5f5f}\
.dense .e{stroke-opacity:.18;marker-end:none}";
const DARK_STYLE: &str = "\
text{fill:#f2f2f2}.page{fill:#161616}.e{stroke:#a8a8a8}.head{fill:#a8a8a8}";

/// Returns about how wide a text of 12 pixels is. Fonts differ by a tenth.
fn text_width(text: &str) -> f64 {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')'
        | '[' | ']' => 4.6,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 11.0,
        'A'..='Z' | '&' | '<' | '>' | '=' | '+' | '~' => 9.0,
        c if c.is_ascii() || u32::from(c) < 0x1100 => 7.2,
        _ => 13.0,
    }
}

/// Returns the beginning of a text that is at most this wide, with an ellipsis if it is not the whole.
fn shortened(text: &str, most: f64) -> String {
    if text_width(text) <= most {
        return text.to_owned();
    }
    let mut width = char_width('m');
    let fits = |c: &char| {
        width += char_width(*c);
        width <= most
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// Writes a number with at most one decimal.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Returns the picture.
pub(super) fn svg(drawing: &GraphDrawing) -> String {
    let view = drawing.view;
    let labels: Vec<String> =
        view.nodes.iter().map(|node| dijitso::escape::paragraph(&node.label).into_owned()).collect();
    let widths =
        labels.iter().map(|label| (text_width(label) + 2.0 * PADDING).clamp(WIDTHS.0, WIDTHS.1)).collect();
    let placement = place(view, &drawing.edges, widths);
    let width = placement.width.max(NARROWEST) + 2.0 * MARGIN;
    let (legend, top) = legend(drawing, width);
    let height = top + placement.height + if view.nodes.is_empty() { 2.0 * MARGIN } else { MARGIN };
    let mut svg = String::with_capacity(200 * (view.nodes.len() + placement.parts.len()) + 2000);
    let (w, h) = (number(width), number(height));
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" \
         role=\"img\">\n<title>{}</title>\n<style>{}</style>\n",
        markup(&view.name),
        style(drawing, width)
    );
    svg.push_str(
        "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path class=\"head\" d=\"M0 1 8 4 0 7z\"/></marker></defs>\n",
    );
    let _ = writeln!(svg, "<rect class=\"page\" width=\"{w}\" height=\"{h}\"/>");
    let title = shortened(&dijitso::escape::paragraph(&view.name), width - 2.0 * MARGIN - 40.0);
    let _ = writeln!(svg, "<text class=\"title\" x=\"{MARGIN}\" y=\"27\">{}</text>", markup(&title));
    svg.push_str(&legend);
    if view.nodes.is_empty() {
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\">The plan has no nodes.</text>", number(top));
    }
    let dense = if placement.is_dense { " class=\"dense\"" } else { "" };
    let _ = writeln!(svg, "<g{dense} transform=\"translate({} {})\">", MARGIN, number(top));
    placement.parts.iter().for_each(|part| write_part(&mut svg, part));
    for (index, node) in view.nodes.iter().enumerate() {
        let (corner, width) = (placement.corners[index], placement.widths[index]);
        let class = class_names(drawing.classes.of[index], drawing.border(index));
        let _ = write!(svg, "<g class=\"{class}\"><title>{}</title>", markup(&details(drawing, index)));
        let label = shortened(&labels[index], width - 2.0 * PADDING + 1.0);
        write_box(&mut svg, corner, width, node.kind, &label);
        svg.push_str("</g>\n");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Returns the styles of all classes, for light and dark pages.
fn style(drawing: &GraphDrawing, width: f64) -> String {
    let (mut light, mut dark) = (STYLE.to_owned(), DARK_STYLE.to_owned());
    let mut add = |name: &str, colors: super::super::color_classes::NodeColors| {
        let _ = write!(light, ".{name} rect{{fill:{};stroke:{}}}", colors.fill, colors.line);
        let _ = write!(dark, ".{name} rect{{fill:{};stroke:{}}}", colors.dark_fill, colors.dark_line);
    };
    for (place, class) in drawing.classes.classes.iter().enumerate() {
        add(&format!("c{place}"), class.colors);
    }
    if let Some(entry) = drawing.legend().iter().find(|entry| entry.place.is_none()) {
        add("plain", entry.class.colors);
    }
    light.push_str(".thick rect{stroke-width:3}.dashed rect{stroke-width:1.6;stroke-dasharray:5 3}");
    if width < SHRINKS {
        light.push_str("@media(max-width:600px){svg{max-width:100%;height:auto}}");
    }
    format!("{light}@media(prefers-color-scheme:dark){{{dark}}}")
}

fn class_names(place: usize, border: Border) -> String {
    let border = match border {
        Border::Thin => "",
        Border::Thick => " thick",
        Border::Dashed => " dashed",
    };
    format!("c{place}{border}")
}

/// Writes a rectangle, with round ends for a task, and the text in it.
fn write_box(svg: &mut String, corner: DrawingPoint, width: f64, kind: NodeKind, text: &str) {
    let radius = if kind == NodeKind::Task { HEIGHT / 2.0 } else { 3.0 };
    let (x, y, w) = (number(corner.x), number(corner.y), number(width));
    let (centre, line) = (number(corner.x + width / 2.0), number(corner.y + HEIGHT / 2.0 + 4.2));
    let _ = write!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{HEIGHT}\" rx=\"{radius}\"/>\
         <text x=\"{centre}\" y=\"{line}\" text-anchor=\"middle\">{}</text>",
        markup(text)
    );
}

/// Writes a part of an edge: a curve that begins and ends level.
fn write_part(svg: &mut String, part: &EdgePart) {
    let (from, to) = (part.from, part.to);
    let dashed = if part.order_only { " o" } else { "" };
    let head = if part.is_last { " marker-end=\"url(#head)\"" } else { "" };
    let _ = write!(svg, "<path class=\"e{dashed}\" d=\"M{} {}", number(from.x), number(from.y));
    if (from.y - to.y).abs() < 0.05 && to.x >= from.x {
        let _ = write!(svg, "H{}", number(to.x));
    } else {
        // An edge that leads back, in a cycle, goes round in a loop.
        let middle = if to.x > from.x { (to.x - from.x) / 2.0 } else { 60.0 };
        let (left, right) = (number(from.x + middle), number(to.x - middle));
        let (y1, y2) = (number(from.y), number(to.y));
        let _ = write!(svg, "C{left} {y1} {right} {y2} {} {y2}", number(to.x));
    }
    let _ = writeln!(svg, "\"{head}/>");
}

/// Returns what a pointer on a node shows.
fn details(drawing: &GraphDrawing, index: usize) -> String {
    let node = &drawing.view.nodes[index];
    let kind = if node.kind == NodeKind::Task { "task" } else { "module" };
    let mut text = format!("{}: {kind}, {}", node.label, state_word(node));
    if let Some(last) = &node.last {
        let _ = write!(text, ", {} on {}", seconds(last.seconds()), last.host);
    }
    if let Some(definer) = node.definer {
        let _ = write!(text, ", added by {}", drawing.view.nodes[definer].label);
    }
    if let Some(failed) = node.blocked_by {
        let _ = write!(text, " by {}", drawing.view.nodes[failed].label);
    }
    if let Some(error) = &node.error {
        let _ = write!(text, ": {}", error.message());
    }
    text
}

/// Returns the legend in a picture of this width, and the height at which the drawing begins.
fn legend(drawing: &GraphDrawing, width: f64) -> (String, f64) {
    let mut svg = String::new();
    let (mut x, mut y) = (MARGIN, MARGIN + HEAD - 8.0);
    let entries = drawing.legend();
    let mut next = |entry_width: f64| {
        if x > MARGIN && x + entry_width > width - MARGIN {
            (x, y) = (MARGIN, y + HEAD);
        }
        let corner = DrawingPoint { x, y };
        x += entry_width + 10.0;
        corner
    };
    for LegendEntry { text, kind, class, place } in &entries {
        let text = shortened(text, WIDTHS.1);
        let entry_width = text_width(&text) + 2.0 * PADDING;
        let class = place.map_or_else(|| "plain".to_owned(), |place| class_names(place, class.border));
        let _ = write!(svg, "<g class=\"{class}\">");
        write_box(&mut svg, next(entry_width), entry_width, *kind, &text);
        svg.push_str("</g>\n");
    }
    if drawing.has_order_only() {
        let corner = next(110.0);
        let (from, to) = (number(corner.x), number(corner.x + 38.0));
        let line = number(corner.y + HEIGHT / 2.0);
        let _ = writeln!(
            svg,
            "<path class=\"e o\" d=\"M{from} {line}H{to}\" marker-end=\"url(#head)\"/>\
             <text x=\"{}\" y=\"{}\">order only</text>",
            number(corner.x + 45.0),
            number(corner.y + HEIGHT / 2.0 + 4.2)
        );
    }
    let end = if entries.is_empty() { MARGIN + HEAD } else { y + HEIGHT + 20.0 };
    (svg, end)
}
