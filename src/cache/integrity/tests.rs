//! A sound cache has no findings, and each kind of damage has its own.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use super::*;
use crate::cache::results::{ResultFile, ResultStore};
use crate::cache::tests::entry;
use crate::cache::{EntryFiles, Lookup, Verify};
use crate::elf::sample::sample;
use crate::owner::ProcessId;
use crate::params::resolved::CacheParams;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

/// A cache whose builds are staged where no other program does so.
fn cache(dir: &Path) -> Cache {
    let cache = crate::cache::tests::cache(dir);
    let root = cache.layout().root().to_owned();
    let params = cache.layout().params().clone();
    Cache::new(&root, &CacheParams { temp_dir_root: dir.join("tmp"), fail_dir_root: root.clone(), ..params })
}

/// A needs b and c, b needs c, and d is alone.
fn filled(dir: &Path) -> Cache {
    let cache = cache(dir);
    for files in
        [entry("c", &[], "c"), entry("b", &["c"], "b"), entry("a", &["b", "c"], "a"), entry("d", &[], "d")]
    {
        assert!(cache.publish(&with_source(files)).unwrap());
    }
    cache
}

/// With the digest of its source in the record.
fn with_source(files: EntryFiles) -> EntryFiles {
    let mut record = record::open(&files.library, &files.signature).unwrap();
    record.source_sha256 = file_digest(b"source").sha256;
    let library = record::append_record(sample(files.signature.as_bytes()), &record).unwrap();
    EntryFiles { library, source: Some((fsutil::gzip(b"source"), true)), ..files }
}

fn check(cache: &Cache, mode: RepairMode) -> CheckReport {
    cache.check(&[], mode, &|_, _| {}).unwrap()
}

fn found(report: &CheckReport) -> Vec<(&str, &str)> {
    report.findings.iter().map(|finding| (finding.what.name(), finding.signature.as_str())).collect()
}

fn age(path: &Path) {
    let old = SystemTime::now() - 2 * ORPHANED;
    fs::File::open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn a_sound_cache_has_no_findings_and_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let empty = cache(dir.path());
    assert_eq!(check(&empty, RepairMode::On), CheckReport::default());
    assert!(!empty.layout().root().exists());
    let cache = filled(dir.path());
    let progress = Mutex::new(Vec::new());
    let report =
        cache.check(&[], RepairMode::Off, &|done, of| progress.lock().unwrap().push((done, of))).unwrap();
    assert_eq!((report.entries, report.findings.len(), report.is_sound()), (4, 0, true));
    assert!(report.bytes > 0);
    assert_eq!(progress.into_inner().unwrap().last(), Some(&(4, 4)));
    assert!(!cache.layout().lease("").exists() && !cache.layout().quarantine().exists());
}

/// An unfinished library got a record, and the record was valid.
#[test]
fn a_sealed_file_that_is_no_whole_library_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let mut cut = sample(b"");
    cut.truncate(cut.len() - 30);
    for (signature, image) in [("cut", cut), ("text", b"no library".to_vec())] {
        let record = EntryRecord { dependencies: Vec::new(), ..record::tests::record(signature) };
        let library = record::append_record(image, &record).unwrap();
        let files =
            EntryFiles { signature: signature.to_owned(), library, header: None, source: None, log: None };
        assert!(cache.publish(&files).unwrap());
    }
    let expected = [("library-cut", "cut"), ("library-cut", "text")];
    let report = check(&cache, RepairMode::Off);
    assert_eq!(found(&report), expected);
    assert!(
        report.findings.iter().all(|finding| finding.text.contains("not written a complete shared library"))
    );
    let repaired = check(&cache, RepairMode::On);
    assert!(repaired.findings.iter().all(|finding| finding.outcome == RepairOutcome::Done), "{repaired:?}");
    assert!(["cut", "text"].iter().all(|signature| !cache.layout().lib(signature).exists()));
    assert!(check(&cache, RepairMode::Off).is_sound());
}

/// Defect W15 of the original: it looked at libraries in the current directory, and found nothing, ever.
#[test]
fn w15_a_missing_library_of_this_cache_is_found_from_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::remove_file(cache.layout().lib("c")).unwrap();
    let report = check(&cache, RepairMode::Off);
    let expected = [("dependency-broken", "a"), ("dependency-missing", "a"), ("dependency-missing", "b")];
    let mut got = found(&report);
    got.sort_unstable();
    assert_eq!(got, expected);
    assert!(report.findings.iter().any(|finding| finding.text.contains("needs c, which is not there")));
    assert!(!report.is_sound());
}

#[test]
fn every_kind_of_damage_has_its_name_and_is_repaired() {
    type Harm = fn(&Cache);
    let cases: [(Harm, &str); 9] = [
        (|cache| fs::write(cache.layout().lib("d"), "short").unwrap(), "library-cut"),
        (
            |cache| {
                let mut bytes = fs::read(cache.layout().lib("d")).unwrap();
                bytes[0] ^= 1;
                fs::write(cache.layout().lib("d"), bytes).unwrap();
            },
            "library-altered",
        ),
        (
            |cache| {
                let mut bytes = fs::read(cache.layout().lib("d")).unwrap();
                let at = bytes.len() - 16;
                bytes[at] += 1;
                fs::write(cache.layout().lib("d"), bytes).unwrap();
            },
            "library-version",
        ),
        (
            |cache| fs::write(cache.layout().lib("d"), fs::read(cache.layout().lib("c")).unwrap()).unwrap(),
            "library-foreign",
        ),
        (|cache| fs::remove_file(cache.layout().inc("d")).unwrap(), "header-missing"),
        (|cache| fs::write(cache.layout().inc("d"), "D").unwrap(), "header-altered"),
        (
            |cache| fs::set_permissions(cache.layout().lib("d"), PermissionsExt::from_mode(0o722)).unwrap(),
            "refused",
        ),
        (
            |cache| fs::set_permissions(cache.layout().inc("d"), PermissionsExt::from_mode(0o622)).unwrap(),
            "refused",
        ),
        (
            |cache| {
                fs::remove_file(cache.layout().lib("d")).unwrap();
                std::os::unix::fs::symlink(cache.layout().lib("c"), cache.layout().lib("d")).unwrap();
            },
            "refused",
        ),
    ];
    for (at, (harm, name)) in cases.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let cache = filled(dir.path());
        harm(&cache);
        let report = check(&cache, RepairMode::Off);
        assert_eq!(found(&report), [(name, "d")], "case {at}: {report:?}");
        assert!(!report.is_sound());
        let said = check(&cache, RepairMode::DryRun);
        assert_eq!(said.findings[0].outcome, RepairOutcome::Would, "case {at}");
        assert!(!said.is_sound() && !cache.layout().quarantine().exists());
        let repaired = check(&cache, RepairMode::On);
        assert_eq!(repaired.findings[0].outcome, RepairOutcome::Done, "case {at}: {repaired:?}");
        assert!(repaired.is_sound());
        assert_eq!(check(&cache, RepairMode::Off).findings, [], "case {at}");
        assert_eq!(cache.lookup("d", Verify::ForLoad).unwrap(), Lookup::Miss);
        assert!(cache.layout().quarantine().join("libdijitso-d.so").exists());
        assert!(
            matches!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(..)),
            "the rest is untouched"
        );
        assert!(cache.publish(&with_source(entry("d", &[], "d"))).unwrap());
        assert_eq!(check(&cache, RepairMode::Off).findings, []);
    }
}

#[test]
fn entries_that_need_a_broken_one_are_quarantined_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::write(cache.layout().lib("c"), "short").unwrap();
    let report = check(&cache, RepairMode::On);
    let broken: BTreeSet<&str> = report.findings.iter().map(|finding| &*finding.signature).collect();
    assert_eq!(broken.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(report.is_sound(), "{report:?}");
    let after = check(&cache, RepairMode::Off);
    assert_eq!((after.entries, after.findings.len()), (1, 0));
}

#[test]
fn an_entry_that_needs_itself_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    for (name, needs) in [("x", "y"), ("y", "z"), ("z", "x"), ("self", "self")] {
        fs::write(cache.layout().lib(name), entry(name, &[needs], "h").library).unwrap();
        fs::set_permissions(cache.layout().lib(name), PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(cache.layout().inc(name), "h").unwrap();
        fs::set_permissions(cache.layout().inc(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let report = check(&cache, RepairMode::On);
    let cycles: Vec<_> =
        report.findings.iter().filter(|finding| finding.what == FindingKind::Cycle).collect();
    assert_eq!(cycles.len(), 2, "{report:?}");
    assert!(cycles.iter().any(|cycle| cycle.text.contains("x needs y needs z needs x")));
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn headers_that_have_changed_make_stale_and_not_broken() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let header = dir.path().join("ufc.h");
    fs::write(&header, "one").unwrap();
    let input = Input::of(&header).unwrap();
    for (name, needs) in [("element", &[][..]), ("form", &["element"][..])] {
        let files = entry(name, needs, "h");
        let mut record = record::open(&files.library, name).unwrap();
        if name == "element" {
            record.inputs = vec![input.clone()];
        }
        let library = record::append_record(sample(b""), &record).unwrap();
        assert!(cache.publish(&EntryFiles { library, ..files }).unwrap());
    }
    assert_eq!(check(&cache, RepairMode::Off).findings, []);
    fs::write(&header, "changed").unwrap();
    let report = check(&cache, RepairMode::On);
    assert_eq!(found(&report), [("input-changed", "element"), ("dependency-stale", "form")]);
    assert!(report.findings[0].text.contains("ufc.h has changed"));
    assert!(report.is_sound() && report.findings.iter().all(|finding| finding.outcome == RepairOutcome::No));
}

#[test]
fn what_lies_around_is_found_and_only_what_nobody_needs_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let layout = cache.layout();
    for path in [layout.src("gone", true), layout.log("gone"), layout.inc("young"), layout.src("busy", true)]
    {
        fs::write(&path, "").unwrap();
        if path != layout.inc("young") {
            age(&path);
        }
    }
    let foreign = [layout.root().join("README"), layout.dir(Category::Lib).join("libdijitso-a.so.old")];
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    let dead = ProcessId { start: ProcessId::current().start + 1, ..ProcessId::current() };
    let staged = layout.dir(Category::Lib).join(format!(".staged-{}-x", dead.tag()));
    let living = layout.dir(Category::Lib).join(format!(".staged-{}-x", ProcessId::current().tag()));
    fs::create_dir_all(layout.lease("")).unwrap();
    fs::create_dir_all(layout.comm()).unwrap();
    let meeting = layout.comm().join("0123456789abcdef01234567.0");
    for path in [&staged, &living, &layout.lease("crashed"), &meeting] {
        fs::write(path, "").unwrap();
    }
    age(&meeting);
    fs::write(layout.src("d", true), "not a gzip file").unwrap();
    fs::create_dir(layout.failure("form")).unwrap_or_default();
    let lease = lease::take(
        &Arc::new(cache.open_or_make().unwrap()),
        &layout.lease("busy"),
        Duration::from_secs(60),
        || false,
    );
    let expected = [
        (FindingKind::ForeignFile, foreign[0].clone(), RepairOutcome::No),
        (FindingKind::ForeignFile, foreign[1].clone(), RepairOutcome::No),
        (FindingKind::Leftover, meeting.clone(), RepairOutcome::Done),
        (FindingKind::Leftover, staged.clone(), RepairOutcome::Done),
        (FindingKind::Leftover, layout.lease("crashed"), RepairOutcome::Done),
        (FindingKind::Orphan, layout.log("gone"), RepairOutcome::Done),
        (FindingKind::Orphan, layout.src("gone", true), RepairOutcome::Done),
        (FindingKind::SourceAltered, layout.src("d", true), RepairOutcome::Done),
    ];
    let report = check(&cache, RepairMode::On);
    assert!(report.is_sound(), "leftovers break nothing");
    let busy = report.findings.iter().find(|finding| finding.signature == "busy").unwrap();
    assert!(matches!(&busy.outcome, RepairOutcome::Busy(who) if who.contains("process")), "{busy:?}");
    for wanted in expected {
        let one = |finding: &&Finding| {
            (finding.what, &finding.path, &finding.outcome) == (wanted.0, &wanted.1, &wanted.2)
        };
        assert_eq!(report.findings.iter().filter(one).count(), 1, "{wanted:?}: {:#?}", report.findings);
    }
    assert_eq!(report.findings.len(), 9);
    drop(lease);
    assert!(living.exists() && !staged.exists() && foreign[0].exists() && layout.inc("young").exists());
    let again = check(&cache, RepairMode::On);
    assert_eq!(
        again.findings.iter().filter(|finding| finding.what != FindingKind::ForeignFile).count(),
        1,
        "{again:?}"
    );
}

#[test]
fn a_living_builder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::write(cache.layout().lib("d"), "short").unwrap();
    let lease = lease::take(
        &Arc::new(cache.open_or_make().unwrap()),
        &cache.layout().lease("d"),
        Duration::from_secs(60),
        || false,
    );
    for mode in [RepairMode::DryRun, RepairMode::On] {
        let report = check(&cache, mode);
        assert!(matches!(report.findings[0].outcome, RepairOutcome::Busy(_)));
        assert!(!report.is_sound() && cache.layout().lib("d").exists());
    }
    drop(lease);
    assert!(check(&cache, RepairMode::On).is_sound());
}

#[test]
fn some_entries_are_checked_with_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::write(cache.layout().lib("c"), "short").unwrap();
    let of = |name: &str| cache.check(&[name.to_owned()], RepairMode::Off, &|_, _| {});
    assert_eq!(of("d").unwrap().findings, []);
    assert_eq!(of("a").unwrap().entries, 3);
    assert!(!of("a").unwrap().is_sound());
    let error = of("unknown").unwrap_err();
    assert!(error.message().contains("no entry unknown"), "{error}");
}

#[test]
fn a_directory_that_others_can_write_is_found_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let lib = cache.layout().dir(Category::Lib);
    fs::set_permissions(&lib, PermissionsExt::from_mode(0o777)).unwrap();
    let report = check(&cache, RepairMode::On);
    assert_eq!(found(&report), [("refused", "")]);
    assert!(!report.is_sound() && report.findings[0].outcome == RepairOutcome::No);
    fs::set_permissions(&lib, PermissionsExt::from_mode(0o700)).unwrap();
    assert!(check(&cache, RepairMode::Off).is_sound());
}

fn publish_result(cache: &Cache, signature: &str) -> PathBuf {
    let file = ResultFile { name: "out".to_owned(), executable: false, contents: b"mesh".to_vec() };
    let store = ResultStore::open_or_make(cache).unwrap();
    store.publish(TaskResult::new(signature, "mesh", vec![file])).unwrap();
    cache.layout().result(signature)
}

#[test]
fn damaged_results_are_found_and_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let paths = ["m_cut", "m_other", "m_refused", "m_whole"].map(|name| publish_result(&cache, name));
    let journal = cache.layout().plan_journal("plan");
    cache.open().unwrap().unwrap().append(&journal, b"{\"event\":", 0o600).unwrap();
    let report = check(&cache, RepairMode::Off);
    assert_eq!((report.entries, report.results, report.findings.len()), (4, 4, 0), "{report:?}");
    let whole = fs::read(&paths[0]).unwrap();
    fs::write(&paths[0], &whole[..whole.len() - 1]).unwrap();
    fs::copy(&paths[3], &paths[1]).unwrap();
    fs::set_permissions(&paths[2], fs::Permissions::from_mode(0o622)).unwrap();
    let expected = [("result-altered", "m_cut"), ("result-altered", "m_other"), ("refused", "m_refused")];
    let report = check(&cache, RepairMode::DryRun);
    assert_eq!((found(&report), report.is_sound()), (expected.to_vec(), false));
    assert!(report.findings.iter().all(|finding| finding.outcome == RepairOutcome::Would));
    let named = cache.check(&["m_cut".to_owned(), "d".to_owned()], RepairMode::Off, &|_, _| {}).unwrap();
    assert_eq!((named.entries, named.results, found(&named)), (1, 1, expected[..1].to_vec()));
    let report = check(&cache, RepairMode::On);
    assert!(report.is_sound() && found(&report) == expected, "{report:?}");
    assert_eq!(cache.result_signatures(), ["m_whole"]);
    assert!(cache.layout().quarantined_result("m_cut").exists());
    let report = check(&cache, RepairMode::Off);
    assert_eq!((report.results, report.findings.len()), (1, 0), "what is quarantined is known: {report:?}");
}

#[test]
fn unfinished_results_and_foreign_files_beside_them_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let folder = publish_result(&cache, "m").parent().unwrap().to_owned();
    fs::write(folder.join("notes of a user"), "x").unwrap();
    let plans = cache.layout().plans();
    fs::create_dir_all(&plans).unwrap();
    fs::write(plans.join("plan.txt"), "x").unwrap();
    let report = check(&cache, RepairMode::On);
    assert_eq!(found(&report), [("foreign-file", ""), ("foreign-file", "")]);
    assert!(folder.join("notes of a user").exists() && plans.join("plan.txt").exists());
}
