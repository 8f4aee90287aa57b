//! Sets of nodes of a plan.

#![forbid(unsafe_code)]

/// A set of nodes of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeSet(Vec<bool>);

impl NodeSet {
    /// Returns the empty set of a plan with this many nodes.
    pub(super) fn empty(nodes: usize) -> Self {
        Self(vec![false; nodes])
    }

    /// Adds a node.
    pub(super) fn insert(&mut self, node: usize) {
        self.0[node] = true;
    }

    /// Adds the nodes of another set.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(here, there)| *here |= there);
    }

    /// Removes the nodes of another set.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(here, there)| *here &= !there);
    }

    /// Removes the nodes that are not in another set.
    pub(super) fn retain(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(here, there)| *here &= there);
    }

    /// Replaces the set by all other nodes.
    pub(super) fn complement(&mut self) {
        self.0.iter_mut().for_each(|here| *here = !*here);
    }

    /// Returns the nodes in the order of the plan.
    pub(super) fn nodes(&self) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, is_in)| **is_in).map(|(node, _)| node).collect()
    }
}
