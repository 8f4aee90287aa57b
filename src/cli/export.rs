//! `dijitso export SIGNATURES... -o BUNDLE`.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::Result;
use crate::jit::bundle;

use super::Outcome;
use super::context::Context;
use super::output::{Out, count, size};

/// Options of `dijitso export`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Signatures, or names for all entries of a name
    #[arg(value_name = "SIGNATURE|NAME", required_unless_present = "all", conflicts_with = "all")]
    what: Vec<String>,

    /// All entries that are whole
    #[arg(long)]
    all: bool,

    /// The file to write; "-" is the standard output
    #[arg(short, long, value_name = "BUNDLE", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,
}

/// The standard output, as long as somebody reads it.
struct Through<'a>(&'a mut Out);

impl Write for Through<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.bytes(data);
        if self.0.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(data.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        if self.0.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Arguments {
    /// Writes a bundle, and what is in it unless the bundle itself is written there.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        let cache = context.cache()?;
        let signatures = bundle::select(&cache, (!self.all).then_some(self.what.as_slice()))?;
        let dry_run = context.options.dry_run;
        let to_stdout = self.output == Path::new("-") && !dry_run;
        let done = if dry_run {
            bundle::export_into(&cache, &signatures, self.all, &mut io::sink())?
        } else if to_stdout {
            bundle::export_into(&cache, &signatures, self.all, &mut Through(&mut context.out))?
        } else {
            bundle::export(&cache, &signatures, self.all, &self.output)?
        };
        for skipped in &done.skipped {
            context.note(&format_args!("left out: {}: {}", skipped.signature, skipped.reason));
        }
        if to_stdout {
            return Ok(Outcome::Done);
        }
        if context.out.json {
            let mut json = serde_json::to_value(&done).unwrap_or_default();
            json["dry_run"] = dry_run.into();
            context.out.document(&json);
            return Ok(Outcome::Done);
        }
        let (entries, path) = (count(done.entries.len(), "entry", "entries"), self.output.display());
        let would = if dry_run { "would be " } else { "" };
        context.out.line(format_args!("{entries}, {}, {would}written to {path}", size(done.bytes)));
        Ok(Outcome::Done)
    }
}
