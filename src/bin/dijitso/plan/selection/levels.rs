//! Levels of nodes: callbacks within callbacks.

#![forbid(unsafe_code)]

use dijitso::plan::view::PlanView;

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
