//! The page of plans that ran, did not run, and ran in several makes.

use super::*;
use crate::plan::well_formed;
use dijitso::error::{Error, Kind};
use dijitso::plan::sample::{made, node, plan};
use serde_json::Value as Json;

const HOSTILE: &str = "</script><img src=x onerror=\"alert('&')\"> größer_λ \u{202e}{{data}}";

/// Returns the numbers that the script of the page reads.
fn data_of(page: &str) -> Json {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_page_is_well_formed_and_complete() {
    let view = made(64);
    let page = page(&view);
    well_formed(&page, true);
    let data = data_of(&page);
    assert_eq!(data["rows"].as_array().unwrap().len(), 8);
    assert_eq!(data["nodes"].as_array().unwrap().len(), view.nodes.len() - 1);
    for text in ["Wall time", "Parallel efficiency", "Critical path", "List schedule", "Slowest nodes"] {
        assert!(page.contains(text), "{text}");
    }
    for phase in ["generates source", "compiles", "waits for a compiler slot"] {
        assert!(page.contains(phase), "{phase}");
    }
    assert!(!page.contains("waits for another program<"), "a phase that is not there is in the legend");
    assert!(
        page.contains("needs <b>größer_λ-") || page.contains("needs <b>"),
        "the blocked node has a reason"
    );
    assert!(page.contains("‘x’ was not declared; if (a &#60; b &#38;&#38; c &#62; 1)"));
}

#[test]
fn a_page_needs_no_network() {
    let page = page(&made(8));
    assert!(page.contains("default-src 'none'"));
    for reference in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn labels_are_escaped_everywhere() {
    let mut view = made(8);
    for node in &mut view.nodes {
        (node.label, node.name) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        node.last.iter_mut().for_each(|last| last.host = HOSTILE.to_owned());
        node.error = node.error.take().map(|_| Error::new(Kind::Compile, HOSTILE));
    }
    view.name = HOSTILE.to_owned();
    let page = page(&view);
    well_formed(&page, true);
    assert!(!page.contains("<img") && !page.contains('\u{202e}'));
    let data = data_of(&page);
    let label = HOSTILE.replace('\u{202e}', "\\u{202e}");
    assert_eq!(data["nodes"][0][0], label);
    assert_eq!(data["rows"][0][0], label);
    assert!(page.contains("&#60;/script&#62;&#60;img src=x onerror=&#34;alert(&#39;&#38;&#39;)&#34;&#62;"));
}

#[test]
fn a_plan_that_never_ran_says_so() {
    let empty = page(&plan(Vec::new()));
    well_formed(&empty, true);
    assert!(empty.contains("The plan has no nodes."));
    let todo = page(&plan(vec![node("a", 1.0, &[]), node("b.h", 2.0, &[0])]));
    well_formed(&todo, true);
    assert!(todo.contains("None of them has been made yet.") && todo.contains("Expected work"));
    let data = data_of(&todo);
    assert_eq!((&data["estimate"], data["nodes"].as_array().unwrap().len()), (&true.into(), 2));
    assert_eq!(data["end"], 3000.0);
    let unknown = page(&plan(vec![node("a", 0.0, &[])]));
    assert!(unknown.contains("There is no expectation") && unknown.contains("class=\"charts\" hidden"));
}

#[test]
fn breaks_between_makes_are_cut_out() {
    let mut view = made(16);
    let wall = GanttData::new(&view).summary.wall;
    let first = view.nodes.iter_mut().take(3).filter_map(|node| node.last.as_mut());
    first.for_each(|last| last.begin -= 86_400.0);
    let page = page(&view);
    assert!(page.contains("The executions are of 2 makes"));
    let data = data_of(&page);
    let end = data["end"].as_f64().unwrap();
    assert!(end < 2000.0 * wall, "{end} for {wall}");
    assert_eq!(data["breaks"].as_array().unwrap().len(), 1);
    assert!(data["breaks"][0][1].as_f64().unwrap() > 80_000.0);
}

#[test]
fn ten_thousand_executions_make_a_small_page() {
    let view = made(10_000);
    let page = page(&view);
    assert!(page.len() < 3_000_000, "{}", page.len());
    assert_eq!(data_of(&page)["nodes"].as_array().unwrap().len(), view.nodes.len() - 1);
}

#[test]
fn the_critical_path_has_the_first_row_of_the_ideal_schedule() {
    let view = made(64);
    let data = data_of(&page(&view));
    for node in data["nodes"].as_array().unwrap() {
        let is_first = node[8] == 0;
        assert_eq!(node[4] == 1, is_first, "{node}");
    }
}
