//! The plan of the tests.

#![forbid(unsafe_code)]

use dijitso::error::{Error, Kind};
use dijitso::plan::execution::{Execution, Phase};
use dijitso::plan::journal::now;
use dijitso::plan::view::{NodeKind, NodeView, PlanView, ResultOrigin, State};

/// Returns a node that nothing is known of.
fn node(label: &str, kind: NodeKind, name: &str, state: State, needs: &[usize]) -> NodeView {
    NodeView {
        label: label.to_owned(),
        kind,
        name: name.to_owned(),
        signature: None,
        state,
        stale: false,
        interrupted: false,
        origin: None,
        needs: needs.to_vec(),
        order_only: Vec::new(),
        definer: None,
        error: None,
        blocked_by: None,
        last: None,
        estimate: 0.5,
        size: None,
    }
}

fn execution(host: &str, rank: usize, seconds: f64) -> Option<Execution> {
    Some(Execution {
        host: host.to_owned(),
        pid: 4711,
        rank,
        slot: 0,
        // It ended three hours ago.
        begin: now() - 10_900.0 - seconds,
        phases: vec![(Phase::LookUp, 0.25), (Phase::Compile, seconds - 0.25)],
        memory: 300 << 20,
    })
}

/// Returns a plan with nodes of every state, kind and place.
pub(crate) fn view() -> PlanView {
    use NodeKind::{Module, Task};
    use State::{Blocked, Done, Failed, Running, Todo};
    let hash = "0123456789abcdef0123456789abcdef";
    let error =
        Error::new(Kind::Compile, "cannot compile poisson: poisson.c:7:1: error: unknown type name 'flaot'")
            .with_log("poisson.c:7:1: error: unknown type name 'flaot'\n    7 | flaot x;\n      | ^~~~~\n")
            .with_path("/home/user/jitfailure-poisson");
    let mut nodes = vec![
        NodeView {
            estimate: 5.0,
            origin: Some(ResultOrigin::Hit),
            last: execution("n1", 0, 5.0),
            size: Some(3 << 20),
            signature: Some("deadbeef0123".to_owned()),
            ..node("mesh", Task, "gmsh", Done, &[])
        },
        NodeView {
            stale: true,
            signature: Some(format!("elements_{hash}")),
            last: execution("n1", 1, 1.5),
            size: Some(40_000),
            ..node("elements", Module, "elements", Done, &[])
        },
        NodeView { estimate: 2.0, size: Some(9000), ..node("form code", Task, "ffcx", Done, &[0]) },
        NodeView {
            estimate: 3.0,
            order_only: vec![0],
            signature: Some(format!("poisson_9{}", &hash[1..])),
            error: Some(error),
            last: execution("n2", 1, 3.0),
            ..node("poisson", Module, "poisson", Failed, &[2, 1])
        },
        node("Wärme", Module, "poisson", Todo, &[2]),
        NodeView { estimate: 1.0, blocked_by: Some(3), ..node("solve", Task, "python", Blocked, &[3]) },
        NodeView { estimate: 0.0, blocked_by: Some(3), ..node("report", Task, "python", Blocked, &[5]) },
        NodeView { size: Some(100), ..node("forms", Task, "ffc", Done, &[]) },
        NodeView {
            definer: Some(7),
            origin: Some(ResultOrigin::Built),
            signature: Some(format!("form_1_9{}", &hash[1..])),
            size: Some(20_000),
            last: execution("n2", 3, 0.75),
            ..node("forms-1", Module, "form_1", Done, &[])
        },
        NodeView { definer: Some(8), ..node("forms-1-1", Module, "form_1_1", Running, &[]) },
        node("top", Module, "top", Todo, &[9, 8]),
        node("a*(\"b\")", Module, "a", Todo, &[]),
    ];
    nodes[7].needs.push(8);
    PlanView { name: "sample".to_owned(), nodes }
}

/// Returns a plan with this many nodes, each of which needs the one before.
pub(super) fn chain(length: usize) -> PlanView {
    let needs = |at: usize| if at > 0 { vec![at - 1] } else { vec![] };
    let node = |at: usize| {
        let state = if at < length / 2 { State::Done } else { State::Todo };
        node(&format!("node-{at}"), NodeKind::Module, &format!("name_{}", at % 7), state, &needs(at))
    };
    PlanView { name: "chain".to_owned(), nodes: (0..length).map(node).collect() }
}
