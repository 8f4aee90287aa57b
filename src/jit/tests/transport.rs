//! Transport of libraries and their dependencies.

use super::*;
use crate::cache::EntryFiles;

/// Defect H7 of the original: calls within `generate` did not work with sending and receiving.
/// Defects W10 and W11: the library alone was sent, without header, source, log and dependencies.
#[test]
fn h7_w10_nested_calls_are_local_and_travel_with_their_parent() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let results = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let params = rank.params.resolve().unwrap();
            let plain = |asked: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(asked.name.as_bytes().to_vec());
                source.header = Some(b"h".to_vec());
                Ok(())
            };
            let nested =
                |name: &str| rank.session.jit(Ok(Request { name, params: &params }), &mut generator(plain));
            let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                source.dependencies.push(nested("element").map_err(|_| 1)?.signature().to_owned());
                nested("nested-only").map_err(|_| 2)?;
                plain(asked, source)
            });
            let request = Request { name: "form", params: &params };
            let library = rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks)?;
            let cache = library.path().parent().unwrap().parent().unwrap().to_owned();
            let there = ["element", "nested-only", "form"].iter().all(|name| {
                cache.join(format!("include/{name}.h")).is_file()
                    && cache.join(format!("src/{name}.cpp.gz")).is_file()
                    && cache.join(format!("log/{name}.txt")).is_file()
                    && cache.join(format!("lib/libdijitso-{name}.so")).is_file()
            });
            agree(comm, "comparing", || Ok(()))?;
            Ok((there, rank.builds()))
        });
        let results: Vec<(bool, usize)> =
            results.into_iter().map(|found: Result<_>| found.expect(&context)).collect();
        assert!(results.iter().all(|(there, _)| *there), "{context}");
        let builds: usize = results.iter().map(|(_, builds)| builds).sum();
        assert_eq!(builds, 3 * expected_builds(size, setup), "{context}");
    });
}

#[test]
fn a_nested_call_that_fails_is_part_of_the_message_everywhere() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
    let results = run(3, |comm| {
        let rank = TestRank::new(comm, setup, Fault::CompileError);
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_: GenerateRequest<'_>, _: &mut Source| {
            let mut callbacks = generator(|_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(Vec::new());
                Ok(())
            });
            let request = Request { name: "element", params: &params };
            rank.session.jit(Ok(request), &mut callbacks).map(drop).map_err(|error| error.kind().code())
        });
        rank.session.jit_on(comm, &rank.state, Ok(Request { name: "form", params: &params }), &mut callbacks)
    });
    let error = same_error(&results, "nested");
    assert_eq!(error.kind(), Kind::Generate);
    for part in ["form returned 30", "cannot build element", "error: 100 %"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert!(error.log().contains("wrong") && error.path().contains("jitfailure-element"));
}

/// A transport by callbacks of the host, which stand for an MPI_Bcast on its communicator.
#[test]
fn a_transport_of_the_host_carries_the_library() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        for warm in [false, true] {
            let results = run(size, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None);
                let params = rank.params.resolve().unwrap();
                let file = setup.root.join("sent");
                let (mut sent, mut received, mut waited) = (0, 0, 0);
                let mut callbacks = Callbacks {
                    poll: None,
                    generate: Some(Box::new(|_: GenerateRequest<'_>, source: &mut Source| {
                        source.code = Some(b"code".to_vec());
                        Ok(())
                    })),
                    send: Some(Box::new(|data: &[u8]| {
                        sent += 1;
                        fs::write(&file, data).map_err(|_| 1)
                    })),
                    receive: Some(Box::new(|| {
                        received += 1;
                        let begin = std::time::Instant::now();
                        // The file may be incomplete at first.
                        while begin.elapsed().as_secs() < 20 {
                            if let Ok(data) = fs::read(&file)
                                && crate::cache::closure::Closure::decode(&data).is_ok()
                            {
                                return Ok(data);
                            }
                            std::thread::yield_now();
                        }
                        Err(5)
                    })),
                    wait: Some(Box::new(|| {
                        waited += 1;
                        Ok(())
                    })),
                };
                let request = Request { name: "form", params: &params };
                let library = rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks);
                drop(callbacks);
                (library, sent, received, waited)
            });
            let _ = fs::remove_file(setup.root.join("sent"));
            assert!(results.iter().all(|found| found.0.is_ok()), "{context}: {results:?}");
            let transfers = !warm && setup.buildon == "root" && setup.dirs.min(size) > 1;
            let sent: usize = results.iter().map(|found| found.1).sum();
            let received: usize = results.iter().map(|found| found.2).sum();
            assert_eq!(sent, usize::from(transfers), "{context}");
            assert_eq!(received, if transfers { size - 1 } else { 0 }, "{context}");
            assert!(results.iter().all(|found| found.3 == usize::from(!warm)), "{context}");
        }
    });
}

/// If the sender cannot read the closure, the receivers get its error and do not wait for ever.
#[test]
fn h2_a_sender_that_cannot_read_sends_its_error() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 3, buildon: "root" };
    let sent = Mutex::new(None);
    let results = run(3, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_: GenerateRequest<'_>, source: &mut Source| {
            let mut nested = generates(b"nested-only");
            let request = Request { name: "nested-only", params: &params };
            let library = rank.session.jit(Ok(request), &mut nested).map_err(|_| 1)?;
            // Another program removes it.
            fs::remove_file(library.path()).map_err(|_| 2)?;
            source.code = Some(b"code".to_vec());
            Ok(())
        });
        callbacks.send = Some(Box::new(|data: &[u8]| {
            *lock(&sent) = Some(data.to_vec());
            Ok(())
        }));
        callbacks.receive = Some(Box::new(|| {
            let begin = std::time::Instant::now();
            while begin.elapsed().as_secs() < 20 {
                if let Some(data) = lock(&sent).clone() {
                    return Ok(data);
                }
                std::thread::yield_now();
            }
            Err(5)
        }));
        rank.session.jit_on(comm, &rank.state, Ok(Request { name: "form", params: &params }), &mut callbacks)
    });
    let error = same_error(&results, "sender");
    assert_eq!((error.kind(), error.rank()), (Kind::Cache, 0), "{error}");
    assert!(error.message().contains("nested-only"), "{error}");
}

/// A nested library with another file name does not travel.
#[test]
fn a_nested_library_with_another_file_name_does_not_stop_its_parent() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
    let results = run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let params = rank.params.resolve().unwrap();
        let mut other = rank.params.clone();
        other.set("cache.lib_prefix", "").unwrap();
        let other = other.resolve().unwrap();
        let code = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(b"code".to_vec());
            Ok(())
        };
        let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
            let request = Request { name: "nested-only", params: &other };
            rank.session.jit(Ok(request), &mut generator(code)).map_err(|_| 1)?;
            code(asked, source)
        });
        let request = Request { name: "form", params: &params };
        rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).map(|library| library.origin())
    });
    assert_eq!(results, [Ok(Origin::Built), Ok(Origin::Received)]);
}

#[test]
fn a_transport_that_fails_or_lies_fails_all_ranks() {
    for lie in [None, Some(b"not a closure".to_vec())] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 3, buildon: "root" };
        let results = run(3, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let params = rank.params.resolve().unwrap();
            let mut callbacks = Callbacks {
                generate: Some(Box::new(|_: GenerateRequest<'_>, source: &mut Source| {
                    source.code = Some(b"code".to_vec());
                    Ok(())
                })),
                send: Some(Box::new(|_: &[u8]| Ok(()))),
                receive: Some(Box::new(|| lie.clone().ok_or(9))),
                wait: None,
                poll: None,
            };
            let request = Request { name: "form", params: &params };
            rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks)
        });
        let error = same_error(&results, "transport");
        assert_eq!((error.kind(), error.rank()), (Kind::Callback, 1), "{error}");
    }
}

/// If a disk does not show what was published, the ranks that miss it receive the bytes.
#[test]
fn bytes_are_loaded_if_a_directory_does_not_show_them() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        let library = rank.jit("form", Fault::None).unwrap();
        let cache = Cache::new(
            library.path().parent().unwrap().parent().unwrap(),
            &rank.params.resolve().unwrap().cache,
        );
        let entries = cache.read_closure("form").unwrap();
        let hidden = Cache::new(&setup.root.join("hidden"), cache.layout().params());
        let views: Vec<_> = entries.iter().map(EntryFiles::view).collect();
        let loaded = rank.session.libraries.load_bytes(&views, "form", &hidden, Origin::Received).unwrap();
        assert_eq!(loaded.path(), hidden.layout().lib("form"));
        assert_eq!(loaded.origin(), Origin::Received);
        assert!(!hidden.layout().dir(Category::Lib).exists());
        record::open(&entries[0].library, "form").unwrap();
    });
}

/// The same in a whole call: the ranks share a directory, and when they have found out that they do, some
/// read another one.
#[test]
fn ranks_whose_directory_does_not_show_the_entry_receive_it() {
    use std::os::unix::fs::symlink;
    for size in [2, 3, 5] {
        let root = scratch();
        fs::create_dir(root.path().join("shared")).unwrap();
        fs::create_dir(root.path().join("stale")).unwrap();
        let setup = Setup { root: root.path(), dirs: size, buildon: "node" };
        let origins = run(size, |comm| {
            let own = root.path().join(format!("cache{}", comm.rank()));
            symlink(root.path().join("shared"), &own).unwrap();
            let rank = TestRank::new(comm, setup, Fault::None);
            rank.jit("before", Fault::None).unwrap();
            if comm.rank() % 2 == 1 {
                fs::remove_file(&own).unwrap();
                symlink(root.path().join("stale"), &own).unwrap();
            }
            let library = rank.jit("form", Fault::None).unwrap();
            assert_eq!(library.path(), own.join("lib/libdijitso-form.so"));
            library.origin()
        });
        for (rank, origin) in origins.iter().enumerate() {
            let expected = match rank {
                0 => Origin::Built,
                odd if odd % 2 == 1 => Origin::Received,
                _ => Origin::Disk,
            };
            assert_eq!(*origin, expected, "{rank} of {size}");
        }
        assert!(!root.path().join("stale/lib/libdijitso-form.so").exists());
    }
}

/// An older version of this crate may have published half a library on another host.
#[test]
fn half_a_library_is_not_received() {
    for (half, ok) in [(false, true), (true, false)] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
        let mut image = sample(b"");
        if half {
            image.truncate(image.len() - 30);
        }
        let results = run(2, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let params = rank.params.resolve().unwrap();
            if comm.rank() == 0 {
                let record =
                    record::EntryRecord { dependencies: Vec::new(), ..record::tests::record("form") };
                let library = record::append_record(image.clone(), &record).unwrap();
                let files =
                    EntryFiles { signature: "form".into(), library, header: None, source: None, log: None };
                Cache::new(&params.cache.cache_dir, &params.cache).publish(&files).unwrap();
            }
            agree(comm, "published", || Ok(())).unwrap();
            rank.jit("form", Fault::None)
        });
        assert_eq!(results.iter().all(Result::is_ok), ok, "{results:?}");
        if half {
            let error = same_error(&results, "half");
            assert_eq!(error.kind(), Kind::Cache, "{error}");
            assert!(error.message().contains("received form, which is no shared library"), "{error}");
        }
        assert_eq!(root.path().join("cache1/lib/libdijitso-form.so").exists(), ok);
    }
}
