//! `dijitso make` on a plan file, with a real compiler.

use std::fs;
use std::time::Duration;

use super::home::{Home, text};

const PLAN: &str = r#"
[[task]]
label = "table"
command = ["sh", "-c", "echo ran >> $HOME/runs; echo \"int table = $(cat table.txt);\" > table.h"]
inputs = ["table.txt"]
outputs = ["table.h"]

[[module]]
source = "src/*.c"
params = { "build.language" = "c" }
"#;

fn with_plan() -> Home {
    let home = Home::empty();
    fs::create_dir(home.at("src")).unwrap();
    fs::write(home.at("src/one.c"), "int one(void) { return 1; }\n").unwrap();
    fs::write(home.at("table.txt"), "4\n").unwrap();
    fs::write(home.at("plan.toml"), PLAN).unwrap();
    home
}

/// Makes the plan. Returns the exit code and the last line of what it says.
fn make(home: &Home, arguments: &[&str]) -> (i32, String) {
    let mut command = home.command(&["make", "plan.toml"]);
    command.args(arguments).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = super::ended(command.spawn().unwrap());
    let last = text(&output.stderr).lines().last().unwrap_or_default().to_owned();
    (output.status.code().unwrap(), last.split(", in ").next().unwrap().to_owned())
}

fn said(text: &str) -> (i32, String) {
    (0, format!("dijitso: {text}"))
}

#[test]
fn a_make_without_changes_does_nothing_and_each_change_is_seen() {
    let home = with_plan();
    // Files that have just been written may change again within a tick of the clock.
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(make(&home, &[]), said("2 built, 0 found"));
    let nothing = said("0 built, nothing to do: all 2 nodes are made");
    assert_eq!(make(&home, &[]), nothing);
    // Another parameter.
    assert_eq!(make(&home, &["--param", "build.cflags_opt=-O1"]), said("1 built, 1 found"));
    // The input of the task.
    fs::write(home.at("table.txt"), "5\n").unwrap();
    assert_eq!(make(&home, &[]), said("1 built, 1 found"));
    // A file that the pattern matches.
    fs::write(home.at("src/two.c"), "int two(void) { return 2; }\n").unwrap();
    assert_eq!(make(&home, &[]), said("1 built, 2 found"));
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(make(&home, &[]), said("0 built, 3 found"));
    let nothing = said("0 built, nothing to do: all 3 nodes are made");
    assert_eq!(make(&home, &[]), nothing);
    // A result that is gone.
    let results = fs::read_dir(home.cache().layout().result("x").parent().unwrap()).unwrap();
    results.for_each(|result| fs::remove_file(result.unwrap().path()).unwrap());
    assert_eq!(make(&home, &[]), said("1 built, 2 found"));
    assert_eq!(make(&home, &[]), nothing);
    // The source of a library.
    fs::write(home.at("src/two.c"), "int two(void) { return 3; }\n").unwrap();
    assert_eq!(make(&home, &[]), said("1 built, 2 found"));
    // The plan itself.
    fs::write(home.at("plan.toml"), PLAN.replace("table.h", "t.h")).unwrap();
    assert_eq!(make(&home, &[]), said("1 built, 2 found"));
    assert_eq!(fs::read_to_string(home.at("runs")).unwrap().lines().count(), 4);
}

#[test]
fn a_state_that_is_damaged_is_ignored() {
    let home = with_plan();
    std::thread::sleep(Duration::from_millis(2100));
    make(&home, &[]);
    let dir = home.cache().layout().plan_state("x").parent().unwrap().to_owned();
    let is_state = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "state");
    let state = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(is_state).unwrap();
    let whole = fs::read(&state).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"", b"dijitso plan state 1\n", &[&whole[..], b"x"].concat()] {
        fs::write(&state, bytes).unwrap();
        assert_eq!(make(&home, &[]), said("0 built, 2 found"), "{} bytes", bytes.len());
    }
}
