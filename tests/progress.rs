//! Progress of builds that take long: a line on a terminal that is updated in place, plain lines elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/absent.rs"]
mod absent;
#[path = "common/child.rs"]
mod child;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use absent::{has_program, skip};
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Batch, Callbacks, Session, Source};
use dijitso::logging::{self, LogRecord};
use dijitso::params::Params;

/// Seconds that the compiler of these tests takes longer.
const SLOW: &str = "3.6";

/// The host program: builds the libraries of NAMES, with a compiler that takes SECONDS longer.
#[test]
#[ignore = "runs in a child process of the other tests"]
fn host() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let dir = tempfile::tempdir().unwrap();
    let compiler = dir.path().join("slow-c++");
    let script = format!(
        "#!/bin/sh\nfor argument; do [ \"$argument\" = -o ] && sleep {}; done\nexec c++ \"$@\"\n",
        variable("SECONDS")
    );
    std::fs::write(&compiler, script).unwrap();
    std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o700)).unwrap();
    logging::install();
    let records = Arc::new(Mutex::new(Vec::new()));
    if !variable("HANDLER").is_empty() {
        let kept = Arc::clone(&records);
        let handler = move |record: &LogRecord<'_>| kept.lock().unwrap().push(record.message.to_owned());
        logging::set_handler(Some(Arc::new(handler))).unwrap();
    }
    let mut params = Params::new().unwrap();
    for (key, value) in [
        ("cache.cache_dir", dir.path().join("cache").to_str().unwrap()),
        ("build.cxx", compiler.to_str().unwrap()),
        ("build.precompile", "never"),
        ("build.slots_dir", ""),
    ] {
        params.set(key, value).unwrap();
    }
    let params = params.resolve().unwrap();
    let generate = |request: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(format!("extern \"C\" int {}() {{ return 1; }}\n", request.name).into_bytes());
        Ok(())
    };
    let names = variable("NAMES");
    let names: Vec<&str> = names.split(' ').collect();
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let batch = Batch { names: &names, params: &params };
    let done = Session::of_process().jit_many(Ok(batch), &mut callbacks).unwrap();
    assert!(done.iter().all(Result::is_ok));
    logging::set_handler(None).unwrap();
    // Nothing of it is left: a thread would be.
    let begin = Instant::now();
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect::<Vec<_>>()
    };
    while threads().iter().any(|name| name.starts_with("dijitso")) {
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", threads());
        std::thread::sleep(Duration::from_millis(10));
    }
    for record in records.lock().unwrap().iter() {
        logging::terminal::say(&format!("handler: {record}"));
    }
}

/// Runs the host, and returns what it writes to standard error.
fn plain(names: &str, seconds: &str, variables: &[(&str, &str)]) -> String {
    let mut command = child::command("host");
    command.env_remove("DIJITSO_LOG").env("NAMES", names).env("SECONDS", seconds);
    let output = command.envs(variables.iter().copied()).stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Runs the host on a terminal with these columns, and returns what it shows.
fn on_terminal(names: &str, columns: usize, variables: &[(&str, &str)]) -> String {
    let program = std::env::current_exe().unwrap();
    let arguments = child::arguments("host").join(" ");
    let line = format!("stty cols {columns}; exec {} {arguments}", program.display());
    let output = Command::new("timeout")
        .args(["60", "script", "-qec", &line, "/dev/null"])
        .env_remove("DIJITSO_LOG")
        .envs([("TERM", "xterm"), ("NAMES", names), ("SECONDS", SLOW)])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines that a terminal has shown one after the other in one place.
fn frames(shown: &str) -> Vec<&str> {
    shown.split("\r\x1b[K").filter(|frame| frame.starts_with("dijitso: ")).collect()
}

#[test]
fn a_slow_build_says_so_and_a_quick_one_nothing() {
    assert_eq!(plain("quick", "0", &[]), "");
    let shown = plain("poisson", SLOW, &[]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].starts_with("dijitso [") && lines[0].ends_with("]: compiling poisson, 2 s"), "{shown}");
    assert!(lines[1].contains("]: compiled poisson in ") && lines[1].ends_with(" s"), "{shown}");
}

#[test]
fn people_and_programs_choose() {
    assert_eq!(plain("poisson", SLOW, &[("DIJITSO_PROGRESS", "0")]), "");
    assert_eq!(plain("poisson", SLOW, &[("DIJITSO_LOG", "error")]), "");
}

#[test]
fn a_handler_gets_records_and_tools_get_events() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    let log = format!("json={}", events.display());
    let shown = plain("poisson", SLOW, &[("HANDLER", "1"), ("DIJITSO_LOG", &log)]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert_eq!(lines[0], "handler: compiling poisson, 2 s");
    assert!(lines[1].starts_with("handler: compiled poisson in "), "{shown}");
    assert_eq!(count(&events, "dijitso::progress"), 2);
}

fn count(path: &Path, word: &str) -> usize {
    std::fs::read_to_string(path).unwrap().lines().filter(|line| line.contains(word)).count()
}

#[test]
fn a_terminal_has_one_line_that_is_updated_in_place() {
    if !has_program("script") {
        return skip("script is not installed");
    }
    let shown = on_terminal("poisson mass", 80, &[]);
    let frames = frames(&shown);
    assert!(frames.len() >= 3, "{shown:?}");
    assert!(frames[0].starts_with("dijitso: compiling poisson"), "{shown:?}");
    assert!(frames.iter().any(|frame| frame.contains(", 3 s")), "{shown:?}");
    assert!(frames.last().unwrap().starts_with("dijitso: compiled 2 libraries in "), "{shown:?}");
    // Each is removed before the next: between them there is no other line.
    let updates = &frames[..frames.len() - 1];
    assert!(updates.iter().all(|frame| !frame.contains('\n') && frame.len() < 80), "{shown:?}");
    let plain = on_terminal("poisson", 80, &[("DIJITSO_PROGRESS", "plain")]);
    assert!(plain.contains("]: compiling poisson, 2 s\r\n") && !plain.contains("\x1b[K"), "{plain:?}");
}

#[test]
fn a_line_fits_into_a_narrow_terminal() {
    if !has_program("script") {
        return skip("script is not installed");
    }
    let shown = on_terminal("hyperelasticity_of_a_long_name another_name_that_is_long", 40, &[]);
    let frames = frames(&shown);
    assert!(frames.iter().filter(|frame| !frame.contains('\n')).all(|frame| frame.len() < 40), "{shown:?}");
    assert!(frames[0].contains(", 2 s"), "{shown:?}");
}
