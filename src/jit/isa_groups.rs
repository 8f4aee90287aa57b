//! Groups of ranks that need the same library, because the compiler builds the same code on their hosts.
//!
//! Flags such as `-march=native` give different code on different processors, so ranks on different kinds of
//! hosts need libraries with different signatures. The reduction that begins every call finds out whether
//! there are different kinds: if all hosts are alike, as they mostly are, this costs nothing.
//!
//! If they are not, one rank of each kind asks its compiler what the flags stand for. Kinds with the same
//! answer are one group. A group has one signature, and a communicator of its own while its ranks build.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::build::toolchain::{cpu, native};
use crate::codec::{Digest32, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree, gather_bytes, on_root, same_votes};
use crate::params::resolved::Resolved;
use crate::signature::Toolchain;
use crate::sync::lock;

use super::epoch_cache::{EpochCache, SharedComm, SubComms};

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
    pub(super) fn votes(&self) -> [u64; 8] {
        same_votes(&self.digest)
    }
}

/// The ranks that share a signature with this one.
#[derive(Clone)]
pub(super) struct IsaGroup {
    /// The toolchain that goes into their signature.
    pub(super) toolchain: Toolchain,
    /// `None` if the group is all ranks.
    pub(super) sub_comm: Option<Arc<SubComm>>,
}

impl IsaGroup {
    /// The group of all ranks.
    pub(super) fn all(toolchain: Toolchain) -> Self {
        Self { toolchain, sub_comm: None }
    }

    /// For each rank of the group, the lowest rank of the group that shares its directory; both are numbered
    /// within the group. `of_all` is the same for all ranks.
    pub(super) fn leaders(&self, of_all: &[usize]) -> Vec<usize> {
        self.sub_comm.as_ref().map_or_else(|| of_all.to_vec(), |sub_comm| restrict(of_all, &sub_comm.members))
    }
}

fn restrict(leaders: &[usize], members: &[usize]) -> Vec<usize> {
    let leader = |member: &usize| leaders[*member];
    let first = |at: &usize| members.iter().position(|other| leader(other) == *at).unwrap_or_default();
    members.iter().map(|member| first(&leader(member))).collect()
}

/// Knowledge of the ranks of a communicator about the processors of their hosts.
#[derive(Default)]
pub(super) struct IsaGroups {
    /// The toolchain, if all hosts are alike.
    toolchains: Mutex<HashMap<HostIsa, Toolchain>>,
    /// The group of this rank, if they are not.
    groups: EpochCache<HostIsa, IsaGroup>,
    sub_comms: SubComms,
}

impl IsaGroups {
    /// Returns votes, to be reduced to their minimum, on whether all ranks know the same groups.
    pub(super) fn votes(&self, isa: &HostIsa) -> [u64; 2] {
        self.groups.votes(isa)
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

        // From here to the split everything is computed from the same bytes on all ranks.
        let answer = |rank: usize| &answers[speaker(rank)];
        let group = |rank: usize| (0..rank).find(|other| answer(*other) == answer(rank)).unwrap_or(rank);
        let groups: Vec<usize> = (0..answers.len()).map(group).collect();
        let toolchains: Vec<Toolchain> =
            (0..answers.len()).map(|rank| decode(answer(rank))).collect::<Result<_>>()?;
        let sub_comm = if groups.iter().all(|group| *group == 0) {
            None
        } else {
            Some(Arc::new(self.sub_comm(comm, &groups)?))
        };
        let group = IsaGroup { toolchain: toolchains[rank].clone(), sub_comm };
        // A missing compiler may be there at the next call.
        if !toolchains.iter().any(Toolchain::is_unknown) {
            self.groups.insert(isa.clone(), group.clone());
        }
        Ok(group)
    }

    /// Returns the communicator of this rank's group. `groups` names the group of each rank by its lowest
    /// rank.
    fn sub_comm(&self, comm: &dyn Communicator, groups: &[usize]) -> Result<SubComm> {
        let rank = comm.rank();
        let sub_comm = self.sub_comms.split(
            comm,
            groups,
            "making a communicator of the ranks on one kind of machine",
        )?;
        let members = (0..groups.len()).filter(|other| groups[*other] == groups[rank]).collect();
        Ok(SubComm { comm: sub_comm, members, rank, size: comm.size() })
    }
}

const ASKING: &str = "asking the compiler what it is";

fn encode(toolchain: &Toolchain) -> Result<Vec<u8>> {
    serde_json::to_vec(toolchain).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Toolchain> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

/// Some ranks of a communicator. Error messages give their ranks in the whole communicator.
pub(super) struct SubComm {
    comm: SharedComm,
    /// The ranks of the members in the whole communicator.
    members: Vec<usize>,
    /// This rank in the whole communicator.
    rank: usize,
    /// The size of the whole communicator.
    size: usize,
}

impl Communicator for SubComm {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn size(&self) -> usize {
        self.comm.size()
    }

    fn host(&self) -> &str {
        self.comm.host()
    }

    fn machine(&self) -> u64 {
        self.comm.machine()
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        self.comm.min(values)
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        self.comm.broadcast(root, data)
    }

    fn broadcast_to_some(&self, root: usize, data: &mut Vec<u8>, wants: bool) -> Result<()> {
        self.comm.broadcast_to_some(root, data, wants)
    }

    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
        self.comm.broadcast_in_groups(leaders, data)
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        self.comm.all_gather(mine)
    }

    fn split(&self, color: usize) -> Result<Arc<dyn Communicator + Send + Sync>> {
        self.comm.split(color)
    }

    fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.comm.begin(call, timeout);
    }

    fn enter(&self, step: &str) {
        self.comm.enter(step);
    }

    fn expect(&self, step: &str, builders: &[usize]) {
        self.comm.expect(step, builders);
    }

    fn check_alive(&self) -> Result<()> {
        self.comm.check_alive()
    }

    fn locate(&self, error: Error) -> Error {
        error.on_rank(self.rank, self.size, self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::all_same;
    use crate::parallel::threads::run;

    #[test]
    fn leaders_of_a_group_are_numbered_within_it() {
        // Directories: ranks 0 1 3 and 2 4 5.
        let leaders = [0, 0, 2, 0, 2, 2];
        assert_eq!(restrict(&leaders, &[1, 3, 4, 5]), [0, 0, 2, 2]);
        assert_eq!(restrict(&leaders, &[0, 2]), [0, 1]);
        assert_eq!(restrict(&leaders, &[0, 1, 2, 3, 4, 5]), leaders);
    }

    fn isa(kind: usize) -> HostIsa {
        HostIsa { compiler: vec!["c++".into()], flags: Some(Vec::new()), digest: digest(&[kind as u8]) }
    }

    /// Returns whether all hosts are alike, and the votes on the groups, after one reduction.
    fn reduced_votes(comm: &dyn Communicator, groups: &IsaGroups, isa: &HostIsa) -> (bool, [u64; 2]) {
        let mut votes = [&isa.votes()[..], &groups.votes(isa)].concat();
        comm.min(&mut votes).unwrap();
        let (alike, groups) = votes.split_at(8);
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
        let members = group.sub_comm.map(|sub_comm| sub_comm.members.clone()).unwrap_or_default();
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

    /// Defect C21 of the original: communicators were made and never freed. Here they live as long as the
    /// host's, so there must not be one more with each call.
    #[test]
    fn c21_a_division_is_split_once() {
        let reused = run(4, |comm| {
            let sub_comms = SubComms::default();
            let split = |colors: [usize; 4]| sub_comms.split(comm, &colors, "splitting").unwrap();
            let first = [[0, 1, 0, 1], [0, 0, 2, 2]].map(split);
            let before = comm.collectives();
            let again = [[0, 1, 0, 1], [0, 0, 2, 2]].map(split);
            let same = first.iter().zip(&again).all(|(first, again)| Arc::ptr_eq(first, again));
            same && comm.collectives() == before
        });
        assert_eq!(reused, [true; 4]);
    }

    #[test]
    fn ranks_of_a_group_are_named_as_in_the_whole_communicator() {
        let errors = run(4, |comm| {
            let sub_comm = IsaGroups::default().sub_comm(comm, &[0, 1, 0, 1]).unwrap();
            let verdict = agree(&sub_comm, "testing", || {
                if comm.rank() == 3 { Err(Error::new(Kind::Compile, "no")) } else { Ok(()) }
            });
            agree(comm, "testing", || verdict).unwrap_err()
        });
        assert!(errors.iter().all(|error| *error == errors[0] && error.rank() == 3), "{errors:?}");
        assert!(errors[0].message().contains("rank 3 of 4"), "{}", errors[0]);
    }
}
