//! What travels with a library, and by whose transport.

use super::*;
use crate::cache::EntryFiles;

/// Defect H7 of the original: calls within `generate` did not go together with sending and receiving.
/// Defects W10 and W11: the library alone was sent, without header, source, log and what it is linked to.
#[test]
fn h7_w10_nested_calls_are_local_and_travel_with_their_parent() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let results = run(size, |comm| {
            let rank = Rank::new(comm, setup, Fault::None);
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
                nested("besides").map_err(|_| 2)?;
                plain(asked, source)
            });
            let request = Request { name: "form", params: &params };
            let library = rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks)?;
            let cache = library.path().parent().unwrap().parent().unwrap().to_owned();
            let there = ["element", "besides", "form"].iter().all(|name| {
                cache.join(format!("include/{name}.h")).is_file()
                    && cache.join(format!("src/{name}.cpp.gz")).is_file()
                    && cache.join(format!("log/{name}.txt")).is_file()
                    && cache.join(format!("lib/libdijitso-{name}.so")).is_file()
            });
            agree(comm, "comparing", || Ok(()))?;
            Ok((there, rank.compiler.builds.load(Ordering::SeqCst)))
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
        let rank = Rank::new(comm, setup, Fault::CompileError);
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_: GenerateRequest<'_>, _: &mut Source| {
            let mut callbacks = generator(|_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(Vec::new());
                Ok(())
            });
            let request = Request { name: "element", params: &params };
            rank.session.jit(Ok(request), &mut callbacks).map(drop).map_err(|error| error.kind().code())
        });
        rank.session.jit_on(comm, &rank.agreed, Ok(Request { name: "form", params: &params }), &mut callbacks)
    });
    let error = same_error(&results, "nested");
    assert_eq!(error.kind(), Kind::Generate);
    for part in ["form returned 30", "cannot build element", "error: 100 %"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert!(error.log().contains("wrong") && error.path().contains("jitfailure-element"));
}

/// The host's own transport, made of the ranks' communicator: the same picture as MPI_Bcast on a host's communicator.
#[test]
fn a_transport_of_the_host_carries_the_library() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        for warm in [false, true] {
            let results = run(size, |comm| {
                let rank = Rank::new(comm, setup, Fault::None);
                let params = rank.params.resolve().unwrap();
                let post = setup.root.join("post");
                let (mut sent, mut received, mut waited) = (0, 0, 0);
                let mut callbacks = Callbacks {
                    generate: Some(Box::new(|_: GenerateRequest<'_>, source: &mut Source| {
                        source.code = Some(b"code".to_vec());
                        Ok(())
                    })),
                    send: Some(Box::new(|data: &[u8]| {
                        sent += 1;
                        fs::write(&post, data).map_err(|_| 1)
                    })),
                    receive: Some(Box::new(|| {
                        received += 1;
                        let begin = std::time::Instant::now();
                        // The file appears in one step in no real post box; here a short wait will do.
                        while begin.elapsed().as_secs() < 20 {
                            if let Ok(data) = fs::read(&post)
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
                let library = rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks);
                drop(callbacks);
                (library, sent, received, waited)
            });
            let _ = fs::remove_file(setup.root.join("post"));
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

/// What cannot be read back is not sent; the receivers get the reason instead of waiting for ever.
#[test]
fn h2_a_sender_that_cannot_read_sends_its_error() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 3, buildon: "root" };
    let post = Mutex::new(None);
    let results = run(3, |comm| {
        let rank = Rank::new(comm, setup, Fault::None);
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_: GenerateRequest<'_>, source: &mut Source| {
            let mut nested = generator(|_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(b"besides".to_vec());
                Ok(())
            });
            let request = Request { name: "besides", params: &params };
            let library = rank.session.jit(Ok(request), &mut nested).map_err(|_| 1)?;
            // Somebody empties the cache behind our back.
            fs::remove_file(library.path()).map_err(|_| 2)?;
            source.code = Some(b"code".to_vec());
            Ok(())
        });
        callbacks.send = Some(Box::new(|data: &[u8]| {
            *lock(&post) = Some(data.to_vec());
            Ok(())
        }));
        callbacks.receive = Some(Box::new(|| {
            let begin = std::time::Instant::now();
            while begin.elapsed().as_secs() < 20 {
                if let Some(data) = lock(&post).clone() {
                    return Ok(data);
                }
                std::thread::yield_now();
            }
            Err(5)
        }));
        rank.session.jit_on(comm, &rank.agreed, Ok(Request { name: "form", params: &params }), &mut callbacks)
    });
    let error = same_error(&results, "sender");
    assert_eq!((error.kind(), error.rank()), (Kind::Cache, 0), "{error}");
    assert!(error.message().contains("besides"), "{error}");
}

/// A nested module that is named otherwise is the business of the builder alone.
#[test]
fn a_nested_library_of_another_naming_does_not_spoil_its_parent() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "root" };
    let results = run(2, |comm| {
        let rank = Rank::new(comm, setup, Fault::None);
        let params = rank.params.resolve().unwrap();
        let mut other = rank.params.clone();
        other.set("cache.lib_prefix", "").unwrap();
        let other = other.resolve().unwrap();
        let code = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(b"code".to_vec());
            Ok(())
        };
        let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
            let request = Request { name: "besides", params: &other };
            rank.session.jit(Ok(request), &mut generator(code)).map_err(|_| 1)?;
            code(asked, source)
        });
        let request = Request { name: "form", params: &params };
        rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks).map(|library| library.origin())
    });
    assert_eq!(results, [Ok(Origin::Built), Ok(Origin::Received)]);
}

#[test]
fn a_transport_that_fails_or_lies_fails_all_ranks() {
    for lie in [None, Some(b"not a blob".to_vec())] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 3, buildon: "root" };
        let results = run(3, |comm| {
            let rank = Rank::new(comm, setup, Fault::None);
            let params = rank.params.resolve().unwrap();
            let mut callbacks = Callbacks {
                generate: Some(Box::new(|_: GenerateRequest<'_>, source: &mut Source| {
                    source.code = Some(b"code".to_vec());
                    Ok(())
                })),
                send: Some(Box::new(|_: &[u8]| Ok(()))),
                receive: Some(Box::new(|| lie.clone().ok_or(9))),
                wait: None,
            };
            let request = Request { name: "form", params: &params };
            rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks)
        });
        let error = same_error(&results, "transport");
        assert_eq!((error.kind(), error.rank()), (Kind::Callback, 1), "{error}");
    }
}

/// A disk that does not show what was published: the ranks that miss it get the bytes.
#[test]
fn bytes_are_handed_over_when_a_directory_does_not_show_them() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
    run(2, |comm| {
        let rank = Rank::new(comm, setup, Fault::None);
        let library = rank.jit("form", Fault::None).unwrap();
        let cache = Cache::new(
            library.path().parent().unwrap().parent().unwrap(),
            &rank.params.resolve().unwrap().cache,
        );
        let entries = cache.read_closure("form").unwrap();
        let hidden = Cache::new(&setup.root.join("hidden"), cache.layout().params());
        let views: Vec<_> = entries.iter().map(EntryFiles::view).collect();
        let loaded = rank.session.load_bytes(&views, "form", &hidden, Origin::Received).unwrap();
        assert_eq!(loaded.path(), hidden.layout().lib("form"));
        assert_eq!(loaded.origin(), Origin::Received);
        assert!(!hidden.layout().dir(Category::Lib).exists());
        record::open(&entries[0].library, "form").unwrap();
    });
}

/// As above, on the way of a whole call: the ranks share a directory, and when it is known that they do, some look into
/// another one.
#[test]
fn ranks_that_are_not_shown_what_was_built_get_it_from_the_others() {
    use std::os::unix::fs::symlink;
    for size in [2, 3, 5] {
        let root = scratch();
        fs::create_dir(root.path().join("shared")).unwrap();
        fs::create_dir(root.path().join("stale")).unwrap();
        let setup = Setup { root: root.path(), dirs: size, buildon: "node" };
        let origins = run(size, |comm| {
            let own = root.path().join(format!("cache{}", comm.rank()));
            symlink(root.path().join("shared"), &own).unwrap();
            let rank = Rank::new(comm, setup, Fault::None);
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

/// What an older version of this library has published on another host may be half a library.
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
            let rank = Rank::new(comm, setup, Fault::None);
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
