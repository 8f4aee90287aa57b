//! Libraries that the dynamic loader refuses: before they are published, and when they are found later.

use super::*;
use crate::jit::pending::Pending;

/// How the loader of a process takes a file in which this text is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Taken {
    /// Nothing is wrong.
    Well,
    /// The file is at fault.
    Refused(&'static str),
    /// The process is at fault: another one could load the file.
    Failed(&'static str),
    /// The file cannot be loaded, and resolving does not show it.
    Unseen(&'static str),
}

struct Picky {
    taken: Taken,
    loads: AtomicUsize,
    resolved: AtomicUsize,
}

impl Picky {
    fn new(taken: Taken) -> Arc<Self> {
        Arc::new(Self { taken, loads: AtomicUsize::new(0), resolved: AtomicUsize::new(0) })
    }

    fn says(path: &Path, text: &str) -> Result<()> {
        let file = fs::read(path).unwrap_or_default();
        if file.is_empty() || String::from_utf8_lossy(&file).contains(text) {
            let reason = "undefined symbol: other";
            return Err(Error::new(Kind::Load, format!("cannot load {}: {reason}", path.display())));
        }
        Ok(())
    }
}

impl Loader for Picky {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        match self.taken {
            Taken::Well => {}
            Taken::Refused(text) | Taken::Failed(text) | Taken::Unseen(text) => Self::says(path, text)?,
        }
        FakeLoader { fails: false }.load(path)
    }

    fn resolve(&self, path: &Path) -> Result<()> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        match self.taken {
            Taken::Refused(text) => Self::says(path, text),
            _ => Ok(()),
        }
    }
}

impl Rank<'_> {
    fn taking(mut self, taken: Taken) -> Self {
        self.session = Session::new(self.compiler.clone(), Picky::new(taken));
        self
    }

    /// A call whose source is this text.
    fn call(&self, text: &'static str) -> Result<Library> {
        let params = self.params.resolve().unwrap();
        let mut callbacks = writes(text);
        let request = Request { name: "form", params: &params };
        self.session.jit_on(self.comm, &CommState::default(), Ok(request), &mut callbacks)
    }

    fn compiled(&self) -> usize {
        self.compiler.builds.load(Ordering::SeqCst)
    }
}

fn writes<'a>(text: &'static str) -> Callbacks<'a> {
    generator(move |_, source| {
        source.code = Some(text.as_bytes().to_vec());
        Ok(())
    })
}

/// The libraries below a directory, and what was staged for them.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "quarantine") {
            found.extend(libraries(&path));
        } else if root.ends_with("lib") {
            found.push(path);
        }
    }
    found
}

fn everywhere_small(program: impl Fn(usize, Setup<'_>)) {
    for buildon in ["node", "root", "process"] {
        for size in [1, 2, 3] {
            for dirs in [1, size] {
                let root = scratch();
                program(size, Setup { root: root.path(), dirs, buildon });
            }
        }
    }
}

/// It was published and served for ever: the corrected source was never built.
#[test]
fn what_the_loader_refuses_is_not_published_and_a_corrected_source_is_built() {
    everywhere_small(|size, setup| {
        let context = format!("{size} {setup:?}");
        let results = run(size, |comm| {
            let rank = Rank::new(comm, setup, Fault::None).taking(Taken::Refused("broken"));
            let first = rank.call("broken");
            agree(comm, "all have failed", || Ok(())).unwrap();
            if comm.rank() == 0 {
                assert_eq!(libraries(setup.root), Vec::<PathBuf>::new(), "{context}");
            }
            agree(comm, "looked", || Ok(())).unwrap();
            // The same program, the source corrected.
            let second = rank.call("correct");
            (first, second.map(|library| fs::read(library.path()).unwrap()))
        });
        let (first, second): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let error = same_error(&first, &context);
        assert_eq!(error.kind(), Kind::Load, "{context}: {error}");
        for part in ["undefined symbol: other", "lib/libdijitso-form.so", "not published", "recompile.sh"] {
            assert!(error.message().contains(part), "{context}: {part}: {error}");
        }
        assert!(Path::new(error.path()).join("recompile.sh").is_file(), "{context}: {error}");
        for library in second {
            let library = library.expect(&context);
            assert!(String::from_utf8_lossy(&library).contains("correct"), "{context}");
        }
    });
}

#[test]
fn one_builder_that_cannot_load_fails_all_and_publishes_nothing() {
    everywhere_small(|size, setup| {
        for bad in 0..size {
            let context = format!("rank {bad} of {size} {setup:?}");
            let results = run(size, |comm| {
                let taken = if comm.rank() == bad { Taken::Failed("form") } else { Taken::Well };
                let rank = Rank::new(comm, setup, Fault::None).taking(taken);
                (rank.call("form"), rank.compiled())
            });
            let built = results[bad].1 > 0;
            let results: Vec<_> = results.into_iter().map(|(result, _)| result).collect();
            let error = same_error(&results, &context);
            assert_eq!((error.kind(), error.rank()), (Kind::Load, i32::try_from(bad).unwrap()), "{context}");
            let mine = libraries(&setup.root.join(format!("cache{}", bad % setup.dirs)));
            if built && setup.dirs == size {
                assert_eq!(mine, Vec::<PathBuf>::new(), "{context}");
            }
            let _ = fs::remove_dir_all(setup.root.join("cache0"));
            (1..size).for_each(|rank| drop(fs::remove_dir_all(setup.root.join(format!("cache{rank}")))));
        }
    });
}

/// A library of the system is gone, or older on this host.
#[test]
fn an_entry_that_one_rank_refuses_is_built_again_once() {
    everywhere_small(|size, setup| {
        for bad in 0..size {
            let context = format!("rank {bad} of {size} {setup:?}");
            run(size, |comm| Rank::new(comm, setup, Fault::None).call("old").unwrap());
            let results = run(size, |comm| {
                let taken = if comm.rank() == bad { Taken::Refused("old") } else { Taken::Well };
                let rank = Rank::new(comm, setup, Fault::None).taking(taken);
                let library = rank.call("new").expect(&context);
                let text = fs::read(library.path()).unwrap();
                (rank.compiled(), String::from_utf8_lossy(&text).contains("new"), library.path().to_owned())
            });
            assert!(results[bad].1, "{context}");
            let builds: usize = results.iter().map(|(builds, ..)| builds).sum();
            assert!((1..=size).contains(&builds), "{context}: {results:?}");
            let own = results[bad].2.parent().unwrap().parent().unwrap();
            assert!(own.join("quarantine/libdijitso-form.so").is_file(), "{context}");
            // All are content with what there is now.
            let warm = run(size, |comm| {
                let taken = if comm.rank() == bad { Taken::Refused("old") } else { Taken::Well };
                let rank = Rank::new(comm, setup, Fault::None).taking(taken);
                rank.call("newer").expect(&context);
                rank.compiled()
            });
            assert_eq!(warm, vec![0; size], "{context}");
            (0..size).for_each(|rank| drop(fs::remove_dir_all(setup.root.join(format!("cache{rank}")))));
        }
    });
}

#[test]
fn a_new_one_that_is_refused_too_is_an_error_on_all_ranks_and_goes() {
    everywhere_small(|size, setup| {
        let bad = size - 1;
        let context = format!("rank {bad} of {size} {setup:?}");
        run(size, |comm| Rank::new(comm, setup, Fault::None).call("old form").unwrap());
        let results = run(size, |comm| {
            let taken = if comm.rank() == bad { Taken::Refused("form") } else { Taken::Well };
            let rank = Rank::new(comm, setup, Fault::None).taking(taken);
            rank.call("new form")
        });
        let error = same_error(&results, &context);
        assert_eq!(
            (error.kind(), error.rank()),
            (Kind::Load, i32::try_from(bad).unwrap()),
            "{context}: {error}"
        );
        let own = setup.root.join(format!("cache{}", bad % setup.dirs));
        let own = if own.join(format!("process-{bad}")).is_dir() {
            own.join(format!("process-{bad}"))
        } else {
            own
        };
        assert_eq!(libraries(&own.join("lib")).len(), 0, "{context}");
        let healthy = run(size, |comm| Rank::new(comm, setup, Fault::None).call("new form"));
        assert!(healthy.iter().all(Result::is_ok), "{context}: {healthy:?}");
    });
}

/// No memory, no room for thread-local variables, a disk from which nothing may be run.
#[test]
fn an_entry_that_a_process_cannot_load_for_its_own_trouble_stays() {
    everywhere_small(|size, setup| {
        let bad = size - 1;
        let context = format!("rank {bad} of {size} {setup:?}");
        run(size, |comm| Rank::new(comm, setup, Fault::None).call("form").unwrap());
        let before = libraries(setup.root);
        let results = run(size, |comm| {
            let taken = if comm.rank() == bad { Taken::Failed("form") } else { Taken::Well };
            let rank = Rank::new(comm, setup, Fault::None).taking(taken);
            let result = rank.call("form");
            assert_eq!(rank.compiled(), 0, "{context}");
            result
        });
        assert_eq!(same_error(&results, &context).kind(), Kind::Load, "{context}");
        assert_eq!(libraries(setup.root), before, "{context}");
    });
}

/// Nothing could be built in its place.
#[test]
fn without_a_callback_and_from_a_sealed_cache_an_entry_is_refused_and_stays() {
    for frozen in [false, true] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
        run(2, |comm| Rank::new(comm, setup, Fault::None).call("form").unwrap());
        let results = run(2, |comm| {
            let mut rank = Rank::new(comm, setup, Fault::None).taking(Taken::Refused("form"));
            if frozen {
                rank.params.set("cache.frozen", "true").unwrap();
                return rank.call("form");
            }
            rank.jit("form", Fault::NoGenerate)
        });
        assert_eq!(same_error(&results, "frozen").kind(), Kind::Load);
        assert_eq!(libraries(root.path()).len(), 1);
    }
}

#[test]
fn builds_ahead_are_resolved_and_loaded_by_the_finish() {
    for (taken, ok) in [(Taken::Well, true), (Taken::Refused("form"), false), (Taken::Unseen("form"), false)]
    {
        everywhere_small(|size, setup| {
            let context = format!("{taken:?} {size} {setup:?}");
            let results = run(size, |comm| {
                let mut rank = Rank::new(comm, setup, Fault::None);
                let picky = Picky::new(taken);
                rank.session = Session::new(rank.compiler.clone(), picky.clone());
                let params = rank.params.resolve().unwrap();
                let request = Request { name: "form", params: &params };
                let agreed = CommState::default();
                let pending: Pending =
                    rank.session.start_on(comm, &agreed, Ok(request), &mut writes("form")).unwrap();
                let result = rank.session.finish_on(comm, &agreed, pending, Ok(()), &mut writes("form"));
                let resolved = picky.resolved.load(Ordering::SeqCst);
                assert!(rank.compiled() == 0 || resolved > 0, "{context}");
                result
            });
            if ok {
                assert!(results.iter().all(Result::is_ok), "{context}: {results:?}");
                return;
            }
            let error = same_error(&results, &context);
            assert_eq!(error.kind(), Kind::Load, "{context}: {error}");
            assert_eq!(libraries(setup.root), Vec::<PathBuf>::new(), "{context}");
        });
    }
}

/// Without a communicator, and within `generate`.
#[test]
fn alone_and_nested_calls_build_again_what_is_refused() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
    let jit = |session: &Session, params: &Params, name: &str, text: &'static str| {
        let params = params.resolve().unwrap();
        session.jit(Ok(Request { name, params: &params }), &mut writes(text))
    };
    run(1, |comm| {
        let rank = Rank::new(comm, setup, Fault::None);
        for name in ["form", "element"] {
            jit(&rank.session, &rank.params, name, "old").unwrap();
        }
        let rank = Rank::new(comm, setup, Fault::None).taking(Taken::Refused("old"));
        let library = jit(&rank.session, &rank.params, "form", "new").unwrap();
        assert_eq!((library.origin(), rank.compiled()), (Origin::Built, 1));
        // An element that is refused, needed for another form.
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_, source| {
            jit(&rank.session, &rank.params, "element", "new").map_err(|error| error.kind().code())?;
            source.dependencies.push("element".to_owned());
            source.code = Some(b"needs it".to_vec());
            Ok(())
        });
        let request = Request { name: "other", params: &params };
        rank.session.jit(Ok(request), &mut callbacks).unwrap();
        assert_eq!(rank.compiled(), 3);
        // What is refused whatever is built is tried once more and no longer.
        let rank = Rank::new(comm, setup, Fault::None).taking(Taken::Refused("new"));
        let error = jit(&rank.session, &rank.params, "form", "new").unwrap_err();
        assert_eq!((error.kind(), rank.compiled()), (Kind::Load, 1), "{error}");
        assert!(!setup.root.join("cache0/lib/libdijitso-form.so").exists());
    });
}

#[test]
fn what_is_not_to_be_loaded_is_resolved_and_never_loaded() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "node" };
    run(1, |comm| {
        let mut rank = Rank::new(comm, setup, Fault::None);
        rank.params.set("cache.lib_loader", "import").unwrap();
        let picky = Picky::new(Taken::Refused("broken"));
        rank.session = Session::new(rank.compiler.clone(), picky.clone());
        assert_eq!(rank.call("broken").unwrap_err().kind(), Kind::Load);
        assert_eq!(libraries(root.path()).len(), 0);
        rank.call("correct").unwrap();
        assert_eq!((picky.loads.load(Ordering::SeqCst), picky.resolved.load(Ordering::SeqCst)), (0, 2));
    });
}
