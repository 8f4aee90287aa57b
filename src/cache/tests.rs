//! Entries are whole or not there, whatever happens to their files.

use super::layout::Category;
use super::record::Invalid;
use super::record::tests::{of_version, record};
use super::*;
use crate::elf::sample::sample;
use crate::inputs::Input;
use crate::params::Params;

/// Returns the cache `cache` below `root`, with these settings.
pub(crate) fn cache_at(root: &Path, settings: &[(&str, &str)]) -> Cache {
    let mut params = Params::for_test_in(root, settings);
    params.set("cache.cache_dir", "cache").unwrap();
    Cache::new(&root.join("cache"), &params.resolve().unwrap().cache)
}

pub(crate) fn cache(root: &Path) -> Cache {
    cache_at(root, &[])
}

pub(crate) fn entry(signature: &str, dependencies: &[&str], header: &str) -> EntryFiles {
    let mut record = record(signature);
    record.dependencies = dependencies.iter().map(|text| (*text).to_owned()).collect();
    record.header = Some(file_digest(header.as_bytes()));
    EntryFiles {
        signature: signature.to_owned(),
        library: record::append_record(sample(format!("{signature} {header}").as_bytes()), &record).unwrap(),
        header: Some(header.as_bytes().to_vec()),
        source: Some((b"source".to_vec(), false)),
        log: Some(b"log".to_vec()),
    }
}

fn order_of(lookup: &Lookup) -> Vec<&str> {
    match lookup {
        Lookup::Hit(order) => order.iter().map(|whole| whole.signature.as_str()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_published_entry_is_found_with_its_dependencies_first() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert_eq!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Miss);
    for files in [entry("c", &[], "c"), entry("b", &["c"], "b"), entry("a", &["b", "c"], "a")] {
        assert!(cache.publish(&files).unwrap());
    }
    for check in [Verify::ForLoad, Verify::ForLink] {
        assert_eq!(order_of(&cache.lookup("a", check).unwrap()), ["c", "b", "a"]);
    }
    let closure = cache.read_closure("a").unwrap();
    assert_eq!(closure.iter().map(|files| &*files.signature).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(closure[0], entry("c", &[], "c"));
    let staged = fs::read_dir(cache.layout().dir(Category::Lib)).unwrap().count();
    assert_eq!(staged, 3, "nothing but libraries is left");
}

/// The room is asked for once and is enough: a second copy would not fit on a rank whose memory a large
/// library fills.
#[test]
fn a_closure_is_packed_in_one_buffer_and_is_what_its_entries_say() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for files in [entry("c", &[], "c"), entry("b", &["c"], "b"), entry("a", &["b", "c"], "a")] {
        assert!(cache.publish(&files).unwrap());
    }
    fs::remove_file(cache.layout().log("b")).unwrap();
    fs::remove_file(cache.layout().src("c", false)).unwrap();
    let blob = cache.pack("a").unwrap();
    assert_eq!(blob.capacity(), blob.len() + 2 * 8, "the lengths of the two files that are not there");
    assert_eq!(blob, closure::Closure::Entries(cache.read_closure("a").unwrap()).encode().unwrap());
}

#[test]
fn what_is_damaged_or_gone_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let fill = || [entry("c", &[], "c"), entry("a", &["c"], "a")].map(|files| cache.publish(&files).unwrap());
    let refused = |path: &Path| {
        let error = cache.pack("a").unwrap_err();
        assert_eq!(error.kind(), Kind::Cache);
        assert!(error.message().contains(&*path.to_string_lossy()), "{error}");
    };
    fill();
    for path in [cache.layout().lib("a"), cache.layout().lib("c"), cache.layout().inc("c")] {
        let whole = fs::read(&path).unwrap();
        let mut altered = whole.clone();
        altered[0] ^= 1;
        for data in [altered.as_slice(), &whole[1..], &[]] {
            fs::write(&path, data).unwrap();
            refused(&path);
        }
        fs::remove_file(&path).unwrap();
        refused(&path);
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        refused(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, whole).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    assert!(cache.pack("a").is_ok());
}

/// Defects W5 and W6 of the original: leftovers of crashed programs were promoted, and a differing newcomer
/// moved the good library away.
#[test]
fn w5_w6_the_first_whole_entry_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    let lib = cache.layout().lib("a");
    for leftover in [".pub.0", ".old", ".priv.1"] {
        fs::write(format!("{}{leftover}", lib.display()), "TRUNC").unwrap();
    }
    assert!(cache.publish(&entry("a", &[], "first")).unwrap());
    assert!(!cache.publish(&entry("a", &[], "second")).unwrap());
    assert_eq!(fs::read(&lib).unwrap(), entry("a", &[], "first").library);
    assert_eq!(fs::read(cache.layout().inc("a")).unwrap(), b"first");
}

/// Defect W14 of the original: a library could be seen whose header was not there.
#[test]
fn w14_an_entry_without_its_header_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("a", &[], "header")).unwrap();
    fs::write(cache.layout().inc("a"), "HEADER").unwrap();
    assert!(matches!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Hit(..)));
    assert_eq!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Damaged(Invalid::Header));
    assert!(cache.read_closure("a").is_err());
    fs::remove_file(cache.layout().inc("a")).unwrap();
    assert_eq!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Damaged(Invalid::Header));
}

#[test]
fn a_stray_header_of_a_crashed_builder_is_replaced_by_the_winners() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    fs::write(cache.layout().inc("a"), "other").unwrap();
    assert!(cache.publish(&entry("a", &[], "header")).unwrap());
    assert!(matches!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(..)));
}

#[test]
fn invalid_libraries_are_quarantined_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let good = entry("a", &[], "header");
    let lib = cache.layout().lib("a");
    let mut flipped = good.library.clone();
    flipped[3] ^= 1;
    let foreign = entry("b", &[], "header").library;
    let damages: [(&[u8], Invalid); 4] = [
        (&good.library[..40], Invalid::NoRecord),
        (b"", Invalid::NoRecord),
        (&flipped, Invalid::Altered),
        (&foreign, Invalid::Foreign),
    ];
    for (bytes, damage) in damages {
        cache.ensure_dirs().unwrap();
        fs::write(&lib, bytes).unwrap();
        assert_eq!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Damaged(damage));
        assert!(cache.publish(&good).unwrap());
        assert!(matches!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(..)));
        assert_eq!(
            fs::read(cache.layout().quarantine().join(cache.layout().lib_basename("a"))).unwrap(),
            bytes
        );
        fs::remove_file(&lib).unwrap();
    }
    assert_eq!(fs::read_dir(cache.layout().quarantine()).unwrap().count(), 1, "the quarantine does not grow");
}

/// Defect C2 of the original: the reason why a rename had failed was lost.
#[test]
fn c2_an_error_names_the_path_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let lib = cache.layout().lib("a");
    cache.ensure_dirs().unwrap();
    fs::write(&lib, "damaged").unwrap();
    let taken = cache.layout().quarantine().join(cache.layout().lib_basename("a"));
    fs::create_dir_all(&taken).unwrap();
    let error = cache.quarantine("a", &Invalid::NoRecord).unwrap_err();
    assert_eq!(error.kind(), Kind::Cache);
    for part in [cache.layout().quarantine().to_str().unwrap(), "Is a directory (os error 21)"] {
        assert!(error.message().contains(part), "{error}");
    }
}

#[test]
fn quarantining_an_entry_that_was_repaired_meanwhile_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("a", &[], "header")).unwrap();
    cache.quarantine("a", &Invalid::Altered).unwrap();
    assert!(matches!(cache.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(..)));
    cache.quarantine("not-there", &Invalid::Altered).unwrap();
}

#[test]
fn a_missing_dependency_makes_the_entry_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("b", &[], "b")).unwrap();
    cache.publish(&entry("a", &["b"], "a")).unwrap();
    fs::remove_file(cache.layout().lib("b")).unwrap();
    assert_eq!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Damaged(Invalid::Dependency));
}

/// Loading a library is running it: what others can write is not loaded, and not built into either.
#[test]
fn directories_and_libraries_that_others_can_write_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("a", &[], "header")).unwrap();
    for path in [cache.layout().root().to_owned(), cache.layout().dir(Category::Lib), cache.layout().lib("a")]
    {
        let before = fs::metadata(&path).unwrap().permissions();
        for mode in [0o777, 0o720] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = cache.lookup("a", Verify::ForLoad).unwrap_err();
            assert_eq!(error.kind(), Kind::Cache);
            assert!(error.message().contains("chmod go-w"), "{error}");
        }
        fs::set_permissions(&path, before).unwrap();
        assert!(matches!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Hit(..)));
    }
    // Only root can give files away; where the tests run as root, that is tried too.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(cache.layout().lib("a"), Some(12345), None).unwrap();
        let error = cache.lookup("a", Verify::ForLoad).unwrap_err();
        assert!(error.message().contains("user 12345"), "{error}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error_that_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    fs::write(dir.path().join("cache"), "a file").unwrap();
    let error = cache.publish(&entry("a", &[], "a")).unwrap_err();
    assert_eq!(error.kind(), Kind::Cache);
    assert!(error.message().contains("cache"), "{error}");
    assert_eq!(cache.identify().unwrap_err().kind(), Kind::Cache);
}

/// A link, a pipe, a directory or a file of another user in the place of a library is not read.
#[test]
fn what_others_can_have_put_there_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.publish(&entry("a", &[], "a")).unwrap();
    let path = cache.layout().lib("a");
    let refuses = |reason: &str| {
        let error = cache.lookup("a", Verify::ForLoad).unwrap_err();
        assert!(error.kind() == Kind::Cache && error.message().contains(reason), "{error}");
    };
    let away = dir.path().join("away.so");
    fs::rename(&path, &away).unwrap();
    symlink(&away, &path).unwrap();
    refuses("symbolic link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refuses("not a file");
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    refuses("others can write it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(order_of(&cache.lookup("a", Verify::ForLoad).unwrap()), ["a"]);
    fs::set_permissions(cache.layout().root(), fs::Permissions::from_mode(0o777)).unwrap();
    refuses("others can write it");
}

#[test]
fn leftovers_of_dead_programs_go_and_those_of_living_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    let lib = cache.layout().dir(Category::Lib);
    let me = crate::owner::ProcessId::current();
    let dead = crate::owner::ProcessId { start: me.start + 1, ..me.clone() };
    let elsewhere = crate::owner::ProcessId { boot: "000000000000".to_owned(), ..me.clone() };
    for owner in [&me, &dead, &elsewhere] {
        fs::write(lib.join(format!(".staged-{}-x", owner.tag())), "").unwrap();
    }
    fs::write(lib.join(".staged-old"), "").unwrap();
    cache.sweep();
    let mut left: Vec<_> =
        fs::read_dir(&lib).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    let mut expected = vec![format!(".staged-{}-x", me.tag()), format!(".staged-{}-x", elsewhere.tag())];
    expected.push(".staged-old".to_owned());
    expected.sort();
    assert_eq!(left, expected);
}

/// An entry whose header has changed may have been replaced by a fresh one before it is quarantined.
#[test]
fn a_fresh_entry_is_not_quarantined_for_an_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let header = dir.path().join("ufc.h");
    let with_header = |text: &str| {
        fs::write(&header, text).unwrap();
        let mut record = record("a");
        record.dependencies.clear();
        record.inputs = vec![Input::of(&header).unwrap()];
        let library = record::append_record(sample(text.as_bytes()), &record).unwrap();
        EntryFiles { signature: "a".to_owned(), library, header: None, source: None, log: None }
    };
    cache.publish(&with_header("old")).unwrap();
    let fresh = with_header("fresh");
    let Lookup::Damaged(damage) = cache.lookup("a", Verify::ForLoad).unwrap() else { panic!("it is old") };
    assert!(damage.describe().contains("ufc.h has changed"), "{damage:?}");
    assert!(cache.publish(&fresh).unwrap());
    cache.quarantine("a", &damage).unwrap();
    assert_eq!(fs::read(cache.layout().lib("a")).unwrap(), fresh.library);
}

/// Turns a cache into one that version 1 has written: footers and directories.
pub(crate) fn make_old(cache: &Cache) {
    let layout = cache.layout();
    for (signature, path) in cache.library_files().unwrap() {
        fs::write(&path, of_version(&fs::read(&path).unwrap(), 1)).unwrap();
        let used = layout.root().join("used").join(signature);
        fs::create_dir_all(used.parent().unwrap()).unwrap();
        fs::write(used, "").unwrap();
    }
    for (name, text) in [
        ("aside/libdijitso-damaged.so", "damaged"),
        ("prologue/0123456789abcdef0123456789abcdef/preamble.h", "#include <cmath>"),
        ("prologue/.lock", ""),
    ] {
        let path = layout.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for name in ["atime", "quarantine", "pch"] {
        let _ = fs::remove_dir_all(layout.root().join(name));
    }
}
