//! What a disk hit asks of the system, counted by strace. The reason for each call is in `docs/disk-hit.md`.
//!
//! A test of this file runs itself again under strace, between two calls that no program makes by accident.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dijitso::inputs::MEMO_TTL;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Origin, Request, Session, Source};
use dijitso::params::Params;
use dijitso::params::resolved::Resolved;

/// Where the cache is; set in a program that is being watched.
const CACHE: &str = "DIJITSO_TEST_WATCHED_CACHE";

/// What a first disk hit of a process takes at most beside those calls whose number depends on the machine:
/// see [`varies`]; parameters, compiler, checks, the digest, counting, and nine of the dynamic loader.
const FIRST: usize = 40;

/// The same for every further one: nothing of the way to the cache and of the host is asked again.
const FURTHER: usize = 20;

/// For a look at the compiler, if the last one is a second ago.
const COMPILER: usize = 6;

const HEADERS: usize = 10;

fn code(name: &str, dir: &Path) -> String {
    let include = |at| format!("#include \"{}/h{at}.h\"\n", dir.display());
    let includes: String =
        if name == "with_headers" { (0..HEADERS).map(include).collect() } else { String::new() };
    format!("{includes}int value(void) {{ return 42; }}\n")
}

fn params(cache: &Path) -> Resolved {
    let mut params = Params::new().unwrap();
    params.set("cache.cache_dir", cache.to_str().unwrap()).unwrap();
    params.set("build.language", "c").unwrap();
    params.resolve().unwrap()
}

fn jit(session: &Session, name: &str, params: &Resolved) -> Origin {
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(code(name, params.cache.cache_dir.parent().unwrap()).into_bytes());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let request = Request { name, params };
    session.jit(Ok(request), &mut callbacks).unwrap().origin()
}

/// Shows up in what strace writes.
fn mark(text: &str) {
    assert!(!Path::new(&format!("/no-such-place/{text}")).exists());
}

/// Says that a second has passed, which is seldom.
const SLOW: &str = "slow";

const NAMES: [&str; 3] = ["first", "further", "with_headers"];

/// Not a test of its own: what the test below watches.
#[test]
fn watched() {
    let Some(cache) = std::env::var_os(CACHE) else { return };
    mark(NAMES[0]);
    let (session, params) = (Session::default(), params(Path::new(&cache)));
    let begin = Instant::now();
    for name in NAMES {
        mark(name);
        assert_eq!(jit(&session, name, &params), Origin::Disk, "{name}");
    }
    mark("end");
    if begin.elapsed() >= MEMO_TTL {
        mark(SLOW);
    }
}

/// Whether the number of such calls says nothing of what we do: memory and locks of the test's own threads, failed
/// looks for a compiler along `PATH`, directories on the way to a cache that may lie anywhere.
fn varies(line: &str, cache: &Path) -> bool {
    let call = line.split('(').next().unwrap_or_default();
    let memory = ["brk", "madvise", "munmap", "futex", "sched_yield", "rt_sigprocmask", "getrandom", "fcntl"];
    let above = cache.ancestors().skip(1).any(|dir| line.contains(&format!("\"{}\",", dir.display())));
    let anonymous = call == "mmap" && line.contains("MAP_ANONYMOUS");
    memory.contains(&call)
        || above
        || anonymous
        || line.contains("/cc\", AT_STATX_SYNC_AS_STAT, STATX_ALL, 0x")
}

#[test]
fn a_disk_hit_takes_no_more_system_calls_than_the_book_says() {
    if Command::new("strace").arg("-V").output().is_err() {
        tell_skipped();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let (cache, trace) = (dir.join("cache"), dir.join("trace"));
    for at in 0..HEADERS {
        std::fs::write(dir.join(format!("h{at}.h")), format!("enum {{ h{at} }};\n")).unwrap();
    }
    for name in NAMES {
        assert_eq!(jit(&Session::default(), name, &params(&cache)), Origin::Built);
        // The first use of an entry is noted.
        assert_eq!(jit(&Session::default(), name, &params(&cache)), Origin::Disk);
    }
    let watched = Command::new("strace")
        .args(["-f", "-qq", "-s", "200", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "watched", "--test-threads", "1"])
        .env(CACHE, &cache)
        .env("HOME", &dir)
        .output()
        .unwrap();
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stdout));
    let trace = std::fs::read_to_string(&trace).unwrap();
    let begin = trace.lines().find(|line| line.contains("/no-such-place/first"));
    // Lines begin with the number of the thread; those of the test's other threads do not count.
    let Some(thread) = begin.and_then(|line| line.split_whitespace().next()) else {
        tell_skipped();
        return;
    };
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut part = "";
    for line in trace.lines().filter_map(|line| line.strip_prefix(thread)).map(str::trim_start) {
        if let Some((_, rest)) = line.split_once("/no-such-place/") {
            part = rest.split('"').next().unwrap_or_default();
        } else if !varies(line, &cache) {
            parts.entry(part).or_default().push(line);
        }
    }
    let further = FURTHER + if trace.contains(&format!("/no-such-place/{SLOW}\"")) { COMPILER } else { 0 };
    let calls = |name: &str| parts.get(name).cloned().unwrap_or_default();
    let shown = |name: &str| calls(name).join("\n");
    assert!(calls("first").len() <= FIRST, "{}:\n{}", calls("first").len(), shown("first"));
    assert!(calls("further").len() <= further, "{}:\n{}", calls("further").len(), shown("further"));
    let headers = calls("with_headers").len();
    assert!(headers <= further + HEADERS, "one for each header: {headers}:\n{}", shown("with_headers"));
    for name in NAMES {
        assert!(!shown(name).contains("getdents"), "a directory was listed:\n{}", shown(name));
        assert!(!shown(name).contains("exec"), "a program was run:\n{}", shown(name));
    }
}

/// There is no strace, or it is not allowed to watch.
fn tell_skipped() {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: strace is not there, or must not watch");
}
