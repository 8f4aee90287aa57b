//! `dijitso completions SHELL`.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use dijitso::error::{Error, Result};
use dijitso::fsutil::OutputFile;

use super::context::CommandContext;
use super::{Status, definition};

const MODE: u32 = 0o644;

/// Options of `dijitso completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,

    /// Write the script to this file
    #[arg(short = 'o', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
}

impl Arguments {
    /// Writes the script.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition(), "dijitso", &mut script);
        match &self.output {
            None => context.out.bytes(&script),
            Some(path) if context.options.dry_run => {
                context.out.line(format_args!("would write {}", path.display()));
            }
            Some(path) => {
                let written = OutputFile::create(path, MODE)
                    .and_then(|mut file| file.write_all(&script).and_then(|()| file.finish()));
                written.map_err(|error| Error::file("cannot write", path, &error))?;
            }
        }
        Ok(Status::Done)
    }
}
