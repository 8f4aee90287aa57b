//! `include/dijitso.h` is what cbindgen makes of `src/capi`; every exported function goes through the boundary.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;
use std::path::PathBuf;

/// In the order in which the header is read: what everybody needs first.
const FILES: &[&str] = &[
    "status",
    "error",
    "params",
    "source",
    "library",
    "jit",
    "text",
    "pending",
    "logging",
    "visit",
    "build",
    "elf",
    "layout",
    "cache",
    "maintenance",
    "bundle",
    "mpi",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join("include/cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in FILES {
        builder = builder.with_src(root().join("src/capi").join(name).with_extension("rs"));
    }
    let mut header = Vec::new();
    builder.generate().expect("cbindgen reads src/capi").write(&mut header);
    String::from_utf8(header).unwrap().replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_committed_header_is_up_to_date() {
    let path = root().join("include/dijitso.h");
    let made = generate();
    if std::env::var_os("DIJITSO_RENEW_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "include/dijitso.h is not what src/capi says; renew it by\n    DIJITSO_RENEW_HEADER=1 cargo test --test header\n"
    );
}

/// A panic must not reach C: the body of an exported function is one call of `boundary::status` or `boundary::value`.
#[test]
fn every_exported_function_goes_through_the_boundary() {
    for path in common::rust_files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("no_mangle").chain(text.match_indices("export_name")) {
            let (_, body) = text[at..].split_once(" {\n").expect("an attribute stands before a function");
            let code = body
                .lines()
                .map(str::trim_start)
                .find(|line| !line.starts_with("//") && *line != "unsafe {")
                .unwrap_or_default();
            let first = code.trim_start_matches("unsafe { ");
            let guarded = first.starts_with("boundary::status(") || first.starts_with("boundary::value(");
            assert!(guarded, "{}: the first statement is `{code}`", path.display());
        }
    }
}

/// The ABI in one sorted list, so that a reviewer sees a change of it.
#[test]
fn the_exported_names_are_these() {
    let header = generate();
    let mut names: Vec<&str> = header
        .match_indices("dijitso_")
        .filter_map(|(at, _)| {
            let name = header[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
            let call = header[at + name.len()..].starts_with('(');
            let declared = header[..at].lines().next_back().is_some_and(|line| {
                !line.trim_start().starts_with('*') && !line.contains("(*") && !line.starts_with("#define")
            });
            (call && declared).then_some(name)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let expected = include_str!("exports.txt");
    assert_eq!(names.join("\n") + "\n", expected, "tests/exports.txt is the list of exported functions");
}

/// C++14 gave 1,317 lines on what it does not know.
#[test]
fn the_wrapper_in_an_older_language_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("old.cpp");
    fs::write(&program, "#include <dijitso.hpp>\n").unwrap();
    let compile = |compiler: &str, standard: &str| {
        let mut command = std::process::Command::new(compiler);
        command.arg(standard).arg("-I").arg(root().join("include")).arg("-fsyntax-only").arg(&program);
        command.output()
    };
    for compiler in ["g++", "clang++"] {
        for standard in ["-std=c++98", "-std=c++14"] {
            let Ok(output) = compile(compiler, standard) else { continue };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && said.contains("needs C++17"),
                "{compiler} {standard}: {said}"
            );
            assert_eq!(said.matches("error:").count(), 1, "{compiler} {standard}: {said}");
        }
    }
}
