//! Evicts entries again and again while other programs build and load: none of them notices.
//!
//! The programs are child processes that run the ignored test below.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/child.rs"]
mod child;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dijitso::cache::Cache;
use dijitso::cache::gc::Limits;
use dijitso::jit::CommState;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Request, Session, Source};
use dijitso::parallel::threads::ThreadComm;
use dijitso::params::Params;
use dijitso::params::resolved::Resolved;

const PART: &str = "DIJITSO_TEST_GC_PART";
const FORMS: usize = 12;
const CALLS: usize = 60;

fn params(dir: &Path) -> Resolved {
    let mut params = Params::new().unwrap();
    let at = |name: &str| dir.join(name).display().to_string();
    // It writes a library that was compiled before.
    let compiler = format!("for last; do :; done; cat '{}' > \"$last\"", at("ready.so"));
    for (key, value) in [
        ("cache.cache_dir", at("cache").as_str()),
        ("cache.temp_dir_root", &at("tmp")),
        ("cache.signature", "name"),
        ("build.slots_dir", &at("slots")),
        ("build.cxx", &shell_words::join(["sh", "-c", &compiler, "compiler"])),
    ] {
        params.set(key, value).unwrap();
    }
    params.resolve().unwrap()
}

#[test]
#[ignore = "the child process of other tests"]
fn child_process() {
    let part = std::env::var(PART).expect("another test starts this one");
    let number: usize = part.parse().unwrap();
    let params = params(&std::env::current_dir().unwrap());
    let session = Session::default();
    for call in 0..CALLS {
        // Each program goes its own way through the forms; every third form needs an element of its own.
        let form = (call * (2 * number + 1) + number) % FORMS;
        let element = form.is_multiple_of(3).then(|| format!("element{form}"));
        let library = if call % 2 == 0 {
            jit(&session, Some(&CommState::default()), &params, &format!("form{form}"), element.as_deref())
        } else {
            jit(&Session::default(), None, &params, &format!("form{form}"), element.as_deref())
        };
        assert!(!library.symbol("value").unwrap().is_null());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn jit(
    session: &Session,
    state: Option<&CommState>,
    params: &Resolved,
    name: &str,
    element: Option<&str>,
) -> Library {
    let mut generate = |_: GenerateRequest<'_>, source: &mut Source| {
        if let Some(element) = element {
            source.dependencies.push(jit(session, None, params, element, None).signature().to_owned());
        }
        source.code = Some(b"int value;".to_vec());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(&mut generate)), ..Callbacks::default() };
    let request = Ok(Request { name, params });
    match state {
        Some(state) => session.jit_on(&ThreadComm::single(), state, request, &mut callbacks),
        None => session.jit(request, &mut callbacks),
    }
    .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn start(number: usize, dir: &Path) -> Child {
    child::command("child_process")
        .env(PART, number.to_string())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn gc_goes_unnoticed_by_eight_programs_that_build_and_load() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    for name in ["cache", "tmp"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("ready.c"), "int value = 7;\n").unwrap();
    let compile = ["-shared", "-fPIC", "-o", "ready.so", "ready.c"];
    assert!(Command::new("cc").args(compile).current_dir(&dir).status().unwrap().success());

    let params = params(&dir);
    let cache = Cache::new(&params.cache.cache_dir, &params.cache);
    let mut programs: Vec<Child> = (0..8).map(|number| start(number, &dir)).collect();
    let (mut removed, mut rounds) = (0, 0);
    // Far harder than any real limit: nothing is kept that nobody has used for some seconds.
    let limits = Limits {
        max_size: Some(100_000),
        max_age: None,
        min_idle: Duration::from_secs(3),
        dry_run: false,
        only: None,
    };
    while programs.iter_mut().any(|program| program.try_wait().unwrap().is_none()) {
        let done = cache.evict(&limits, Duration::from_secs(10)).unwrap();
        assert!(done.failures.is_empty(), "{:?}", done.failures);
        removed += done.removed.len();
        rounds += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    for program in &mut programs {
        assert!(program.wait().unwrap().success(), "a program has failed");
    }
    let counts = cache.stats().total();
    assert!(removed > FORMS && rounds > 10, "{removed} removed in {rounds} rounds");
    assert!(counts.builds > FORMS as u64 && counts.failures == 0, "{counts:?}");
    assert!(cache.check(&[], dijitso::cache::integrity::RepairMode::Off, &|_, _| {}).unwrap().is_sound());
    for left in ["lease", "lib", "tmp"] {
        let left = if left == "tmp" { dir.join(left) } else { dir.join("cache").join(left) };
        let unfinished = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
        let names: Vec<_> = fs::read_dir(&left).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| unfinished(name)), "{left:?}: {names:?}");
    }
}
