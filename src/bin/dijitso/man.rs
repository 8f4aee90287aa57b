//! `dijitso man DIR`.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use dijitso::error::{Error, Result};
use dijitso::fsutil::OutputFile;

use super::context::CommandContext;
use super::{Status, definition};

const MODE: u32 = 0o644;

/// Options of `dijitso man`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory to create: it gets dijitso.1 and a page for each subcommand
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

impl Arguments {
    /// Writes a page for the command and one for each subcommand.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        if context.options.dry_run {
            context.out.line(format_args!("would write manual pages to {}", self.dir.display()));
            return Ok(Status::Done);
        }
        let cannot = |error: std::io::Error| Error::file("cannot write manual pages to", &self.dir, &error);
        std::fs::create_dir_all(&self.dir).map_err(cannot)?;
        // The help of each subcommand repeats the common options; its page refers to that of the command.
        let mut command = definition().disable_help_subcommand(true);
        command.build();
        for command in pages(&command) {
            let page = Man::new(command.clone());
            let path = self.dir.join(page.get_filename());
            let written = OutputFile::create(&path, MODE)
                .and_then(|mut file| page.render(&mut file).and_then(|()| file.finish()));
            written.map_err(|error| Error::file("cannot write", &path, &error))?;
        }
        Ok(Status::Done)
    }
}

/// Returns the commands that have a page: this one and all below it, except those that print help.
fn pages(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .flat_map(pages);
    std::iter::once(command).chain(below).collect()
}
