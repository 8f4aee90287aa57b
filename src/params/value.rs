//! Typed values: read from text (caller, environment, config file) and JSON, and written as both.

#![forbid(unsafe_code)]

use serde_json::Value as Json;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// A directory; `~` at the beginning is the home directory. The schema gives the meaning of an empty one.
    Dir,
    /// A relative directory below the cache directory, without `..`.
    SubDir,
    /// A part of a file name: no slash.
    FilePart,
    /// Words; text is split as a shell splits it.
    List,
    /// Directories; text is split as a shell splits it, `~` is the home directory.
    Dirs,
    /// Macros, each as NAME or NAME=VALUE; text is split as a shell splits it.
    Defines,
    /// true, false (also yes, no, on, off, 1, 0, in any case).
    Flag,
    /// A number of seconds, zero or more; fractions are allowed.
    Seconds,
    /// A whole number, zero or more.
    Count,
    /// A number of bytes, zero or more; K, M, G and T stand for powers of 1024.
    Bytes,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, directories, choices.
    Text(String),
    /// Lists.
    List(Vec<String>),
    /// Flags.
    Flag(bool),
    /// Seconds.
    Number(f64),
    /// Counts and bytes.
    Count(u64),
}

impl Type {
    /// Describes the type, for error messages and the documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Dir => "a directory".to_owned(),
            Self::SubDir => "a directory below the cache directory: relative, without \"..\"".to_owned(),
            Self::FilePart => "a part of a file name, without \"/\"".to_owned(),
            Self::List => "a list of words, split as a shell splits them".to_owned(),
            Self::Dirs => "a list of directories, split as a shell splits words".to_owned(),
            Self::Defines => "a list of NAME or NAME=VALUE, split as a shell splits words".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Seconds => "a number of seconds, zero or more".to_owned(),
            Self::Count => "a whole number, zero or more".to_owned(),
            Self::Bytes => "a number of bytes, zero or more, as 500M or 4G".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Reads a value from text. The error is the reason alone.
    pub(super) fn parse(self, text: &str, home: Option<&str>) -> Result<Value, String> {
        if text.contains('\0') {
            return Err("it holds a NUL character".to_owned());
        }
        match self {
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Dir => Ok(Value::Text(expand_home(text, home)?)),
            Self::SubDir if sub_dir_is_safe(text) => Ok(Value::Text(text.to_owned())),
            Self::FilePart if !text.contains('/') => Ok(Value::Text(text.to_owned())),
            Self::SubDir | Self::FilePart => Err(self.expected(text)),
            Self::List => Ok(Value::List(split(text)?)),
            Self::Dirs => {
                let words = split(text)?;
                Ok(Value::List(words.iter().map(|word| expand_home(word, home)).collect::<Result<_, _>>()?))
            }
            Self::Defines => defines(split(text)?),
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Flag(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Flag(false)),
                _ => Err(self.expected(text)),
            },
            Self::Seconds => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(Value::Number(number)),
                _ => Err(self.expected(text)),
            },
            Self::Count => text.parse().map(Value::Count).map_err(|_| self.expected(text)),
            Self::Bytes => bytes(text).map(Value::Count).ok_or_else(|| self.expected(text)),
            Self::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| Value::Text((*word).to_owned()))
                .ok_or_else(|| self.expected(text)),
        }
    }

    /// Reads a value from JSON: its own type, or text as in [`Type::parse`].
    pub(super) fn parse_json(self, json: &Json, home: Option<&str>) -> Result<Value, String> {
        match (self, json) {
            (_, Json::String(text)) => self.parse(text, home),
            (Self::Flag, Json::Bool(flag)) => Ok(Value::Flag(*flag)),
            (Self::Seconds | Self::Count | Self::Bytes, Json::Number(number)) => {
                self.parse(&number.to_string(), home)
            }
            (Self::List | Self::Dirs | Self::Defines, Json::Array(items)) => {
                let mut words = Vec::with_capacity(items.len());
                for item in items {
                    let word = item.as_str().ok_or_else(|| format!("{item} in the list is not a string"))?;
                    // An element is one word: only text that stands for a whole list is split.
                    let single = if self == Self::Dirs { Self::Dir } else { Self::Text };
                    match single.parse(word, home)? {
                        Value::Text(word) => words.push(word),
                        _ => unreachable!("text and directories parse to text"),
                    }
                }
                if self == Self::Defines { defines(words) } else { Ok(Value::List(words)) }
            }
            _ => Err(self.expected(&json.to_string())),
        }
    }

    fn expected(self, found: &str) -> String {
        format!("expected {}, found \"{found}\"", self.describe())
    }
}

impl Value {
    /// Returns the value as text that `Type::parse` reads back to the same value.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(words) => crate::process::join(words),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Count(count) => count.to_string(),
        }
    }

    /// Returns the value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(text.as_str()),
            Self::List(words) => Json::from(words.as_slice()),
            Self::Flag(flag) => Json::from(*flag),
            Self::Number(number) => Json::from(*number),
            Self::Count(count) => Json::from(*count),
        }
    }
}

fn split(text: &str) -> Result<Vec<String>, String> {
    // Most lists are empty.
    if text.is_empty() {
        return Ok(Vec::new());
    }
    shell_words::split(text).map_err(|_| format!("a quote in \"{text}\" is not closed"))
}

/// Checks the words of `build.defines`: they follow -D.
fn defines(words: Vec<String>) -> Result<Value, String> {
    let is_macro = |word: &String| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match words.iter().find(|word| !is_macro(word)) {
        Some(word) => Err(format!("\"{word}\" is no macro: write NAME or NAME=VALUE, without -D")),
        None => Ok(Value::List(words)),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let unit = "KMGT".find(text.chars().next_back()?.to_ascii_uppercase());
    let digits = if unit.is_some() { &text[..text.len() - 1] } else { text };
    let factor = unit.map_or(Some(1), |power| 1024_u64.checked_pow(u32::try_from(power).ok()? + 1))?;
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn expand_home(text: &str, home: Option<&str>) -> Result<String, String> {
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match home {
            Some(home) => Ok(format!("{home}{rest}")),
            None => Err(format!("\"{text}\" needs a home directory, and HOME is not set")),
        },
        _ => Ok(text.to_owned()),
    }
}

fn sub_dir_is_safe(text: &str) -> bool {
    use std::path::{Component, Path};
    !text.is_empty() && Path::new(text).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPES: [Type; 12] = [
        Type::Text,
        Type::Dir,
        Type::SubDir,
        Type::FilePart,
        Type::List,
        Type::Dirs,
        Type::Defines,
        Type::Flag,
        Type::Seconds,
        Type::Count,
        Type::Bytes,
        Type::Choice(&["root", "node"]),
    ];

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Json::from))
    }

    proptest! {
        #[test]
        fn text_that_is_accepted_reads_back_as_the_same_value(text in ".{0,40}") {
            for kind in TYPES {
                if let Ok(value) = kind.parse(&text, Some("/home/u")) {
                    let again = kind.parse(&value.to_text(), Some("/home/u")).unwrap();
                    prop_assert_eq!(&again, &value);
                    prop_assert_eq!(&kind.parse_json(&value.to_json(), Some("/home/u")).unwrap(), &value);
                }
            }
        }

        #[test]
        fn json_that_is_accepted_reads_back_as_the_same_value(json in json()) {
            for kind in TYPES {
                if let Ok(value) = kind.parse_json(&json, Some("/home/u")) {
                    prop_assert_eq!(&kind.parse_json(&value.to_json(), Some("/home/u")).unwrap(), &value);
                    prop_assert_eq!(&kind.parse(&value.to_text(), Some("/home/u")).unwrap(), &value);
                }
            }
        }

        #[test]
        fn numbers_with_and_without_a_unit(number in any::<u64>(), unit in "[kKmMgGtTxX]?") {
            let value = Type::Bytes.parse(&format!("{number}{unit}"), None);
            let power = "kmgt".find(&unit.to_lowercase()).filter(|_| !unit.is_empty());
            let expected = match (unit.is_empty(), power) {
                (true, _) => Some(number),
                (false, Some(power)) => number.checked_mul(1024 << (10 * power)),
                (false, None) => None,
            };
            prop_assert_eq!(value.ok(), expected.map(Value::Count));
        }
    }

    /// Defect C4 of the original: `cxxflags=-O2 -g` became one argument, "yes" was no boolean, `~` was
    /// expanded for some directories only.
    #[test]
    fn c4_config_values_have_their_types() {
        let list = Type::List.parse("-O2 -g '-DX=a b'", None).unwrap();
        assert_eq!(list, Value::List(vec!["-O2".into(), "-g".into(), "-DX=a b".into()]));
        assert_eq!(Type::Flag.parse("Yes", None).unwrap(), Value::Flag(true));
        assert_eq!(Type::Dir.parse("~/x", Some("/h")).unwrap(), Value::Text("/h/x".into()));
        assert_eq!(Type::Dirs.parse("~ ~other", Some("/h")).unwrap().to_text(), "/h '~other'");
        assert!(Type::Dir.parse("~/x", None).is_err());
    }

    #[test]
    fn names_cannot_leave_the_cache() {
        for text in ["", "..", "/abs", "a/../b", "./a"] {
            assert!(Type::SubDir.parse(text, None).is_err(), "{text}");
        }
        assert!(Type::FilePart.parse("../lib", None).is_err());
        assert!(Type::Text.parse("a\0b", None).is_err());
    }
}
