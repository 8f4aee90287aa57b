//! The ranks of a communicator by hosts, as far as they read the same cache directory.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Writer, digest};
use crate::error::Result;
use crate::fsutil::{self, FileId};
use crate::parallel::Communicator;
use crate::parallel::roles::ROOT;
use crate::params::resolved::{BuildOn, Resolved, StageDir};

use super::epoch_cache::EpochCache;

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
    /// Chooses the readers, as far as this rank is concerned; rank 0 decides. With strategy "process" each
    /// rank has a directory of its own.
    pub(super) fn choose(params: &Resolved) -> Self {
        let cache = &params.cache;
        if params.buildon == BuildOn::Process || !cache.load || cache.node_stage_dir == StageDir::Nowhere {
            return Self::All;
        }
        let is_local = || {
            let dir = cache.cache_dir.ancestors().find(|dir| dir.is_dir());
            dir.is_none_or(fsutil::is_local)
        };
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
}

impl NodeGroup {
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
}

/// Knowledge of the ranks of a communicator about their hosts.
#[derive(Default)]
pub(super) struct NodeGroups {
    /// By cache directory.
    hosts: EpochCache<PathBuf, Hosts>,
}

impl NodeGroups {
    /// Returns votes, to be reduced to their minimum, on whether all ranks know the same groups.
    pub(super) fn votes(&self, params: &Resolved) -> [u64; 2] {
        self.hosts.votes(&params.cache.cache_dir)
    }

    /// Returns the ranks by hosts; `None` if each reads for itself. `readers` and `votes` are the reduced
    /// ones. Collective if the ranks do not know the same groups.
    pub(super) fn get(
        &self,
        comm: &dyn Communicator,
        params: &Resolved,
        readers: Readers,
        votes: &[u64; 2],
    ) -> Result<Option<Arc<NodeGroup>>> {
        if readers == Readers::All {
            return Ok(None);
        }
        let dir = &params.cache.cache_dir;
        let hosts = match self.hosts.agreed(dir, votes) {
            Some(hosts) => hosts,
            None => {
                let hosts = Hosts::find(comm, dir)?;
                self.hosts.insert(dir.clone(), hosts.clone());
                hosts
            }
        };
        let Hosts { leaders, are_several, any_followers, has_followers } = hosts;
        let one_reader = readers == Readers::RankZero && are_several;
        let group = NodeGroup { leaders, one_reader, has_followers };
        Ok((one_reader || any_followers).then(|| Arc::new(group)))
    }
}

impl Hosts {
    /// Finds for each rank the lowest that has the same visibility key. Collective.
    fn find(comm: &dyn Communicator, dir: &Path) -> Result<Self> {
        comm.enter("finding the ranks of each host");
        let keys = comm.all_gather(&visibility_key(comm.machine(), dir))?;
        let mut first = HashMap::new();
        let keys = keys.chunks_exact(VISIBILITY_KEY_SIZE).enumerate();
        let leaders: Vec<usize> = keys.map(|(rank, key)| *first.entry(key).or_insert(rank)).collect();
        let of = |leader: usize| leaders.iter().filter(|other| **other == leader).count();
        Ok(Self {
            are_several: leaders.iter().any(|leader| *leader != 0),
            any_followers: leaders.iter().enumerate().any(|(rank, leader)| rank != *leader),
            has_followers: of(comm.rank()) > 1,
            leaders: leaders.into(),
        })
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
