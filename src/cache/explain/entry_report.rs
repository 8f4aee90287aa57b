//! Reports on one entry: its inputs, its state, the entries that it needs, and those that need it.

#![forbid(unsafe_code)]

use serde::Serialize;

use crate::cache::record::EntryRecord;
use crate::cache::{Cache, Lookup, Verify};
use crate::error::Result;
use crate::human::size;

use super::difference::Difference;
use super::{FailedBuild, failure, reasons};

/// An entry that another needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The signature.
    pub signature: String,
    /// `linked` if the entry is linked to it, `nested` if `generate` asked for it.
    pub how: &'static str,
    /// True if it is valid.
    pub valid: bool,
}

/// The report on an entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntryReport {
    /// The signature.
    pub signature: String,
    /// The cache directory.
    pub cache_dir: String,
    /// True if there is such an entry.
    pub present: bool,
    /// The reasons why it would be built again; none if it is valid.
    pub reasons: Vec<Difference>,
    /// Its record; `None` if there is none, or it cannot be read.
    pub record: Option<EntryRecord>,
    /// The entries that it needs.
    pub needs: Vec<Need>,
    /// Entries that need it.
    pub needed_by: Vec<String>,
    /// The last build of this signature, if it failed and there is no entry.
    pub failure: Option<FailedBuild>,
}

/// Reports on a signature. Reads all records of the cache and changes nothing.
///
/// # Errors
/// [`crate::error::Kind::Cache`] if the cache cannot be read, or is refused.
pub fn entry_report(cache: &Cache, signature: &str) -> Result<EntryReport> {
    crate::signature::check_signature(signature)?;
    let (present, reasons) = match cache.lookup(signature, Verify::ForLink)? {
        Lookup::Hit(..) => (true, Vec::new()),
        Lookup::Miss => (false, Vec::new()),
        Lookup::Damaged(invalid) => (true, reasons(cache, signature, &invalid)),
    };
    let record = cache.record(signature)?;
    let need = |how| {
        move |signature: &String| {
            let valid = matches!(cache.lookup(signature, Verify::ForLink), Ok(Lookup::Hit(..)));
            Need { signature: signature.clone(), how, valid }
        }
    };
    let needs = record.as_ref().map_or_else(Vec::new, |record| {
        let linked = record.dependencies.iter().map(need("linked"));
        linked.chain(record.nested.iter().map(need("nested"))).collect()
    });
    let mut needed_by = Vec::new();
    for other in cache.signatures()? {
        let Some(record) = cache.record(&other).ok().flatten() else { continue };
        if record.needs().any(|needed| needed == signature) {
            needed_by.push(other);
        }
    }
    needed_by.sort();
    let failure = if present { None } else { failure(cache, signature) };
    Ok(EntryReport {
        signature: signature.to_owned(),
        cache_dir: cache.layout().root().display().to_string(),
        present,
        reasons,
        record,
        needs,
        needed_by,
        failure,
    })
}

impl EntryReport {
    /// Formats the report in several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        match (self.present, self.reasons.is_empty()) {
            (false, _) => lines.push(format!("{} is not in {}.", self.signature, self.cache_dir)),
            (true, true) => lines.push(format!("{} is in {}, and valid.", self.signature, self.cache_dir)),
            (true, false) => {
                lines.push(format!("{} is in {} and would be built again:", self.signature, self.cache_dir));
                lines.extend(self.reasons.iter().map(|reason| format!("  {}", reason.text)));
            }
        }
        if let Some(record) = &self.record {
            self.describe_record(record, &mut lines);
        }
        if let Some(failure) = &self.failure {
            lines.extend(failure.lines());
        }
        lines.join("\n")
    }

    fn describe_record(&self, record: &EntryRecord, lines: &mut Vec<String>) {
        let mut field = |name: &str, text: &str| lines.push(format!("  {name:<11}{text}"));
        field("name", &record.name);
        field(
            "built",
            &format!(
                "{} on {}, in {:.2} s, by dijitso {}",
                utc(record.built_at),
                record.host,
                record.seconds,
                record.dijitso
            ),
        );
        field("compiler", &record.toolchain.identity);
        field("target", &record.toolchain.target);
        if !record.toolchain.isa.is_empty() {
            field("native", &record.toolchain.isa);
        }
        let words: Vec<_> = record.command.iter().map(|word| shell_words::quote(word)).collect();
        field("command", &words.join(" "));
        field("generator", &record.generator);
        field("source", &format!("sha256 {}", record.source_sha256));
        if let Some(header) = &record.header {
            field("header", &format!("{}, sha256 {}", size(header.size), header.sha256));
        }
        for input in &record.inputs {
            field("has read", &format!("{} ({})", input.path, input.identity));
        }
        for need in &self.needs {
            let how = if need.how == "linked" { "linked" } else { "asked for by generate" };
            let state = if need.valid { "valid" } else { "missing or damaged" };
            field("needs", &format!("{} ({how}; {state})", need.signature));
        }
        for other in &self.needed_by {
            field("needed by", other);
        }
    }

    /// Converts the report to JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Formats seconds since 1970.
#[must_use]
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from the first of March of the year 0, so that a leap day is the last of its year.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}
