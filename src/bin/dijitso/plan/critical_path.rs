//! The longest chain of nodes by the time that they are expected to take.

#![forbid(unsafe_code)]

use dijitso::plan::view::PlanView;

use super::graph_order::made_in_order;

/// The work of some nodes of a plan.
pub(super) struct WorkSummary {
    /// The seconds that all of them take.
    pub(super) total: f64,
    /// The seconds of those that are still to be made.
    pub(super) left: f64,
    /// The seconds that they take at least, on any number of workers.
    pub(super) critical: f64,
    /// The nodes that take so long one after the other.
    pub(super) path: Vec<usize>,
}

/// Sums up the work of some nodes, each with its seconds and whether it is still to be made. Chains lead also
/// through other nodes, which take no time.
pub(super) fn summarize(view: &PlanView, nodes: &[usize], is_left: impl Fn(usize) -> bool) -> WorkSummary {
    let mut seconds = vec![None; view.nodes.len()];
    for at in nodes {
        seconds[*at] = Some(view.nodes[*at].estimate.max(0.0));
    }
    let sum = |wanted: &dyn Fn(usize) -> bool| -> f64 {
        nodes.iter().filter(|at| wanted(**at)).filter_map(|at| seconds[*at]).sum()
    };
    // The seconds of the longest chain that ends with a node, and the node before it on this chain.
    let mut ends = vec![(0.0_f64, None); view.nodes.len()];
    let mut last = None;
    for at in made_in_order(view) {
        for needed in view.nodes[at].predecessors() {
            let longer = ends[at].1.is_none() || ends[needed].0 > ends[at].0;
            if longer {
                ends[at] = (ends[needed].0, Some(needed));
            }
        }
        ends[at].0 += seconds[at].unwrap_or_default();
        if last.is_none_or(|last: usize| ends[at].0 > ends[last].0) {
            last = Some(at);
        }
    }
    let critical = last.map_or(0.0, |last| ends[last].0);
    let mut path: Vec<usize> = std::iter::successors(last, |at| ends[*at].1).collect();
    path.retain(|at| seconds[*at].is_some());
    path.reverse();
    WorkSummary { total: sum(&|_| true), left: sum(&is_left), critical, path }
}

#[cfg(test)]
mod tests {
    use dijitso::plan::view::State;

    use super::super::sample;
    use super::*;

    #[test]
    fn the_longest_chain_is_found() {
        let view = sample::view();
        let labels = |summary: &WorkSummary| {
            summary.path.iter().map(|at| view.nodes[*at].label.clone()).collect::<Vec<_>>()
        };
        let all: Vec<usize> = (0..view.nodes.len()).collect();
        let summary = summarize(&view, &all, |at| view.nodes[at].state != State::Done);
        assert_eq!(labels(&summary), ["mesh", "form code", "poisson", "solve"]);
        assert!((summary.critical - 11.0).abs() < 1e-9, "{}", summary.critical);
        let chosen = [0, 4];
        let summary = summarize(&view, &chosen, |_| true);
        assert!(summary.path.iter().all(|at| chosen.contains(at)));
        assert!((summary.total - summary.left).abs() < 1e-9);
        let none = summarize(&view, &[], |_| true);
        assert!(none.path.is_empty() && none.critical == 0.0);
    }

    #[test]
    fn a_long_chain_takes_no_stack_and_a_circle_no_time() {
        let mut view = sample::chain(10_000);
        let all: Vec<usize> = (0..view.nodes.len()).collect();
        assert_eq!(summarize(&view, &all, |_| true).path.len(), 10_000);
        view.nodes[0].needs = vec![9_999];
        assert!(summarize(&view, &all, |_| true).path.is_empty());
    }
}
