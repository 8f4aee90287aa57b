//! Recording the calls of a program into a plan file.

use std::collections::BTreeSet;

use super::super::plan_entry::PlanEntry;
use super::super::recorder::Recorder;
use super::isa_groups::NativeCompiler;
use super::*;

/// Makes the session of a rank record into this file.
fn record(session: &mut Session, file: &Path) {
    session.recorder = Some(Recorder::new(file));
}

/// Returns the labels of a file in order, and checks that they are as many as its tables.
fn labels(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let label = |line: &str| Some(line.strip_prefix("label = \"")?.strip_suffix('"')?.to_owned());
    let labels: Vec<String> = text.lines().filter_map(label).collect();
    assert_eq!(labels.len(), text.matches("[[module]]").count(), "{text}");
    labels
}

/// Calls for `form`, whose generate asks for `element` and is linked to it.
fn form_and_element(rank: &TestRank<'_>) -> Result<Library> {
    let params = rank.params.resolve().unwrap();
    let mut callbacks = generator(|_, source| {
        let request = Request { name: "element", params: &params };
        let element = rank.session.jit(Ok(request), &mut generates(b"element")).map_err(|_| 1)?;
        source.dependencies = vec![element.signature().to_owned()];
        source.code = Some(b"form".to_vec());
        source.header = Some(b"header".to_vec());
        Ok(())
    });
    let request = Request { name: "form", params: &params };
    rank.session.jit_on(rank.comm, &rank.state, Ok(request), &mut callbacks)
}

/// Cold, from disk and from memory; any rank may build.
#[test]
fn ranks_record_each_entry_once_with_what_it_needs() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let (cold, warm) = (setup.root.join("cold.toml"), setup.root.join("warm.toml"));
        for file in [&cold, &warm] {
            run(size, |comm| {
                let mut rank = TestRank::new(comm, setup, Fault::None);
                record(&mut rank.session, file);
                form_and_element(&rank).unwrap();
                form_and_element(&rank).unwrap();
                rank.jit("other", Fault::None).unwrap();
            });
            assert_eq!(labels(file), ["element", "form", "other"], "{context}");
        }
        let texts = [&cold, &warm].map(|file| fs::read_to_string(file).unwrap());
        assert!(texts[0].contains("needs = [\"element\"]"), "{}", texts[0]);
        assert!(texts[0].contains("header = { entry = \"form\" }"), "{}", texts[0]);
        assert!(texts[0].contains("params.cache.signature = \"name\""), "{}", texts[0]);
    });
}

#[test]
fn all_ways_of_calling_are_recorded() {
    let root = scratch();
    let file = root.path().join("plan.toml");
    run(3, |comm| {
        let mut rank = TestRank::new(comm, Setup::one_dir(root.path()), Fault::None);
        record(&mut rank.session, &file);
        let (session, state) = (&rank.session, &rank.state);
        let params = rank.params.resolve().unwrap();
        let code = || generates(b"code");
        let batch = Batch { names: &["m1", "m2", "m1"], params: &params };
        session.jit_many_on(comm, state, Ok(batch), &mut code()).unwrap();
        let request = Request { name: "started", params: &params };
        let pending = session.start_on(comm, state, Ok(request), &mut code()).unwrap();
        session.finish_on(comm, state, pending, Ok(()), &mut code()).unwrap();
        // Each for itself, as with DIJITSO_COMM_NULL.
        session.jit(Ok(Request { name: "alone", params: &params }), &mut code()).unwrap();
        let request = Request { name: "alone-started", params: &params };
        let pending = session.start(Ok(request), &mut code()).unwrap();
        session.finish(pending, &mut code()).unwrap();
        let text = crate::signature::SourceText { code: b"text", ..Default::default() };
        let with_text = params.with_text(text.digest());
        let request = Request { name: "text", params: &with_text };
        session.jit_on(comm, state, Ok(request), &mut Callbacks::of_text(text)).unwrap();
        // What fails leaves nothing to build.
        session.jit(Ok(Request { name: "absent", params: &params }), &mut Callbacks::default()).unwrap_err();
    });
    let mut names: Vec<String> =
        labels(&file).iter().map(|label| crate::signature::name_of(label).to_owned()).collect();
    // A rank may make a call of its own before another has recorded the last one of all.
    names.sort();
    assert_eq!(names, ["alone", "alone-started", "m1", "m2", "started", "text"]);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("key = \"name\"").count(), 5, "{text}");
}

/// The parameters of the record are those that the entry is signed with, on any machine and config.
#[test]
fn what_is_recorded_has_the_parameters_of_the_call() {
    let root = scratch();
    let file = root.path().join("plan.toml");
    let signatures = run(1, |comm| {
        let mut rank = TestRank::new(comm, Setup::one_dir(root.path()), Fault::None);
        record(&mut rank.session, &file);
        rank.params.set("cache.signature", "hash").unwrap();
        rank.params.set("build.cxxflags", "-O1 '-DX=\"a b\"'").unwrap();
        rank.params.set("build.timeout", "7").unwrap();
        rank.params.set("generator", r#"{"degree":2,"x":[null]}"#).unwrap();
        let library = rank.jit("form", Fault::None).unwrap();
        let params = rank.params.resolve().unwrap();
        let cache = Cache::new(&params.cache.cache_dir, &params.cache);
        let entry = PlanEntry::read(&cache, library.signature()).unwrap().unwrap();
        // From the record alone, too.
        let mut again = test_params(root.path(), &[]);
        entry.settings.iter().for_each(|(key, text)| again.set(key, text).unwrap());
        again.set("generator", &entry.generator).unwrap();
        let request = |params| rank.session.signature(Request { name: "form", params });
        assert_eq!(request(&again.resolve().unwrap()).unwrap(), library.signature());
        library.signature().to_owned()
    });
    let text = fs::read_to_string(&file).unwrap();
    let expected = format!(
        "\n[[module]]\nlabel = \"{0}\"\nname = \"form\"\nentry = \"{0}\"\nheader = {{ entry = \"{0}\" }}\n\
         key = \"name\"\nparams.build.cxx = \"/nonexistent/fake\"\n\
         params.build.cxxflags = \"\"\"-O1 '-DX=\"a b\"'\"\"\"\ngenerator = '{{\"degree\":2,\"x\":[null]}}'\n",
        signatures[0]
    );
    assert!(text.ends_with(&expected), "{text}");
}

/// Several programs, each with its own memory of what is in the file.
#[test]
fn programs_append_to_one_file() {
    let root = scratch();
    let file = root.path().join("plan.toml");
    fs::write(&file, "[plan]\nname = \"mine\"\n\n[[task]]\nlabel = \"first\"\ncommand = \"true\"").unwrap();
    let names: Vec<String> = (0..12).map(|number| format!("m{number}")).collect();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (root, file, names) = (root.path(), &file, &names);
            scope.spawn(move || {
                run(1, |comm| {
                    let mut rank = TestRank::new(comm, Setup::one_dir(root), Fault::None);
                    record(&mut rank.session, file);
                    // In another order each.
                    for name in names.iter().cycle().skip(3 * first).take(names.len()) {
                        rank.jit(name, Fault::None).unwrap();
                    }
                });
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    let recorded = text.split_once("command = \"true\"\n").expect(&text).1;
    let tables = recorded.matches("\n[[module]]\n").count();
    let labels: BTreeSet<&str> = recorded.lines().filter(|line| line.starts_with("label")).collect();
    assert_eq!((tables, labels.len()), (12, 12), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_fails_no_call() {
    let root = scratch();
    let source = root.path().join("main.cpp");
    fs::write(&source, "int main() {}\n").unwrap();
    for file in
        [source.clone(), root.path().to_owned(), root.path().join("missing/plan.toml"), "/dev/full".into()]
    {
        run(2, |comm| {
            let mut rank = TestRank::new(comm, Setup::one_dir(root.path()), Fault::None);
            record(&mut rank.session, &file);
            rank.jit("form", Fault::None).unwrap();
            rank.jit("other", Fault::None).unwrap();
        });
    }
    assert_eq!(fs::read_to_string(&source).unwrap(), "int main() {}\n");
}

/// Ranks with other processors have other entries of the same name; one rank of each kind writes.
#[test]
fn each_group_of_ranks_records_its_own() {
    let root = scratch();
    let (file, fake) = (root.path().join("plan.toml"), root.path().join("fake"));
    fs::write(&fake, "").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o700)).unwrap();
    let signatures = run(4, |comm| {
        let kind = if comm.rank() % 2 == 0 { "old" } else { "new" };
        let mut rank = TestRank::new(comm, Setup::one_dir(root.path()), Fault::None);
        let compiler = NativeCompiler::new(kind, false, true);
        rank.session = Session::new(compiler, Arc::new(FakeLoader { fails: false }));
        record(&mut rank.session, &file);
        for (key, value) in [
            ("cache.signature", "hash"),
            ("build.cxx", fake.to_str().unwrap()),
            ("build.cxxflags_append", "-march=native"),
            ("build.cpu", kind),
        ] {
            rank.params.set(key, value).unwrap();
        }
        rank.jit("form", Fault::None).unwrap().signature().to_owned()
    });
    let expected: BTreeSet<String> = signatures.iter().cloned().collect();
    let found = labels(&file);
    assert_eq!(expected.len(), 2);
    assert_eq!((found.len(), BTreeSet::from_iter(found)), (2, expected));
}
