//! Plans of what programs have used: recorded, or of what a cache holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fakes::{Bench, CountingCompiler, raw_params};
use crate::cache::Cache;
use crate::jit::callbacks::GenerateRequest;
use crate::jit::{Callbacks, Request, Session, Source};
use crate::params::Params;
use crate::plan::Plan;
use crate::plan::definition::{PlanDefinition, SourceDefinition, WorkDefinition};
use crate::plan::file::{parse_plan, read_plan, to_toml};
use crate::plan::from_cache::{embed_texts, plan_of_cache};
use crate::plan::make::{Unobserved, make};
use crate::plan::view::State;
use crate::signature::SourceText;

fn generates(code: &'static str, header: Option<&'static str>) -> Callbacks<'static> {
    let generate = move |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(code.into());
        source.header = header.map(Into::into);
        Ok(())
    };
    Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() }
}

/// A program that uses four libraries: one linked to another, and one whose key is its text.
fn program(session: &Session, params: &Params) {
    let params = params.resolve().unwrap();
    // As generated code includes headers, its own and that of another library.
    let generate = |request: GenerateRequest<'_>, source: &mut Source| {
        let mut code = request.signature.to_owned();
        for (name, linked) in [("element", true), ("table", false)] {
            let request = Request { name, params: &params };
            let library = session.jit(Ok(request), &mut generates(name, Some("header"))).map_err(|_| 1)?;
            if linked {
                source.dependencies.push(library.signature().to_owned());
            }
            code.push_str(library.signature());
        }
        source.code = Some(code.into_bytes());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let form = session.jit(Ok(Request { name: "form", params: &params }), &mut callbacks).unwrap();
    let dependencies = [form.signature()];
    let code = format!("includes {}", form.signature());
    let text = SourceText { code: code.as_bytes(), header: Some(b"of text"), dependencies: &dependencies };
    let with_text = params.with_text(text.digest());
    let request = Request { name: "text", params: &with_text };
    session.jit(Ok(request), &mut Callbacks::of_text(text)).unwrap();
}

fn cache_of(params: &Params) -> Cache {
    let params = params.resolve().unwrap();
    Cache::new(&params.cache.cache_dir, &params.cache)
}

/// Returns the states and signatures of a plan's nodes, by label.
fn states(plan: &Plan) -> Vec<(String, State, Option<String>)> {
    let mut nodes: Vec<_> =
        plan.view().nodes.into_iter().map(|node| (node.label, node.state, node.signature)).collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    nodes
}

/// Makes a plan again after its libraries are gone, and once with other flags.
fn check(definition: &PlanDefinition, bench: &Bench, params: &Params, settings: &[(&str, &str)]) {
    let of = |overrides: &[(&str, &str)]| {
        let overrides: Vec<_> = overrides.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect();
        Plan::of_definition(definition, params, &overrides, None).unwrap()
    };
    let plan = of(&[]);
    plan.refresh(&bench.session).unwrap();
    let all_done = |plan: &Plan| {
        let states = states(plan);
        assert_eq!(states.len(), 4);
        for (label, state, signature) in states {
            assert_eq!((state, signature.as_deref()), (State::Done, Some(label.as_str())));
        }
    };
    all_done(&plan);
    let cache = cache_of(params);
    for library in fs::read_dir(cache.layout().root().join("lib")).unwrap() {
        fs::remove_file(library.unwrap().path()).unwrap();
    }
    let plan = of(&[]);
    let report = make(&plan, &bench.session, &bench.options, &mut Unobserved).unwrap();
    assert_eq!((report.done, report.built), (4, 4));
    all_done(&plan);
    let plan = of(&[("build.cxxflags", "-O0")]);
    let report = make(&plan, &bench.session, &bench.options, &mut Unobserved).unwrap();
    assert_eq!(report.done, 4);
    assert!(states(&plan).iter().all(|(label, _, signature)| signature.as_ref() != Some(label)));
    // The program finds all of it, with no word of the old ones.
    let mut params = params.clone();
    settings
        .iter()
        .chain(&[("build.cxxflags", "-O0")])
        .for_each(|(key, text)| params.set(key, text).unwrap());
    let before = bench.compiler.builds.load(Ordering::SeqCst);
    program(&Session::new(bench.compiler.clone(), Arc::new(super::fakes::AnyLoader)), &params);
    assert_eq!(bench.compiler.builds.load(Ordering::SeqCst), before, "the program has built something");
    for (_, _, signature) in states(&plan) {
        let source = cache.read_source(&signature.unwrap()).unwrap().unwrap();
        let source = String::from_utf8(source).unwrap();
        assert!(states(&plan).iter().all(|(old, ..)| !source.contains(old)), "{source}");
    }
}

#[test]
fn a_recorded_run_is_built_again_under_the_same_signatures() {
    for settings in [&[][..], &[("build.cxxflags_append", "-DX='a b'"), ("generator", "{\"degree\":[null]}")]]
    {
        let root = tempfile::tempdir().unwrap();
        let bench = Bench::new(root.path());
        let file = root.path().join("plan.toml");
        let compiler = Arc::new(CountingCompiler::default());
        let params = raw_params(root.path(), settings);
        let program_of = |file: &Path| {
            let loader = Arc::new(super::fakes::AnyLoader);
            program(&Session::new(compiler.clone(), loader).recording(file), &params);
        };
        program_of(&file);
        // A run that finds everything records the same.
        let warm = root.path().join("warm.toml");
        program_of(&warm);
        let labels = |file: &Path| -> BTreeSet<String> {
            read_plan(file).unwrap().nodes.into_iter().map(|node| node.label).collect()
        };
        assert_eq!(labels(&file), labels(&warm));
        // The parameters are in the file, whatever those of the machine are.
        check(&read_plan(&file).unwrap(), &bench, &raw_params(root.path(), &[]), settings);
    }
}

#[test]
fn a_plan_of_a_cache_builds_its_entries_again() {
    let root = tempfile::tempdir().unwrap();
    let settings = [("build.include_dirs", "/a"), ("generator", "{\"degree\":2}")];
    let params = raw_params(root.path(), &settings);
    program(&Bench::new(root.path()).session, &params);
    let cache = cache_of(&params);
    let all = plan_of_cache(&cache, None, root.path()).unwrap();
    assert_eq!((all.plan.nodes.len(), all.left_out.len(), all.plan.name.as_str()), (4, 0, "cache"));
    let words = ["form".to_owned()];
    let form = plan_of_cache(&cache, Some(&words), root.path()).unwrap().plan;
    let names: Vec<&str> = form.nodes.iter().map(|node| crate::signature::name_of(&node.label)).collect();
    assert_eq!(names, ["element", "table", "form"]);
    assert_eq!((form.nodes[2].needs.len(), form.nodes[2].after.len()), (1, 1));
    assert!(plan_of_cache(&cache, Some(&["none".to_owned()]), root.path()).is_err());

    // As a file, with the sources in it.
    let mut embedded = all.plan.clone();
    embed_texts(&mut embedded, &cache).unwrap();
    let is_text = |source: &SourceDefinition| matches!(source, SourceDefinition::Text(_));
    for node in &embedded.nodes {
        let WorkDefinition::Module(module) = &node.work else { panic!("a module") };
        assert!(is_text(&module.source) && module.header.as_ref().is_none_or(is_text));
    }
    let text = to_toml(&embedded).unwrap();
    let read = parse_plan(text.as_bytes(), Path::new("cache.toml"), root.path()).unwrap();
    // Each in a process of its own: none has the libraries in memory.
    for plan in [&read, &all.plan] {
        check(plan, &Bench::new(root.path()), &raw_params(root.path(), &[]), &settings);
    }
}

#[test]
fn entries_that_cannot_be_built_again_are_left_out_with_what_needs_them() {
    let root = tempfile::tempdir().unwrap();
    let bench = Bench::new(root.path());
    let params = raw_params(root.path(), &[("cache.signature", "name")]);
    program(&bench.session, &params);
    let cache = cache_of(&params);
    for source in fs::read_dir(cache.layout().root().join("src")).unwrap().map(|file| file.unwrap().path()) {
        if source.file_name().unwrap().to_str().unwrap().starts_with("element") {
            fs::remove_file(source).unwrap();
        }
    }
    let made = plan_of_cache(&cache, None, root.path()).unwrap();
    let labels: Vec<&str> = made.plan.nodes.iter().map(|node| node.label.as_str()).collect();
    assert_eq!(labels, ["table"]);
    let reasons: Vec<String> =
        made.left_out.iter().map(|(signature, reason)| format!("{signature}: {reason}")).collect();
    assert_eq!(reasons[0], "element: its source is not kept (cache.src_storage)");
    assert_eq!(reasons[1], "form: it needs element, which is left out");
    assert!(reasons[2].starts_with("text_") && reasons[2].ends_with("needs form, which is left out"));
    let WorkDefinition::Module(table) = &made.plan.nodes[0].work else { panic!("a module") };
    assert_eq!(table.params["cache.signature"], "name");
}
