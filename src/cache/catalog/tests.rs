//! Listing shows exactly the files of entries, and removal removes all of them.

use super::*;
use crate::cache::tests::{cache, entry};
use crate::cache::{Lookup, Verify};

const HASHED: &str = "poisson_9871e9593e2afab75ec87be9a7d21385";
const OTHER: &str = "poisson_7dd8a143998f0c7705ac73a5a9eab3c1";

fn filled(root: &Path) -> Cache {
    let cache = cache(root);
    for signature in [HASHED, OTHER, "mass", "stiffness"] {
        assert!(cache.publish(&entry(signature, &[], "header")).unwrap());
    }
    cache
}

fn signatures(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.signature.as_str()).collect()
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert_eq!(cache.catalog().unwrap(), Catalog::default());
    assert!(!cache.layout().root().exists());
}

/// Defect C24 of the original: `.so.old` and staged files were listed.
#[test]
fn c24_what_is_no_entry_is_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let lib = cache.layout().dir(Category::Lib);
    for name in ["libdijitso-mass.so.old", "libdijitso-mass.so.priv.1", ".staged-x.so", "libother.so"] {
        fs::write(lib.join(name), "x").unwrap();
    }
    fs::create_dir(lib.join("libdijitso-folder.so")).unwrap();
    std::os::unix::fs::symlink("libdijitso-mass.so", lib.join("libdijitso-link.so")).unwrap();
    fs::write(cache.layout().inc("left"), "header").unwrap();
    let catalog = cache.catalog().unwrap();
    assert_eq!(signatures(&catalog.entries), ["mass", OTHER, HASHED, "stiffness"]);
    assert_eq!(signatures(&catalog.orphans), ["left"]);
    let mass = &catalog.entries[0];
    assert_eq!(mass.files.iter().map(|file| file.category).collect::<Vec<_>>(), Category::ALL);
    assert_eq!(mass.of(&[Category::Src]).map(|file| file.size).collect::<Vec<_>>(), [6]);
    assert!(mass.allocated() > 0 && mass.size() > 15 && mass.age() < Duration::from_secs(3600));
    let record = cache.record("mass").unwrap().unwrap();
    assert_eq!(record.signature, "mass");
    // A library under a false name, and one that dijitso has not made, have no record.
    fs::copy(cache.layout().lib("mass"), cache.layout().lib("false")).unwrap();
    fs::write(cache.layout().lib("bare"), "\x7fELF").unwrap();
    assert_eq!(cache.record("false").unwrap(), None);
    assert_eq!(cache.record("bare").unwrap(), None);
    assert_eq!(cache.record("none").unwrap(), None);
}

#[test]
fn signatures_names_patterns_and_beginnings_stand_for_entries() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = filled(dir.path()).catalog().unwrap();
    let of = |word: &str| -> Vec<String> {
        catalog.matching(word).unwrap().into_iter().map(|entry| entry.signature.clone()).collect()
    };
    for (word, expected) in [
        (HASHED, vec![HASHED]),
        ("mass", vec!["mass"]),
        ("stiff", vec!["stiffness"]),
        ("poisson_98", vec![HASHED]),
        ("poisson", vec![OTHER, HASHED]),
        ("poiss?n", vec![OTHER, HASHED]),
        ("*ss", vec!["mass", "stiffness"]),
        ("poisson_[89]*", vec![HASHED]),
    ] {
        assert_eq!(of(word), expected, "{word}");
    }
    for (word, hint) in [
        ("poisson_", HASHED),
        ("mas5", "mass"),
        ("stifness", "stiffness"),
        ("x*", "did you mean"),
        ("", "nothing in the cache"),
    ] {
        let error = catalog.matching(word).unwrap_err();
        assert_eq!(error.kind(), Kind::Cache);
        assert!(error.message().contains(hint), "{error}");
    }
    assert_eq!(catalog.matching("a[b").unwrap_err().kind(), Kind::InvalidArgument);
    let error = Catalog::default().matching("mass").unwrap_err();
    assert!(error.message().contains("empty"), "{error}");
    let words = ["poisson".to_owned(), HASHED.to_owned(), "mass".to_owned()];
    assert_eq!(catalog.select(&words).unwrap().len(), 3, "each once");
}

/// A plain name stands for itself although longer ones begin with it.
#[test]
fn an_exact_signature_is_not_ambiguous() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for signature in ["a", "a_b", "a_c"] {
        cache.publish(&entry(signature, &[], "h")).unwrap();
    }
    assert_eq!(cache.catalog().unwrap().matching("a").unwrap().len(), 1);
}

#[test]
fn what_is_stored_is_read_again_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for text in [&b"first"[..], b"", b"second \xff"] {
        cache.store_source("s", text).unwrap();
        cache.store_header("s", text).unwrap();
        cache.store_log("s", text).unwrap();
        assert_eq!(cache.read_source("s").unwrap().as_deref(), Some(text));
        assert_eq!(cache.read_header("s").unwrap().as_deref(), Some(text));
        assert_eq!(cache.read_log("s").unwrap().as_deref(), Some(text));
    }
    assert!(cache.layout().src("s", true).exists());
    let mut params = cache.layout().params().clone();
    params.src_storage = SourceStorage::Keep;
    params.src_postfix = ".c".to_owned();
    let plain = Cache::new(cache.layout().root(), &params);
    plain.store_source("s", b"third").unwrap();
    assert!(!cache.layout().src("s", true).exists(), "the newest is the only one");
    assert_eq!(cache.read_source("s").unwrap().as_deref(), Some(&b"third"[..]), "whatever the language is");
    assert_eq!(cache.read_source("t").unwrap(), None);
    assert!(cache.read_source("../t").is_err() && cache.store_log("../t", b"").is_err());
    fs::write(cache.layout().src("damaged", true), "no gzip").unwrap();
    assert_eq!(cache.read_source("damaged").unwrap_err().kind(), Kind::Cache);
}

#[test]
fn the_header_of_a_published_library_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    assert!(cache.store_header("mass", b"another").is_err());
    cache.store_header("mass", b"header").unwrap();
    cache.store_source("mass", b"annotated").unwrap();
    assert!(matches!(cache.lookup("mass", Verify::ForLink).unwrap(), Lookup::Hit(..)));
}

#[test]
fn files_are_extracted_uncompressed_and_overwrite_nothing_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    cache.store_source("mass", b"code").unwrap();
    let out = dir.path().join("out");
    let copies = cache.extract("mass", &Category::ALL, &out, Existing::Keep).unwrap();
    let names: Vec<_> = copies.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["mass.h", "mass.cpp", "libdijitso-mass.so", "mass.txt"]);
    assert_eq!(fs::read(out.join("mass.cpp")).unwrap(), b"code");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);

    fs::write(out.join("mass.txt"), "mine").unwrap();
    fs::remove_file(out.join("mass.h")).unwrap();
    let error = cache.extract("mass", &Category::ALL, &out, Existing::Keep).unwrap_err();
    assert!(error.message().contains("is there already"), "{error}");
    assert!(!out.join("mass.h").exists(), "all or nothing");
    cache.extract("mass", &[Category::Log], &out, Existing::Replace).unwrap();
    assert_eq!(fs::read(out.join("mass.txt")).unwrap(), b"log");
    let nowhere = dir.path().join("nowhere");
    assert!(cache.extract("none", &Category::ALL, &nowhere, Existing::Keep).unwrap().is_empty());
    assert!(!nowhere.exists());
}

#[test]
fn entries_are_removed_whole_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    cache.store_source("mass", b"code").unwrap();
    let removed = cache.remove("mass", &Category::ALL).unwrap();
    assert_eq!(removed.len(), 4);
    assert_eq!(removed[0], cache.layout().lib("mass"), "the library first");
    assert!(cache.remove("mass", &Category::ALL).unwrap().is_empty());
    cache.remove("stiffness", &[Category::Log]).unwrap();
    assert!(matches!(cache.lookup("stiffness", Verify::ForLink).unwrap(), Lookup::Hit(..)));
    assert_eq!(signatures(&cache.entries().unwrap()), [OTHER, HASHED, "stiffness"]);
    assert_eq!(fs::read_dir(dir.path().join("cache/lease")).unwrap().count(), 0);
    assert!(cache.remove("../x", &Category::ALL).is_err());
}

#[test]
fn what_is_being_built_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let path = cache.layout().lease("mass");
    let tree = Arc::new(cache.open_or_make().unwrap());
    let Acquire::Acquired(lease) = lease::take(&tree, &path, Duration::from_secs(60), || false) else {
        panic!("not ours")
    };
    let error = cache.remove("mass", &Category::ALL).unwrap_err();
    assert!(error.message().contains("is being built by process"), "{error}");
    assert!(cache.layout().lib("mass").exists());
    drop(lease);
    cache.remove("mass", &Category::ALL).unwrap();
    assert!(!cache.layout().lib("mass").exists());
}

#[test]
fn categories_are_named_as_documented() {
    assert_eq!(Category::parse_list("all").unwrap(), Category::ALL);
    assert_eq!(Category::parse_list("src, inc,src").unwrap(), [Category::Inc, Category::Src]);
    for (list, nearest) in
        [("include", "inc"), ("inc,sources", "src"), ("libs", "lib"), ("", "inc"), ("inc,", "inc")]
    {
        let error = Category::parse_list(list).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains(nearest), "{error}");
    }
}
