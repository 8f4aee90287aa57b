//! Kinds of machines among the ranks, and classes of ranks that share a signature.
//!
//! Flags such as `-march=native` give other code on other processors, so that ranks on different kinds of machines
//! need libraries of different signatures. Whether there are different kinds is found out in the reduction that begins
//! every call: where all machines are alike, as they mostly are, this costs nothing.
//!
//! Where they are not, one rank of each kind asks its compiler what the flags stand for. Kinds with the same answer
//! are one class; a class has one signature, and a communicator of its own for as long as its ranks work on it.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::build::toolchain::{cpu, native};
use crate::codec::{Digest32, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree, all_same, gather_bytes, on_root, same_votes};
use crate::params::resolved::Resolved;
use crate::signature::Toolchain;

use super::lock;

/// What a rank's machine is as far as a call is concerned, and for which compiler and flags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostIsa {
    compiler: Vec<String>,
    flags: Option<Vec<String>>,
    digest: Digest32,
}

impl HostIsa {
    /// This rank's machine under these parameters.
    pub(super) fn new(params: &Resolved) -> Self {
        let flags = native::flags(&params.build);
        let mut writer = Writer::new(b"machine");
        // With the name alone for a signature, the caller answers for everything.
        if !params.cache.signature_is_name {
            writer.bytes(std::env::consts::ARCH.as_bytes());
            if flags.is_some() {
                writer.bytes(cpu::key(&params.build).as_bytes());
            }
        }
        Self { compiler: params.build.compiler.clone(), flags, digest: digest(&writer.finish()) }
    }
}

/// How many votes [`Kinds::votes`] has.
pub(super) const VOTES: usize = 10;

/// The ranks that share a signature with this one.
#[derive(Clone)]
pub(super) struct IsaGroup {
    /// What they sign with.
    pub(super) toolchain: Toolchain,
    /// `None` when they are all ranks.
    pub(super) part: Option<Arc<SubComm>>,
}

impl IsaGroup {
    /// All ranks, who sign with this.
    pub(super) fn all(toolchain: Toolchain) -> Self {
        Self { toolchain, part: None }
    }

    /// For each rank of the class the lowest of the class that shares its directory, from the same for all ranks.
    pub(super) fn leaders(&self, of_all: &[usize]) -> Vec<usize> {
        self.part.as_ref().map_or_else(|| of_all.to_vec(), |part| restrict(of_all, &part.members))
    }
}

fn restrict(leaders: &[usize], members: &[usize]) -> Vec<usize> {
    let leader = |member: &usize| leaders[*member];
    let first = |at: &usize| members.iter().position(|other| leader(other) == *at).unwrap_or_default();
    members.iter().map(|member| first(&leader(member))).collect()
}

/// What the ranks of a communicator have agreed on about their machines; the same on all of them.
#[derive(Default)]
pub(super) struct IsaGroups {
    /// Where all machines are alike.
    toolchains: Mutex<HashMap<HostIsa, Toolchain>>,
    /// Where they are not; with the number of the finding, by which ranks see that they mean the same one.
    classes: Mutex<HashMap<HostIsa, (u64, IsaGroup)>>,
    findings: AtomicU64,
    /// By the class of each rank, named by its lowest rank.
    parts: Mutex<HashMap<Vec<usize>, Arc<SubComm>>>,
}

impl IsaGroups {
    /// Votes to be reduced to their minimum: whether all ranks have the same machine, and else whether all have the
    /// same classes in mind.
    pub(super) fn votes(&self, machine: &HostIsa) -> [u64; VOTES] {
        let number = lock(&self.classes).get(machine).map_or(u64::MAX, |(number, _)| *number);
        let mut votes = [0; VOTES];
        let (same, known) = votes.split_at_mut(8);
        same.copy_from_slice(&same_votes(&machine.digest));
        known.copy_from_slice(&[number, !number]);
        votes
    }

    /// The class of this rank. Collective, where the ranks have not agreed on it before.
    ///
    /// `votes` are the reduced ones; `ask` finds out what the compiler is on this machine.
    pub(super) fn group(
        &self,
        comm: &dyn Communicator,
        machine: &HostIsa,
        votes: &[u64],
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<IsaGroup> {
        let (same, known) = votes.split_at(8);
        if all_same(same) {
            return self.of_one_isa(comm, machine, ask).map(IsaGroup::all);
        }
        let class = lock(&self.classes).get(machine).cloned();
        match class {
            Some((_, class)) if all_same(known) => Ok(class),
            _ => self.of_several_isas(comm, machine, ask),
        }
    }

    /// Rank 0 asks, once for each communicator and compiler.
    fn of_one_isa(
        &self,
        comm: &dyn Communicator,
        machine: &HostIsa,
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<Toolchain> {
        let known = lock(&self.toolchains).get(machine).cloned();
        if let Some(toolchain) = known {
            return Ok(toolchain);
        }
        let toolchain = decode(&on_root(comm, ASKING, || encode(&ask()))?)?;
        // A compiler that is not there may be there at the next call.
        if !toolchain.is_unknown() {
            lock(&self.toolchains).insert(machine.clone(), toolchain.clone());
        }
        Ok(toolchain)
    }

    /// The lowest rank of each kind asks; those who get the same answer are a class.
    fn of_several_isas(
        &self,
        comm: &dyn Communicator,
        machine: &HostIsa,
        ask: impl FnOnce() -> Toolchain,
    ) -> Result<IsaGroup> {
        let rank = comm.rank();
        comm.enter(ASKING);
        let kinds = comm.all_gather(&machine.digest)?;
        let kinds: Vec<&[u8]> = kinds.chunks_exact(machine.digest.len()).collect();
        let speaker = |rank: usize| kinds.iter().position(|kind| *kind == kinds[rank]).unwrap_or(rank);
        let mine =
            agree(comm, ASKING, || if speaker(rank) == rank { encode(&ask()) } else { Ok(Vec::new()) })?;
        let answers = gather_bytes(comm, &mine)?;

        // From here to the split everything is computed from the same bytes on all ranks.
        let answer = |rank: usize| &answers[speaker(rank)];
        let class = |rank: usize| (0..rank).find(|other| answer(*other) == answer(rank)).unwrap_or(rank);
        let classes: Vec<usize> = (0..answers.len()).map(class).collect();
        let toolchains: Vec<Toolchain> =
            (0..answers.len()).map(|rank| decode(answer(rank))).collect::<Result<_>>()?;
        let part =
            if classes.iter().all(|class| *class == 0) { None } else { Some(self.part(comm, &classes)?) };
        let class = IsaGroup { toolchain: toolchains[rank].clone(), part };
        // A compiler that is not there may be there at the next call.
        if !toolchains.iter().any(Toolchain::is_unknown) {
            let number = self.findings.fetch_add(1, Ordering::Relaxed);
            lock(&self.classes).insert(machine.clone(), (number, class.clone()));
        }
        Ok(class)
    }

    /// The communicator of this rank's class, made once for each division of the ranks.
    fn part(&self, comm: &dyn Communicator, classes: &[usize]) -> Result<Arc<SubComm>> {
        let known = lock(&self.parts).get(classes).cloned();
        if let Some(part) = known {
            return Ok(part);
        }
        let rank = comm.rank();
        let part = comm.split(classes[rank]);
        let part = Arc::new(SubComm {
            comm: agree(comm, "making a communicator of the ranks on one kind of machine", || part)?,
            members: (0..classes.len()).filter(|other| classes[*other] == classes[rank]).collect(),
            whole: (rank, comm.size()),
        });
        lock(&self.parts).insert(classes.to_vec(), Arc::clone(&part));
        Ok(part)
    }
}

const ASKING: &str = "asking the compiler what it is";

fn encode(toolchain: &Toolchain) -> Result<Vec<u8>> {
    serde_json::to_vec(toolchain).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Toolchain> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}

/// Some ranks of a communicator, who keep the numbers that they have there in what they say of themselves.
pub(super) struct SubComm {
    comm: Arc<dyn Communicator + Send + Sync>,
    /// Their ranks in the whole.
    members: Vec<usize>,
    /// This rank in the whole, and its size.
    whole: (usize, usize),
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
        error.on_rank(self.whole.0, self.whole.1, self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::threads::run;

    #[test]
    fn leaders_of_a_class_are_counted_within_it() {
        // Directories: ranks 0 1 3 and 2 4 5.
        let leaders = [0, 0, 2, 0, 2, 2];
        assert_eq!(restrict(&leaders, &[1, 3, 4, 5]), [0, 0, 2, 2]);
        assert_eq!(restrict(&leaders, &[0, 2]), [0, 1]);
        assert_eq!(restrict(&leaders, &[0, 1, 2, 3, 4, 5]), leaders);
    }

    fn machine(kind: usize) -> HostIsa {
        HostIsa { compiler: vec!["c++".into()], flags: Some(Vec::new()), digest: digest(&[kind as u8]) }
    }

    /// One call on ranks of these kinds, where the compiler on each kind gives this answer: the class's members (empty
    /// for all) and answer, how often this rank was asked, and the number of collectives.
    fn class(
        comm: &crate::parallel::threads::ThreadComm,
        kinds: &IsaGroups,
        of_rank: &[usize],
        answers: &[&str],
    ) -> (Vec<usize>, String, usize, usize) {
        let kind = of_rank[comm.rank()];
        let machine = machine(kind);
        let before = comm.collectives();
        let mut votes = kinds.votes(&machine);
        comm.min(&mut votes).unwrap();
        let mut asked = 0;
        let class = kinds.group(comm, &machine, &votes, || {
            asked += 1;
            let identity = if answers[kind] == "unknown" { "unknown" } else { "c++ 1" };
            Toolchain { identity: identity.into(), target: "t".into(), isa: answers[kind].into() }
        });
        let class = class.unwrap();
        // All have left the class's collectives.
        comm.min(&mut [0]).unwrap();
        let members = class.part.map(|part| part.members.clone()).unwrap_or_default();
        (members, class.toolchain.isa, asked, comm.collectives() - before - 1)
    }

    #[test]
    fn machines_that_are_alike_cost_one_broadcast_and_later_nothing() {
        let results = run(3, |comm| {
            let kinds = IsaGroups::default();
            let first = class(comm, &kinds, &[0, 0, 0], &["a"]);
            (first, class(comm, &kinds, &[0, 0, 0], &["a"]))
        });
        for (rank, (first, second)) in results.into_iter().enumerate() {
            assert_eq!(first, (vec![], "a".into(), usize::from(rank == 0), 2));
            assert_eq!(second, (vec![], "a".into(), 0, 1));
        }
    }

    #[test]
    fn kinds_with_other_answers_are_classes_and_are_remembered() {
        let results = run(5, |comm| {
            let kinds = IsaGroups::default();
            let of_rank = [2, 0, 0, 2, 1];
            let first = class(comm, &kinds, &of_rank, &["a", "b", "c"]);
            (first, class(comm, &kinds, &of_rank, &["", "", ""]))
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
    fn kinds_with_the_same_answer_are_one_class() {
        let results = run(4, |comm| {
            let kinds = IsaGroups::default();
            let first = class(comm, &kinds, &[0, 1, 0, 2], &["a", "a", "a"]);
            let second = class(comm, &kinds, &[0, 1, 0, 2], &["", "", ""]);
            let third = class(comm, &kinds, &[1, 2, 2, 1], &["", "a", "b"]);
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
            let kinds = IsaGroups::default();
            let of = |of_rank: &[usize]| class(comm, &kinds, of_rank, &["a", "b", "c"]);
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
            let kinds = IsaGroups::default();
            let of = |answers: &[&str]| class(comm, &kinds, &[0, 1], answers).2;
            [of(&["a", "unknown"]), of(&["a", "b"]), of(&["a", "b"])]
        });
        assert_eq!(asked, [[1, 1, 0]; 2]);
    }

    #[test]
    fn a_question_that_fails_on_one_kind_fails_all() {
        let results = run(3, |comm| {
            let kinds = IsaGroups::default();
            let machine = machine(usize::from(comm.rank() > 0));
            let mut votes = kinds.votes(&machine);
            comm.min(&mut votes).unwrap();
            let ask = || if comm.rank() == 1 { panic!("breaks") } else { Toolchain::unknown() };
            kinds.group(comm, &machine, &votes, ask).map(drop).unwrap_err()
        });
        assert!(results.iter().all(|error| *error == results[0] && error.rank() == 1), "{results:?}");
    }

    /// Defect C21 of the original: communicators were made and never freed. Here they live as long as the host's, so
    /// there must not be one more with each call.
    #[test]
    fn c21_a_class_gets_the_communicator_that_it_had_before() {
        let reused = run(4, |comm| {
            let kinds = IsaGroups::default();
            let first = [[0, 1, 0, 1], [0, 0, 2, 2]].map(|classes| kinds.part(comm, &classes).unwrap());
            let before = comm.collectives();
            let again = [[0, 1, 0, 1], [0, 0, 2, 2]].map(|classes| kinds.part(comm, &classes).unwrap());
            let same = first.iter().zip(&again).all(|(first, again)| Arc::ptr_eq(first, again));
            same && comm.collectives() == before
        });
        assert_eq!(reused, [true; 4]);
    }

    #[test]
    fn ranks_of_a_part_name_themselves_as_in_the_whole() {
        let errors = run(4, |comm| {
            let part = IsaGroups::default().part(comm, &[0, 1, 0, 1]).unwrap();
            let verdict = agree(part.as_ref(), "testing", || {
                if comm.rank() == 3 { Err(Error::new(Kind::Compile, "no")) } else { Ok(()) }
            });
            agree(comm, "testing", || verdict).unwrap_err()
        });
        assert!(errors.iter().all(|error| *error == errors[0] && error.rank() == 3), "{errors:?}");
        assert!(errors[0].message().contains("rank 3 of 4"), "{}", errors[0]);
    }
}
