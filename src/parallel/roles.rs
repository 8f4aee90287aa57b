//! Roles of the ranks in a build: pure functions of agreed values.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::params::resolved::BuildOn;

/// The state of all ranks, the same on each of them.
#[derive(Clone, Debug)]
pub struct RoleInput<'a> {
    /// For each rank its leader: the lowest rank that shares its cache directory, of those that need the same
    /// library.
    pub leaders: &'a [usize],
    /// For each rank the lowest rank that needs the same library.
    pub groups: &'a [usize],
    /// For each rank: is the whole entry in its cache directory?
    pub on_disk: &'a [bool],
    /// `parallel.buildon`.
    pub buildon: BuildOn,
    /// Set if the host transports libraries with its own `send` and `receive`.
    pub own_transport: bool,
}

/// The roles of all ranks, the same on each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolePlan {
    /// Ranks that generate and compile.
    pub builders: Vec<usize>,
    /// Set if the host's transport is used: [`ROOT`] sends and all other ranks receive. All of them, because
    /// the transport may be a collective, and the host does not know which ranks need the library.
    pub transport: bool,
}

/// The rank that builds and sends with the strategy "root".
pub const ROOT: usize = 0;

/// Chooses the builders, and decides if the host has to transport.
#[must_use]
pub fn plan(input: &RoleInput<'_>) -> RolePlan {
    let ranks = 0..input.leaders.len();
    match input.buildon {
        BuildOn::Root => {
            // One copy on any rank is enough, except for the host's transport, which starts at the root.
            let has = |group: usize| {
                if input.own_transport {
                    input.on_disk[group]
                } else {
                    source(|rank| input.groups[rank], group, input.on_disk).is_some()
                }
            };
            let builds = |rank: &usize| input.groups[*rank] == *rank && !has(*rank);
            let one_directory = input.leaders.iter().all(|leader| *leader == ROOT);
            RolePlan {
                builders: ranks.filter(builds).collect(),
                transport: input.own_transport && !one_directory,
            }
        }
        BuildOn::Node | BuildOn::Process => {
            // A leader that has the entry builds nothing, even if other ranks do not see the entry yet.
            let builds = |rank: &usize| input.leaders[*rank] == *rank && !input.on_disk[*rank];
            RolePlan { builders: ranks.filter(builds).collect(), transport: false }
        }
    }
}

/// Returns the ranks that do the build `index` of several in place of `builders`, one for each directory.
///
/// Builds go round the hosts that share a directory, first to one rank of each host, then to a second one:
/// compilers of one host share its cores, and each rank runs one generator at a time.
#[must_use]
pub fn assign_round_robin(builders: &[usize], leaders: &[usize], hosts: &[usize], index: u64) -> Vec<usize> {
    let assigned = |builder: &usize| {
        let mut ranks: Vec<(usize, usize)> = (0..leaders.len())
            .filter(|rank| leaders[*rank] == leaders[*builder])
            .map(|rank| {
                let lower = (0..rank).filter(|other| leaders[*other] == leaders[rank]);
                (lower.filter(|other| hosts[*other] == hosts[rank]).count(), rank)
            })
            .collect();
        ranks.sort_unstable();
        ranks[usize::try_from(index % ranks.len() as u64).unwrap_or_default()].1
    };
    builders.iter().map(assigned).collect()
}

/// Returns for each host that has builders the lowest of them, in ascending order. `hosts` gives for each rank the
/// lowest rank of its host.
#[must_use]
pub fn reporters(builders: impl Iterator<Item = usize>, hosts: &[usize]) -> Vec<usize> {
    let mut lowest: BTreeMap<usize, usize> = BTreeMap::new();
    for builder in builders {
        let known = lowest.entry(hosts[builder]).or_insert(builder);
        *known = (*known).min(builder);
    }
    let mut reporters: Vec<usize> = lowest.into_values().collect();
    reporters.sort_unstable();
    reporters
}

/// Returns the rank that sends the transitive dependency closure to the ranks of `group`: the lowest of them
/// that has it on disk. `group_of` gives for each rank the lowest rank that needs the same library.
#[must_use]
pub fn source(group_of: impl Fn(usize) -> usize, group: usize, on_disk: &[bool]) -> Option<usize> {
    (group..on_disk.len()).find(|rank| group_of(*rank) == group && on_disk[*rank])
}

/// Returns the leaders of the directories in which a rank has nothing.
#[must_use]
pub fn receivers(leaders: &[usize], on_disk: &[bool]) -> Vec<usize> {
    (0..leaders.len())
        .filter(|leader| leaders[*leader] == *leader)
        .filter(|leader| leaders.iter().zip(on_disk).any(|(other, present)| other == leader && !present))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builders(leaders: &[usize], hits: &[bool], buildon: BuildOn) -> Vec<usize> {
        let groups = &vec![0; leaders.len()];
        plan(&RoleInput { leaders, groups, on_disk: hits, buildon, own_transport: false }).builders
    }

    #[test]
    fn one_builder_of_each_host_reports() {
        let hosts = [0, 0, 0, 3, 3, 0];
        assert_eq!(reporters([2, 4, 1, 3].into_iter(), &hosts), [1, 3]);
        assert_eq!(reporters([5, 4].into_iter(), &hosts), [4, 5]);
        assert_eq!(reporters([].into_iter(), &hosts), [] as [usize; 0]);
    }

    #[test]
    fn node_builds_once_per_directory_that_needs_it() {
        let cold = [false; 4];
        assert_eq!(builders(&[0, 0, 0, 0], &cold, BuildOn::Node), [0]);
        assert_eq!(builders(&[0, 1, 0, 1], &cold, BuildOn::Node), [0, 1]);
        assert_eq!(builders(&[0, 1, 0, 1], &[true, false, true, true], BuildOn::Node), [1]);
        assert_eq!(builders(&[0, 1, 2, 3], &cold, BuildOn::Process), [0, 1, 2, 3]);
    }

    #[test]
    fn root_builds_once_unless_a_rank_has_the_entry() {
        assert_eq!(builders(&[0, 1, 0, 1], &[false; 4], BuildOn::Root), [0]);
        assert_eq!(builders(&[0, 1, 0, 1], &[false, true, false, true], BuildOn::Root), [] as [usize; 0]);
    }

    /// Defect H4 of the original: with a warm root and cold others, root never sent and the others waited.
    #[test]
    fn h4_a_warm_root_is_the_source_of_cold_directories() {
        let hits = [true, false, true, false];
        assert_eq!(builders(&[0, 1, 0, 1], &hits, BuildOn::Root), [] as [usize; 0]);
        assert_eq!(source(|_| 0, 0, &hits), Some(0));
        assert_eq!(receivers(&[0, 1, 0, 1], &hits), [1]);
        assert_eq!(source(|_| 0, 0, &[false; 2]), None);
    }

    /// Ranks 0 and 2 need one library, ranks 1 and 3 another.
    #[test]
    fn root_builds_once_for_each_group_that_has_no_copy() {
        let groups = [0, 1, 0, 1];
        let plan = |on_disk: [bool; 4]| {
            let input = RoleInput {
                leaders: &groups,
                groups: &groups,
                on_disk: &on_disk,
                buildon: BuildOn::Root,
                own_transport: false,
            };
            plan(&input).builders
        };
        assert_eq!(plan([false; 4]), [0, 1]);
        assert_eq!(plan([false, false, true, false]), [1]);
        assert_eq!(source(|rank| groups[rank], 0, &[false, true, true, false]), Some(2));
        assert_eq!(source(|rank| groups[rank], 1, &[false, true, true, false]), Some(1));
        assert_eq!(source(|rank| groups[rank], 1, &[true, false, true, false]), None);
    }

    #[test]
    fn host_transport_starts_at_root_and_runs_only_between_directories() {
        let on_disk = [false, true, false, false];
        let input = |leaders| RoleInput {
            leaders,
            groups: &[0; 4],
            on_disk: &on_disk,
            buildon: BuildOn::Root,
            own_transport: true,
        };
        assert_eq!(plan(&input(&[0, 1, 0, 3])), RolePlan { builders: vec![0], transport: true });
        assert_eq!(plan(&input(&[0, 0, 0, 0])), RolePlan { builders: vec![0], transport: false });
    }

    #[test]
    fn builds_are_assigned_round_the_hosts_and_then_their_ranks() {
        // One directory, three ranks on each of two hosts.
        let (leaders, hosts) = ([0; 6], [0, 0, 0, 3, 3, 3]);
        let assigned: Vec<usize> =
            (0..7).flat_map(|index| assign_round_robin(&[0], &leaders, &hosts, index)).collect();
        assert_eq!(assigned, [0, 3, 1, 4, 2, 5, 0]);
        // A directory of each host, and one whose leader builds nothing.
        let (leaders, hosts) = ([0, 0, 2, 2, 4], [0, 0, 2, 2, 2]);
        assert_eq!(assign_round_robin(&[0, 2], &leaders, &hosts, 0), [0, 2]);
        assert_eq!(assign_round_robin(&[0, 2], &leaders, &hosts, 1), [1, 3]);
        assert_eq!(assign_round_robin(&[4], &leaders, &hosts, 5), [4]);
        assert_eq!(assign_round_robin(&[], &leaders, &hosts, 5), [] as [usize; 0]);
    }

    #[test]
    fn a_lagging_view_causes_no_build() {
        assert_eq!(builders(&[0, 0], &[true, false], BuildOn::Node), [] as [usize; 0]);
    }
}
