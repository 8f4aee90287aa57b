//! `dijitso doctor [--ranks]`.

#![forbid(unsafe_code)]

use clap::Args;

use crate::diagnosis::{Diagnosis, Verdict, examine, ranks};
use dijitso::error::Result;
use dijitso::parallel::{Communicator, mpi};
use dijitso::params::resolved::Resolved;

use super::Status;
use super::context::CommandContext;
use super::parameters::Parameters;

/// Options of `dijitso doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    parameters: Parameters,

    /// Examine all ranks of a program started by mpiexec: shared cache directories, the delay until files are
    /// visible, the best strategy
    #[arg(long)]
    ranks: bool,
}

impl Arguments {
    /// Examines this machine, or all ranks. A bad probe is a failure.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let mut params = context.params()?;
        self.parameters.apply(&mut params)?;
        let resolved = params.resolve()?;
        let diagnosis = if self.ranks { examine_ranks(&resolved)? } else { Some(examine(&resolved)) };
        let Some(diagnosis) = diagnosis else { return Ok(Status::Done) };
        if context.out.json {
            context.out.document(&serde_json::to_value(&diagnosis).unwrap_or_default());
        } else {
            context.out.line(diagnosis.text());
        }
        Ok(if diagnosis.verdict() == Verdict::Bad { Status::Bad } else { Status::Done })
    }
}

/// Returns the diagnosis of rank 0's machine and of all ranks. `None` on the other ranks. Collective.
fn examine_ranks(params: &Resolved) -> Result<Option<Diagnosis>> {
    let world = mpi::world("dijitso doctor", Some(ranks::LIMIT))?;
    let together = ranks::examine(world.comm(), params, || ranks::compiler(params));
    let is_root = world.comm().rank() == 0;
    // The other ranks need not wait while rank 0 examines its machine.
    drop(world);
    // An error is the same on all ranks; rank 0 reports it.
    let together = match together {
        Err(_) if !is_root => return Ok(None),
        together => together?,
    };
    if !is_root {
        return Ok(None);
    }
    let mut diagnosis = examine(params);
    diagnosis.probes.extend(together.probes);
    diagnosis.settings.extend(together.settings);
    Ok(Some(diagnosis))
}
