//! `dijitso config`, and mistakes on the command line and in variables.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::home::{Home, ended, text};

fn dijitso(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dijitso"))
        .args(arguments)
        .current_dir(std::path::Path::new("/tmp"))
        .env_clear()
        .env("HOME", "/home/nobody")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn version_is_that_of_the_package() {
    let output = dijitso(&["version"], &[]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn config_shows_values_and_where_they_came_from() {
    let output = dijitso(&["config"], &[("CXX", "ccache g++")]);
    assert!(output.status.success());
    let shown = text(&output.stdout);
    for line in ["[build]", "cxx = ccache g++", "cxxflags = -Wall -shared -fPIC -std=c++11", "[parallel]"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
    assert!(shown.contains("environment variable CXX"), "{shown}");
    // What is shown is a config file that gives the same values.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shown.conf");
    fs::write(&file, shown).unwrap();
    let again = dijitso(&["config", "--key", "build.cxx"], &[("DIJITSO_CONF", file.to_str().unwrap())]);
    assert_eq!(text(&again.stdout), "ccache g++\n", "{}", text(&again.stderr));
}

/// A config file that is passed over, because anybody could have written it, is not passed over in silence.
#[test]
fn an_unsafe_config_file_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".dijitso.conf");
    fs::write(&file, "[build]\ncxx = evil\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dijitso"));
    command.args(["config", "--key", "build.cxx"]).current_dir(dir.path());
    let output = command.env_clear().env("HOME", "/home/nobody").output().unwrap();
    assert_eq!(text(&output.stdout), "c++\n");
    assert!(text(&output.stderr).contains("is not used"), "{}", text(&output.stderr));
}

/// Defect W1 of the original: `--cache-dir` never worked.
#[test]
fn w1_cache_dir_counts() {
    for arguments in [
        ["-r", "/q/z", "config", "--key", "cache.cache_dir"],
        ["config", "--key", "cache.cache_dir", "-r", "/q/z"],
    ] {
        let output = dijitso(&arguments, &[("DIJITSO_CACHE_DIR", "/elsewhere")]);
        assert_eq!(text(&output.stdout), "/q/z\n");
    }
}

/// Defect C8 of the original: a bad key, or no subcommand, ended in a traceback.
#[test]
fn c8_mistakes_are_errors_that_help() {
    let output = dijitso(&["config", "--key", "build.cxxflag"], &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("build.cxxflags"), "{}", text(&output.stderr));
    assert_eq!(dijitso(&[], &[]).status.code(), Some(2));
    assert_eq!(dijitso(&["nonsense"], &[]).status.code(), Some(2));
    let output = dijitso(&["config"], &[("DIJITSO_SYSTEM_CALL_METHOD", "POPEN")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("DIJITSO_SYSTEM_CALL_METHOD"), "{}", text(&output.stderr));
}

/// A typo was ignored in silence.
#[test]
fn a_variable_that_means_nothing_is_told_once() {
    let output =
        dijitso(&["config"], &[("DIJITSO_CACHEDIR", "/elsewhere"), ("DIJITSO_ROOT", "/opt/dijitso")]);
    let said = text(&output.stderr);
    assert!(output.status.success());
    assert_eq!(said.matches("DIJITSO_CACHEDIR").count(), 1, "{said}");
    assert!(said.contains("did you mean DIJITSO_CACHE_DIR?"), "{said}");
    assert!(!said.contains("DIJITSO_ROOT"), "{said}");
    let other_rank = [("DIJITSO_CACHEDIR", "/elsewhere"), ("OMPI_COMM_WORLD_RANK", "3")];
    assert_eq!(text(&dijitso(&["config"], &other_rank).stderr), "");
}

/// Python dijitso has the same default directory and reads the same variable.
#[test]
fn a_cache_of_python_dijitso_stops_no_program() {
    let home = Home::empty();
    let old = home.at(".cache/dijitso");
    for name in ["include", "lib", "log", "src"] {
        fs::create_dir_all(old.join(name)).unwrap();
    }
    fs::set_permissions(&old, fs::Permissions::from_mode(0o775)).unwrap();
    let shown = |named: bool| {
        let mut command = home.command(&["config", "--key", "cache.cache_dir"]);
        if named {
            command.env("DIJITSO_CACHE_DIR", &old);
        }
        let output = ended(command.spawn().unwrap());
        let (dir, warning) = (text(&output.stdout).trim_end().to_owned(), text(&output.stderr).to_owned());
        assert!(output.status.success() && warning.lines().count() == 1, "{warning}");
        assert!(warning.contains("is the cache of Python dijitso") && warning.contains(&dir), "{warning}");
        dir
    };
    assert_eq!(shown(false), format!("{}-libraries", old.display()));
    assert_eq!(shown(true), format!("{}/libraries", old.display()));
}
