//! Plans on clusters: `dijitso make PLAN --launcher "srun -N2 -n8"`, `dijitso make PLAN --submit slurm`, and
//! `dijitso plan wait`.
//!
//! There is no daemon. Workers are the ranks that a launcher starts; a batch job is a script that runs
//! `dijitso make`. [`script`] makes its text, [`submit`] saves it, hands it over, and writes a record of the
//! job beside it; [`wait`] finds the record again. [`slurm`] and [`sge`] know the programs of the batch
//! systems.

#![forbid(unsafe_code)]

mod command_line;
mod job_files;
mod job_report;
mod launcher;
mod programs;
mod script;
mod sge;
mod slurm;
mod submit;
mod wait;

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil::{self, Durability};

use super::context::CommandContext;

pub(super) use wait::WaitArguments;

/// Options of `dijitso make` for launchers and batch systems.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for clusters")]
pub(super) struct ClusterOptions {
    /// Start the workers with this command, for example "srun -N2 -n8" or "mpiexec -n 4"
    #[arg(long, value_name = "COMMAND")]
    launcher: Option<String>,

    /// Submit a batch job that makes the plan, and print its id
    #[arg(long, value_name = "SYSTEM")]
    submit: Option<BatchSystem>,

    /// Options for sbatch or qsub, split as a shell does, for example "-p debug -t 10"; may be repeated
    #[arg(long, value_name = "OPTIONS", requires = "submit", allow_hyphen_values = true)]
    submit_args: Vec<String>,

    /// Save the job script in this file, not beside the plan
    #[arg(long, value_name = "FILE", requires = "submit", value_hint = clap::ValueHint::FilePath)]
    script: Option<PathBuf>,

    /// Submit an array of N jobs, each of which makes a part of a plan whose nodes do not need each other
    #[arg(long, value_name = "N", requires = "submit")]
    array: Option<NonZeroU32>,

    /// Write the exit code into this file at the end, for scripts of batch jobs
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    status_file: Option<PathBuf>,
}

impl ClusterOptions {
    /// Starts the launcher or submits the job, if an option asks for it, and returns the exit code. Returns
    /// `None` if this process is to make the plan.
    ///
    /// `arguments` are the words of the command line after the name of the program. A launcher takes the
    /// place of this process, so that it gets the signals itself, and its exit code is that of the command.
    ///
    /// A launcher or a batch system that is missing, or that refuses the job, is exit code 1, after a message.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for options that do not fit together.
    pub(super) fn run(
        &self,
        arguments: &[String],
        plan: &Path,
        context: &mut CommandContext,
    ) -> Result<Option<i32>> {
        let result = self.start(arguments, plan, context);
        or_failed(result, Some(FAILED), context)
    }

    /// Starts the launcher, or submits the job.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for options that do not fit together, `Kind::Unsupported` if a program of the
    /// launcher or of the batch system is missing, `Kind::State` if the batch system refuses the job,
    /// `Kind::Cache` if script or record cannot be written.
    fn start(&self, arguments: &[String], plan: &Path, context: &mut CommandContext) -> Result<Option<i32>> {
        if let Some(system) = self.submit {
            submit::run(self, system, arguments, plan, context)?;
            return Ok(Some(0));
        }
        match &self.launcher {
            Some(launcher) => launcher::run(launcher, arguments, context).map(|()| Some(0)),
            None => Ok(None),
        }
    }

    /// Returns true if the plan is made in parts, and so must have no edges.
    pub(super) fn is_array(&self) -> bool {
        self.array.is_some()
    }

    /// Removes the exit code of an earlier run of a job, which its batch system has started again.
    pub(super) fn forget_status(&self) {
        if let Some(file) = &self.status_file {
            // A file that cannot be removed cannot be written either, which is reported.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Writes the exit code of the command into the file of `--status-file`, if there is one.
    ///
    /// # Errors
    /// `Kind::Cache` if it cannot be written.
    pub(super) fn write_status(&self, code: i32) -> Result<()> {
        let Some(file) = &self.status_file else { return Ok(()) };
        fsutil::replace_atomic(file, format!("{code}\n").as_bytes(), 0o666, Durability::Synced)
            .map_err(|error| Error::file("cannot write the exit code to", file, &error))
    }
}

/// The exit code if the command itself has failed.
const FAILED: i32 = 1;

/// Returns a result; instead of an error `failed`, after a message. A wrong command line stays an error.
fn or_failed<T>(result: Result<T>, failed: T, context: &mut CommandContext) -> Result<T> {
    match result {
        Err(error) if error.kind() != Kind::InvalidArgument => {
            context.note(&error);
            Ok(failed)
        }
        result => result,
    }
}

/// A batch system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BatchSystem {
    /// Slurm.
    Slurm,
    /// Grid Engine: Sun's, Son of, Univa's, Altair's.
    Sge,
}

impl BatchSystem {
    /// Returns the word for it in options and file names.
    fn word(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Sge => "sge",
        }
    }

    /// Returns the program that submits jobs.
    fn submitter(self) -> &'static str {
        match self {
            Self::Slurm => "sbatch",
            Self::Sge => "qsub",
        }
    }

    /// Returns the options that make a job wait for the end of another.
    fn dependency(self, job: &str) -> String {
        match self {
            Self::Slurm => format!("-d afterok:{job}"),
            Self::Sge => format!("-hold_jid {job}"),
        }
    }
}

impl Display for BatchSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slurm => "Slurm",
            Self::Sge => "Grid Engine",
        })
    }
}
