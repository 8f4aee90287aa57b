//! Checks the pages against the code: generated parts are up to date, named functions, parameters, files and
//! messages exist, and blocks of code are in files that other tests compile.
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

/// Returns the files below a directory whose names end in one of `ends`, as paths relative to the repository.
fn files(dir: &str, ends: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Skip build trees of examples, but not src/build.
            if path.is_dir() && (name != "build" || path.join("mod.rs").exists()) {
                dirs.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.insert(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found
}

/// Returns all pages that are checked.
fn pages() -> Vec<PathBuf> {
    const TOP: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    let mut pages: Vec<PathBuf> = files("docs", &[".md"]).into_iter().collect();
    pages.extend(TOP.map(PathBuf::from));
    pages.extend(files("examples", &["README.md"]));
    pages
}

// --- generated parts --------------------------------------------------------------------------------------------------

const BEGIN: &str = "<!-- generated: DIJITSO_RENEW_DOCS=1 cargo test --test book -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Compares the text between the marks of a page with `made`, or renews it.
fn check_generated(page: &str, made: &str) {
    let old = text(page);
    let (before, rest) = old.split_once(BEGIN).unwrap_or_else(|| panic!("{page} has no mark: {BEGIN}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{page} has no mark: {END}"));
    let new = format!("{before}{BEGIN}\n{made}\n{END}{after}");
    renew(page, &old, &new);
}

/// Compares a page with its new text, or writes that if DIJITSO_RENEW_DOCS is set.
fn renew(page: &str, old: &str, new: &str) {
    if std::env::var_os("DIJITSO_RENEW_DOCS").is_some() {
        fs::write(root().join(page), new).unwrap();
    } else {
        assert!(
            old == new,
            "{page} is not up to date; renew it by\n    DIJITSO_RENEW_DOCS=1 cargo test --test book\n"
        );
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn parameters_page_matches_the_schema() {
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
    check_generated("docs/parameters.md", made.trim_end());
}

/// Returns the help text of the command or a subcommand.
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

/// Returns the names of the subcommands of a command.
fn names_below(command: &[&str]) -> Vec<String> {
    let help = help(command);
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| !line.is_empty());
    // A line that is indented further continues the one before.
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(String::from)
        .collect()
}

/// Returns the words of each subcommand: `["show"]`, `["plan"]`, `["plan", "ls"]`.
fn subcommands() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for name in names_below(&[]) {
        let below = names_below(&[&name]);
        found.push(vec![name.clone()]);
        found.extend(below.into_iter().map(|below| vec![name.clone(), below]));
    }
    found
}

#[test]
fn command_page_matches_the_help() {
    let mut made = format!("### `dijitso`\n\n```text\n{}```\n", help(&[]));
    for name in subcommands() {
        let words: Vec<&str> = name.iter().map(String::as_str).collect();
        write!(made, "\n### `dijitso {}`\n\n```text\n{}```\n", name.join(" "), help(&words)).unwrap();
    }
    check_generated("docs/command.md", made.trim_end());
}

/// Returns the exported functions in the order of the header, with the first sentence of their comments.
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
fn function_list_matches_the_header() {
    let functions = functions(&text("include/dijitso.h"));
    let mut names: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    // The forms for other languages follow by one rule, and have no comments.
    let exports = text("tests/exports.txt");
    let exports: Vec<&str> = exports.lines().collect();
    let is_form = |name: &str| {
        let base = name.strip_suffix("_comm").or_else(|| name.strip_suffix("_fint"));
        base.is_some_and(|base| exports.contains(&base))
    };
    let described: Vec<&str> = exports.iter().copied().filter(|name| !is_form(name)).collect();
    assert_eq!(names, described, "this test does not understand the header");
    let mut made = "| function | what it gives |\n|---|---|\n".to_owned();
    for (name, sentence) in &functions {
        writeln!(made, "| `{name}` | {} |", cell(sentence)).unwrap();
    }
    check_generated("docs/c-reference.md", made.trim_end());
}

/// Returns the first text block in the documentation of a module.
fn grammar(source: &str) -> Option<String> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut lines =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).skip_while(|line| *line != "```text");
    lines.next()?;
    Some(lines.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect())
}

#[test]
fn formats_match_the_code() {
    const MARK: &str = "<!-- from: ";
    let page = "docs/cache.md";
    let old = text(page);
    let mut parts = old.split(MARK);
    let mut new = parts.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for part in parts {
        let (path, rest) =
            part.split_once(" -->\n```text\n").unwrap_or_else(|| panic!("{page}: a block follows {MARK}"));
        let end = if rest.starts_with("```\n") { 0 } else { rest.find("\n```\n").unwrap() + 1 };
        let block = grammar(&text(path)).unwrap_or_else(|| panic!("{path} has no block of text"));
        write!(new, "{MARK}{path} -->\n```text\n{block}{}", &rest[end..]).unwrap();
        shown.push(path.to_owned());
    }
    renew(page, &old, &new);
    let findings = text("src/cache/integrity.rs");
    for row in
        findings.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with("| `"))
    {
        assert!(
            new.lines().any(|line| line == row),
            "{page} lacks this row of src/cache/integrity.rs:\n{row}"
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

// --- names -----------------------------------------------------------------------------------------------------------

/// Returns the words of a text that consist of a beginning and letters, digits and underscores.
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
fn named_functions_constants_and_parameters_exist() {
    let (header, exports) = (text("include/dijitso.h"), text("tests/exports.txt"));
    let modules: String = files("fortran", &[".f90"]).into_iter().map(text).collect();
    // Headers for C++ name themselves; functions of CMake begin with the prefix, too.
    let headers: String = files("include", &[".hpp"]).into_iter().map(text).collect();
    let cmake: String = files("cmake", &[".cmake"]).into_iter().map(text).collect();
    let mut missing = String::new();
    for page in pages() {
        let text = text(&page);
        for name in words(&text, "dijitso_") {
            const OTHERS: [&str; 4] =
                ["dijitso_ROOT", "dijitso_DIR", "dijitso_WITH_MPI", "dijitso_noun_verb"];
            let other = OTHERS.contains(&name);
            let known = exports.lines().any(|known| known == name)
                || [&header, &modules, &headers, &cmake]
                    .into_iter()
                    .any(|text| words(text, name).any(|word| word == name));
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

/// Returns the texts in backquotes.
fn code_spans(page: &str) -> impl Iterator<Item = String> {
    prose(page).split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>().into_iter()
}

/// Returns true if the text is a path of one of these folders.
fn is_below(path: &str, folders: &[&str]) -> bool {
    path.split_once('/').is_some_and(|(first, rest)| folders.contains(&first) && !rest.is_empty())
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
}

#[test]
fn named_files_and_tests_exist() {
    let mut missing = String::new();
    for page in pages() {
        for span in code_spans(&text(&page)) {
            let (path, item) = span.split_once("::").unwrap_or((&span, ""));
            if !is_below(path, &["src", "tests", "benches", "examples", "docs"]) {
                continue;
            }
            let exists = root().join(path).exists();
            if !exists || (!item.is_empty() && words(&text(path), item).all(|word| word != item)) {
                writeln!(missing, "{}: {span}", page.display()).unwrap();
            }
        }
    }
    // ARCHITECTURE.md names files relative to src. A folder of one component may be a folder of the cache.
    for span in code_spans(&text("ARCHITECTURE.md")) {
        let folder = span.strip_suffix('/').is_some_and(|path| path.contains('/'));
        let named = (folder || span.ends_with(".rs")) && !span.contains(' ');
        if named && !root().join("src").join(&span).exists() && !root().join(&span).exists() {
            writeln!(missing, "ARCHITECTURE.md: {span}").unwrap();
        }
    }
    assert!(missing.is_empty(), "these do not exist:\n{missing}");
}

#[test]
fn messages_of_the_troubleshooting_page_exist() {
    /// Messages of compilers, which dijitso passes on.
    const FOREIGN: [&str; 1] = ["unrecognized command-line option"];
    let mut sources = String::new();
    for path in files("src", &[".rs"]).into_iter().chain(files("cmake", &[".cmake", ".in"])) {
        if path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs") {
            continue;
        }
        // A message may go on in the next line of the source.
        for (at, part) in text(path).split("\\\n").enumerate() {
            sources.push_str(if at == 0 { part } else { part.trim_start() });
        }
    }
    let page = text("docs/troubleshooting.md");
    let titles = page.split("**").skip(1).step_by(2);
    let quoted = titles.flat_map(|title| title.split('"').skip(1).step_by(2));
    let missing: Vec<&str> = quoted
        .filter(|message| !FOREIGN.contains(message))
        .filter(|message| message.split("...").any(|part| !sources.contains(part.trim())))
        .collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md quotes messages that are not in src: {missing:#?}");
}

#[test]
fn error_codes_have_a_row_each() {
    let page = text("docs/errors.md");
    for line in text("include/dijitso.h").lines().filter(|line| line.starts_with("#define DIJITSO_ERROR_")) {
        let [_, name, number, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        let row = format!("| {number} | `{name}` |");
        assert!(page.contains(&row), "docs/errors.md has no row that begins with {row}");
    }
}

/// Returns the fenced blocks of a page: language and lines.
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

/// Removes the indentation that all lines share.
fn flush(lines: &[&str]) -> Vec<String> {
    let indented = lines.iter().filter(|line| !line.trim().is_empty());
    let margin = indented.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| line.get(margin..).unwrap_or("").to_owned()).collect()
}

/// Returns the length of the longest beginning of a block that occurs in a text.
fn common_lines(block: &[String], text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let same = |at: usize| {
        let window = flush(&lines[at..(at + block.len()).min(lines.len())]);
        window.iter().zip(block).take_while(|(line, wanted)| line == wanted).count()
    };
    (0..lines.len()).map(same).max().unwrap_or(0)
}

#[test]
fn code_blocks_are_in_compiled_examples() {
    let sources = files("examples", &[".c", ".cpp", ".h", ".hpp", ".f90", "CMakeLists.txt", ".py", ".rs"]);
    let sources: Vec<(PathBuf, String)> = sources
        .into_iter()
        .chain(files("tests/c", &[".py"]))
        .map(|path| (path.clone(), text(path)))
        .collect();
    let mut wrong = String::new();
    for page in pages() {
        for (language, lines) in blocks(&text(&page)) {
            match language.as_str() {
                "c" | "cpp" | "fortran" | "cmake" | "python" | "rust" => {}
                "sh" | "text" | "ini" | "json" | "toml" => continue,
                other => panic!("{}: a block of \"{other}\"", page.display()),
            }
            let lines = flush(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let best = sources.iter().map(|(path, text)| (common_lines(&lines, text), path)).max().unwrap();
            if best.0 < lines.len() {
                let (line, nearest) = (&lines[best.0], best.1.display());
                writeln!(wrong, "{}: differs from {nearest} in the line\n    {line}", page.display())
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "blocks that are in no file of examples/:\n{wrong}");
}

#[test]
fn command_lines_are_valid() {
    let known = subcommands();
    let mut wrong = String::new();
    for page in pages() {
        let text = text(&page);
        let blocks = blocks(&text).into_iter().filter(|(language, _)| language == "sh");
        let lines: Vec<String> = blocks.flat_map(|(_, lines)| lines).collect();
        for line in lines.iter().map(|line| line.split('#').next().unwrap().trim()) {
            let split = shell_words::split(line).unwrap_or_default();
            let words: Vec<&str> = split.iter().map(String::as_str).collect();
            if words.first() == Some(&"module") {
                continue;
            }
            let Some(at) = words.iter().position(|word| *word == "dijitso") else { continue };
            let words = &words[at + 1..];
            let is_known = |name: &[&str]| known.iter().any(|known| known == name);
            let Some(first) = words.iter().position(|word| is_known(&[word])) else {
                writeln!(wrong, "{}: no such subcommand: {line}", page.display()).unwrap();
                continue;
            };
            let two = &words[first..words.len().min(first + 2)];
            let help = help(if is_known(two) { two } else { &two[..1] });
            // Behind `--` is another command.
            let words = words.iter().take_while(|word| **word != "--");
            // Options of another program are one word in quotes.
            let options = words.filter(|word| word.starts_with('-') && word.len() > 1 && !word.contains(' '));
            for option in options.map(|option| option.split('=').next().unwrap()) {
                // "-j4"
                let option = if option.starts_with("--") { option } else { &option[..2] };
                if !help.split([' ', ',', '\n', '[']).any(|word| word == option) {
                    writeln!(wrong, "{}: no option {option}: {line}", page.display()).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Returns a page without its fenced blocks and comments.
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

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_have_targets() {
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
    assert!(wrong.is_empty(), "links without a target:\n{wrong}");
}

#[test]
fn pages_are_in_the_table_of_contents() {
    let contents = text("docs/mkdocs.yml");
    let listed = |page: &Path| contents.contains(&format!(" {}\n", page.display()));
    let missing: Vec<PathBuf> = files("docs", &[".md"]).into_iter().filter(|page| !listed(page)).collect();
    assert!(missing.is_empty(), "not in the nav of docs/mkdocs.yml: {missing:?}");
}
