//! Orders and depths of the nodes of a plan.

#![forbid(unsafe_code)]

use dijitso::plan::view::PlanView;

/// Returns the nodes in an order in which each one comes after everything that is made before it. Nodes of a
/// circle, and those that need them, are left out.
pub(super) fn made_in_order(view: &PlanView) -> Vec<usize> {
    let dependants = view.dependants();
    let mut missing: Vec<usize> = view.nodes.iter().map(|node| node.predecessors().count()).collect();
    let mut order: Vec<usize> = (0..view.nodes.len()).filter(|at| missing[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for dependant in &dependants[at] {
            missing[*dependant] -= 1;
            if missing[*dependant] == 0 {
                order.push(*dependant);
            }
        }
    }
    order
}

/// Returns for each node the number of nodes of the longest chain that ends with it: 1 if it needs nothing.
pub(super) fn longest_chains(view: &PlanView) -> Vec<usize> {
    let mut lengths = vec![1; view.nodes.len()];
    for at in made_in_order(view) {
        let before = view.nodes[at].predecessors().map(|needed| lengths[needed]).max();
        lengths[at] = before.unwrap_or_default() + 1;
    }
    lengths
}

/// Returns for each node the number of nodes whose callbacks, one within the other, have added it: 0 if it was
/// added by the plan itself.
pub(super) fn levels(view: &PlanView) -> Vec<usize> {
    let mut levels: Vec<Option<usize>> =
        view.nodes.iter().map(|node| node.definer.is_none().then_some(0)).collect();
    for at in 0..view.nodes.len() {
        let mut chain = vec![];
        let mut here = at;
        // A circle of definers cannot be; it ends here all the same.
        while levels[here].is_none() && chain.len() < view.nodes.len() {
            chain.push(here);
            here = view.nodes[here].definer.unwrap_or(here);
        }
        let mut level = levels[here].unwrap_or_default();
        for node in chain.into_iter().rev() {
            level += 1;
            levels[node] = Some(level);
        }
    }
    levels.into_iter().map(Option::unwrap_or_default).collect()
}
