//! `dijitso plan record -o FILE -- COMMAND...`.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use dijitso::error::{Error, Kind, Result};

use crate::Status;
use crate::context::CommandContext;

/// The variable by which the library learns where to record.
const VARIABLE: &str = "DIJITSO_RECORD";

/// Options of `dijitso plan record`.
#[derive(Debug, Args)]
#[command(after_help = "\
The command is run in the place of this one, so its exit code is that of the command. It gets
DIJITSO_RECORD=FILE in its environment. An MPI launcher passes that on to other hosts if it is told to:
Open MPI by \"-x DIJITSO_RECORD\".
What is in FILE already stays, and what is new is appended.")]
pub(super) struct Arguments {
    /// The plan file to write
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,

    /// The command to run, for example: mpiexec -n 4 ./poisson
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

impl Arguments {
    /// Becomes the command. Returns only if it cannot be started.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let path = std::path::absolute(&self.output)
            .map_err(|error| Error::file("cannot write", &self.output, &error))?;
        let words = self.command.iter().map(|word| word.to_string_lossy());
        let line = words.map(|word| shell_words::quote(&word).into_owned()).collect::<Vec<_>>().join(" ");
        if context.options.dry_run {
            let path = path.to_string_lossy();
            context.out.line(format_args!("{VARIABLE}={} {line}", shell_words::quote(&path)));
            return Ok(Status::Done);
        }
        let (program, arguments) = self.command.split_first().expect("clap requires a word");
        context.out.flush();
        let failed = Command::new(program).args(arguments).env(VARIABLE, path).exec();
        Err(Error::new(Kind::InvalidArgument, format!("cannot start {}: {failed}", program.display())))
    }
}
