//! `dijitso show`.

#![forbid(unsafe_code)]

use std::cmp::Reverse;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::catalog::{Catalog, Entry, Listed};
use dijitso::cache::disk_usage::{Auxiliary, DiskUsage, Selection};
use dijitso::cache::record::EntryRecord;
use dijitso::cache::results::ListedResult;
use dijitso::error::Result;

use super::Status;
use super::completer;
use super::context::CommandContext;
use super::disk;
use super::output::{Align, Out, Table, age, count, epoch, size};
use super::select::{Entries, Kinds};

/// Options of `dijitso show`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to count: inc,src,lib,log,results,pch,failures,quarantine,staging,leases,notes or all;
    /// --files lists those of the first four
    #[arg(long, value_name = "LIST", default_value = "all", add = completer::categories())]
    categories: Kinds,

    /// Leave out the number and size of files
    #[arg(long)]
    no_summary: bool,

    /// List only the files, one a line
    #[arg(long)]
    files: bool,

    /// List only the signatures of the libraries, one a line
    #[arg(long)]
    signatures: bool,

    /// Sort the entries: latest, largest or slowest to compile first, or by name
    #[arg(long, value_name = "BY", value_enum, default_value_t = Sort::Time)]
    sort: Sort,

    /// Reverse the order
    #[arg(long)]
    reverse: bool,

    #[command(flatten)]
    entries: Entries,
}

/// The key that sorts the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Time,
    Size,
    Seconds,
    Name,
}

/// Columns of a signature and of a name that are shown at least.
const LEAST_SIGNATURE: usize = 24;
const LEAST_NAME: usize = 12;

/// An entry and its record.
type RecordedEntry<'a> = (&'a Entry, Option<EntryRecord>);

impl Arguments {
    /// Writes lists, or a summary and a table.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        let catalog = self.chosen(cache.catalog()?)?;
        let out = &mut context.out;
        if (self.files || self.signatures) && !out.json {
            self.lists(&catalog, out);
            return Ok(Status::Done);
        }
        let entries = self.entries_with_records(&cache, &catalog);
        if out.json {
            let json = self.json(&cache, &catalog, &entries)?;
            out.document(&json);
            return Ok(Status::Done);
        }
        if !self.no_summary {
            self.summary(&cache, &catalog, out)?;
        }
        if !entries.is_empty() {
            if !self.no_summary {
                out.line("");
            }
            table(&entries, out);
        }
        let results = self.results(&cache);
        if !results.is_empty() {
            if !(self.no_summary && entries.is_empty()) {
                out.line("");
            }
            result_table(&results, out);
        }
        remarks(&cache, &catalog, out);
        Ok(Status::Done)
    }

    /// Returns the results of tasks in the order of the options; none if entries were named.
    fn results(&self, cache: &Cache) -> Vec<ListedResult> {
        if !self.entries.are_all() || !self.categories.0.auxiliary.contains(&Auxiliary::Results) {
            return Vec::new();
        }
        let mut results = cache.results();
        match self.sort {
            Sort::Time => results.sort_by_key(|result| Reverse(result.used)),
            Sort::Size => results.sort_by_key(|result| Reverse(result.size)),
            // They are sorted by signature, and have no compilers.
            Sort::Name | Sort::Seconds => {}
        }
        if self.reverse {
            results.reverse();
        }
        results
    }

    /// Returns the catalog with only the chosen entries.
    fn chosen(&self, catalog: Catalog) -> Result<Catalog> {
        if self.entries.are_all() {
            return Ok(catalog);
        }
        let mut chosen = Catalog::default();
        for entry in self.entries.of(&catalog)? {
            let list = if entry.library().is_some() { &mut chosen.entries } else { &mut chosen.orphans };
            list.push(entry.clone());
        }
        chosen.entries.sort_by(|a, b| a.signature.cmp(&b.signature));
        Ok(chosen)
    }

    fn lists(&self, catalog: &Catalog, out: &mut Out) {
        if self.signatures {
            catalog.entries.iter().for_each(|entry| out.line(&entry.signature));
        }
        if self.files {
            for category in &self.categories.0.categories {
                let mut files: Vec<_> =
                    catalog.all().flat_map(|entry| entry.of(std::slice::from_ref(category))).collect();
                files.sort_by(|a, b| a.path.cmp(&b.path));
                files.iter().for_each(|file| out.line(file.path.display()));
            }
        }
    }

    /// Returns the entries with their records, in the order of the options.
    fn entries_with_records<'a>(&self, cache: &Cache, catalog: &'a Catalog) -> Vec<RecordedEntry<'a>> {
        let record = |entry: &Entry| {
            let record = cache.record(&entry.signature);
            record.inspect_err(|error| log::warn!("{error}")).ok().flatten()
        };
        let mut entries: Vec<RecordedEntry<'_>> =
            catalog.entries.iter().map(|entry| (entry, record(entry))).collect();
        match self.sort {
            Sort::Time => entries.sort_by_key(|(entry, _)| Reverse(entry.modified())),
            Sort::Size => entries.sort_by_key(|(entry, _)| Reverse(entry.size())),
            // The catalog is sorted by signature.
            Sort::Name => {}
            Sort::Seconds => {
                let seconds =
                    |record: &Option<EntryRecord>| record.as_ref().map_or(-1.0, |record| record.seconds);
                entries.sort_by(|(_, a), (_, b)| seconds(b).total_cmp(&seconds(a)));
            }
        }
        if self.reverse {
            entries.reverse();
        }
        entries
    }

    /// Returns the disk usage: of the cache, or of the files of the chosen entries.
    fn usage(&self, cache: &Cache, catalog: &Catalog) -> Result<(DiskUsage, Selection)> {
        let selection = self.categories.0.clone();
        if self.entries.are_all() {
            return Ok((cache.disk_usage()?, selection));
        }
        Ok((DiskUsage::of_entries(catalog), Selection { auxiliary: Vec::new(), ..selection }))
    }

    fn summary(&self, cache: &Cache, catalog: &Catalog, out: &mut Out) -> Result<()> {
        let entries = count(catalog.entries.len(), "entry", "entries");
        out.title(&format!("{}: {entries}", cache.layout().root().display()));
        let (usage, selection) = self.usage(cache, catalog)?;
        disk::write(&usage, &selection, out);
        Ok(())
    }

    fn json(&self, cache: &Cache, catalog: &Catalog, entries: &[RecordedEntry<'_>]) -> Result<Json> {
        let (usage, selection) = self.usage(cache, catalog)?;
        Ok(json!({
            "cache_dir": cache.layout().root(),
            "categories": disk::categories(&usage, &selection),
            "total": disk::total(&usage, &selection),
            "elsewhere": disk::elsewhere(&usage, &selection),
            "entries": entries.iter().map(|entry| self.entry(entry)).collect::<Vec<_>>(),
            "orphans": catalog.orphans.iter().map(|entry| self.entry(&(entry, None))).collect::<Vec<_>>(),
            "results": self.results(cache).iter().map(result_json).collect::<Vec<_>>(),
            "process_caches": cache.of_processes(),
        }))
    }

    fn entry(&self, (entry, record): &RecordedEntry<'_>) -> Json {
        let file = |file: &Listed| {
            json!({
                "category": file.category.name(),
                "path": file.path,
                "bytes": file.size,
                "allocated": file.allocated,
                "modified": epoch(file.modified),
            })
        };
        let record = record.as_ref();
        json!({
            "name": entry.name(),
            "signature": entry.signature,
            "bytes": entry.size(),
            "allocated": entry.allocated(),
            "modified": epoch(entry.modified()),
            "age_seconds": entry.age().as_secs(),
            "compiler": record.map(|record| &record.toolchain.identity),
            "target": record.map(|record| &record.toolchain.target),
            "seconds": record.map(|record| record.seconds),
            "built_at": record.map(|record| record.built_at),
            "host": record.map(|record| &record.host),
            "dijitso": record.map(|record| &record.dijitso),
            "command": record.map(|record| &record.command),
            "dependencies": record.map(|record| &record.dependencies),
            "files": entry.of(&self.categories.0.categories).map(file).collect::<Vec<_>>(),
        })
    }
}

/// Returns the name of the task that has made a result; that of its file if it is damaged.
fn task_name(result: &ListedResult) -> &str {
    result.record.as_ref().map_or(&result.signature, |record| &record.name)
}

fn result_table(results: &[ListedResult], out: &mut Out) {
    let columns =
        [("TASK", Align::Left), ("RESULT", Align::Left), ("SIZE", Align::Right), ("USED", Align::Right)];
    let mut table = Table::new(&columns);
    for result in results {
        let used = age(result.used.elapsed().unwrap_or_default());
        table.row(vec![task_name(result).to_owned(), result.signature.clone(), size(result.size), used]);
    }
    if let Some(width) = out.columns() {
        table.fit(width, &[(0, LEAST_NAME), (1, LEAST_SIGNATURE)]);
    }
    table.write(out);
}

fn result_json(result: &ListedResult) -> Json {
    let record = result.record.as_ref();
    json!({
        "name": record.map(|record| &record.name),
        "signature": result.signature,
        "path": result.path,
        "bytes": result.size,
        "allocated": result.allocated,
        "used": epoch(result.used),
        "made_at": record.map(|record| record.made_at),
        "host": record.map(|record| &record.host),
        "digest": record.map(|record| &record.digest),
    })
}

/// Makes the table of entries. Without names if they say no more than the signatures, which begin with them.
fn entry_table(entries: &[RecordedEntry<'_>], named: bool) -> Table {
    const UNKNOWN: &str = "-";
    let mut columns = vec![
        ("SIGNATURE", Align::Left),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("COMPILER", Align::Left),
        ("SECONDS", Align::Right),
    ];
    if named {
        columns.insert(0, ("NAME", Align::Left));
    }
    let mut table = Table::new(&columns);
    for (entry, record) in entries {
        let compiler = record.as_ref().map(|record| short(&record.toolchain.identity));
        let seconds = record.as_ref().map(|record| format!("{:.2}", record.seconds));
        let mut cells = vec![
            entry.signature.clone(),
            size(entry.size()),
            age(entry.age()),
            compiler.unwrap_or_else(|| UNKNOWN.to_owned()),
            seconds.unwrap_or_else(|| UNKNOWN.to_owned()),
        ];
        if named {
            cells.insert(0, entry.name().to_owned());
        }
        table.row(cells);
    }
    table
}

fn table(entries: &[RecordedEntry<'_>], out: &mut Out) {
    // With cache.signature = "name" both are the same.
    let named = entries.iter().any(|(entry, _)| entry.name() != entry.signature);
    let mut table = entry_table(entries, named);
    // Other readers get whole signatures.
    if let Some(width) = out.columns().filter(|width| table.width() > *width) {
        table = entry_table(entries, false);
        table.fit(width, &[(0, LEAST_SIGNATURE), (3, 5)]);
    }
    table.write(out);
}

/// Writes remarks on files without a library and on caches of single ranks.
fn remarks(cache: &Cache, catalog: &Catalog, out: &mut Out) {
    let orphans = catalog.orphans.len();
    if orphans > 0 {
        let what = count(orphans, "signature has", "signatures have");
        out.line(format_args!("\n{what} files but no library, as {}", catalog.orphans[0].signature));
    }
    let ranks = cache.of_processes();
    if let Some(first) = ranks.first() {
        let what = count(ranks.len(), "rank has a cache", "ranks have caches");
        out.line(format_args!("\n{what} of its own: dijitso --cache-dir {} show", first.display()));
    }
}

/// Shortens the identity of a compiler to name and version: `gcc 12.2.0`.
fn short(identity: &str) -> String {
    const NAMES: [&str; 8] = ["gcc", "clang", "g++", "icc", "icx", "icpx", "nvc", "nvc++"];
    // Drops the package in parentheses: "c++ (Debian 12.2.0-14) 12.2.0".
    let plain: String = identity.split('(').map(|part| part.rsplit(')').next().unwrap_or(part)).collect();
    let words = || plain.split_whitespace();
    let version = words().find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
    let name = words().find(|word| NAMES.contains(word)).or_else(|| words().next());
    match (name, version) {
        (Some(name), Some(version)) if name != version => format!("{name} {version}"),
        _ => identity.chars().take(24).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn compilers_have_short_names() {
        for (identity, expected) in [
            ("gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)", "gcc 12.2.0"),
            ("Debian clang version 14.0.6", "clang 14.0.6"),
            ("c++ (Debian 12.2.0-14) 12.2.0", "c++ 12.2.0"),
            ("unknown", "unknown"),
            ("", ""),
        ] {
            assert_eq!(short(identity), expected);
        }
    }
}
