//! Options of `dijitso make`, its exit codes and what it writes.

use super::bench::json_lines;
use super::{Bench, task};

#[test]
fn the_first_failure_stops_the_make_if_asked() {
    let plan: String = (0..9).map(|number| task(&format!("t{number}"), &[], "")).collect();
    let bench = Bench::new(&(task("bad", &[], "exit 1") + &plan));
    let run = bench.make(&["--fail-fast", "-j1"]);
    assert_eq!((run.code, bench.notes()), (Some(113), vec!["bad".to_owned()]), "{}", run.err);
    assert!(run.err.contains("1 failed, 9 still to be made"), "{}", run.err);
    // Failed nodes come last the next time, so the others are made.
    let run = bench.make(&["--fail-fast", "-j1"]);
    assert_eq!((run.code, bench.notes().len()), (Some(113), 11), "{}", run.err);
}

#[test]
fn failures_that_pass_are_tried_as_often_as_asked_and_others_once() {
    let bench = Bench::new(&(task("killed", &[], "kill -TERM $$") + &task("refused", &[], "exit 1")));
    let run = bench.make(&["--retries", "2"]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert_eq!((bench.counts()["killed"], bench.counts()["refused"]), (3, 1));
    assert_eq!(run.err.matches("trying killed again").count(), 2, "{}", run.err);
    let slow = task("slow", &[], "sleep 60").replace("needs =", "timeout = 0.2\nneeds =");
    let bench = Bench::new(&slow);
    let run = bench.make(&[]);
    assert_eq!((run.code, bench.notes().len()), (Some(113), 2), "{}", run.err);
    assert!(run.err.contains("failed slow: sh was stopped at its time limit"), "{}", run.err);
}

#[test]
fn a_dry_run_makes_nothing_and_explains() {
    let bench = Bench::new(&(task("a", &[], "") + &task("b", &["a"], "")));
    let run = bench.make(&["-n"]);
    let lines = "a  it is not in the cache\nb  \"a\", which it needs, is made before\n";
    assert_eq!((run.code, run.out.as_str()), (Some(0), lines), "{}", run.err);
    assert!(bench.notes().is_empty() && !bench.at("cache").exists());
    assert_eq!(bench.make(&["-n", "--explain"]).out, lines);
    bench.makes(&[]);
    assert_eq!(bench.make(&["-n"]).out, "");
    // A result that was removed.
    bench.files("result", "").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let run = bench.make(&["--explain"]);
    assert_eq!((run.code, bench.notes().len()), (Some(0), 4), "{}", run.err);
    assert!(run.out.contains("a  something that it depends on has changed, or its result was removed"));
}

#[test]
fn events_are_lines_of_json() {
    let plan = task("a", &[], "") + &task("b", &[], "exit 1") + &task("c", &["b"], "");
    let bench = Bench::new(&plan);
    let run = bench.make(&["--events", "events.jsonl"]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    let events: Vec<(String, String)> = json_lines(&bench.at("events.jsonl"))
        .iter()
        .map(|line| (line["node"].as_str().unwrap().to_owned(), line["event"].as_str().unwrap().to_owned()))
        .collect();
    let of = |node: &str| -> Vec<&str> {
        events.iter().filter(|(label, _)| label == node).map(|(_, event)| event.as_str()).collect()
    };
    assert_eq!((of("a"), of("b")), (vec!["started", "done"], vec!["started", "failed"]));
    assert_eq!(of("c"), ["blocked"]);
    let run = bench.make(&["--events", "no/such/folder"]);
    assert!(run.code == Some(1) && run.err.contains("cannot write no/such/folder"), "{}", run.err);
}

#[test]
fn exit_codes_say_what_has_happened() {
    let bench = Bench::new(&task("a", &[], ""));
    assert_eq!(bench.make(&[]).code, Some(0));
    assert_eq!(bench.make(&["--no-such-option"]).code, Some(2));
    assert_eq!(bench.make(&["nobody"]).code, Some(1));
    assert_eq!(bench.make(&["failed"]).code, Some(0));
    bench.write_plan("[[task]]\nlabel = 3\n");
    assert_eq!(bench.make(&[]).code, Some(1));
    std::fs::remove_file(bench.at("plan.toml")).unwrap();
    assert_eq!(bench.make(&[]).code, Some(1));
    bench.write_plan("");
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    bench.write_plan(&task("a", &[], "exit 9"));
    assert_eq!(bench.make(&[]).code, Some(113));
}

#[test]
fn the_result_as_json_is_one_document() {
    let bench = Bench::new(&(task("a", &[], "") + &task("b", &[], "exit 1")));
    let run = bench.make(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &json["done"], &json["failures"][0]["label"]), (Some(113), &1.into(), &"b".into()));
    assert_eq!(run.err, "");
}

/// A program that reads the output no more, as `head` does, stops nothing.
#[test]
fn a_reader_that_is_gone_stops_nothing() {
    let plan: String = (0..20).map(|number| task(&format!("t{number}"), &[], "")).collect();
    let bench = Bench::new(&plan);
    let mut child = bench.start(&["-j2"]);
    drop(child.stderr.take());
    assert_eq!(super::bench::ended(child).code, Some(0));
    assert_eq!(bench.published(), 20);
}
