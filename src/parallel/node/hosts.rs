//! The division of the ranks into hosts: the ranks that share memory. A rank that shares memory with no other
//! one counts as a host of its own.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

/// The hosts of all ranks, the same on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankHosts {
    /// For each rank, the lowest rank of its host.
    leader_of: Vec<usize>,
    /// The leaders in ascending order: one for each host.
    leaders: Vec<usize>,
    /// The ranks of this rank's host, in ascending order.
    members: Vec<usize>,
    /// The place of this rank among them.
    index: usize,
    /// The place of this host among the hosts.
    host: usize,
}

impl RankHosts {
    /// Makes the hosts of ranks that share nothing.
    #[must_use]
    pub fn separate(rank: usize, size: usize) -> Self {
        let all: Vec<usize> = (0..size).collect();
        Self { leader_of: all.clone(), leaders: all, members: vec![rank], index: 0, host: rank }
    }

    /// Divides the ranks by the machines they are on. Ranks for which `shares` is false, and those of the same
    /// machine, share nothing.
    #[must_use]
    pub fn new(rank: usize, machines: &[u64], shares: &[bool]) -> Self {
        let without: HashSet<u64> = machines
            .iter()
            .zip(shares)
            .filter(|(_, shares)| !**shares)
            .map(|(machine, _)| *machine)
            .collect();
        let mut first = HashMap::new();
        let leader_of: Vec<usize> = (machines.iter().enumerate())
            .map(
                |(rank, machine)| {
                    if without.contains(machine) { rank } else { *first.entry(*machine).or_insert(rank) }
                },
            )
            .collect();
        let leader = leader_of[rank];
        let members: Vec<usize> = (0..leader_of.len()).filter(|other| leader_of[*other] == leader).collect();
        let leaders: Vec<usize> = (0..leader_of.len()).filter(|rank| leader_of[*rank] == *rank).collect();
        let index = members.binary_search(&rank).unwrap_or_default();
        let host = leaders.binary_search(&leader).unwrap_or_default();
        Self { leader_of, leaders, members, index, host }
    }

    /// Returns for a rank the lowest rank of its host.
    #[must_use]
    pub fn leader_of(&self, rank: usize) -> usize {
        self.leader_of[rank]
    }

    /// Returns the leaders of all hosts, in ascending order.
    #[must_use]
    pub fn leaders(&self) -> &[usize] {
        &self.leaders
    }

    /// Returns the ranks of this host, in ascending order.
    #[must_use]
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// Returns the place of this rank among the ranks of its host. 0 is the leader.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the place of this host among the hosts.
    #[must_use]
    pub fn host(&self) -> usize {
        self.host
    }

    /// Tells if all ranks share memory.
    #[must_use]
    pub fn is_one_host(&self) -> bool {
        self.leaders.len() == 1
    }

    /// Returns for each rank true if it leads a host of which a rank is `present`.
    #[must_use]
    pub fn with_any(&self, present: &[bool]) -> Vec<bool> {
        let mut any = vec![false; present.len()];
        for (rank, present) in present.iter().enumerate() {
            any[self.leader_of[rank]] |= present;
        }
        any
    }

    /// Returns the ranks that the others wait for, if these are `present`. Of a host of which none is present,
    /// the leader stands for all: the others may wait for it, and none of them tells.
    #[must_use]
    pub fn late(&self, present: &[bool]) -> Vec<usize> {
        let any = self.with_any(present);
        let is_late = |rank: &usize| {
            let leader = self.leader_of[*rank];
            !present[*rank] && (any[leader] || leader == *rank)
        };
        (0..present.len()).filter(is_late).collect()
    }

    /// Returns the ranks host by host, as a gather between hosts brings them.
    #[must_use]
    pub fn by_host(&self) -> Vec<usize> {
        let mut ranks: Vec<usize> = (0..self.leader_of.len()).collect();
        ranks.sort_by_key(|rank| (self.leader_of[*rank], *rank));
        ranks
    }

    /// Returns the number of ranks of each host.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.leaders.len()];
        for leader in &self.leader_of {
            sizes[self.leaders.binary_search(leader).unwrap_or_default()] += 1;
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_divided_by_machine_and_all_agree() {
        let machines = [7, 8, 7, 8, 9];
        let all: Vec<RankHosts> = (0..5).map(|rank| RankHosts::new(rank, &machines, &[true; 5])).collect();
        for hosts in &all {
            assert_eq!(hosts.leaders(), [0, 1, 4]);
            assert_eq!(hosts.by_host(), [0, 2, 1, 3, 4]);
            assert_eq!(hosts.sizes(), [2, 2, 1]);
        }
        assert_eq!((all[3].members(), all[3].index(), all[3].host()), (&[1, 3][..], 1, 1));
        assert_eq!((all[4].members(), all[4].index(), all[4].host()), (&[4][..], 0, 2));
        assert!(RankHosts::new(1, &[7, 7], &[true; 2]).is_one_host());
    }

    #[test]
    fn of_a_silent_host_the_leader_is_late_and_of_others_the_silent_ranks() {
        let hosts = RankHosts::new(0, &[7, 8, 7, 8, 9, 7], &[true; 6]);
        assert_eq!(hosts.late(&[true, false, false, false, false, true]), [1, 2, 4]);
        assert_eq!(hosts.late(&[false, false, false, true, true, true]), [0, 1, 2]);
        assert_eq!(hosts.late(&[true; 6]), [0; 0]);
    }

    #[test]
    fn the_ranks_of_a_machine_do_without_if_one_of_them_cannot_share() {
        let hosts = RankHosts::new(2, &[7, 8, 7, 8], &[true, true, true, false]);
        assert_eq!(hosts.leaders(), [0, 1, 3]);
        assert_eq!((hosts.leader_of(2), hosts.leader_of(3)), (0, 3));
        assert_eq!(RankHosts::new(1, &[7, 7], &[true, false]), RankHosts::separate(1, 2));
    }
}
