//! The roles of the ranks in the build of a library.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::parallel::roles::RolePlan;

/// The roles of the ranks in the build of a library; the same on all ranks.
pub(super) struct BuildRoles {
    /// For each rank the lowest that shares its directory and its signature.
    pub(super) leaders: Arc<[usize]>,
    /// For each rank, whether the entry was on its disk.
    pub(super) had_entry: Vec<bool>,
    pub(super) plan: RolePlan,
    /// For each host the rank that reports the progress of all its builds in this call, in ascending order.
    pub(super) reporters: Arc<[usize]>,
    /// For each rank the lowest of its host.
    pub(super) hosts: Arc<[usize]>,
}

impl BuildRoles {
    /// Returns whether this rank builds.
    pub(super) fn builds(&self, rank: usize) -> bool {
        self.plan.builders.contains(&rank)
    }

    /// Returns whether this rank reports the progress of the builds of its host.
    pub(super) fn reports(&self, rank: usize) -> bool {
        self.reporters.binary_search(&rank).is_ok()
    }

    /// Returns whether another rank of the host of `rank` builds this library, and `rank` does not.
    pub(super) fn is_built_beside(&self, rank: usize) -> bool {
        !self.builds(rank) && self.plan.builders.iter().any(|other| self.hosts[*other] == self.hosts[rank])
    }

    /// Returns whether this rank logs for all builders.
    pub(super) fn speaks(&self, rank: usize) -> bool {
        self.plan.builders.first() == Some(&rank)
    }
}
