//! `dijitso make` among the jobs of GNU make.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::bench::{Run, ended, ended_by, has_all};
use super::{Bench, task};
use crate::absent::has_program;

/// Returns `count` tasks that note their begin and end.
fn tasks(count: usize) -> String {
    (0..count).map(|number| task(&format!("t{number}"), &[], "sleep 0.2; echo - >> \"$NOTES\"")).collect()
}

/// Returns the most commands that ran at once.
fn most(bench: &Bench) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for note in bench.notes() {
        if note == "-" {
            running -= 1
        } else {
            running += 1
        }
        most = most.max(running);
    }
    most
}

/// Runs GNU make on a makefile in which `$(DIJITSO)` is the command.
fn gnu_make(bench: &Bench, arguments: &[&str], makefile: &str) -> Run {
    fs::write(bench.at("makefile"), makefile).unwrap();
    let mut make = Command::new("make");
    bench.prepare(make.args(arguments)).env("DIJITSO", env!("CARGO_BIN_EXE_dijitso"));
    ended(make.spawn().unwrap())
}

/// Makes the FIFO of a jobserver with some tokens, as GNU make 4.4 does.
fn fifo(bench: &Bench, tokens: usize) -> (PathBuf, File) {
    let path = bench.at("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = File::options().read(true).write(true).custom_flags(flags).open(&path).unwrap();
    file.write_all(&vec![b'+'; tokens]).unwrap();
    (path, file)
}

/// Returns the number of tokens that are in a FIFO, and takes them.
fn tokens_in(mut file: &File) -> usize {
    let mut buffer = [0; 64];
    file.read(&mut buffer).unwrap_or_default()
}

#[test]
fn no_more_nodes_run_than_make_has_jobs() {
    if !has_program("make") {
        return;
    }
    let bench = Bench::new(&tasks(8));
    let run = gnu_make(&bench, &["-j3"], "all:\n\t+$(DIJITSO) make plan.toml -j8\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!((2..=3).contains(&most(&bench)), "{:?}", bench.notes());
    assert_eq!(bench.published(), 8);
}

#[test]
fn several_makes_and_other_jobs_share_the_tokens() {
    if !has_program("make") {
        return;
    }
    let bench = Bench::new(&tasks(6));
    let makefile = "all: one two other\n\
                    one two:\n\t+$(DIJITSO) make plan.toml -j8 -r $@.cache\n\
                    other:\n\techo other >> \"$$NOTES\"; sleep 0.5; echo - >> \"$$NOTES\"\n";
    let run = gnu_make(&bench, &["-j4"], makefile);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!((2..=4).contains(&most(&bench)), "{:?}", bench.notes());
    assert_eq!(bench.notes().len(), 26);
}

#[test]
fn a_jobserver_that_is_out_of_reach_is_named_and_not_used() {
    if !has_program("make") {
        return;
    }
    let bench = Bench::new(&tasks(2));
    let run = gnu_make(&bench, &["-j3"], "all:\n\t$(DIJITSO) make plan.toml\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("begin the line of the makefile with +"), "{}", run.err);
    // Without make, and without its jobs, nobody says anything.
    for arguments in [&["-j1"][..], &[]] {
        let bench = Bench::new(&tasks(1));
        let run = gnu_make(&bench, arguments, "all:\n\t$(DIJITSO) make plan.toml\n");
        assert!(run.code == Some(0) && !run.err.contains("jobserver"), "{}", run.err);
    }
}

#[test]
fn tokens_of_a_fifo_are_taken_and_given_back() {
    for (tokens, expected) in [(0, 1..=1), (2, 2..=3)] {
        let bench = Bench::new(&tasks(6));
        let (path, file) = fifo(&bench, tokens);
        let mut command = bench.dijitso(&["make", "plan.toml", "-j8"]);
        command.env("MAKEFLAGS", format!(" -j --jobserver-auth=fifo:{}", path.display()));
        let run = ended(command.spawn().unwrap());
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(expected.contains(&most(&bench)), "{tokens}: {:?}", bench.notes());
        assert_eq!(tokens_in(&file), tokens);
    }
}

/// A make that is stopped gives its tokens back, and a failing one, too.
#[test]
fn tokens_come_back_after_failures_and_signals() {
    let bench = Bench::new(&(task("bad", &[], "exit 1") + &task("killed", &[], "kill -9 $$") + &tasks(4)));
    let (path, file) = fifo(&bench, 3);
    let mut command = bench.dijitso(&["make", "plan.toml", "-j8"]);
    command.env("MAKEFLAGS", format!(" -j --jobserver-auth=fifo:{}", path.display()));
    let run = ended(command.spawn().unwrap());
    assert_eq!((run.code, tokens_in(&file)), (Some(113), 3), "{}", run.err);
    let bench = Bench::new(&(0..4).map(|at| task(&format!("t{at}"), &[], "sleep 60")).collect::<String>());
    let (path, file) = fifo(&bench, 3);
    let mut command = bench.dijitso(&["make", "plan.toml", "-j8"]);
    command.env("MAKEFLAGS", format!(" -j --jobserver-auth=fifo:{}", path.display()));
    let child = command.spawn().unwrap();
    bench.await_notes(4);
    let run = ended_by(child, rustix::process::Signal::INT);
    assert_eq!((run.code, tokens_in(&file)), (Some(1), 3), "{}", run.err);
}

#[test]
fn a_make_that_gets_no_token_says_so_on_a_terminal() {
    if !has_program("script") {
        return;
    }
    let bench = Bench::new(&tasks(5));
    let (path, _file) = fifo(&bench, 0);
    let mut script = Command::new("script");
    let line = format!("{} make plan.toml -j4", env!("CARGO_BIN_EXE_dijitso"));
    bench.prepare(script.args(["-qec", &line, "/dev/null"]));
    script.env("MAKEFLAGS", format!("--jobserver-auth=fifo:{}", path.display())).env("TERM", "xterm");
    let run = ended(script.spawn().unwrap());
    assert!(run.code == Some(0) && run.out.contains("make has no token to give"), "{:?}", run.out);
}

/// A make within a command of a task is one of the jobs, too.
#[test]
fn commands_of_tasks_inherit_the_jobserver() {
    if !has_program("make") {
        return;
    }
    let jobs = "a b c d e f:\n\techo x >> \"$$NOTES\"; sleep 0.2; echo - >> \"$$NOTES\"\n";
    let inner = format!("all: a b c d e f\n{jobs}");
    let plan = "[[task]]\nlabel = \"inner\"\noutputs = [\"said\"]\ninputs = [\"inner.mk\"]\n\
                command = [\"sh\", \"-c\", 'make -f inner.mk > said 2>&1']\ncopy_to = \"made\"\n";
    let bench = Bench::new("");
    fs::write(bench.at("inner.mk"), inner).unwrap();
    bench.write_plan(plan);
    let run = gnu_make(&bench, &["-j3"], "all:\n\t+$(DIJITSO) make plan.toml -j8\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!((2..=3).contains(&most(&bench)), "{:?}", bench.notes());
    let said = fs::read_to_string(bench.at("made/said")).unwrap();
    assert!(!said.contains("jobserver unavailable") && has_all(&said, &["sleep 0.2"]), "{said}");
}
