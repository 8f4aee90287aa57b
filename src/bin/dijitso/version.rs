//! `dijitso version`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::json;

use dijitso::error::Result;

use super::Status;
use super::context::CommandContext;

/// `dijitso version` has no options of its own.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Writes the version.
    #[allow(clippy::unnecessary_wraps, reason = "all subcommands have this signature")]
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        if context.out.json {
            context.out.document(&json!({ "version": dijitso::VERSION }));
        } else {
            context.out.line(dijitso::VERSION);
        }
        Ok(Status::Done)
    }
}
