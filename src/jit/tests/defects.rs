//! Defects of the original between ranks; `docs/defects.md` lists all of them.

use std::sync::atomic::AtomicBool;

use super::*;

/// The end of `generate` on one rank.
#[derive(Clone, Copy, Debug)]
enum GenerateEnd {
    Code,
    Text,
    /// Like an exception of another language, which carries an object.
    Object,
    Nothing,
    Nested,
}

/// Ends a callback in this way.
fn end(end: GenerateEnd, source: &mut Source, nested: impl FnOnce() -> i32) -> std::result::Result<(), i32> {
    match end {
        GenerateEnd::Code => Err(-1),
        GenerateEnd::Text => panic!("interrupted"),
        GenerateEnd::Object => std::panic::panic_any(42),
        GenerateEnd::Nothing => Ok(()),
        GenerateEnd::Nested => {
            source.code = Some(b"code".to_vec());
            Err(nested())
        }
    }
}

/// Defect H8 of the original: an error that was no ordinary exception, or was on another rank than the root,
/// was raised on that rank alone, and the others waited.
#[test]
fn h8_however_generate_ends_on_whichever_rank_all_return_the_same() {
    for how in
        [GenerateEnd::Code, GenerateEnd::Text, GenerateEnd::Object, GenerateEnd::Nothing, GenerateEnd::Nested]
    {
        everywhere(|size, setup| {
            let called: Vec<AtomicBool> = (0..size).map(|_| AtomicBool::new(false)).collect();
            let results = run(size, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None);
                let params = rank.params.resolve().unwrap();
                // One call after the other on the same communicator: each must leave it usable.
                let of_bad = |bad: usize| {
                    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                        if comm.rank() == bad {
                            called[bad].store(true, Ordering::SeqCst);
                            let nested = || {
                                let request = Request { name: "nested", params: &params };
                                let refuses = |_: GenerateRequest<'_>, _: &mut Source| Err(3);
                                rank.session
                                    .jit(Ok(request), &mut generator(refuses))
                                    .unwrap_err()
                                    .kind()
                                    .code()
                            };
                            return end(how, source, nested);
                        }
                        source.code = Some(format!("code of {}", asked.signature).into_bytes());
                        Ok(())
                    });
                    let name = format!("form{bad}");
                    let request = Request { name: &name, params: &params };
                    rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks)
                };
                (0..size).map(of_bad).collect::<Vec<_>>()
            });
            for bad in 0..size {
                let context = format!("{how:?} on rank {bad} of {size}, {setup:?}");
                let of_bad: Vec<_> = results.iter().map(|results| results[bad].clone()).collect();
                if !called[bad].load(Ordering::SeqCst) {
                    assert!(of_bad.iter().all(Result::is_ok), "{context}: {of_bad:?}");
                    continue;
                }
                let error = same_error(&of_bad, &context);
                assert_eq!(usize::try_from(error.rank()), Ok(bad), "{context}: {error}");
                let panics = matches!(how, GenerateEnd::Text | GenerateEnd::Object);
                let kind = if panics { Kind::Internal } else { Kind::Generate };
                assert_eq!(error.kind(), kind, "{context}: {error}");
            }
            assert!(called[0].load(Ordering::SeqCst), "the root builds under every strategy");
        });
    }
}

/// Defect H8, continued: a library that did not load on a rank other than the root was an error on that rank
/// alone.
#[test]
fn h8_a_rank_that_cannot_load_fails_all_whichever_it_is() {
    everywhere(|size, setup| {
        for bad in 0..size {
            let fault = Fault::LoadFails(bad);
            let results = run(size, |comm| TestRank::new(comm, setup, fault).jit("form", fault));
            let context = format!("rank {bad} of {size}, {setup:?}");
            let error = same_error(&results, &context);
            assert_eq!(
                (error.kind(), usize::try_from(error.rank())),
                (Kind::Load, Ok(bad)),
                "{context}: {error}"
            );
        }
    });
}

/// Defect H8, continued: every call took a reduction over all ranks, hits too.
#[test]
fn h8_a_hit_takes_no_communication() {
    everywhere(|size, setup| {
        run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            rank.jit("form", Fault::None).unwrap();
            agree(comm, "all have it", || Ok(())).unwrap();
            let before = comm.collectives();
            for _ in 0..50 {
                let hit = rank.jit("form", Fault::GeneratePanics).unwrap();
                assert_eq!(hit.origin(), Origin::Memory);
            }
            assert_eq!(comm.collectives(), before);
        });
    });
}

/// Defect W16 of the original: strategy "process" was documented to keep the ranks' directories apart, and
/// refused ranks that share one.
#[test]
fn w16_strategy_process_gives_every_rank_a_directory_of_its_own() {
    for (size, dirs) in [(1, 1), (2, 1), (3, 1), (3, 2), (5, 2), (5, 5)] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs, buildon: "process" };
        let context = format!("{size} {setup:?}");
        let program = |fault| {
            run(size, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None);
                let library = rank.jit("form", fault).unwrap();
                let own = library.path().parent().unwrap().parent().unwrap().to_owned();
                (own, library.origin(), rank.builds())
            })
        };
        let cold = program(Fault::None);
        for (rank, (own, origin, builds)) in cold.iter().enumerate() {
            let declared = root.path().join(format!("cache{}", rank % dirs));
            let alone = (0..size).filter(|other| other % dirs == rank % dirs).count() == 1;
            let expected = if alone { declared } else { declared.join(format!("process-{rank}")) };
            assert_eq!((own, *origin, *builds), (&expected, Origin::Built, 1), "{context}");
        }
        let warm = program(Fault::NoGenerate);
        for (cold, warm) in cold.iter().zip(&warm) {
            assert_eq!((&warm.0, warm.1, warm.2), (&cold.0, Origin::Disk, 0), "{context}");
        }
    }
}
