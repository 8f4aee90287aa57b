//! `docs/defects.md` names only tests that exist, and every test of a defect.

use super::*;

/// A row of a table: its cells, and the tests that the last of them names, as path and name.
struct Row {
    cells: Vec<String>,
    tests: Vec<(String, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows(section: &str) -> Vec<Row> {
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let row = |line: &str| {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let quoted = cells[cells.len() - 1].split('`').skip(1).step_by(2);
        let named = quoted.filter(|text| text.contains('/') && !text.contains(' '));
        let test = |text: &str| {
            let (path, name) = text.split_once("::").unwrap_or((text, ""));
            (path.to_owned(), name.to_owned())
        };
        Row { tests: named.map(test).collect(), cells }
    };
    lines.map(row).collect()
}

/// The names of the test functions in Rust source.
fn tests_of(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("fn ") {
            Some(rest) if is_test => {
                names.extend(rest.split('(').next());
                is_test = false;
            }
            // Further attributes, and comments, stand between the attribute and its function.
            _ if line.starts_with(['#', '/']) => is_test |= line == "#[test]",
            _ => is_test = false,
        }
    }
    names
}

/// Returns whether a file has this test: a test function in Rust, the name in other files.
fn has(path: &str, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(root().join(path)) else { return false };
    if path.ends_with(".rs") { tests_of(&text).contains(&name) } else { text.contains(name) }
}

/// The defects that the name of a test begins with: H1 and W7 for `h1_w7_...`.
fn numbers(name: &str) -> Vec<String> {
    let number = |word: &&str| {
        let digits = word.strip_prefix(['h', 'w', 'c']).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(number).map(str::to_ascii_uppercase).collect()
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn the_table_of_defects_names_the_tests_that_there_are() {
    let text = fs::read_to_string(root().join("docs/defects.md")).unwrap();
    let (first, second) = text.split_once("\n## What users").unwrap();
    let (defects, lessons) = (rows(first), rows(second));
    for row in defects.iter().chain(&lessons) {
        for (path, name) in &row.tests {
            assert!(has(path, name), "{}: there is no {path}::{name}", row.cells[0]);
        }
    }

    let expected = [("H", 8), ("W", 16), ("C", 24)]
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")));
    let found: Vec<&str> = defects.iter().map(|row| row.cells[0].as_str()).collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
    for row in &defects {
        let number = &row.cells[0];
        let named = row.tests.iter().any(|(_, name)| numbers(name).contains(number));
        let put_off = row.cells[2].starts_with("not yet: ") || row.cells[2].starts_with("cannot apply: ");
        assert!(named != put_off, "{number}: a test whose name begins with it, or why there is none");
    }
    assert!(!lessons.is_empty());
    for row in &lessons {
        let excused = ["not yet", "cannot apply: "].iter().any(|start| row.cells[2].starts_with(start));
        assert_eq!(row.tests.is_empty(), excused, "{}: a test, or why there is none", row.cells[0]);
    }

    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    rust_files(&root().join("tests"), &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        for name in tests_of(&text) {
            let test = (path.clone(), name.to_owned());
            for number in numbers(name) {
                let listed = defects.iter().any(|row| row.cells[0] == number && row.tests.contains(&test));
                assert!(listed, "{path}::{name} is missing in docs/defects.md under {number}");
            }
        }
    }
}
