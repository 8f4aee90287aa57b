use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cache::build_spec::BuildSpec;
use crate::cache::record::{self, append_record};
use crate::cache::tests::cache_at;
use crate::cache::{EntryFiles, file_digest};
use crate::signature::Toolchain;

/// A name with a hash of 32 times this digit.
fn hashed(name: &str, digit: char) -> String {
    format!("{name}_{}", digit.to_string().repeat(32))
}

fn build(flags: &str, generator: &str) -> ComparedBuild {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    ComparedBuild {
        text: None,
        by_name: false,
        build_spec: BuildSpec {
            language: "cxx".into(),
            compiler: words("c++"),
            flags: words(flags),
            ..BuildSpec::default()
        },
        toolchain: Toolchain {
            identity: "gcc version 12.2.0".into(),
            target: "x86_64-linux-gnu".into(),
            isa: String::new(),
        },
        generator: generator.into(),
    }
}

/// An entry of this build, changed by `change`, published.
fn publish(cache: &Cache, signature: &str, build: &ComparedBuild, change: impl FnOnce(&mut EntryRecord)) {
    let mut record = EntryRecord {
        name: name_of(signature).to_owned(),
        dependencies: Vec::new(),
        build_spec: build.build_spec.clone(),
        toolchain: build.toolchain.clone(),
        generator: build.generator.clone(),
        built_at: 1_700_000_000,
        ..record::tests::record(signature)
    };
    let header = record.header.take().map(|_| b"header".to_vec());
    change(&mut record);
    let files = EntryFiles {
        signature: signature.to_owned(),
        library: append_record(b"\x7fELF".to_vec(), &record).unwrap(),
        header: header.or_else(|| record.header.as_ref().map(|_| b"header".to_vec())),
        source: None,
        log: None,
    };
    assert!(cache.publish(&files).unwrap());
}

fn wanted(signature: &str, build: &ComparedBuild) -> ExplainRequest {
    ExplainRequest {
        name: name_of(signature).to_owned(),
        signature: signature.to_owned(),
        build: build.clone(),
    }
}

/// The text of an explanation, with the folder of the test called `@`.
fn explained(cache: &Cache, root: &Path, signature: &str, build: &ComparedBuild) -> String {
    let text = explain(cache, &wanted(signature, build)).unwrap().text();
    text.replace(&root.display().to_string(), "@")
}

#[test]
fn a_miss_is_explained_against_the_nearest_entry() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let (far, near) = (build("-O0 -g", r#"{"degree":3}"#), build("-O2", r#"{"degree":1}"#));
    publish(&cache, &hashed("poisson", 'a'), &far, |_| {});
    publish(&cache, &hashed("poisson", 'b'), &near, |_| {});
    publish(&cache, &hashed("stokes", 'c'), &near, |_| {});
    let mut now = build("-O2 -march=native", r#"{"degree":2}"#);
    now.toolchain.identity = "gcc version 12.3.0".into();
    now.toolchain.isa = "-march=znver3".into();
    let expected = "poisson_dddddddddddddddddddddddddddddddd is a miss: it is not in @/cache.\n\
        The nearest of 2 entries of this name is poisson_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, built on \
        2023-11-14 22:13 UTC by host. The request differs from it in:\n  \
        flag -march=native was added\n  \
        compiler: gcc version 12.2.0 -> gcc version 12.3.0\n  \
        native flags such as -march=native stand for another processor here: -march=znver3\n  \
        generator parameter degree: 1 -> 2";
    assert_eq!(explained(&cache, dir.path(), &hashed("poisson", 'd'), &now), expected);
    let brief = explain(&cache, &wanted(&hashed("poisson", 'd'), &now)).unwrap().brief();
    assert!(
        brief.contains("flag -march=native was added; compiler: gcc") && !brief.contains('\n'),
        "{brief}"
    );
}

#[test]
fn without_an_entry_of_the_name_a_similar_name_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    let none =
        "poisson_dddddddddddddddddddddddddddddddd is a miss: @/cache has no entry of the name poisson.";
    assert_eq!(explained(&cache, dir.path(), &hashed("poisson", 'd'), &now), none);
    publish(&cache, &hashed("poison", 'a'), &now, |_| {});
    let similar = none.replace("poisson.", "poisson; did you mean poison?");
    assert_eq!(explained(&cache, dir.path(), &hashed("poisson", 'd'), &now), similar);
}

#[test]
fn a_hit_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    publish(&cache, &hashed("f", 'a'), &now, |_| {});
    let text = explained(&cache, dir.path(), &hashed("f", 'a'), &now);
    assert_eq!(text, "f_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is a hit: it is in @/cache, and valid.");
}

#[test]
fn changed_headers_and_rebuilt_libraries_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    let files = ["ufc.h", "gone.h", "libpetsc.so"].map(|name| dir.path().join(name));
    for file in &files {
        fs::write(file, "one").unwrap();
    }
    let signature = hashed("f", 'a');
    publish(&cache, &signature, &now, |record| {
        record.inputs = files.iter().map(|file| Input::of(file).unwrap()).collect();
    });
    fs::write(&files[0], "other").unwrap();
    fs::remove_file(&files[1]).unwrap();
    fs::write(&files[2], "other").unwrap();
    let change = "(sha256 7692c3ad3540b is now sha256 d9298a10d1b07)";
    // What is gone does not matter: nothing can be built from it.
    let expected = format!(
        "{signature} is in @/cache and would be built again:\n  header @/ufc.h has changed {change}\n  \
         linked library @/libpetsc.so was rebuilt {change}"
    );
    assert_eq!(explained(&cache, dir.path(), &signature, &now), expected);
    let frozen = cache_at(dir.path(), &[("cache.frozen", "true")]);
    let found = explain(&frozen, &wanted(&signature, &now)).unwrap().reasons;
    assert_eq!(found.len(), 2, "where nothing is built, what is gone does not matter: {found:?}");
}

#[test]
fn missing_and_damaged_dependencies_are_named_however_deep_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    let names = ['a', 'b', 'c', 'd'].map(|digit| hashed("f", digit));
    let needs = |of: &'static [usize]| {
        let all: Vec<String> = of.iter().map(|at| names[*at].clone()).collect();
        move |record: &mut EntryRecord| record.dependencies = all
    };
    publish(&cache, &names[3], &now, |_| {});
    publish(&cache, &names[2], &now, |_| {});
    publish(&cache, &names[1], &now, needs(&[2, 3]));
    publish(&cache, &names[0], &now, needs(&[1]));
    fs::remove_file(cache.layout().lib(&names[2])).unwrap();
    fs::write(cache.layout().lib(&names[3]), "cut").unwrap();
    let text = explained(&cache, dir.path(), &names[0], &now);
    let expected = format!(
        "{} is in @/cache and would be built again:\n  dependency {} is missing\n  \
         dependency {} is damaged: it is cut short or was not made by dijitso",
        names[0], names[2], names[3]
    );
    assert_eq!(text, expected);
}

#[test]
fn damage_of_the_entry_itself_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    let signature = hashed("f", 'a');
    publish(&cache, &signature, &now, |record| record.header = Some(file_digest(b"header")));
    fs::remove_file(cache.layout().inc(&signature)).unwrap();
    let expected = format!(
        "{signature} is in @/cache and would be built again:\n  {signature}: its header is missing or altered"
    );
    assert_eq!(explained(&cache, dir.path(), &signature, &now), expected);
}

#[test]
fn with_the_name_for_a_signature_nothing_else_is_looked_at_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[("cache.signature", "name")]);
    let old = ComparedBuild { by_name: true, ..build("-O2", r#"{"degree":1}"#) };
    publish(&cache, "form", &old, |_| {});
    let now = ComparedBuild { by_name: true, ..build("-O3", r#"{"degree":1}"#) };
    let expected = "form is a hit: it is in @/cache, and valid.\n\
        It differs from the request in these, which cache.signature = \"name\" ignores:\n  \
        flag -O2 was removed\n  flag -O3 was added";
    assert_eq!(explained(&cache, dir.path(), "form", &now), expected);
    // The same name in the other mode.
    let hash = cache_at(dir.path(), &[]);
    let text = explained(&hash, dir.path(), &hashed("form", 'a'), &build("-O2", r#"{"degree":1}"#));
    assert!(text.ends_with("The request differs from it in:\n  cache.signature: name -> hash"), "{text}");
}

#[test]
fn a_failed_build_is_told_with_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    let signature = hashed("f", 'a');
    let folder = cache.layout().failure(&signature);
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(dir.path().join("cache"), fs::Permissions::from_mode(0o700)).unwrap();
    let readme =
        format!("Building {signature} failed: c++ ended with exit code 1: x.cpp:1: error: 'y'\n\nmore");
    fs::write(folder.join("README"), readme).unwrap();
    let text = explained(&cache, dir.path(), &signature, &now);
    let (said, where_) = text.split_once("Building it failed on ").unwrap();
    assert!(said.contains("is a miss"), "{text}");
    let expected = format!(
        "c++ ended with exit code 1: x.cpp:1: error: 'y'\n\
         To reproduce that, run @/cache/jitfailure-{signature}/recompile.sh"
    );
    assert_eq!(where_.split_once("UTC: ").unwrap().1, expected);
    // A folder of somebody who had no folder to write.
    fs::remove_dir_all(&folder).unwrap();
    let error = crate::error::Error::new(crate::error::Kind::Compile, "cannot build f: no");
    let failed = super::super::negative_cache::FailureRecord::new("of".into(), Vec::new(), &[], error);
    cache.remember_failure(&signature, &failed);
    let text = explained(&cache, dir.path(), &signature, &now);
    assert!(text.ends_with("UTC: cannot build f: no"), "{text}");
}

#[test]
fn the_account_of_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", r#"{"degree":1}"#);
    let names = ['a', 'b', 'c'].map(|digit| hashed("f", digit));
    let header = dir.path().join("ufc.h");
    fs::write(&header, "one").unwrap();
    publish(&cache, &names[2], &now, |_| {});
    publish(&cache, &names[1], &now, |record| {
        record.dependencies = vec![names[2].clone()];
        record.header = Some(file_digest(b"header"));
        record.inputs = vec![Input::of(&header).unwrap()];
        record.command = vec!["c++".into(), "-DTEXT=two words".into()];
    });
    publish(&cache, &names[0], &now, |record| record.nested = vec![names[1].clone()]);
    let found = entry_report(&cache, &names[1]).unwrap();
    let expected = "f_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb is in @/cache, and valid.\n  \
        name       f\n  \
        built      2023-11-14 22:13 UTC on host, in 0.50 s, by dijitso 0.1.0\n  \
        compiler   gcc version 12.2.0\n  \
        target     x86_64-linux-gnu\n  \
        command    c++ '-DTEXT=two words'\n  \
        generator  {\"degree\":1}\n  \
        source     sha256 \n  \
        header     6 B, sha256 afe0cb5a1acf1ed1ae69b58d9ba9b5d3a15fb8cfd0a0a4a9f2d2d5c4a2d7d0ab\n  \
        has read   @/ufc.h (sha256 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed)\n  \
        needs      f_cccccccccccccccccccccccccccccccc (linked; valid)\n  \
        needed by  f_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let expected = expected.replace(
        "afe0cb5a1acf1ed1ae69b58d9ba9b5d3a15fb8cfd0a0a4a9f2d2d5c4a2d7d0ab",
        &file_digest(b"header").sha256,
    );
    assert_eq!(found.text().replace(&dir.path().display().to_string(), "@"), expected);
    assert_eq!(found.to_json()["record"]["name"], "f");
    fs::remove_file(cache.layout().lib(&names[2])).unwrap();
    let found = entry_report(&cache, &names[1]).unwrap();
    assert!(found.text().contains("(linked; missing or damaged)"), "{}", found.text());
    let absent = entry_report(&cache, &names[2]).unwrap();
    assert!(!absent.present && absent.needed_by == [names[1].clone()], "{absent:?}");
    assert!(entry_report(&cache, "../evil").is_err());
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_at(dir.path(), &[]);
    let now = build("-O2", "{}");
    assert_eq!(explain(&cache, &wanted(&hashed("f", 'a'), &now)).unwrap().state, RequestState::Miss);
    assert!(!dir.path().join("cache").exists());
}

#[test]
fn times_are_written_as_people_read_them() {
    assert_eq!(utc(0), "1970-01-01 00:00 UTC");
    assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
    assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
    assert_eq!(utc(1_704_067_199), "2023-12-31 23:59 UTC");
    assert_eq!(utc(4_102_444_800), "2100-01-01 00:00 UTC");
}
