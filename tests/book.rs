//! `docs/` and the README say what the code says: generated parts are renewed and compared, everything that is named
//! exists, and every block of code stands in a file that other tests compile.
//!
//! `DIJITSO_RENEW_DOCS=1 cargo test --test book` writes the generated parts.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use dijitso::params::schema::{KEYS, SECTIONS, Scope};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a directory of the repository whose names end so, by their paths in it.
fn files(dir: &str, ends: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "build" {
                dirs.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.insert(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found
}

/// The pages of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = files("docs", &[".md"]).into_iter().collect();
    pages.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(PathBuf::from));
    pages.extend(files("examples", &["README.md"]));
    pages
}

// --- generated parts --------------------------------------------------------------------------------------------------

const BEGIN: &str = "<!-- generated: DIJITSO_RENEW_DOCS=1 cargo test --test book -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Compares what stands between the marks of a page, or renews it.
fn generated(page: &str, made: &str) {
    let old = text(page);
    let (before, rest) = old.split_once(BEGIN).unwrap_or_else(|| panic!("{page} has no mark: {BEGIN}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{page} has no mark: {END}"));
    let new = format!("{before}{BEGIN}\n{made}\n{END}{after}");
    if std::env::var_os("DIJITSO_RENEW_DOCS").is_some() {
        fs::write(root().join(page), &new).unwrap();
    } else {
        assert!(
            old == new,
            "{page} is not what the code says; renew it by\n    DIJITSO_RENEW_DOCS=1 cargo test --test book\n"
        );
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_page_of_parameters_is_that_of_the_schema() {
    let mut made = String::new();
    for section in SECTIONS.iter().filter(|section| **section != "generator") {
        writeln!(made, "### Section `{section}`\n").unwrap();
        writeln!(made, "| key | type | default | environment | scope | meaning |\n|---|---|---|---|---|---|")
            .unwrap();
        for key in KEYS.iter().filter(|key| key.name.split('.').next() == Some(section)) {
            let default =
                if key.default.is_empty() { "empty".to_owned() } else { format!("`{}`", key.default) };
            let environment = key.environment.map_or("–".to_owned(), |name| format!("`{name}`"));
            let scope = match key.scope {
                Scope::Signature => "signature",
                Scope::Shared => "shared",
                Scope::Local => "local",
            };
            let (kind, help) = (cell(&key.kind.describe()), cell(key.help));
            writeln!(made, "| `{}` | {kind} | {default} | {environment} | {scope} | {help} |", key.name)
                .unwrap();
        }
        made.push('\n');
    }
    generated("docs/parameters.md", made.trim_end());
}

/// Returns the help of a subcommand.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dijitso"))
        .args(arguments)
        .arg("--help")
        .env("NO_COLOR", "1")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    assert!(output.status.success(), "dijitso {arguments:?} --help");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn subcommands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on from the line before.
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(String::from)
        .collect()
}

#[test]
fn the_page_of_the_command_is_its_help() {
    let mut made = format!("### `dijitso`\n\n```text\n{}```\n", help(&[]));
    for name in subcommands() {
        write!(made, "\n### `dijitso {name}`\n\n```text\n{}```\n", help(&[&name])).unwrap();
    }
    generated("docs/command.md", made.trim_end());
}

/// Exported functions in the order of the header, with the first sentence of their comments.
fn functions(header: &str) -> Vec<(String, String)> {
    let mut functions = Vec::new();
    for part in header.split("\n/**\n").skip(1) {
        let Some((comment, code)) = part.split_once("*/\n") else { continue };
        // A function begins at the margin, and its name comes before the first parenthesis.
        let code = code.split(';').next().unwrap();
        if code.starts_with("typedef") || code.starts_with('#') {
            continue;
        }
        let Some((front, _)) = code.split_once('(') else { continue };
        let name = front.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        let comment: Vec<&str> = comment
            .lines()
            .map(|line| line.trim_start_matches([' ', '*']))
            .take_while(|line| !line.is_empty())
            .collect();
        let comment = comment.join(" ");
        let end =
            comment.match_indices(". ").find(|(at, _)| comment[at + 2..].starts_with(char::is_uppercase));
        let sentence = end.map_or(comment.as_str(), |(at, _)| &comment[..=at]);
        functions.push((name.to_owned(), sentence.to_owned()));
    }
    functions
}

#[test]
fn the_list_of_functions_is_that_of_the_header() {
    let functions = functions(&text("include/dijitso.h"));
    let mut names: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names.join("\n") + "\n", text("tests/exports.txt"), "the header is not read as it is meant");
    let mut made = "| function | what it gives |\n|---|---|\n".to_owned();
    for (name, sentence) in &functions {
        writeln!(made, "| `{name}` | {} |", cell(sentence)).unwrap();
    }
    generated("docs/c-reference.md", made.trim_end());
}

/// The first block of text in the documentation of a module.
fn grammar(source: &str) -> Option<String> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut lines =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).skip_while(|line| *line != "```text");
    lines.next()?;
    Some(lines.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect())
}

#[test]
fn the_formats_are_those_above_the_code() {
    const MARK: &str = "<!-- from: ";
    let page = "docs/cache.md";
    let old = text(page);
    let mut parts = old.split(MARK);
    let mut new = parts.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for part in parts {
        let (path, rest) =
            part.split_once(" -->\n```text\n").unwrap_or_else(|| panic!("{page}: a block follows {MARK}"));
        // An empty block ends at once.
        let end = if rest.starts_with("```\n") { 0 } else { rest.find("\n```\n").unwrap() + 1 };
        let block = grammar(&text(path)).unwrap_or_else(|| panic!("{path} has no block of text"));
        write!(new, "{MARK}{path} -->\n```text\n{block}{}", &rest[end..]).unwrap();
        shown.push(path.to_owned());
    }
    if std::env::var_os("DIJITSO_RENEW_DOCS").is_some() {
        fs::write(root().join(page), &new).unwrap();
    } else {
        assert!(
            old == new,
            "{page} is not what the code says; renew it by\n    DIJITSO_RENEW_DOCS=1 cargo test --test book\n"
        );
    }
    let findings = text("src/cache/integrity.rs");
    for row in
        findings.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with("| `"))
    {
        assert!(
            new.lines().any(|line| line == row),
            "{page} has not this row of src/cache/integrity.rs:\n{row}"
        );
    }
    for path in files("src/cache", &[".rs"]) {
        let has_format = grammar(&text(&path)).is_some();
        assert!(
            !has_format || shown.iter().any(|shown| Path::new(shown) == path),
            "{page} does not show {}",
            path.display()
        );
    }
}

// --- what is named exists ---------------------------------------------------------------------------------------------

/// Words of this form in a text: a beginning, and letters, digits and underscores.
fn words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(beginning).filter_map(move |(at, _)| {
        let inside = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_./-".contains(c));
        let rest = &text[at..];
        let end = beginning.len()
            + rest[beginning.len()..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len() - beginning.len());
        (!inside).then(|| &rest[..end])
    })
}

#[test]
fn every_function_constant_and_parameter_that_is_named_exists() {
    let (header, exports) = (text("include/dijitso.h"), text("tests/exports.txt"));
    let mut missing = String::new();
    for page in pages() {
        let text = text(&page);
        for name in words(&text, "dijitso_") {
            const OTHERS: [&str; 4] =
                ["dijitso_ROOT", "dijitso_DIR", "dijitso_WITH_MPI", "dijitso_noun_verb"];
            let other = OTHERS.contains(&name);
            let known =
                exports.lines().any(|known| known == name) || words(&header, name).any(|word| word == name);
            let family = name.ends_with('_') && exports.contains(name);
            if !other && !known && !family {
                writeln!(missing, "{}: {name}", page.display()).unwrap();
            }
        }
        for name in words(&text, "DIJITSO_ERROR_") {
            if !name.ends_with('_') && !header.contains(&format!("#define {name} ")) {
                writeln!(missing, "{}: {name}", page.display()).unwrap();
            }
        }
        for section in ["`cache.", "`build.", "`parallel."] {
            for name in words(&text, section).map(|name| &name[1..]) {
                if !name.ends_with(".py") && KEYS.iter().all(|key| !key.name.starts_with(name)) {
                    writeln!(missing, "{}: {name}", page.display()).unwrap();
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in the code:\n{missing}");
}

#[test]
fn every_error_code_has_a_row_that_says_what_to_do() {
    let page = text("docs/errors.md");
    for line in text("include/dijitso.h").lines().filter(|line| line.starts_with("#define DIJITSO_ERROR_")) {
        let [_, name, number, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        let row = format!("| {number} | `{name}` |");
        assert!(page.contains(&row), "docs/errors.md has no row that begins with {row}");
    }
}

/// The blocks of a page: language and lines.
fn blocks(page: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some((language.trim().to_owned(), Vec::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.1.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Lines without the indentation that all of them share.
fn flush(lines: &[&str]) -> Vec<String> {
    let indented = lines.iter().filter(|line| !line.trim().is_empty());
    let margin = indented.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| line.get(margin..).unwrap_or("").to_owned()).collect()
}

/// Returns the longest number of these lines that follow each other in a text.
fn agreement(block: &[String], text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let same = |at: usize| {
        let window = flush(&lines[at..(at + block.len()).min(lines.len())]);
        window.iter().zip(block).take_while(|(line, wanted)| line == wanted).count()
    };
    (0..lines.len()).map(same).max().unwrap_or(0)
}

#[test]
fn every_block_of_code_stands_in_a_file_that_is_compiled() {
    let sources = files("examples", &[".c", ".cpp", ".h", ".hpp", "CMakeLists.txt", "generate.py"]);
    let sources: Vec<(PathBuf, String)> =
        sources.into_iter().map(|path| (path.clone(), text(path))).collect();
    let mut wrong = String::new();
    for page in pages() {
        for (language, lines) in blocks(&text(&page)) {
            match language.as_str() {
                "c" | "cpp" | "cmake" => {}
                "sh" | "text" | "ini" | "json" => continue,
                other => panic!("{}: a block of \"{other}\"", page.display()),
            }
            let lines = flush(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let best = sources.iter().map(|(path, text)| (agreement(&lines, text), path)).max().unwrap();
            if best.0 < lines.len() {
                let (line, nearest) = (&lines[best.0], best.1.display());
                writeln!(wrong, "{}: as {nearest}, but for the line\n    {line}", page.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "blocks that stand in no file of examples/:\n{wrong}");
}

#[test]
fn every_command_line_is_understood() {
    let known = subcommands();
    let mut wrong = String::new();
    for page in pages() {
        let text = text(&page);
        let blocks = blocks(&text).into_iter().filter(|(language, _)| language == "sh");
        let lines: Vec<String> = blocks.flat_map(|(_, lines)| lines).collect();
        for line in lines.iter().map(|line| line.split('#').next().unwrap().trim()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "dijitso") else { continue };
            let words = &words[at + 1..];
            let Some(name) = words.iter().find(|word| known.iter().any(|name| name == *word)) else {
                writeln!(wrong, "{}: no such subcommand: {line}", page.display()).unwrap();
                continue;
            };
            let help = help(&[name]);
            let options = words.iter().filter(|word| word.starts_with('-') && word.len() > 1);
            for option in options.map(|option| option.split('=').next().unwrap()) {
                if !help.split([' ', ',', '\n', '[']).any(|word| word == option) {
                    writeln!(wrong, "{}: no option {option}: {line}", page.display()).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A page without its blocks, and without what is in it for the book alone.
fn prose(page: &str) -> String {
    let mut within = false;
    let mut prose = String::new();
    for line in page.lines() {
        within ^= line.starts_with("```");
        if !within && !line.starts_with("<!--") {
            writeln!(prose, "{line}").unwrap();
        }
    }
    prose
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = String::new();
    for page in pages() {
        let source = prose(&text(&page));
        for (at, _) in source.match_indices("](") {
            let target = source[at + 2..].split(')').next().unwrap();
            if target.contains("://") || target.contains('\n') {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let joined = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let mut clean = PathBuf::new();
            for part in joined.components() {
                match part {
                    Component::ParentDir => assert!(clean.pop(), "{}: {target}", page.display()),
                    part => clean.push(part),
                }
            }
            let there = root().join(&clean).exists();
            let headings = |text: &str| {
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading)
            };
            if !there || (!heading.is_empty() && !headings(&text(&clean))) {
                writeln!(wrong, "{}: {target}", page.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{wrong}");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents = text("docs/mkdocs.yml");
    let listed = |page: &Path| contents.contains(&format!(" {}\n", page.display()));
    let missing: Vec<PathBuf> = files("docs", &[".md"]).into_iter().filter(|page| !listed(page)).collect();
    assert!(missing.is_empty(), "not in the nav of docs/mkdocs.yml: {missing:?}");
}
