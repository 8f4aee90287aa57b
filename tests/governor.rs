//! Programs that know nothing of each other, on one host: compilers at once, and what is left of a program that dies.
//!
//! The programs are this test program itself, started again for one of the parts below.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../src/elf/sample.rs"]
mod sample;

use sample::sample;

use dijitso::jit::callbacks::Asked;
use dijitso::jit::{Callbacks, Request, Session, Source};
use dijitso::params::Params;
use dijitso::process::slots::{Wanted, take};

const PART: &str = "DIJITSO_TEST_GOVERNOR_PART";

/// Starts this program again for a part, in a directory.
fn start(part: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_that_another_test_starts", "--nocapture"])
        .env(PART, part)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_program_that_another_test_starts() {
    let Ok(part) = std::env::var(PART) else { return };
    match part.split_once(' ') {
        Some(("build", id)) => build_three(id),
        Some(("hold", file)) => {
            let slot = take(&wanted(&std::env::current_dir().unwrap().join("slots"), 60)).unwrap();
            std::fs::write(file, "").unwrap();
            std::thread::sleep(Duration::from_secs(60));
            drop(slot);
        }
        _ => panic!("no such part: {part}"),
    }
}

fn wanted(dir: &Path, seconds: u64) -> Wanted<'_> {
    Wanted { dir, choices: &[0], patience: Duration::from_secs(seconds) }
}

/// A shell command that writes what passes for a library.
fn writes_library() -> String {
    let text: String = sample(b"").iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("for last; do :; done; printf '{text}' > \"$last\"")
}

/// A compiler that writes down how many of its kind run, itself included.
const COUNTING: &str = "touch running/$$; ls running | wc -l >> counts; sleep 0.02; \
                        LIBRARY; ls running | wc -l >> counts; rm running/$$";

fn build_three(id: &str) {
    let here = std::env::current_dir().unwrap();
    let mut params = Params::new().unwrap();
    let script = format!("cd_back=$PWD; cd '{}' && set -- \"$@\"; {COUNTING}", here.display())
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
        let generate = |_: Asked<'_>, source: &mut Source| {
            source.code = Some(b"code".to_vec());
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        let name = format!("form-{id}-{number}");
        Session::of_process().jit(Ok(Request { name: &name, params: &params }), &mut callbacks).unwrap();
    }
}

#[test]
fn eight_programs_run_two_compilers_at_once() {
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
