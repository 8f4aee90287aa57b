//! Calls within `generate` that have no end, or whose libraries are removed meanwhile.

use super::super::nested::DEEPEST;
use super::*;

/// How a call within `generate` is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Jit,
    StartFinish,
}

/// Asks for a library whose `generate` asks for `next(name)` first.
fn ask(
    rank: &Rank<'_>,
    params: &Params,
    name: &str,
    way: Way,
    next: &dyn Fn(&str) -> Option<(String, Params)>,
) -> Result<Library> {
    let resolved = params.resolve().unwrap();
    let request = Request { name, params: &resolved };
    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
        if let Some((inner, params)) = next(asked.name)
            && let Err(error) = ask(rank, &params, &inner, way, next)
        {
            source.error = Some(error.message().to_owned());
            return Err(1);
        }
        source.code = Some(asked.signature.as_bytes().to_vec());
        Ok(())
    });
    match way {
        Way::Jit if is_nested() => rank.session.jit(Ok(request), &mut callbacks),
        Way::Jit => rank.session.jit_on(rank.comm, &rank.agreed, Ok(request), &mut callbacks),
        Way::StartFinish if is_nested() => {
            let pending = rank.session.start(Ok(request), &mut callbacks)?;
            rank.session.finish(pending, &mut callbacks)
        }
        Way::StartFinish => {
            let pending = rank.session.start_on(rank.comm, &rank.agreed, Ok(request), &mut callbacks)?;
            rank.session.finish_on(rank.comm, &rank.agreed, pending, Ok(()), &mut callbacks)
        }
    }
}

/// It took the stack until the program was ended.
#[test]
fn what_asks_for_itself_while_it_is_generated_is_an_error_that_shows_the_chain() {
    // What a name asks for; the first is what the program asks for.
    let chains: [(&[(&str, &str)], &str); 3] = [
        (&[("a", "a")], "a -> a"),
        (&[("a", "b"), ("b", "a")], "a -> b -> a"),
        (
            &[("form", "element"), ("element", "table"), ("table", "element")],
            "form -> element -> table -> element",
        ),
    ];
    for way in [Way::Jit, Way::StartFinish] {
        for (asks, chain) in chains {
            for (size, dirs) in [(1, 1), (3, 1), (3, 2)] {
                let root = scratch();
                let setup = Setup { root: root.path(), dirs, buildon: "node" };
                let context = format!("{chain} {way:?} {size} {setup:?}");
                let results = run(size, |comm| {
                    let rank = Rank::new(comm, setup, Fault::None);
                    let next = |name: &str| {
                        let (_, next) = asks.iter().find(|(asking, _)| *asking == name)?;
                        Some(((*next).to_owned(), rank.params.clone()))
                    };
                    ask(&rank, &rank.params, asks[0].0, way, &next)
                });
                let error = same_error(&results, &context);
                assert_eq!(error.kind(), Kind::Generate, "{context}: {error}");
                assert!(error.message().contains(chain), "{context}: {error}");
                let healthy =
                    run(size, |comm| Rank::new(comm, setup, Fault::None).jit(asks[0].0, Fault::None));
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
    for way in [Way::Jit, Way::StartFinish] {
        for (deepest, fails) in [(3_usize, false), (DEEPEST - 1, false), (DEEPEST, true)] {
            let root = scratch();
            let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
            let results = run(1, |comm| {
                let rank = Rank::new(comm, setup, Fault::None);
                let left = std::cell::Cell::new(deepest);
                let next = |name: &str| {
                    let degree_now = left.get().checked_sub(1)?;
                    left.set(degree_now);
                    Some((name.to_owned(), degree(&rank.params, degree_now)))
                };
                ask(&rank, &degree(&rank.params, deepest), "element", way, &next)
            });
            match &results[0] {
                Ok(_) => assert!(!fails, "{way:?} {deepest}"),
                Err(error) => {
                    assert!(fails && error.kind() == Kind::Generate, "{way:?} {deepest}: {error}");
                    let text = "64 generate callbacks are under way within each other: element -> element";
                    assert!(
                        error.message().contains(text) && error.message().contains("-> ... ->"),
                        "{error}"
                    );
                }
            }
        }
    }
}

/// Of two threads each waited for what the other was to build.
#[test]
fn a_circle_over_two_threads_ends() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
    let meet = std::sync::Barrier::new(2);
    let results = run(2, |comm| {
        let mut rank = Rank::new(comm, setup, Fault::None);
        rank.params.set("build.lease_timeout", "1").unwrap();
        let other = |name: &str| if name == "a" { "b" } else { "a" };
        let params = rank.params.resolve().unwrap();
        let name = if comm.rank() == 0 { "a" } else { "b" };
        let mut outer = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
            meet.wait();
            let next = |name: &str| Some((other(name).to_owned(), rank.params.clone()));
            ask(&rank, &rank.params, other(asked.name), Way::Jit, &next).map(drop).map_err(|error| {
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

/// It said that there was no generate callback.
#[test]
fn what_is_removed_between_a_nested_build_and_its_end_is_built_again() {
    for size in [1, 3] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
        let results = run(size, |comm| {
            let rank = Rank::new(comm, setup, Fault::None);
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
            let library = rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks);
            (library, rank.compiler.builds.load(Ordering::SeqCst))
        });
        assert!(results.iter().all(|(library, _)| library.is_ok()), "{size}: {results:?}");
        assert_eq!(results.iter().map(|(_, builds)| builds).sum::<usize>(), 3, "{size}");
    }
}

/// A nested library goes before its parent is linked to it: `generate` is asked once more, and if it goes again all
/// ranks learn what has happened.
#[test]
fn what_is_removed_between_a_nested_build_and_its_use_is_built_again_once() {
    for way in [Way::Jit, Way::StartFinish] {
        for size in [1, 3] {
            for removals in [1, 2] {
                let root = scratch();
                let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
                let context = format!("{way:?} {size} {removals}");
                let results = run(size, |comm| {
                    let rank = Rank::new(comm, setup, Fault::None);
                    let left = std::cell::Cell::new(removals);
                    let resolved = rank.params.resolve().unwrap();
                    let request = Request { name: "form", params: &resolved };
                    let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                        let element = ask(&rank, &rank.params, "element", way, &|_| None).map_err(|_| 1)?;
                        if left.get() > 0 {
                            left.set(left.get() - 1);
                            remove(setup, "element");
                        }
                        source.dependencies.push(element.signature().to_owned());
                        source.code = Some(asked.name.as_bytes().to_vec());
                        Ok(())
                    });
                    match way {
                        Way::Jit => rank.session.jit_on(comm, &rank.agreed, Ok(request), &mut callbacks),
                        Way::StartFinish => {
                            let pending =
                                rank.session.start_on(comm, &rank.agreed, Ok(request), &mut callbacks)?;
                            rank.session.finish_on(comm, &rank.agreed, pending, Ok(()), &mut callbacks)
                        }
                    }
                });
                if removals == 1 {
                    assert!(results.iter().all(Result::is_ok), "{context}: {results:?}");
                } else if way == Way::Jit {
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
