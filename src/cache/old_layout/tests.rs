//! A cache of an older version is a miss, and what it leaves is cleared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::cache::gc::Limits;
use crate::cache::integrity::{FindingKind, RepairMode, RepairOutcome};
use crate::cache::record::Invalid;
use crate::cache::tests::{cache, entry, make_old};
use crate::cache::{Lookup, Verify};

fn old(dir: &Path) -> Cache {
    let cache = cache(dir);
    for files in [entry("b", &[], "b"), entry("a", &["b"], "a")] {
        assert!(cache.publish(&files).unwrap());
    }
    make_old(&cache);
    cache
}

fn is_clear(cache: &Cache) -> bool {
    let layout = cache.layout();
    let gone = ["a", "b"].iter().flat_map(|signature| layout.sidecars(signature)).all(|path| !path.exists());
    gone && OLD_DIRS.iter().all(|name| !layout.root().join(name).exists())
        && cache.signatures().unwrap().is_empty()
}

#[test]
fn it_is_a_miss_until_it_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    for verify in [Verify::ForLoad, Verify::ForLink] {
        assert_eq!(cache.lookup("b", verify).unwrap(), Lookup::Damaged(Invalid::Version));
    }
    assert_eq!(cache.record("a").unwrap(), None);
    assert!(cache.publish(&entry("b", &[], "b")).unwrap());
    assert!(cache.publish(&entry("a", &["b"], "a")).unwrap());
    assert!(matches!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(..)));
}

#[test]
fn it_is_still_taken_for_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    assert!(cache.open().unwrap().is_some());
    // Without the mark, its directories are a reason to leave everything alone.
    fs::remove_file(cache.layout().root().join(crate::cache::open::MARK)).unwrap();
    for name in ["include", "src", "lib", "log", "lease", "stats"] {
        let _ = fs::remove_dir_all(cache.layout().root().join(name));
    }
    assert!(cache.open().unwrap_err().message().contains("has something called aside"));
}

#[test]
fn a_check_finds_it_and_repair_clears_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    let count = |mode, outcome: &RepairOutcome| {
        let report = cache.check(&[], mode, &|_, _| {}).unwrap();
        let of = |what| report.findings.iter().filter(|found| found.what == what).count();
        assert_eq!((of(FindingKind::LibraryVersion), of(FindingKind::Leftover)), (2, 3));
        assert_eq!(report.findings.len(), 5, "{:?}", report.findings);
        assert!(report.findings.iter().all(|found| found.outcome == *outcome), "{:?}", report.findings);
    };
    count(RepairMode::Off, &RepairOutcome::No);
    count(RepairMode::DryRun, &RepairOutcome::Would);
    count(RepairMode::On, &RepairOutcome::Done);
    assert!(is_clear(&cache));
    assert!(!cache.layout().quarantine().exists(), "entries of older versions are of no interest");
    assert!(cache.check(&[], RepairMode::Off, &|_, _| {}).unwrap().findings.is_empty());
}

#[test]
fn eviction_clears_it_whatever_the_limits_are() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    let limits = Limits {
        max_size: None,
        max_age: None,
        min_idle: Duration::from_secs(3600),
        dry_run: false,
        only: None,
    };
    let dry = cache.evict(&Limits { dry_run: true, ..limits.clone() }, Duration::ZERO).unwrap();
    let done = cache.evict(&limits, Duration::from_millis(1)).unwrap();
    assert_eq!((dry.removed.len(), done.removed.len(), done.kept), (5, 5, 0), "{done:?}");
    assert!(done.failures.is_empty() && is_clear(&cache));
}

#[test]
fn other_files_in_its_directories_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    let mine = cache.layout().root().join("aside/notes.md");
    fs::write(&mine, "mine").unwrap();
    for _ in 0..2 {
        let report = cache.check(&[], RepairMode::On, &|_, _| {}).unwrap();
        assert!(report.is_sound());
        assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    }
    let report = cache.check(&[], RepairMode::On, &|_, _| {}).unwrap();
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].what, FindingKind::ForeignFile);
}

#[test]
fn in_a_directory_that_cannot_be_written_it_is_a_miss_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let cache = old(dir.path());
    let mode = |mode| {
        for name in ["", "lib", "include", "aside", "used", "prologue"] {
            let path = cache.layout().root().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o500);
    assert_eq!(cache.lookup("b", Verify::ForLoad).unwrap(), Lookup::Damaged(Invalid::Version));
    let report = cache.check(&[], RepairMode::Off, &|_, _| {}).unwrap();
    assert_eq!(report.findings.len(), 5, "{:?}", report.findings);
    mode(0o700);
}
