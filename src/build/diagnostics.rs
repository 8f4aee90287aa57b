//! Reads the output of compilers and linkers: the line to show first, crashes, refusals.

#![forbid(unsafe_code)]

/// Marks of errors.
const MARKS: [&str; 9] = [
    "error:",
    // gfortran
    "Error:",
    "error #",
    "undefined reference",
    "undefined symbol",
    "cannot find -l",
    "unrecognized command",
    "command not found",
    "No such file or directory",
];

/// Marks of a compiler, driver or linker that was killed or crashed.
const CRASHES: [&str; 13] = [
    "internal compiler error",
    "signal terminated program",
    "terminated with signal",
    "TERMINATED by signal",
    "due to signal",
    "unable to execute command",
    "Segmentation fault",
    "PLEASE submit a bug report",
    "memory exhausted",
    "out of memory allocating",
    "LLVM ERROR: out of memory",
    "terminate called after throwing",
    "frontend command failed",
];

/// Marks of failures of the system, not of the source: the next try may succeed.
const PASSING: [&str; 18] = [
    "No space left on device",
    "File too large",
    "Cannot allocate memory",
    "Disk quota exceeded",
    "Input/output error",
    "Stale file handle",
    "Text file busy",
    "Resource temporarily unavailable",
    "Too many open files",
    "Read-only file system",
    "Connection timed out",
    "error while loading shared libraries",
    "command not found",
    "license",
    // A missing file may appear, in more places than can be watched.
    "No such file or directory",
    "file not found",
    "cannot find -l",
    "unable to find library",
];

/// Longest quoted line, in bytes.
const LIMIT: usize = 400;

/// Returns the first line that reports an error, else the first that reports a crash, else the last line.
#[must_use]
pub(super) fn first_error(output: &str) -> Option<&str> {
    let line = lines(output)
        .find(|line| is_error(line))
        .or_else(|| lines(output).find(|line| is_crash(line)))
        .or_else(|| lines(output).next_back())?;
    Some(cut(line))
}

/// Returns the first line that reports that a compiler or linker was killed, crashed, or got no memory.
#[must_use]
pub(super) fn crash(output: &str) -> Option<&str> {
    lines(output).find(|line| is_crash(line)).map(cut)
}

/// Returns true if the compiler did its work and refused the source, or its headers and libraries.
#[must_use]
pub(super) fn is_refusal(output: &str) -> bool {
    let passing = |line: &str| PASSING.iter().any(|text| line.contains(text));
    lines(output).any(is_error) && !lines(output).any(|line| is_crash(line) || passing(line))
}

/// Returns true if a process got no memory, or crashed, as some do then.
#[must_use]
pub(super) fn may_lack_memory(output: &str) -> bool {
    const SHORT: [&str; 4] = ["annot allocate memory", "out of memory", "bad_alloc", "failed to map segment"];
    lines(output).any(|line| is_crash(line) || SHORT.iter().any(|text| line.contains(text)))
}

/// Returns true if a file system was full.
#[must_use]
pub(super) fn lacks_room(output: &str) -> bool {
    // A linker that maps its output is killed by SIGBUS.
    ["No space left on device", "Disk quota exceeded", "Bus error"].iter().any(|text| output.contains(text))
}

fn lines(output: &str) -> impl DoubleEndedIterator<Item = &str> {
    output.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn is_error(line: &str) -> bool {
    // "ld returned 1 exit status" adds nothing to the line before it.
    MARKS.iter().any(|mark| line.contains(mark)) && !line.contains("ld returned")
}

fn is_crash(line: &str) -> bool {
    // "   12 |  text" quotes the source.
    let quoted = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    !quoted && CRASHES.iter().any(|mark| line.contains(mark))
}

fn cut(line: &str) -> &str {
    match line.char_indices().find(|(at, _)| *at >= LIMIT) {
        Some((end, _)) => &line[..end],
        None => line,
    }
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

    #[test]
    fn a_crash_is_told_from_an_error() {
        for line in [
            "x.cpp:1:9: internal compiler error: in cp_parser, at cp/parser.c:1",
            "c++: fatal error: Killed signal terminated program cc1plus",
            "collect2: fatal error: ld terminated with signal 9 [Killed]",
            "clang: error: unable to execute command: Segmentation fault (core dumped)",
            "clang: error: clang frontend command failed due to signal (use -v to see invocation)",
            "virtual memory exhausted: Cannot allocate memory",
            "cc1plus: out of memory allocating 65536 bytes after a total of 1318912 bytes",
            "LLVM ERROR: out of memory",
        ] {
            let output = format!("note\n{line}\ncompilation terminated.\n");
            assert_eq!(crash(&output), Some(line));
            assert_eq!(first_error(&output), Some(line));
            assert!(!is_refusal(&output), "{line}");
        }
        let quoted =
            "x.cpp:12:3: error: no\n   12 | \"Segmentation fault\"\n      | ^~ internal compiler error\n";
        assert_eq!(crash(quoted), None);
        assert!(is_refusal(quoted));
    }

    #[test]
    fn a_lack_of_memory_is_seen() {
        for line in [
            "clang++: error while loading shared libraries: libLLVM.so: failed to map segment from shared \
             object",
            "/usr/bin/ld: final link failed: Cannot allocate memory",
            "cc1plus: out of memory allocating 65536 bytes after a total of 1318912 bytes",
        ] {
            assert!(may_lack_memory(line) && !is_refusal(line), "{line}");
        }
        assert!(!may_lack_memory("x.cpp:3:5: error: 'memory' was not declared"));
    }

    #[test]
    fn a_full_disk_is_nobodys_verdict_on_the_source() {
        assert!(is_refusal("x.cpp:3:5: error: 'y' was not declared\n"));
        assert!(is_refusal(
            "a.cpp:(.text+0x9): undefined reference to `g()'\ncollect2: error: ld returned 1\n"
        ));
        for text in PASSING {
            assert!(!is_refusal(&format!("/tmp/x.s: fatal error: {text}\n")), "{text}");
        }
        assert!(!is_refusal("last words\n"), "nobody says what is wrong");
        assert!(!is_refusal(""));
    }
}
