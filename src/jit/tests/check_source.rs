//! A generator that has changed: `cache.check_source`.

use std::cell::Cell;

use super::*;

/// A generator, and how often it was asked.
struct Generator {
    code: &'static str,
    header: Option<&'static str>,
    asked: Cell<usize>,
}

impl Generator {
    fn new(code: &'static str) -> Self {
        Self { code, header: None, asked: Cell::new(0) }
    }

    fn callbacks(&self) -> Callbacks<'_> {
        generator(|_, source| {
            self.asked.set(self.asked.get() + 1);
            source.code = Some(self.code.as_bytes().to_vec());
            source.header = self.header.map(|text| text.as_bytes().to_vec());
            if self.code.is_empty() { Err(9) } else { Ok(()) }
        })
    }
}

/// Makes a call of a new process on each rank. Returns its result, how often generate was asked, and the
/// builds.
fn call(
    comm: &ThreadComm,
    setup: Setup<'_>,
    mode: &str,
    given: &Generator,
) -> (Result<Library>, usize, usize) {
    let mut rank = TestRank::new(comm, setup, Fault::None);
    rank.params.set("cache.check_source", mode).unwrap();
    let params = rank.params.resolve().unwrap();
    let request = Request { name: "form", params: &params };
    let result = rank.session.jit_on(comm, &rank.state, Ok(request), &mut given.callbacks());
    let asked = given.asked.get();
    if result.is_ok() {
        let again = rank.session.jit_on(comm, &rank.state, Ok(request), &mut given.callbacks()).unwrap();
        assert_eq!((again.origin(), given.asked.get()), (Origin::Memory, asked), "once for each process");
    }
    (result, asked, rank.builds())
}

/// Makes a call on all ranks. Returns the origins, and how often generate was asked and the compiler run.
fn all(size: usize, setup: Setup<'_>, mode: &str, code: &'static str) -> (Vec<Origin>, usize, usize) {
    let results = run(size, |comm| {
        let (result, asked, builds) = call(comm, setup, mode, &Generator::new(code));
        (result.unwrap().origin(), asked, builds)
    });
    let sum = |count: fn(&(Origin, usize, usize)) -> usize| results.iter().map(count).sum();
    let counts = (sum(|(_, asked, _)| *asked), sum(|(.., builds)| *builds));
    (results.into_iter().map(|(origin, ..)| origin).collect(), counts.0, counts.1)
}

#[test]
fn a_changed_generator_is_built_again_on_all_ranks() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let builds = expected_builds(size, setup);
        let disk = vec![Origin::Disk; size];
        assert_eq!(all(size, setup, "rebuild", "old").1, builds, "{context}: nothing to compare with");
        assert_eq!(all(size, setup, "never", "new"), (disk.clone(), 0, 0), "{context}");
        assert_eq!(all(size, setup, "warn", "new"), (disk.clone(), 1, 0), "{context}");
        assert_eq!(all(size, setup, "rebuild", "old"), (disk.clone(), 1, 0), "{context}");
        let (origins, asked, built) = all(size, setup, "rebuild", "new");
        assert_eq!((asked, built), (builds + 1, builds), "{context}");
        assert!(origins.iter().all(|origin| *origin != Origin::Memory), "{context}: {origins:?}");
        assert_eq!(all(size, setup, "rebuild", "new"), (disk, 1, 0), "{context}");
    });
}

#[test]
fn an_entry_that_is_out_of_date_in_one_directory_is_built_again() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 2, buildon: "node" };
    all(4, setup, "never", "new");
    let lib = root.path().join("cache1/lib/libdijitso-form.so");
    fs::remove_file(lib).unwrap();
    // TestRank 1 alone has the other directory, and an old generator.
    run(4, |comm| {
        let code = if comm.rank() == 1 { "old" } else { "new" };
        call(comm, setup, "never", &Generator::new(code)).0.unwrap();
    });
    assert_eq!(all(4, setup, "rebuild", "new").2, 1);
    assert_eq!(all(4, setup, "rebuild", "new").2, 0);
}

#[test]
fn a_generate_that_fails_when_it_is_asked_fails_on_all_ranks() {
    everywhere(|size, setup| {
        all(size, setup, "never", "code");
        for mode in ["warn", "rebuild"] {
            let results = run(size, |comm| call(comm, setup, mode, &Generator::new("")).0);
            let error = same_error(&results, mode);
            assert_eq!((error.kind(), error.rank()), (Kind::Generate, 0));
        }
        assert_eq!(all(size, setup, "rebuild", "code").2, 0, "the entry stays");
    });
}

#[test]
fn ranks_that_check_differently_make_different_calls() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let mode = if comm.rank() == 0 { "rebuild" } else { "never" };
        call(comm, setup, mode, &Generator::new("code")).0
    });
    assert_eq!(same_error(&results, "modes").kind(), Kind::RanksDisagree);
}

/// Without a communicator: header and code count, a frozen cache has a warning, a source text needs no check.
#[test]
fn a_call_without_a_communicator_checks_what_it_finds() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(1, |comm| {
        let alone = |settings: &[(&str, &str)], given: &Generator| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            for (key, value) in settings {
                rank.params.set(key, value).unwrap();
            }
            let params = rank.params.resolve().unwrap();
            let request = Request { name: "form", params: &params };
            let library = rank.session.jit(Ok(request), &mut given.callbacks()).unwrap();
            (library.origin(), given.asked.get())
        };
        let rebuild = ("cache.check_source", "rebuild");
        let header = |text| Generator { header: Some(text), ..Generator::new("code") };
        assert_eq!(alone(&[rebuild], &header("a")), (Origin::Built, 1));
        assert_eq!(alone(&[rebuild], &header("a")), (Origin::Disk, 1));
        assert_eq!(alone(&[], &header("b")), (Origin::Disk, 0));
        assert_eq!(alone(&[("cache.check_source", "warn")], &header("b")), (Origin::Disk, 1));
        assert_eq!(alone(&[rebuild, ("cache.frozen", "true")], &header("b")), (Origin::Disk, 1));
        assert_eq!(alone(&[rebuild], &header("b")), (Origin::Built, 2));
        assert_eq!(alone(&[rebuild], &Generator::new("code")), (Origin::Built, 2));
        let text = crate::signature::SourceText { code: b"text", ..Default::default() };
        for origin in [Origin::Built, Origin::Disk] {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("cache.check_source", "rebuild").unwrap();
            let params = rank.params.resolve().unwrap().with_text(text.digest());
            let request = Request { name: "form", params: &params };
            let library = rank.session.jit(Ok(request), &mut Callbacks::of_text(text)).unwrap();
            assert_eq!(library.origin(), origin);
        }
    });
}

/// A parent is out of date if a call within its generate has built a library again.
#[test]
fn a_parent_is_built_again_with_its_dependency() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let built = |code: &'static str| {
        run(2, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("cache.check_source", "rebuild").unwrap();
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|_, source| {
                let request = Request { name: "element", params: &params };
                let element = rank.session.jit(Ok(request), &mut Generator::new(code).callbacks());
                source.dependencies.push(element.unwrap().signature().to_owned());
                source.code = Some(b"parent".to_vec());
                Ok(())
            });
            let request = Request { name: "parent", params: &params };
            rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).unwrap();
            rank.builds()
        })
        .into_iter()
        .sum::<usize>()
    };
    assert_eq!([built("old"), built("old"), built("new"), built("new")], [2, 0, 2, 0]);
}

/// The error of a missing symbol says when the library was built, and what to do.
#[test]
fn a_missing_symbol_of_a_library_from_disk_is_explained() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    all(1, setup, "never", "code");
    run(1, |comm| {
        let library = call(comm, setup, "never", &Generator::new("code")).0.unwrap();
        let error = library.symbol("square").unwrap_err();
        for part in [
            "was not built by this call, but on 20",
            &crate::host_name(),
            "dijitso_jit_source",
            "check_source",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.set_loader(Arc::new(FakeLoader { fails: true }));
        let error = rank.jit("form", Fault::None).unwrap_err();
        assert!(error.message().contains("was not built by this call"), "{error}");
    });
}
