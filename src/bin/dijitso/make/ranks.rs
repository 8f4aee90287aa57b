//! A make on the ranks that mpiexec or srun has started.

#![forbid(unsafe_code)]

use serde::Serialize;
use serde::de::DeserializeOwned;

use dijitso::error::{Error, Kind, Result};
use dijitso::jit::{CommState, Session};
use dijitso::parallel::mpi::{self, World};
use dijitso::parallel::{self, Communicator};
use dijitso::plan::Plan;
use dijitso::plan::make::{MakeObserver, MakeOptions, MakeReport, make_on};

use crate::context::CommandContext;

/// Variables by which launchers tell their processes how many they are.
const SIZES: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "PMIX_SIZE"];

/// Variables by which they tell them that there is an MPI, and not how many they are.
const RANKS: [&str; 1] = ["PMIX_RANK"];

/// The ranks of a make.
pub(super) struct MakeRanks {
    world: World,
    state: CommState,
}

/// Returns true if a launcher of MPI has started several processes.
pub(super) fn is_launched() -> bool {
    let size = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let sizes: Vec<usize> = SIZES.iter().filter_map(|name| size(name)).collect();
    match sizes.first() {
        Some(size) => *size > 1,
        None => RANKS.iter().any(|name| std::env::var_os(name).is_some()),
    }
}

/// Joins the other ranks, if a launcher of MPI has started several. Only rank 0 speaks then. Processes that
/// something else has started, such as srun without MPI, share the work by the cache alone.
///
/// # Errors
/// Those of [`mpi::world`].
pub(super) fn start(context: &mut CommandContext) -> Result<Option<MakeRanks>> {
    if !is_launched() {
        return Ok(None);
    }
    let timeout = context.params()?.resolve()?.timeout;
    let world = mpi::world("dijitso make", timeout)?;
    context.is_speaker = world.comm().rank() == 0;
    Ok(Some(MakeRanks { world, state: CommState::default() }))
}

/// Runs a step on this rank, and returns the error of any rank. Collective.
///
/// # Errors
/// Those of the step on any rank.
pub(super) fn agree<T>(
    ranks: Option<&MakeRanks>,
    step: &str,
    local: impl FnOnce() -> Result<T>,
) -> Result<T> {
    match ranks {
        Some(ranks) => parallel::agree(ranks.world.comm(), step, local),
        None => local(),
    }
}

/// Runs a step on the first rank alone, whose view of the cache counts, and returns its result on all. Collective.
///
/// # Errors
/// Those of the step.
pub(super) fn of_first<T: Serialize + DeserializeOwned>(
    ranks: Option<&MakeRanks>,
    step: &str,
    local: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(ranks) = ranks else { return local() };
    let internal = |error: serde_json::Error| Error::new(Kind::Internal, error.to_string());
    let bytes = parallel::on_root(ranks.world.comm(), step, || {
        local().and_then(|value| serde_json::to_vec(&value).map_err(internal))
    })?;
    serde_json::from_slice(&bytes).map_err(internal)
}

impl MakeRanks {
    /// Makes a plan on all ranks. Collective.
    ///
    /// # Errors
    /// Those of [`make_on`].
    pub(super) fn make(
        &self,
        plan: &Plan,
        session: &Session,
        options: &MakeOptions,
        observer: &mut dyn MakeObserver,
    ) -> Result<MakeReport> {
        make_on(plan, session, self.world.comm(), &self.state, options, observer)
    }
}
