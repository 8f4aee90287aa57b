//! Macros whose value depends on the time, or on the including file. Pure.

#![forbid(unsafe_code)]

const WORDS: [&str; 5] = ["__DATE__", "__TIME__", "__TIMESTAMP__", "__BASE_FILE__", "__INCLUDE_LEVEL__"];
/// Counts its uses, so a condition may be different when a header is read again. Harmless in a definition:
/// the test of idempotence reads the text twice.
const COUNTER: &str = "__COUNTER__";

/// Returns the first of them in the text of a header.
pub(super) fn first_in(text: &str) -> Option<&'static str> {
    let there = |word: &&str| text.contains(*word);
    if !WORDS.iter().chain([&COUNTER]).any(there) {
        return None;
    }
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    joined.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).find_map(|line| {
        let directive = line.strip_prefix('#').map(str::trim_start).unwrap_or_default();
        let decides = directive.starts_with("if") || directive.starts_with("elif");
        let is_tested = |line: &str| {
            line.match_indices(COUNTER).any(|(at, _)| {
                // "defined __COUNTER__" does not count.
                let before = line[..at].trim_end_matches([' ', '\t', '(']);
                !["ifdef", "ifndef", "defined"].iter().any(|word| before.ends_with(word))
            })
        };
        let counts = decides && is_tested(line);
        WORDS.into_iter().find(|word| line.contains(word)).or(counts.then_some(COUNTER))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_else_each_time_is_seen() {
        for text in [
            "static const char* d = __DATE__;",
            "#define WHEN \\\n __TIME__",
            "int x;\n#if 1 && \\\n __INCLUDE_LEVEL__ > 1\n",
            "#include __BASE_FILE__",
            "#if __COUNTER__ == 2",
            "#  elif defined(__COUNTER__) && __COUNTER__",
        ] {
            assert!(first_in(text).is_some(), "{text}");
        }
        for fine in [
            "// like __DATE__\nint x;",
            "#define UNIQUE(x) x ## __COUNTER__",
            "#if defined(__COUNTER__)",
            "#ifdef __COUNTER__\n#ifndef __COUNTER__",
            "int __FILE__;",
        ] {
            assert_eq!(first_in(fine), None, "{fine}");
        }
    }
}
