//! `dijitso stats`.

#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::catalog::Catalog;
use dijitso::cache::disk_usage::{DiskUsage, Selection};
use dijitso::cache::stats::{Counts, Stats};
use dijitso::error::Result;

use super::Status;
use super::context::CommandContext;
use super::disk;
use super::output::{Align, Out, STRONG, Table, age, count};

/// Options of `dijitso stats`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Reset the counters
    #[arg(long)]
    reset: bool,
}

impl Arguments {
    /// Writes the counters and the size of the cache, or resets the counters.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        let root = cache.layout().root().display().to_string();
        if self.reset {
            cache.open()?;
            let dry_run = context.options.dry_run;
            let hosts = cache.stats().hosts.len();
            if !dry_run {
                cache.reset_stats()?;
            }
            if context.out.json {
                let json = json!({ "cache_dir": root, "dry_run": dry_run, "forgotten_hosts": hosts });
                context.out.document(&json);
            } else {
                let verb = if dry_run { "would be forgotten" } else { "forgotten" };
                let what = count(hosts, "host", "hosts");
                context.out.line(format_args!("{root}: what {what} counted is {verb}"));
            }
            return Ok(Status::Done);
        }
        let (usage, catalog, disk) = (cache.stats(), cache.catalog()?, cache.disk_usage()?);
        if context.out.json {
            context.out.document(&document(&cache, &usage, &catalog, &disk));
        } else {
            write(&cache, &usage, &catalog, &disk, &mut context.out);
        }
        Ok(Status::Done)
    }
}

fn span(milliseconds: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let seconds = milliseconds as f64 / 1000.0;
    if seconds < 120.0 { format!("{seconds:.1} s") } else { age(Duration::from_millis(milliseconds)) }
}

fn write(cache: &Cache, usage: &Stats, catalog: &Catalog, disk: &DiskUsage, out: &mut Out) {
    let entries = count(catalog.entries.len(), "entry", "entries");
    out.line(out.paint(STRONG, format_args!("{}: {entries}", cache.layout().root().display())));
    disk::write(disk, &Selection::all(), out);
    out.line("");
    if usage.hosts.is_empty() {
        out.line(if cache.layout().params().stats {
            "nothing has been counted yet"
        } else {
            "nothing is counted (cache.stats is false)"
        });
        return;
    }
    let since = UNIX_EPOCH.checked_add(Duration::from_secs(usage.since)).unwrap_or(UNIX_EPOCH);
    let since = SystemTime::now().duration_since(since).unwrap_or_default();
    let total = usage.total();
    out.line(out.paint(STRONG, format_args!("counted within the last {}", age(since))));
    let columns = [
        ("HOST", Align::Left),
        ("HITS", Align::Right),
        ("IN MEMORY", Align::Right),
        ("MISSES", Align::Right),
        ("BUILT", Align::Right),
        ("FAILED", Align::Right),
        ("COMPILING", Align::Right),
        ("SAVED", Align::Right),
    ];
    let mut table = Table::new(&columns);
    let mut row = |name: &str, counts: &Counts| {
        table.row(vec![
            name.to_owned(),
            counts.disk_hits.to_string(),
            counts.memory_hits.to_string(),
            counts.misses().to_string(),
            counts.builds.to_string(),
            counts.failures.to_string(),
            span(counts.compiling_ms),
            span(counts.saved_ms),
        ]);
    };
    usage.hosts.iter().for_each(|(host, counts)| row(host, counts));
    if usage.hosts.len() > 1 {
        row("all", &total);
    }
    table.write(out);
}

fn document(cache: &Cache, usage: &Stats, catalog: &Catalog, disk: &DiskUsage) -> Json {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds")]
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    let counts = |counts: &Counts| {
        json!({
            "hits": counts.disk_hits,
            "memory_hits": counts.memory_hits,
            "misses": counts.misses(),
            "builds": counts.builds,
            "failures": counts.failures,
            "received": counts.received,
            "waited": counts.waited,
            "compiling_seconds": seconds(counts.compiling_ms),
            "saved_seconds": seconds(counts.saved_ms),
        })
    };
    let mut sizes = disk::categories(disk, &Selection::all());
    sizes.insert("total".to_owned(), disk::total(disk, &Selection::all()));
    let hosts = usage.hosts.iter().map(|(host, of)| (host.clone(), counts(of)));
    json!({
        "cache_dir": cache.layout().root(),
        "counting": cache.layout().params().stats,
        "since": Some(usage.since).filter(|since| *since > 0),
        "total": counts(&usage.total()),
        "hosts": hosts.collect::<Map<_, _>>(),
        "entries": catalog.entries.len(),
        "categories": sizes,
        "elsewhere": disk::elsewhere(disk, &Selection::all()),
        "unreadable_lines": usage.torn,
        "process_caches": cache.of_processes(),
    })
}
