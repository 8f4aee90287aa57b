//! The output of the command: JSON, colours, closed pipes, full disks, control characters.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use super::{Home, ended, text};

#[test]
fn every_subcommand_speaks_json() {
    let home = Home::filled();
    let shown = home.json(&["show", "--json"]);
    assert_eq!(shown["entries"].as_array().unwrap().len(), 4);
    assert_eq!(shown["entries"][0]["signature"], "stiffness");
    assert_eq!(shown["entries"][0]["compiler"], "gcc version 12.2.0 (Debian 12.2.0-14)");
    assert_eq!(shown["categories"]["inc"]["files"], 4);
    assert_eq!(shown["total"]["files"], 17);
    assert_eq!(home.json(&["--json", "version"])["version"], dijitso::VERSION);
    let config = home.json(&["--json", "config"]);
    assert_eq!(config["build.cxxflags"]["value"][0], "-Wall");
    assert_eq!(config["build.cxxflags"]["origin"], "default");
    assert_eq!(home.json(&["config", "--key", "parallel.buildon", "--json"])["value"], "node");
    let grep = home.json(&["grep", "--pattern", "a.b", "--json"]);
    assert_eq!(grep["files"][0]["matches"][0]["line"], 2);
    assert_eq!(grep["files"][0]["count"], 2);
    let functions = home.json(&["grepfunction", "--name", "evaluate", "--json"]);
    assert_eq!(functions["functions"][0]["name"], "dolfin::Mass::evaluate");
    assert_eq!(functions["functions"][0]["line"], 5);
    let checkout = home.json(&["checkout", "--signature", "mass", "--json"]);
    assert_eq!(checkout["checkouts"][0]["dir"], "jitcheckout-mass");
    let clean = home.json(&["clean", "--json", "-n"]);
    assert_eq!(clean["removed"].as_array().unwrap().len(), 16);
    assert_eq!(home.json(&["clean", "--json", "--yes"])["dry_run"], false);
    assert_eq!(home.files(), 0);
}

#[test]
fn a_reader_that_goes_away_has_seen_enough() {
    let home = Home::filled();
    let cache = home.cache();
    cache.store_header("long", "create line\n".repeat(100_000).as_bytes()).unwrap();
    for arguments in [&["grep", "--pattern", "line"][..], &["--json", "grep", "--pattern", "line"]] {
        let mut child =
            home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
    // A disk that is full is something else.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = home.command(&["show"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cannot write the output"), "{}", text(&output.stderr));
}

#[test]
fn colours_are_on_terminals_only_and_as_told() {
    const ESCAPE: &str = "\u{1b}[";
    let home = Home::filled();
    assert!(!home.shows(&["show"]).contains(ESCAPE));
    assert!(home.shows(&["show", "--color", "always"]).contains(ESCAPE));
    assert!(
        home.shows(&["--color=always", "grep", "--pattern", "a.b"])
            .contains("\u{1b}[1m\u{1b}[31ma.b\u{1b}[0m")
    );
    assert!(!home.shows(&["show", "--color", "always", "--json"]).contains(ESCAPE));
    assert!(home.on_terminal("show", "", &[]).0.contains(ESCAPE));
    assert!(!home.on_terminal("show", "", &[("NO_COLOR", "1")]).0.contains(ESCAPE));
    assert!(!home.on_terminal("show --color never", "", &[]).0.contains(ESCAPE));
    assert!(!home.on_terminal("--color never help show", "", &[]).0.contains(ESCAPE));
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let home = Home::with(&["a"], "log");
    let all: &[&[&str]] = &[
        &["help"],
        &["--help"],
        &["--version"],
        &["help", "show"],
        &["show", "--help"],
        &["version"],
        &["show"],
        &["show", "--json"],
        &["config"],
        &["grep"],
        &["grepfunction"],
        &["why", "a"],
        &["check"],
        &["stats"],
        &["gc", "--max-size", "1G"],
        &["clean", "-n"],
        &["checkout", "a", "-n"],
        &["completions", "bash"],
        &["export", "--all", "-o", "-"],
    ];
    for arguments in all {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = ended(home.command(arguments).stdout(full).spawn().unwrap());
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains("No space left on device"), "{arguments:?}: {output:?}");
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let output = ended(home.command(arguments).stdout(write).spawn().unwrap());
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.signal(), None, "{arguments:?}");
    }
}

#[test]
fn control_characters_of_entries_do_not_reach_a_terminal() {
    let hostile = "\u{1b}]0;owned\u{7}a\rb\u{9b}2Jc\u{202e}d";
    let home = Home::with(&["a"], hostile);
    let shown = home.on_terminal("grep --categories log --pattern b", "", &[]).0;
    assert!(shown.contains("\\x1b]0;owned\\x07a\\r") && shown.contains("\\x9b2Jc\\u{202e}d"), "{shown:?}");
    assert!(!shown.contains("\u{1b}]") && !shown.contains(['\u{7}', '\u{9b}', '\u{202e}']), "{shown:?}");
    // What is matched has a colour all the same.
    assert!(shown.contains("\u{1b}[31mb"), "{shown:?}");
    let json = home.on_terminal("grep --categories log --json", "", &[]).0;
    assert!(!json.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{json:?}");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["files"][0]["matches"][0]["text"], hostile);
    // Files get what is there.
    assert!(text(&home.run(&["grep", "--categories", "log"]).stdout).contains(hostile));
}

#[test]
fn messages_are_escaped_wherever_they_go() {
    let home = Home::with(&[], "");
    let output = home.run(&["import", "no\u{1b}[2J\rsuch\nfile"]);
    let complaint = text(&output.stderr);
    assert!(complaint.contains("no\\x1b[2J\\rsuch file") && complaint.lines().count() == 1, "{complaint:?}");
}
