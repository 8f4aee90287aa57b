//! Nodes whose labels are not checked yet, and what reading them has in common.

#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::Value as Json;

use crate::plan::definition::NodeDefinition;

use super::globs::{PlanFiles, file_name, stem};
use super::problems::FileProblems;
use super::reader::{FileText, FileValue, TableReader};
use super::words::Words;

/// The longest label, in bytes.
const LABEL_LIMIT: usize = 400;

/// A node, with the lines at which its needs are.
pub(super) struct Draft {
    pub(super) node: NodeDefinition,
    pub(super) needs_lines: Vec<usize>,
    pub(super) after_lines: Vec<usize>,
}

/// Everything that reading a node takes.
pub(super) struct NodeReader<'a, 'f> {
    pub(super) base: &'a Path,
    pub(super) files: PlanFiles<'a>,
    pub(super) problems: FileProblems<'f>,
}

/// A file for which a node stands, and the words that it gives.
pub(super) struct ForEach {
    pub(super) words: Words,
    pub(super) stem: String,
}

impl NodeReader<'_, '_> {
    /// Returns the result, or adds its error as a problem of this line.
    pub(super) fn noted<T>(&mut self, line: usize, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problems.add(line, problem)).ok()
    }

    /// Replaces words in a string.
    pub(super) fn replace(&mut self, words: &Words, text: &FileText) -> Option<FileText> {
        let replaced = self.noted(text.line, words.replace(&text.text))?;
        Some(FileText { text: replaced, line: text.line })
    }

    /// Replaces words in strings.
    pub(super) fn replace_all(&mut self, words: &Words, texts: &[FileText]) -> Vec<FileText> {
        texts.iter().filter_map(|text| self.replace(words, text)).collect()
    }

    /// Returns the files of `for_each`; `None` if the table has no such key.
    pub(super) fn for_each(&mut self, table: &TableReader<'_, '_>) -> Option<Vec<ForEach>> {
        table.get("for_each")?;
        let patterns = table.texts("for_each", &mut self.problems);
        let mut paths: Vec<String> = Vec::new();
        for pattern in &patterns {
            let found = self.files.find(&pattern.text);
            if let Some(found) = self.noted(pattern.line, found) {
                paths.extend(found.iter().cloned());
            }
        }
        let mut seen = std::collections::HashSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        Some(paths.iter().map(|path| ForEach::new(path)).collect())
    }

    /// Checks a label.
    pub(super) fn check_label(&mut self, label: &FileText) -> Option<()> {
        let text = &label.text;
        let problem = if text.is_empty() {
            "it is empty".to_owned()
        } else if text.len() > LABEL_LIMIT {
            format!("it has {} bytes, {LABEL_LIMIT} are allowed", text.len())
        } else if text.trim() != text {
            "it begins or ends with a blank".to_owned()
        } else if let Some(other) = text.chars().find(|c| c.is_control() || *c == ':') {
            format!("{other:?} is not allowed in a label")
        } else {
            return Some(());
        };
        let shown: String = text.chars().take(80).collect();
        self.problems.add(label.line, format!("the label {shown:?} cannot be used: {problem}"));
        None
    }

    /// Reads the labels of a key, each once, and their lines.
    pub(super) fn labels(
        &mut self,
        key: &str,
        table: &TableReader<'_, '_>,
        words: &Words,
    ) -> (Vec<String>, Vec<usize>) {
        let texts = table.texts(key, &mut self.problems);
        let mut seen = std::collections::HashSet::new();
        let labels = self.replace_all(words, &texts).into_iter();
        labels.filter(|label| seen.insert(label.text.clone())).map(|label| (label.text, label.line)).unzip()
    }

    /// Replaces words in a value, and returns it with its line.
    pub(super) fn json(&mut self, words: &Words, value: &FileValue<'_, '_>) -> Option<Json> {
        let json = value.json(&mut self.problems)?;
        let replaced = words.replace_in_json(&json);
        self.noted(value.line, replaced)
    }

    /// Returns a value as text: a string, a number or a boolean.
    pub(super) fn scalar(&mut self, words: &Words, value: &FileValue<'_, '_>) -> Option<String> {
        match self.json(words, value)? {
            Json::String(text) => Some(text),
            json @ (Json::Number(_) | Json::Bool(_)) => Some(json.to_string()),
            _ => {
                let problem = format!("{}: expected a string, a number or a boolean", value.title);
                self.problems.add(value.line, problem);
                None
            }
        }
    }
}

impl ForEach {
    pub(super) fn new(path: &str) -> Self {
        let stem = stem(path);
        let mut words = Words::default();
        words.insert("path", path.to_owned());
        words.insert("name", file_name(path));
        words.insert("stem", stem.clone());
        Self { words, stem }
    }
}
