//! A part of a plan as a plan of its own.

#![forbid(unsafe_code)]

use dijitso::plan::view::PlanView;

/// Returns a plan that has these nodes alone, in this order. Edges to other nodes are left out.
pub(super) fn part(view: &PlanView, chosen: &[usize]) -> PlanView {
    let mut place = vec![None; view.nodes.len()];
    chosen.iter().enumerate().for_each(|(at, node)| place[*node] = Some(at));
    let kept = |nodes: &[usize]| nodes.iter().filter_map(|node| place[*node]).collect();
    let nodes = chosen.iter().map(|index| {
        let mut node = view.nodes[*index].clone();
        (node.needs, node.order_only) = (kept(&node.needs), kept(&node.order_only));
        node.definer = node.definer.and_then(|definer| place[definer]);
        node.blocked_by = node.blocked_by.and_then(|failed| place[failed]);
        node
    });
    PlanView { name: view.name.clone(), nodes: nodes.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dijitso::plan::sample::{node, plan};

    #[test]
    fn edges_to_other_nodes_are_left_out() {
        let mut view = plan(vec![node("a", 1.0, &[]), node("b", 1.0, &[0]), node("c", 1.0, &[0, 1])]);
        view.nodes[2].definer = Some(0);
        view.nodes[2].blocked_by = Some(1);
        let part = part(&view, &[2, 1]);
        let labels: Vec<&str> = part.nodes.iter().map(|node| node.label.as_str()).collect();
        assert_eq!(labels, ["c", "b"]);
        assert_eq!((&part.nodes[0].needs, &part.nodes[1].needs), (&vec![1], &vec![]));
        assert_eq!((part.nodes[0].definer, part.nodes[0].blocked_by), (None, Some(1)));
    }
}
