//! Groups of ranks that need the same library, because the compiler builds the same code on their hosts.
//!
//! Flags such as `-march=native` give different code on different processors, so ranks on different kinds of
//! hosts need libraries with different signatures. The reduction that begins every call finds out whether
//! there are different kinds: if all hosts are alike, as they mostly are, this costs nothing.
//!
//! If they are not, one rank of each kind asks its compiler what the flags stand for. Kinds with the same
//! answer are one group, which has one signature.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::build::toolchain::{cpu, native};
use crate::codec::{Digest32, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree, gather_bytes, on_root, same_votes};
use crate::params::resolved::Resolved;
use crate::signature::Toolchain;
use crate::sync::lock;

use super::epoch_cache::EpochCache;

/// The host of a rank, as a call sees it: its architecture, and its processor if the flags depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostIsa {
    compiler: Vec<String>,
    flags: Option<Vec<String>>,
    digest: Digest32,
}

impl HostIsa {
    /// Describes the host of this rank for a call with these parameters.
    pub(super) fn new(params: &Resolved) -> Self {
        let flags = native::flags(&params.build);
        let mut writer = Writer::new(b"machine");
        // If the signature is the name, the caller answers for everything.
        if !params.cache.signature_is_name {
            writer.bytes(std::env::consts::ARCH.as_bytes());
            if flags.is_some() {
                writer.bytes(cpu::key(&params.build).as_bytes());
            }
        }
        Self { compiler: params.build.compiler.clone(), flags, digest: digest(&writer.finish()) }
    }

    /// Returns votes, to be reduced to their minimum, on whether all hosts are alike.
    pub(super) fn votes(&self) -> [u64; 4] {
        same_votes(&self.digest)
    }
}

/// The ranks that share a signature with this one.
#[derive(Clone)]
pub(super) struct IsaGroup {
    /// The toolchain that goes into their signature.
    pub(super) toolchain: Toolchain,
    /// For each rank the lowest of its group; the same on all ranks. `None` if all ranks are one group.
    pub(super) of_rank: Option<Arc<[usize]>>,
}

impl IsaGroup {
    /// The group of all ranks.
    pub(super) fn all(toolchain: Toolchain) -> Self {
        Self { toolchain, of_rank: None }
    }

    /// Returns whether all ranks are one group.
    pub(super) fn is_only_one(&self) -> bool {
        self.of_rank.is_none()
    }

    /// Returns the lowest rank of the group of `rank`.
    pub(super) fn of(&self, rank: usize) -> usize {
        self.of_rank.as_ref().map_or(0, |groups| groups[rank])
    }

    /// Returns the lowest ranks of all groups.
    pub(super) fn first_ranks(&self) -> Vec<usize> {
        let Some(groups) = &self.of_rank else { return vec![0] };
        (0..groups.len()).filter(|rank| groups[*rank] == *rank).collect()
    }

    /// Returns for each rank the lowest rank of its group that shares its directory; `leaders` has the lowest
    /// of any group.
    pub(super) fn divide(&self, leaders: &[usize]) -> Vec<usize> {
        let mut first = HashMap::new();
        let keys = leaders.iter().enumerate().map(|(rank, leader)| (*leader, self.of(rank)));
        keys.enumerate().map(|(rank, key)| *first.entry(key).or_insert(rank)).collect()
    }
}

/// Knowledge of the ranks of a communicator about the processors of their hosts.
pub(super) struct IsaGroups {
    /// The toolchain, if all hosts are alike.
    toolchains: Mutex<HashMap<HostIsa, Toolchain>>,
    /// The group of this rank, if they are not.
    groups: EpochCache<HostIsa, IsaGroup>,
    /// True if all hosts were alike in the last call.
    were_alike: AtomicBool,
}

impl Default for IsaGroups {
    fn default() -> Self {
        let (toolchains, groups) = (Mutex::default(), EpochCache::default());
        Self { toolchains, groups, were_alike: AtomicBool::new(true) }
    }
}

impl IsaGroups {
    /// Returns votes, to be reduced to their minimum, on whether all ranks know the same groups.
    pub(super) fn votes(&self, isa: &HostIsa) -> [u64; 2] {
        self.groups.votes(isa)
    }

    /// Returns whether all hosts were alike in the last call; the same on all ranks.
    pub(super) fn were_alike(&self) -> bool {
        self.were_alike.load(Ordering::Relaxed)
    }

    /// Returns the group that this rank was in if its hosts are as they were in the last call. Not
    /// collective: the ranks still have to agree that they are.
    pub(super) fn last(&self, isa: &HostIsa) -> Option<IsaGroup> {
        if self.were_alike() {
            return lock(&self.toolchains).get(isa).cloned().map(IsaGroup::all);
        }
        self.groups.get(isa)
    }

    /// Stores the toolchain of all ranks, on which they have agreed. All ranks call it.
    pub(super) fn insert_toolchain(&self, isa: &HostIsa, toolchain: &Toolchain) {
        lock(&self.toolchains).entry(isa.clone()).or_insert_with(|| toolchain.clone());
    }

    /// Notes whether all hosts are alike in this call. All ranks call it.
    pub(super) fn note_alike(&self, all_alike: bool) {
        self.were_alike.store(all_alike, Ordering::Relaxed);
    }

    /// Returns the group of this rank. Collective if the ranks have not agreed on it before.
    ///
    /// `all_alike` and `votes` come from the reduction; `ask` asks the compiler of this host what it is.
    pub(super) fn get(
        &self,
        comm: &dyn Communicator,
        isa: &HostIsa,
        all_alike: bool,
        votes: &[u64; 2],
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<IsaGroup> {
        if all_alike {
            return self.toolchain_of_all(comm, isa, ask).map(IsaGroup::all);
        }
        match self.groups.agreed(isa, votes) {
            Some(group) => Ok(group),
            None => self.discover(comm, isa, ask),
        }
    }

    /// Rank 0 asks, once for each communicator and compiler.
    fn toolchain_of_all(
        &self,
        comm: &dyn Communicator,
        isa: &HostIsa,
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<Toolchain> {
        let known = lock(&self.toolchains).get(isa).cloned();
        if let Some(toolchain) = known {
            return Ok(toolchain);
        }
        let toolchain = decode(&on_root(comm, ASKING, || encode(&ask()))?)?;
        // A missing compiler may be there at the next call.
        if !toolchain.is_unknown() {
            lock(&self.toolchains).insert(isa.clone(), toolchain.clone());
        }
        Ok(toolchain)
    }

    /// The lowest rank of each kind of host asks; kinds with the same answer are a group.
    fn discover(
        &self,
        comm: &dyn Communicator,
        isa: &HostIsa,
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<IsaGroup> {
        let rank = comm.rank();
        comm.enter(ASKING);
        let kinds = comm.all_gather(&isa.digest)?;
        let kinds: Vec<&[u8]> = kinds.chunks_exact(isa.digest.len()).collect();
        let speaker = |rank: usize| kinds.iter().position(|kind| *kind == kinds[rank]).unwrap_or(rank);
        let own =
            agree(comm, ASKING, || if speaker(rank) == rank { encode(&ask()) } else { Ok(Vec::new()) })?;
        let answers = gather_bytes(comm, &own)?;

        // From here on everything is computed from the same bytes on all ranks.
        let answer = |rank: usize| &answers[speaker(rank)];
        let group = |rank: usize| (0..rank).find(|other| answer(*other) == answer(rank)).unwrap_or(rank);
        let groups: Arc<[usize]> = (0..answers.len()).map(group).collect();
        let toolchains: Vec<Toolchain> =
            (0..answers.len()).map(|rank| decode(answer(rank))).collect::<Result<_>>()?;
        let of_rank = groups.iter().any(|group| *group != 0).then_some(groups);
        let group = IsaGroup { toolchain: toolchains[rank].clone(), of_rank };
        // A missing compiler may be there at the next call.
        if !toolchains.iter().any(Toolchain::is_unknown) {
            self.groups.insert(isa.clone(), group.clone());
        }
        Ok(group)
    }
}

const ASKING: &str = "asking the compiler what it is";

fn encode(toolchain: &Toolchain) -> Result<Vec<u8>> {
    serde_json::to_vec(toolchain).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Toolchain> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::all_same;
    use crate::parallel::threads::run;

    #[test]
    fn each_group_has_a_leader_for_each_directory() {
        // Directories: ranks 0 1 3 and 2 4 5.
        let leaders = [0, 0, 2, 0, 2, 2];
        let group = |of_rank: Option<[usize; 6]>| IsaGroup {
            toolchain: Toolchain::unknown(),
            of_rank: of_rank.map(|groups| groups.into()),
        };
        let two = group(Some([0, 1, 0, 1, 1, 0]));
        assert_eq!(two.divide(&leaders), [0, 1, 2, 1, 4, 2]);
        assert_eq!((two.first_ranks(), two.of(4)), (vec![0, 1], 1));
        let one = group(None);
        assert_eq!((one.divide(&leaders), one.first_ranks()), (leaders.to_vec(), vec![0]));
    }

    fn isa(kind: usize) -> HostIsa {
        HostIsa { compiler: vec!["c++".into()], flags: Some(Vec::new()), digest: digest(&[kind as u8]) }
    }

    /// Returns whether all hosts are alike, and the votes on the groups, after one reduction.
    fn reduced_votes(comm: &dyn Communicator, groups: &IsaGroups, isa: &HostIsa) -> (bool, [u64; 2]) {
        let mut votes = [&isa.votes()[..], &groups.votes(isa)].concat();
        comm.min(&mut votes).unwrap();
        let (alike, groups) = votes.split_at(4);
        (all_same(alike), groups.try_into().unwrap())
    }

    /// Makes one call on ranks of these kinds; the compiler of each kind gives one of `answers`. Returns the
    /// members of the group (empty if all) and its answer, how often this rank was asked, and the number of
    /// collectives.
    fn group(
        comm: &crate::parallel::threads::ThreadComm,
        groups: &IsaGroups,
        of_rank: &[usize],
        answers: &[&str],
    ) -> (Vec<usize>, String, usize, usize) {
        let kind = of_rank[comm.rank()];
        let isa = isa(kind);
        let before = comm.collectives();
        let (all_alike, votes) = reduced_votes(comm, groups, &isa);
        let mut asked = 0;
        let group = groups.get(comm, &isa, all_alike, &votes, || {
            asked += 1;
            let identity = if answers[kind] == "unknown" { "unknown" } else { "c++ 1" };
            Toolchain { identity: identity.into(), target: "t".into(), isa: answers[kind].into() }
        });
        let group = group.unwrap();
        // All have left the collectives of the group.
        comm.min(&mut [0]).unwrap();
        let own = group.of(comm.rank());
        let members = match group.of_rank {
            Some(groups) => (0..groups.len()).filter(|rank| groups[*rank] == own).collect(),
            None => Vec::new(),
        };
        (members, group.toolchain.isa, asked, comm.collectives() - before - 1)
    }

    #[test]
    fn hosts_that_are_alike_cost_one_broadcast_and_later_nothing() {
        let results = run(3, |comm| {
            let groups = IsaGroups::default();
            let first = group(comm, &groups, &[0, 0, 0], &["a"]);
            (first, group(comm, &groups, &[0, 0, 0], &["a"]))
        });
        for (rank, (first, second)) in results.into_iter().enumerate() {
            assert_eq!(first, (vec![], "a".into(), usize::from(rank == 0), 2));
            assert_eq!(second, (vec![], "a".into(), 0, 1));
        }
    }

    #[test]
    fn kinds_with_different_answers_are_groups_and_are_remembered() {
        let results = run(5, |comm| {
            let groups = IsaGroups::default();
            let of_rank = [2, 0, 0, 2, 1];
            let first = group(comm, &groups, &of_rank, &["a", "b", "c"]);
            (first, group(comm, &groups, &of_rank, &["", "", ""]))
        });
        let members = [vec![0, 3], vec![1, 2], vec![1, 2], vec![0, 3], vec![4]];
        for (rank, (first, second)) in results.into_iter().enumerate() {
            let answer = ["c", "a", "a", "c", "b"][rank];
            assert_eq!((&first.0, first.1.as_str()), (&members[rank], answer));
            assert_eq!(first.2, usize::from([0, 1, 4].contains(&rank)), "the lowest rank of each kind asks");
            assert_eq!(
                second,
                (members[rank].clone(), answer.into(), 0, 1),
                "no communication but the votes"
            );
        }
    }

    /// Kernels describe the same processor in different words; what counts is what the compiler makes of it.
    #[test]
    fn kinds_with_the_same_answer_are_one_group() {
        let results = run(4, |comm| {
            let groups = IsaGroups::default();
            let first = group(comm, &groups, &[0, 1, 0, 2], &["a", "a", "a"]);
            let second = group(comm, &groups, &[0, 1, 0, 2], &["", "", ""]);
            let third = group(comm, &groups, &[1, 2, 2, 1], &["", "a", "b"]);
            (first.0, first.1, second.3, third.0)
        });
        let third = [vec![0, 3], vec![1, 2], vec![1, 2], vec![0, 3]];
        for (rank, result) in results.into_iter().enumerate() {
            assert_eq!(result, (vec![], "a".into(), 1, third[rank].clone()));
        }
    }

    #[test]
    fn a_rank_that_has_changed_its_kind_makes_all_look_again() {
        let results = run(3, |comm| {
            let groups = IsaGroups::default();
            let of = |of_rank: &[usize]| group(comm, &groups, of_rank, &["a", "b", "c"]);
            [of(&[0, 1, 1]), of(&[0, 0, 1]), of(&[0, 1, 1]), of(&[1, 1, 1])].map(|found| (found.0, found.1))
        });
        let expected = |members: &[usize], isa: &str| (members.to_vec(), isa.to_owned());
        assert_eq!(
            results[1],
            [expected(&[1, 2], "b"), expected(&[0, 1], "a"), expected(&[1, 2], "b"), expected(&[], "b")]
        );
        assert_eq!(
            results[0],
            [expected(&[0], "a"), expected(&[0, 1], "a"), expected(&[0], "a"), expected(&[], "b")]
        );
    }

    #[test]
    fn a_compiler_that_is_not_there_is_asked_again() {
        let asked = run(2, |comm| {
            let groups = IsaGroups::default();
            let of = |answers: &[&str]| group(comm, &groups, &[0, 1], answers).2;
            [of(&["a", "unknown"]), of(&["a", "b"]), of(&["a", "b"])]
        });
        assert_eq!(asked, [[1, 1, 0]; 2]);
    }

    #[test]
    fn a_question_that_fails_on_one_kind_fails_all() {
        let results = run(3, |comm| {
            let groups = IsaGroups::default();
            let isa = isa(usize::from(comm.rank() > 0));
            let (all_alike, votes) = reduced_votes(comm, &groups, &isa);
            let ask = || if comm.rank() == 1 { panic!("breaks") } else { Toolchain::unknown() };
            groups.get(comm, &isa, all_alike, &votes, ask).map(drop).unwrap_err()
        });
        assert!(results.iter().all(|error| *error == results[0] && error.rank() == 1), "{results:?}");
    }
}
