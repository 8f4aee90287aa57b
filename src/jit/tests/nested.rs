//! Calls within `generate` that would not end, or whose libraries are removed meanwhile.

use super::super::nested::MAX_DEPTH;
use super::*;

/// The functions by which a call within `generate` is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CallStyle {
    Jit,
    StartFinish,
}

/// Calls for a library whose `generate` calls for `next(name)` first.
fn ask(
    rank: &TestRank<'_>,
    params: &Params,
    name: &str,
    style: CallStyle,
    next: &dyn Fn(&str) -> Option<(String, Params)>,
) -> Result<Library> {
    let resolved = params.resolve().unwrap();
    let request = Request { name, params: &resolved };
    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
        if let Some((inner, params)) = next(asked.name)
            && let Err(error) = ask(rank, &params, &inner, style, next)
        {
            source.error = Some(error.message().to_owned());
            return Err(1);
        }
        source.code = Some(asked.signature.as_bytes().to_vec());
        Ok(())
    });
    match style {
        CallStyle::Jit if is_nested() => rank.session.jit(Ok(request), &mut callbacks),
        CallStyle::Jit => rank.session.jit_on(rank.comm, &rank.state, Ok(request), &mut callbacks),
        CallStyle::StartFinish if is_nested() => {
            let pending = rank.session.start(Ok(request), &mut callbacks)?;
            rank.session.finish(pending, &mut callbacks)
        }
        CallStyle::StartFinish => {
            let pending = rank.session.start_on(rank.comm, &rank.state, Ok(request), &mut callbacks)?;
            rank.session.finish_on(rank.comm, &rank.state, pending, Ok(()), &mut callbacks)
        }
    }
}

/// Such a call used up the stack.
#[test]
fn a_library_that_asks_for_itself_is_an_error_that_shows_the_chain() {
    // Each name with the name that it asks for; the program asks for the first.
    let chains: [(&[(&str, &str)], &str); 3] = [
        (&[("a", "a")], "a -> a"),
        (&[("a", "b"), ("b", "a")], "a -> b -> a"),
        (
            &[("form", "element"), ("element", "table"), ("table", "element")],
            "form -> element -> table -> element",
        ),
    ];
    for style in [CallStyle::Jit, CallStyle::StartFinish] {
        for (asks, chain) in chains {
            for (size, dirs) in [(1, 1), (3, 1), (3, 2)] {
                let root = scratch();
                let setup = Setup { root: root.path(), dirs, buildon: "node" };
                let context = format!("{chain} {style:?} {size} {setup:?}");
                let results = run(size, |comm| {
                    let rank = TestRank::new(comm, setup, Fault::None);
                    let next = |name: &str| {
                        let (_, next) = asks.iter().find(|(asking, _)| *asking == name)?;
                        Some(((*next).to_owned(), rank.params.clone()))
                    };
                    ask(&rank, &rank.params, asks[0].0, style, &next)
                });
                let error = same_error(&results, &context);
                assert_eq!(error.kind(), Kind::Generate, "{context}: {error}");
                assert!(error.message().contains(chain), "{context}: {error}");
                let healthy =
                    run(size, |comm| TestRank::new(comm, setup, Fault::None).jit(asks[0].0, Fault::None));
                assert!(healthy.iter().all(Result::is_ok), "{context}: {healthy:?}");
            }
        }
    }
}

/// An element of degree n may ask for that of degree n - 1: name and callback are the same.
#[test]
fn the_same_name_with_other_parameters_is_another_library() {
    let degree = |base: &Params, degree: usize| {
        let mut params = base.clone();
        params.set("cache.signature", "hash").unwrap();
        params.set("build.cxxflags", &format!("-DDEGREE={degree}")).unwrap();
        params
    };
    for style in [CallStyle::Jit, CallStyle::StartFinish] {
        for (deepest, fails) in [(3_usize, false), (MAX_DEPTH - 1, false), (MAX_DEPTH, true)] {
            let root = scratch();
            let setup = Setup::one_dir(root.path());
            let results = run(1, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None);
                let left = std::cell::Cell::new(deepest);
                let next = |name: &str| {
                    let degree_now = left.get().checked_sub(1)?;
                    left.set(degree_now);
                    Some((name.to_owned(), degree(&rank.params, degree_now)))
                };
                ask(&rank, &degree(&rank.params, deepest), "element", style, &next)
            });
            match &results[0] {
                Ok(_) => assert!(!fails, "{style:?} {deepest}"),
                Err(error) => {
                    assert!(fails && error.kind() == Kind::Generate, "{style:?} {deepest}: {error}");
                    let text = "64 generate callbacks run within each other: element -> element";
                    assert!(
                        error.message().contains(text) && error.message().contains("-> ... ->"),
                        "{error}"
                    );
                }
            }
        }
    }
}

/// Each of two threads waited for the build of the other.
#[test]
fn a_circle_over_two_threads_ends() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let barrier = std::sync::Barrier::new(2);
    let results = run(2, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.params.set("build.lease_timeout", "1").unwrap();
        let other = |name: &str| if name == "a" { "b" } else { "a" };
        let params = rank.params.resolve().unwrap();
        let name = if comm.rank() == 0 { "a" } else { "b" };
        let mut outer = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
            barrier.wait();
            let next = |name: &str| Some((other(name).to_owned(), rank.params.clone()));
            ask(&rank, &rank.params, other(asked.name), CallStyle::Jit, &next).map(drop).map_err(|error| {
                source.error = Some(error.message().to_owned());
                1
            })
        });
        rank.session.jit(Ok(Request { name, params: &params }), &mut outer)
    });
    for result in results {
        let error = result.unwrap_err();
        assert!(
            error.message().contains("a -> b -> a") || error.message().contains("b -> a -> b"),
            "{error}"
        );
    }
}

fn remove(setup: Setup<'_>, name: &str) {
    for rank in 0..setup.dirs {
        let lib = setup.root.join(format!("cache{rank}/lib/libdijitso-{name}.so"));
        let _ = fs::remove_file(lib);
    }
}

fn wait_for(path: &Path) {
    let begin = std::time::Instant::now();
    while !path.exists() {
        assert!(begin.elapsed().as_secs() < 20, "{} does not come", path.display());
        std::thread::yield_now();
    }
}

/// The error was that there is no generate callback.
#[test]
fn a_nested_library_that_is_removed_before_its_finish_is_built_again() {
    for size in [1, 3] {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        let results = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                let request = Request { name: "element", params: &params };
                let mut element = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                    source.code = Some(asked.name.as_bytes().to_vec());
                    Ok(())
                });
                let pending = rank.session.start(Ok(request), &mut element).map_err(|_| 1)?;
                wait_for(&setup.root.join("cache0/lib/libdijitso-element.so"));
                // Its compiler is done with it; another program removes it.
                let begin = std::time::Instant::now();
                while setup.root.join("cache0/lease").read_dir().is_ok_and(|dir| dir.count() > 1) {
                    assert!(begin.elapsed().as_secs() < 20);
                    std::thread::yield_now();
                }
                remove(setup, "element");
                let element = rank.session.finish(pending, &mut element).map_err(|error| {
                    source.error = Some(error.message().to_owned());
                    2
                })?;
                source.dependencies.push(element.signature().to_owned());
                source.code = Some(asked.name.as_bytes().to_vec());
                Ok(())
            });
            let request = Request { name: "form", params: &params };
            let library = rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks);
            (library, rank.builds())
        });
        assert!(results.iter().all(|(library, _)| library.is_ok()), "{size}: {results:?}");
        assert_eq!(results.iter().map(|(_, builds)| builds).sum::<usize>(), 3, "{size}");
    }
}

/// If a nested library is removed before its parent is linked to it, `generate` is called once more; if it is
/// removed again, all ranks have an error that says so.
#[test]
fn a_nested_library_that_is_removed_before_its_use_is_built_again_once() {
    for style in [CallStyle::Jit, CallStyle::StartFinish] {
        for size in [1, 3] {
            for removals in [1, 2] {
                let root = scratch();
                let setup = Setup::one_dir(root.path());
                let context = format!("{style:?} {size} {removals}");
                let results = run(size, |comm| {
                    let rank = TestRank::new(comm, setup, Fault::None);
                    let left = std::cell::Cell::new(removals);
                    let resolved = rank.params.resolve().unwrap();
                    let request = Request { name: "form", params: &resolved };
                    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                        let element = ask(&rank, &rank.params, "element", style, &|_| None).map_err(|_| 1)?;
                        if left.get() > 0 {
                            left.set(left.get() - 1);
                            remove(setup, "element");
                        }
                        source.dependencies.push(element.signature().to_owned());
                        source.code = Some(asked.name.as_bytes().to_vec());
                        Ok(())
                    });
                    match style {
                        CallStyle::Jit => rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks),
                        CallStyle::StartFinish => {
                            let pending =
                                rank.session.start_on(comm, &rank.state, Ok(request), &mut callbacks)?;
                            rank.session.finish_on(comm, &rank.state, pending, Ok(()), &mut callbacks)
                        }
                    }
                });
                if removals == 1 {
                    assert!(results.iter().all(Result::is_ok), "{context}: {results:?}");
                } else if style == CallStyle::Jit {
                    let error = same_error(&results, &context);
                    assert_eq!(error.kind(), Kind::Cache, "{context}: {error}");
                    for part in ["another program has removed", "libdijitso-element.so", "cannot build form"]
                    {
                        assert!(error.message().contains(part), "{context}: {error}");
                    }
                }
            }
        }
    }
}
