//! Finds the line of a compiler's output that a person should see first.

#![forbid(unsafe_code)]

/// Texts by which compilers and linkers mark what made them fail.
const MARKS: [&str; 8] = [
    "error:",
    "error #",
    "undefined reference",
    "undefined symbol",
    "cannot find -l",
    "unrecognized command",
    "command not found",
    "No such file or directory",
];

/// The longest line that is quoted in a message, in bytes.
const LIMIT: usize = 400;

/// The first line that reports an error; without one, the last line that says anything.
#[must_use]
pub(super) fn first_error(output: &str) -> Option<&str> {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    // "ld returned 1 exit status" is marked as an error, and tells nothing that the line before has not said.
    let marked = |line: &&str| MARKS.iter().any(|mark| line.contains(mark)) && !line.contains("ld returned");
    let line = lines().find(marked).or_else(|| lines().next_back())?;
    Some(match line.char_indices().find(|(at, _)| *at >= LIMIT) {
        Some((end, _)) => &line[..end],
        None => line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_compilers_and_linkers_are_found() {
        let gcc =
            "In file included from x.cpp:1:\nx.h:2:1: warning: w\nx.cpp:3:5: error: 'y' was not declared\n";
        assert_eq!(first_error(gcc), Some("x.cpp:3:5: error: 'y' was not declared"));
        let ld = "/usr/bin/ld: a.o: in function `f':\na.cpp:(.text+0x9): undefined reference to `g()'\n\
                  collect2: error: ld returned 1 exit status\n";
        assert_eq!(first_error(ld), Some("a.cpp:(.text+0x9): undefined reference to `g()'"));
        let missing =
            "/usr/bin/ld: cannot find -lnope: No such file or directory\ncollect2: error: ld returned 1";
        assert_eq!(first_error(missing), Some("/usr/bin/ld: cannot find -lnope: No such file or directory"));
        assert_eq!(first_error("note\n\nlast words\n \n"), Some("last words"));
        assert_eq!(first_error("\n \n"), None);
        assert_eq!(first_error(&"å".repeat(1000)).map(str::len), Some(400));
    }
}
