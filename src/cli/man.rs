//! `dijitso man DIR`.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};

use super::context::Context;
use super::{Outcome, definition};

/// Options of `dijitso man`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory, which is created: dijitso.1 and a page for each subcommand
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

impl Arguments {
    /// Writes a page for the command and one for each subcommand.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        if context.options.dry_run {
            context.out.line(format_args!("would write manual pages to {}", self.dir.display()));
            return Ok(Outcome::Done);
        }
        let cannot = |error: std::io::Error| Error::io("cannot write manual pages to", &self.dir, &error);
        std::fs::create_dir_all(&self.dir).map_err(cannot)?;
        // The help of each subcommand repeats what all have; its page refers to the first one.
        let command = definition().disable_help_subcommand(true);
        clap_mangen::generate_to(command, &self.dir).map_err(cannot)?;
        Ok(Outcome::Done)
    }
}
