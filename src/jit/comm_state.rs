//! The state of a communicator between calls.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::parallel::cache_domains::CacheDomains;

use super::epoch_cache::EpochCache;
use super::hit_cache::HitCache;
use super::isa_groups::IsaGroups;
use super::node_groups::NodeGroups;

/// The values that the ranks of a communicator have agreed on so far: the same on all of them, except for
/// paths.
#[derive(Default)]
pub struct CommState {
    pub(super) hits: HitCache,
    /// By cache directory: which ranks share it.
    pub(super) domains: EpochCache<PathBuf, Arc<CacheDomains>>,
    pub(super) isa_groups: IsaGroups,
    pub(super) node_groups: NodeGroups,
    /// The number of calls that have been started with `start_on`.
    pub(super) started: AtomicU64,
    /// The number of builds that have been assigned to ranks in turn.
    pub(super) next_builder: AtomicU64,
}
