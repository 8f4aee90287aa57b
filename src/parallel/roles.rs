//! Who builds, who sends, who receives: pure functions of what all ranks know.

#![forbid(unsafe_code)]

use crate::params::resolved::BuildOn;

/// What is known of every rank, the same on all ranks.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
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
    /// With a transport of the host: the rank that sends, and those that receive.
    pub transport: Option<(usize, Vec<usize>)>,
}

/// Chooses builders, and the ends of the host's transport.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let ranks = 0..situation.leaders.len();
    let leads = |rank: &usize| situation.leaders[*rank] == *rank;
    match situation.buildon {
        BuildOn::Root => {
            // What a rank already has need not be built; the host's transport, however, starts at the root.
            let build = if situation.own_transport {
                !situation.on_disk[0]
            } else {
                !situation.on_disk.contains(&true)
            };
            // Each other directory receives, whether it needs to or not: the host's transport may be a collective.
            let receivers = || ranks.clone().filter(|rank| leads(rank) && *rank != 0).collect();
            Plan {
                builders: if build { vec![0] } else { Vec::new() },
                transport: situation.own_transport.then(|| (0, receivers())),
            }
        }
        BuildOn::Node | BuildOn::Process => {
            let mut needs = vec![false; situation.leaders.len()];
            for rank in ranks.clone() {
                if !situation.on_disk[rank] {
                    needs[situation.leaders[rank]] = true;
                }
            }
            Plan { builders: ranks.filter(|rank| needs[*rank]).collect(), transport: None }
        }
    }
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
        plan(&Situation { leaders, on_disk: hits, buildon, own_transport: false }).builders
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
    fn a_transport_of_the_host_starts_at_root_and_reaches_every_directory() {
        let situation = Situation {
            leaders: &[0, 1, 0, 3],
            on_disk: &[false, true, false, false],
            buildon: BuildOn::Root,
            own_transport: true,
        };
        assert_eq!(plan(&situation), Plan { builders: vec![0], transport: Some((0, vec![1, 3])) });
    }
}
