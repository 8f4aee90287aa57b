//! Advice on failures: tables for the messages of the system, of compilers and of the dynamic loader.
//!
//! Error messages end with a sentence from here, so that the same failure has the same advice in all places.

#![forbid(unsafe_code)]

use std::io;

/// The disk is full.
const FULL: &str = "the disk or its quota is full: make room (dijitso gc, dijitso clean), or name \
     directories on another \
                    disk (DIJITSO_CACHE_DIR for the cache, cache.temp_dir_root for builds)";

/// The disk cannot be written.
const READ_ONLY: &str = "the disk is read-only: name a cache that can be written (DIJITSO_CACHE_DIR), or \
     set cache.frozen \
                         to use only what is in this one";

/// The file belongs to another user.
const NOT_PERMITTED: &str = "this user may not do that there: name a directory of yours (DIJITSO_CACHE_DIR \
     for the cache, \
                             cache.temp_dir_root for builds), or change its owner or mode";

/// Memory is short.
const MEMORY: &str = "memory is short: run fewer compilers at once (build.max_compilers), ask for less \
     optimisation \
                      (build.cxxflags_opt), or raise build.memory_limit if it is set";

/// A header is not found.
const HEADER: &str = "add its directory to build.include_dirs, or install it";

/// The linker does not find a library.
const LIBRARY: &str = "add its directory to build.lib_dirs, install it, or correct build.libs";

/// A file is larger than a limit.
const FILE_SIZE: &str = "a limit on the size of files is in force: see ulimit -f";

/// Messages of compilers and linkers, with the advice. The first match counts.
const COMPILERS: &[(&[&str], &str)] = &[
    (&["No space left on device", "Disk quota exceeded"], FULL),
    (
        &["Read-only file system"],
        "the disk is read-only: set cache.temp_dir_root to a place that can be written",
    ),
    (&["File too large"], FILE_SIZE),
    (
        &["annot allocate memory", "out of memory", "memory exhausted", "bad_alloc", "Killed", "signal 9"],
        MEMORY,
    ),
    (
        &["error while loading shared libraries"],
        "the compiler itself cannot be started: load the module, or set the LD_LIBRARY_PATH, that it needs",
    ),
    (&["cannot find -l", "unable to find library", "library not found for -l"], LIBRARY),
    (&["file not found", "cannot open source file", "could not open source file"], HEADER),
    (
        &[
            "unrecognized command",
            "unrecognized option",
            "unknown argument",
            "unknown option",
            "unsupported option",
        ],
        "correct the flags: dijitso config shows them, and where they come from",
    ),
    (&["license"], "the compiler has got no license: try again later, or use another (CXX, CC)"),
];

/// Messages of the dynamic loader, with the advice.
const LOADERS: &[(&str, &str)] = &[
    (
        "failed to map segment",
        "if the disk is mounted noexec, name a place that is not (DIJITSO_CACHE_DIR for the cache, \
         cache.temp_dir_root for private copies)",
    ),
    (
        "undefined symbol",
        "name the library that has the symbol in build.libs, or add the dependency that has it in generate",
    ),
    (
        "cannot open shared object file",
        "add the directory of that library to build.rpath_dirs, or install it on this host",
    ),
];

/// Returns the advice on a failed operation on a file of the cache or of a build. Errors that the system did
/// not raise have none: their text says it.
#[must_use]
pub fn of_cause(cause: &io::Error) -> Option<&'static str> {
    use io::ErrorKind;
    match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(FULL),
        ErrorKind::FileTooLarge => Some(FILE_SIZE),
        ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
        // The error of a temporary file has its number in the text only.
        ErrorKind::PermissionDenied if cause.to_string().contains("(os error ") => Some(NOT_PERMITTED),
        ErrorKind::OutOfMemory => Some(MEMORY),
        ErrorKind::StaleNetworkFileHandle => {
            Some("the network disk has changed: try again; dijitso doctor checks it")
        }
        _ => match cause.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Some("too many files are open: see ulimit -n"),
            Some(libc::EIO) => Some("the disk has a fault: dijitso doctor checks it"),
            _ => None,
        },
    }
}

/// Returns the advice on a compiler or linker that failed with this output. `killed`: by signal 9, with which
/// the system ends a process that takes too much memory.
#[must_use]
pub fn of_compiler(output: &str, killed: bool) -> Option<&'static str> {
    let lines = || output.lines().map(str::trim);
    let has =
        |marks: &[&str]| lines().any(|line| !is_quoted(line) && marks.iter().any(|mark| line.contains(mark)));
    let known = COMPILERS.iter().find(|(marks, _)| has(marks)).map(|(_, advice)| *advice);
    // "cc1plus: fatal error: x.cpp: No such file or directory" means the source and not a header.
    let lacks_header = |line: &str| {
        line.contains(": fatal error: ")
            && line.ends_with(": No such file or directory")
            && !["cc1", "c++", "g++", "gcc", "cc:"].iter().any(|driver| line.starts_with(driver))
    };
    known.or_else(|| lines().any(lacks_header).then_some(HEADER)).or_else(|| killed.then_some(MEMORY))
}

/// Returns the advice on a library that the dynamic loader refuses for this reason.
#[must_use]
pub fn of_loader(reason: &str) -> Option<&'static str> {
    LOADERS.iter().find(|(mark, _)| reason.contains(mark)).map(|(_, advice)| *advice)
}

/// Tells if a line quotes the source: "   12 |  text".
fn is_quoted(line: &str) -> bool {
    line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_advice() {
        for (errno, word) in [
            (libc::ENOSPC, "dijitso gc"),
            (libc::EDQUOT, "dijitso gc"),
            (libc::EROFS, "cache.frozen"),
            (libc::EACCES, "DIJITSO_CACHE_DIR"),
            (libc::EPERM, "DIJITSO_CACHE_DIR"),
            (libc::EFBIG, "ulimit -f"),
            (libc::EMFILE, "ulimit -n"),
            (libc::ENOMEM, "memory"),
            (libc::EIO, "doctor"),
            (libc::ESTALE, "try again"),
        ] {
            let advice = of_cause(&io::Error::from_raw_os_error(errno));
            assert!(advice.is_some_and(|advice| advice.contains(word)), "{errno}: {advice:?}");
        }
        assert_eq!(of_cause(&io::Error::from_raw_os_error(libc::ENOENT)), None);
        let refused = io::Error::new(io::ErrorKind::PermissionDenied, "others can write to it");
        assert_eq!(of_cause(&refused), None, "its text says why");
    }

    #[test]
    fn errors_of_compilers_have_advice() {
        for (output, word) in [
            ("x.cpp:1:10: fatal error: eigen.h: No such file or directory", "build.include_dirs"),
            ("x.cpp:1:10: fatal error: 'eigen.h' file not found", "build.include_dirs"),
            ("x.cpp(1): catastrophic error: cannot open source file \"eigen.h\"", "build.include_dirs"),
            ("/usr/bin/ld: cannot find -lpetsc: No such file or directory", "build.lib_dirs"),
            ("ld.lld: error: unable to find library -lpetsc", "build.lib_dirs"),
            ("mold: fatal: library not found for -lpetsc", "build.lib_dirs"),
            ("as: x.o: No space left on device", "dijitso gc"),
            ("g++: fatal error: Killed signal terminated program cc1plus", "build.max_compilers"),
            ("cc1plus: out of memory allocating 65536 bytes", "build.memory_limit"),
            ("g++: error: unrecognized command-line option '-fnope'", "dijitso config"),
            ("clang++: error: unknown argument: '-fnope'", "dijitso config"),
            ("ld: final link failed: Read-only file system", "cache.temp_dir_root"),
            ("icpx: error while loading shared libraries: libimf.so", "LD_LIBRARY_PATH"),
        ] {
            let advice = of_compiler(&format!("note\n{output}\ncompilation terminated.\n"), false);
            assert!(advice.is_some_and(|advice| advice.contains(word)), "{output}: {advice:?}");
        }
        for output in [
            "x.cpp:3:5: error: 'y' was not declared\n    3 | \"No space left on device\"\n",
            "cc1plus: fatal error: x.cpp: No such file or directory\n",
            "",
        ] {
            assert_eq!(of_compiler(output, false), None, "{output}");
        }
        assert_eq!(of_compiler("", true), Some(MEMORY));
    }

    #[test]
    fn errors_of_the_loader_have_advice() {
        for (reason, word) in [
            ("x.so: failed to map segment from shared object: Operation not permitted", "noexec"),
            ("x.so: undefined symbol: other", "build.libs"),
            ("liby.so: cannot open shared object file: No such file or directory", "build.rpath_dirs"),
        ] {
            assert!(of_loader(reason).is_some_and(|advice| advice.contains(word)), "{reason}");
        }
        assert_eq!(of_loader("invalid ELF header"), None);
    }
}
