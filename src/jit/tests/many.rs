//! Batches: many libraries in one call, of which some may fail.

use super::*;

const NAMES: [&str; 5] = ["mass", "stiffness", "load", "norm", "flux"];

/// A loader that refuses one library, as if a symbol was missing on this rank alone.
struct RefusingLoader(&'static str);

impl Loader for RefusingLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        if path.to_string_lossy().contains(self.0) {
            return Err(Error::new(Kind::Load, format!("{}: undefined symbol", self.0)));
        }
        Ok(Arc::new(FakeImage))
    }

    fn resolve(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
}

/// Makes one call for these names. The generator fails for `bad`.
fn jit_many(rank: &TestRank<'_>, names: &[&str], bad: &str) -> Result<Vec<Result<Library>>> {
    let params = rank.params.resolve().unwrap();
    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
        if asked.name == bad {
            source.error = Some("no such form".to_owned());
            return Err(3);
        }
        source.code = Some(format!("code of {}", asked.name).into_bytes());
        source.header = Some(b"header".to_vec());
        Ok(())
    });
    let batch = Ok(Batch { names, params: &params });
    rank.session.jit_many_on(rank.comm, &rank.state, batch, &mut callbacks)
}

/// Returns the origins of a batch in which nothing has failed.
fn origins(results: Result<Vec<Result<Library>>>) -> Vec<Origin> {
    results.unwrap().into_iter().map(|library| library.unwrap().origin()).collect()
}

/// A library that one rank alone cannot load fails on all ranks, and that one alone.
#[test]
fn one_rank_that_cannot_load_one_library_fails_that_library_on_all() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        run(size, |comm| origins(jit_many(&TestRank::new(comm, setup, Fault::None), &NAMES, "")));
        let results = run(size, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            if comm.rank() == size - 1 {
                rank.set_loader(Arc::new(RefusingLoader("load")));
            }
            jit_many(&rank, &NAMES, "").unwrap()
        });
        for (index, name) in NAMES.iter().enumerate() {
            let of_name: Vec<_> = results.iter().map(|results| results[index].clone()).collect();
            if *name == "load" {
                let error = same_error(&of_name, &context);
                assert_eq!((error.kind(), error.rank()), (Kind::Load, size as i32 - 1), "{context}");
            } else {
                assert!(of_name.iter().all(Result::is_ok), "{context}: {of_name:?}");
            }
        }
    });
}

#[test]
fn a_generator_that_fails_for_one_library_does_not_stop_the_others() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let results = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let results = jit_many(&rank, &NAMES, "norm").unwrap();
            let again = jit_many(&rank, &NAMES, "").unwrap();
            (results, origins(Ok(again)))
        });
        let errors: Vec<_> = results.iter().map(|(results, _)| results[3].clone()).collect();
        let error = same_error(&errors, &context);
        assert_eq!(error.kind(), Kind::Generate, "{context}");
        assert!(error.message().contains("no such form"), "{context}: {error}");
        for (results, again) in &results {
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4, "{context}");
            // The next call asks for the one that has failed, and for no other.
            let from_memory = again.iter().filter(|origin| **origin == Origin::Memory).count();
            assert_eq!(from_memory, 4, "{context}: {again:?}");
            let message = batch_error(&NAMES, results).unwrap();
            assert!(message.message().starts_with("1 of 5 libraries failed: norm: "), "{message}");
        }
    });
}

/// The libraries of a program cost one reduction if all ranks have them: as much as one library.
#[test]
fn a_warm_batch_is_one_reduction_and_so_is_a_warm_call() {
    for size in [2, 5] {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        run(size, |comm| {
            origins(jit_many(&TestRank::new(comm, setup, Fault::None), &NAMES, ""));
        });
        let counts = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let before = comm.collectives();
            assert_eq!(origins(jit_many(&rank, &NAMES[..4], "")), [Origin::Disk; 4]);
            let many = comm.collectives() - before;
            assert_eq!(rank.jit(NAMES[4], Fault::None).unwrap().origin(), Origin::Disk);
            let one = comm.collectives() - before - many;
            // In memory, all of them: no communication.
            assert_eq!(origins(jit_many(&rank, &NAMES, "")), [Origin::Memory; 5]);
            (many, one, comm.collectives() - before - many - one)
        });
        assert_eq!(counts, vec![(1, 1, 0); size]);
    }
}

/// A new communicator has to learn nothing if each rank's cache knows the compiler. If one does not, rank 0
/// tells all what it is.
#[test]
fn the_first_warm_call_on_a_communicator_is_one_reduction_too() {
    let root = scratch();
    let fake = root.path().join("fake");
    fs::write(&fake, "").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o700)).unwrap();
    let call = |dirs| {
        run(2, |comm| {
            let setup = Setup { root: root.path(), dirs, buildon: "node" };
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("cache.signature", "hash").unwrap();
            rank.params.set("build.cxx", fake.to_str().unwrap()).unwrap();
            let before = comm.collectives();
            let library = rank.jit("form", Fault::None).unwrap();
            let collectives = comm.collectives() - before;
            // All have left the last collective before one begins another.
            comm.min(&mut [0]).unwrap();
            (library.origin(), collectives)
        })
    };
    call(2);
    assert_eq!(call(1), [(Origin::Disk, 1); 2], "one cache, which knows the compiler");
    // Only rank 0 has asked the compiler, and the other cache does not know it.
    assert_eq!(call(2), [(Origin::Disk, 3); 2], "the check, the toolchain, and the agreement on the load");
}

/// A cold batch takes as many collectives as one cold call.
#[test]
fn a_cold_batch_takes_as_many_collectives_as_one_call() {
    for buildon in ["node", "root"] {
        let collectives = |names: &'static [&'static str]| {
            let root = scratch();
            let setup = Setup { root: root.path(), dirs: 1, buildon };
            let counts = run(3, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None);
                let before = comm.collectives();
                for origin in origins(jit_many(&rank, names, "")) {
                    assert!([Origin::Built, Origin::Disk].contains(&origin));
                }
                let count = comm.collectives() - before;
                // All have left the last collective before one asks again.
                comm.min(&mut [0]).unwrap();
                count
            });
            counts[0]
        };
        assert_eq!(collectives(&NAMES), collectives(&NAMES[..1]), "{buildon}");
    }
}

#[test]
fn the_builds_of_a_batch_go_round_the_ranks_that_share_a_directory() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let builds = run(3, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        origins(jit_many(&rank, &NAMES, ""));
        rank.builds()
    });
    assert_eq!(builds, [2, 2, 1]);
}

#[test]
fn a_name_that_is_given_twice_is_built_once() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let results = jit_many(&rank, &["mass", "load", "mass"], "").unwrap();
        let paths: Vec<_> =
            results.iter().map(|library| library.as_ref().unwrap().path().to_owned()).collect();
        assert_eq!(paths[0], paths[2]);
        assert_eq!(jit_many(&rank, &[], "").unwrap().len(), 0);
        rank.builds()
    });
    assert_eq!(results.iter().sum::<usize>(), 2);
}

#[test]
fn ranks_that_ask_for_other_names_are_told_so() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let message = |other: &'static [&'static str]| {
        let results = run(3, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let names = if comm.rank() == 2 { other } else { &NAMES[..] };
            jit_many(&rank, names, "").map(drop)
        });
        let error = same_error(&results, "other names");
        assert_eq!(error.kind(), Kind::RanksDisagree);
        error.message().to_owned()
    };
    let text = message(&["mass", "stiffness", "load", "norm", "f"]);
    assert!(text.contains("name is \"flux\" on rank 0 and \"f\" on rank 2"), "{text}");
    let text = message(&NAMES[..2]);
    assert!(text.contains("rank 0 asks for 5 libraries and rank 2 for 2"), "{text}");
    let text = message(&[]);
    assert!(text.contains("rank 0 asks for 5 libraries and rank 2 for 0"), "{text}");
}

/// Without a communicator a batch does the same, and compiles at the same time.
#[test]
fn a_batch_without_a_communicator_builds_what_can_be_built() {
    let root = scratch();
    let params = test_params(
        root.path(),
        &[("cache.cache_dir", "cache"), ("cache.signature", "name"), ("build.cxx", "/nonexistent/fake")],
    );
    let params = params.resolve().unwrap();
    let compiler = FakeCompiler::new(Fault::None);
    let session = Session::new(compiler.clone(), Arc::new(FakeLoader { fails: false }));
    let call = |bad: &'static str| {
        let mut callbacks = generator(move |asked: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(asked.name.as_bytes().to_vec());
            if asked.name == bad { Err(1) } else { Ok(()) }
        });
        let batch = Ok(Batch { names: &NAMES, params: &params });
        session.jit_many(batch, &mut callbacks).unwrap()
    };
    let results = call("load");
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    assert_eq!(results[2].as_ref().unwrap_err().kind(), Kind::Generate);
    assert_eq!(origins(Ok(call("")))[2], Origin::Built);
    assert_eq!(compiler.builds.load(Ordering::SeqCst), 5);
}

/// Processes that take part by callbacks of the host do so for each library in turn.
#[test]
fn a_batch_of_a_builder_is_sent_library_by_library() {
    let root = scratch();
    let sent = Mutex::new(Vec::new());
    let process = |dir: &str| {
        let params = test_params(root.path(), &[("cache.cache_dir", dir), ("cache.signature", "name")]);
        let session = Session::new(FakeCompiler::new(Fault::None), Arc::new(FakeLoader { fails: false }));
        (session, params.resolve().unwrap())
    };
    let (session, params) = process("a");
    let mut callbacks = generates(b"code");
    callbacks.send = Some(Box::new(|data: &[u8]| {
        lock(&sent).push(data.to_vec());
        Ok(())
    }));
    let batch = Ok(Batch { names: &NAMES, params: &params });
    assert_eq!(origins(session.jit_many(batch, &mut callbacks)), [Origin::Built; 5]);
    drop(callbacks);
    let (session, params) = process("b");
    let mut sent = sent.into_inner().unwrap().into_iter();
    let mut callbacks =
        Callbacks { receive: Some(Box::new(|| sent.next().ok_or(9))), ..Callbacks::default() };
    let batch = Ok(Batch { names: &NAMES, params: &params });
    assert_eq!(origins(session.jit_many(batch, &mut callbacks)), [Origin::Received; 5]);
}
