//! The longest chain of nodes by the time that they are expected to take.

#![forbid(unsafe_code)]

use dijitso::plan::analysis::{CriticalPath, critical_path, estimates};
use dijitso::plan::view::PlanView;

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
    let (all, mut seconds) = (estimates(view), vec![0.0; view.nodes.len()]);
    let mut is_chosen = vec![false; view.nodes.len()];
    for at in nodes {
        (seconds[*at], is_chosen[*at]) = (all[*at], true);
    }
    let left = nodes.iter().filter(|at| is_left(**at)).map(|at| seconds[*at]).sum();
    let CriticalPath { nodes: mut path, seconds: critical } = critical_path(view, &seconds);
    path.retain(|at| is_chosen[*at]);
    WorkSummary { total: nodes.iter().map(|at| seconds[*at]).sum(), left, critical, path }
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
    fn a_long_chain_takes_no_stack() {
        let view = sample::chain(10_000);
        let all: Vec<usize> = (0..view.nodes.len()).collect();
        assert_eq!(summarize(&view, &all, |_| true).path.len(), 10_000);
    }
}
