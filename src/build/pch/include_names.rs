//! The names that headers include or test for. Pure.
//!
//! A new file in a search directory matters only to headers that ask for its name, by an include directive or
//! `__has_include`. Compilers do not report names that were tested for and not found, so they are read from
//! the text of the headers.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

/// Names that some headers ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IncludeNames {
    /// The names, as `vector` and `sys/types.h`.
    pub(super) all: BTreeSet<String>,
    /// Macros that are used in place of a name.
    used_macros: BTreeSet<String>,
    /// Macros that are defined as a name.
    known_macros: BTreeSet<String>,
    /// True if a name is written in a way that is not understood here.
    unreadable: bool,
}

impl IncludeNames {
    /// Adds the names in the text of a header.
    pub(super) fn add(&mut self, text: &str) {
        // Comments are read like directives: an extra name does no harm.
        let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
        for line in text.lines() {
            let Some(directive) = line.trim_start().strip_prefix('#').map(str::trim_start) else { continue };
            if let Some(rest) = directive.strip_prefix("define") {
                let rest = rest.trim_start();
                let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
                let value = rest[end..].trim_start();
                if value.starts_with(['<', '"']) {
                    self.known_macros.insert(rest[..end].to_owned());
                    self.add_names(value);
                } else if value.contains("__has_include") {
                    // The name may be an argument of the macro, or follow it.
                    self.unreadable |=
                        value.ends_with("__has_include") || value.ends_with("__has_include_next");
                    self.add_names(value);
                }
            } else if directive.contains("include") {
                self.add_names(directive);
            }
        }
    }

    /// Adds the names after `include`, `include_next` and `__has_include` in a directive.
    fn add_names(&mut self, directive: &str) {
        if directive.starts_with(['<', '"']) {
            self.add_name(directive);
        }
        for (at, word) in directive.match_indices("include") {
            let rest = directive[at + word.len()..].trim_start_matches("_next");
            if rest.starts_with(is_of_word) {
                continue;
            }
            self.add_name(rest.trim_start_matches(|c: char| c.is_whitespace() || c == '('));
        }
    }

    fn add_name(&mut self, rest: &str) {
        let close = match rest.chars().next() {
            Some('<') => '>',
            Some('"') => '"',
            // A comment before the name, which may have any length, or a backslash before blanks.
            Some('/' | '\\') => {
                self.unreadable = true;
                return;
            }
            // "defined __has_include" asks for no name.
            Some(c) if is_of_word(c) => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                self.used_macros.insert(rest[..end].trim_end_matches(')').to_owned());
                return;
            }
            _ => return,
        };
        if let Some((name, _)) = rest[1..].split_once(close) {
            self.all.insert(name.to_owned());
        }
    }

    /// Returns true if names may be missing, because macros compose them.
    pub(super) fn are_incomplete(&self) -> bool {
        self.unreadable || !self.used_macros.is_subset(&self.known_macros)
    }

    /// Adds the names of others.
    pub(super) fn join(&mut self, other: Self) {
        self.all.extend(other.all);
        self.used_macros.extend(other.used_macros);
        self.known_macros.extend(other.known_macros);
        self.unreadable |= other.unreadable;
    }

    /// Returns the parts of the names: of `sys/types.h`, `sys` and `types.h`.
    pub(super) fn parts(&self) -> BTreeSet<String> {
        let parts = self.all.iter().flat_map(|name| name.split('/'));
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the directories of the names: of `a/b/c.h`, `a` and `a/b`.
    pub(super) fn dirs(&self) -> BTreeSet<&str> {
        let dirs = |name: &'_ str| {
            name.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(|name| dirs(name).into_iter().map(move |at| &name[..at])).collect()
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, bool) {
        let mut names = IncludeNames::default();
        names.add(text);
        (names.all.iter().cloned().collect::<Vec<_>>().join(" "), names.are_incomplete())
    }

    #[test]
    fn every_way_to_ask_for_a_header_is_seen() {
        for text in [
            "#include <x/y.h>",
            " # include \"x/y.h\" // c",
            "#include_next <x/y.h>",
            "#if __has_include(<x/y.h>)",
            "#elif defined(__has_include) && \\\n __has_include ( \"x/y.h\" )",
            "#if __has_include_next(<x/y.h>)",
            "#define WHERE <x/y.h>\n#include WHERE",
            "#define WHERE \"x/y.h\"\n#if __has_include(WHERE)",
            "#\\\ninclude <x/y.h>",
        ] {
            assert_eq!(of(text), ("x/y.h".to_owned(), false), "{text}");
        }
        assert_eq!(of("#define HAS_A __has_include(<a>)\n#define I include\n"), ("a".to_owned(), false));
        assert_eq!(of("#if __has_include(<a>) && __has_include(<b>)\n#endif").0, "a b");
        assert_eq!(
            of("int include;\n#ifdef __has_include\n#endif\n#if defined __has_include\n#endif"),
            (String::new(), false)
        );
    }

    #[test]
    fn a_name_that_a_macro_makes_may_be_any() {
        for text in [
            "#include NAME(a)",
            "#include NAME",
            "#define NAME MAKE(a)\n#include NAME",
            "#include /**/ <sub/x.h>",
            "#include \\ \n<x.h>",
            "#define HAS(x) __has_include(x)",
            "#define HAS __has_include",
        ] {
            assert!(of(text).1, "{text}");
        }
    }

    #[test]
    fn names_have_parts_and_directories() {
        let mut names = IncludeNames::default();
        names.add("#include <a/b/c.h>\n#include <a/d>\n#include <e>\n");
        assert_eq!(names.parts().into_iter().collect::<Vec<_>>(), ["a", "b", "c.h", "d", "e"]);
        assert_eq!(names.dirs().into_iter().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
