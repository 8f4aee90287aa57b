//! `dijitso version`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::json;

use dijitso::error::Result;

use super::Outcome;
use super::context::Context;

/// It has none of its own.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Writes the version.
    #[allow(clippy::unnecessary_wraps, reason = "as every subcommand")]
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        if context.out.json {
            context.out.document(&json!({ "version": dijitso::VERSION }));
        } else {
            context.out.line(dijitso::VERSION);
        }
        Ok(Outcome::Done)
    }
}
