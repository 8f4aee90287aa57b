//! Who builds, who sends, who receives: pure functions of what all ranks know.

#![forbid(unsafe_code)]

use crate::params::resolved::BuildOn;

/// What is known of every rank, the same on all ranks.
#[derive(Clone, Debug)]
pub struct RoleInput<'a> {
    /// For each rank the lowest rank that shares its cache directory: that directory's leader.
    pub leaders: &'a [usize],
    /// For each rank whether the whole entry lies in its cache directory.
    pub on_disk: &'a [bool],
    /// `parallel.buildon`.
    pub buildon: BuildOn,
    /// The host transports libraries by its own `send` and `receive`.
    pub own_transport: bool,
}

/// Who does what, the same on all ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Ranks that generate and compile.
    pub builders: Vec<usize>,
    /// Whether the host's transport is used: [`ROOT`] sends, and every other rank receives. Whether a rank needs what
    /// it receives the host cannot know, and its transport may be a collective, so nobody is left out.
    pub transport: bool,
}

/// The rank that builds and sends with strategy "root".
pub const ROOT: usize = 0;

/// Chooses builders, and whether the host has to transport.
#[must_use]
pub fn plan(situation: &RoleInput<'_>) -> Plan {
    let ranks = 0..situation.leaders.len();
    match situation.buildon {
        BuildOn::Root => {
            // What a rank already has need not be built; the host's transport, however, starts at the root.
            let build = if situation.own_transport {
                !situation.on_disk[ROOT]
            } else {
                !situation.on_disk.contains(&true)
            };
            let one_directory = situation.leaders.iter().all(|leader| *leader == ROOT);
            Plan {
                builders: if build { vec![ROOT] } else { Vec::new() },
                transport: situation.own_transport && !one_directory,
            }
        }
        BuildOn::Node | BuildOn::Process => {
            // A leader that has it builds nothing, even if another rank's view of the directory lags behind.
            let builds = |rank: &usize| situation.leaders[*rank] == *rank && !situation.on_disk[*rank];
            Plan { builders: ranks.filter(builds).collect(), transport: false }
        }
    }
}

/// The builders of one of several builds: those that do it in this turn for the given ones, one for each directory.
///
/// Turns go over the hosts that share a directory, first with one rank of each, then with a second one: compilers of one
/// host share its cores, and generators run one on each rank.
#[must_use]
pub fn assign_round_robin(builders: &[usize], leaders: &[usize], hosts: &[usize], turn: u64) -> Vec<usize> {
    let of_directory = |builder: &usize| {
        let mut ranks: Vec<(usize, usize)> = (0..leaders.len())
            .filter(|rank| leaders[*rank] == leaders[*builder])
            .map(|rank| {
                let before = (0..rank).filter(|other| leaders[*other] == leaders[rank]);
                (before.filter(|other| hosts[*other] == hosts[rank]).count(), rank)
            })
            .collect();
        ranks.sort_unstable();
        ranks[usize::try_from(turn % ranks.len() as u64).unwrap_or_default()].1
    };
    builders.iter().map(of_directory).collect()
}

/// The rank that sends the closure when some ranks still have nothing: the lowest that has it on disk.
#[must_use]
pub fn source(on_disk: &[bool]) -> Option<usize> {
    on_disk.iter().position(|there| *there)
}

/// The leaders of the directories in which some rank finds nothing.
#[must_use]
pub fn receivers(leaders: &[usize], on_disk: &[bool]) -> Vec<usize> {
    (0..leaders.len())
        .filter(|leader| leaders[*leader] == *leader)
        .filter(|leader| leaders.iter().zip(on_disk).any(|(at, there)| at == leader && !there))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builders(leaders: &[usize], hits: &[bool], buildon: BuildOn) -> Vec<usize> {
        plan(&RoleInput { leaders, on_disk: hits, buildon, own_transport: false }).builders
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
    fn root_builds_once_unless_somebody_has_it() {
        assert_eq!(builders(&[0, 1, 0, 1], &[false; 4], BuildOn::Root), [0]);
        assert_eq!(builders(&[0, 1, 0, 1], &[false, true, false, true], BuildOn::Root), [] as [usize; 0]);
    }

    /// Defect H4 of the original: with a warm root and cold others, root never sent and the others waited.
    #[test]
    fn h4_a_warm_root_is_the_source_of_cold_directories() {
        let hits = [true, false, true, false];
        assert_eq!(builders(&[0, 1, 0, 1], &hits, BuildOn::Root), [] as [usize; 0]);
        assert_eq!(source(&hits), Some(0));
        assert_eq!(receivers(&[0, 1, 0, 1], &hits), [1]);
        assert_eq!(source(&[false; 2]), None);
    }

    #[test]
    fn a_transport_of_the_host_starts_at_root_and_only_between_directories() {
        let on_disk = [false, true, false, false];
        let situation =
            |leaders| RoleInput { leaders, on_disk: &on_disk, buildon: BuildOn::Root, own_transport: true };
        assert_eq!(plan(&situation(&[0, 1, 0, 3])), Plan { builders: vec![0], transport: true });
        assert_eq!(plan(&situation(&[0, 0, 0, 0])), Plan { builders: vec![0], transport: false });
    }

    #[test]
    fn builds_are_dealt_out_over_hosts_and_then_over_their_ranks() {
        // One directory, three ranks on each of two hosts.
        let (leaders, hosts) = ([0; 6], [0, 0, 0, 3, 3, 3]);
        let dealt: Vec<usize> =
            (0..7).flat_map(|turn| assign_round_robin(&[0], &leaders, &hosts, turn)).collect();
        assert_eq!(dealt, [0, 3, 1, 4, 2, 5, 0]);
        // A directory of each host, and one whose leader builds nothing.
        let (leaders, hosts) = ([0, 0, 2, 2, 4], [0, 0, 2, 2, 2]);
        assert_eq!(assign_round_robin(&[0, 2], &leaders, &hosts, 0), [0, 2]);
        assert_eq!(assign_round_robin(&[0, 2], &leaders, &hosts, 1), [1, 3]);
        assert_eq!(assign_round_robin(&[4], &leaders, &hosts, 5), [4]);
        assert_eq!(assign_round_robin(&[], &leaders, &hosts, 5), [] as [usize; 0]);
    }

    #[test]
    fn a_lagging_view_makes_nobody_build() {
        assert_eq!(builders(&[0, 0], &[true, false], BuildOn::Node), [] as [usize; 0]);
    }
}
