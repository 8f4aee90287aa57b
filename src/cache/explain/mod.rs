//! Explains why a request is a miss, compared with the nearest entry of the same name; and reports on
//! entries.

#![forbid(unsafe_code)]

pub mod compare;
pub mod difference;
mod entry_report;

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::error::Result;
use crate::inputs::Input;
use crate::signature::name_of;

use super::record::{EntryRecord, Invalid};
use super::walk::DependencyWalk;
use super::{Cache, Lookup, Verify};
use compare::{ComparedBuild, differences};
use difference::{Component, Difference};

pub use entry_report::{EntryReport, Need, entry_report, utc};

/// A request to compare with entries.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The name.
    pub name: String,
    /// Its signature on this machine.
    pub signature: String,
    /// The inputs of its build.
    pub build: ComparedBuild,
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// A valid entry exists.
    Hit,
    /// There is no entry of its signature.
    Miss,
    /// There is one that would be built again.
    Damaged,
}

/// An entry that a request is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearestEntry {
    /// The signature.
    pub signature: String,
    /// Seconds since 1970.
    pub built_at: u64,
    /// The host that built it.
    pub host: String,
    /// The differences of the request from it.
    pub differences: Vec<Difference>,
}

/// A build that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedBuild {
    /// The error, with the first error of the compiler.
    pub error: String,
    /// The folder that reproduces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Seconds since 1970.
    pub at: u64,
}

/// The explanation of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The name.
    pub name: String,
    /// The signature of the request.
    pub signature: String,
    /// The cache directory.
    pub cache_dir: String,
    /// The state of the request.
    pub state: RequestState,
    /// The reasons why the entry of this signature would be built again.
    pub reasons: Vec<Difference>,
    /// The number of entries of this name.
    pub of_this_name: usize,
    /// The entry of this name with the fewest differences. It has another signature, unless the signature is
    /// the name alone.
    pub nearest: Option<NearestEntry>,
    /// A similar name, if there is no entry of this name.
    pub did_you_mean: Option<String>,
    /// The last build of this signature, if it failed.
    pub failure: Option<FailedBuild>,
}

/// The number of entries of one name that are compared, the latest first: a parameter sweep makes thousands.
const MOST_COMPARED: usize = 1000;

/// Explains a request. Changes nothing.
///
/// # Errors
/// [`crate::error::Kind::Cache`] if the cache cannot be read, or is refused.
pub fn explain(cache: &Cache, wanted: &ExplainRequest) -> Result<Explanation> {
    // The user may just have changed an input.
    crate::inputs::invalidate();
    let signatures = cache.signatures()?;
    let (state, reasons) = match cache.lookup(&wanted.signature, Verify::ForLink)? {
        Lookup::Hit(..) => (RequestState::Hit, Vec::new()),
        Lookup::Miss => (RequestState::Miss, Vec::new()),
        Lookup::Damaged(invalid) => (RequestState::Damaged, reasons(cache, &wanted.signature, &invalid)),
    };
    let of_this_name: Vec<&String> =
        signatures.iter().filter(|signature| name_of(signature) == wanted.name).collect();
    let own_build_counts = wanted.build.by_name;
    let nearest = match state {
        RequestState::Hit | RequestState::Damaged if !own_build_counts => None,
        RequestState::Hit | RequestState::Damaged => nearest(cache, wanted, &[&wanted.signature]),
        RequestState::Miss => nearest(cache, wanted, &of_this_name),
    };
    let did_you_mean = if of_this_name.is_empty() { similar(&wanted.name, &signatures) } else { None };
    let failure = if state == RequestState::Hit { None } else { failure(cache, &wanted.signature) };
    Ok(Explanation {
        name: wanted.name.clone(),
        signature: wanted.signature.clone(),
        cache_dir: cache.layout().root().display().to_string(),
        state,
        reasons,
        of_this_name: of_this_name.len(),
        nearest,
        did_you_mean,
        failure,
    })
}

fn nearest(cache: &Cache, wanted: &ExplainRequest, candidates: &[&String]) -> Option<NearestEntry> {
    let mut records: Vec<EntryRecord> = candidates
        .iter()
        .take(MOST_COMPARED)
        .filter_map(|signature| cache.record(signature).ok().flatten())
        .filter(|record| record.name == wanted.name)
        .collect();
    // Of equally near entries the latest wins.
    records.sort_by_key(|record| std::cmp::Reverse(record.built_at));
    let compared = records.into_iter().map(|record| {
        let mut found = differences(&ComparedBuild::of(&record), &wanted.build);
        if found.is_empty() && record.signature != wanted.signature {
            found.push(unknown(&record));
        }
        (record, found)
    });
    let (record, differences) = compared.min_by_key(|(_, found)| found.len())?;
    Some(NearestEntry {
        signature: record.signature,
        built_at: record.built_at,
        host: record.host,
        differences,
    })
}

fn unknown(record: &EntryRecord) -> Difference {
    let text = format!("nothing that is recorded: the entry is of dijitso {}", record.dijitso);
    Difference::new(Component::Unknown, "", None, None, text)
}

/// Finds an existing name that is similar.
fn similar(name: &str, signatures: &[String]) -> Option<String> {
    const ENOUGH: f64 = 0.8;
    signatures
        .iter()
        .take(MOST_COMPARED)
        .map(|signature| name_of(signature))
        .map(|other| (strsim::jaro_winkler(other, name), other))
        .filter(|(likeness, _)| *likeness > ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other.to_owned())
}

/// The reasons why an entry would be built again, one for each file or dependency.
fn reasons(cache: &Cache, signature: &str, invalid: &Invalid) -> Vec<Difference> {
    let mut found = Vec::new();
    let open = |at: &str| {
        let invalid = if at == signature {
            invalid.clone()
        } else {
            match cache.lookup(at, Verify::ForLink) {
                Ok(Lookup::Damaged(invalid)) => invalid,
                other => {
                    let reason = match other {
                        Ok(Lookup::Miss) => Some("is missing".to_owned()),
                        Err(error) => Some(format!("cannot be read: {}", error.message())),
                        Ok(_) => None,
                    };
                    found.extend(reason.map(|reason| dependency(at, &reason)));
                    return Ok::<_, ()>(((), Vec::new()));
                }
            }
        };
        let mut needs = Vec::new();
        match (invalid, cache.record(at).ok().flatten()) {
            (Invalid::Input(_), Some(record)) => {
                found.extend(cache.changed_inputs(&record).map(changed_file));
            }
            (Invalid::Dependency, Some(record)) => needs.extend(record.needs().map(str::to_owned)),
            (invalid, _) if at == signature => {
                let text = format!("{at}: {}", invalid.describe());
                found.push(Difference::new(Component::Entry, at, None, None, text));
            }
            (invalid, _) => found.push(dependency(at, &format!("is damaged: {}", invalid.describe()))),
        }
        Ok(((), needs))
    };
    let _ = DependencyWalk::default().visit(signature, open);
    found
}

fn dependency(signature: &str, what: &str) -> Difference {
    let text = format!("dependency {signature} {what}");
    Difference::new(Component::Dependency, signature, Some(signature), None, text)
}

/// Describes a header or library that has changed.
fn changed_file((input, change): (&Input, String)) -> Difference {
    let is_library = input.identity.starts_with("build-id")
        || [".so", ".a"].iter().any(|end| input.path.ends_with(end) || input.path.contains(".so."));
    let gone = change.ends_with("is gone");
    let (component, noun) =
        if is_library { (Component::Library, "linked library") } else { (Component::Header, "header") };
    let change = if is_library { change.replacen("has changed", "was rebuilt", 1) } else { change };
    let after = if gone { None } else { Some("another") };
    let text = format!("{noun} {change}");
    Difference::new(component, &input.path, Some(&input.identity), after, text)
}

/// Reads the failure of the last build of a signature: from the folder that reproduces it, else from the
/// negative cache.
pub(super) fn failure(cache: &Cache, signature: &str) -> Option<FailedBuild> {
    let folder = cache.layout().failure(signature);
    let readme = super::read(&folder.join("README")).ok().flatten();
    let last = cache.last_failure(signature);
    if let Some(readme) = readme {
        let text = String::from_utf8_lossy(&readme);
        let first = text.lines().next().unwrap_or_default();
        let error = first.split_once(" failed: ").map_or(first, |(_, what)| what).to_owned();
        return Some(FailedBuild {
            error,
            folder: Some(folder.display().to_string()),
            at: changed_at(&folder.join("README")),
        });
    }
    let last = last?;
    Some(FailedBuild { error: last.error.message().to_owned(), folder: None, at: last.failed_at })
}

fn changed_at(path: &Path) -> u64 {
    let time = path.metadata().and_then(|facts| facts.modified()).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs())
}

impl FailedBuild {
    /// Describes the failure in lines.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("Building it failed on {}: {}", utc(self.at), self.error)];
        if let Some(folder) = &self.folder {
            lines.push(format!("To reproduce that, run {folder}/recompile.sh"));
        }
        lines
    }
}

impl Explanation {
    /// Formats the explanation in several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.headline()];
        lines.extend(self.reasons.iter().map(|reason| format!("  {}", reason.text)));
        match &self.nearest {
            Some(nearest) if self.state == RequestState::Miss => {
                lines.push(format!(
                    "The nearest of {} of this name is {}, built on {} by {}. The request \
                     differs from it in:",
                    count(self.of_this_name, "entry", "entries"),
                    nearest.signature,
                    utc(nearest.built_at),
                    nearest.host
                ));
                lines.extend(nearest.differences.iter().map(|found| format!("  {}", found.text)));
            }
            Some(nearest) if !nearest.differences.is_empty() => {
                lines.push(
                    "It differs from the request in these, which cache.signature = \"name\" ignores:"
                        .to_owned(),
                );
                lines.extend(nearest.differences.iter().map(|found| format!("  {}", found.text)));
            }
            _ => {}
        }
        if let Some(failure) = &self.failure {
            lines.extend(failure.lines());
        }
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let (signature, dir) = (&self.signature, &self.cache_dir);
        match self.state {
            RequestState::Hit => format!("{signature} is a hit: it is in {dir}, and valid."),
            RequestState::Damaged => format!("{signature} is in {dir} and would be built again:"),
            RequestState::Miss if self.of_this_name == 0 => {
                let mut text = format!("{signature} is a miss: {dir} has no entry of the name {}", self.name);
                if let Some(other) = &self.did_you_mean {
                    text.push_str(&format!("; did you mean {other}?"));
                } else {
                    text.push('.');
                }
                text
            }
            RequestState::Miss => format!("{signature} is a miss: it is not in {dir}."),
        }
    }

    /// Formats the explanation in one line, for logs and errors.
    #[must_use]
    pub fn brief(&self) -> String {
        let list = |found: &[Difference]| {
            found.iter().map(|difference| difference.text.as_str()).collect::<Vec<_>>().join("; ")
        };
        match (&self.state, &self.nearest) {
            (RequestState::Hit, _) => format!("{} is in the cache", self.signature),
            (RequestState::Damaged, _) => {
                format!("{} would be built again: {}", self.signature, list(&self.reasons))
            }
            (RequestState::Miss, Some(nearest)) => format!(
                "{} is not in the cache; from the nearest entry, {}, it differs in: {}",
                self.signature,
                nearest.signature,
                list(&nearest.differences)
            ),
            (RequestState::Miss, None) => {
                format!(
                    "{} is not in the cache, and nothing else of the name {} is",
                    self.signature, self.name
                )
            }
        }
    }

    /// Converts the explanation to JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
