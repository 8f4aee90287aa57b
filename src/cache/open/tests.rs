//! Tells which directories are caches and may be changed.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use super::*;
use crate::cache::gc::Limits;
use crate::cache::integrity::RepairMode;
use crate::cache::layout::Category;
use crate::cache::tests::{cache, entry};

fn root(cache: &Cache) -> PathBuf {
    cache.layout().root().to_owned()
}

/// All that changes or removes something.
fn changes(cache: &Cache) -> Vec<Error> {
    let limits =
        Limits { max_size: Some(0), max_age: None, min_idle: Duration::ZERO, dry_run: false, only: None };
    let all = [
        cache.ensure_dirs(),
        cache.identify().map(drop),
        cache.publish(&entry("a", &[], "h")).map(drop),
        cache.store_log("a", b"log"),
        cache.write_toolchain("key", b"{}"),
        cache.remove("a", &Category::ALL).map(drop),
        cache.check(&[], RepairMode::On, &|_, _| {}).map(drop),
        cache.evict(&limits, Duration::from_millis(1)).map(drop),
        cache.reset_stats().map(drop),
    ];
    let changes = all.len();
    cache.sweep();
    cache.note_use("a", Duration::ZERO);
    cache.count(crate::cache::stats::Event::Hit, "a", 1, 0);
    let errors: Vec<Error> = all.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.len(), changes, "{errors:?}");
    errors
}

/// Names and contents of all that is in a directory; links as links.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            all.extend(content(&path));
        }
        all.push((path.clone(), fs::read(&path).unwrap_or_default()));
    }
    all.sort();
    all
}

#[test]
fn a_directory_that_is_missing_or_empty_is_marked_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert!(cache.open().unwrap().is_none());
    fs::create_dir_all(root(&cache).join("lost+found")).unwrap();
    assert!(cache.open().unwrap().is_none());
    cache.lookup("a", crate::cache::Verify::ForLoad).unwrap();
    cache.check(&[], RepairMode::Off, &|_, _| {}).unwrap();
    assert!(!root(&cache).join(MARK).exists(), "only looked at");
    cache.identify().unwrap();
    let mark = fs::read_to_string(root(&cache).join(MARK)).unwrap();
    assert!(mark.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n# dijitso cache, format 1\n"));
    assert!(cache.open().unwrap().is_some());
    assert_eq!(fs::read_dir(root(&cache)).unwrap().count(), 2);
}

/// A directory for all that belongs to a run, say: nothing of it is under a name that a cache uses.
#[test]
fn other_files_beside_a_cache_do_not_matter_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for folder in ["results", "src", "lib"] {
        fs::create_dir_all(root(&cache).join(folder)).unwrap();
    }
    fs::write(root(&cache).join("results/u.csv"), "mine").unwrap();
    fs::write(root(&cache).join("program"), "mine").unwrap();
    assert!(cache.open().unwrap().is_none());
    cache.publish(&entry("a", &[], "h")).unwrap();
    assert!(cache.open().unwrap().is_some());
    let report = cache.check(&[], RepairMode::On, &|_, _| {}).unwrap();
    assert!(report.findings.iter().all(|finding| finding.path.starts_with(root(&cache))));
    cache.remove("a", &Category::ALL).unwrap();
    for file in ["results/u.csv", "program"] {
        assert_eq!(fs::read_to_string(root(&cache).join(file)).unwrap(), "mine");
    }
}

#[test]
fn a_directory_with_something_under_a_name_of_a_cache_is_none_and_stays_as_it_is() {
    let of_cargo = format!("{}# This file is a cache directory tag created by cargo.\n", &LINES[..44]);
    for (name, text) in [("src/form.cpp", "int x;"), (MARK, of_cargo.as_str()), (MARK, "")] {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let file = root(&cache).join(name);
        for folder in
            ["quarantine", "comm", "failed", "include", "lease", "lib", "log", "src", "stats", "atime"]
        {
            fs::create_dir_all(root(&cache).join(folder)).unwrap();
            fs::write(root(&cache).join(folder).join("form"), "mine").unwrap();
        }
        fs::write(&file, text).unwrap();
        let before = content(&root(&cache));
        for error in changes(&cache) {
            assert!(error.message().contains("is not a cache of dijitso"), "{error}");
        }
        assert_eq!(content(&root(&cache)), before, "{name}");
    }
}

/// Many processes make the same cache at once: none takes what another has put there for something foreign.
#[test]
fn a_cache_that_many_make_at_once_is_one_for_all() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| cache(dir.path()).ensure_dirs().unwrap());
            }
        });
    }
}

#[test]
fn folders_of_a_cache_that_are_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in ["a", "libdijitso-a.so", "a.h", "a.txt", "a.cpp", "x~1.jsonl", "0123456789abcdef01234567.0"] {
        fs::write(other.join(name), "mine").unwrap();
    }
    let before = content(&other);
    for folder in ["include", "lib", "log", "src", "comm", "failed", "lease", "stats", "toolchain", "atime"] {
        let _ = fs::remove_dir_all(root(&cache));
        cache.identify().unwrap();
        symlink(&other, root(&cache).join(folder)).unwrap();
        let _ = cache.publish(&entry("a", &[], "h"));
        let _ = cache.write_toolchain("a", b"{}");
        let _ = cache.remove("a", &Category::ALL);
        let _ = cache.check(&[], RepairMode::On, &|_, _| {});
        let _ = cache.reset_stats();
        let limits =
            Limits { max_size: Some(0), max_age: None, min_idle: Duration::ZERO, dry_run: false, only: None };
        let _ = cache.evict(&limits, Duration::from_millis(1));
        cache.sweep();
        cache.note_use("a", Duration::ZERO);
        cache.count(crate::cache::stats::Event::Hit, "a", 1, 0);
        assert_eq!(content(&other), before, "{folder}");
    }
}

#[test]
fn a_refused_directory_gets_nothing_written_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("b", &[], "h")).unwrap();
    cache.count(crate::cache::stats::Event::Build, "b", 1, 0);
    let before = content(&root(&cache));
    let refused = || {
        for error in changes(&cache) {
            assert!(error.message().contains("refused"), "{error}");
        }
        assert_eq!(content(&root(&cache)), before);
    };
    fs::set_permissions(root(&cache), PermissionsExt::from_mode(0o770)).unwrap();
    refused();
    fs::set_permissions(root(&cache), PermissionsExt::from_mode(0o700)).unwrap();
    // Only root can give something away.
    if chown(root(&cache).join(MARK), Some(12345), None).is_ok() {
        refused();
        chown(root(&cache).join(MARK), Some(0), None).unwrap();
        chown(root(&cache), Some(12345), None).unwrap();
        refused();
    }
}

/// A directory or a link in the place of a file: what is good for people only does not stop a build, and
/// nothing of it is touched.
#[test]
fn what_stands_in_the_place_of_a_log_or_source_stops_no_build() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    fs::create_dir(cache.layout().log("a")).unwrap();
    fs::write(cache.layout().log("a").join("mine"), "").unwrap();
    symlink("/nonexistent", cache.layout().src("a", false)).unwrap();
    assert!(cache.publish(&entry("a", &[], "h")).unwrap());
    assert!(matches!(
        cache.lookup("a", crate::cache::Verify::ForLink).unwrap(),
        crate::cache::Lookup::Hit(..)
    ));
    cache.remove("a", &Category::ALL).unwrap();
    assert!(cache.layout().log("a").join("mine").exists() && !cache.layout().lib("a").exists());
    assert!(cache.layout().src("a", false).symlink_metadata().is_ok());
}

/// Nothing of other names or kinds is touched, though it is in a cache; the check reports it.
#[test]
fn in_a_cache_only_names_of_its_own_are_touched() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("a", &[], "h")).unwrap();
    let mut foreign = Vec::new();
    let dirs = cache.layout().other_dirs().into_iter().chain(cache.layout().dirs());
    for (at, dir) in dirs.enumerate() {
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("my notes {at}"));
        fs::write(&path, "mine").unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        foreign.push(path);
    }
    let limits =
        Limits { max_size: Some(0), max_age: None, min_idle: Duration::ZERO, dry_run: false, only: None };
    assert!(cache.evict(&limits, Duration::from_millis(1)).unwrap().failures.is_empty());
    cache.sweep();
    cache.reset_stats().unwrap();
    cache.remove("a", &Category::ALL).unwrap();
    let report = cache.check(&[], RepairMode::On, &|_, _| {}).unwrap();
    for path in foreign {
        assert!(path.exists(), "{}", path.display());
        assert!(report.findings.iter().any(|finding| finding.path == path), "{}", path.display());
    }
}

/// A home directory that is not there, as that of a service, is not made.
#[test]
fn a_home_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("nobody");
    let variables = [("HOME", home.display().to_string())].into();
    let (cwd, system_dir) = (dir.path().to_owned(), "/nonexistent".into());
    let around = crate::params::Environment { variables, cwd, uid: 0, system_dir };
    let params = crate::params::Params::in_environment(&around).unwrap().resolve().unwrap().cache;
    let cache = Cache::new(&params.cache_dir, &params);
    for error in [cache.ensure_dirs().unwrap_err(), cache.write_toolchain("key", b"").unwrap_err()] {
        assert!(error.message().contains("is not there, and is not made"), "{error}");
    }
    assert!(!home.exists());
    fs::create_dir(&home).unwrap();
    cache.ensure_dirs().unwrap();
}

/// A program that only looks, such as `dijitso gc`, comes while another one makes the cache.
#[test]
fn a_cache_that_is_being_made_is_there_or_not_yet() {
    for _ in 0..400 {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let begin = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                begin.wait();
                cache.ensure_dirs().unwrap();
            });
            begin.wait();
            while !maker.is_finished() {
                cache.open().unwrap();
            }
        });
    }
}
