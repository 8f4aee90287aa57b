//! `dijitso import BUNDLE`.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use dijitso::cache::Cache;
use dijitso::cache::bundle::{ImportOptions, ImportOutcome, ImportProgress, ImportReport};
use dijitso::error::{Error, Kind, Result};
use dijitso::jit::bundle;

use super::context::CommandContext;
use super::output::{Out, ProgressBar};
use super::{Status, usage};

/// Options of `dijitso import`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The bundle; "-" is the standard input. Its libraries are code: import only what you would run
    #[arg(value_name = "BUNDLE", value_hint = clap::ValueHint::FilePath)]
    bundle: PathBuf,

    /// Import also entries that were built for another machine
    #[arg(long)]
    force: bool,
}

impl Arguments {
    /// Puts a bundle into the cache.
    ///
    /// # Errors
    /// `Kind::Cache` if an entry is refused, after the others were imported; the kinds of [`bundle::import`].
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let params = context.params()?.resolve()?;
        let cache = Cache::new(&params.cache.cache_dir, &params.cache);
        let options = ImportOptions { force: self.force, dry_run: context.options.dry_run };
        let mut bar = ProgressBar::new("checking", 0);
        let mut progress = |step: ImportProgress| {
            let what = if step.is_checked { "importing" } else { "checking" };
            bar.at(what, step.done, step.total, 0);
        };
        let report = if self.bundle == Path::new("-") {
            if std::io::stdin().is_terminal() {
                return Err(usage("the standard input is a terminal: name a file, or pipe a bundle into it"));
            }
            bundle::import_from(&cache, &mut std::io::stdin().lock(), options, &mut progress)?
        } else {
            bundle::import(&cache, &self.bundle, options, &mut progress)?
        };
        drop(bar);
        let remarks = bundle::remarks(&report, &params).remarks;
        if context.out.json {
            let mut json = serde_json::to_value(&report).unwrap_or_default();
            json["remarks"] = remarks.into();
            json["dry_run"] = options.dry_run.into();
            context.out.document(&json);
        } else {
            write(&report, options.dry_run, cache.layout().root(), &mut context.out);
            remarks.iter().for_each(|remark| context.out.line(remark));
        }
        match refused(&report) {
            0 => Ok(Status::Done),
            count => {
                let text =
                    format!("{count} of {} entries were refused (--force takes them)", report.entries.len());
                Err(Error::new(Kind::Cache, text))
            }
        }
    }
}

fn refused(report: &ImportReport) -> usize {
    report.entries.iter().filter(|entry| matches!(entry.outcome, ImportOutcome::Refused(_))).count()
}

fn write(report: &ImportReport, dry_run: bool, dir: &Path, out: &mut Out) {
    for entry in &report.entries {
        let what = match &entry.outcome {
            ImportOutcome::New => "new".to_owned(),
            ImportOutcome::There => "exists".to_owned(),
            ImportOutcome::Other => "exists, from another build, and stays".to_owned(),
            ImportOutcome::Refused(reason) => format!("refused: {reason}"),
        };
        out.line(format_args!("{}: {what}", entry.signature));
    }
    let new = report.entries.iter().filter(|entry| entry.outcome == ImportOutcome::New).count();
    let refused = refused(report);
    let existing = report.entries.len() - new - refused;
    let would = if dry_run { "would be " } else { "" };
    let dir = dir.display();
    out.line(format_args!("{new} {would}new in {dir}, {existing} existed, {refused} refused"));
}
