//! The prologue of a source: what stands before its first line of code. Pure.
//!
//! Comments, blank lines and preprocessor directives; of these, what a header that is compiled beforehand can stand
//! for. Sources that include only their own header have the prologue of that header, and so on.

#![forbid(unsafe_code)]

/// What an include directive leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A header that other sources include as well.
    Common,
    /// A generated header with this text.
    Ours(String),
    /// Nobody can say.
    Unknown,
}

/// How deep generated headers include each other, as far as is looked.
const DEPTH: usize = 16;

/// Names that mean something else in another file or another place of the same, and ways to write what is not read
/// here: raw strings, trigraphs, pragmas as operators.
const SPECIAL: [&str; 12] = [
    "__FILE__",
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

/// The directives of the prologue up to the last that includes something, a line each; `None` when there is none.
/// `look` says what the words after `#include` lead to, `<vector>` or `"x.h"`.
pub(super) fn prologue(source: &str, look: &dyn Fn(&str) -> Found) -> Option<String> {
    let mut out = Vec::new();
    walk(source, false, look, DEPTH, &mut out);
    let last = out.iter().rposition(|item: &Item| item.includes)?;
    Some(out[..=last].iter().map(|item| format!("{}\n", item.text)).collect())
}

/// A directive, or a condition with all that depends on it.
struct Item {
    text: String,
    includes: bool,
}

/// Adds what the text begins with. True when this was all that is in it.
fn walk(
    text: &str,
    is_header: bool,
    look: &dyn Fn(&str) -> Found,
    depth: usize,
    out: &mut Vec<Item>,
) -> bool {
    let (mut lines, whole) = leading(text);
    if is_header {
        drop_guard(&mut lines, whole);
    }
    let mut at = 0;
    while at < lines.len() {
        let line = &lines[at];
        let (name, rest) = split(line);
        match name {
            "include" => match look_at(rest, look) {
                Found::Common => out.push(Item { text: line.clone(), includes: true }),
                Found::Ours(text) if depth > 0 => {
                    if !walk(&text, true, look, depth - 1, out) {
                        return false;
                    }
                }
                _ => return false,
            },
            "define" | "undef" if is_plain(line) => out.push(Item { text: line.clone(), includes: false }),
            "if" | "ifdef" | "ifndef" => {
                let Some(end) = end_of(&lines, at) else { return false };
                let group = &lines[at..=end];
                if !group.iter().all(|line| may_depend(line, look)) {
                    return false;
                }
                let includes = group.iter().any(|line| split(line).0 == "include");
                out.push(Item { text: group.join("\n"), includes });
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

/// Whether a line may stand within a condition of a prologue.
fn may_depend(line: &str, look: &dyn Fn(&str) -> Found) -> bool {
    let (name, rest) = split(line);
    match name {
        "include" => look_at(rest, look) == Found::Common,
        "define" | "undef" | "if" | "ifdef" | "ifndef" | "elif" | "else" | "endif" | "error" => {
            is_plain(line)
        }
        _ => false,
    }
}

/// What an include directive leads to; one whose file a macro names could lead anywhere.
fn look_at(rest: &str, look: &dyn Fn(&str) -> Found) -> Found {
    let inner = |open: char, close: char| {
        rest.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).filter(|name| !name.contains(close))
    };
    let is_name = inner('<', '>').or_else(|| inner('"', '"')).is_some_and(|name| !name.is_empty());
    if is_name && is_plain(rest) { look(rest) } else { Found::Unknown }
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

/// Leaves out by what a generated header sees to it that it is read once: a pragma, or a condition around all of it.
/// No other header knows the name of that.
fn drop_guard(lines: &mut Vec<String>, whole: bool) {
    if lines.first().is_some_and(|line| split(line) == ("pragma", "once")) {
        lines.remove(0);
    }
    let [first, second, ..] = lines.as_slice() else { return };
    let (condition, guard) = split(first);
    let around = match end_of(lines, 0) {
        Some(end) => whole && end + 1 == lines.len(),
        None => !whole,
    };
    if condition == "ifndef" && split(second) == ("define", guard) && around {
        if whole {
            lines.pop();
        }
        lines.drain(..2);
    }
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

    fn of(source: &str) -> Option<String> {
        prologue(source, &|name| match name {
            "\"own.h\"" => Found::Ours(
                "// c\n#ifndef OWN\n#define OWN\n#include <a>\n#include <b>\nclass X;\n#endif\n".into(),
            ),
            "\"only.h\"" => Found::Ours("#pragma once\n#ifndef O\n#define O\n#include <o>\n#endif\n".into()),
            "\"self.h\"" => Found::Ours("#include \"self.h\"\n".into()),
            "\"gone.h\"" => Found::Unknown,
            _ => Found::Common,
        })
    }

    fn is(source: &str, expected: &str) {
        assert_eq!(of(source).unwrap_or_default(), expected, "{source}");
    }

    #[test]
    fn directives_before_the_code_are_the_prologue() {
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

    #[test]
    fn what_means_something_else_elsewhere_ends_it() {
        for line in [
            "#define A __FILE__",
            "#define A __LINE__",
            "#if __COUNTER__\n#endif",
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
