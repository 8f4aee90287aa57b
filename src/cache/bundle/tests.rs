use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cache::record::{self, EntryRecord, append_record};
use crate::cache::tests::cache_at;
use crate::cache::{Cache, EntryFiles, Lookup, Verify, file_digest};
use crate::elf::sample::sample;
use crate::fsutil::{LONGEST_TEXT, gzip};

/// A library of this machine, or of another.
fn elf(other: bool) -> Vec<u8> {
    let mut image = sample(b"");
    image[18] ^= u8::from(other);
    image
}

fn entry(signature: &str, needs: &[&str], image: Vec<u8>) -> EntryFiles {
    let record = EntryRecord {
        dependencies: needs.iter().map(|text| (*text).to_owned()).collect(),
        header: Some(file_digest(b"header")),
        ..record::tests::record(signature)
    };
    EntryFiles {
        signature: signature.to_owned(),
        library: append_record(image, &record).unwrap(),
        header: Some(b"header".to_vec()),
        source: Some((gzip(format!("source of {signature}").as_bytes()), true)),
        log: Some(b"log".to_vec()),
    }
}

const LONG: &str = "a_name_that_is_longer_than_the_header_of_a_tar_file_has_room_for_so_that_another_\
    member_has_to_give_it_0123456789";

fn filled(root: &Path) -> Cache {
    let cache = cache_at(root, &[]);
    for files in [entry(LONG, &[], elf(false)), entry("b", &[LONG], elf(false)), entry("c", &[], elf(false))]
    {
        assert!(cache.publish(&files).unwrap());
    }
    cache
}

fn note(_: &[EntryRecord]) -> Vec<(String, Vec<u8>)> {
    vec![("0123456789abcdef0123456789abcdef".to_owned(), b"what it said".to_vec())]
}

fn exported(cache: &Cache, signatures: &[&str]) -> Vec<u8> {
    let signatures: Vec<String> = signatures.iter().map(|text| (*text).to_owned()).collect();
    let mut bundle = Vec::new();
    let done = export(cache, &signatures, false, note, &mut bundle, &mut |_| {}).unwrap();
    assert_eq!(done.bytes, bundle.len() as u64);
    bundle
}

fn imported(cache: &Cache, bundle: &[u8]) -> Result<ImportReport, String> {
    import(cache, &mut Cursor::new(bundle), ImportOptions::default(), &mut |_| {})
        .map_err(|error| error.message().to_owned())
}

fn outcomes(report: &ImportReport) -> Vec<(&str, &ImportOutcome)> {
    report.entries.iter().map(|entry| (entry.signature.as_str(), &entry.outcome)).collect()
}

/// Lists a directory and everything below it: paths and contents.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(contents(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_bundle_carries_the_closure_to_another_cache() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = filled(from.path());
    let bundle = exported(&old, &["b"]);
    assert_eq!(bundle, exported(&old, &["b", LONG]), "equal entries make equal bundles");
    let new = cache_at(to.path(), &[]);
    let report = imported(&new, &bundle).unwrap();
    assert_eq!(outcomes(&report), [(LONG, &ImportOutcome::New), ("b", &ImportOutcome::New)]);
    assert_eq!((report.new_toolchains, report.other_toolchains), (1, 0));
    assert!(matches!(new.lookup("b", Verify::ForLink).unwrap(), Lookup::Hit(..)));
    assert_eq!(new.lookup("c", Verify::ForLink).unwrap(), Lookup::Miss);
    for signature in ["b", LONG] {
        assert_eq!(new.read_entry(signature).unwrap(), old.read_entry(signature).unwrap());
    }
    assert_eq!(new.read_toolchain(&note(&[])[0].0).unwrap().unwrap(), b"what it said");
    for dir in new.layout().dirs() {
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{}", dir.display());
    }
    let again = imported(&new, &bundle).unwrap();
    assert!(again.entries.iter().all(|entry| entry.outcome == ImportOutcome::There), "{again:?}");
    assert_eq!((again.new_toolchains, again.other_toolchains), (0, 0));
}

/// The members are what they are called: `tar xf` makes a cache of a bundle.
#[test]
fn tar_and_sha256sum_understand_it() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = exported(&filled(from.path()), &["b", "c"]);
    let root = to.path().join("cache");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(root.join("bundle.tar"), &bundle).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        std::process::Command::new(program).args(arguments).current_dir(&root).output()
    };
    let Ok(unpacked) = run("tar", &["xf", "bundle.tar", "--no-same-owner"]) else { return };
    assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{unpacked:?}");
    let checked = run("sha256sum", &["--check", "--strict", "dijitso-bundle.sha256"]).unwrap();
    assert!(checked.status.success(), "{checked:?}");
    fs::set_permissions(root.join("lib"), fs::Permissions::from_mode(0o700)).unwrap();
    let cache = cache_at(to.path(), &[]);
    assert!(matches!(cache.lookup("b", Verify::ForLink).unwrap(), Lookup::Hit(..)));
}

#[test]
fn what_is_there_stays() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = exported(&filled(from.path()), &["b", "c"]);
    let new = cache_at(to.path(), &[]);
    let other = entry("c", &[], b"\x7fELF another build of it".to_vec());
    assert!(new.publish(&other).unwrap());
    new.write_toolchain(&note(&[])[0].0, b"another answer").unwrap();
    let report = imported(&new, &bundle).unwrap();
    assert_eq!(
        outcomes(&report),
        [(LONG, &ImportOutcome::New), ("b", &ImportOutcome::New), ("c", &ImportOutcome::Other)]
    );
    assert_eq!((report.new_toolchains, report.other_toolchains), (0, 1));
    assert_eq!(new.read_entry("c").unwrap(), other);
    // A damaged one gives way.
    fs::write(new.layout().lib("c"), "cut").unwrap();
    let report = imported(&new, &bundle).unwrap();
    assert_eq!(report.entries[2].outcome, ImportOutcome::New);
}

#[test]
fn looking_changes_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = exported(&filled(from.path()), &["b"]);
    let new = cache_at(to.path(), &[]);
    let options = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let report = import(&new, &mut Cursor::new(&bundle), options, &mut |_| {}).unwrap();
    assert!(report.entries.iter().all(|entry| entry.outcome == ImportOutcome::New), "{report:?}");
    assert!(contents(to.path()).is_empty() && !to.path().join("cache").exists());
}

#[test]
fn what_was_built_for_another_machine_is_refused_unless_forced() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = filled(from.path());
    old.publish(&entry("x", &[], elf(true))).unwrap();
    old.publish(&entry("y", &["x"], elf(false))).unwrap();
    let bundle = exported(&old, &["y", "c"]);
    let new = cache_at(to.path(), &[]);
    let report = imported(&new, &bundle).unwrap();
    let ImportOutcome::Refused(machine) = &report.entries[0].outcome else { panic!("{report:?}") };
    assert!(machine.contains("this machine is"), "{machine}");
    let ImportOutcome::Refused(needs) = &report.entries[1].outcome else { panic!("{report:?}") };
    assert_eq!(needs, "it needs x, which is refused");
    assert_eq!(report.entries[2].outcome, ImportOutcome::New);
    assert_eq!(new.lookup("x", Verify::ForLoad).unwrap(), Lookup::Miss);
    let force = ImportOptions { force: true, ..ImportOptions::default() };
    let report = import(&new, &mut Cursor::new(&bundle), force, &mut |_| {}).unwrap();
    assert_eq!(
        outcomes(&report),
        [("x", &ImportOutcome::New), ("y", &ImportOutcome::New), ("c", &ImportOutcome::There)]
    );
}

#[test]
fn only_what_is_whole_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::write(cache.layout().lib(LONG), "cut").unwrap();
    let all = select(&cache, &["b".to_owned(), "c".to_owned()]).unwrap();
    let error = export(&cache, &all, false, note, &mut Vec::new(), &mut |_| {}).unwrap_err();
    assert!(error.message().contains(&format!("b: it needs {LONG}: it is cut short")), "{error}");
    let mut bundle = Vec::new();
    let done = export(&cache, &all, true, note, &mut bundle, &mut |_| {}).unwrap();
    assert_eq!(done.entries, ["c"]);
    assert_eq!(done.skipped[0].signature, "b");
    let to = tempfile::tempdir().unwrap();
    assert_eq!(imported(&cache_at(to.path(), &[]), &bundle).unwrap().entries.len(), 1);
}

#[test]
fn words_are_signatures_or_names() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let signatures = ["f_", "f_2_"].map(|begin| format!("{begin}{}", "a".repeat(32)));
    for signature in &signatures {
        cache.publish(&entry(signature, &[], elf(false))).unwrap();
    }
    let of = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        select(&cache, &words).map_err(|error| error.kind())
    };
    assert_eq!(of(&["f"]).unwrap(), [signatures[0].clone()]);
    assert_eq!(of(&[&signatures[1], "f_2", "f"]).unwrap(), [signatures[1].clone(), signatures[0].clone()]);
    assert_eq!(of(&["g"]), Err(Kind::Cache));
}

#[test]
fn libraries_that_are_named_otherwise_are_refused() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = exported(&filled(from.path()), &["c"]);
    let new = cache_at(to.path(), &[("cache.lib_basename", "other-")]);
    let error = imported(&new, &bundle).unwrap_err();
    assert!(error.contains("cache.lib_basename = \"dijitso-\""), "{error}");
    assert!(contents(to.path()).is_empty());
}

#[test]
fn a_library_that_its_compiler_had_not_finished_is_refused() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = cache_at(from.path(), &[]);
    old.publish(&entry("whole", &[], elf(false))).unwrap();
    old.publish(&entry("half", &[], elf(false)[..200].to_vec())).unwrap();
    let error = imported(&cache_at(to.path(), &[]), &exported(&old, &["whole", "half"])).unwrap_err();
    for part in ["half is not a complete shared library", "cut short", "nothing was imported"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(contents(to.path()).is_empty());
}

#[test]
fn sources_of_either_language_travel() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = cache_at(from.path(), &[("build.language", "c")]);
    let mut files = entry("c", &[], elf(false));
    let record = EntryRecord {
        build_spec: crate::cache::build_spec::BuildSpec { language: "c".into(), ..Default::default() },
        ..record::open(&files.library, "c").unwrap()
    };
    files.library = append_record(elf(false), &record).unwrap();
    old.publish(&files).unwrap();
    // The command is told nothing of languages.
    let bundle = exported(&cache_at(from.path(), &[]), &["c"]);
    let new = cache_at(to.path(), &[]);
    imported(&new, &bundle).unwrap();
    assert!(to.path().join("cache/src/c.c.gz").is_file(), "{:?}", contents(to.path()));
}

/// A bundle whose manifest was changed, with all digests made right again.
fn lie(bundle: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let size = tar::first_size(&mut &bundle[..], MANIFEST, FILE_MODE).unwrap().unwrap() as usize;
    let front = tar::front(MANIFEST, size as u64, FILE_MODE).len();
    let mut json: serde_json::Value = serde_json::from_slice(&bundle[front..front + size]).unwrap();
    let rest = front + size + tar::padding(size as u64).len();
    change(&mut json);
    let text = serde_json::to_vec(&json).unwrap();
    let mut lying = Vec::new();
    tar::write(&mut lying, MANIFEST, FILE_MODE, &text).unwrap();
    lying.extend(&bundle[rest..]);
    lying
}

#[test]
fn a_bundle_that_lies_is_refused_whole() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = exported(&filled(from.path()), &["b"]);
    let new = cache_at(to.path(), &[]);
    let refusal = |bundle: &[u8]| {
        let error = imported(&new, bundle).unwrap_err();
        assert!(contents(to.path()).is_empty(), "{error}");
        assert!(error.starts_with("the bundle is refused: ") && error.ends_with("; nothing was imported"));
        error
    };
    let with = |change: fn(&mut serde_json::Value)| refusal(&lie(&bundle, change));
    for (change, reason) in [
        (
            (|json| json["format"] = "dijitso bundle 1".into()) as fn(&mut serde_json::Value),
            "it is of another version (\"dijitso bundle 1\"",
        ),
        (|json| json["entries"][0]["signature"] = "../../evil".into(), "cannot be used"),
        (|json| json["entries"][1]["signature"] = "other".into(), "something else"),
        (|json| json["naming"]["lib_prefix"] = "../lib".into(), "a part of a file name is invalid"),
        (|json| json["entries"][0]["source"]["postfix"] = "/../x".into(), "is named"),
        (|json| json["entries"][1]["needs"] = serde_json::json!(["c"]), "does not come before it"),
        (|json| json["entries"][1]["needs"] = serde_json::json!([]), "contradict each other"),
        (|json| json["entries"][0]["target"] = "other".into(), "contradict each other"),
        (|json| json["entries"][0]["header"]["sha256"] = "0".repeat(64).into(), "contradict each other"),
        (|json| json["entries"][0]["log"]["sha256"] = "0".repeat(64).into(), "is altered or cut short"),
        (|json| json["entries"][0]["library"]["size"] = 1.into(), "something else"),
        (|json| json["entries"][0]["library"]["size"] = u64::MAX.into(), "are allowed"),
        (|json| json["entries"][1] = json["entries"][0].clone(), "is in it twice"),
        (|json| json["toolchains"][0]["key"] = "../../../../evil".into(), "a toolchain file is invalid"),
        (|json| json["toolchains"][0]["file"]["size"] = (1 << 20).into(), "a toolchain file is invalid"),
        (|json| json["toolchains"] = serde_json::json!([]), "digests are not those of its contents"),
        (|json| json["dijitso"] = "9.9".into(), "digests are not those of its contents"),
        (|json| json["entries"] = "none".into(), "not that of a bundle"),
        (|json| *json = serde_json::json!([1]), "it is not a bundle of dijitso"),
    ] {
        let error = with(change);
        assert!(error.contains(reason), "{error}, not: {reason}");
    }
    for (data, reason) in [
        (&b""[..], "it is cut short"),
        (&[0; 4096], "it is not a bundle of dijitso"),
        (&[b'x'; 4096], "it is not a bundle of dijitso"),
    ] {
        assert!(refusal(data).contains(reason));
    }
    let mut longer = bundle.clone();
    longer.push(0);
    assert!(refusal(&longer).contains("behind its end"));
    // An entry whose seal is of another signature, under right digests.
    let mut swapped = entry("b", &[LONG], elf(false));
    swapped.library = entry("d", &[LONG], elf(false)).library;
    let old = cache_at(from.path(), &[]);
    fs::write(old.layout().lib("b"), &swapped.library).unwrap();
    assert!(export(&old, &["b".to_owned()], false, note, &mut Vec::new(), &mut |_| {}).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        static BUNDLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bundle = BUNDLE.get_or_init(|| {
            let from = tempfile::tempdir().unwrap();
            exported(&filled(from.path()), &["b"])
        });
        let to = tempfile::tempdir().unwrap();
        let new = cache_at(to.path(), &[]);
        let mut flipped = bundle.clone();
        flipped[at.index(bundle.len())] ^= 1 << bit;
        prop_assert!(imported(&new, &flipped).is_err());
        prop_assert!(imported(&new, &bundle[..at.index(bundle.len())]).is_err());
        prop_assert!(contents(to.path()).is_empty());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let to = tempfile::tempdir().unwrap();
        let new = cache_at(to.path(), &[]);
        prop_assert!(imported(&new, &text).is_err());
        let mut bundle = Vec::new();
        tar::write(&mut bundle, MANIFEST, FILE_MODE, &text).unwrap();
        prop_assert!(imported(&new, &bundle).is_err());
    }
}

/// A bundle as another program can make it, of any files.
fn forged(manifest: &Manifest, like: &CacheParams, files: &[&[u8]]) -> Vec<u8> {
    let mut bundle = Vec::new();
    let text = serde_json::to_vec(manifest).unwrap();
    tar::write(&mut bundle, MANIFEST, FILE_MODE, &text).unwrap();
    for (member, data) in manifest.members(like).iter().zip(files) {
        tar::write(&mut bundle, &member.path, member.mode, data).unwrap();
    }
    tar::write(&mut bundle, DIGESTS, FILE_MODE, manifest.digests(&text, like).as_bytes()).unwrap();
    bundle.extend(tar::END);
    bundle
}

/// A bundle of one entry, with this source instead of its own.
fn with_source(cache: &Cache, source: &[u8]) -> (Manifest, Vec<u8>) {
    let like = cache.layout().params();
    let record = EntryRecord {
        source_sha256: file_digest(b"the source").sha256,
        dependencies: Vec::new(),
        ..record::tests::record("s")
    };
    let library = append_record(elf(false), &record).unwrap();
    let item = BundleEntry {
        signature: "s".to_owned(),
        name: record.name.clone(),
        needs: Vec::new(),
        target: record.toolchain.target.clone(),
        isa: String::new(),
        library: file_digest(&library),
        header: None,
        source: Some(BundleSource { postfix: ".cpp".to_owned(), packed: true, file: file_digest(source) }),
        log: None,
    };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        dijitso: "0".to_owned(),
        naming: Naming::of(like),
        entries: vec![item],
        toolchains: Vec::new(),
    };
    let bundle = forged(&manifest, like, &[&library, source]);
    (manifest, bundle)
}

#[test]
fn a_source_is_imported_if_it_is_the_recorded_one_and_not_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let refused = |source: &[u8], reason: &str| {
        let error = imported(&cache, &with_source(&cache, source).1).unwrap_err();
        assert!(error.contains("the source of s is refused") && error.contains(reason), "{error}");
        assert_eq!(contents(&dir.path().join("cache")), []);
    };
    refused(&gzip(b"another"), "it is not the source that this library was built from");
    refused(b"no gzip", "it cannot be unpacked");
    // Many members, each small: 16 KiB that stand for more than is allowed.
    let part = gzip(&vec![0; 16 << 20]);
    let number = usize::try_from(LONGEST_TEXT >> 24).unwrap() + 1;
    refused(&part.repeat(number), "that are allowed");
    let report = imported(&cache, &with_source(&cache, &gzip(b"the source")).1).unwrap();
    assert_eq!(outcomes(&report), [("s", &ImportOutcome::New)]);
    assert_eq!(cache.read_source("s").unwrap().unwrap(), b"the source");
}

#[test]
fn what_a_manifest_claims_has_limits() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let like = cache.layout().params();
    let (manifest, _) = with_source(&cache, &gzip(b"the source"));
    let refused = |change: &dyn Fn(&mut Manifest), reason: &str| {
        let mut manifest = manifest.clone();
        change(&mut manifest);
        let bundle = forged(&manifest, like, &[]);
        let error = imported(&cache, &bundle).unwrap_err();
        assert!(error.contains(reason), "{error}");
        let stream = Stream::begin(&mut bundle.as_slice(), like);
        assert!(stream.is_err_and(|error| error.message().contains(reason)), "{reason}");
    };
    refused(&|manifest| manifest.entries[0].library.size = u64::MAX, "are allowed");
    refused(&|manifest| manifest.entries[0].source.as_mut().unwrap().file.size = 1 << 40, "are allowed");
    refused(
        &|manifest| manifest.entries[0].library.sha256 = "\u{1b}[2J".repeat(8),
        "a digest of s is invalid",
    );
    refused(&|manifest| manifest.entries[0].target = "x".repeat(1 << 20), "too long a description");
    let many = |manifest: &mut Manifest| {
        let one = manifest.entries[0].clone();
        manifest.entries = vec![BundleEntry { source: None, ..one }; MOST_ENTRIES + 1];
    };
    refused(&many, "more than 65536 entries");
}

#[test]
fn a_source_that_would_be_refused_is_left_out_of_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    fs::write(cache.layout().src("c", true), "no gzip").unwrap();
    let other = tempfile::tempdir().unwrap();
    let report = imported(&cache_at(other.path(), &[]), &exported(&cache, &["c"])).unwrap();
    assert_eq!(outcomes(&report), [("c", &ImportOutcome::New)]);
}

#[test]
fn the_length_of_a_stream_is_known_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path());
    let bundle = exported(&cache, &["b", "c"]);
    let stream = Stream::begin(&mut bundle.as_slice(), cache.layout().params()).unwrap();
    assert_eq!(stream.size(), bundle.len() as u64);
}
