//! Reads tables of a plan file by their keys, with the line of each value.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{FileProblems, did_you_mean};

/// A value of a plan file.
#[derive(Clone, Copy)]
pub(super) struct FileValue<'t, 'i> {
    /// Its key with the table, for messages: `source of [[module]]`.
    pub(super) title: Title<'t>,
    /// Its line.
    pub(super) line: usize,
    value: &'t DeValue<'i>,
}

/// A key and the table that it is in.
#[derive(Clone, Copy)]
pub(super) struct Title<'t> {
    key: &'t str,
    table: &'static str,
}

impl std::fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" of {}", self.key, self.table)
    }
}

/// A string of a plan file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FileText {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A table of a plan file, whose keys are known.
pub(super) struct TableReader<'t, 'i> {
    /// Its line.
    pub(super) line: usize,
    /// True if it has keys that are not known.
    has_unknown: bool,
    values: BTreeMap<&'t str, FileValue<'t, 'i>>,
}

impl<'t, 'i> TableReader<'t, 'i> {
    /// Takes the values of a table. Each key that is not one of `known` is a problem.
    pub(super) fn new(
        (name, line): (&'static str, usize),
        table: &'t DeTable<'i>,
        known: &[&str],
        problems: &mut FileProblems<'_>,
    ) -> Self {
        let (mut values, mut has_unknown) = (BTreeMap::new(), false);
        for (key, value) in table {
            let (line, key) = (problems.line(key.span().start), key.get_ref().as_ref());
            if known.contains(&key) {
                // A list may begin on a later line than its key.
                let title = Title { key, table: name };
                values.insert(key, FileValue { title, line, value: value.get_ref() });
            } else {
                let hint = did_you_mean(key, known.iter().copied());
                problems.add(line, format!("{name} has no key \"{key}\"{hint}"));
                has_unknown = true;
            }
        }
        Self { line, has_unknown, values }
    }

    /// Adds the problem that something is missing, unless a key that is not known may be meant for it.
    pub(super) fn add_missing(&self, problem: &str, problems: &mut FileProblems<'_>) {
        if !self.has_unknown {
            problems.add(self.line, problem);
        }
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<FileValue<'t, 'i>> {
        self.values.get(key).copied()
    }

    /// Returns the string of a key, if it has one.
    pub(super) fn text(&self, key: &str, problems: &mut FileProblems<'_>) -> Option<FileText> {
        self.get(key)?.text(problems)
    }

    /// Returns the strings of a key: those of a list, or one. None if the key is not there.
    pub(super) fn texts(&self, key: &str, problems: &mut FileProblems<'_>) -> Vec<FileText> {
        self.get(key).map(|value| value.texts(problems)).unwrap_or_default()
    }
}

impl<'t, 'i> FileValue<'t, 'i> {
    fn wrong(&self, expected: &str, problems: &mut FileProblems<'_>) {
        let found = type_name(self.value);
        problems.add(self.line, format!("{}: expected {expected}, found {found}", self.title));
    }

    /// Returns the table.
    pub(super) fn table(&self, problems: &mut FileProblems<'_>) -> Option<&'t DeTable<'i>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong("a table", problems);
                None
            }
        }
    }

    /// Returns the table, if it is one.
    pub(super) fn as_table(&self) -> Option<&'t DeTable<'i>> {
        if let DeValue::Table(table) = self.value { Some(table) } else { None }
    }

    /// Returns true if it is a string.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Returns the string.
    pub(super) fn text(&self, problems: &mut FileProblems<'_>) -> Option<FileText> {
        match self.value {
            DeValue::String(text) => Some(FileText { text: text.clone().into_owned(), line: self.line }),
            _ => {
                self.wrong("a string", problems);
                None
            }
        }
    }

    /// Returns the strings of a list, or the only one.
    pub(super) fn texts(&self, problems: &mut FileProblems<'_>) -> Vec<FileText> {
        let DeValue::Array(items) = self.value else {
            if self.is_text() {
                return self.text(problems).into_iter().collect();
            }
            self.wrong("a list of strings", problems);
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items.iter() {
            let value = Self { line: problems.line(item.span().start), value: item.get_ref(), ..*self };
            match item.get_ref() {
                DeValue::String(text) => {
                    texts.push(FileText { text: text.clone().into_owned(), line: value.line });
                }
                _ => value.wrong("a list of strings", problems),
            }
        }
        texts
    }

    /// Returns the number, whole or not.
    pub(super) fn number(&self, problems: &mut FileProblems<'_>) -> Option<f64> {
        let number = match self.value {
            DeValue::Integer(_) | DeValue::Float(_) => self.json(problems)?.as_f64(),
            _ => None,
        };
        if number.is_none() {
            self.wrong("a number", problems);
        }
        number
    }

    /// Returns the value as JSON. Dates become strings.
    pub(super) fn json(&self, problems: &mut FileProblems<'_>) -> Option<Json> {
        to_json(self.value).map_err(|why| problems.add(self.line, format!("{}: {why}", self.title))).ok()
    }

    /// Returns the members of a table with their keys: those of tables in it as `section.name`. A member for
    /// which `is_whole` is true is not taken apart.
    pub(super) fn members(
        &self,
        is_whole: impl Fn(&str) -> bool,
        problems: &mut FileProblems<'_>,
    ) -> Vec<(String, Self)> {
        let mut members = Vec::new();
        if let Some(table) = self.table(problems) {
            self.add_members("", table, &is_whole, problems, &mut members);
        }
        members
    }

    fn add_members(
        &self,
        prefix: &str,
        table: &'t DeTable<'i>,
        is_whole: &impl Fn(&str) -> bool,
        problems: &mut FileProblems<'_>,
        members: &mut Vec<(String, Self)>,
    ) {
        for (key, value) in table {
            let line = problems.line(key.span().start);
            let name = key.get_ref().as_ref();
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            match value.get_ref() {
                DeValue::Table(inner) if !is_whole(&path) => {
                    self.add_members(&path, inner, is_whole, problems, members);
                }
                value => {
                    let title = Title { key: name, ..self.title };
                    members.push((path, Self { title, line, value }));
                }
            }
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Returns a value as JSON. The error is the reason alone.
fn to_json(value: &DeValue<'_>) -> Result<Json, String> {
    let spanned = |item: &Spanned<DeValue<'_>>| to_json(item.get_ref());
    Ok(match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Boolean(flag) => Json::from(*flag),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
            Json::from(parsed.map_err(|_| format!("{integer} does not fit into 64 bits"))?)
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            Json::Number(number.ok_or_else(|| format!("{float} is no number that can be used"))?)
        }
        DeValue::Array(items) => Json::Array(items.iter().map(spanned).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let member = |(key, item): (&Spanned<_>, _)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Ok::<_, String>((key.clone().into_owned(), spanned(item)?))
            };
            Json::Object(table.iter().map(member).collect::<Result<Map<String, Json>, _>>()?)
        }
    })
}
