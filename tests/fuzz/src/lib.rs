//! Functions of the fuzz targets.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use dijitso::codec::digest;
use dijitso::params::{Environment, Params, ValueOrigin};
use serde_json::Value;

/// Returns the default parameters, independent of the files and variables of this machine.
pub fn params() -> Params {
    static DEFAULTS: LazyLock<Params> = LazyLock::new(defaults);
    DEFAULTS.clone()
}

/// Returns whether these parameters equal [`params`].
pub fn is_unchanged(params: &Params) -> bool {
    static SHOWN: LazyLock<Value> = LazyLock::new(|| defaults().to_json());
    params.to_json() == *SHOWN
}

fn defaults() -> Params {
    let environment = Environment {
        variables: [("HOME", "/home/u".to_owned())].into(),
        cwd: "/nonexistent/here".into(),
        uid: 0,
        system_dir: "/nonexistent".into(),
    };
    Params::in_environment(&environment).expect("the defaults are good")
}

/// Checks that any parameters can be shown, that the shown values can be set again, and that the result is
/// the same, down to the digests that signatures are made of.
pub fn check_params(params: &Params) {
    let shown = params.to_json();
    let mut again = self::params();
    again.merge_json(&shown.to_string()).expect("what is shown can be set");
    assert_eq!(again.to_json(), shown, "merged from JSON");

    let mut by_text = self::params();
    for key in dijitso::params::schema::KEYS.iter().map(|key| key.name).chain(["generator"]) {
        if params.origin(key) == Some(&ValueOrigin::Default) {
            continue;
        }
        let text = params.get(key).expect("every key has a value");
        by_text.set(key, &text).expect("what is shown can be set");
        assert_eq!(by_text.get(key), Some(text), "{key} set from text");
    }
    assert_eq!(by_text.to_json(), shown, "set from text");

    match (params.resolve(), again.resolve(), by_text.resolve()) {
        (Ok(first), Ok(second), Ok(third)) => {
            for other in [second, third] {
                assert_eq!(first.generator, other.generator);
                assert_eq!(first.shared_digest, other.shared_digest);
                assert_eq!(first.request_digest, other.request_digest);
                // These two depend on the origin of a value, not on the value.
                let mut cache = (*other.cache).clone();
                cache.home.clone_from(&first.cache.home);
                cache.pch_max_size_named = first.cache.pch_max_size_named;
                assert_eq!((&*first.cache, &first.build), (&cache, &other.build));
            }
            let cache = &first.cache;
            assert!(cache.cache_dir.is_absolute(), "{:?}", cache.cache_dir);
            for dir in [&cache.inc_dir, &cache.src_dir, &cache.lib_dir, &cache.log_dir, &cache.comm_dir] {
                assert!(
                    !dir.starts_with('/') && dir.split('/').all(|part| part != ".."),
                    "{dir} leaves the cache"
                );
            }
            for part in [&cache.lib_prefix, &cache.lib_basename, &cache.lib_postfix, &cache.src_postfix] {
                assert!(!part.contains(['/', '\0']), "{part:?} is no part of a file name");
            }
            assert!(!first.build.compiler.is_empty());
        }
        (Err(first), Err(second), Err(third)) => assert!(first == second && first == third),
        _ => panic!("the same parameters, and only some of them can be used"),
    }
}

/// Returns the blob that a builder would send for this payload, with its digest.
pub fn blob_of(payload: &[u8]) -> Vec<u8> {
    let mut writer = dijitso::codec::Writer::new(b"DIJITSO-BLOB");
    writer.u32(1);
    writer.bytes(payload);
    let mut blob = writer.finish();
    blob.extend_from_slice(&digest(&blob));
    blob
}

/// Returns an image with any `record` appended to it, and a correct digest. `length` replaces the length of
/// the record in the footer.
pub fn entry_of(record: &[u8], length: Option<u64>) -> Vec<u8> {
    let mut file = b"\x7fELF image".to_vec();
    file.extend_from_slice(record);
    dijitso::cache::record::append_footer(&mut file, 0, length.unwrap_or(record.len() as u64));
    file
}
