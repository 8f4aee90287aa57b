//! Deals the ready nodes of a plan out to the ranks. A pure function, so that all ranks find the same
//! without a message.

#![forbid(unsafe_code)]

/// A rank, as the deal sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RankLoad {
    /// The number of nodes that it can run at once; 0 if it is to make nothing.
    pub(super) capacity: usize,
    /// The expected seconds of what it runs.
    pub(super) seconds: f64,
}

/// Deals nodes to ranks, the most urgent first: each to the rank that would be free for it first. `nodes` has
/// the expected seconds of each. Returns the rank of each node.
pub(super) fn deal(nodes: &[f64], ranks: &[RankLoad]) -> Vec<usize> {
    let mut loads: Vec<f64> = ranks.iter().map(|rank| rank.seconds).collect();
    let next = |seconds: &f64| {
        let able = (0..ranks.len()).filter(|rank| ranks[*rank].capacity > 0);
        let free_at = |rank: &usize, loads: &[f64]| {
            #[allow(clippy::cast_precision_loss, reason = "a number of cores is small")]
            let capacity = ranks[*rank].capacity as f64;
            loads[*rank] / capacity
        };
        let chosen =
            able.min_by(|a, b| free_at(a, &loads).total_cmp(&free_at(b, &loads))).unwrap_or_default();
        // Nodes that take no time are spread out, too.
        loads[chosen] += seconds.max(1e-6);
        chosen
    };
    nodes.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(all: &[(usize, f64)]) -> Vec<RankLoad> {
        all.iter().map(|(capacity, seconds)| RankLoad { capacity: *capacity, seconds: *seconds }).collect()
    }

    #[test]
    fn nodes_go_to_the_rank_that_is_free_first() {
        assert_eq!(deal(&[1.0; 4], &ranks(&[(1, 0.0), (1, 0.0)])), [0, 1, 0, 1]);
        assert_eq!(deal(&[5.0, 1.0, 1.0, 1.0], &ranks(&[(1, 0.0), (1, 0.0)])), [0, 1, 1, 1]);
        assert_eq!(deal(&[1.0; 3], &ranks(&[(1, 9.0), (1, 0.0)])), [1, 1, 1]);
        assert_eq!(deal(&[1.0; 3], &ranks(&[(2, 0.0), (1, 0.0)])), [0, 1, 0]);
        assert_eq!(deal(&[0.0; 4], &ranks(&[(1, 0.0), (1, 0.0)])), [0, 1, 0, 1]);
    }

    #[test]
    fn a_rank_without_capacity_gets_nothing() {
        assert_eq!(deal(&[1.0; 3], &ranks(&[(0, 0.0), (1, 0.0), (0, 0.0)])), [1, 1, 1]);
    }
}
