//! `dijitso version`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::json;

use crate::error::Result;

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
            context.out.document(&json!({ "version": crate::VERSION }));
        } else {
            context.out.line(crate::VERSION);
        }
        Ok(Outcome::Done)
    }
}
