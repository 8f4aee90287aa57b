//! Nodes whose callbacks add nodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::fakes::{Bench, bytes, task_work};
use crate::error::{Error, Kind};
use crate::jit::Source;
use crate::plan::node::{ModuleSource, ModuleWork, NodeCall, Work};
use crate::plan::view::State;
use crate::plan::{Edge, NodeId};
use crate::sync::lock;

#[test]
fn a_callback_of_a_task_adds_nodes_and_is_called_again_when_they_are_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    bench.options.jobs = 1;
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let sum = bench.task_by("sum", &[], move |call| {
        *lock(&counted) += 1;
        let mut parts = call.plan.needs(call.node);
        if parts.is_empty() {
            for part in ["x", "y"] {
                let work = Work::Task(task_work(part, move |_| Ok(bytes(part))));
                let id = call.plan.add("", work, true)?;
                call.need(id);
                parts.push(id);
            }
        }
        Ok(bytes(&format!("{} parts", parts.len())))
    });
    let user = bench.task("user", &[sum]);
    let report = bench.make();
    assert_eq!((report.done, report.error), (4, None));
    assert_eq!((*lock(&calls), bench.plan.state(user)), (2, Some(State::Done)));
    assert!(bench.plan.find("sum-x").is_some() && bench.plan.find("sum-y").is_some());
}

#[test]
fn a_source_is_generated_once_and_linked_to_what_its_callback_has_added() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let params = Arc::clone(bench.plan.params());
    let generate = move |call: &NodeCall<'_>, source: &mut Source| {
        *lock(&counted) += 1;
        let element = |_: &NodeCall<'_>, source: &mut Source| {
            source.code = Some(b"int element;".to_vec());
            Ok(())
        };
        let work = ModuleWork {
            name: "element".to_owned(),
            params: Arc::clone(call.plan.params()),
            source: ModuleSource::Generate(Arc::new(element)),
        };
        let id = call.plan.add("", Work::Module(work), false).unwrap();
        call.need(id);
        source.code = Some(b"int form;".to_vec());
        Ok(())
    };
    let work =
        ModuleWork { name: "form".to_owned(), params, source: ModuleSource::Generate(Arc::new(generate)) };
    let form = bench.plan.add("form", Work::Module(work), false).unwrap();
    let report = bench.make();
    assert_eq!((report.done, report.built, report.error), (2, 2, None));
    assert_eq!(*lock(&calls), 1);
    let signature = |id: NodeId| bench.plan.status(id).unwrap().signature.unwrap();
    let record = bench.plan.cache().record(&signature(form)).unwrap().unwrap();
    assert_eq!(record.dependencies, [signature(bench.plan.find("form-element").unwrap())]);
}

#[test]
fn what_a_failed_callback_had_added_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let parent = bench.task_by("parent", &[], move |call| {
        if call.plan.needs(call.node).is_empty() {
            let id = call.plan.add("", Work::Task(task_work("child", |_| Ok(bytes("")))), true)?;
            call.need(id);
        }
        if told.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Generate, "not today"));
        }
        Ok(bytes("whole"))
    });
    let report = bench.make();
    assert_eq!((report.done, report.failed.as_slice(), report.todo), (0, &[parent][..], 0));
    assert_eq!(bench.plan.find("parent-child"), None);
    fails.store(false, Ordering::SeqCst);
    let report = bench.make();
    assert_eq!((report.done, report.error), (2, None));
}

#[test]
fn a_failed_child_blocks_its_parent_alone() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let parent = bench.task_by("parent", &[], move |call| {
        let fails = |_: &NodeCall<'_>| Err(Error::new(Kind::Generate, "no child"));
        call.need(call.plan.add("", Work::Task(task_work("child", fails)), true)?);
        Ok(bytes(""))
    });
    bench.task("other", &[]);
    let report = bench.make();
    assert_eq!((report.done, report.failed.len(), report.blocked), (1, 1, 1));
    assert_eq!(bench.plan.state(parent), Some(State::Blocked));
}

#[test]
fn a_circle_that_callbacks_make_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    bench.task_by("parent", &[], move |call| {
        let id = call.plan.add("", Work::Task(task_work("child", |_| Ok(bytes("")))), true)?;
        call.plan.need(id, call.node, Edge::Use)?;
        call.need(id);
        Ok(bytes(""))
    });
    let report = bench.make();
    let message = report.error.unwrap().message().to_owned();
    assert!(message.contains("each node needs the next: parent -> parent-child -> parent"), "{message}");
}
