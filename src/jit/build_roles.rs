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
}

impl BuildRoles {
    /// Returns whether this rank builds.
    pub(super) fn builds(&self, rank: usize) -> bool {
        self.plan.builders.contains(&rank)
    }

    /// Returns whether this rank logs for all builders.
    pub(super) fn speaks(&self, rank: usize) -> bool {
        self.plan.builders.first() == Some(&rank)
    }
}
