//! Evicts in the right order, and keeps entries in use.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs::{self, File};

use super::*;
use crate::cache::layout::Category;
use crate::cache::results::{ResultFile, ResultStore, TaskResult};
use crate::cache::stats::Event;
use crate::cache::tests::{cache, entry};
use crate::cache::{Lookup, Verify};

const HOUR: Duration = Duration::from_secs(3600);

fn set_used(cache: &Cache, signature: &str, hours: u32) {
    let time = SystemTime::now() - HOUR * hours;
    let lib = File::options().append(true).open(cache.layout().lib(signature)).unwrap();
    lib.set_modified(time).unwrap();
    let used = cache.layout().atime(signature);
    if used.exists() {
        File::open(used).unwrap().set_modified(time).unwrap();
    }
}

fn filled(dir: &Path, entries: &[(&str, &[&str], u32)]) -> Cache {
    let cache = cache(dir);
    for (signature, needs, hours) in entries {
        assert!(cache.publish(&entry(signature, needs, "header")).unwrap());
        set_used(&cache, signature, *hours);
    }
    cache
}

fn limits(max_size: Option<u64>, max_hours: Option<u32>) -> Limits {
    Limits {
        max_size,
        max_age: max_hours.map(|hours| HOUR * hours),
        min_idle: HOUR / 2,
        dry_run: false,
        only: None,
    }
}

fn names(done: &Evicted) -> Vec<&str> {
    done.removed.iter().map(|removed| removed.signature.as_str()).collect()
}

fn is_hit(cache: &Cache, signature: &str) -> bool {
    matches!(cache.lookup(signature, Verify::ForLink).unwrap(), Lookup::Hit(..))
}

const NOW: Duration = Duration::from_millis(1);

#[test]
fn the_least_recently_used_go_until_it_is_below_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 5), ("b", &[], 9), ("c", &[], 7), ("d", &[], 1)]);
    let all = cache.evict(&limits(None, None), NOW).unwrap();
    assert_eq!((all.kept, all.removed.len(), all.before), (4, 0, all.after));
    // Half of it, in blocks of whatever size the disk has.
    let done = cache.evict(&limits(Some(all.before / 2), None), NOW).unwrap();
    assert_eq!(names(&done), ["b", "c"]);
    assert_eq!((done.kept, done.failures.len()), (2, 0));
    assert!(done.after <= all.before / 2);
    assert_eq!(cache.evict(&limits(None, None), NOW).unwrap().before, done.after);
    for path in cache.layout().sidecars("b").into_iter().chain([cache.layout().lib("b")]) {
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(is_hit(&cache, "a") && is_hit(&cache, "d"));
    assert_eq!(fs::read_dir(cache.layout().dir(Category::Lib)).unwrap().count(), 2, "nothing is left behind");
    assert_eq!(fs::read_dir(cache.layout().lease("")).unwrap().count(), 0);
}

#[test]
fn what_something_kept_needs_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let old: &[(&str, &[&str], u32)] =
        &[("c", &[], 30), ("b", &["c"], 20), ("a", &["b", "c"], 1), ("y", &[], 28), ("x", &["y"], 25)];
    let cache = filled(dir.path(), old);
    let done = cache.evict(&limits(None, Some(10)), NOW).unwrap();
    assert_eq!(names(&done), ["x", "y"], "what needs another goes first");
    assert!(is_hit(&cache, "a") && is_hit(&cache, "b") && is_hit(&cache, "c"));
    set_used(&cache, "a", 11);
    assert_eq!(names(&cache.evict(&limits(None, Some(10)), NOW).unwrap()), ["a", "b", "c"]);
}

#[test]
fn a_use_that_was_noted_keeps_an_entry_and_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("b", &[], 20), ("a", &["b"], 20), ("z", &[], 20)]);
    cache.note_use("a", HOUR);
    assert_eq!(names(&cache.evict(&limits(None, Some(10)), NOW).unwrap()), ["z"]);
    assert!(cache.layout().atime("a").exists());
    let later = SystemTime::now() - HOUR * 20;
    File::open(cache.layout().atime("a")).unwrap().set_modified(later).unwrap();
    assert_eq!(names(&cache.evict(&limits(None, Some(10)), NOW).unwrap()), ["a", "b"]);
    assert!(!cache.layout().atime("a").exists());
}

#[test]
fn what_is_fresh_or_being_built_stays_whatever_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cache =
        filled(dir.path(), &[("fresh", &[], 0), ("dep", &[], 9), ("busy", &["dep"], 9), ("old", &[], 8)]);
    let lease =
        lease::take(&Arc::new(cache.open_or_make().unwrap()), &cache.layout().lease("busy"), HOUR, || false);
    // Some file systems do not tell when a lease was made: then nothing of the last hour goes.
    let done = cache.evict(&limits(Some(1), None), NOW).unwrap();
    assert_eq!((names(&done), done.in_use), (vec!["old"], 3));
    drop(lease);
    let done = cache.evict(&limits(Some(1), None), NOW).unwrap();
    assert_eq!((names(&done), done.in_use), (vec!["busy", "dep"], 1));
    assert!(is_hit(&cache, "fresh"));
}

/// A build links at its end to the entries that it has found, however long it takes.
#[test]
fn what_was_used_since_a_build_began_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("found", &[], 9), ("old", &[], 9)]);
    let lease =
        lease::take(&Arc::new(cache.open_or_make().unwrap()), &cache.layout().lease("form"), HOUR, || false);
    cache.note_use("found", Duration::from_secs(60));
    let greedy = Limits { min_idle: Duration::ZERO, ..limits(Some(1), None) };
    assert_eq!(names(&cache.evict(&greedy, NOW).unwrap()), ["old"]);
    drop(lease);
    assert_eq!(names(&cache.evict(&greedy, NOW).unwrap()), ["found"]);
}

#[test]
fn a_dry_run_says_the_same_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("b", &[], 20), ("a", &["b"], 20), ("z", &[], 1)]);
    let dry = cache.evict(&Limits { dry_run: true, ..limits(None, Some(10)) }, NOW).unwrap();
    assert!(is_hit(&cache, "a"));
    assert!(!cache.layout().lease("").exists());
    let done = cache.evict(&limits(None, Some(10)), NOW).unwrap();
    assert_eq!((names(&dry), dry.after, dry.kept), (names(&done), done.after, done.kept));
}

#[test]
fn one_collector_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 20)]);
    std::thread::scope(|scope| {
        let (taken, wait) = std::sync::mpsc::channel();
        let (done, end) = std::sync::mpsc::channel::<()>();
        let path = cache.layout().lease(".collector");
        let tree = Arc::new(cache.open_or_make().unwrap());
        scope.spawn(move || {
            let lease = lease::take(&tree, &path, HOUR, || false);
            taken.send(()).unwrap();
            let _ = end.recv();
            drop(lease);
        });
        wait.recv().unwrap();
        let error = cache.evict(&limits(None, Some(1)), NOW).unwrap_err();
        assert!(error.message().contains("is making room"), "{error}");
        drop(done);
    });
    assert_eq!(names(&cache.evict(&limits(None, Some(1)), HOUR).unwrap()), ["a"]);
}

#[test]
fn damaged_files_failed_builds_and_notes_go_when_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 1)]);
    let root = cache.layout().root().to_owned();
    let params = CacheParams { fail_dir_root: root.clone(), ..cache.layout().params().clone() };
    let cache = Cache::new(&root, &params);
    let old = SystemTime::now() - HOUR * 30;
    let folder = cache.layout().failure("form");
    let files = [
        cache.layout().quarantine().join("libdijitso-x.so"),
        cache.layout().failed("form"),
        cache.layout().atime("not-there"),
        folder.join("lib/error.log"),
        root.join("notes.txt"),
        root.join("jitfailure-"),
    ];
    for file in &files {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "text").unwrap();
        File::open(file).unwrap().set_modified(old).unwrap();
    }
    let done = cache.evict(&limits(None, Some(10)), NOW).unwrap();
    assert_eq!(done.removed.len(), 3, "the folder is young: {done:?}");
    File::open(&folder).unwrap().set_modified(old).unwrap();
    let done = cache.evict(&limits(None, Some(10)), NOW).unwrap();
    assert_eq!(done.removed.len(), 1);
    assert!(done.removed[0].bytes > 0 && !folder.exists());
    assert!(files[4].exists() && files[5].exists(), "what is not ours is not touched");
    assert_eq!(done.kept, 1);
}

/// Between the look at an entry and its removal another program may have used it, or built it again.
#[test]
fn what_has_changed_since_it_was_looked_at_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 20), ("b", &[], 20)]);
    let tree = Arc::new(cache.open().unwrap().unwrap());
    let candidate = |signature: &str| {
        cache.candidate(&tree, signature.to_owned(), cache.layout().lib(signature)).unwrap()
    };
    let (a, b) = (candidate("a"), candidate("b"));
    cache.note_use("a", HOUR);
    assert!(!cache.remove_candidate(&tree, &a).unwrap());
    fs::remove_file(&b.path).unwrap();
    cache.publish(&entry("b", &[], "header")).unwrap();
    assert!(!cache.remove_candidate(&tree, &b).unwrap());
    assert!(is_hit(&cache, "a") && is_hit(&cache, "b"));
    assert!(cache.remove_candidate(&tree, &candidate("b")).unwrap());
    assert!(cache.remove_candidate(&tree, &b).unwrap(), "it is gone, and that is what was wanted");
}

#[test]
fn rings_and_long_chains_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|at| format!("e{at}")).collect();
    let cache = cache(dir.path());
    for (at, name) in names.iter().enumerate() {
        let next = names[(at + 1) % names.len()].as_str();
        fs::write(path_of(&cache, name), entry(name, &[next], "h").library).unwrap();
    }
    let done = cache.evict(&Limits { min_idle: Duration::ZERO, ..limits(Some(0), None) }, NOW).unwrap();
    assert_eq!((done.removed.len(), done.kept, done.after), (300, 0, 0));
}

fn path_of(cache: &Cache, name: &str) -> PathBuf {
    cache.ensure_dirs().unwrap();
    cache.layout().lib(name)
}

#[test]
fn what_cannot_be_removed_is_said_and_keeps_what_it_needs() {
    use crate::fsutil::faults::{Op, Rule, with};
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("b", &[], 20), ("a", &["b"], 20), ("z", &[], 30)]);
    let root = cache.layout().lib("a");
    let done = with(vec![Rule { root, ops: &[Op::Name], errno: libc::EACCES }], || {
        cache.evict(&limits(None, Some(10)), NOW).unwrap()
    });
    assert_eq!((names(&done), done.failures.len()), (vec!["z"], 1), "{done:?}");
    assert!(done.failures[0].contains("libdijitso-a.so"));
    assert!(is_hit(&cache, "a"));
}

#[test]
fn after_a_build_a_host_looks_once_in_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let unlimited = filled(dir.path(), &[("a", &[], 20)]);
    let params = CacheParams { max_age: Some(HOUR), ..unlimited.layout().params().clone() };
    let cache = Cache::new(unlimited.layout().root(), &params);
    unlimited.evict_if_due();
    assert!(is_hit(&cache, "a"), "without a limit there is nothing to do");
    cache.evict_if_due();
    assert!(!is_hit(&cache, "a"));
    cache.publish(&entry("a", &[], "header")).unwrap();
    set_used(&cache, "a", 20);
    cache.evict_if_due();
    assert!(is_hit(&cache, "a"), "it has just looked");
    let stamp = cache.layout().gc_stamp(&stats::host_key());
    File::open(stamp).unwrap().set_modified(SystemTime::now() - 2 * INTERVAL).unwrap();
    cache.count(Event::Hit, "a", 1, 0);
    cache.evict_if_due();
    assert!(!is_hit(&cache, "a"));
}

/// Publishes a result that was last used this many hours ago.
fn publish_result(cache: &Cache, signature: &str, hours: u32) {
    let file = ResultFile { name: "out".to_owned(), executable: false, contents: vec![7; 5000] };
    let store = ResultStore::open_or_make(cache).unwrap();
    store.publish(TaskResult::new(signature, "mesh", vec![file])).unwrap();
    let path = cache.layout().result(signature);
    File::open(path).unwrap().set_modified(SystemTime::now() - HOUR * hours).unwrap();
}

#[test]
fn results_count_and_go_by_their_last_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 5), ("b", &[], 9)]);
    let before = cache.evict(&limits(None, None), NOW).unwrap().before;
    for (signature, hours) in [("m_old", 12), ("m_new", 7), ("m_now", 0)] {
        publish_result(&cache, signature, hours);
    }
    let all = cache.evict(&limits(None, None), NOW).unwrap();
    assert!(all.before > before + 3 * 5000 && all.kept == 2, "{all:?}");
    let done = cache.evict(&limits(None, Some(6)), NOW).unwrap();
    assert_eq!(names(&done), ["m_old", "b", "m_new"]);
    assert_eq!(done.removed[0].kind, RemovedKind::Result);
    assert_eq!((done.kept, done.removed[1].kind), (1, RemovedKind::Entry));
    let done = cache.evict(&limits(Some(0), None), NOW).unwrap();
    assert_eq!((names(&done), done.in_use), (vec!["a"], 1), "the one that was used a moment ago stays");
    assert_eq!(cache.result_signatures(), ["m_now"]);
    // A result that is in use again since it was looked at stays.
    let tree = Arc::new(cache.open().unwrap().unwrap());
    let candidates = cache.result_candidates(&tree);
    File::open(&candidates[0].path).unwrap().set_modified(SystemTime::now() + HOUR).unwrap();
    assert!(!cache.remove_candidate(&tree, &candidates[0]).unwrap());
    publish_result(&cache, "m_busy", 20);
    let path = cache.layout().lease("m_busy");
    let lease = lease::take(&tree, &path, NOW, || false);
    assert!(matches!(lease, Acquire::Acquired(_)));
    assert!(names(&cache.evict(&limits(None, Some(6)), NOW).unwrap()).is_empty());
    drop(lease);
    assert_eq!(names(&cache.evict(&limits(None, Some(6)), NOW).unwrap()), ["m_busy"]);
}

#[test]
fn journals_go_when_no_make_has_written_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path(), &[("a", &[], 1)]);
    let tree = cache.open().unwrap().unwrap();
    for (key, hours) in [("old", 20), ("now", 0)] {
        let path = cache.layout().plan_journal(key);
        tree.append(&path, b"{}\n", FILE_MODE).unwrap();
        File::open(&path).unwrap().set_modified(SystemTime::now() - HOUR * hours).unwrap();
    }
    let done = cache.evict(&limits(Some(0), Some(10)), NOW).unwrap();
    let kinds: Vec<RemovedKind> = done.removed.iter().map(|removed| removed.kind).collect();
    assert_eq!(kinds, [RemovedKind::Other, RemovedKind::Entry]);
    assert!(!cache.layout().plan_journal("old").exists() && cache.layout().plan_journal("now").exists());
}
