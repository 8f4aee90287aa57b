//! Schedules of small plans by hand, and laws that hold for all plans.

use proptest::prelude::*;

use super::super::sample::{made, node, plan};
use super::*;

/// A table, two forms of which one is long, and a solver; a mesh is made before the solver.
fn diamond() -> PlanView {
    let mut solver = node("solver", 1.0, &[1, 2]);
    solver.order_only = vec![4];
    plan(vec![
        node("table.bin", 2.0, &[]),
        node("short", 1.0, &[0]),
        node("long", 3.0, &[0]),
        solver,
        node("mesh.h5", 4.5, &[]),
    ])
}

#[test]
fn a_diamond_has_layers_a_critical_path_and_schedules() {
    let view = diamond();
    let seconds = estimates(&view);
    assert_eq!(topological_order(&view), [0, 1, 2, 4, 3]);
    assert_eq!(layers(&view), [1, 2, 2, 3, 1]);
    assert_eq!(ideal_finish(&view, &seconds), [2.0, 3.0, 5.0, 6.0, 4.5]);
    assert_eq!(seconds_to_end(&view, &seconds), [6.0, 2.0, 4.0, 1.0, 5.5]);
    assert_eq!(critical_path(&view, &seconds), CriticalPath { nodes: vec![0, 2, 3], seconds: 6.0 });
    let two = list_schedule(&view, &seconds, 2);
    assert_eq!(two.begins, [0.0, 4.5, 2.0, 5.5, 0.0]);
    assert_eq!(two.workers, [0, 1, 0, 0, 1]);
    assert!((two.makespan - 6.5).abs() < 1e-12);
    assert!((list_schedule(&view, &seconds, 0).makespan - 11.5).abs() < 1e-12);
    assert!((lower_bound(&view, &seconds, 1) - 11.5).abs() < 1e-12);
    assert!((lower_bound(&view, &seconds, 100) - 6.0).abs() < 1e-12);
}

#[test]
fn a_plan_without_nodes_takes_no_time() {
    let view = plan(Vec::new());
    assert_eq!(critical_path(&view, &[]), CriticalPath::default());
    assert_eq!(list_schedule(&view, &[], 4), ListSchedule::default());
    assert!(lower_bound(&view, &[], 0).abs() < 1e-12);
    assert!(busy_spans([], 1.0).is_empty());
}

#[test]
fn a_node_of_no_length_joins_two_that_have_one() {
    let view =
        plan(vec![node("z", 0.0, &[]), node("a", 1.0, &[0]), node("b", 0.0, &[1]), node("c", 2.0, &[2])]);
    assert_eq!(critical_path(&view, &estimates(&view)).nodes, [1, 2, 3]);
}

#[test]
fn the_first_of_two_equal_chains_is_critical() {
    let view = plan(vec![node("a", 1.0, &[]), node("b", 1.0, &[]), node("c", 1.0, &[1, 0])]);
    assert_eq!(critical_path(&view, &estimates(&view)).nodes, [0, 2]);
}

#[test]
fn cycles_and_numbers_of_damaged_journals_give_an_answer() {
    let view = plan(vec![
        node("a", f64::NAN, &[2]),
        node("b", -1.0, &[0]),
        node("c", 1.0, &[1]),
        node("d", f64::INFINITY, &[]),
        node("e", 1.0, &[4]),
    ]);
    let seconds = estimates(&view);
    assert_eq!(topological_order(&view), [3, 0, 1, 2, 4]);
    assert_eq!(layers(&view).len(), 5);
    assert!(critical_path(&view, &seconds).seconds.is_finite());
    let makespan = list_schedule(&view, &[f64::NAN, 1.0, 1.0, 1.0, 1.0], 1).makespan;
    assert!((makespan - 4.0).abs() < 1e-12, "{makespan}");
}

#[test]
fn work_is_without_waits_and_breaks_part_spans() {
    let mut view = made(64);
    let waiting = view.nodes.iter().position(|node| {
        let phases = node.last.as_ref().map(|last| last.phases.as_slice()).unwrap_or_default();
        phases.iter().any(|(phase, _)| *phase == crate::plan::execution::Phase::WaitForSlot)
    });
    let waiting = waiting.unwrap();
    let last = view.nodes[waiting].last.clone().unwrap();
    assert!((last_work(&view)[waiting] + 0.2 - last.seconds()).abs() < 1e-9);
    let executions = |view: &PlanView| -> Vec<Execution> {
        view.nodes.iter().filter_map(|node| node.last.clone()).collect()
    };
    assert_eq!(busy_spans(&executions(&view), 10.0).len(), 1);
    view.nodes[0].last.as_mut().unwrap().begin -= 86_400.0;
    let spans = busy_spans(&executions(&view), 10.0);
    assert_eq!(spans.len(), 2);
    assert!(spans[0].end < spans[1].begin - 80_000.0);
}

#[test]
fn a_summary_shares_the_time_of_all_slots() {
    let view = made(64);
    let all = summary(&view);
    assert_eq!((all.executions, all.slots), (view.nodes.len() - 1, 8));
    let time = 8.0 * all.wall;
    assert!((all.work + all.waits + all.idle() - time).abs() < 1e-6, "{all:?}");
    assert!((all.efficiency() - all.work / time).abs() < 1e-9);
    assert!(all.efficiency() > 0.5 && all.waits > 0.5 && all.idle() > 1.0, "{all:?}");
    assert_eq!(summary(&plan(vec![node("a", 1.0, &[])])), MakeSummary::default());
    assert!(MakeSummary::default().efficiency().abs() < 1e-12);
}

#[test]
fn ten_thousand_nodes_and_a_long_chain_have_an_answer() {
    let wide = made(10_000);
    let seconds = last_work(&wide);
    let bound = lower_bound(&wide, &seconds, 8);
    assert!(list_schedule(&wide, &seconds, 8).makespan < 1.1 * bound);
    let before = |index: usize| if index == 0 { vec![] } else { vec![index - 1] };
    let chain = plan((0..10_000).map(|index| node("n", 1.0, &before(index))).collect());
    assert_eq!(critical_path(&chain, &estimates(&chain)).nodes.len(), 10_000);
    assert_eq!(layers(&chain)[9_999], 10_000);
}

/// Plans whose nodes need earlier ones.
fn any_plan() -> impl Strategy<Value = PlanView> {
    let node_of = (0.0..10.0_f64, prop::collection::vec(any::<prop::sample::Index>(), 0..4), any::<bool>());
    prop::collection::vec(node_of, 1..40).prop_map(|nodes| {
        let nodes = nodes.into_iter().enumerate().map(|(index, (seconds, edges, by_order))| {
            let edges = edges.into_iter().filter(|_| index > 0);
            let edges: Vec<usize> = edges.map(|edge| edge.index(index.max(1))).collect();
            let mut node = node("n", seconds, if by_order { &[] } else { &edges });
            node.order_only = if by_order { edges } else { Vec::new() };
            node
        });
        plan(nodes.collect())
    })
}

proptest! {
    #[test]
    fn list_schedules_take_at_most_twice_the_bound(view in any_plan(), workers in 1..9_usize) {
        let seconds = estimates(&view);
        let schedule = list_schedule(&view, &seconds, workers);
        let end = |node: usize| schedule.begins[node] + seconds[node];
        for (index, node) in view.nodes.iter().enumerate() {
            for before in node.predecessors() {
                prop_assert!(end(before) <= schedule.begins[index] + 1e-9);
            }
            for other in 0..index {
                let apart = end(other) <= schedule.begins[index] + 1e-9
                    || end(index) <= schedule.begins[other] + 1e-9;
                prop_assert!(apart || schedule.workers[other] != schedule.workers[index]);
            }
            prop_assert!(schedule.workers[index] < workers);
        }
        let bound = lower_bound(&view, &seconds, workers);
        prop_assert!(schedule.makespan >= bound - 1e-9 && schedule.makespan <= 2.0 * bound + 1e-9);
    }

    #[test]
    fn the_critical_path_is_a_chain_of_its_length(view in any_plan()) {
        let seconds = estimates(&view);
        let path = critical_path(&view, &seconds);
        let sum: f64 = path.nodes.iter().map(|node| seconds[*node]).sum();
        prop_assert!((sum - path.seconds).abs() < 1e-9);
        for pair in path.nodes.windows(2) {
            prop_assert!(view.nodes[pair[1]].predecessors().any(|before| before == pair[0]));
        }
        let latest = ideal_finish(&view, &seconds).into_iter().fold(0.0, f64::max);
        prop_assert!((latest - path.seconds).abs() < 1e-9);
        let unlimited = list_schedule(&view, &seconds, view.nodes.len());
        prop_assert!((unlimited.makespan - path.seconds).abs() < 1e-9);
    }
}
