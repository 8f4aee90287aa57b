//! Libraries that the dynamic loader refuses, before publication and later.

use super::*;
use crate::jit::pending::Pending;

/// The fault of a loader. Those with a text concern files that contain the text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LoaderFault {
    None,
    /// The file is at fault.
    BadFile(&'static str),
    /// The process is at fault: another one could load the file.
    BadProcess(&'static str),
    /// The file cannot be loaded, and resolving does not show it.
    Unresolved(&'static str),
}

struct RefusingLoader {
    fault: LoaderFault,
    loads: AtomicUsize,
    resolved: AtomicUsize,
}

impl RefusingLoader {
    fn new(fault: LoaderFault) -> Arc<Self> {
        Arc::new(Self { fault, loads: AtomicUsize::new(0), resolved: AtomicUsize::new(0) })
    }

    fn check(path: &Path, text: &str) -> Result<()> {
        let file = fs::read(path).unwrap_or_default();
        if file.is_empty() || String::from_utf8_lossy(&file).contains(text) {
            let reason = "undefined symbol: other";
            return Err(Error::new(Kind::Load, format!("cannot load {}: {reason}", path.display())));
        }
        Ok(())
    }
}

impl Loader for RefusingLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            LoaderFault::None => {}
            LoaderFault::BadFile(text) | LoaderFault::BadProcess(text) | LoaderFault::Unresolved(text) => {
                Self::check(path, text)?
            }
        }
        FakeLoader { fails: false }.load(path)
    }

    fn resolve(&self, path: &Path) -> Result<()> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            LoaderFault::BadFile(text) => Self::check(path, text),
            _ => Ok(()),
        }
    }
}

impl TestRank<'_> {
    fn with_loader_fault(mut self, fault: LoaderFault) -> Self {
        self.set_loader(RefusingLoader::new(fault));
        self
    }

    /// Makes a call whose source is this text.
    fn call(&self, text: &'static str) -> Result<Library> {
        let params = self.params.resolve().unwrap();
        let mut callbacks = generates(text.as_bytes());
        let request = Request { name: "form", params: &params };
        self.session.jit_on(self.comm, &CommState::default(), Ok(request), &mut callbacks)
    }
}

/// Returns the published and staged libraries below a directory.
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

/// Such a library was published, and the corrected source never built.
#[test]
fn a_refused_library_is_not_published_and_a_corrected_source_is_built() {
    everywhere_small(|size, setup| {
        let context = format!("{size} {setup:?}");
        let results = run(size, |comm| {
            let rank =
                TestRank::new(comm, setup, Fault::None).with_loader_fault(LoaderFault::BadFile("broken"));
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
                let fault =
                    if comm.rank() == bad { LoaderFault::BadProcess("form") } else { LoaderFault::None };
                let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(fault);
                (rank.call("form"), rank.builds())
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

/// A system library may be missing or older on one host.
#[test]
fn an_entry_that_one_rank_refuses_is_built_again_once() {
    everywhere_small(|size, setup| {
        for bad in 0..size {
            let context = format!("rank {bad} of {size} {setup:?}");
            run(size, |comm| TestRank::new(comm, setup, Fault::None).call("old").unwrap());
            let results = run(size, |comm| {
                let fault = if comm.rank() == bad { LoaderFault::BadFile("old") } else { LoaderFault::None };
                let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(fault);
                let library = rank.call("new").expect(&context);
                let text = fs::read(library.path()).unwrap();
                (rank.builds(), String::from_utf8_lossy(&text).contains("new"), library.path().to_owned())
            });
            assert!(results[bad].1, "{context}");
            let builds: usize = results.iter().map(|(builds, ..)| builds).sum();
            assert!((1..=size).contains(&builds), "{context}: {results:?}");
            let own = results[bad].2.parent().unwrap().parent().unwrap();
            assert!(own.join("quarantine/libdijitso-form.so").is_file(), "{context}");
            // All ranks can load the new entry.
            let warm = run(size, |comm| {
                let fault = if comm.rank() == bad { LoaderFault::BadFile("old") } else { LoaderFault::None };
                let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(fault);
                rank.call("newer").expect(&context);
                rank.builds()
            });
            assert_eq!(warm, vec![0; size], "{context}");
            (0..size).for_each(|rank| drop(fs::remove_dir_all(setup.root.join(format!("cache{rank}")))));
        }
    });
}

#[test]
fn a_rebuilt_library_that_is_refused_too_is_an_error_on_all_ranks_and_is_quarantined() {
    everywhere_small(|size, setup| {
        let bad = size - 1;
        let context = format!("rank {bad} of {size} {setup:?}");
        run(size, |comm| TestRank::new(comm, setup, Fault::None).call("old form").unwrap());
        let results = run(size, |comm| {
            let fault = if comm.rank() == bad { LoaderFault::BadFile("form") } else { LoaderFault::None };
            let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(fault);
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
        let healthy = run(size, |comm| TestRank::new(comm, setup, Fault::None).call("new form"));
        assert!(healthy.iter().all(Result::is_ok), "{context}: {healthy:?}");
    });
}

/// The process may have no memory, no room for thread-local variables, or a disk that is mounted noexec.
#[test]
fn an_entry_stays_if_the_process_is_at_fault() {
    everywhere_small(|size, setup| {
        let bad = size - 1;
        let context = format!("rank {bad} of {size} {setup:?}");
        run(size, |comm| TestRank::new(comm, setup, Fault::None).call("form").unwrap());
        let before = libraries(setup.root);
        let results = run(size, |comm| {
            let fault = if comm.rank() == bad { LoaderFault::BadProcess("form") } else { LoaderFault::None };
            let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(fault);
            let result = rank.call("form");
            assert_eq!(rank.builds(), 0, "{context}");
            result
        });
        assert_eq!(same_error(&results, &context).kind(), Kind::Load, "{context}");
        assert_eq!(libraries(setup.root), before, "{context}");
    });
}

/// Nothing can replace the entry.
#[test]
fn a_refused_entry_stays_without_a_callback_and_in_a_frozen_cache() {
    for frozen in [false, true] {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        run(2, |comm| TestRank::new(comm, setup, Fault::None).call("form").unwrap());
        let results = run(2, |comm| {
            let mut rank =
                TestRank::new(comm, setup, Fault::None).with_loader_fault(LoaderFault::BadFile("form"));
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
fn background_builds_are_resolved_and_loaded_by_the_finish() {
    for (fault, ok) in [
        (LoaderFault::None, true),
        (LoaderFault::BadFile("form"), false),
        (LoaderFault::Unresolved("form"), false),
    ] {
        everywhere_small(|size, setup| {
            let context = format!("{fault:?} {size} {setup:?}");
            let results = run(size, |comm| {
                let mut rank = TestRank::new(comm, setup, Fault::None);
                let loader = RefusingLoader::new(fault);
                rank.set_loader(loader.clone());
                let params = rank.params.resolve().unwrap();
                let request = Request { name: "form", params: &params };
                let state = CommState::default();
                let pending: Pending =
                    rank.session.start_on(comm, &state, Ok(request), &mut generates(b"form")).unwrap();
                let result = rank.session.finish_on(comm, &state, pending, Ok(()), &mut generates(b"form"));
                let resolved = loader.resolved.load(Ordering::SeqCst);
                assert!(rank.builds() == 0 || resolved > 0, "{context}");
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
fn local_and_nested_calls_build_again_what_is_refused() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let jit = |session: &Session, params: &Params, name: &str, text: &'static str| {
        let params = params.resolve().unwrap();
        session.jit(Ok(Request { name, params: &params }), &mut generates(text.as_bytes()))
    };
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        for name in ["form", "element"] {
            jit(&rank.session, &rank.params, name, "old").unwrap();
        }
        let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(LoaderFault::BadFile("old"));
        let library = jit(&rank.session, &rank.params, "form", "new").unwrap();
        assert_eq!((library.origin(), rank.builds()), (Origin::Built, 1));
        // A refused element that another form needs.
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_, source| {
            jit(&rank.session, &rank.params, "element", "new").map_err(|error| error.kind().code())?;
            source.dependencies.push("element".to_owned());
            source.code = Some(b"needs it".to_vec());
            Ok(())
        });
        let request = Request { name: "other", params: &params };
        rank.session.jit(Ok(request), &mut callbacks).unwrap();
        assert_eq!(rank.builds(), 3);
        // If the rebuilt library is refused, too, it is not built again.
        let rank = TestRank::new(comm, setup, Fault::None).with_loader_fault(LoaderFault::BadFile("new"));
        let error = jit(&rank.session, &rank.params, "form", "new").unwrap_err();
        assert_eq!((error.kind(), rank.builds()), (Kind::Load, 1), "{error}");
        assert!(!setup.root.join("cache0/lib/libdijitso-form.so").exists());
    });
}

#[test]
fn with_the_loader_import_a_library_is_resolved_and_never_loaded() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(1, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.params.set("cache.lib_loader", "import").unwrap();
        let loader = RefusingLoader::new(LoaderFault::BadFile("broken"));
        rank.set_loader(loader.clone());
        assert_eq!(rank.call("broken").unwrap_err().kind(), Kind::Load);
        assert_eq!(libraries(root.path()).len(), 0);
        rank.call("correct").unwrap();
        assert_eq!((loader.loads.load(Ordering::SeqCst), loader.resolved.load(Ordering::SeqCst)), (0, 2));
    });
}
