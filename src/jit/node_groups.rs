//! The ranks of a communicator by hosts, as far as they read the same cache directory.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::cache::runs::RunKey;
use crate::codec::{Writer, digest};
use crate::error::Result;
use crate::fsutil::{self, FileId};
use crate::parallel::Communicator;
use crate::parallel::roles::ROOT;
use crate::params::resolved::{BuildOn, Resolved, StageDir};

use crate::sync::lock;

use super::epoch_cache::EpochCache;
use super::staged_set::StagedSet;

/// The ranks that read libraries from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Each for itself.
    All,
    /// One of each host, which stages libraries for the others.
    OnePerHost,
    /// Rank 0, which sends libraries to one rank of each host.
    RankZero,
}

impl Readers {
    /// Chooses the readers, for rank 0. `is_local` tells if the cache is on a disk of this host. With
    /// strategy "process" each rank has a directory of its own.
    pub(super) fn choose(params: &Resolved, is_local: impl Fn() -> bool) -> Self {
        let cache = &params.cache;
        if params.buildon == BuildOn::Process || !cache.load || cache.node_stage_dir == StageDir::Nowhere {
            return Self::All;
        }
        match (&cache.node_stage_dir, cache.distribute) {
            (_, Some(true)) => Self::RankZero,
            (_, None) if !is_local() => Self::RankZero,
            (StageDir::At(_), _) => Self::OnePerHost,
            (_, Some(false)) if !is_local() => Self::OnePerHost,
            _ => Self::All,
        }
    }

    /// Returns the vote of rank 0. The minimum over the ranks is its choice if the others vote for
    /// [`Readers::All`].
    pub(super) fn vote(self) -> u64 {
        match self {
            Self::RankZero => 0,
            Self::OnePerHost => 1,
            Self::All => u64::MAX,
        }
    }

    /// Returns the choice by the reduced vote.
    pub(super) fn of_vote(vote: u64) -> Self {
        match vote {
            0 => Self::RankZero,
            1 => Self::OnePerHost,
            _ => Self::All,
        }
    }
}

/// The ranks of a communicator by hosts, in one call.
#[derive(Clone)]
pub(super) struct NodeGroup {
    /// For each rank the lowest that has the same visibility key: it stages libraries for the others.
    pub(super) leaders: Arc<[usize]>,
    /// Does rank 0 read for all hosts? Then there are several.
    pub(super) one_reader: bool,
    /// Has this rank followers?
    pub(super) has_followers: bool,
    prefetched: Arc<OnceLock<Prefetched>>,
    /// On rank 0: the key of the list of this run.
    run: Arc<OnceLock<RunKey>>,
}

/// Libraries that were sent at the first call on a communicator, by signature. All ranks have the same
/// signatures. `None` if they could not be staged on this host.
pub(super) type Prefetched = HashMap<String, Option<StagedSet>>;

impl NodeGroup {
    /// Returns the library of a signature if it was sent at the first call on the communicator: its copy on
    /// this host, if there is one.
    pub(super) fn prefetched(&self, signature: &str) -> Option<Option<StagedSet>> {
        self.prefetched.get()?.get(signature).cloned()
    }

    /// Returns the key of the list of this run, on rank 0 if there is one.
    pub(super) fn run(&self) -> Option<&RunKey> {
        self.run.get()
    }

    /// Stores the key of the list of this run.
    pub(super) fn set_run(&self, key: RunKey) {
        let _ = self.run.set(key);
    }

    /// Stores what was sent at the first call. All ranks call this.
    pub(super) fn set_prefetched(&self, prefetched: Prefetched) {
        let _ = self.prefetched.set(prefetched);
    }

    /// Returns whether a rank reads libraries for others, or for itself.
    pub(super) fn reads(&self, rank: usize) -> bool {
        if self.one_reader { rank == ROOT } else { self.leaders[rank] == rank }
    }

    /// Returns the groups for reading what was just built. Each directory gets its own copy, so rank 0 reads
    /// for all only if there is one. `domains` are the leaders of the directories.
    pub(super) fn after_build(&self, domains: &[usize]) -> Self {
        let one_reader = self.one_reader && domains.iter().all(|leader| *leader == ROOT);
        Self { one_reader, ..self.clone() }
    }
}

/// The ranks of a communicator by hosts.
#[derive(Clone)]
struct Hosts {
    leaders: Arc<[usize]>,
    /// Are there several leaders?
    are_several: bool,
    /// Has any leader followers?
    any_followers: bool,
    /// Has this rank followers?
    has_followers: bool,
    prefetched: Arc<OnceLock<Prefetched>>,
    run: Arc<OnceLock<RunKey>>,
}

/// Knowledge of the ranks of a communicator about their hosts.
#[derive(Default)]
pub(super) struct NodeGroups {
    /// By cache directory.
    hosts: EpochCache<PathBuf, Hosts>,
    /// By cache directory: is it on a disk of this host? Kept on rank 0, because asking is an access.
    local: Mutex<HashMap<PathBuf, bool>>,
    /// The last choice of rank 0.
    chosen: Mutex<HashMap<ChoiceKey, Readers>>,
}

/// The parameters that the choice of the readers depends on.
type ChoiceKey = (PathBuf, StageDir, Option<bool>);

fn choice_key(params: &Resolved) -> ChoiceKey {
    let cache = &params.cache;
    (cache.cache_dir.clone(), cache.node_stage_dir.clone(), cache.distribute)
}

impl NodeGroups {
    /// Returns votes, to be reduced to their minimum, on whether all ranks know the same groups.
    pub(super) fn votes(&self, params: &Resolved) -> [u64; 2] {
        self.hosts.votes(&params.cache.cache_dir)
    }

    /// Returns the vote on the readers (rank 0 decides), and the readers that this rank expects, so that it
    /// can look before the ranks talk: those of the last call; in a first call, a guess that does not touch
    /// the directory.
    pub(super) fn choose(&self, comm: &dyn Communicator, params: &Resolved) -> (u64, Readers) {
        let dir = &params.cache.cache_dir;
        if comm.size() == 1 {
            return (Readers::All.vote(), Readers::All);
        }
        if comm.rank() == ROOT {
            let own = Readers::choose(params, || self.is_local(dir));
            return (own.vote(), own);
        }
        let known = lock(&self.chosen).get(&choice_key(params)).copied();
        let guess = || Readers::choose(params, || fsutil::seems_local(dir));
        (Readers::All.vote(), known.unwrap_or_else(guess))
    }

    fn is_local(&self, dir: &Path) -> bool {
        *lock(&self.local).entry(dir.to_owned()).or_insert_with(|| {
            let dir = dir.ancestors().find(|dir| dir.is_dir());
            dir.is_none_or(fsutil::is_local)
        })
    }

    /// Keeps the choice of rank 0 for the next call. All ranks call it.
    pub(super) fn note_choice(&self, params: &Resolved, readers: Readers) {
        lock(&self.chosen).insert(choice_key(params), readers);
    }

    /// Returns the ranks by hosts; `None` if each reads for itself. `readers` and `votes` are the reduced
    /// ones. Collective if the ranks do not know the same groups. Then rank 0 says, by `has_list`, whether it
    /// knows what the program has used last time, and the second value is the answer.
    pub(super) fn get(
        &self,
        comm: &dyn Communicator,
        params: &Resolved,
        readers: Readers,
        votes: &[u64; 2],
        has_list: impl FnOnce() -> bool,
    ) -> Result<Option<(Arc<NodeGroup>, bool)>> {
        if readers == Readers::All {
            return Ok(None);
        }
        let dir = &params.cache.cache_dir;
        let (hosts, has_list) = match self.hosts.agreed(dir, votes) {
            Some(hosts) => (hosts, false),
            None => {
                let says = comm.rank() == ROOT && readers == Readers::RankZero && has_list();
                let (hosts, has_list) = Hosts::find(comm, dir, says)?;
                self.hosts.insert(dir.clone(), hosts.clone());
                (hosts, has_list)
            }
        };
        let any_followers = hosts.any_followers;
        let group = hosts.group(readers);
        Ok((group.one_reader || any_followers).then(|| (Arc::new(group), has_list)))
    }

    /// Returns the ranks by hosts that this rank knows, whatever the other ranks know. Not collective.
    pub(super) fn last(&self, params: &Resolved, readers: Readers) -> Option<NodeGroup> {
        if readers == Readers::All {
            return None;
        }
        self.hosts.get(&params.cache.cache_dir).map(|hosts| hosts.group(readers))
    }
}

impl Hosts {
    fn group(self, readers: Readers) -> NodeGroup {
        let Self { leaders, are_several, has_followers, prefetched, run, .. } = self;
        let one_reader = readers == Readers::RankZero && are_several;
        NodeGroup { leaders, one_reader, has_followers, prefetched, run }
    }

    /// Finds for each rank the lowest that has the same visibility key. `says` on rank 0 is returned on all
    /// ranks. Collective.
    fn find(comm: &dyn Communicator, dir: &Path, says: bool) -> Result<(Self, bool)> {
        comm.enter("finding the ranks of each host");
        let mut mine = visibility_key(comm.machine(), dir).to_vec();
        mine.push(u8::from(says));
        let keys = comm.all_gather(&mine)?;
        let says = keys.get(VISIBILITY_KEY_SIZE) == Some(&1);
        let mut first = HashMap::new();
        let keys = keys.chunks_exact(VISIBILITY_KEY_SIZE + 1).map(|row| &row[..VISIBILITY_KEY_SIZE]);
        let leaders: Vec<usize> =
            keys.enumerate().map(|(rank, key)| *first.entry(key).or_insert(rank)).collect();
        let of = |leader: usize| leaders.iter().filter(|other| **other == leader).count();
        let hosts = Self {
            are_several: leaders.iter().any(|leader| *leader != 0),
            any_followers: leaders.iter().enumerate().any(|(rank, leader)| rank != *leader),
            has_followers: of(comm.rank()) > 1,
            leaders: leaders.into(),
            prefetched: Arc::default(),
            run: Arc::default(),
        };
        Ok((hosts, says))
    }
}

/// Bytes of [`visibility_key`].
const VISIBILITY_KEY_SIZE: usize = 16;

/// Returns a key that two ranks have in common if and only if a path is the same file to both, and both may
/// use it: a digest of machine, user, mount namespace, root directory and the path of the cache directory.
fn visibility_key(machine: u64, dir: &Path) -> [u8; VISIBILITY_KEY_SIZE] {
    let id = |path: &str| FileId::of(Path::new(path)).unwrap_or_default();
    let mut writer = Writer::new(b"visibility");
    let mounts = id("/proc/self/ns/mnt").inode;
    let FileId { device, inode: root } = id("/");
    let user = rustix::process::geteuid().as_raw();
    [machine, u64::from(user), mounts, device, root].into_iter().for_each(|number| writer.u64(number));
    writer.bytes(dir.as_os_str().as_bytes());
    digest(&writer.finish())[..VISIBILITY_KEY_SIZE].try_into().expect("a digest has 32 bytes")
}
