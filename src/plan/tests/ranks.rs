//! Plans made by ranks that are threads: one failing node on one rank, each strategy, one to five ranks, one, two
//! or as many cache directories.

use std::sync::Arc;

use super::fakes::{Bench, bytes, task_work};
use crate::error::{Error, Kind, Result};
use crate::jit::CommState;
use crate::parallel::Communicator;
use crate::parallel::threads::{ThreadComm, run, run_on_hosts};
use crate::plan::make::{MakeOptions, MakeReport, Unobserved, library, make_on};
use crate::plan::node::Work;
use crate::plan::view::State;
use crate::plan::{NodeId, StopRequest};
use crate::sync::lock;

/// The outcome of a make on one rank.
#[derive(Debug)]
struct RankEnd {
    report: Result<MakeReport>,
    /// Label, state and message of each node.
    nodes: Vec<(String, State, String)>,
    /// The nodes whose callbacks have run here.
    runs: Vec<String>,
}

fn bench(root: &std::path::Path, comm: &ThreadComm, dirs: usize, buildon: &str) -> Bench {
    let dir = format!("cache{}", comm.rank() % dirs);
    Bench::with(root, &[("cache.cache_dir", &dir), ("parallel.buildon", buildon), ("parallel.timeout", "60")])
}

fn make_bench(bench: &Bench, comm: &ThreadComm) -> RankEnd {
    let options = MakeOptions { jobs: 1, load: true, ..bench.options.clone() };
    let state = CommState::default();
    let report = make_on(&bench.plan, &bench.session, comm, &state, &options, &mut Unobserved);
    let mut nodes: Vec<(String, State, String)> = (0..bench.plan.len())
        .filter_map(|id| {
            let (spec, status) = (bench.plan.spec(id)?, bench.plan.status(id)?);
            let message = status.error.map(|error| error.message().to_owned()).unwrap_or_default();
            Some((spec.label.clone(), status.state, message))
        })
        .collect();
    nodes.sort();
    RankEnd { report, nodes, runs: bench.runs() }
}

/// Checks that all ranks have the same, and returns it.
fn same(ends: &[RankEnd]) -> &RankEnd {
    for end in ends {
        match (&end.report, &ends[0].report) {
            (Ok(own), Ok(first)) => {
                let failed = |report: &MakeReport| report.failed.len();
                assert_eq!((own.done, failed(own), own.blocked), (first.done, failed(first), first.blocked));
                assert_eq!((own.todo, own.built, &own.error), (first.todo, first.built, &first.error));
            }
            (own, first) => assert_eq!(own.as_ref().err(), first.as_ref().err()),
        }
        assert_eq!(end.nodes, ends[0].nodes);
    }
    &ends[0]
}

/// Adds three tasks, and three libraries of which the last two need a task or a library.
fn fill(bench: &Bench) -> Vec<NodeId> {
    let mesh = bench.task("mesh", &[]);
    let table = bench.task("table", &[mesh]);
    let other = bench.task("other", &[]);
    let element = bench.module("element", "int element;", &[]);
    let form = bench.module("form", "int form;", &[element]);
    let late = bench.module("late", "int late;", &[table]);
    vec![mesh, table, other, element, form, late]
}

#[test]
fn one_failing_node_has_the_same_outcome_on_every_rank() {
    for buildon in ["node", "root", "process"] {
        for (size, dirs) in [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (5, 1), (5, 2), (5, 5)] {
            for failing in [None, Some("table"), Some("element")] {
                let dir = tempfile::tempdir().unwrap();
                let ends = run(size, |comm| {
                    let bench = bench(dir.path(), comm, dirs, buildon);
                    let ids = fill(&bench);
                    match failing {
                        Some("table") => {
                            let bad = bench.task("bad", &[ids[1]]);
                            bench.task("blocked", &[bad]);
                        }
                        Some(_) => {
                            let bad = bench.module("bad", "refused", &[ids[3]]);
                            bench.task("blocked", &[bad]);
                        }
                        None => {}
                    }
                    let end = make_bench(&bench, comm);
                    for id in [ids[3], ids[4], ids[5]] {
                        library(&bench.plan, &bench.session, id).unwrap();
                    }
                    end
                });
                let what = format!("{buildon}, {size} ranks, {dirs} directories, {failing:?}");
                let end = same(&ends);
                let report = end.report.as_ref().unwrap();
                let expected = if failing.is_some() { (6, 1, 1) } else { (6, 0, 0) };
                assert_eq!((report.done, report.failed.len(), report.blocked), expected, "{what}");
                // Each callback has run on one rank, once in each directory of its own with "process".
                let mut runs: Vec<&String> = ends.iter().flat_map(|end| &end.runs).collect();
                runs.sort();
                if buildon != "process" {
                    let count = runs.len();
                    runs.dedup();
                    assert_eq!(runs.len(), count, "{what}: {runs:?}");
                }
            }
        }
    }
}

#[test]
fn hosts_share_the_work_and_each_has_everything_at_the_end() {
    for round in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let ends = run_on_hosts(&["a", "b", "c", "d"], |comm| {
            let bench = bench(dir.path(), comm, 4, "node");
            let all: Vec<NodeId> = (0..16)
                .map(|number| {
                    let runs = Arc::clone(&bench.runs);
                    bench.task_by(&format!("t{number}"), &[], move |_| {
                        lock(&runs).push(format!("t{number}"));
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        Ok(bytes("x"))
                    })
                })
                .collect();
            bench.task("all", &all);
            make_bench(&bench, comm)
        });
        let report = same(&ends).report.as_ref().unwrap();
        assert_eq!((report.done, &report.error), (17, &None), "round {round}");
        let runs: Vec<usize> = ends.iter().map(|end| end.runs.len()).collect();
        assert_eq!(runs.iter().sum::<usize>(), 17, "{runs:?}");
        assert!(runs.iter().all(|count| *count >= 2), "each has work: {runs:?}");
    }
}

#[test]
fn different_plans_are_an_error_on_all_ranks() {
    for size in [2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(size, |comm| {
            let bench = bench(dir.path(), comm, 1, "node");
            bench.task(if comm.rank() == 1 { "mine" } else { "ours" }, &[]);
            make_bench(&bench, comm)
        });
        for end in &ends {
            assert_eq!(end.report.as_ref().unwrap_err().kind(), Kind::RanksDisagree);
        }
    }
}

#[test]
fn a_cache_that_one_rank_cannot_use_fails_all() {
    for bad in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "no directory").unwrap();
        let ends = run(3, |comm| {
            let place = if comm.rank() == bad { "file" } else { "cache" };
            let bench = Bench::with(dir.path(), &[("cache.cache_dir", place), ("parallel.timeout", "60")]);
            bench.task("a", &[]);
            make_bench(&bench, comm)
        });
        let error = same(&ends).report.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.rank()), (Kind::Cache, i32::try_from(bad).unwrap()));
    }
}

#[test]
fn a_callback_adds_nodes_on_its_rank_and_all_ranks_know_of_them() {
    for fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(3, |comm| {
            let bench = bench(dir.path(), comm, 3, "node");
            for parent in ["p", "q"] {
                let id = bench.task_by(parent, &[], move |call| {
                    if call.plan.needs(call.node).is_empty() {
                        let child = move |_: &crate::plan::node::NodeCall<'_>| {
                            if fails {
                                Err(Error::new(Kind::Generate, "no child"))
                            } else {
                                Ok(bytes("child"))
                            }
                        };
                        call.need(call.plan.add("", Work::Task(task_work("child", child)), true)?);
                    }
                    Ok(bytes("parent"))
                });
                bench.task(&format!("{parent}-user"), &[id]);
            }
            make_bench(&bench, comm)
        });
        let end = same(&ends);
        let report = end.report.as_ref().unwrap();
        let expected = if fails { (0, 2, 4) } else { (6, 0, 0) };
        assert_eq!((report.done, report.failed.len(), report.blocked), expected);
        assert_eq!(end.nodes.len(), 6, "{:?}", end.nodes);
        if fails {
            let user = end.nodes.iter().find(|node| node.0 == "p-user").unwrap();
            assert!(user.2.contains("\"p-child\", which it needs, has failed"), "{}", user.2);
        }
    }
}

#[test]
fn a_rank_that_stops_stops_all() {
    for request in [StopRequest::Finish, StopRequest::Kill] {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(3, |comm| {
            let bench = Arc::new(bench(dir.path(), comm, 1, "node"));
            let weak = Arc::downgrade(&bench);
            let first = bench.task_by("stops", &[], move |_| {
                weak.upgrade().unwrap().plan.stop(request);
                Ok(bytes("x"))
            });
            bench.task("later", &[first]);
            make_bench(&bench, comm)
        });
        let report = same(&ends).report.as_ref().unwrap();
        assert_eq!((report.done, report.failed.len(), report.todo), (1, 0, 1), "{request:?}");
        assert_eq!(report.error.as_ref().unwrap().kind(), Kind::Cancelled);
    }
}

#[test]
fn ranks_may_be_more_than_nodes_and_cores() {
    let dir = tempfile::tempdir().unwrap();
    let ends = run(16, |comm| {
        let bench = bench(dir.path(), comm, 4, "node");
        fill(&bench);
        make_bench(&bench, comm)
    });
    assert_eq!(same(&ends).report.as_ref().unwrap().done, 6);
}

/// The callbacks of one rank make a circle, of which the others know nothing.
#[test]
fn a_circle_that_callbacks_make_ends_on_all_ranks() {
    for size in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(size, |comm| {
            let bench = bench(dir.path(), comm, 1, "node");
            let parent = bench.task_by("parent", &[], move |call| {
                let id = call.plan.add("", Work::Task(task_work("child", |_| Ok(bytes("")))), true)?;
                call.plan.need(id, call.node, crate::plan::Edge::Use)?;
                call.need(id);
                Ok(bytes(""))
            });
            bench.task("user", &[parent]);
            make_bench(&bench, comm)
        });
        let report = same(&ends).report.as_ref().unwrap();
        let message = report.error.as_ref().unwrap().message();
        assert!(message.contains("each node needs the next: parent -> parent-child -> parent"), "{message}");
        assert_eq!((report.done, report.todo), (0, 0));
    }
}

/// A source that one rank alone cannot read when the libraries are loaded.
#[test]
fn a_source_that_one_rank_cannot_read_fails_on_all() {
    for bad in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(2, |comm| {
            let bench = bench(dir.path(), comm, 1, "node");
            let own = dir.path().join(format!("rank{}", comm.rank()));
            std::fs::create_dir(&own).unwrap();
            if comm.rank() != bad {
                std::fs::write(own.join("x.cpp"), "int x;").unwrap();
            }
            let source = crate::plan::node::ModuleSource::Defined {
                base: own,
                code: crate::plan::definition::SourceDefinition::File("x.cpp".into()),
                header: None,
                keyed_by_text: true,
            };
            let params = Arc::clone(bench.plan.params());
            let work = crate::plan::node::ModuleWork { name: "x".to_owned(), params, source };
            bench.plan.add("x", Work::Module(work), true).unwrap();
            bench.module("after", "int after;", &[]);
            make_bench(&bench, comm)
        });
        let report = same(&ends).report.as_ref().unwrap();
        assert_eq!((report.failed.len(), report.done), (1, 1), "{:?}", report.error);
        assert!(report.error.as_ref().unwrap().message().contains("cannot read the source"));
    }
}

/// A callback gives up, because a call within it was cancelled, and no rank was asked to stop.
#[test]
fn a_callback_that_gives_up_stops_all_ranks() {
    for size in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let ends = run(size, |comm| {
            let bench = bench(dir.path(), comm, 1, "node");
            bench.task_by("gives-up", &[], |_| Err(Error::new(Kind::Cancelled, "enough")));
            for number in 0..8 {
                let id = bench.task(&format!("a{number}"), &[]);
                bench.task(&format!("b{number}"), &[id]);
            }
            make_bench(&bench, comm)
        });
        let report = same(&ends).report.as_ref().unwrap();
        assert!(report.failed.is_empty() && report.todo > 0, "{report:?}");
        assert_eq!(report.error.as_ref().unwrap().kind(), Kind::Cancelled);
    }
}
