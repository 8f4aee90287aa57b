//! Who counts, what is noted as used, and libraries that go between a look and a load.

use super::*;
use crate::cache::stats::Counts;

/// A loader before whose first load somebody makes room.
struct Thief {
    takes: AtomicUsize,
}

impl Loader for Thief {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        let left = self.takes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            fs::remove_file(path).unwrap();
        }
        FakeLoader { fails: false }.load(path)
    }
}

fn counts(root: &Path, dir: usize) -> Counts {
    let params = Params::in_environment(&Environment {
        variables: [("HOME", "/nonexistent".to_owned())].into(),
        cwd: root.to_owned(),
        uid: 0,
        system_dir: "/nonexistent".into(),
    });
    let params = params.unwrap().resolve().unwrap();
    Cache::new(&root.join(format!("cache{dir}")), &params.cache).stats().total()
}

/// A hundred thousand ranks must not write to one disk: one of those that share it counts for all.
#[test]
fn one_rank_of_a_directory_counts_and_the_others_note_the_use_at_most() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
    let jit = || {
        run(4, |comm| {
            let rank = Rank::new(comm, setup, Fault::None);
            rank.jit("form", Fault::None).unwrap();
            rank.jit("form", Fault::None).unwrap();
            // Written down with the next event: this one.
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
    assert_eq!(counts(root.path(), 1), Counts { received: 2, ..zero }, "who shares it was not asked");
    if crate::fsutil::is_local(root.path()) {
        for dir in 0..2 {
            assert!(root.path().join(format!("cache{dir}/atime/form")).exists(), "{dir}");
        }
    }
}

#[test]
fn failures_and_nested_calls_are_counted() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
    run(2, |comm| {
        let rank = Rank::new(comm, setup, Fault::CompileError);
        assert!(rank.jit("form", Fault::CompileError).is_err());
    });
    let failed = counts(root.path(), 0);
    assert_eq!((failed.failures, failed.misses(), failed.builds), (1, 1, 0));
    run(1, |comm| {
        let rank = Rank::new(comm, setup, Fault::None);
        for name in ["first", "second"] {
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|_, source| {
                let mut inner = generator(|_, source| {
                    source.code = Some(b"element".to_vec());
                    Ok(())
                });
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

/// Whoever makes room does not ask: a rank may lose what all have found, and then all look again.
#[test]
fn what_goes_between_the_look_and_the_load_is_built_again() {
    for size in [1, 3] {
        for victim in [0, size - 1] {
            let root = scratch();
            let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
            run(size, |comm| drop(Rank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap()));
            let builds: usize = run(size, |comm| {
                let mut rank = Rank::new(comm, setup, Fault::None);
                if comm.rank() == victim {
                    let thief = Thief { takes: AtomicUsize::new(1) };
                    rank.session = Session::new(rank.compiler.clone(), Arc::new(thief));
                }
                let library = rank.jit("form", Fault::None).unwrap();
                assert!(library.path().is_file());
                rank.compiler.builds.load(Ordering::SeqCst)
            })
            .into_iter()
            .sum();
            assert_eq!(builds, 1, "{size} {victim}");
        }
    }
}

#[test]
fn without_a_communicator_it_is_built_again_too_and_not_for_ever() {
    // The second that is taken is what was built and has no name yet.
    for (takes, works) in [(1, true), (2, false)] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
        run(1, |comm| {
            Rank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap();
            let mut rank = Rank::new(comm, setup, Fault::None);
            let thief = Thief { takes: AtomicUsize::new(takes) };
            rank.session = Session::new(rank.compiler.clone(), Arc::new(thief));
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|_, source| {
                source.code = Some(b"form".to_vec());
                Ok(())
            });
            let request = Request { name: "form", params: &params };
            let result = rank.session.jit(Ok(request), &mut callbacks);
            assert_eq!(result.is_ok(), works, "{takes}: {result:?}");
            assert!(result.err().is_none_or(|error| error.message().contains("another program has removed")));
            assert_eq!(rank.compiler.builds.load(Ordering::SeqCst), 1);
        });
    }
}
