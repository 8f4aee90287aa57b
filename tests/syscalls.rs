//! Counts the system calls of a disk hit with strace. `docs/disk-hit.md` gives the reason for each call.
//!
//! A child process runs under strace. Calls that no program makes by accident mark where a disk hit begins
//! and ends.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/absent.rs"]
mod absent;
#[path = "common/child.rs"]
mod child;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dijitso::inputs::MEMO_TTL;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Origin, Request, Session, Source};
use dijitso::params::Params;
use dijitso::params::resolved::Resolved;

/// Names the cache to the child process.
const CACHE: &str = "DIJITSO_TEST_TRACED_CACHE";

/// Limits the calls of the first disk hit of a process: parameters, compiler, checks, the digest, counting,
/// and nine of the dynamic loader. Calls whose number depends on the machine do not count: see [`varies`].
const FIRST: usize = 37;

/// Limits the calls of every further disk hit: the process keeps what it knows of the host and of the cache's
/// path.
const FURTHER: usize = 20;

/// Adds the calls that inspect the compiler again, a second after the last time.
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

/// Makes a call that strace shows.
fn mark(text: &str) {
    assert!(!Path::new(&format!("/no-such-place/{text}")).exists());
}

/// Marks that a second has passed, which is rare.
const SLOW: &str = "slow";

const NAMES: [&str; 3] = ["first", "further", "with_headers"];

#[test]
#[ignore = "the child process of another test"]
fn child_process() {
    let cache = std::env::var_os(CACHE).expect("another test starts this one");
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

/// Returns whether the number of such calls depends on the machine: memory and locks of the test's own
/// threads, failed searches for a compiler along `PATH`, links to the compiler, directories above the cache.
fn varies(line: &str, cache: &Path) -> bool {
    let call = line.split('(').next().unwrap_or_default();
    let memory = ["brk", "madvise", "munmap", "futex", "sched_yield", "rt_sigprocmask", "getrandom", "fcntl"];
    let above = cache.ancestors().skip(1).any(|dir| line.contains(&format!("\"{}\",", dir.display())));
    let anonymous = call == "mmap" && line.contains("MAP_ANONYMOUS");
    memory.contains(&call)
        || call == "readlink"
        || above
        || anonymous
        || line.contains("/cc\", AT_STATX_SYNC_AS_STAT, STATX_ALL, 0x")
}

#[test]
#[ignore = "needs strace; tests/run has a step for it"]
fn a_disk_hit_takes_no_more_system_calls_than_the_book_says() {
    if !absent::has_program("strace") {
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
        // The first use of an entry is recorded.
        assert_eq!(jit(&Session::default(), name, &params(&cache)), Origin::Disk);
    }
    let output = Command::new("strace")
        .args(["-f", "-qq", "-s", "200", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(child::arguments("child_process"))
        .env(CACHE, &cache)
        .env("HOME", &dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let trace = std::fs::read_to_string(&trace).unwrap();
    let begin = trace.lines().find(|line| line.contains("/no-such-place/first"));
    // Lines begin with the number of the thread; those of the test's other threads do not count.
    let Some(thread) = begin.and_then(|line| line.split_whitespace().next()) else {
        absent::skip("strace is not allowed to trace here");
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
    // The directory of the headers is opened and closed.
    assert!(headers <= further + HEADERS + 2, "one for each header: {headers}:\n{}", shown("with_headers"));
    for name in NAMES {
        assert!(!shown(name).contains("getdents"), "a directory was listed:\n{}", shown(name));
        assert!(!shown(name).contains("exec"), "a program was run:\n{}", shown(name));
    }
}
