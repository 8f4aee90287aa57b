//! Selects entries by the words that people type.
//!
//! A word is, in this order: a signature; a name, for all entries of that name; a pattern with one of `* ?
//! [`, for all entries whose signature or name it matches; the beginning of one signature.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};

use super::catalog::{Catalog, Entry};

/// The number of candidates that an error lists.
const CANDIDATES: usize = 10;

impl Catalog {
    /// Returns the entries that these words select, each once, in the order of the words.
    ///
    /// # Errors
    /// As [`Catalog::matching`].
    pub fn select(&self, words: &[String]) -> Result<Vec<&Entry>> {
        let mut chosen: Vec<&Entry> = Vec::new();
        for word in words {
            for entry in self.matching(word)? {
                if !chosen.contains(&entry) {
                    chosen.push(entry);
                }
            }
        }
        Ok(chosen)
    }

    /// Returns the entries that a word selects, at least one; see the module.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it selects none (names the nearest signature) or is the beginning of several (names
    /// them); [`Kind::InvalidArgument`] for an invalid pattern.
    pub fn matching(&self, word: &str) -> Result<Vec<&Entry>> {
        if let Some(entry) = self.all().find(|entry| entry.signature == word) {
            return Ok(vec![entry]);
        }
        let by = |is_wanted: &dyn Fn(&Entry) -> bool| -> Vec<&Entry> {
            let mut found: Vec<&Entry> = self.all().filter(|entry| is_wanted(entry)).collect();
            found.sort_by(|a, b| a.signature.cmp(&b.signature));
            found
        };
        let found = by(&|entry| entry.name() == word);
        if !found.is_empty() {
            return Ok(found);
        }
        if is_glob(word) {
            let pattern = glob::Pattern::new(word).map_err(|error| {
                Error::new(Kind::InvalidArgument, format!("{word:?} is not a pattern: {}", error.msg))
            })?;
            let found = by(&|entry| pattern.matches(&entry.signature) || pattern.matches(entry.name()));
            return if found.is_empty() { Err(self.unknown(word)) } else { Ok(found) };
        }
        let found = by(&|entry| !word.is_empty() && entry.signature.starts_with(word));
        match found.as_slice() {
            [] => Err(self.unknown(word)),
            [_] => Ok(found),
            several => Err(ambiguous(word, several)),
        }
    }

    fn unknown(&self, word: &str) -> Error {
        // Comparing takes time for each pair of characters.
        let word: String = word.chars().take(250).collect();
        let likeness = |entry: &&Entry| {
            strsim::jaro_winkler(&entry.signature, &word).max(strsim::jaro_winkler(entry.name(), &word))
        };
        let nearest = self.all().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let hint = match nearest {
            Some(entry) => format!("did you mean {}?", entry.signature),
            None => "the cache is empty".to_owned(),
        };
        Error::new(Kind::Cache, format!("nothing in the cache is called {word:?}; {hint}"))
    }
}

/// Returns true if a word stands for a signature that need not be in the cache: it is the signature, its name, a
/// pattern that matches one of them, or its beginning.
#[must_use]
pub fn names(word: &str, signature: &str) -> bool {
    let name = super::super::signature::name_of(signature);
    let matches = || {
        is_glob(word)
            && glob::Pattern::new(word)
                .is_ok_and(|pattern| pattern.matches(signature) || pattern.matches(name))
    };
    word == name || (!word.is_empty() && signature.starts_with(word)) || matches()
}

/// Returns true if a word is a pattern. No name and no signature is one.
#[must_use]
pub fn is_glob(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

fn ambiguous(word: &str, several: &[&Entry]) -> Error {
    let names: Vec<&str> = several.iter().take(CANDIDATES).map(|entry| entry.signature.as_str()).collect();
    let more = several.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text =
        format!("{word:?} is the beginning of {} signatures: {}{more}", several.len(), names.join(", "));
    Error::new(Kind::Cache, format!("{text}; \"{word}*\" stands for all of them"))
}
