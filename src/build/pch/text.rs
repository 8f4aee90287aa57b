//! The preamble of a source: its lines before the first line of code. Pure.
//!
//! Of comments, blank lines and preprocessor directives, the preamble keeps the directives that mean the same
//! in a precompiled header. The text decides which precompiled header a build can use, so it is read before
//! each build, without the preprocessor, which would take a good part of the time that is saved. If a source
//! includes its own generated header, the directives at the beginning of that header are copied.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Target of an include directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// A header that other sources include as well. A preamble may end with it.
    Common,
    /// The same, but no preamble ends with it.
    Between,
    /// A header of this source alone: its path, which identifies it, and its text.
    Ours(PathBuf, String),
    /// Not known.
    Unknown,
}

/// Resolves the words of an include directive in the file at a path, which is empty for the source.
pub(super) type Resolve<'a> = dyn Fn(&str, &Path) -> Include + 'a;

/// A preamble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PreambleText {
    /// Directives up to the last that includes a header, each on a line.
    pub(super) lines: String,
    /// Include guards of this source's headers. The lines do not define them.
    pub(super) guards: Vec<String>,
    /// Headers of this source whose directives are among the lines.
    pub(super) own_headers: Vec<PathBuf>,
}

/// Depth to which generated headers are followed.
const DEPTH: usize = 16;

/// Names whose meaning depends on file or position, and syntax that is not read here: raw strings,
/// trigraphs, pragma operators.
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

/// Returns the preamble of a source; `None` if it has none. `resolve` takes the words after `#include`:
/// `<vector>` or `"x.h"`.
pub(super) fn preamble(source: &str, resolve: &Resolve<'_>) -> Option<PreambleText> {
    let mut reading =
        PreambleReader { resolve, directives: Vec::new(), guards: Vec::new(), headers_read: BTreeMap::new() };
    reading.walk(source, Path::new(""), false, DEPTH);
    let PreambleReader { directives, guards, headers_read, .. } = reading;
    let last = directives.iter().rposition(|directive| directive.includes)?;
    let lines: String = directives[..=last].iter().map(|directive| format!("{}\n", directive.text)).collect();
    // Guards are not defined in the precompiled header, so no line may mention one.
    let none_is_asked_for = !guards.iter().any(|guard| mentions(&lines, guard));
    none_is_asked_for.then(|| PreambleText { lines, guards, own_headers: headers_read.into_keys().collect() })
}

/// Returns true if a text mentions this name.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
}

/// A directive, or a condition with its lines up to #endif.
struct Directive {
    text: String,
    includes: bool,
}

struct PreambleReader<'a> {
    resolve: &'a Resolve<'a>,
    directives: Vec<Directive>,
    guards: Vec<String>,
    /// Headers of this source that were read. True if a guard or pragma keeps them from being read twice.
    headers_read: BTreeMap<PathBuf, bool>,
}

impl PreambleReader<'_> {
    /// Adds the directives that the text begins with. Returns true if it has no code.
    fn walk(&mut self, text: &str, path: &Path, is_header: bool, depth: usize) -> bool {
        if has_unsupported_syntax(text) {
            return false;
        }
        let (mut lines, no_code) = leading_directives(text);
        if is_header {
            let guard = remove_guard(&mut lines, no_code);
            self.headers_read.insert(path.to_owned(), guard != IncludeGuard::None);
            if let IncludeGuard::Name(name) = guard {
                if self.guards.contains(&name) {
                    // Another header has defined the same guard, so this one is empty.
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
                "include" => match target_of(rest, self.resolve, path) {
                    Include::Common => self.directives.push(Directive { text: line.clone(), includes: true }),
                    Include::Between => {
                        self.directives.push(Directive { text: line.clone(), includes: false })
                    }
                    Include::Ours(path, _) if self.headers_read.get(&path) == Some(&true) => {}
                    Include::Ours(path, text) if depth > 0 => {
                        if !self.walk(&text, &path, true, depth - 1) {
                            return false;
                        }
                    }
                    Include::Ours(..) | Include::Unknown => return false,
                },
                "define" | "undef" if is_plain(line) => {
                    self.directives.push(Directive { text: line.clone(), includes: false });
                }
                "if" | "ifdef" | "ifndef" => {
                    let Some(end) = endif_of(&lines, at) else { return false };
                    let group = &lines[at..=end];
                    let found: Option<Vec<Include>> =
                        group.iter().map(|line| conditional_target(line, self.resolve, path)).collect();
                    let Some(found) = found else { return false };
                    self.directives.push(Directive {
                        text: group.join("\n"),
                        includes: found.contains(&Include::Common),
                    });
                    at = end;
                }
                // An empty directive has no effect.
                "" if rest.is_empty() => {}
                _ => return false,
            }
            at += 1;
        }
        no_code
    }
}

/// Returns what a line within a condition includes (`Between` for none); `None` if the line may not be there.
fn conditional_target(line: &str, resolve: &Resolve<'_>, from: &Path) -> Option<Include> {
    let (name, rest) = split(line);
    match name {
        "include" => Some(target_of(rest, resolve, from))
            .filter(|found| matches!(found, Include::Common | Include::Between)),
        "define" | "undef" | "if" | "ifdef" | "ifndef" | "elif" | "else" | "endif" | "error" => {
            is_plain(line).then_some(Include::Between)
        }
        _ => None,
    }
}

/// Resolves an include directive. One with a macro in place of the name is unknown.
fn target_of(rest: &str, resolve: &Resolve<'_>, from: &Path) -> Include {
    let inner = |open: char, close: char| {
        rest.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).filter(|name| !name.contains(close))
    };
    let is_name = inner('<', '>').or_else(|| inner('"', '"')).is_some_and(|name| !name.is_empty());
    if is_name && is_plain(rest) { resolve(rest, from) } else { Include::Unknown }
}

fn is_plain(line: &str) -> bool {
    !SPECIAL.iter().any(|name| line.contains(name))
}

/// Splits a directive into its name and the rest.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches('#').trim_start();
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    (&line[..end], line[end..].trim())
}

/// Returns the index of the #endif of the condition that begins at a line.
fn endif_of(lines: &[String], begin: usize) -> Option<usize> {
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

/// Protection of a header from being read twice.
#[derive(PartialEq, Eq)]
enum IncludeGuard {
    None,
    Pragma,
    Name(String),
}

/// Removes the protection of a generated header from being read twice: a pragma, or a condition around all of
/// it.
fn remove_guard(lines: &mut Vec<String>, no_code: bool) -> IncludeGuard {
    let mut guard = IncludeGuard::None;
    if lines.first().is_some_and(|line| split(line) == ("pragma", "once")) {
        lines.remove(0);
        guard = IncludeGuard::Pragma;
    }
    let [first, second, ..] = lines.as_slice() else { return guard };
    let (condition, name) = split(first);
    let around = match endif_of(lines, 0) {
        Some(end) => no_code && end + 1 == lines.len(),
        None => !no_code,
    };
    if condition == "ifndef" && split(second) == ("define", name) && around {
        guard = IncludeGuard::Name(name.to_owned());
        if no_code {
            lines.pop();
        }
        lines.drain(..2);
    }
    guard
}

/// Returns the directives before the first line of code, each on a line without comments; and true if there
/// is no code.
fn leading_directives(text: &str) -> (Vec<String>, bool) {
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

/// Returns the first logical line without comments, and the text after it; `None` if the text ends within a
/// comment.
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

/// Returns true if lines may be continued in ways that are not read here: by a backslash before blanks, or by
/// a trigraph.
fn has_unsupported_syntax(text: &str) -> bool {
    let blanks = |rest: &str| {
        let end = rest.trim_start_matches([' ', '\t', '\x0b', '\x0c', '\0']);
        end.len() < rest.len() && (end.is_empty() || end.starts_with(['\n', '\r']))
    };
    text.contains("??/") || text.match_indices('\\').any(|(at, _)| blanks(&text[at + 1..]))
}

/// Returns the text after a line comment, from the end of its line.
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

    fn read(source: &str) -> Option<PreambleText> {
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
        let export = "#if defined _WIN32\n#ifdef G\n#define E 1\n#else\n#define E 2\n#endif\n#else\n#define \
                      E 3\n#endif\n";
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

    /// The compiler reads a header again if nothing protects it.
    #[test]
    fn generated_headers_are_read_as_often_as_a_compiler_reads_them() {
        is(
            "#include \"guarded.h\"\n#undef M\n#include \"guarded.h\"\n#include \"near.h\"\n",
            "#define M\n#include <n>\n#undef M\n#include \"near.h\"\n",
        );
        let text = read("#include \"guarded.h\"\n#include <a>\n").unwrap();
        assert_eq!(
            (text.guards, text.own_headers),
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
