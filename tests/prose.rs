//! Comments, the header and the pages of the book keep to plain sentences.
//!
//! Passing this is not the goal, reading well is: a doc comment begins with a verb and names its object.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

/// Words with which no doc comment begins.
const BEGINNINGS: [&str; 8] = ["What", "Whether", "Who", "That of", "Those of", "How", "Where", "As"];

/// Words for persons where the text means a process, a rank or a user.
const PERSONS: [&str; 4] = ["nobody", "somebody", "whoever", "everybody"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns whether a text contains a word, in any case.
fn has_word(text: &str, word: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '/').any(|part| part == word)
}

/// The text of a line that is a doc comment.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim)
}

/// The complaints about one file.
fn complaints(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let mut complaints = Vec::new();
    let mut is_inside = false;
    for (at, line) in text.lines().enumerate() {
        let doc = doc(line);
        let mut complain = |word: &str| {
            let path = path.strip_prefix(root()).unwrap().display();
            complaints.push(format!("{path}:{}: {word:?}: {}", at + 1, line.trim()));
        };
        let begins = |word: &&&str| {
            let rest = doc.and_then(|doc| doc.strip_prefix(**word));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
        };
        if is_rust && !is_inside {
            BEGINNINGS.iter().filter(begins).for_each(|word| complain(word));
        }
        is_inside = doc.is_some_and(|doc| !doc.is_empty());
        if !is_rust || doc.is_some() {
            PERSONS.iter().filter(|word| has_word(line, word)).for_each(|word| complain(word));
        }
    }
    complaints
}

#[test]
fn doc_comments_and_pages_are_plain() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        files.extend(common::rust_files(&root().join(folder)));
    }
    let pages = |folder: PathBuf, extension: &str| -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    };
    files.extend(pages(root().to_owned(), "md"));
    files.extend(pages(root().join("docs"), "md"));
    files.extend(["dijitso.h", "dijitso.hpp"].map(|name| root().join("include").join(name)));
    assert!(files.len() > 200);
    // Names the words that it forbids.
    let this = root().join(file!());
    let found: Vec<String> =
        files.iter().filter(|path| **path != this).flat_map(|path| complaints(path)).collect();
    assert!(found.is_empty(), "{} places to rewrite:\n{}", found.len(), found.join("\n"));
}
