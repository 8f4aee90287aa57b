//! Graphs against golden files: `DIJITSO_RENEW_PICTURES=1 cargo test --bin dijitso plan` writes them anew.

use super::placement::{HEIGHT, place};
use super::*;
use crate::plan::{check_golden, well_formed};
use dijitso::error::{Error, Kind};
use dijitso::plan::sample::{made, node, plan};
use dijitso::plan::view::State;

/// A plan with both kinds of nodes and edges, all states that stand out, and a node that another has added.
fn small() -> PlanView {
    let mut view = plan(vec![
        node("tables \"P2\" \\n.bin", 1.0, &[]),
        node("mesh & <size>.h5", 1.0, &[]),
        node("größer_λ", 1.0, &[0]),
        node("stokes[3]", 1.0, &[0]),
        node("solver", 1.0, &[2, 3]),
        node("added", 1.0, &[]),
    ]);
    view.name = "cavity \"7\"".to_owned();
    view.nodes[4].order_only = vec![1, 3];
    view.nodes[5].definer = Some(2);
    for (node, state) in [(0, State::Done), (3, State::Failed), (4, State::Blocked), (5, State::Running)] {
        view.nodes[node].state = state;
    }
    view.nodes[1].stale = true;
    view.nodes[3].error = Some(Error::new(Kind::Compile, "a < b"));
    view.nodes[4].blocked_by = Some(3);
    view
}

#[test]
fn dot_is_as_before() {
    check_golden("small.dot", &draw(&small(), GraphFormat::Dot, ColorBy::State));
}

#[test]
fn mermaid_is_as_before() {
    check_golden("small.mmd", &draw(&small(), GraphFormat::Mermaid, ColorBy::State));
}

#[test]
fn svg_is_as_before() {
    check_golden("small.svg", &draw(&small(), GraphFormat::Svg, ColorBy::State));
}

#[test]
fn json_is_as_before() {
    check_golden("small.json", &draw(&small(), GraphFormat::Json, ColorBy::State));
}

#[test]
fn svg_is_well_formed_whatever_labels_are() {
    for by in [ColorBy::State, ColorBy::Name, ColorBy::None] {
        for mut view in [small(), made(64), plan(Vec::new())] {
            view.name = "<a> & \"b\"".to_owned();
            well_formed(&draw(&view, GraphFormat::Svg, by), false);
        }
    }
}

#[test]
fn no_label_is_markup_in_mermaid() {
    let labels = ["%%{init: {}}%%", "1. one", "- two", "`*three*`", "end", "\"]; click n0", "<b>&amp;"];
    let view = plan(labels.iter().map(|label| node(label, 1.0, &[])).collect());
    let text = draw(&view, GraphFormat::Mermaid, ColorBy::None);
    let lines: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with('n')).collect();
    assert_eq!(lines.len(), labels.len());
    for line in lines {
        let label = line.split('"').nth(1).unwrap();
        assert_eq!(line.matches('"').count(), 2, "{line}");
        assert!(!label.contains(['<', '`', '%', '{', ']', '*']), "{line}");
        assert!(!label.starts_with("1.") && !label.starts_with('-'), "{line}");
    }
}

#[test]
fn nodes_do_not_overlap() {
    for view in [small(), made(8), made(64), made(1000)] {
        let edges = GraphDrawing::new(&view, ColorBy::None).edges;
        let placement = place(&view, &edges, vec![100.0; view.nodes.len()]);
        let corners = &placement.corners;
        for (index, a) in corners.iter().enumerate() {
            assert!(a.x >= 0.0 && a.y >= 0.0, "{a:?}");
            assert!(
                a.x + 100.0 <= placement.width + 1e-9 && a.y + HEIGHT <= placement.height + 1e-9,
                "{a:?}"
            );
            for b in &corners[..index] {
                let apart = (a.x - b.x).abs() >= 100.0 || (a.y - b.y).abs() >= HEIGHT;
                assert!(apart, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn edges_lead_from_left_to_right() {
    let view = made(64);
    let edges = GraphDrawing::new(&view, ColorBy::None).edges;
    let placement = place(&view, &edges, vec![100.0; view.nodes.len()]);
    assert!(placement.parts.iter().all(|part| part.to.x >= part.from.x));
    let ends = placement.parts.iter().filter(|part| part.is_last).count();
    assert_eq!(ends, edges.len());
}

#[test]
fn cycles_and_large_plans_have_a_picture() {
    let cycle =
        plan(vec![node("a", 1.0, &[2]), node("b", 1.0, &[0]), node("c", 1.0, &[1]), node("d", 1.0, &[3])]);
    well_formed(&draw(&cycle, GraphFormat::Svg, ColorBy::State), false);
    let wide = made(10_000);
    well_formed(&draw(&wide, GraphFormat::Svg, ColorBy::State), false);
    let before = |index: usize| if index == 0 { vec![] } else { vec![index - 1, index / 2] };
    let deep = plan((0..10_000).map(|index| node("n", 1.0, &before(index))).collect());
    well_formed(&draw(&deep, GraphFormat::Svg, ColorBy::State), false);
}

#[test]
fn the_format_is_that_of_the_file() {
    let format = |words: &[&str], is_json| {
        #[derive(clap::Parser)]
        struct Words {
            #[command(flatten)]
            graph: GraphArguments,
        }
        let words: Words = clap::Parser::parse_from([&["graph"], words].concat());
        words.graph.format(is_json)
    };
    assert_eq!(format(&[], false), GraphFormat::Dot);
    assert_eq!(format(&[], true), GraphFormat::Json);
    assert_eq!(format(&["-o", "a.SVG"], true), GraphFormat::Svg);
    assert_eq!(format(&["-o", "a.mmd"], false), GraphFormat::Mermaid);
    assert_eq!(format(&["-o", "a.svg", "--format", "dot"], false), GraphFormat::Dot);
    assert_eq!(format(&["-o", "-"], true), GraphFormat::Json);
}

/// Returns all pictures with the extensions of their files.
pub(in crate::plan) fn all_formats(view: &PlanView) -> [(&'static str, String); 4] {
    let draw = |format, by| draw(view, format, by);
    [
        ("dot", draw(GraphFormat::Dot, ColorBy::State)),
        ("mmd", draw(GraphFormat::Mermaid, ColorBy::State)),
        ("svg", draw(GraphFormat::Svg, ColorBy::State)),
        ("names.svg", draw(GraphFormat::Svg, ColorBy::Name)),
    ]
}
