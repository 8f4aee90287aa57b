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
use crate::params::resolved::{BuildOn, Resolved, StageDir};

use super::epoch_cache::EpochCache;

/// The ranks of a communicator by hosts.
pub(super) struct NodeGroup {
    /// For each rank the lowest that has the same visibility key: it reads the cache for the others.
    pub(super) leaders: Vec<usize>,
    /// Has this rank followers?
    has_followers: bool,
}

impl NodeGroup {
    /// Returns whether this rank, `rank`, reads the cache for others.
    pub(super) fn has_followers(&self, rank: usize) -> bool {
        self.has_followers && self.leaders[rank] == rank
    }
}

/// Knowledge of the ranks of a communicator about their hosts.
#[derive(Default)]
pub(super) struct NodeGroups {
    /// By cache directory. `None` if every rank is alone.
    groups: EpochCache<PathBuf, Option<Arc<NodeGroup>>>,
}

impl NodeGroups {
    /// Returns votes, to be reduced to their minimum, on whether all ranks know the same groups.
    pub(super) fn votes(&self, params: &Resolved) -> [u64; 2] {
        self.groups.votes(&params.cache.cache_dir)
    }

    /// Returns the ranks by hosts; `None` if every rank is alone. `votes` are the reduced ones. Collective if
    /// the ranks do not know the same groups.
    pub(super) fn get(
        &self,
        comm: &dyn Communicator,
        params: &Resolved,
        votes: &[u64; 2],
    ) -> Result<Option<Arc<NodeGroup>>> {
        let dir = &params.cache.cache_dir;
        if let Some(group) = self.groups.agreed(dir, votes) {
            return Ok(group);
        }
        comm.enter("finding the ranks of each host");
        let keys = comm.all_gather(&visibility_key(comm.machine(), dir))?;
        let mut first = HashMap::new();
        let keys = keys.chunks_exact(VISIBILITY_KEY_SIZE).enumerate();
        let leaders: Vec<usize> = keys.map(|(rank, key)| *first.entry(key).or_insert(rank)).collect();
        let group = if leaders.iter().enumerate().all(|(rank, leader)| rank == *leader) {
            None
        } else {
            let rank = comm.rank();
            let has_followers = leaders.iter().filter(|leader| **leader == rank).count() > 1;
            Some(Arc::new(NodeGroup { leaders, has_followers }))
        };
        self.groups.insert(dir.clone(), group.clone());
        Ok(group)
    }
}

/// Returns whether the leaders of the hosts read the cache for the others, as far as this rank is concerned;
/// rank 0 decides. With strategy "process" each rank has a directory of its own.
pub(super) fn wants_staging(params: &Resolved) -> bool {
    if params.buildon == BuildOn::Process || !params.cache.load {
        return false;
    }
    match params.cache.node_stage_dir {
        StageDir::Nowhere => false,
        StageDir::At(_) => true,
        StageDir::Automatic => {
            let dir = params.cache.cache_dir.ancestors().find(|dir| dir.is_dir());
            dir.is_some_and(|dir| !fsutil::is_local(dir))
        }
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
