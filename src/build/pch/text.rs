//! The preamble of a source: what stands before its first line of code. Pure.
//!
//! Comments, blank lines and preprocessor directives; of these, what a header that is compiled beforehand can stand
//! for. Sources that include only their own header have the preamble of that header, and so on.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an include directive leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// A header that other sources include as well, and that a preamble may end with.
    Common,
    /// The same, but that no preamble ends with it.
    Between,
    /// A header of this source, generated with it: its path, by which it is known again, and its text.
    Ours(PathBuf, String),
    /// Nobody can say.
    Unknown,
}

/// What is known of the words of an include directive in the file at a path, which is empty for the source.
pub(super) type Look<'a> = dyn Fn(&str, &Path) -> Include + 'a;

/// A preamble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// The directives up to the last that includes something, a line each.
    pub(super) lines: String,
    /// The macros by which headers of this source see to it that they are read once. The lines do not define them.
    pub(super) guards: Vec<String>,
    /// The headers of this source whose directives are among the lines.
    pub(super) ours: Vec<PathBuf>,
}

/// How deep generated headers include each other, as far as is looked.
const DEPTH: usize = 16;

/// Names that mean something else in another file or another place of the same, and ways to write what is not read
/// here: raw strings, trigraphs, pragmas as operators.
const SPECIAL: [&str; 13] = [
    "__FILE__",
    "__has_include",
    "__LINE__",
    "__COUNTER__",
    "__INCLUDE_LEVEL__",
    "__BASE_FILE__",
    "__TIME__",
    "__DATE__",
    "__TIMESTAMP__",
    "_Pragma",
    "__pragma",
    "R\"",
    "??",
];

/// The preamble of a source; `None` when there is none. `look` says what the words after `#include` lead to, `<vector>`
/// or `"x.h"`.
pub(super) fn preamble(source: &str, look: &Look<'_>) -> Option<Text> {
    let mut reading = Reading { look, items: Vec::new(), guards: Vec::new(), passed: BTreeMap::new() };
    reading.walk(source, Path::new(""), false, DEPTH);
    let Reading { items, guards, passed, .. } = reading;
    let last = items.iter().rposition(|item| item.includes)?;
    let lines: String = items[..=last].iter().map(|item| format!("{}\n", item.text)).collect();
    // They are not defined where a preamble is read, and so nobody may ask for them.
    let none_is_asked_for = !guards.iter().any(|guard| mentions(&lines, guard));
    none_is_asked_for.then(|| Text { lines, guards, ours: passed.into_keys().collect() })
}

/// Whether a text has this name in it.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
}

/// A directive, or a condition with all that depends on it.
struct Item {
    text: String,
    includes: bool,
}

struct Reading<'a> {
    look: &'a Look<'a>,
    items: Vec<Item>,
    guards: Vec<String>,
    /// Headers of this source that have been read, and whether they see to it that they are read once.
    passed: BTreeMap<PathBuf, bool>,
}

impl Reading<'_> {
    /// Adds what the text begins with. True when this was all that is in it.
    fn walk(&mut self, text: &str, path: &Path, is_header: bool, depth: usize) -> bool {
        if is_odd(text) {
            return false;
        }
        let (mut lines, whole) = leading(text);
        if is_header {
            let guard = drop_guard(&mut lines, whole);
            self.passed.insert(path.to_owned(), guard != Guard::None);
            if let Guard::Name(name) = guard {
                if self.guards.contains(&name) {
                    // That of another header, after which this one is nothing.
                    return true;
                }
                self.guards.push(name);
            }
        }
        let mut at = 0;
        while at < lines.len() {
            let line = &lines[at];
            let (name, rest) = split(line);
            match name {
                "include" => match look_at(rest, self.look, path) {
                    Include::Common => self.items.push(Item { text: line.clone(), includes: true }),
                    Include::Between => self.items.push(Item { text: line.clone(), includes: false }),
                    Include::Ours(path, _) if self.passed.get(&path) == Some(&true) => {}
                    Include::Ours(path, text) if depth > 0 => {
                        if !self.walk(&text, &path, true, depth - 1) {
                            return false;
                        }
                    }
                    Include::Ours(..) | Include::Unknown => return false,
                },
                "define" | "undef" if is_plain(line) => {
                    self.items.push(Item { text: line.clone(), includes: false });
                }
                "if" | "ifdef" | "ifndef" => {
                    let Some(end) = end_of(&lines, at) else { return false };
                    let group = &lines[at..=end];
                    let found: Option<Vec<Include>> =
                        group.iter().map(|line| may_depend(line, self.look, path)).collect();
                    let Some(found) = found else { return false };
                    self.items
                        .push(Item { text: group.join("\n"), includes: found.contains(&Include::Common) });
                    at = end;
                }
                // A directive without a name does nothing.
                "" if rest.is_empty() => {}
                _ => return false,
            }
            at += 1;
        }
        whole
    }
}

/// What a line includes that may stand within a condition of a preamble (`Between` for nothing); `None` if it may not.
fn may_depend(line: &str, look: &Look<'_>, from: &Path) -> Option<Include> {
    let (name, rest) = split(line);
    match name {
        "include" => Some(look_at(rest, look, from))
            .filter(|found| matches!(found, Include::Common | Include::Between)),
        "define" | "undef" | "if" | "ifdef" | "ifndef" | "elif" | "else" | "endif" | "error" => {
            is_plain(line).then_some(Include::Between)
        }
        _ => None,
    }
}

/// What an include directive leads to; one whose file a macro names could lead anywhere.
fn look_at(rest: &str, look: &Look<'_>, from: &Path) -> Include {
    let inner = |open: char, close: char| {
        rest.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).filter(|name| !name.contains(close))
    };
    let is_name = inner('<', '>').or_else(|| inner('"', '"')).is_some_and(|name| !name.is_empty());
    if is_name && is_plain(rest) { look(rest, from) } else { Include::Unknown }
}

fn is_plain(line: &str) -> bool {
    !SPECIAL.iter().any(|name| line.contains(name))
}

/// The name of a directive and what follows it.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches('#').trim_start();
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    (&line[..end], line[end..].trim())
}

/// The line that ends the condition that begins at this one.
fn end_of(lines: &[String], begin: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate().skip(begin) {
        match split(line).0 {
            "if" | "ifdef" | "ifndef" => depth += 1,
            "endif" => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// By what a header sees to it that it is read once.
#[derive(PartialEq, Eq)]
enum Guard {
    None,
    Pragma,
    Name(String),
}

/// Leaves out by what a generated header sees to it that it is read once: a pragma, or a condition around all of it.
fn drop_guard(lines: &mut Vec<String>, whole: bool) -> Guard {
    let mut dropped = Guard::None;
    if lines.first().is_some_and(|line| split(line) == ("pragma", "once")) {
        lines.remove(0);
        dropped = Guard::Pragma;
    }
    let [first, second, ..] = lines.as_slice() else { return dropped };
    let (condition, guard) = split(first);
    let around = match end_of(lines, 0) {
        Some(end) => whole && end + 1 == lines.len(),
        None => !whole,
    };
    if condition == "ifndef" && split(second) == ("define", guard) && around {
        dropped = Guard::Name(guard.to_owned());
        if whole {
            lines.pop();
        }
        lines.drain(..2);
    }
    dropped
}

/// The directives before the first line of code, without comments, each on a line; and whether there is no code.
fn leading(text: &str) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((line, after)) = logical_line(rest) else { return (lines, false) };
        let line = line.trim();
        if line.starts_with('#') {
            lines.push(line.to_owned());
        } else if !line.is_empty() {
            return (lines, false);
        }
        rest = after;
    }
    (lines, true)
}

/// The first line without its comments, lines that continue it included, and the text after it. `None` for what ends
/// within a comment.
fn logical_line(text: &str) -> Option<(String, &str)> {
    let mut line = String::new();
    let mut quote = None;
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("\\\n").or_else(|| rest.strip_prefix("\\\r\n")) {
            rest = after;
            continue;
        }
        if quote.is_none() {
            if let Some(after) = rest.strip_prefix("/*") {
                rest = &after[after.find("*/")? + 2..];
                line.push(' ');
                continue;
            }
            if rest.starts_with("//") {
                rest = end_of_comment(rest);
                continue;
            }
        }
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return Some((line, "")) };
        rest = chars.as_str();
        match (c, quote) {
            ('\n', _) => return Some((line, rest)),
            ('\\', Some(_)) => {
                line.push(c);
                if let Some(escaped) = chars.next().filter(|c| *c != '\n') {
                    line.push(escaped);
                    rest = chars.as_str();
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        line.push(c);
    }
}

/// Whether lines may be continued in a way that is not read here: by a backslash with blanks behind it, or by a trigraph.
fn is_odd(text: &str) -> bool {
    let blanks = |rest: &str| {
        let end = rest.trim_start_matches([' ', '\t', '\x0b', '\x0c', '\0']);
        end.len() < rest.len() && (end.is_empty() || end.starts_with(['\n', '\r']))
    };
    text.contains("??/") || text.match_indices('\\').any(|(at, _)| blanks(&text[at + 1..]))
}

/// What follows a comment that ends with its line: the end of that line.
fn end_of_comment(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find('\n') {
        let end = from + at;
        if !text[..end].trim_end_matches('\r').ends_with('\\') {
            return &text[end..];
        }
        from = end + 1;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(source: &str) -> Option<Text> {
        preamble(source, &|name, from| match name {
            "\"own.h\"" => Include::Ours(
                "own.h".into(),
                "// c\n#ifndef OWN\n#define OWN\n#include <a>\n#include <b>\nclass X;\n#endif\n".into(),
            ),
            "\"only.h\"" => Include::Ours(
                "only.h".into(),
                "#pragma once\n#ifndef O\n#define O\n#include <o>\n#endif\n".into(),
            ),
            "\"self.h\"" => Include::Ours("self.h".into(), "#include \"self.h\"\n".into()),
            "\"guarded.h\"" => Include::Ours(
                "dir/guarded.h".into(),
                "#ifndef G\n#define G\n#include \"guarded.h\"\n#define M\n#include \"near.h\"\n#endif\n"
                    .into(),
            ),
            "\"near.h\"" if from == Path::new("dir/guarded.h") => {
                Include::Ours("dir/near.h".into(), "#include <n>\n".into())
            }
            "\"factor.h\"" | "\"other.h\"" => Include::Ours(
                name.into(),
                format!("#ifndef Q\n#define Q\n#define F {}\n#include <f>\n#endif\n", name.len()),
            ),
            "\"gone.h\"" => Include::Unknown,
            _ if name.starts_with("<between") => Include::Between,
            _ => Include::Common,
        })
    }

    fn of(source: &str) -> Option<String> {
        read(source).map(|text| text.lines)
    }

    fn is(source: &str, expected: &str) {
        assert_eq!(of(source).unwrap_or_default(), expected, "{source}");
    }

    #[test]
    fn directives_before_the_code_are_the_preamble() {
        is(
            "// c\n\n#include <a>\n /* d\n e */ #  include \"b.h\" // f\nint x;\n#include <c>\n",
            "#include <a>\n#  include \"b.h\"\n",
        );
        is("#define A \\\n 1\n#include <a>\n#define B\nint x;\n", "#define A  1\n#include <a>\n");
        is("#define U \"http://x\" // y\n#include <a>", "#define U \"http://x\"\n#include <a>\n");
        is("// a \\\n#include <not>\n#include <a>", "#include <a>\n");
        is("#include <a>\r\n#include <b>\r\n", "#include <a>\n#include <b>\n");
        for none in ["", "int x;", "#define A\nint x;", "/* open\n#include <a>\n", "int x;\n#include <a>\n"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn conditions_are_taken_whole_or_not_at_all() {
        let export = "#if defined _WIN32\n#ifdef G\n#define E 1\n#else\n#define E 2\n#endif\n#else\n#define E 3\n#endif\n";
        is(&format!("{export}#include <a>\nint x;"), &format!("{export}#include <a>\n"));
        is("#include <a>\n#ifdef X\n#include <b>\nint x;\n#endif\n", "#include <a>\n");
        is("#include <a>\n#ifdef X\n#include \"own.h\"\n#endif\n", "#include <a>\n");
        is("#include <a>\n#endif\n#include <b>\n", "#include <a>\n");
        is("#ifndef G\n#define G\n#include <a>\nint x;\n#endif\n", "");
    }

    #[test]
    fn generated_headers_are_looked_through() {
        is("#include \"own.h\"\n#include <c>\n", "#include <a>\n#include <b>\n");
        is(
            "#include <z>\n#include \"only.h\"\n#include <c>\nint x;",
            "#include <z>\n#include <o>\n#include <c>\n",
        );
        is("#include <a>\n#include \"self.h\"\n#include <b>\n", "#include <a>\n");
        is("#include <a>\n#include \"gone.h\"\n#include <b>\n", "#include <a>\n");
    }

    /// What a second include of it would give is what the compiler sees there.
    #[test]
    fn generated_headers_are_read_as_often_as_a_compiler_reads_them() {
        is(
            "#include \"guarded.h\"\n#undef M\n#include \"guarded.h\"\n#include \"near.h\"\n",
            "#define M\n#include <n>\n#undef M\n#include \"near.h\"\n",
        );
        let text = read("#include \"guarded.h\"\n#include <a>\n").unwrap();
        assert_eq!(
            (text.guards, text.ours),
            (vec!["G".into()], vec!["dir/guarded.h".into(), "dir/near.h".into()])
        );
    }

    #[test]
    fn of_two_headers_with_one_guard_the_second_is_nothing() {
        is(
            "#include \"factor.h\"\n#include \"other.h\"\n#include <a>\n",
            "#define F 10\n#include <f>\n#include <a>\n",
        );
    }

    #[test]
    fn a_text_that_continues_lines_in_odd_ways_has_none() {
        for text in ["// c \\ \n", "#define A \\\t\n", "// c??/\n", "#define A \\ \r\n"] {
            is(&format!("{text}#include <a>\n"), "");
        }
        is("// c:\\ d\n#include <a>\n#define A \"\\ \"\n", "#include <a>\n");
    }

    #[test]
    fn a_source_that_asks_for_the_guard_of_its_header_has_none() {
        for line in ["#undef G", "#define G", "#ifdef G\n#define X\n#endif", "#define X (G)"] {
            is(&format!("#include \"guarded.h\"\n{line}\n#include <a>\n"), "");
            is(&format!("{line}\n#include \"guarded.h\"\n#include <a>\n"), "");
        }
        is("#define GG\n#include \"guarded.h\"\n", "#define GG\n#define M\n#include <n>\n");
        assert!(
            mentions("defined(A_B)", "A_B")
                && !mentions("A_BC xA_B A_B_", "A_B")
                && mentions("A_BC A_B", "A_B")
        );
    }

    #[test]
    fn it_ends_with_what_it_may_end_with() {
        is("#include <between1>\n", "");
        is("#include <between1>\n#include <a>\n#include <between2>\n", "#include <between1>\n#include <a>\n");
        let group = |name: &str| format!("#ifdef X\n#include <{name}>\n#endif\n");
        is(&group("between"), "");
        is(&format!("{}{}", group("between"), group("a")), &format!("{}{}", group("between"), group("a")));
    }

    #[test]
    fn what_means_something_else_elsewhere_ends_it() {
        for line in [
            "#define A __FILE__",
            "#define A __LINE__",
            "#if __COUNTER__\n#endif",
            "#if __has_include(\"x.h\")\n#endif",
            "#if __INCLUDE_LEVEL__ > 1\n#endif",
            "#pragma GCC optimize(\"O0\")",
            "#line 3",
            "#include NAME",
            "#include_next <a>",
            "#import <a>",
            "#define A R\"(x)\"",
            "%:define A",
        ] {
            is(&format!("#include <a>\n{line}\n#include <b>\n"), "#include <a>\n");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in r##"([#/*"'\\\na<>]|include|if|endif|define| ){0,60}"##) {
            let _ = of(&text);
        }
    }
}
