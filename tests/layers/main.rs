//! The structure of the crate: imports point downwards and in no circle, a type name stands for one thing,
//! and unsafe code lies where the map of the crate says.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod circles;
#[path = "../common/mod.rs"]
mod common;
mod type_names;

use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module of the crate may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("advice", &[]),
    ("elf", &["error", "fsutil", "codec"]),
    ("error", &["advice", "escape"]),
    ("escape", &[]),
    ("fsutil", &["owner", "signals", "sync"]),
    ("human", &[]),
    ("inputs", &["fsutil", "codec", "sync"]),
    ("language", &[]),
    ("logging", &["error", "escape", "fsutil", "host_name", "signals", "sync"]),
    ("owner", &["host_name", "codec"]),
    ("process", &["error", "fsutil", "logging", "owner", "signals", "sync"]),
    ("signals", &[]),
    ("sync", &[]),
    ("cpp_functions", &[]),
    ("toml_text", &[]),
    ("codec", &[]),
    ("params", &["error", "human", "language", "process", "codec", "sync"]),
    ("signature", &["error", "params", "codec"]),
    (
        "cache",
        &[
            "elf",
            "error",
            "fsutil",
            "human",
            "host_name",
            "inputs",
            "language",
            "logging",
            "owner",
            "params",
            "process",
            "signature",
            "codec",
            "sync",
        ],
    ),
    (
        "build",
        &[
            "advice",
            "elf",
            "error",
            "fsutil",
            "human",
            "inputs",
            "language",
            "logging",
            "owner",
            "params",
            "process",
            "signature",
            "codec",
            "sync",
        ],
    ),
    ("load", &["advice", "elf", "error", "fsutil", "process", "sync"]),
    (
        "parallel",
        &[
            "error",
            "fsutil",
            "human",
            "logging",
            "owner",
            "params",
            "process",
            "signals",
            "codec",
            "host_name",
            "sync",
        ],
    ),
    (
        "jit",
        &[
            "build",
            "cache",
            "elf",
            "error",
            "fsutil",
            "host_name",
            "inputs",
            "load",
            "logging",
            "parallel",
            "owner",
            "params",
            "process",
            "signals",
            "signature",
            "codec",
            "sync",
            "toml_text",
        ],
    ),
    (
        "plan",
        &[
            "cache",
            "codec",
            "error",
            "fsutil",
            "host_name",
            "human",
            "jit",
            "language",
            "logging",
            "owner",
            "parallel",
            "params",
            "process",
            "signature",
            "sync",
            "toml_text",
        ],
    ),
    // Beside the door of C, whose calls it makes.
    ("facade", &["capi", "error", "jit", "params", "signature"]),
    (
        "capi",
        &[
            "cache",
            "elf",
            "error",
            "human",
            "jit",
            "plan",
            "logging",
            "owner",
            "params",
            "parallel",
            "process",
            "signature",
            "sync",
        ],
    ),
];

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// Returns whether a file may contain unsafe code. Every other file says `forbid(unsafe_code)`.
fn may_be_unsafe(path: &Path) -> bool {
    path.starts_with("capi")
        || ["comm.rs", "library.rs"].iter().any(|file| path == Path::new("facade").join(file))
        || path == Path::new("load.rs")
        || path == Path::new("load/guarded.rs")
        || path == Path::new("process/jobserver.rs")
        || path == Path::new("signals.rs")
        || path.starts_with("parallel/mpi")
        || ["mod.rs", "memory_file.rs", "shared.rs"]
            .iter()
            .any(|file| path == Path::new("parallel/node").join(file))
}

/// Returns the files below `src`: path, and code without comments and without the tests at the end.
fn sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path.strip_prefix(&src).unwrap().to_owned(), code.join("\n"))
    };
    common::rust_files(&src).into_iter().map(read).collect()
}

#[test]
fn arrows_point_downwards() {
    for (path, code) in sources() {
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "bin") || is_test(&path) {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module).unwrap_or_else(|| {
            panic!("{}: a new module needs its place in this table and in src/lib.rs", path.display())
        });
        for (at, _) in code.match_indices("crate::") {
            let used = code[at + "crate::".len()..]
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            // `$crate::capi` in a macro is the module itself.
            let fine = used == module || allowed.1.contains(&used);
            assert!(fine, "{}: an arrow from {module} to {used} is not in the table", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_where_it_belongs() {
    for (path, code) in sources() {
        let forbids = code.contains("#![forbid(unsafe_code)]");
        // A module cannot forbid what a file below it needs.
        let denies =
            ["facade/mod.rs", "parallel/mod.rs", "process/mod.rs"].iter().any(|map| path == Path::new(map))
                && code.contains("#![deny(unsafe_code)]");
        let map = path == Path::new("lib.rs") || is_test(&path);
        assert!(
            forbids || denies || map || may_be_unsafe(&path),
            "{} must forbid unsafe code",
            path.display()
        );
        assert!(!(forbids && may_be_unsafe(&path)), "{} is in the list of unsafe files", path.display());
        let names_mpi = code.contains("MPI_Comm_") || code.contains("comm_rank(");
        assert!(!names_mpi || path.starts_with("parallel/mpi"), "{} calls MPI", path.display());
    }
}

/// A failed write must raise no signal in the host. The command is a process of its own.
#[test]
fn writes_raise_no_signal() {
    const WRITES: [&str; 5] = ["fs::write(", "fs::copy(", ".set_len(", "fallocate(", "stderr().write"];
    for (path, code) in sources() {
        if is_test(&path) || path.starts_with("bin") {
            continue;
        }
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, write) in WRITES.iter().flat_map(|write| code.match_indices(write)) {
            let before: String =
                code[..at].chars().rev().take(150).collect::<Vec<_>>().into_iter().rev().collect();
            let guarded = before.contains("without_signals(");
            assert!(
                guarded,
                "{}: {write}...) outside of without_signals, or of fsutil::write",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    for (path, code) in sources() {
        let lines = code.lines().count();
        assert!(lines <= 500, "{} has {lines} lines of code", path.display());
    }
}
