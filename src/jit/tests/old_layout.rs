//! A cache that an older version has filled: every call is a miss and builds again; a frozen cache says why
//! it does not.

use super::frozen::{fill, frozen};
use super::*;
use crate::cache::Cache;
use crate::cache::tests::make_old;

/// Fills each cache and turns it into one of version 1.
fn fill_old(size: usize, setup: Setup<'_>) {
    fill(size, setup);
    for dir in 0..setup.dirs.min(size) {
        let params = run(1, |comm| TestRank::new(comm, setup, Fault::None).params.resolve().unwrap());
        make_old(&Cache::new(&setup.root.join(format!("cache{dir}")), &params[0].cache));
    }
}

#[test]
fn it_is_built_again_and_then_found() {
    for buildon in ["node", "root"] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 1, buildon };
        fill_old(3, setup);
        for expected in [false, true] {
            let origins = run(3, |comm| {
                TestRank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap().origin()
            });
            let found = origins.iter().all(|origin| *origin == Origin::Disk);
            assert_eq!(found, expected, "{buildon}: {origins:?}");
        }
    }
}

#[test]
fn a_frozen_one_is_the_error_of_a_miss() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    fill_old(2, setup);
    // As on a disk that is mounted read-only.
    let lib = root.path().join("cache0/lib");
    for mode in [0o700, 0o500] {
        fs::set_permissions(&lib, fs::Permissions::from_mode(mode)).unwrap();
        let results = run(2, |comm| frozen(&TestRank::new(comm, setup, Fault::None), "form"));
        let error = same_error(&results, "old");
        assert_eq!(error.kind(), Kind::Cache);
        assert!(error.message().contains("it was made by another version of dijitso"), "{error}");
    }
    fs::set_permissions(&lib, fs::Permissions::from_mode(0o700)).unwrap();
}
