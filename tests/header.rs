//! `include/dijitso.h` is what cbindgen makes of `src/capi`, and every export goes through the one macro.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// In the order in which the header is read: what everybody needs first.
const FILES: &[&str] = &[
    "status", "error", "params", "source", "library", "jit", "text", "ahead", "logging", "visit", "build",
    "elf", "names", "catalog", "care", "bundle", "roles",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust source as cbindgen can read it, which does not look into macros: `export!` taken away.
fn plain(source: &str) -> String {
    let mut plain = String::new();
    let mut within = false;
    for line in source.lines() {
        let function = line.strip_prefix("    fn dijitso_");
        if let Some(rest) = function {
            let cut = rest.split_once(", errors to ").or_else(|| rest.split_once(", otherwise("));
            let (declaration, _) = cut.expect("an exported function stands on one line, with its kind");
            let declaration = format!("pub unsafe extern \"C\" fn dijitso_{declaration} {{");
            writeln!(plain, "#[unsafe(no_mangle)] {declaration}").unwrap();
        } else if line == "export! {" {
            within = true;
        } else if within && line == "}" {
            within = false;
        } else {
            writeln!(plain, "{line}").unwrap();
        }
    }
    plain
}

fn generate() -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = cbindgen::Config::from_file(root().join("include/cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in FILES {
        let source = fs::read_to_string(root().join("src/capi").join(name).with_extension("rs")).unwrap();
        let path = dir.path().join(name).with_extension("rs");
        fs::write(&path, plain(&source)).unwrap();
        builder = builder.with_src(path);
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

#[test]
fn only_the_macro_exports() {
    for path in common::rust_files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let exports = text.matches("no_mangle").count() + text.matches("export_name").count();
        let allowed = if path.ends_with("capi/mod.rs") { 2 } else { 0 };
        assert_eq!(exports, allowed, "{}", path.display());
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
