//! `dijitso export SIGNATURES... -o BUNDLE`.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use dijitso::cache::bundle::ExportProgress;
use dijitso::error::Result;
use dijitso::fsutil::is_stdout;
use dijitso::jit::bundle;

use super::context::CommandContext;
use super::output::{Out, ProgressBar, count, size};
use super::select::Entries;
use super::{Status, interrupt, usage};

/// Options of `dijitso export`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    entries: Entries,

    /// Export all entries except broken ones
    #[arg(long, conflicts_with_all = ["entries", "signature"])]
    all: bool,

    /// The file to write; "-" is the standard output. A FIFO or device is written to, not replaced
    #[arg(short, long, value_name = "BUNDLE", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,
}

/// A writer to the standard output.
struct StdoutWriter<'a>(&'a mut Out);

impl Write for StdoutWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.raw(data).map(|()| data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        self.0.raw(&[])
    }
}

impl Arguments {
    /// Writes a bundle, and a summary unless the bundle goes to the standard output.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        if self.entries.are_all() && !self.all {
            return Err(usage("name the entries, for example: dijitso export poisson, or use --all"));
        }
        let words = self.entries.words();
        let signatures = bundle::select(&cache, (!self.all).then_some(words.as_slice()))?;
        let dry_run = context.options.dry_run;
        let to_stdout = !dry_run && (self.output == Path::new("-") || is_stdout(&self.output));
        let mut bar = ProgressBar::new("checking", signatures.len());
        let mut progress = |step: ExportProgress| {
            let what = if step.bytes > 0 { "writing" } else { "checking" };
            bar.at(what, step.done, step.total, step.bytes);
        };
        let done = if dry_run {
            bundle::export_into(&cache, &signatures, self.all, &mut io::sink(), &mut progress)?
        } else if to_stdout {
            let mut out = StdoutWriter(&mut context.out);
            bundle::export_into(&cache, &signatures, self.all, &mut out, &mut progress)?
        } else {
            let mut file = bundle::create(&self.output)?;
            file.leftover().into_iter().for_each(interrupt::remove_when_ended);
            let done = bundle::export_into(&cache, &signatures, self.all, &mut file, &mut progress)?;
            bundle::finish(file, &self.output)?;
            done
        };
        drop(bar);
        for skipped in &done.skipped {
            context.note(&format_args!("left out: {}: {}", skipped.signature, skipped.reason));
        }
        if to_stdout {
            return Ok(Status::Done);
        }
        if context.out.json {
            let mut json = serde_json::to_value(&done).unwrap_or_default();
            json["dry_run"] = dry_run.into();
            context.out.document(&json);
            return Ok(Status::Done);
        }
        let (entries, path) = (count(done.entries.len(), "entry", "entries"), self.output.display());
        let would = if dry_run { "would be " } else { "" };
        context.out.line(format_args!("{entries}, {}, {would}written to {path}", size(done.bytes)));
        Ok(Status::Done)
    }
}
