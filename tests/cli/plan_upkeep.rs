//! `dijitso plan invalidate`, `clean`, `delete` and `check`.

use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::home::{Home, ended, text};

const PLAN: &str = r#"
[[task]]
label = "mesh"
name = "gmsh"
command = ["sh", "-c", "cat size > mesh.txt"]
inputs = ["size"]
outputs = ["mesh.txt"]

[[task]]
label = "form-code"
name = "ffc"
needs = ["mesh"]
command = ["sh", "-c", "echo 'int f(void) { return 1; }' > f.c"]
outputs = ["f.c"]

[[module]]
label = "form"
source = "form-code:f.c"
language = "c"
"#;

/// A home with a plan that was made.
struct MadePlan(Home);

impl MadePlan {
    fn new() -> Self {
        let home = Home::empty();
        fs::write(home.at("plan.toml"), PLAN).unwrap();
        fs::write(home.at("size"), "3").unwrap();
        let plan = Self(home);
        plan.make();
        plan
    }

    /// Runs the command with the compiler in its path: exit code, output, messages.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.0.command(arguments);
        let output = ended(command.env("PATH", std::env::var_os("PATH").unwrap()).spawn().unwrap());
        (output.status.code().unwrap(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    }

    fn make(&self) {
        let (code, _, messages) = self.run(&["make", "plan.toml"]);
        assert_eq!(code, 0, "{messages}");
    }

    fn shows(&self, arguments: &[&str]) -> String {
        let (code, shown, messages) = self.run(arguments);
        assert_eq!((code, messages.as_str()), (0, ""), "{arguments:?}");
        shown
    }

    fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.shows(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// The states of the nodes, with a star if they are stale.
    fn states(&self) -> Vec<String> {
        let nodes = self.json(&["plan", "ls", "plan.toml"]);
        let state = |node: &Json| {
            let mark = if node["stale"] == true { "*" } else { "" };
            format!("{}{mark}", node["state"].as_str().unwrap())
        };
        nodes.as_array().unwrap().iter().map(state).collect()
    }

    fn journal(&self) -> PathBuf {
        let files = fs::read_dir(self.0.cache().layout().plans()).unwrap();
        files.map(|file| file.unwrap().path()).next().unwrap()
    }

    /// The number of executions of a node in the journal.
    fn executions(&self, label: &str) -> usize {
        let text = fs::read_to_string(self.journal()).unwrap();
        text.matches(&format!("\"label\":\"{label}\"")).count()
    }

    fn result_of(&self, label: &str) -> PathBuf {
        let nodes = self.json(&["plan", "ls", "plan.toml", &format!("label:{label}")]);
        self.0.cache().layout().result(nodes[0]["signature"].as_str().unwrap())
    }

    fn findings(&self, expected_code: i32) -> Vec<(String, Json)> {
        let (code, shown, messages) = self.run(&["plan", "check", "plan.toml", "--json"]);
        assert_eq!(code, expected_code, "{shown}{messages}");
        let json: Json = serde_json::from_str(&shown).unwrap();
        assert_eq!(json["sound"], code == 0);
        let finding =
            |finding: &Json| (finding["what"].as_str().unwrap().to_owned(), finding["nodes"].clone());
        json["findings"].as_array().unwrap().iter().map(finding).collect()
    }
}

#[test]
fn what_is_invalidated_is_made_again_and_the_rest_only_if_it_differs() {
    let plan = MadePlan::new();
    assert_eq!(plan.states(), ["done", "done", "done"]);
    let shown = plan.shows(&["plan", "invalidate", "plan.toml", "mesh", "-n"]);
    assert!(shown.contains("would remove /") && shown.contains("1 node would be invalidated"), "{shown}");
    assert_eq!(plan.states(), ["done", "done", "done"]);
    let shown = plan.shows(&["plan", "invalidate", "plan.toml", "mesh"]);
    assert!(
        shown.starts_with("1 node invalidated, 1 file (") && shown.contains("2 nodes that need them"),
        "{shown}"
    );
    assert_eq!(plan.states(), ["ready*", "todo*", "todo*"]);
    plan.make();
    assert_eq!(plan.states(), ["done", "done", "done"]);
    let executions = ["mesh", "form-code", "form"].map(|label| plan.executions(label));
    assert_eq!(executions, [2, 1, 1], "the mesh came out the same");
    let json = plan.json(&["plan", "invalidate", "plan.toml", "ffc()", "form"]);
    assert_eq!((&json["nodes"], &json["stale"]), (&Json::from(["form-code", "form"]), &Json::from([""; 0])));
    plan.make();
    assert_eq!(["mesh", "form-code", "form"].map(|label| plan.executions(label)), [2, 2, 2]);
    // Nothing is there that could be removed.
    plan.shows(&["plan", "invalidate", "plan.toml"]);
    assert!(plan.shows(&["plan", "invalidate", "plan.toml"]).starts_with("0 nodes invalidated, 0 files"));
}

#[test]
fn a_console_makes_again_what_it_has_invalidated() {
    let plan = MadePlan::new();
    let (code, shown, messages) =
        plan.run(&["console", "plan.toml", "-c", "make; invalidate form; make; ls"]);
    assert_eq!(code, 0, "{messages}");
    assert_eq!(shown.lines().filter(|line| line.starts_with("done ")).count(), 3, "{shown}{messages}");
    assert_eq!(plan.executions("form"), 2);
}

#[test]
fn clean_asks_and_removes_what_the_selection_has() {
    let plan = MadePlan::new();
    let (code, shown, complaint) = plan.run(&["plan", "clean", "plan.toml"]);
    assert_eq!((code, shown.as_str(), complaint.contains("--yes")), (2, "", true), "{complaint}");
    let shown = plan.shows(&["plan", "clean", "plan.toml", "-n"]);
    assert_eq!(shown.matches("would remove /").count(), 5, "{shown}");
    assert_eq!(plan.states(), ["done", "done", "done"]);
    let shown = plan.shows(&["plan", "clean", "plan.toml", "tasks", "--yes"]);
    assert!(shown.starts_with("2 files ("), "{shown}");
    assert_eq!((plan.0.cache().result_signatures().len(), plan.0.files()), (0, 3));
    // The signature of the library is not known before the tasks are made, and the journal has it.
    let json = plan.json(&["plan", "clean", "plan.toml", "-y"]);
    assert_eq!((&json["nodes"], json["removed"].as_array().unwrap().len()), (&Json::from(["form"]), 3));
    assert_eq!((plan.0.files(), plan.executions("form")), (0, 1));
    assert!(plan.shows(&["plan", "clean", "plan.toml"]).starts_with("0 files (0 B) removed"));
}

#[test]
fn clean_takes_an_answer_on_a_terminal() {
    let plan = MadePlan::new();
    let (shown, _) = plan.0.on_terminal("plan clean plan.toml mesh", "n\n", &[]);
    assert!(shown.contains("Remove 1 file (") && shown.contains("[y/N]"), "{shown}");
    assert_eq!(plan.0.cache().result_signatures().len(), 2);
    plan.0.on_terminal("plan clean plan.toml mesh", "y\n", &[]);
    assert_eq!(plan.0.cache().result_signatures().len(), 1);
}

#[test]
fn delete_forgets_the_past_as_well() {
    let plan = MadePlan::new();
    assert_eq!(plan.run(&["plan", "delete", "plan.toml", "-y"]).0, 2, "nothing is selected");
    let shown = plan.shows(&["plan", "delete", "plan.toml", "mesh", "-n"]);
    assert!(shown.contains("1 file (") && plan.executions("mesh") == 1, "{shown}");
    let shown = plan.shows(&["plan", "delete", "plan.toml", "mesh", "--yes"]);
    assert!(shown.contains("; 1 execution forgotten"), "{shown}");
    assert_eq!((plan.executions("mesh"), plan.executions("form")), (0, 1));
    assert_eq!(plan.states(), ["ready", "todo*", "todo*"]);
    plan.make();
    assert_eq!(plan.states(), ["done", "done", "done"]);
}

#[test]
fn check_finds_what_is_damaged_missing_or_torn() {
    let plan = MadePlan::new();
    assert_eq!(plan.findings(0), []);
    let shown = plan.shows(&["plan", "check", "plan.toml"]);
    assert!(shown.starts_with("plan: 3 nodes, 1 entry and 2 results checked"), "{shown}");
    let path = plan.result_of("form-code");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = |what: &str, label: &str| (what.to_owned(), Json::from([label]));
    assert_eq!(plan.findings(1), [found("result-altered", "form-code")]);
    let (_, shown, _) = plan.run(&["plan", "check", "plan.toml"]);
    assert!(shown.contains("broken (1)") && shown.contains("dijitso check --repair"), "{shown}");
    assert_eq!(plan.run(&["check", "--repair"]).0, 0);
    assert_eq!(plan.findings(0), [found("result-missing", "form-code")]);
    plan.make();
    let mut journal = fs::read_to_string(plan.journal()).unwrap();
    journal.push_str("{\"event\":");
    fs::write(plan.journal(), journal).unwrap();
    fs::write(
        plan.0.at("plan.toml"),
        PLAN.replace("label = \"mesh\"", "label = \"grid\"").replace("[\"mesh\"]", "[\"grid\"]"),
    )
    .unwrap();
    let torn = ("journal-line".to_owned(), Json::from([""; 0]));
    assert_eq!(plan.findings(0), [found("journal-node", "mesh"), torn]);
    fs::remove_file(plan.0.at("size")).unwrap();
    assert_eq!(plan.findings(1)[0].0, "plan", "a plan names no input that is not there");
}

#[test]
fn check_finds_mistakes_in_the_plan() {
    let home = Home::empty();
    for (text, what) in [
        ("[[task]]\nlabel = \"a\"\ncommand = [\"true\"]\nneeds = [\"b\"]\n", "plan"),
        ("[[task]\n", "plan"),
        ("[[module]]\nlabel = \"a\"\nentry = \"a_0123456789abcdef0123456789abcdef\"\n", "entry-missing"),
    ] {
        fs::write(home.at("plan.toml"), text).unwrap();
        let output = home.run(&["plan", "check", "plan.toml", "--json"]);
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &json["findings"][0]["what"]),
            (Some(1), &Json::from(what)),
            "{text}"
        );
    }
    let circle = "[[task]]\nlabel = \"a\"\ncommand = [\"true\"]\nafter = [\"b\"]\n\
                  [[task]]\nlabel = \"b\"\ncommand = [\"true\"]\nafter = [\"a\"]\n";
    fs::write(home.at("plan.toml"), circle).unwrap();
    let output = home.run(&["plan", "check", "plan.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("a") && text(&output.stdout).contains("broken (1)"));
    assert_eq!(home.fails(&["plan", "check", "nowhere.toml"]).0, 3);
}

#[test]
fn priorities_are_the_seconds_to_the_end_and_the_largest_comes_first() {
    let home = Home::empty();
    fs::write(home.at("plan.toml"), PLAN).unwrap();
    fs::write(home.at("size"), "3").unwrap();
    let json = home.json(&["plan", "ls", "plan.toml", "form", "mesh", "--priority", "--json"]);
    let row =
        |at: usize| (json[at]["label"].as_str().unwrap(), json[at]["priority_seconds"].as_f64().unwrap());
    assert_eq!((row(0), row(1)), (("mesh", 3.0), ("form", 1.0)));
    let shown = home.shows(&["plan", "ls", "plan.toml", "--priority"]);
    assert!(shown.contains("PRIORITY") && shown.contains("3.00 s  mesh"), "{shown}");
    assert!(home.json(&["plan", "ls", "plan.toml", "--json"])[0]["priority_seconds"].is_null());
}
