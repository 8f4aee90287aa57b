//! `docs/mapping.md` tells users of the Python module where everything is: it knows every documented name,
//! and every function of the header.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Cells of the rows of all tables, without the heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let line = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|--");
    let body = |at: &usize| !is_rule(lines[*at]) && !lines.get(at + 1).is_some_and(|next| is_rule(next));
    (0..lines.len()).filter(body).filter_map(|at| cells(lines[at])).collect()
}

/// Words of `text` that begin with `prefix` and go on with lower-case letters and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let part = |c: char| c.is_ascii_lowercase() || c == '_';
    text.match_indices(prefix)
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c)))
        .map(|(at, _)| text[at..].split(|c| !part(c)).next().unwrap_or_default())
        .collect()
}

fn header_functions() -> BTreeSet<String> {
    read("tests/exports.txt").lines().map(str::to_owned).collect()
}

#[test]
fn every_python_name_has_a_row_and_every_row_a_name() {
    let text = read("docs/mapping.md");
    let listed: Vec<String> = rows(&text)
        .iter()
        .filter_map(|row| row[0].strip_prefix('`')?.strip_suffix('`').map(str::to_owned))
        .filter(|name| name.starts_with("dijitso."))
        .collect();
    let names = read("tests/python_names.txt");
    let names: Vec<&str> = names.lines().collect();
    assert!(names.len() > 100 && names.is_sorted());
    for name in &names {
        let count = listed.iter().filter(|listed| listed == name).count();
        assert_eq!(count, 1, "{name} has {count} rows in docs/mapping.md");
    }
    for name in &listed {
        assert!(names.contains(&name.as_str()), "{name} is not in tests/python_names.txt");
    }
}

#[test]
fn no_cell_is_empty_and_what_is_missing_is_said_with_a_reason() {
    for row in rows(&read("docs/mapping.md")) {
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        for cell in &row {
            let reason = cell.strip_prefix("none");
            assert!(reason.is_none_or(|reason| reason.len() > 5 && reason.starts_with(": ")), "{row:?}");
        }
    }
}

#[test]
fn header_and_table_know_the_same_functions() {
    let text = read("docs/mapping.md");
    let named = words(&text, "dijitso_");
    let functions = header_functions();
    for name in &named {
        // The type of a handle is a word of the header as well.
        let known = functions.contains(*name) || *name == "dijitso_blob";
        assert!(known, "docs/mapping.md names {name}, which include/dijitso.h has not");
    }
    // The table states the rule of the forms for other languages once.
    let is_form = |name: &str| {
        let base = name.strip_suffix("_comm").or_else(|| name.strip_suffix("_fint"));
        base.is_some_and(|base| functions.contains(base))
    };
    for function in functions.iter().filter(|function| !is_form(function)) {
        assert!(named.contains(function.as_str()), "docs/mapping.md does not name {function}");
    }
    let header = read("include/dijitso.h");
    for value in text.split('`').filter(|word| word.starts_with("DIJITSO_CATEGORY_")) {
        assert!(header.contains(value), "{value} is not in the header");
    }
}

#[test]
fn the_list_of_functions_is_that_of_the_header() {
    let header = read("include/dijitso.h");
    for function in header_functions() {
        assert!(header.contains(&format!("{function}(")), "{function}");
    }
}
