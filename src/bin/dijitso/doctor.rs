//! `dijitso doctor [--ranks]`.

#![forbid(unsafe_code)]

use clap::Args;

use crate::diagnosis::{Diagnosis, Verdict, examine};
use dijitso::error::Result;
#[cfg(not(feature = "mpi"))]
use dijitso::error::{Error, Kind};
use dijitso::params::resolved::Resolved;

use super::Outcome;
use super::context::Context;
use super::parameters::Parameters;

/// Options of `dijitso doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    parameters: Parameters,

    /// Look at all ranks, when started by mpiexec: who shares a cache directory, how soon files are seen, which
    /// strategy fits
    #[arg(long)]
    ranks: bool,
}

impl Arguments {
    /// Examines this machine, or all ranks. What is bad is a failure.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        let mut params = context.params()?;
        self.parameters.apply(&mut params)?;
        let resolved = params.resolve()?;
        let found = if self.ranks { of_ranks(&resolved)? } else { Some(examine(&resolved)) };
        let Some(diagnosis) = found else { return Ok(Outcome::Done) };
        if context.out.json {
            context.out.document(&serde_json::to_value(&diagnosis).unwrap_or_default());
        } else {
            context.out.line(diagnosis.text());
        }
        Ok(if diagnosis.verdict() == Verdict::Bad { Outcome::Bad } else { Outcome::Done })
    }
}

/// What all ranks found, with what rank 0 found on its machine before it; on rank 0 alone.
#[cfg(feature = "mpi")]
fn of_ranks(params: &Resolved) -> Result<Option<Diagnosis>> {
    use crate::diagnosis::ranks;
    use dijitso::parallel::{Communicator, mpi};

    let world = mpi::world("dijitso doctor", Some(ranks::LIMIT))?;
    let together = ranks::examine(world.comm(), params, || ranks::compiler(params));
    let leads = world.comm().rank() == 0;
    // The others need not wait for what rank 0 looks at alone.
    drop(world);
    // An error is the same on all ranks: one says it.
    let together = match together {
        Err(_) if !leads => return Ok(None),
        together => together?,
    };
    if !leads {
        return Ok(None);
    }
    let mut diagnosis = examine(params);
    diagnosis.probes.extend(together.probes);
    diagnosis.settings.extend(together.settings);
    Ok(Some(diagnosis))
}

#[cfg(not(feature = "mpi"))]
fn of_ranks(_: &Resolved) -> Result<Option<Diagnosis>> {
    let text = "this dijitso was built without MPI: its ranks cannot talk to each other";
    Err(Error::new(Kind::Unsupported, text))
}
