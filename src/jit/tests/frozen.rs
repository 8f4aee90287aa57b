//! Frozen caches: hits are served, a miss is the same error on all ranks, and nothing is generated.

use super::*;
use crate::cache::explain::RequestState;

/// Makes a call with a frozen cache. Calling generate is a mistake.
pub(super) fn frozen(rank: &TestRank<'_>, name: &str) -> Result<Library> {
    let mut params = rank.params.clone();
    params.set("cache.frozen", "true").unwrap();
    let params = params.resolve().unwrap();
    let mut callbacks = generator(|_: GenerateRequest<'_>, _: &mut Source| panic!("generate is called"));
    rank.session.jit_on(rank.comm, &rank.state, Ok(Request { name, params: &params }), &mut callbacks)
}

pub(super) fn fill(size: usize, setup: Setup<'_>) {
    run(size, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None).unwrap());
}

#[test]
fn hits_are_served() {
    everywhere(|size, setup| {
        fill(size, setup);
        let found = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let origin = frozen(&rank, "form").unwrap().origin();
            (origin, rank.builds())
        });
        assert!(found.iter().all(|found| *found == (Origin::Disk, 0)), "{setup:?}: {found:?}");
    });
}

#[test]
fn a_directory_without_the_entry_receives_it() {
    for buildon in ["node", "root", "process"] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 3, buildon };
        fill(3, setup);
        fs::remove_dir_all(root.path().join("cache1")).unwrap();
        let found = run(3, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let library = frozen(&rank, "form").unwrap();
            (library.origin(), rank.builds())
        });
        let expected = [(Origin::Disk, 0), (Origin::Received, 0), (Origin::Disk, 0)];
        assert_eq!(found, expected, "{buildon}");
        let again =
            run(3, |comm| frozen(&TestRank::new(comm, setup, Fault::None), "form").map(|l| l.origin()));
        assert!(again.iter().all(|origin| *origin == Ok(Origin::Disk)), "{buildon}: {again:?}");
    }
}

#[test]
fn a_miss_is_the_same_error_on_all_ranks() {
    everywhere(|size, setup| {
        fill(size, setup);
        let results = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let first = frozen(&rank, "mass");
            let second = frozen(&rank, "form.2");
            // Hits are still served.
            assert!(frozen(&rank, "form").is_ok());
            (first, second, rank.builds())
        });
        let context = format!("{size} {setup:?}");
        let firsts: Vec<_> = results.iter().map(|result| result.0.clone()).collect();
        let first = same_error(&firsts, &context);
        assert_eq!((first.kind(), first.rank()), (Kind::Cache, 0), "{context}: {first}");
        assert!(
            first.message().contains("mass is not in the cache, and nothing else of the name"),
            "{first}"
        );
        assert!(!first.message().contains("missing before"), "{first}");
        let seconds: Vec<_> = results.iter().map(|result| result.1.clone()).collect();
        let second = same_error(&seconds, &context);
        assert!(second.message().contains("missing before in this process: mass;"), "{second}");
        assert!(results.iter().all(|result| result.2 == 0), "{context}");
    });
}

#[test]
fn the_error_names_a_missing_dependency() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let params = rank.params.resolve().unwrap();
        let code = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(b"code".to_vec());
            Ok(())
        };
        let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
            let element = Request { name: "element", params: &params };
            let element = rank.session.jit(Ok(element), &mut generator(code)).map_err(|_| 1)?;
            source.dependencies.push(element.signature().to_owned());
            code(asked, source)
        });
        let request = Request { name: "form", params: &params };
        rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).unwrap();
        comm.min(&mut [0]).unwrap();
        let _ = fs::remove_file(root.path().join("cache0/lib/libdijitso-element.so"));
        comm.min(&mut [0]).unwrap();
        frozen(&TestRank::new(comm, setup, Fault::None), "form")
    });
    let error = same_error(&results, "dependency");
    assert!(error.message().contains("dependency element is missing"), "{error}");
}

#[test]
fn without_a_communicator_a_builder_sends_the_error_of_its_frozen_cache() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let mut params = rank.params.clone();
        params.set("cache.frozen", "true").unwrap();
        let params = params.resolve().unwrap();
        let request = Request { name: "form", params: &params };
        let mut sent = Vec::new();
        let mut callbacks = generator(|_: GenerateRequest<'_>, _: &mut Source| panic!("generate is called"));
        callbacks.send = Some(Box::new(|closure: &[u8]| {
            sent = closure.to_vec();
            Ok(())
        }));
        let error = rank.session.jit(Ok(request), &mut callbacks).unwrap_err();
        drop(callbacks);
        assert_eq!(error.kind(), Kind::Cache);
        let mut callbacks =
            Callbacks { receive: Some(Box::new(|| Ok(sent.clone()))), ..Callbacks::default() };
        assert_eq!(rank.session.jit(Ok(request), &mut callbacks).unwrap_err(), error);
        drop(callbacks);
        let silent = rank.session.jit(Ok(request), &mut Callbacks::default()).unwrap_err();
        assert_eq!(silent.kind(), Kind::Cache, "{silent}");
        assert!(!root.path().join("cache0/lease").exists(), "no lease is taken if nothing is built");
    });
}

#[test]
fn a_request_is_explained_without_building_or_writing() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let mut params = rank.params.clone();
        params.set("cache.signature", "hash").unwrap();
        let of = |params: &Params| {
            let params = params.resolve().unwrap();
            rank.session.explain(Request { name: "form", params: &params }).unwrap()
        };
        assert_eq!(of(&params).state, RequestState::Miss);
        assert!(!root.path().join("cache0").exists());
        let resolved = params.resolve().unwrap();
        let mut callbacks = generates(b"code");
        let request = Request { name: "form", params: &resolved };
        rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).unwrap();
        assert_eq!(of(&params).state, RequestState::Hit);
        params.set("build.cxxflags_opt", "-O1").unwrap();
        params.set("build.debug", "false").unwrap();
        params.set("generator.degree", "2").unwrap();
        let differences = of(&params).nearest.unwrap().differences;
        let differences: Vec<&str> = differences.iter().map(|difference| difference.text.as_str()).collect();
        assert_eq!(differences.first(), Some(&"flag -O3 was removed"), "{differences:?}");
        assert!(differences.contains(&"flag -O1 was added"), "{differences:?}");
        assert!(differences.contains(&"generator parameter degree was added: 2"), "{differences:?}");
    });
}
