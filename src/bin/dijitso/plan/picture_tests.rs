//! Checks that tests of pictures share.

#![forbid(unsafe_code)]

use std::path::Path;

use super::gantt;
use super::graph;
use super::trace::write_trace;
use dijitso::plan::sample::{made, node, plan};
use dijitso::plan::view::PlanView;

/// Compares a text with a golden file, or writes that file if `DIJITSO_RENEW_PICTURES` is set.
pub(super) fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/dijitso/plan/golden").join(name);
    if std::env::var_os("DIJITSO_RENEW_PICTURES").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name} has changed: look at it, then set DIJITSO_RENEW_PICTURES=1");
}

/// Panics unless all elements of a page end in the order in which they began, and all of its special
/// characters are escaped. In HTML some elements have no end, and scripts and styles have no markup.
pub(super) fn well_formed(page: &str, is_html: bool) {
    const EMPTY: [&str; 5] = ["meta", "input", "br", "img", "link"];
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap_or(page);
    let mut open: Vec<&str> = Vec::new();
    while let Some((text, after)) = rest.split_once('<') {
        let stray = text.split('&').skip(1).find(|entity| !entity.starts_with('#') || !entity.contains(';'));
        assert!(stray.is_none() && !text.contains('>'), "{text:?}");
        // A `>` in an attribute is escaped.
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
            continue;
        }
        let is_whole = tag.ends_with('/');
        let name = tag.split([' ', '\n', '/']).next().unwrap();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        for value in tag.split('"').skip(1).step_by(2) {
            let stray = value.split('&').skip(1).find(|entity| !entity.starts_with('#'));
            assert!(stray.is_none() && !value.contains('<'), "<{tag}>");
        }
        if is_html && (name == "script" || name == "style") {
            rest = rest.split_once(&format!("</{name}>")).expect("a script ends").1;
        } else if !(is_whole || is_html && EMPTY.contains(&name)) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} have no end");
}

#[test]
#[should_panic(expected = "b")]
fn an_element_without_end_is_seen() {
    well_formed("<a><b></a>", true);
}

#[test]
#[should_panic(expected = "img")]
fn an_attribute_that_is_not_escaped_is_seen() {
    well_formed("<img alt=\"<\"/>", false);
}

/// Writes pictures of samples into the directory that `DIJITSO_PICTURES` names, to look at.
#[test]
fn samples_to_look_at() {
    let Some(dir) = std::env::var_os("DIJITSO_PICTURES") else { return };
    let write = |name: &str, text: &str| std::fs::write(Path::new(&dir).join(name), text).unwrap();
    let mut twice = made(16);
    let first = twice.nodes.iter_mut().take(3).filter_map(|node| node.last.as_mut());
    first.for_each(|last| last.begin -= 86_400.0);
    let samples: [(&str, PlanView); 6] = [
        ("made", made(64)),
        ("large", made(10_000)),
        ("small", made(8)),
        ("twice", twice),
        ("todo", plan(vec![node("form.h", 1.0, &[]), node("a", 2.0, &[0]), node("b", 1.5, &[0])])),
        ("empty", plan(Vec::new())),
    ];
    for (name, view) in &samples {
        write(&format!("{name}.html"), &gantt::page(view));
        for (extension, text) in graph::tests::all_formats(view) {
            write(&format!("{name}.{extension}"), &text);
        }
        let mut trace = Vec::new();
        write_trace(view, &mut trace).unwrap();
        write(&format!("{name}.trace.json"), &String::from_utf8(trace).unwrap());
    }
}
