//! `dijitso plan from-cache [ENTRIES...] [-o FILE]`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use dijitso::error::Result;
use dijitso::fsutil::is_stdout;
use dijitso::plan::file::{to_toml, write_plan};
use dijitso::plan::from_cache::{embed_texts, plan_of_cache};

use crate::Status;
use crate::context::CommandContext;
use crate::output::count;
use crate::select::Entries;

/// Options of `dijitso plan from-cache`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    entries: Entries,

    /// The plan file to write; "-" is the standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,

    /// Put the sources into the plan, so that it can be made without this cache
    #[arg(long)]
    embed: bool,
}

impl Arguments {
    /// Writes the plan, and a summary unless the plan goes to the standard output.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        let words = self.entries.words();
        let base = self.output.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let words = (!self.entries.are_all()).then_some(words.as_slice());
        let mut made = plan_of_cache(&cache, words, base)?;
        if self.embed {
            embed_texts(&mut made.plan, &cache)?;
        }
        for (signature, reason) in &made.left_out {
            context.note(&format_args!("left out: {signature}: {reason}"));
        }
        let dry_run = context.options.dry_run;
        if !dry_run && (self.output == Path::new("-") || is_stdout(&self.output)) {
            // The end of the command reports what could not be written.
            let _ = context.out.raw(to_toml(&made.plan)?.as_bytes());
            return Ok(Status::Done);
        }
        if !dry_run {
            write_plan(&made.plan, &self.output)?;
        }
        if context.out.json {
            let labels: Vec<&str> = made.plan.nodes.iter().map(|node| node.label.as_str()).collect();
            context.out.document(&json!({
                "dry_run": dry_run,
                "plan": self.output,
                "modules": labels,
                "left_out": made.left_out.iter().map(|(signature, _)| signature).collect::<Vec<_>>(),
            }));
            return Ok(Status::Done);
        }
        let modules = count(made.plan.nodes.len(), "module", "modules");
        let would = if dry_run { "would be " } else { "" };
        context.out.line(format_args!("{modules} {would}written to {}", self.output.display()));
        Ok(Status::Done)
    }
}
