//! Plans made by one process.

use std::sync::atomic::Ordering;

use super::fakes::{Bench, Events, bytes};
use crate::error::Kind;
use crate::plan::StopRequest;
use crate::plan::make::make;
use crate::plan::view::{ResultOrigin, State};
use crate::plan::{Edge, journal};

/// The case of compmake: A is done, B fails and needs A, C needs B; D goes on.
#[test]
fn what_needs_a_failed_node_is_blocked_and_the_rest_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let a = bench.task("a", &[]);
    let b = bench.task("bad", &[a]);
    let c = bench.task("c", &[b]);
    bench.task("d", &[]);
    let report = bench.make();
    assert_eq!((report.done, report.failed.as_slice(), report.blocked, report.todo), (2, &[b][..], 1, 0));
    let error = report.error.unwrap();
    assert_eq!(error.kind(), Kind::Generate);
    assert!(error.message().starts_with("1 of 4 nodes failed and 1 are blocked: \"bad\": "), "{error}");
    let blocked = bench.plan.status(c).unwrap();
    assert_eq!((blocked.state, blocked.blocked_by), (State::Blocked, Some(b)));
    assert!(blocked.error.unwrap().message().contains("\"bad\", which it needs, has failed"));
    assert_eq!(bench.runs(), ["a", "bad", "d"]);
    // What has failed is tried again, and what is done is found.
    let report = bench.make();
    assert_eq!((report.done, report.built, report.failed.len()), (2, 0, 1));
    assert_eq!(bench.runs(), ["bad"]);
}

#[test]
fn libraries_are_built_once_and_linked_to_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let element = bench.module("element", "int element;", &[]);
    let form = bench.module("form", "int form;", &[element]);
    let report = bench.make();
    assert_eq!((report.done, report.built, report.error), (2, 2, None));
    assert_eq!(
        (bench.runs(), bench.compiler.builds.load(Ordering::SeqCst)),
        (vec!["element".into(), "form".into()], 2)
    );
    let signature = |id| bench.plan.status(id).unwrap().signature.unwrap();
    let record = bench.plan.cache().record(&signature(form)).unwrap().unwrap();
    assert_eq!(record.dependencies, [signature(element)]);
    let again = bench.make();
    assert_eq!((again.done, again.built, bench.runs().len()), (2, 0, 0));
    assert_eq!(bench.plan.status(form).unwrap().origin, Some(ResultOrigin::Hit));
}

/// Early cut-off: an input that is made again with the same bytes makes nothing else again.
#[test]
fn a_task_is_made_again_if_what_it_uses_has_other_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let input = dir.path().join("input");
    let work = |name: &str| {
        let (input, runs) = (input.clone(), std::sync::Arc::clone(&bench.runs));
        let own = name.to_owned();
        let mut work = super::fakes::task_work(name, move |_| {
            crate::sync::lock(&runs).push(own.clone());
            let text = std::fs::read_to_string(&input).unwrap();
            Ok(bytes(text.split('#').next().unwrap()))
        });
        work.inputs = vec![("input".to_owned(), dir.path().join("input"))];
        crate::plan::node::Work::Task(work)
    };
    let parsed = bench.plan.add("parse", work("parse"), true).unwrap();
    let used = bench.task("use", &[parsed]);
    let after = bench.task("after", &[]);
    bench.plan.need(after, parsed, Edge::After).unwrap();
    for (text, expected) in [
        ("one#", &["after", "parse", "use"][..]),
        ("one#a comment", &["parse"]),
        ("two#", &["parse", "use"]),
        ("one#", &[]),
    ] {
        std::fs::write(&input, text).unwrap();
        assert_eq!(bench.make().error, None);
        assert_eq!(bench.runs(), expected, "{text}");
    }
    assert_eq!(bench.plan.state(used), Some(State::Done));
}

#[test]
fn a_failure_that_passes_is_tried_again_as_often_as_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let module = bench.module("form", "int form;", &[]);
    // The build itself tries a killed compiler once more, with less optimisation.
    bench.compiler.kills.store(2, Ordering::SeqCst);
    let failed = bench.make();
    assert_eq!(failed.failed, [module]);
    assert!(bench.plan.status(module).unwrap().error.unwrap().is_passing());
    bench.options.retries = 1;
    bench.compiler.kills.store(2, Ordering::SeqCst);
    let mut events = Events::default();
    assert_eq!(bench.make_watched(&mut events).error, None);
    assert!(events.0.contains(&"0 Retried".to_owned()), "{:?}", events.0);
    // A refusal is never tried again.
    let refused = bench.module("refused", "refused", &[]);
    let before = bench.compiler.builds.load(Ordering::SeqCst);
    assert_eq!(bench.make().failed, [refused]);
    assert_eq!(bench.compiler.builds.load(Ordering::SeqCst), before + 1);
}

#[test]
fn fail_fast_starts_nothing_after_the_first_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    (bench.options.fail_fast, bench.options.jobs) = (true, 1);
    bench.task("bad", &[]);
    for number in 0..20 {
        bench.task(&format!("later-{number}"), &[]);
    }
    let report = bench.make();
    assert_eq!((report.failed.len(), report.done, report.todo), (1, 0, 20));
    assert_eq!(bench.runs(), ["bad"]);
}

/// Weakness (a) of compmake: Ctrl-C marked the running job as failed.
#[test]
fn what_was_stopped_is_still_to_be_made_and_never_failed() {
    for request in [StopRequest::Finish, StopRequest::Kill] {
        let dir = tempfile::tempdir().unwrap();
        let bench = std::sync::Arc::new(Bench::new(dir.path()));
        let weak = std::sync::Arc::downgrade(&bench);
        let first = bench.task_by("stops", &[], move |_| {
            weak.upgrade().unwrap().plan.stop(request);
            Ok(bytes("done"))
        });
        let second = bench.task("second", &[first]);
        let report = bench.make();
        assert_eq!((report.done, report.failed.len(), report.todo), (1, 0, 1), "{request:?}");
        assert_eq!(report.error.unwrap().kind(), Kind::Cancelled);
        assert_eq!(bench.plan.state(second), Some(State::Todo));
        // A make that has stopped takes the request back.
        assert_eq!(bench.make().error, None);
    }
}

#[test]
fn targets_are_made_with_what_they_need_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let a = bench.task("a", &[]);
    let b = bench.task("b", &[a]);
    bench.task("c", &[b]);
    bench.options.targets = vec![b];
    assert_eq!((bench.make().done, bench.runs()), (2, vec!["a".to_owned(), "b".to_owned()]));
    bench.options.targets = vec![9];
    let error = make(&bench.plan, &bench.session, &bench.options, &mut Events::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
}

#[test]
fn a_cycle_is_an_error_with_its_chain() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let a = bench.task("a", &[]);
    let b = bench.task("b", &[a]);
    let c = bench.task("c", &[b]);
    bench.plan.need(a, c, Edge::After).unwrap();
    let error = make(&bench.plan, &bench.session, &bench.options, &mut Events::default()).unwrap_err();
    assert!(error.message().ends_with("each node needs the next: a -> c -> b -> a"), "{error}");
    assert!(bench.plan.need(a, a, Edge::Use).is_err());
}

#[test]
fn labels_may_have_blanks_and_any_letters_and_are_unique() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    for label in ["with blanks", "größe ∇u", "a/b"] {
        bench.task(label, &[]);
    }
    assert_eq!(bench.make().done, 3);
    let work = || crate::plan::node::Work::Task(super::fakes::task_work("x", |_| Ok(bytes(""))));
    assert!(bench.plan.add("a/b", work(), true).unwrap_err().message().contains("have the label \"a/b\""));
    assert!(bench.plan.add("a\nb", work(), true).is_err());
    bench.plan.add("x-2", work(), true).unwrap();
    let unnamed = [(); 4].map(|()| bench.plan.add("", work(), true).unwrap());
    let labels = unnamed.map(|id| bench.plan.spec(id).unwrap().label.clone());
    assert_eq!(labels, ["x", "x-1", "x-3", "x-4"]);
}

#[test]
fn the_journal_tells_what_was_built_and_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    bench.task("a", &[]);
    bench.task("bad", &[]);
    bench.make();
    bench.make();
    let history = journal::read_history(&bench.plan.cache(), bench.plan.key());
    assert_eq!(history.nodes.len(), 2);
    assert!(history.nodes["a"].error.is_none() && history.nodes["bad"].error.is_some());
    assert_eq!(history.last_end.map(|end| (end.done, end.failed)), Some((1, 1)));
}

#[test]
fn a_chain_of_a_thousand_and_ten_thousand_nodes_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let mut before = bench.task("0", &[]);
    for number in 1..1000 {
        before = bench.task(&number.to_string(), &[before]);
    }
    let wide: Vec<usize> = (0..2000).map(|number| bench.task(&format!("wide-{number}"), &[])).collect();
    bench.task("all", &wide);
    let report = bench.make();
    assert_eq!((report.done, report.built), (3001, 3001));
}

#[test]
fn a_refreshed_plan_knows_what_is_in_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let states = |bench: &Bench| {
        bench.plan.refresh(&bench.session).unwrap();
        let view = bench.plan.view();
        view.nodes.iter().map(|node| (node.state.word(), node.stale)).collect::<Vec<_>>()
    };
    let plan = |bench: &Bench| {
        let a = bench.task("a", &[]);
        let bad = bench.task("bad", &[a]);
        bench.task("c", &[bad]);
        bench.module("form", "int form;", &[]);
    };
    let first = Bench::new(dir.path());
    plan(&first);
    assert_eq!(states(&first), [("todo", false); 4]);
    first.make();
    let second = Bench::new(dir.path());
    plan(&second);
    assert_eq!(states(&second), [("done", false), ("failed", false), ("blocked", false), ("done", false)]);
    let view = second.plan.view();
    assert_eq!((view.nodes[2].blocked_by, view.nodes[1].error.is_some()), (Some(1), true));
    // What was done and is gone is stale.
    let signature = view.nodes[0].signature.clone().unwrap();
    std::fs::remove_file(second.plan.cache().layout().result(&signature)).unwrap();
    assert_eq!(states(&second)[0], ("todo", true));
}
