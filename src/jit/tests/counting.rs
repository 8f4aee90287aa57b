//! Statistics, touched entries, and eviction between a lookup and a load.

use super::*;
use crate::cache::stats::Counts;

fn counts(root: &Path, dir: usize) -> Counts {
    let params = test_params(root, &[]).resolve().unwrap();
    Cache::new(&root.join(format!("cache{dir}")), &params.cache).stats().total()
}

/// A hundred thousand ranks must not write to one disk: one of the ranks that share it counts.
#[test]
fn one_rank_of_a_directory_counts_and_the_others_touch_at_most() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
    let jit = || {
        run(4, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            rank.jit("form", Fault::None).unwrap();
            rank.jit("form", Fault::None).unwrap();
            // The next event writes it: this one.
            rank.jit("other", Fault::None).unwrap();
        });
    };
    jit();
    let zero = Counts::default();
    let built = counts(root.path(), 0);
    assert_eq!((built.builds, built.disk_hits, built.misses()), (2, 0, 2));
    assert_eq!(built.memory_hits, 1, "of the rank that counts");
    assert_eq!(counts(root.path(), 1), Counts { received: 2, ..zero });
    jit();
    let warm = counts(root.path(), 0);
    assert_eq!((warm.builds, warm.disk_hits, warm.memory_hits), (2, 2, 2));
    assert_eq!(counts(root.path(), 1), Counts { received: 2, ..zero }, "nothing has asked who shares it");
    if crate::fsutil::is_local(root.path()) {
        for dir in 0..2 {
            assert!(root.path().join(format!("cache{dir}/atime/form")).exists(), "{dir}");
        }
    }
}

#[test]
fn failures_and_nested_calls_are_counted() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::CompileError);
        assert!(rank.jit("form", Fault::CompileError).is_err());
    });
    let failed = counts(root.path(), 0);
    assert_eq!((failed.failures, failed.misses(), failed.builds), (1, 1, 0));
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        for name in ["first", "second"] {
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|_, source| {
                let mut inner = generates(b"element");
                let request = Request { name: "element", params: &params };
                let element = rank.session.jit(Ok(request), &mut inner).unwrap();
                source.dependencies.push(element.signature().to_owned());
                source.code = Some(b"form".to_vec());
                Ok(())
            });
            rank.session.jit(Ok(Request { name, params: &params }), &mut callbacks).unwrap();
        }
    });
    let nested = counts(root.path(), 0);
    assert_eq!((nested.builds, nested.failures), (3, 1));
    assert_eq!(nested.memory_hits, 1, "the element of the second was loaded already");
    assert!(root.path().join("cache0/atime/element").exists(), "it must not go before it is linked");
}

/// Eviction may take from a rank what all have found: then all look again.
#[test]
fn an_entry_that_is_evicted_between_lookup_and_load_is_built_again() {
    for size in [1, 3] {
        for victim in [0, size - 1] {
            let root = scratch();
            let setup = Setup::one_dir(root.path());
            run(size, |comm| drop(TestRank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap()));
            let builds: usize = run(size, |comm| {
                let mut rank = TestRank::new(comm, setup, Fault::None);
                if comm.rank() == victim {
                    rank.set_loader(EvictingLoader::new(None, 1));
                }
                let library = rank.jit("form", Fault::None).unwrap();
                assert!(library.path().is_file());
                rank.builds()
            })
            .into_iter()
            .sum();
            assert_eq!(builds, 1, "{size} {victim}");
        }
    }
}

#[test]
fn without_a_communicator_it_is_built_again_once() {
    // The second eviction takes what was built and has no name yet.
    for (evictions, works) in [(1, true), (2, false)] {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        run(1, |comm| {
            TestRank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap();
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.set_loader(EvictingLoader::new(None, evictions));
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generates(b"form");
            let request = Request { name: "form", params: &params };
            let result = rank.session.jit(Ok(request), &mut callbacks);
            assert_eq!(result.is_ok(), works, "{evictions}: {result:?}");
            assert!(result.err().is_none_or(|error| error.message().contains("another program has removed")));
            assert_eq!(rank.builds(), 1);
        });
    }
}
