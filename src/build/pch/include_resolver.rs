//! What the include directives of a preamble lead to in a build.
//!
//! A directive that stands in the precompiled text as it stands in the source is always right: a compiler finds the same
//! file there. A header is looked through only where it is certain to be the file that the compiler will read.

#![forbid(unsafe_code)]

use std::path::{Component, Path, PathBuf};

use crate::build::{Job, inputs};
use crate::fsutil::{self, FileId, LONGEST_TEXT};
use crate::params::resolved::{BuildParams, header_name};

use crate::process::environment;

use super::record::Record;
use super::text::{self, Include, Text};

/// Variables by which compilers find headers.
pub(super) const SEARCH_PATHS: [&str; 3] = ["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"];

/// Options by which directories for headers are named.
const OPTIONS: [&str; 4] = ["-isystem", "-iquote", "-idirafter", "-I"];

/// The preamble of the source of a job.
pub(super) fn preamble(job: &Job<'_>, source: &str) -> Option<Text> {
    let dirs = named(job.params);
    let found = text::preamble(source, &|words, from| look(job, &dirs, words, from))?;
    // A header whose guard an option defines is not read at all.
    let mut words = job.params.flags.iter().chain(&job.params.compiler);
    let defined = words.any(|word| found.guards.iter().any(|guard| word.contains(guard)));
    (!defined).then_some(found)
}

/// Whether one of the headers of a record has one of these names in it, which were not defined when it was read.
pub(super) fn are_asked_for(job: &Job<'_>, guards: &[String], record: &Record) -> bool {
    // Those of generated headers are known to nobody else.
    if guards.is_empty() || job.params.preamble.is_empty() {
        return false;
    }
    record.headers.keys().any(|path| {
        let Ok(data) = fsutil::read_plain(path, LONGEST_TEXT) else { return true };
        let text = String::from_utf8_lossy(&data);
        guards.iter().any(|guard| text::mentions(&text, guard))
    })
}

/// What the words after an include directive lead to in the file at `from`.
fn look(job: &Job<'_>, dirs: &[(&str, PathBuf)], words: &str, from: &Path) -> Include {
    let name = header_name(words);
    let path = Path::new(name);
    let chosen = &job.params.preamble;
    let is_wanted = chosen.is_empty() || chosen.iter().any(|other| other == name);
    if path.is_absolute() {
        return if is_wanted { Include::Common } else { ours(path.to_owned()) };
    }
    if path.components().any(|part| !matches!(part, Component::Normal(_))) || name == job.source.0 {
        return Include::Unknown;
    }
    if let Some((_, text)) = job.header.filter(|(own, _)| *own == name) {
        return String::from_utf8(text.to_vec())
            .map_or(Include::Unknown, |text| Include::Ours(name.into(), text));
    }
    let mut there: Vec<(&str, PathBuf)> = Vec::new();
    for (option, dir) in dirs {
        let at = dir.join(path);
        if at.is_file() && !there.iter().any(|(_, other)| is_same(other, &at)) {
            there.push((option, at));
        }
    }
    let cached = job.cache_dirs.0.join(path);
    // What is beside the file that includes it comes first; from the precompiled text it would be searched.
    if let Some(near) = from.parent().filter(|dir| dir.is_absolute() && words.starts_with('"')) {
        let near = near.join(path);
        let searched = there.first().map_or(&cached, |(_, first)| first);
        if near.is_file() && !(there.len() < 2 && is_same(&near, searched)) {
            return Include::Unknown;
        }
    }
    if there.is_empty() && cached.is_file() {
        return ours(cached);
    }
    let are_all_known = dirs.iter().all(|(_, dir)| dir.is_absolute());
    match there.as_slice() {
        _ if is_wanted => Include::Common,
        [(option, at)] if are_all_known && is_first(option, words) && !inputs::is_of_system(at) => {
            ours(at.clone())
        }
        _ => Include::Between,
    }
}

/// A header to be looked through.
fn ours(path: PathBuf) -> Include {
    if !path.is_file() {
        return Include::Unknown;
    }
    fsutil::read_plain_text(&path).map_or(Include::Unknown, |text| Include::Ours(path, text))
}

fn is_same(a: &Path, b: &Path) -> bool {
    FileId::of(a).is_ok_and(|id| FileId::of(b).is_ok_and(|other| other == id))
}

/// Whether what such a directory has is found before what a compiler's own directories have.
fn is_first(option: &str, words: &str) -> bool {
    match option {
        "-iquote" => words.starts_with('"'),
        "-I" | "-isystem" => true,
        _ => false,
    }
}

/// The directories for headers that somebody has named, each with the option that names it, or the variable.
fn named(params: &BuildParams) -> Vec<(&'static str, PathBuf)> {
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

/// The same without the options.
pub(super) fn searched(params: &BuildParams) -> Vec<PathBuf> {
    named(params).into_iter().map(|(_, dir)| dir).collect()
}
