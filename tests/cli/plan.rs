//! `dijitso plan` and `dijitso console` on a plan file.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use super::home::{Home, ended, text};

const PLAN: &str = r#"
[[task]]
label = "form-code"
command = ["sh", "-c", "echo 'int f(void) { return 1; }' > poisson.c"]
outputs = ["poisson.c"]

[[module]]
label = "poisson"
source = "form-code:poisson.c"

[[module]]
label = "top"
source = { text = "int g;" }
language = "c"
"#;

fn with_plan() -> Home {
    let home = Home::empty();
    fs::write(home.at("plan.toml"), PLAN).unwrap();
    home
}

/// Runs a console on the plan with these lines as its input.
fn console(home: &Home, lines: &str) -> Output {
    let mut child = home.command(&["console", "plan.toml"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    ended(child)
}

#[test]
fn a_plan_that_was_never_made_is_listed() {
    let home = with_plan();
    let table = "\
STATE  SIZE  TIME  AGE  LABEL
ready     -     -    -  form-code
todo      -     -    -  poisson
ready     -     -    -  top
";
    assert_eq!(home.shows(&["plan", "ls", "plan.toml"]), table);
    let json = home.json(&["plan", "ls", "plan.toml", "not", "ready", "--json"]);
    assert_eq!((&json[0]["label"], &json[0]["needs"][0]), (&"poisson".into(), &"form-code".into()));
    assert_eq!(home.shows(&["plan", "why", "plan.toml"]), "");
    assert!(home.shows(&["plan", "stats", "plan.toml", "sh()"]).starts_with("plan: 1 node\n"));
    assert!(home.shows(&["plan", "details", "plan.toml", "label:top"]).starts_with("top (module)\n"));
    // Nothing was written.
    assert_eq!(home.names(), ["plan.toml"]);
}

#[test]
fn a_mistake_in_a_selection_has_its_column_and_the_nearest_word() {
    let home = with_plan();
    for (words, message) in [
        (
            &["redy"][..],
            "column 1 of the selection: there is no node and no word \"redy\"; did you mean \"ready\"?",
        ),
        (&["ready", "in", "poison"], "column 10 of the selection: there is no node and no word \"poison\""),
        (&["ready except"], "column 13 of the selection: the selection ends too early"),
        (&["top"], "write label:top for the node, or is:top for the word"),
    ] {
        let (code, complaint) = home.fails(&[&["plan", "ls", "plan.toml"], words].concat());
        assert!(code == 2 && complaint.contains(message), "{words:?}: {complaint}");
    }
    assert_eq!(home.fails(&["plan", "ls", "nowhere.toml"]).0, 3);
}

#[test]
fn pictures_go_to_files_and_to_the_standard_output() {
    let home = with_plan();
    let graph = home.shows(&["plan", "graph", "plan.toml", "not", "label:top"]);
    assert!(graph.starts_with("digraph \"plan\" {\n") && graph.contains("n0 -> n1;"), "{graph}");
    assert!(!graph.contains("n2"), "{graph}");
    for file in ["g.dot", "g.mmd", "g.svg", "g.json"] {
        let shown = home.shows(&["plan", "graph", "plan.toml", "-o", file]);
        assert!(
            shown.starts_with("3 nodes, ") && shown.ends_with(&format!("written to {file}\n")),
            "{shown}"
        );
    }
    assert!(fs::read_to_string(home.at("g.mmd")).unwrap().starts_with("flowchart LR\n"));
    assert!(fs::read_to_string(home.at("g.svg")).unwrap().starts_with("<svg "));
    assert_eq!(home.json(&["plan", "graph", "plan.toml", "--json"])["nodes"][1]["needs"][0], "form-code");
    let json = home.json(&["plan", "gantt", "plan.toml", "-o", "g.html", "--json"]);
    let page = fs::read_to_string(home.at("g.html")).unwrap();
    assert_eq!(json["bytes"], page.len());
    assert!(page.contains("None of them has been made yet."));
    home.shows(&["plan", "gantt", "plan.toml", "-o", "other.html", "--dry-run"]);
    assert!(!home.at("other.html").exists());
    let (code, complaint) = home.fails(&["plan", "gantt", "plan.toml", "-o", "nowhere/g.html"]);
    assert!(code == 3 && complaint.contains("cannot write nowhere/g.html"), "{complaint}");
}

#[test]
fn a_console_reads_lines_from_a_pipe() {
    let home = with_plan();
    let output = console(
        &home,
        "ls ready; ls last in modules\nnothing\nls 'open\n\n# rest\nstats form-code\nexit\nls\n",
    );
    let shown = text(&output.stdout);
    assert_eq!(shown.matches("STATE").count(), 2, "{shown}");
    assert!(shown.contains("plan: 1 node\n"), "{shown}");
    let complaints: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert_eq!(output.status.code(), Some(2));
    let output = console(&home, "ls ready");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(home.shows(&["console", "plan.toml", "-c", "ls modules; why"]).contains("poisson"));
    assert_eq!(home.fails(&["console", "nowhere.toml"]).0, 3);
}

#[test]
fn a_console_on_a_terminal_completes_and_remembers() {
    let home = with_plan();
    let typed = "ls rea\t\nnothing\nwhy; stats fo\t\nexit\n";
    let (shown, success) = home.on_terminal("console plan.toml", typed, &[]);
    assert!(success, "{shown}");
    for part in [
        "plan: 3 nodes, 0 done",
        "ready     -     -    -  form-code",
        "no command \"nothing\"",
        "plan: 1 node",
    ] {
        // Colours stand between the words.
        let plain = anstream::adapter::strip_str(&shown).to_string();
        assert!(plain.contains(part), "{part}: {plain:?}");
    }
    let history = fs::read_to_string(home.at(".local/state/dijitso/console_history")).unwrap();
    let lines: Vec<&str> = history.lines().skip(1).map(str::trim_end).collect();
    assert_eq!(lines, ["ls ready", "nothing", "why; stats form-code", "exit"]);
    // The end of the input ends it, too.
    assert!(home.on_terminal("console plan.toml", "\u{4}", &[]).1);
    assert!(home.on_terminal("console plan.toml", "ls\nexit\n", &[("TERM", "dumb")]).1);
}
