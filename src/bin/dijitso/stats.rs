//! `dijitso stats`.

#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::catalog::Catalog;
use dijitso::cache::disk_usage::{Auxiliary, DiskUsage, Row, Selection};
use dijitso::cache::stats::{Counts, Stats};
use dijitso::error::Result;

use super::Status;
use super::context::CommandContext;
use super::disk;
use super::output::{Align, Out, STRONG, Table, age, count, size};

/// Options of `dijitso stats`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Reset the counters
    #[arg(long)]
    reset: bool,
}

impl Arguments {
    /// Writes counters, limits and the size of the cache, or resets the counters.
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
    out.title(&format!("{}: {entries}", cache.layout().root().display()));
    out.line("");
    write_counts(cache, usage, out);
    out.line("");
    let params = cache.layout().params();
    out.line(out.paint(STRONG, "limits"));
    let taken = disk.sum(Row::all()).allocated;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, text: String| table.row(vec![format!("  {name}"), text]);
    row("size", limit_of_size(taken, params.max_size));
    row("unused for", params.max_age.map_or_else(|| NO_LIMIT.to_owned(), age));
    row(
        "precompiled headers",
        limit_of_size(disk.of(Row::Auxiliary(Auxiliary::Pch)).allocated, Some(params.pch_max_size)),
    );
    if params.frozen {
        row("frozen", "nothing is built".to_owned());
    }
    table.write_rows(out);
    out.line("");
    disk::write(disk, &Selection::all(), out);
}

const NO_LIMIT: &str = "no limit";

/// Describes a size and its limit.
fn limit_of_size(taken: u64, limit: Option<u64>) -> String {
    match limit {
        None => format!("{}, {NO_LIMIT}", size(taken)),
        Some(0) => format!("{}, none are kept", size(taken)),
        Some(limit) => format!("{} of {} ({})", size(taken), size(limit), percent(taken, limit)),
    }
}

/// Returns a share as people read it. Of nothing, there is none.
fn percent(part: u64, of: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let share = part as f64 * 100.0 / of as f64;
    if of == 0 { "-".to_owned() } else { format!("{share:.1} %") }
}

/// Returns the share of calls that were hits, from 0 to 1; `None` without calls.
fn hit_rate(counts: &Counts) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let rate = hits(counts) as f64 / calls(counts) as f64;
    (calls(counts) > 0).then_some(rate)
}

fn hits(counts: &Counts) -> u64 {
    counts.memory_hits.saturating_add(counts.disk_hits)
}

fn calls(counts: &Counts) -> u64 {
    hits(counts).saturating_add(counts.misses())
}

/// Writes what was counted: the sums, and a row for each host.
fn write_counts(cache: &Cache, usage: &Stats, out: &mut Out) {
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
    let all = calls(&total);
    let columns = [("", Align::Left), ("", Align::Right), ("", Align::Right)];
    let mut table = Table::new(&columns);
    let mut row = |name: &str, number: u64, of: u64| {
        table.row(vec![format!("  {name}"), number.to_string(), percent(number, of)]);
    };
    row("calls", all, all);
    row("  hits", hits(&total), all);
    row("    in memory", total.memory_hits, all);
    row("    in the cache directory", total.disk_hits, all);
    row("  misses", total.misses(), all);
    row("    built", total.builds, all);
    for (name, number) in [
        ("    received from another rank", total.received),
        ("    built by another program", total.waited),
        ("    failed", total.failures),
    ] {
        if number > 0 {
            row(name, number, all);
        }
    }
    let mut time = |name: &str, milliseconds: u64| {
        table.row(vec![format!("  {name}"), span(milliseconds), String::new()]);
    };
    time("compilers took", total.compiling_ms);
    time("hits in the directory saved", total.saved_ms);
    table.write_rows(out);
    if usage.torn > 0 {
        out.line(format_args!("  {} could not be read", count_lines(usage.torn)));
    }
    if usage.hosts.len() > 1 {
        out.line("");
        write_hosts(usage, out);
    }
}

fn count_lines(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "line", "lines")
}

fn write_hosts(usage: &Stats, out: &mut Out) {
    let columns = [
        ("HOST", Align::Left),
        ("HITS", Align::Right),
        ("RATE", Align::Right),
        ("MISSES", Align::Right),
        ("BUILT", Align::Right),
        ("FAILED", Align::Right),
        ("COMPILING", Align::Right),
        ("SAVED", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for (host, counts) in &usage.hosts {
        table.row(vec![
            host.clone(),
            hits(counts).to_string(),
            percent(hits(counts), calls(counts)),
            counts.misses().to_string(),
            counts.builds.to_string(),
            counts.failures.to_string(),
            span(counts.compiling_ms),
            span(counts.saved_ms),
        ]);
    }
    if let Some(width) = out.columns() {
        table.fit(width, &[(0, 8)]);
    }
    table.write(out);
}

fn document(cache: &Cache, usage: &Stats, catalog: &Catalog, disk: &DiskUsage) -> Json {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds")]
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    let counts = |counts: &Counts| {
        json!({
            "calls": calls(counts),
            "hit_rate": hit_rate(counts),
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
    let params = cache.layout().params();
    json!({
        "cache_dir": cache.layout().root(),
        "counting": cache.layout().params().stats,
        "since": Some(usage.since).filter(|since| *since > 0),
        "total": counts(&usage.total()),
        "hosts": hosts.collect::<Map<_, _>>(),
        "entries": catalog.entries.len(),
        "categories": sizes,
        "limits": {
            "max_size": params.max_size,
            "max_age_seconds": params.max_age.map(|age| age.as_secs()),
            "pch_max_size": params.pch_max_size,
            "frozen": params.frozen,
        },
        "elsewhere": disk::elsewhere(disk, &Selection::all()),
        "unreadable_lines": usage.torn,
        "process_caches": cache.of_processes(),
    })
}
