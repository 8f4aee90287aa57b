//! The tables below the charts: failed and blocked nodes, the critical path, the slowest nodes.

#![forbid(unsafe_code)]

use std::fmt::Write;

use dijitso::plan::view::{NodeView, PlanView, State};

use super::super::markup::{markup, seconds};
use super::chart_data::GanttData;

/// The most rows of a table.
const MOST: usize = 100;
/// The number of slowest nodes.
const SLOWEST: usize = 10;

/// Returns the tables that have rows.
pub(super) fn tables(data: &GanttData) -> String {
    let mut page = problems(data.view);
    if data.critical.seconds > 0.0 {
        let note = format!(
            "The longest chain of nodes, each of which needs the one before: {}.",
            seconds(data.critical.seconds)
        );
        page.push_str(&times("Critical path", &note, &data.critical.nodes, data));
        let mut slowest: Vec<usize> =
            (0..data.seconds.len()).filter(|node| data.seconds[*node] > 0.0).collect();
        slowest.sort_by(|a, b| data.seconds[*b].total_cmp(&data.seconds[*a]));
        slowest.truncate(SLOWEST);
        page.push_str(&times(
            "Slowest nodes",
            if data.is_estimate { "Expected work." } else { "Work, without waits." },
            &slowest,
            data,
        ));
    }
    page
}

/// Returns the table of failed and blocked nodes.
fn problems(view: &PlanView) -> String {
    let of = |state: State| view.nodes.iter().filter(move |node| node.state == state);
    let (failed, blocked) = (of(State::Failed).count(), of(State::Blocked).count());
    if failed + blocked == 0 {
        return String::new();
    }
    let mut page =
        "<section class=\"wide\"><h2>Failed and blocked</h2>\n<table><thead><tr><th>Node</th><th>State</th>\
                    <th>Reason</th></tr></thead>\n<tbody>"
            .to_owned();
    for node in of(State::Failed).chain(of(State::Blocked)).take(MOST) {
        let word = node.state.word();
        let _ = writeln!(
            page,
            "<tr><td class=\"label\">{}</td><td><span class=\"state {word}\">{word}</span></td>\
             <td class=\"reason\">{}</td></tr>",
            markup(&node.label),
            reason(view, node)
        );
    }
    page.push_str("</tbody></table>");
    page.push_str(&more(failed + blocked));
    page.push_str("</section>\n");
    page
}

fn reason(view: &PlanView, node: &NodeView) -> String {
    match (&node.error, node.blocked_by) {
        (Some(error), _) => markup(error.message()).into_owned(),
        (None, Some(failed)) => format!("needs <b>{}</b>", markup(&view.nodes[failed].label)),
        (None, None) => "unknown".to_owned(),
    }
}

/// Returns a table of nodes with the seconds that they took, and a bar for each.
fn times(title: &str, note: &str, nodes: &[usize], data: &GanttData) -> String {
    let place_head = if data.is_estimate { "" } else { "<th class=\"place\">Place</th>" };
    let longest = nodes.iter().map(|node| data.seconds[*node]).fold(0.0, f64::max);
    let mut page = format!(
        "<section><h2>{title}</h2>\n<p>{note}</p>\n<table><thead><tr><th>Node</th>\
         <th class=\"number\">Time</th>{place_head}</tr></thead>\n<tbody>"
    );
    for &node in nodes.iter().take(MOST) {
        let (time, view) = (data.seconds[node], &data.view.nodes[node]);
        let host = view.last.as_ref().map(|last| markup(&last.host).into_owned()).unwrap_or_default();
        let place = if data.is_estimate { String::new() } else { format!("<td class=\"place\">{host}</td>") };
        let part = if longest > 0.0 { 100.0 * time / longest } else { 0.0 };
        let _ = writeln!(
            page,
            "<tr><td class=\"label\">{}<i class=\"bar\" style=\"width:{part:.1}%\"></i></td>\
             <td class=\"number\">{}</td>{place}</tr>",
            markup(&view.label),
            seconds(time)
        );
    }
    page.push_str("</tbody></table>");
    page.push_str(&more(nodes.len()));
    page.push_str("</section>\n");
    page
}

/// Returns a sentence on the rows that are left out.
fn more(all: usize) -> String {
    if all > MOST { format!("<p>… and {} more.</p>", all - MOST) } else { String::new() }
}
