//! The state of a process between calls.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use crate::cache::stats::HitCounter;
use crate::load::{Loader, System};
use crate::process::{Runner, SystemRunner};

use super::build_pool::InFlightBuilds;
use super::explain::FrozenMisses;
use super::hit_cache::HitCache;
use super::loading::Libraries;
use super::progress::BuildProgress;
use super::recorder::Recorder;
use super::run_log::RunLogs;
use super::staged_folder::StagedFolders;
use super::toolchain::Toolchains;

/// The state of a process between calls: loaded libraries, toolchains, builds in flight, counts.
pub struct Session {
    pub(super) libraries: Libraries,
    pub(super) toolchains: Toolchains,
    pub(super) in_flight: InFlightBuilds,
    pub(super) progress: Arc<BuildProgress>,
    /// Hits of calls without a communicator.
    pub(super) hits: HitCache,
    /// Memory hits that are not written into a cache yet.
    pub(super) counter: HitCounter,
    pub(super) frozen_misses: FrozenMisses,
    /// Directories from which leftovers of dead processes have been removed.
    pub(super) swept: Mutex<HashSet<PathBuf, FixedState>>,
    pub(super) runs: RunLogs,
    pub(super) staged: StagedFolders,
    /// Records the calls of this process, if it is asked to.
    pub(super) recorder: Option<Recorder>,
}

impl Default for Session {
    fn default() -> Self {
        let session = Self::new(Arc::new(SystemRunner), Arc::new(System));
        Self { recorder: Recorder::of_environment(), ..session }
    }
}

impl Session {
    /// Makes a session that runs compilers by `runner` and loads libraries by `loader`.
    #[must_use]
    pub fn new(runner: Arc<dyn Runner>, loader: Arc<dyn Loader>) -> Self {
        Self::with(Toolchains::new(runner, true), loader)
    }

    /// Makes a session that does not write what it learns about compilers into a cache.
    #[must_use]
    pub fn read_only() -> Self {
        Self::with(Toolchains::new(Arc::new(SystemRunner), false), Arc::new(System))
    }

    /// Makes it record its calls into this plan file, as the variable `DIJITSO_RECORD` does.
    #[must_use]
    pub fn recording(self, file: &Path) -> Self {
        Self { recorder: Some(Recorder::new(file)), ..self }
    }

    fn with(toolchains: Toolchains, loader: Arc<dyn Loader>) -> Self {
        Self {
            libraries: Libraries::new(loader),
            toolchains,
            in_flight: InFlightBuilds::default(),
            progress: Arc::default(),
            hits: HitCache::default(),
            counter: HitCounter::default(),
            frozen_misses: FrozenMisses::default(),
            swept: Mutex::default(),
            runs: RunLogs::default(),
            staged: StagedFolders::default(),
            recorder: None,
        }
    }

    /// Returns what runs the commands of this session.
    #[must_use]
    pub fn runner(&self) -> &Arc<dyn Runner> {
        &self.toolchains.runner
    }

    /// Returns the session of this process.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static SESSION: std::sync::OnceLock<Session> = std::sync::OnceLock::new();
        SESSION.get_or_init(Self::default)
    }
}
