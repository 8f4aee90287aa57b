//! Independent programs on one host: how many compilers run at once, and what a program leaves that dies.
//!
//! The programs are child processes that run the ignored test below.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/child.rs"]
mod child;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../src/elf/sample.rs"]
mod sample;

use sample::sample;

use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Request, Session, Source};
use dijitso::params::Params;
use dijitso::process::exec_context::ExecContext;
use dijitso::process::slots::{self, Slot, SlotRequest};

const PART: &str = "DIJITSO_TEST_SLOTS_PART";

/// Starts a child process that runs `part` in a directory.
fn start(part: &str, dir: &Path) -> Child {
    child::command("child_process")
        .env(PART, part)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the child process of other tests"]
fn child_process() {
    let part = std::env::var(PART).expect("another test starts this one");
    match part.split_once(' ') {
        Some(("build", id)) => build_three(id),
        Some(("hold", file)) => {
            let slot = take(&wanted(&std::env::current_dir().unwrap().join("slots"), 60)).unwrap();
            std::fs::write(file, "").unwrap();
            std::thread::sleep(Duration::from_secs(60));
            drop(slot);
        }
        _ if part == "slow" => build_one(SLOW),
        _ if part == "fast" => build_one(&format!("cd \"$there\"; {}", writes_library())),
        _ => panic!("no such part: {part}"),
    }
}

fn take(wanted: &SlotRequest<'_>) -> Option<Slot> {
    slots::take(wanted, &ExecContext::default())
}

fn wanted(dir: &Path, seconds: u64) -> SlotRequest<'_> {
    SlotRequest { dir, choices: &[0], patience: Duration::from_secs(seconds) }
}

/// A shell command that writes a minimal library.
fn writes_library() -> String {
    let text: String = sample(b"").iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("for last; do :; done; printf '{text}' > \"$last\"")
}

/// Answers a question about the compiler, which compiles nothing.
const ANSWER: &str = "case \" $* \" in *\" -o \"*) ;; *) exit 1 ;; esac; ";

/// A compiler that records how many such compilers run, itself included.
const COUNTING: &str = "touch running/$$; ls running | wc -l >> counts; sleep 0.02; \
                        LIBRARY; ls running | wc -l >> counts; rm running/$$";

fn build_three(id: &str) {
    let here = std::env::current_dir().unwrap();
    let mut params = Params::new().unwrap();
    let script = format!("{ANSWER}cd_back=$PWD; cd '{}' && set -- \"$@\"; {COUNTING}", here.display())
        .replace("LIBRARY", &writes_library());
    // The output is named relative to the folder of the build.
    let script = script.replace("> \"$last\"", "> \"$cd_back/$last\"");
    for (key, value) in [
        ("cache.cache_dir", "cache"),
        ("cache.temp_dir_root", "."),
        ("cache.lib_loader", "import"),
        ("cache.signature", "name"),
        ("build.max_compilers", "2"),
        ("build.slots_dir", "slots"),
        ("build.cxx", &shell_words::join(["sh", "-c", &script, "compiler"])),
    ] {
        params.set(key, value).unwrap();
    }
    let params = params.resolve().unwrap();
    for number in 0..3 {
        let generate = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(b"code".to_vec());
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        let name = format!("form-{id}-{number}");
        Session::of_process().jit(Ok(Request { name: &name, params: &params }), &mut callbacks).unwrap();
    }
}

#[test]
fn slots_limit_eight_programs_to_two_compilers() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("running")).unwrap();
    let programs: Vec<Child> = (0..8).map(|id| start(&format!("build {id}"), dir.path())).collect();
    for mut program in programs {
        assert!(program.wait().unwrap().success());
    }
    let counts = std::fs::read_to_string(dir.path().join("counts")).unwrap();
    let counts: Vec<usize> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 2 * 8 * 3);
    assert!(counts.iter().all(|count| (1..=2).contains(count)), "{counts:?}");
}

#[test]
fn the_slot_of_a_killed_program_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let slots = dir.path().join("slots");
    let mut holder = start("hold held", dir.path());
    let begin = Instant::now();
    while !dir.path().join("held").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(take(&wanted(&slots, 0)).is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(take(&wanted(&slots, 0)).is_some());
}

fn wait_until(what: &str, seconds: u64, mut there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(begin.elapsed() < Duration::from_secs(seconds), "{what} within {seconds} s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn the_slot_of_a_stopped_program_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let slots = dir.path().join("slots");
    let mut holder = start("hold held", dir.path());
    wait_until("a slot is held", 60, || dir.path().join("held").exists());
    assert!(take(&wanted(&slots, 2)).is_none(), "it works");
    signal(holder.id(), "STOP");
    let first = take(&wanted(&slots, 30)).unwrap();
    assert!(take(&wanted(&slots, 2)).is_none(), "one stands in, and no more");
    drop(first);
    signal(holder.id(), "CONT");
    wait_until("it counts again", 20, || take(&wanted(&slots, 0)).is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(take(&wanted(&slots, 0)).is_some());
}

/// A compiler that runs for long, and has started another process: their numbers are in files.
const SLOW: &str = "echo $$ > compiler.tmp; sleep 1000 & echo $! > child; mv compiler.tmp compiler; wait";

fn build_one(compiler: &str) {
    let mut params = Params::new().unwrap();
    let script =
        format!("{ANSWER}there=$PWD; cd '{}'; {compiler}", std::env::current_dir().unwrap().display());
    for (key, value) in [
        ("cache.cache_dir", "cache"),
        ("cache.temp_dir_root", "."),
        ("cache.lib_loader", "import"),
        ("cache.signature", "name"),
        ("build.slots_dir", "slots"),
        ("build.cxx", &shell_words::join(["sh", "-c", &script, "compiler"])),
    ] {
        params.set(key, value).unwrap();
    }
    let params = params.resolve().unwrap();
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(b"code".to_vec());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    Session::of_process().jit(Ok(Request { name: "form", params: &params }), &mut callbacks).unwrap();
}

fn is_gone(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with(['Z', 'X'])
}

/// Counts what a killed program has left: its lease and the folder in which it compiled.
fn left(dir: &Path) -> usize {
    let count = |dir: &Path, what: &str| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(what)).count()
    };
    count(&dir.join("cache/lease"), "") + count(dir, "dijitso-")
}

#[test]
fn a_killed_program_leaves_no_compiler_and_its_successor_no_slot_or_folder() {
    for name in ["INT", "TERM", "HUP", "KILL"] {
        let dir = tempfile::tempdir().unwrap();
        let mut program = start("slow", dir.path());
        wait_until("a compiler runs", 60, || dir.path().join("compiler").exists());
        // The compiler is tied to the program just after it has begun to run.
        std::thread::sleep(Duration::from_millis(500));
        let processes =
            ["compiler", "child"].map(|file| std::fs::read_to_string(dir.path().join(file)).unwrap());
        assert!(!processes.iter().any(|process| is_gone(process.trim())));
        signal(program.id(), name);
        program.wait().unwrap();
        for process in &processes {
            wait_until(&format!("no compiler is left after SIG{name}"), 2, || is_gone(process.trim()));
        }
        assert_eq!(left(dir.path()), 2, "SIG{name}");
        let begin = Instant::now();
        assert!(start("fast", dir.path()).wait().unwrap().success());
        assert!(begin.elapsed() < Duration::from_secs(20), "SIG{name}");
        assert_eq!(left(dir.path()), 0, "SIG{name}");
    }
}
