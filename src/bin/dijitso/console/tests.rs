//! The console without a terminal, and through it the commands on plans, on the plan of the tests.

use serde_json::Value as Json;

use super::super::output::{KeptOutput, Out};
use super::*;

/// A console and what it has written.
struct TriedConsole {
    console: Console,
    context: CommandContext,
    kept: KeptOutput,
}

impl TriedConsole {
    /// Returns a console with these options before its name.
    fn with(options: &[&str]) -> Self {
        Self::writing_to(Out::kept(false, false, false), options)
    }

    fn writing_to((out, kept): (Out, KeptOutput), options: &[&str]) -> Self {
        let line = ["dijitso"].iter().chain(options).chain(&["console", "sample.toml"]);
        let mut context = CommandContext::new(CommandLine::try_parse_from(line).unwrap().options);
        context.out = out;
        Self { console: Console::new(Path::new("sample.toml"), &context.options), context, kept }
    }

    /// Runs a line. Returns what it writes, and the exit code of the first failure of the console.
    fn line(&mut self, line: &str) -> (String, u8) {
        assert!(self.console.run_line(line, &mut self.context), "{line} has ended the console");
        (self.kept.text(), self.console.first_failure)
    }

    /// Runs a line that succeeds.
    fn shows(&mut self, line: &str) -> String {
        let (text, code) = self.line(line);
        assert_eq!(code, 0, "{line}: {text}");
        text
    }
}

/// Returns the output of a line that succeeds.
fn shown(line: &str) -> String {
    TriedConsole::with(&[]).shows(line)
}

fn json(line: &str) -> Json {
    serde_json::from_str(&shown(line)).unwrap()
}

fn labels(json: &Json) -> Vec<&str> {
    json.as_array().unwrap().iter().map(|node| node["label"].as_str().unwrap()).collect()
}

#[test]
fn nodes_are_listed() {
    let table = "\
STATE       SIZE    TIME  AGE  LABEL
done     3.0 MiB  5.00 s  3 h  mesh
done*   39.1 KiB  1.50 s  3 h  elements
done     8.8 KiB       -    -  form code
failed         -  3.00 s  3 h  poisson
ready          -       -    -  Wärme
";
    assert_eq!(shown("ls mesh elements 'form code' poisson Wärme"), table);
    let reasons = "\
STATE        SIZE    TIME  AGE  LABEL
done*    39.1 KiB  1.50 s  3 h  elements
          something that it depends on has changed, or its result was removed
failed          -  3.00 s  3 h  poisson
          cannot compile poisson: poisson.c:7:1: error: unknown type name 'flaot'
ready           -       -    -  Wärme
          it has not been made yet
blocked         -       -    -  solve
          poisson has failed
done        100 B       -    -  forms
todo            -       -    -  top
          it waits for forms-1-1
";
    assert_eq!(shown("ls --reason stale failed Wärme solve forms label:top"), reasons);
    assert_eq!(shown("ls failed in modules except poisson"), "");
    let all = shown("list --all forms-1");
    let expected = ["module", "form_1", "n2", "3", "300.0 MiB", "form_1_9123456789abcdef0123456789abcdef"];
    assert!(expected.iter().all(|cell| all.lines().nth(1).unwrap().contains(cell)), "{all}");
}

#[test]
fn nodes_are_listed_as_json() {
    let all = json("ls --json");
    assert_eq!(all.as_array().unwrap().len(), 12);
    let poisson = &all[3];
    assert_eq!(poisson["label"], "poisson");
    assert_eq!(poisson["kind"], "module");
    assert_eq!(poisson["state"], "failed");
    assert_eq!(poisson["signature"], "poisson_9123456789abcdef0123456789abcdef");
    assert_eq!(poisson["seconds"], 3.0);
    assert_eq!(poisson["needs"], serde_json::json!(["form code", "elements"]));
    assert_eq!(poisson["after"], serde_json::json!(["mesh"]));
    assert!(poisson["reason"].as_str().unwrap().contains("unknown type name"));
    assert_eq!(all[0]["reason"], Json::Null);
    assert_eq!((&all[0]["origin"], &all[1]["stale"]), (&"hit".into(), &true.into()));
    assert_eq!(labels(&json("ls --json failed blocked")), ["poisson", "solve", "report"]);
    assert_eq!(json("ls --json failed in done"), serde_json::json!([]));
}

#[test]
fn labels_are_shortened_on_terminals_only() {
    let mut console = TriedConsole::writing_to(Out::kept(true, false, false), &[]);
    let lines = |text: String| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(lines(console.shows("ls --reason")) <= 80);
    assert!(lines(console.shows("stats")) <= 80);
    assert!(lines(console.shows("why")) <= 80);
    assert!(shown("why").lines().next().unwrap().len() > 80);
    let mut colours = TriedConsole::writing_to(Out::kept(true, true, false), &[]);
    let text = colours.shows("ls failed done");
    assert!(
        text.contains("\u{1b}[31mfailed\u{1b}[0m") || text.contains("\u{1b}[1m\u{1b}[31mfailed"),
        "{text:?}"
    );
}

#[test]
fn reasons_of_failures_are_a_line_each() {
    let why = "\
poisson  failed   cannot compile poisson: poisson.c:7:1: error: unknown type name 'flaot' [+3 lines]
solve    blocked  poisson has failed
report   blocked  poisson has failed
";
    assert_eq!(shown("why"), why);
    assert_eq!(
        shown("why tasks"),
        "solve   blocked  poisson has failed\nreport  blocked  poisson has failed\n"
    );
    assert_eq!(shown("why mesh"), "");
    let json = json("why --json");
    assert_eq!(json[0]["error"]["path"], "/home/user/jitfailure-poisson");
    assert_eq!((&json[1]["blocked_by"], &json[1]["error"]), (&"poisson".into(), &Json::Null));
}

#[test]
fn nodes_are_counted_by_name_and_state() {
    let stats = "\
sample: 6 nodes
NAME     DONE  FAILED  BLOCKED  READY  NODES
ffcx        1       0        0      0      1
gmsh        1       0        0      0      1
poisson     0       1        0      1      2
python      0       0        2      0      2
all         2       1        2      1      6

last make      1 hit, 0 built
work           11.5 s, 4.50 s of it left to do
parallelism    1.0 (work by critical path)
critical path  11.0 s in 4 nodes
    5.00 s  mesh
    2.00 s  form code
    3.00 s  poisson
    1.00 s  solve
";
    assert_eq!(shown("stats gmsh() ffcx() poisson() python()"), stats);
    assert_eq!(shown("stats failed in done"), "sample: 0 nodes\n");
    let json = json("stats --json");
    assert_eq!(json["total"]["nodes"], 12);
    let states = ["done", "failed", "blocked", "running", "ready", "todo"];
    let sum: u64 = states.iter().map(|state| json["total"][state].as_u64().unwrap()).sum();
    assert_eq!(sum, 12);
    assert_eq!(json["names"]["poisson"]["ready"], 1);
    assert_eq!(json["critical_path"]["nodes"][1]["label"], "form code");
}

#[test]
fn details_have_everything() {
    let details = "\
poisson (module)
    name          poisson
    state         failed
    signature     poisson_9123456789abcdef0123456789abcdef
    needs         \"form code\" elements
    made after    mesh
    needed by     solve
    expected      3.00 s
    last run      3 h ago on n2, rank 1, slot 0, process 4711
    memory        300.0 MiB
                    look-up            0.25 s
                    compile            2.75 s
                    total              3.00 s
    error         cannot compile poisson: poisson.c:7:1: error: unknown type name 'flaot'
    reproduce in  /home/user/jitfailure-poisson
    log
        poisson.c:7:1: error: unknown type name 'flaot'
        [+2 lines]
";
    assert_eq!(shown("details poisson --max-lines 1"), details);
    let several = shown("details forms mesh Wärme --max-lines 0");
    for line in [
        "    has added     forms-1",
        "    last make     hit",
        "    size          3.0 MiB",
        "    reason        it has not been made yet",
        "    signature     not known yet",
    ] {
        assert!(several.lines().any(|shown| shown == line), "{line}: {several}");
    }
    let json = json("details --json poisson forms");
    assert_eq!(json[0]["last"]["phases"][1], serde_json::json!({ "phase": "compile", "seconds": 2.75 }));
    assert_eq!(json[0]["needed_by"], serde_json::json!(["solve"]));
    assert_eq!(json[0]["error"]["code"], Kind::Compile.code());
    assert_eq!(json[1]["has_added"], serde_json::json!(["forms-1"]));
}

#[test]
fn commands_follow_each_other_and_mistakes_do_not_end_the_console() {
    let mut console = TriedConsole::with(&[]);
    assert_eq!(console.line("# nothing"), (String::new(), 0));
    let two = console.shows("why tasks; stats failed in done # ; ls");
    assert!(two.ends_with("has failed\nsample: 0 nodes\n"), "{two}");
    for line in ["lss", "ls --nothing", "ls faild", "ls 'open", "details", "ls --max-lines 3", "stats rank:x"]
    {
        let mut console = TriedConsole::with(&[]);
        let (text, code) = console.line(line);
        assert_eq!((text.as_str(), code), ("", 2), "{line}");
        assert_eq!(labels(&serde_json::from_str(&console.line("ls mesh --json").0).unwrap()), ["mesh"]);
    }
    // A command after one that has failed runs all the same; the first failure counts.
    let (text, code) = console.line("nothing; why mesh solve; ls --bad");
    assert_eq!((text.as_str(), code), ("solve  blocked  poisson has failed\n", 2));
    for end in ["exit", "quit", "ls mesh; exit; ls"] {
        assert!(!console.console.run_line(end, &mut console.context), "{end}");
    }
    assert_eq!(console.kept.text().lines().count(), 2);
}

#[test]
fn the_word_last_stands_for_the_nodes_of_the_command_before() {
    let mut console = TriedConsole::with(&["--json"]);
    let mut nodes = |line: &str| {
        let json: Json = serde_json::from_str(&console.shows(line)).unwrap();
        json.as_array()
            .unwrap()
            .iter()
            .map(|node| node["label"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes("ls last").len(), 12);
    assert_eq!(nodes("ls done"), nodes("ls last"));
    assert_eq!(nodes("ls mesh poisson"), ["mesh", "poisson"]);
    assert_eq!(nodes("why last"), ["poisson"]);
    assert_eq!(nodes("details last"), ["poisson"]);
}

#[test]
fn options_of_the_console_hold_for_its_commands_and_those_of_a_command_for_it_alone() {
    let mut console = TriedConsole::with(&["-n", "-vv"]);
    assert!(console.shows("ls mesh --json").starts_with('['));
    assert!(console.shows("ls mesh").starts_with("STATE"));
    assert!(console.context.options.dry_run && console.context.options.verbose == 2);
    let mut console = TriedConsole::with(&["--json"]);
    assert!(console.shows("ls mesh").starts_with('['));
}

#[test]
fn help_lists_commands_and_words() {
    let mut console = TriedConsole::with(&[]);
    let help = console.shows("help");
    for word in ["ls ", "stats ", "details ", "why ", "help ", "exit ", "not A", "rank:N"] {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {word}"))), "{word}: {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    for line in ["help details", "details --help", "details -h"] {
        let help = console.shows(line);
        assert!(help.contains("Usage: details [OPTIONS] <SELECTION>...\n"), "{line}: {help}");
        assert!(!help.contains("<PLAN>") && help.contains("--max-lines"), "{line}: {help}");
    }
    assert_eq!(TriedConsole::with(&[]).line("help nothing").1, 2);
}

#[test]
fn a_console_without_its_plan_is_an_error() {
    let parsed = CommandLine::try_parse_from(["dijitso", "console", "nowhere.toml", "-c", "ls"]).unwrap();
    let mut context = CommandContext::new(parsed.options);
    assert!(parsed.command.run(&mut context).unwrap_err().message().contains("nowhere.toml"));
    let run = |commands: &str| {
        let line = ["dijitso", "console", "sample.toml", "-c", commands];
        let parsed = CommandLine::try_parse_from(line).unwrap();
        let mut context = CommandContext::new(parsed.options);
        (context.out, _) = Out::kept(false, false, false);
        parsed.command.run(&mut context).unwrap()
    };
    assert_eq!(run("ls failed; exit; nothing"), Status::Done);
    assert_eq!(run("nothing; ls failed"), Status::Ended(2));
}
