//! Signals to a make: the first lets what runs finish, the second ends it, and neither fails a node.

use rustix::process::Signal;

use super::bench::{Run, ended, ended_by, has_all, signal, wait_until};
use super::{Bench, task};

/// Starts a make of two commands at once, and sends it signals while they run. The commands wait for the file
/// `notes.go`.
fn interrupted(signals: &[Signal], arguments: &[&str]) -> (Bench, Run) {
    let wait = "while [ ! -e \"$NOTES.go\" ]; do sleep 0.02; done";
    let plan = [task("a", &[], wait), task("b", &[], wait), task("c", &["a"], ""), task("d", &["b"], "")];
    let bench = Bench::new(&plan.concat());
    let child = bench.start(arguments);
    bench.await_notes(2);
    for (at, number) in signals.iter().enumerate() {
        signal(child.id(), *number);
        if at == 0 && signals.len() == 1 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            std::fs::write(bench.at("notes.go"), "").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let run = match signals {
        [_, second] => ended_by(child, *second),
        _ => ended(child),
    };
    (bench, run)
}

#[test]
fn the_first_signal_lets_what_runs_finish() {
    for number in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (bench, run) = interrupted(&[number], &["-j2"]);
        assert_eq!(run.code, Some(1), "{number:?}: {}", run.err);
        let parts = ["stopping: what runs is finished", "2 built, 0 found, 2 still to be made"];
        assert!(has_all(&run.err, &parts) && !run.err.contains("failed"), "{}", run.err);
        assert_eq!(bench.notes().len(), 2);
        assert_eq!(bench.states().into_values().collect::<Vec<_>>(), ["done", "done", "ready", "ready"]);
        bench.assert_no_leases();
        assert_eq!(bench.makes(&[]), ["c", "d"]);
    }
}

#[test]
fn the_second_signal_ends_what_runs_and_nothing_has_failed() {
    for second in [Signal::INT, Signal::TERM] {
        let (bench, run) = interrupted(&[Signal::INT, second], &["-j2"]);
        assert_eq!(run.code, Some(1), "{}", run.err);
        let parts = ["ending what runs", "0 built, 0 found, 4 still to be made"];
        assert!(has_all(&run.err, &parts) && !run.err.contains("failed"), "{}", run.err);
        bench.await_quiet();
        bench.assert_no_leases();
        let states = bench.states().into_values().collect::<Vec<_>>();
        assert_eq!(states, ["interrupted", "interrupted", "todo", "todo"]);
        std::fs::write(bench.at("notes.go"), "").unwrap();
        assert_eq!(bench.makes(&[]), ["a", "b", "c", "d"]);
    }
}

#[test]
fn the_children_of_commands_are_ended_too() {
    let plan = task("a", &[], "sleep 300 & sh -c 'sleep 300; :' & wait");
    let bench = Bench::new(&plan);
    let child = bench.start(&[]);
    wait_until("the children", || bench.processes().len() >= 5);
    assert_eq!(ended_by(child, Signal::INT).code, Some(1));
    bench.await_quiet();
    // The same if it is killed itself.
    let mut child = bench.start(&[]);
    wait_until("the children", || bench.processes().len() >= 5);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.await_quiet();
}

/// A command that waits for a slot of the host has not begun.
#[test]
fn what_waits_for_a_slot_is_not_started_after_a_signal() {
    let wait = "while [ ! -e \"$NOTES.go\" ]; do sleep 0.02; done";
    let mut plan = "[params]\nbuild.max_compilers = 1\nbuild.lease_timeout = 60\n".to_owned();
    (0..4).for_each(|number| plan.push_str(&task(&format!("t{number}"), &[], wait)));
    plan.push_str("[[module]]\nlabel = \"m\"\nname = \"m\"\nlanguage = \"c\"\ntext = \"int m;\"\n");
    let bench = Bench::new(&plan);
    let child = bench.start(&["-j8"]);
    bench.await_notes(1);
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal(child.id(), Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(200));
    std::fs::write(bench.at("notes.go"), "").unwrap();
    let run = ended(child);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!((bench.notes().len(), bench.published()), (1, 1), "{}", run.err);
    assert!(run.err.contains("1 built, 0 found, 4 still to be made"), "{}", run.err);
    assert_eq!(bench.makes(&[]).len(), 3);
}

#[test]
fn a_compiler_is_ended_by_the_second_signal_and_its_library_is_to_do() {
    let bench = Bench::new("");
    let compiler = bench.script(
        "compiler",
        "#!/bin/sh\nfor word; do case $word in *.c) echo compile >> \"$NOTES\"; \
         test -e \"$NOTES.go\" || sleep 300;; esac; done\nexec cc \"$@\"\n",
    );
    bench.write_plan(&format!(
        "[params]\nbuild.cc = '{}'\n[[module]]\nlabel = \"m\"\nname = \"m\"\nlanguage = \"c\"\ntext = \"int m;\"\n",
        compiler.display()
    ));
    let child = bench.start(&[]);
    bench.await_notes(1);
    let run = ended_by(child, Signal::INT);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("1 still to be made") && !run.err.contains("failed"), "{}", run.err);
    bench.await_quiet();
    bench.assert_no_leases();
    std::fs::write(bench.at("notes.go"), "").unwrap();
    assert_eq!(bench.makes(&[]), ["compile"]);
}

/// A signal that was ignored when the command began stays so, as with nohup.
#[test]
fn an_ignored_signal_stays_ignored() {
    let bench = Bench::new(&task("a", &[], "while [ ! -e \"$NOTES.go\" ]; do sleep 0.02; done"));
    let mut shell = std::process::Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" make plan.toml";
    bench.prepare(shell.args(["-c", script, env!("CARGO_BIN_EXE_dijitso")]));
    let child = shell.spawn().unwrap();
    bench.await_notes(1);
    signal(child.id(), Signal::HUP);
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::write(bench.at("notes.go"), "").unwrap();
    assert_eq!(ended(child).code, Some(0));
}
