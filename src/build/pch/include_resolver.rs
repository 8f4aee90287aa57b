//! Resolves the include directives of a preamble.
//!
//! A directive can be copied into the precompiled text as it is: the compiler finds the same file candidates.
//! A header's contents are copied instead only if it is certain that the compiler would read this file.

#![forbid(unsafe_code)]

use std::path::{Component, Path, PathBuf};

use crate::build::{Job, inputs};
use crate::fsutil::{self, FileId, LONGEST_TEXT};
use crate::params::resolved::{BuildParams, header_name};

use crate::process::environment;

use super::record::PchRecord;
use super::text::{self, Include, PreambleText};

/// Environment variables with search directories for headers.
pub(super) const SEARCH_PATHS: [&str; 3] = ["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"];

/// Options with search directories for headers.
const OPTIONS: [&str; 4] = ["-isystem", "-iquote", "-idirafter", "-I"];

/// Returns the preamble of the source of a job.
pub(super) fn preamble(job: &Job<'_>, source: &str) -> Option<PreambleText> {
    let dirs = search_dirs(job.params);
    let found = text::preamble(source, &|words, from| resolve(job, &dirs, words, from))?;
    // A header whose guard is defined by an option is empty.
    let mut words = job.params.flags.iter().chain(&job.params.compiler);
    let defined = words.any(|word| found.guards.iter().any(|guard| word.contains(guard)));
    (!defined).then_some(found)
}

/// Returns true if a header of a record mentions one of these guards, which were not defined when it was
/// precompiled.
pub(super) fn are_guards_mentioned(job: &Job<'_>, guards: &[String], record: &PchRecord) -> bool {
    // No other header knows the guard of a generated header.
    if guards.is_empty() || job.params.pch_headers.is_empty() {
        return false;
    }
    record.headers.keys().any(|path| {
        let Ok(data) = fsutil::read_plain(path, LONGEST_TEXT) else { return true };
        let text = String::from_utf8_lossy(&data);
        guards.iter().any(|guard| text::mentions(&text, guard))
    })
}

/// Resolves the words after an include directive in the file at `from`.
fn resolve(job: &Job<'_>, dirs: &[(&str, PathBuf)], words: &str, from: &Path) -> Include {
    let name = header_name(words);
    let path = Path::new(name);
    let named = &job.params.pch_headers;
    let is_wanted = named.is_empty() || named.iter().any(|other| other == name);
    if path.is_absolute() {
        return if is_wanted { Include::Common } else { own_header(path.to_owned()) };
    }
    if path.components().any(|part| !matches!(part, Component::Normal(_))) || name == job.source.0 {
        return Include::Unknown;
    }
    if let Some((_, text)) = job.header.filter(|(own, _)| *own == name) {
        return String::from_utf8(text.to_vec())
            .map_or(Include::Unknown, |text| Include::Ours(name.into(), text));
    }
    let mut candidates: Vec<(&str, PathBuf)> = Vec::new();
    for (option, dir) in dirs {
        let at = dir.join(path);
        if at.is_file() && !candidates.iter().any(|(_, other)| is_same(other, &at)) {
            candidates.push((option, at));
        }
    }
    let cached = job.cache_dirs.0.join(path);
    // The directory of the including file is searched first, but not from the precompiled text.
    if let Some(beside) = from.parent().filter(|dir| dir.is_absolute() && words.starts_with('"')) {
        let beside = beside.join(path);
        let searched = candidates.first().map_or(&cached, |(_, first)| first);
        if beside.is_file() && !(candidates.len() < 2 && is_same(&beside, searched)) {
            return Include::Unknown;
        }
    }
    if candidates.is_empty() && cached.is_file() {
        return own_header(cached);
    }
    let are_all_known = dirs.iter().all(|(_, dir)| dir.is_absolute());
    match candidates.as_slice() {
        _ if is_wanted => Include::Common,
        [(option, at)]
            if are_all_known && precedes_system_dirs(option, words) && !inputs::is_of_system(at) =>
        {
            own_header(at.clone())
        }
        _ => Include::Between,
    }
}

/// Returns a header whose contents are copied.
fn own_header(path: PathBuf) -> Include {
    if !path.is_file() {
        return Include::Unknown;
    }
    fsutil::read_plain_text(&path).map_or(Include::Unknown, |text| Include::Ours(path, text))
}

fn is_same(a: &Path, b: &Path) -> bool {
    FileId::of(a).is_ok_and(|id| FileId::of(b).is_ok_and(|other| other == id))
}

/// Returns true if such a directory is searched before the compiler's own.
fn precedes_system_dirs(option: &str, words: &str) -> bool {
    match option {
        "-iquote" => words.starts_with('"'),
        "-I" | "-isystem" => true,
        _ => false,
    }
}

/// Returns the named search directories for headers, each with its option or variable.
fn search_dirs(params: &BuildParams) -> Vec<(&'static str, PathBuf)> {
    let mut all = Vec::new();
    let mut before = None;
    for flag in params.compiler.iter().chain(&params.flags) {
        let option = OPTIONS.into_iter().find(|option| flag.starts_with(option));
        match (before.take(), option) {
            (Some(option), _) => all.push((option, flag.into())),
            (None, Some(option)) if flag == option => before = Some(option),
            (None, Some(option)) => all.push((option, flag[option.len()..].into())),
            (None, None) => {}
        }
    }
    all.extend(params.include_dirs.iter().map(|dir| ("-I", dir.into())));
    for name in SEARCH_PATHS {
        let value = environment::variable(name).unwrap_or_default();
        all.extend(std::env::split_paths(&value).filter(|dir| dir.is_absolute()).map(|dir| (name, dir)));
    }
    all
}

/// Returns the same directories without the options.
pub(super) fn dirs(params: &BuildParams) -> Vec<PathBuf> {
    search_dirs(params).into_iter().map(|(_, dir)| dir).collect()
}
