//! `dijitso gc`.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use dijitso::cache::Cache;
use dijitso::cache::gc::{Limits, Removed, RemovedKind};
use dijitso::error::{Error, Kind, Result};

use super::context::CommandContext;
use super::output::{ProgressBar, age, count, size};
use super::select::Entries;
use super::{Status, usage};

/// Limits the wait for another program that evicts entries.
const EVICTION_WAIT: Duration = Duration::from_secs(60);

/// Options of `dijitso gc`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Shrink the cache below this size, for example 500M or 4G; default: cache.max_size
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,

    /// Remove entries and results unused for this time, for example 90d, 12h or seconds; default: cache.max_age
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    max_age: Option<Duration>,

    /// Keep entries and results that were published or used within this time; default: 10min. With 0 only
    /// those in use stay
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    min_idle: Option<Duration>,

    #[command(flatten)]
    entries: Entries,
}

/// Parses a time span: a number, and a unit unless it is in seconds.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    const UNITS: [(&str, f64); 5] =
        [("min", 60.0), ("s", 1.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];
    let of = |(unit, length): &(&str, f64)| Some((text.strip_suffix(unit)?, *length));
    let (number, length) = UNITS.iter().find_map(of).unwrap_or((text, 1.0));
    let number: Option<f64> = number.trim().parse().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number * length).ok())
        .ok_or_else(|| "expected a number with s, min, h, d or w, for example 90d".to_owned())
}

impl Arguments {
    /// Returns the signatures that may be removed; `None` for all.
    fn chosen(&self, cache: &Cache) -> Result<Option<HashSet<String>>> {
        if self.entries.are_all() {
            return Ok(None);
        }
        let catalog = cache.catalog()?;
        Ok(Some(self.entries.of(&catalog)?.into_iter().map(|entry| entry.signature.clone()).collect()))
    }

    /// Evicts entries.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let mut params = context.params()?;
        if let Some(limit) = &self.max_size {
            params.set("cache.max_size", limit).map_err(|error| usage(error.message()))?;
        }
        let params = params.resolve()?.cache;
        let cache = context.cache()?;
        let limits = Limits {
            // The parameter 0 means no limit; the option 0 means an empty cache.
            max_size: params.max_size.or(self.max_size.as_ref().map(|_| 0)),
            max_age: self.max_age.or(params.max_age),
            min_idle: self.min_idle.unwrap_or(Limits::of(&params).min_idle),
            dry_run: context.options.dry_run,
            only: self.chosen(&cache)?,
        };
        if limits.max_size.is_none() && limits.max_age.is_none() {
            let text =
                "there is no limit: use --max-size or --max-age, or set cache.max_size or cache.max_age";
            return Err(usage(text));
        }
        context.out.flush();
        let mut bar = ProgressBar::new("evicting", 0);
        let done =
            cache.evict_with(&limits, EVICTION_WAIT, &mut |at, total| bar.at("evicting", at, total, 0))?;
        drop(bar);
        if context.out.json {
            let removed = |removed: &Removed| {
                json!({
                    "kind": word(removed.kind),
                    "signature": Some(&removed.signature).filter(|signature| !signature.is_empty()),
                    "path": removed.path,
                    "allocated": removed.bytes,
                    "idle_seconds": removed.idle.as_secs(),
                })
            };
            context.out.document(&json!({
                "cache_dir": cache.layout().root(),
                "dry_run": limits.dry_run,
                "max_size": limits.max_size,
                "max_age_seconds": limits.max_age.map(|age| age.as_secs()),
                "allocated_before": done.before,
                "allocated_after": done.after,
                "kept": done.kept,
                "in_use": done.in_use,
                "removed": done.removed.iter().map(removed).collect::<Vec<_>>(),
                "failures": done.failures,
            }));
        } else {
            let verb = if limits.dry_run { "would remove" } else { "removed" };
            if limits.dry_run || context.options.verbose > 0 {
                for removed in &done.removed {
                    context.out.line(format_args!(
                        "{verb} {} ({}, not used for {})",
                        removed.path.display(),
                        size(removed.bytes),
                        age(removed.idle)
                    ));
                }
            }
            let of = |kind| done.removed.iter().filter(|removed| removed.kind == kind).count();
            let mut kinds = vec![count(of(RemovedKind::Entry), "entry", "entries")];
            let results = of(RemovedKind::Result);
            kinds.extend((results > 0).then(|| count(results, "result", "results")));
            let others = of(RemovedKind::Other);
            kinds.extend((others > 0).then(|| count(others, "other file", "other files")));
            context.out.line(format_args!(
                "{}: {verb} {}; {}, {} on disk (before: {})",
                cache.layout().root().display(),
                kinds.join(" and "),
                count(done.kept, "entry is left", "entries are left"),
                size(done.after),
                size(done.before),
            ));
            if done.in_use > 0 {
                let what = match done.in_use {
                    1 => "1 of them stays".to_owned(),
                    some => format!("{some} of them stay"),
                };
                context.out.line(format_args!(
                    "{what} although over the limit: in use, or used a moment ago (--min-idle)"
                ));
            }
        }
        other_caches(&cache, context);
        match done.failures.as_slice() {
            [] => Ok(Status::Done),
            [first, rest @ ..] => {
                rest.iter().take(9).for_each(|failure| context.note(failure));
                Err(Error::new(Kind::Cache, first))
            }
        }
    }
}

/// Returns the word for a kind.
fn word(kind: RemovedKind) -> &'static str {
    match kind {
        RemovedKind::Entry => "entry",
        RemovedKind::Result => "result",
        RemovedKind::Other => "other",
    }
}

fn other_caches(cache: &Cache, context: &mut CommandContext) {
    let ranks = cache.of_processes();
    if let Some(first) = ranks.first() {
        let what = count(ranks.len(), "cache of a single rank is", "caches of single ranks are");
        context.note(&format!("{what} left as they are: dijitso --cache-dir {} gc", first.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units() {
        for (text, expected) in
            [("90", 90), ("2min", 120), ("1.5h", 5400), ("2 d", 172_800), ("1w", 604_800), ("7s", 7)]
        {
            assert_eq!(seconds(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        for text in ["", "d", "-1d", "1y", "nan", "inf", "1e300w"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
