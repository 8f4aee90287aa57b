//! The disk usage of the cache, for `show` and `stats`.

#![forbid(unsafe_code)]

use serde_json::{Map, Value as Json, json};

use dijitso::cache::disk_usage::{Auxiliary, DiskUsage, Row, Selection, Sums};
use dijitso::cache::layout::Category;

use super::output::{Align, Out, Table, size};

/// Returns the rows of a selection. A selection of everything includes files of no category.
fn rows(selection: &Selection) -> Vec<Row> {
    let wanted = |row: &Row| match row {
        Row::Entry(category) => selection.categories.contains(category),
        Row::Auxiliary(auxiliary) => selection.auxiliary.contains(auxiliary),
        Row::Ranks | Row::Other => selection.is_all(),
    };
    Row::all().filter(wanted).collect()
}

/// Writes a table. Rows for files besides entries are left out if they are empty.
pub(super) fn write(usage: &DiskUsage, selection: &Selection, out: &mut Out) {
    let columns = [
        ("", Align::Left),
        ("FILES", Align::Right),
        ("SIZE", Align::Right),
        ("ON DISK", Align::Right),
        ("WHAT", Align::Left),
    ];
    let mut table = Table::new(&columns);
    let mut add = |name: &str, sums: Sums, what: &str| {
        let cells = [name.to_owned(), sums.files.to_string(), size(sums.bytes), size(sums.allocated)];
        table.row(cells.into_iter().chain([what.to_owned()]).collect());
    };
    let rows = rows(selection);
    for row in &rows {
        let sums = usage.of(*row);
        if matches!(row, Row::Entry(_)) || sums != Sums::default() {
            add(row.name(), sums, what(*row));
        }
    }
    add("total", usage.sum(rows.into_iter()), "");
    if let Some(width) = out.columns() {
        table.fit(width, &[(4, 4)]);
    }
    table.write(out);
    if let Some((dir, sums)) = usage.elsewhere.as_ref().filter(|_| is_pch_wanted(selection)) {
        out.line(format_args!(
            "\nPrecompiled headers of this host take {} more in {}.",
            size(sums.allocated),
            dir.display()
        ));
    }
}

/// Describes the files of a row.
fn what(row: Row) -> &'static str {
    match row {
        Row::Entry(Category::Inc) => "headers of entries",
        Row::Entry(Category::Src) => "sources of entries",
        Row::Entry(Category::Lib) => "libraries of entries",
        Row::Entry(Category::Log) => "build logs of entries",
        Row::Auxiliary(Auxiliary::Results) => "files that tasks of plans have made",
        Row::Auxiliary(Auxiliary::Pch) => "precompiled headers",
        Row::Auxiliary(Auxiliary::Failures) => "failed builds, to try again by hand",
        Row::Auxiliary(Auxiliary::Quarantine) => "damaged files",
        Row::Auxiliary(Auxiliary::Staging) => "temporary files of builds",
        Row::Auxiliary(Auxiliary::Leases) => "who is building",
        Row::Auxiliary(Auxiliary::Notes) => "compilers, statistics, plans, lists of runs",
        Row::Ranks => "caches of single ranks",
        Row::Other => "directories, and files of no kind",
    }
}

fn is_pch_wanted(selection: &Selection) -> bool {
    selection.auxiliary.contains(&Auxiliary::Pch)
}

fn sums(sums: Sums) -> Json {
    json!({ "files": sums.files, "bytes": sums.bytes, "allocated": sums.allocated })
}

/// Returns the rows by name.
pub(super) fn categories(usage: &DiskUsage, selection: &Selection) -> Map<String, Json> {
    rows(selection).into_iter().map(|row| (row.name().to_owned(), sums(usage.of(row)))).collect()
}

/// Returns the sum of all rows.
pub(super) fn total(usage: &DiskUsage, selection: &Selection) -> Json {
    sums(usage.sum(rows(selection).into_iter()))
}

/// Returns the usage of directories outside the cache.
pub(super) fn elsewhere(usage: &DiskUsage, selection: &Selection) -> Vec<Json> {
    let of = |(dir, of): &(std::path::PathBuf, Sums)| {
        let mut json = sums(*of);
        json["category"] = "pch".into();
        json["path"] = dir.display().to_string().into();
        json
    };
    usage.elsewhere.as_ref().filter(|_| is_pch_wanted(selection)).map(of).into_iter().collect()
}
