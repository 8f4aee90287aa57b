//! Weaknesses of compmake 3.6.7, each as what happens here instead.

use std::fs;

use rustix::process::Signal;

use super::bench::{ended, ended_by};
use super::{Bench, task};

/// There, Ctrl-C marked the job that ran as failed.
#[test]
fn weakness_a_what_is_interrupted_is_to_do_and_not_failed() {
    let bench = Bench::new(&task("a", &[], "test -e \"$NOTES.go\" || sleep 300"));
    let child = bench.start(&[]);
    bench.await_notes(1);
    assert_eq!(ended_by(child, Signal::INT).code, Some(1));
    assert_eq!(bench.states()["a"], "interrupted");
    // It is not among what has failed, either.
    fs::write(bench.at("notes.go"), "").unwrap();
    assert!(bench.makes(&["failed"]).is_empty());
    assert_eq!(bench.makes(&[]), ["a"]);
}

/// There, a worker that a signal had killed was not noticed, and all waited for ever.
#[test]
fn weakness_b_a_worker_that_a_signal_kills_is_noticed() {
    for name in ["KILL", "SEGV", "TERM"] {
        let bench = Bench::new(&(task("a", &[], &format!("kill -{name} $$")) + &task("b", &[], "")));
        let run = bench.make(&["--retries", "0"]);
        assert_eq!(run.code, Some(113), "{}", run.err);
        assert!(run.err.contains("failed a: sh was killed by signal"), "{}", run.err);
        assert_eq!(bench.published(), 1);
    }
}

/// There, an interrupt within a worker came back as a bug of compmake.
#[test]
fn weakness_c_an_interrupt_of_a_command_is_a_failure_of_that_command() {
    let bench = Bench::new(&(task("a", &[], "kill -INT $$") + &task("b", &[], "")));
    let run = bench.make(&["--retries", "0"]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert!(
        run.err.contains("failed a: sh was killed by signal 2") && !run.err.contains("bug"),
        "{}",
        run.err
    );
}

/// There, two programs on one database raced.
#[test]
fn weakness_d_two_makes_of_one_plan_share_the_work() {
    let plan: String = (0..12).map(|number| task(&format!("t{number}"), &[], "sleep 0.05")).collect();
    let bench = Bench::new(&plan);
    let children = [bench.start(&["-j3"]), bench.start(&["-j3"])];
    children.into_iter().for_each(|child| assert_eq!(ended(child).code, Some(0)));
    assert!(bench.counts().values().all(|count| *count == 1), "{:?}", bench.counts());
    assert_eq!(bench.counts().len(), 12);
}

/// There, an error while a result was written removed the good one that was there.
#[test]
fn weakness_e_a_result_that_cannot_be_written_leaves_the_old_one() {
    let plan = "[[task]]\nlabel = \"a\"\noutputs = [\"x\", \"y\"]\n\
                command = [\"sh\", \"-c\", 'echo a >> \"$NOTES\"; head -c 40000 /dev/zero > x; cp x y']\n";
    let bench = Bench::new(plan);
    bench.makes(&[]);
    let [path] = &bench.files("result", "")[..] else { panic!("one result") };
    let before = fs::read(path).unwrap();
    let mut shell = std::process::Command::new("sh");
    let script = "ulimit -f 128; exec \"$0\" make plan.toml --force --retries 0";
    bench.prepare(shell.args(["-c", script, env!("CARGO_BIN_EXE_dijitso")]));
    let run = ended(shell.spawn().unwrap());
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert_eq!(fs::read(path).unwrap(), before);
    assert!(bench.makes(&[]).is_empty());
}

/// There, the scheduler looked for work ten times a second. Nothing waits for a clock here: a chain of 100 commands
/// wakes no one else.
#[test]
fn weakness_f_the_end_of_a_node_begins_the_next_without_a_poll() {
    let mut plan = task("t0", &[], "");
    for number in 1..100 {
        plan.push_str(&task(&format!("t{number}"), &[&format!("t{}", number - 1)], ""));
    }
    let bench = Bench::new(&plan);
    let run = bench.make(&["--events", "events.jsonl"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    // The medium time between an end and the next begin is far below a tenth of a second.
    let lines = super::bench::json_lines(&bench.at("events.jsonl"));
    assert_eq!(lines.iter().filter(|line| line["event"] == "done").count(), 100);
    assert_eq!(bench.notes(), (0..100).map(|number| format!("t{number}")).collect::<Vec<_>>());
}

/// There, pictures of the graph needed a module that did not come with it.
#[test]
fn weakness_g_a_graph_needs_no_other_program() {
    let bench = Bench::new(&(task("a", &[], "") + &task("b", &["a"], "")));
    if !ended(bench.dijitso(&["plan", "--help"]).spawn().unwrap()).out.contains("graph") {
        return;
    }
    let mut command = bench.dijitso(&["plan", "graph", "plan.toml"]);
    let run = ended(command.env("PATH", "/nonexistent").spawn().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.out.contains("->"), "{}", run.out);
}

/// There, the parts for several hosts were commented out. The ranks of MPI are tested in `ranks`; here a launcher that
/// knows nothing of MPI starts two workers.
#[test]
fn weakness_h_a_launcher_starts_workers() {
    let plan: String = (0..8).map(|number| task(&format!("t{number}"), &[], "sleep 0.05")).collect();
    let bench = Bench::new(&plan);
    let launcher =
        bench.script("launch", "#!/bin/sh\n\"$@\" & first=$!\n\"$@\"; code=$?\nwait $first && exit $code\n");
    let run = bench.make(&["--launcher", launcher.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(
        bench.counts().len() == 8 && bench.counts().values().all(|count| *count == 1),
        "{:?}",
        bench.counts()
    );
}

/// There, a comma was missing, and two of the configuration files were never read.
#[test]
fn weakness_i_every_documented_configuration_file_is_read() {
    for (path, conf) in
        [(".dijitso.conf", ""), ("elsewhere/.dijitso.conf", "elsewhere"), ("home/.dijitso.conf", "")]
    {
        let bench = Bench::new(&task("a", &[], ""));
        let file = bench.at(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let cache = bench.at("from-file");
        fs::write(&file, format!("[cache]\ncache_dir = {}\n", cache.display())).unwrap();
        let mut command = bench.dijitso(&["make", "plan.toml"]);
        command.env_remove("DIJITSO_CACHE_DIR").env("HOME", bench.at("home")).env("DIJITSO_CONF", conf);
        let run = ended(command.spawn().unwrap());
        assert_eq!(run.code, Some(0), "{path}: {}", run.err);
        assert!(cache.join("result").exists(), "{path}: {}", run.err);
    }
}
