//! `dijitso check`.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use clap::Args;
use serde_json::{Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::integrity::{CheckReport, Finding, RepairMode, RepairOutcome, Severity};
use dijitso::error::Result;
use dijitso::sync::lock;

use super::Status;
use super::context::CommandContext;
use super::output::{Out, ProgressBar, STRONG, count, size};
use super::select::Entries;

/// Options of `dijitso check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Move broken entries and results to quarantine/ in the cache, and remove files that ended programs have left
    #[arg(long)]
    repair: bool,

    #[command(flatten)]
    entries: Entries,
}

impl Arguments {
    /// Checks, and repairs with `--repair`.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        // The dependencies of an entry are checked with it.
        let signatures = if self.entries.are_all() {
            Vec::new()
        } else {
            let catalog = cache.catalog()?;
            let entries = self.entries.of(&catalog)?;
            entries.iter().map(|entry| entry.signature.clone()).collect()
        };
        let mode = match (self.repair, context.options.dry_run) {
            (false, _) => RepairMode::Off,
            (true, true) => RepairMode::DryRun,
            (true, false) => RepairMode::On,
        };
        let report = {
            let bar: Mutex<Option<ProgressBar>> = Mutex::default();
            let progress = |done: usize, total: usize| {
                let mut bar = lock(&bar);
                let bar = bar.get_or_insert_with(|| ProgressBar::new("checking", total));
                bar.at("checking", done, total, 0);
            };
            cache.check(&signatures, mode, &progress)?
        };
        if context.out.json {
            context.out.document(&document(&cache, &report));
        } else {
            self.write(&cache, &report, &mut context.out);
        }
        let ranks = cache.of_processes();
        if let (Some(first), true) = (ranks.first(), self.entries.are_all()) {
            let what = count(ranks.len(), "cache of a single rank is", "caches of single ranks are");
            context.note(&format!("{what} not checked: dijitso --cache-dir {} check", first.display()));
        }
        Ok(if report.is_sound() { Status::Done } else { Status::Broken })
    }

    fn write(&self, cache: &Cache, report: &CheckReport, out: &mut Out) {
        for severity in [Severity::Broken, Severity::Stale, Severity::Leftover] {
            let findings: Vec<&Finding> =
                report.findings.iter().filter(|finding| finding.what.severity() == severity).collect();
            if !findings.is_empty() {
                out.line(out.paint(STRONG, format_args!("{} ({})", severity.name(), findings.len())));
            }
            for finding in findings {
                let what = finding.what.name();
                out.line(format_args!("  {what}: {}: {}", finding.path.display(), finding.text));
                match &finding.outcome {
                    RepairOutcome::No if self.repair && severity == Severity::Leftover => {}
                    RepairOutcome::No => out.line(format_args!("    {}", finding.advice())),
                    repaired => out.line(format_args!("    {}", in_words(repaired))),
                }
            }
        }
        let of =
            |severity| report.findings.iter().filter(|finding| finding.what.severity() == severity).count();
        let repaired =
            report.findings.iter().filter(|finding| finding.outcome == RepairOutcome::Done).count();
        let repaired = if repaired > 0 { format!("; {repaired} repaired") } else { String::new() };
        let results = match report.results {
            0 => String::new(),
            some => format!(" and {}", count(some, "result", "results")),
        };
        out.line(format_args!(
            "{}: {}{results} checked ({} read): {} broken, {} stale, {} left over{repaired}",
            cache.layout().root().display(),
            count(report.entries, "entry", "entries"),
            size(report.bytes),
            of(Severity::Broken),
            of(Severity::Stale),
            of(Severity::Leftover),
        ));
    }
}

fn in_words(repaired: &RepairOutcome) -> String {
    match repaired {
        RepairOutcome::No => "left as it is".to_owned(),
        RepairOutcome::Would => "would be quarantined or removed".to_owned(),
        RepairOutcome::Done => "quarantined or removed".to_owned(),
        RepairOutcome::Busy(who) => format!("left alone: {who} is working on it"),
        RepairOutcome::Failed(why) => format!("left as it is: {why}"),
    }
}

fn document(cache: &Cache, report: &CheckReport) -> Json {
    let finding = |finding: &Finding| {
        let (state, detail) = match &finding.outcome {
            RepairOutcome::No => ("no", None),
            RepairOutcome::Would => ("would", None),
            RepairOutcome::Done => ("done", None),
            RepairOutcome::Busy(who) => ("busy", Some(who)),
            RepairOutcome::Failed(why) => ("failed", Some(why)),
        };
        json!({
            "what": finding.what.name(),
            "severity": finding.what.severity().name(),
            "signature": Some(&finding.signature).filter(|signature| !signature.is_empty()),
            "path": finding.path,
            "text": finding.text,
            "advice": finding.advice(),
            "repaired": state,
            "repair_detail": detail,
        })
    };
    json!({
        "cache_dir": cache.layout().root(),
        "entries": report.entries,
        "results": report.results,
        "bytes_read": report.bytes,
        "sound": report.is_sound(),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "process_caches": cache.of_processes(),
    })
}
