//! The parameters that must be equal on all ranks, by key, for messages that say which of them differs.
//!
//! ```text
//! values := (bytes key, u64 count, bytes word ...) ...
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::codec::{Reader, Writer};
use crate::process::join;

use super::schema::{self, KEYS};
use super::value::Value;

/// Keys with their values as lists of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared(pub(super) Vec<(String, Vec<String>)>);

/// The same, made when a message needs it.
pub type LazyCompared = LazyLock<Compared, Box<dyn FnOnce() -> Compared + Send>>;

/// Longest value that a message shows shown, in characters.
const MAX_SHOWN: usize = 80;

/// Most differences that a message names.
const MAX_NAMED: usize = 3;

impl Compared {
    /// Encodes the values, to be sent to other ranks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        for (key, words) in &self.0 {
            writer.bytes(key.as_bytes());
            writer.u64(words.len() as u64);
            words.iter().for_each(|word| writer.bytes(word.as_bytes()));
        }
        writer.finish()
    }

    /// Decodes values; of damaged bytes, as many as can be read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let mut entry = || {
            let (key, count) = (reader.text()?.to_owned(), reader.u64()?);
            let words = (0..count).map_while(|_| Some(reader.text()?.to_owned())).collect();
            Some((key, words))
        };
        Self(std::iter::from_fn(&mut entry).collect())
    }

    /// Returns the values of section `build`, and the kind of signature, that are not the defaults of the
    /// schema, as text for [`Params::set`](super::Params::set). With these the same is built whatever the
    /// config file says.
    #[must_use]
    pub fn changed_settings(&self) -> BTreeMap<String, String> {
        let mut changed = BTreeMap::new();
        for (name, words) in &self.0 {
            let is_wanted = name.starts_with("build.") || name == "cache.signature";
            let Some(key) = schema::find(name).map(|at| &KEYS[at]).filter(|_| is_wanted) else { continue };
            let (default, text) = match key.kind.parse(key.default, None) {
                Ok(Value::List(default)) => (default, join(words)),
                Ok(default) => (vec![default.to_text()], words.concat()),
                Err(_) => continue,
            };
            if *words != default {
                changed.insert(name.clone(), text);
            }
        }
        changed
    }

    /// Describes the differences between the values of rank `here`, in `self`, and those of rank `there`, in
    /// `other`.
    #[must_use]
    pub fn difference(&self, here: usize, other: &Self, there: usize) -> String {
        let of_other = |key: &str| other.0.iter().find(|(name, _)| name == key).map(|(_, words)| words);
        let mut texts: Vec<String> = self
            .0
            .iter()
            .filter_map(|(key, words)| Some((key, words, of_other(key).filter(|other| *other != words)?)))
            .map(|(key, mine, theirs)| describe(key, (here, mine), (there, theirs)))
            .collect();
        if texts.is_empty() {
            return format!("parameters are not the same on rank {here} and rank {there}");
        }
        if texts.len() > MAX_NAMED {
            let more = texts.len() - MAX_NAMED;
            texts.truncate(MAX_NAMED);
            texts.push(format!("and {more} more parameters differ"));
        }
        texts.join(", ")
    }
}

/// Describes a key whose values differ on two ranks.
fn describe(key: &str, (here, mine): (usize, &[String]), (there, theirs): (usize, &[String])) -> String {
    // A single word is shown as it is: a quoted JSON text is hard to read.
    let shown = |words: &[String]| if let [word] = words { word.clone() } else { join(words) };
    let (a, b) = (shown(mine), shown(theirs));
    if a.chars().count().max(b.chars().count()) <= MAX_SHOWN {
        return format!("{key} is \"{a}\" on rank {here} and \"{b}\" on rank {there}");
    }
    let at = mine.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let nothing = String::new();
    let (a, b) = (mine.get(at).unwrap_or(&nothing), theirs.get(at).unwrap_or(&nothing));
    let place = if mine.len().max(theirs.len()) > 1 { format!(" in word {}", at + 1) } else { String::new() };
    let [a, b] = excerpts(a, b);
    format!("{key} differs{place}: \"{a}\" on rank {here} and \"{b}\" on rank {there}")
}

/// Cuts two texts to the part around the first difference.
fn excerpts(a: &str, b: &str) -> [String; 2] {
    const BEFORE: usize = 20;
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let longest = a.chars().count().max(b.chars().count());
    let first = if longest <= MAX_SHOWN { 0 } else { same.saturating_sub(BEFORE) };
    [a, b].map(|text| {
        let begin = if first > 0 { "..." } else { "" };
        let end = if text.chars().count() > first + MAX_SHOWN { "..." } else { "" };
        let part: String = text.chars().skip(first).take(MAX_SHOWN).collect();
        format!("{begin}{part}{end}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn compared(settings: &[(&str, &str)]) -> Compared {
        let compared = Params::for_test(settings).resolve().unwrap().compared;
        assert_eq!(Compared::decode(&compared.encode()), **compared);
        (**compared).clone()
    }

    fn difference(here: &[(&str, &str)], there: &[(&str, &str)]) -> String {
        compared(here).difference(0, &compared(there), 2)
    }

    #[test]
    fn the_key_and_both_values_are_named() {
        for (key, here, there) in [
            ("build.cxxflags", "-O2", "-O3"),
            ("parallel.buildon", "node", "root"),
            ("cache.frozen", "false", "true"),
            ("build.include_dirs", "/a", "/a /b"),
            ("build.libs", "m", ""),
            ("generator", "{\"degree\":1}", "{\"degree\":2}"),
            ("build.cxx", "g++", "ccache g++"),
        ] {
            let text = difference(&[(key, here)], &[(key, there)]);
            assert_eq!(text, format!("{key} is \"{here}\" on rank 0 and \"{there}\" on rank 2"));
        }
        let flags = difference(&[("build.cxxflags", "-Ia")], &[("build.cxxflags", "-I/d/a")]);
        assert_eq!(flags, "build.cxxflags is \"-I/c/a\" on rank 0 and \"-I/d/a\" on rank 2");
    }

    #[test]
    fn of_long_values_the_first_difference_is_shown() {
        let many = |last: &str| format!("{} {last}", "-DMACRO ".repeat(20));
        let text = difference(&[("build.cxxflags", &many("-O2"))], &[("build.cxxflags", &many("-O3"))]);
        assert_eq!(text, "build.cxxflags differs in word 21: \"-O2\" on rank 0 and \"-O3\" on rank 2");
        let text = difference(&[("build.cxxflags", &many(""))], &[("build.cxxflags", &many("-O3"))]);
        assert_eq!(text, "build.cxxflags differs in word 21: \"\" on rank 0 and \"-O3\" on rank 2");
        let json = |last: u32| format!("{{\"table\":\"{}{last}{}\"}}", "x".repeat(500), "y".repeat(200));
        let text = difference(&[("generator", &json(1))], &[("generator", &json(2))]);
        assert!(text.starts_with("generator differs: \"...xxx"), "{text}");
        assert!(text.contains("x1yyy") && text.contains("x2yyy") && text.len() < 300, "{text}");
    }

    #[test]
    fn what_is_not_in_use_is_no_difference_and_of_many_some_are_named() {
        for key in ["build.cflags", "build.cflags_opt", "build.cc", "build.cxxflags_debug", "cache.cache_dir"]
        {
            let text = difference(&[(key, "/a")], &[(key, "/b")]);
            assert_eq!(text, "parameters are not the same on rank 0 and rank 2", "{key}");
        }
        let set =
            |value| ["build.cxx", "build.libs", "build.lib_dirs", "build.rpath_dirs"].map(|key| (key, value));
        let text = difference(&set("/a"), &set("/b"));
        assert!(text.ends_with(", and 1 more parameters differ"), "{text}");
        let language = difference(&[("build.language", "c")], &[]);
        assert!(
            language.starts_with("build.language is \"c\" on rank 0 and \"cxx\" on rank 2"),
            "{language}"
        );
    }

    #[test]
    fn damaged_bytes_are_read_as_far_as_they_go() {
        let bytes = compared(&[]).encode();
        for length in 0..bytes.len() {
            let _ = Compared::decode(&bytes[..length]);
        }
    }
}
