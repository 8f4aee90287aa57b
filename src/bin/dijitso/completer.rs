//! Completion of words that depend on the cache: names and signatures of entries, keys of parameters, categories.
//!
//! A script of `dijitso completions` calls the command with [`VARIABLE`] set and the line that is being typed.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use dijitso::cache::Cache;
use dijitso::cache::catalog::Catalog;
use dijitso::cache::disk_usage::Row;
use dijitso::params::Params;
use dijitso::params::schema::KEYS;

use super::output::{age, count, size};

/// The variable that asks for completion.
pub(super) const VARIABLE: &str = "_DIJITSO_COMPLETE";

/// Completes names and signatures of entries.
pub(super) fn entries() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let Some(catalog) = cache_of_line().and_then(|cache| cache.catalog().ok()) else { return Vec::new() };
        entries_of(&catalog, &typed.to_string_lossy())
    })
}

/// Completes keys of parameters.
pub(super) fn keys() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| keys_with(&typed.to_string_lossy(), ""))
}

/// Completes the key of `KEY=VALUE`.
pub(super) fn settings() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| keys_with(&typed.to_string_lossy(), "="))
}

/// Completes a list of categories: the part after the last comma.
pub(super) fn categories() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let names: Vec<&str> = Row::of_kinds().map(Row::name).chain(["all"]).collect();
        list_with(&names, &typed.to_string_lossy())
    })
}

/// Returns names that begin so with the number of their entries, and signatures with their size and age. Without a
/// beginning, names only: signatures are many.
fn entries_of(catalog: &Catalog, typed: &str) -> Vec<CompletionCandidate> {
    let mut names: Vec<&str> =
        catalog.all().map(|entry| entry.name()).filter(|name| name.starts_with(typed)).collect();
    names.sort_unstable();
    let mut candidates: Vec<CompletionCandidate> = names
        .chunk_by(|a, b| a == b)
        .map(|same| {
            let entries = count(same.len(), "entry", "entries");
            CompletionCandidate::new(same[0]).help(Some(entries.into())).display_order(Some(0))
        })
        .collect();
    let by_signature =
        |signature: &str, name: &str| signature != name && !typed.is_empty() && signature.starts_with(typed);
    let mut entries: Vec<_> =
        catalog.all().filter(|entry| by_signature(&entry.signature, entry.name())).collect();
    entries.sort_by(|a, b| a.signature.cmp(&b.signature));
    candidates.extend(entries.into_iter().map(|entry| {
        let help = format!("{}, {} old", size(entry.size()), age(entry.age()));
        CompletionCandidate::new(&entry.signature).help(Some(help.into())).display_order(Some(1))
    }));
    candidates
}

fn keys_with(typed: &str, end: &str) -> Vec<CompletionCandidate> {
    KEYS.iter()
        .filter(|key| key.name.starts_with(typed))
        .map(|key| {
            CompletionCandidate::new(format!("{}{end}", key.name)).help(Some(key.help.to_owned().into()))
        })
        .collect()
}

fn list_with(names: &[&str], typed: &str) -> Vec<CompletionCandidate> {
    let begin = typed.rfind(',').map_or(0, |comma| comma + 1);
    let (before, last) = typed.split_at(begin);
    let is_new = |name: &&&str| name.starts_with(last) && !before.split(',').any(|known| known == **name);
    names.iter().filter(is_new).map(|name| CompletionCandidate::new(format!("{before}{name}"))).collect()
}

/// Returns the cache of the line that is being typed.
fn cache_of_line() -> Option<Cache> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").collect();
    let mut params = Params::new().ok()?;
    if let Some(dir) = cache_dir_of(&words) {
        params.set("cache.cache_dir", &dir).ok()?;
    }
    let params = params.resolve().ok()?;
    Some(Cache::new(&params.cache.cache_dir, &params.cache))
}

/// Returns the value of `--cache-dir`, the last if there are several.
fn cache_dir_of(words: &[OsString]) -> Option<String> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let separate =
        words.windows(2).filter(|pair| ["-r", "--cache-dir"].contains(&pair[0])).map(|pair| pair[1]);
    let joined = words.iter().filter_map(|word| word.strip_prefix("--cache-dir="));
    // The shell may leave the tilde to the command.
    let dir = joined.chain(separate).last()?;
    match (dir.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => Some(format!("{home}/{rest}")),
        _ => Some(dir.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(candidates: &[CompletionCandidate]) -> Vec<String> {
        candidates.iter().map(|one| one.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn keys_and_parts_of_lists_are_completed() {
        let keys = values(&keys_with("build.cxxflags_o", "="));
        assert_eq!(keys, ["build.cxxflags_opt="]);
        assert!(keys_with("", "").len() > 50);
        let names = ["inc", "src", "lib", "log", "all"];
        assert_eq!(values(&list_with(&names, "l")), ["lib", "log"]);
        assert_eq!(values(&list_with(&names, "src,l")), ["src,lib", "src,log"]);
        assert_eq!(values(&list_with(&names, "src,s")), [] as [&str; 0]);
    }

    #[test]
    fn the_directory_is_that_of_the_line() {
        let of = |line: &str| cache_dir_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("dijitso show p").as_deref(), None);
        assert_eq!(of("dijitso -r /c show p").as_deref(), Some("/c"));
        assert_eq!(of("dijitso --cache-dir /c show --cache-dir /d p").as_deref(), Some("/d"));
        assert_eq!(of("dijitso show --cache-dir=/e p").as_deref(), Some("/e"));
    }
}
