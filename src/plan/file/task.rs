//! Reads `[[task]]`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::definition::{NodeDefinition, TaskDefinition, WorkDefinition};

use super::draft::{Draft, ForEach, NodeReader};
use super::globs::{below, file_name};
use super::reader::{FileText, TableReader};
use super::words::Words;

/// The keys of a task.
pub(super) const TASK_KEYS: &[&str] = &[
    "label", "name", "for_each", "command", "inputs", "outputs", "params", "env", "needs", "after",
    "copy_to", "timeout",
];

impl NodeReader<'_, '_> {
    /// Reads the tasks of a table: one, or one for each file of `for_each`.
    pub(super) fn tasks(&mut self, table: &TableReader<'_, '_>) -> Vec<Draft> {
        match self.for_each(table) {
            None => self.task(table, None).into_iter().collect(),
            Some(files) => files.iter().filter_map(|file| self.task(table, Some(file))).collect(),
        }
    }

    fn task(&mut self, table: &TableReader<'_, '_>, file: Option<&ForEach>) -> Option<Draft> {
        let of_file = file.map(|file| file.words.clone()).unwrap_or_default();
        let params = self.task_params(table, &of_file);
        let mut words = of_file.clone();
        for (key, text) in &params {
            if !words.insert(key, text.clone()) {
                let problem = format!("a parameter is called {key}, and so is a word of for_each");
                self.problems.add(table.line, problem);
            }
        }
        let command = self.command(table, &words);
        let (needs, needs_lines) = self.labels("needs", table, &of_file);
        let (after, after_lines) = self.labels("after", table, &of_file);
        let (inputs, outputs) = (self.inputs(table, &words), self.outputs(table, &words));
        let env = self.env(table, &of_file);
        let copy_to = self.replaced_text("copy_to", table, &of_file).map(|text| PathBuf::from(text.text));
        let timeout = self.timeout(table);

        let command = command?;
        let name = match self.replaced_text("name", table, &of_file) {
            Some(name) => {
                self.check_label(&name)?;
                name.text
            }
            None => file_name(&command[0]),
        };
        let label = self.replaced_text("label", table, &of_file).unwrap_or_else(|| FileText {
            text: file.map_or_else(|| name.clone(), |file| format!("{name}-{}", file.stem)),
            line: table.line,
        });
        self.check_label(&label)?;
        let task = TaskDefinition { name, command, params, env, inputs, outputs, copy_to, timeout };
        let (label, line, work) = (label.text, table.line, WorkDefinition::Task(task));
        Some(Draft { node: NodeDefinition { label, line, needs, after, work }, needs_lines, after_lines })
    }

    /// Returns the string of a key, with its words replaced.
    pub(super) fn replaced_text(
        &mut self,
        key: &str,
        table: &TableReader<'_, '_>,
        words: &Words,
    ) -> Option<FileText> {
        let text = table.text(key, &mut self.problems)?;
        self.replace(words, &text)
    }

    fn command(&mut self, table: &TableReader<'_, '_>, words: &Words) -> Option<Vec<String>> {
        let Some(value) = table.get("command") else {
            table.add_missing("[[task]] has no \"command\"", &mut self.problems);
            return None;
        };
        let texts = if value.is_text() {
            let text = value.text(&mut self.problems)?;
            let split = shell_words::split(&text.text)
                .map_err(|_| format!("{}: a quote in it is not closed", value.title));
            let split = self.noted(text.line, split)?;
            split.into_iter().map(|text| FileText { text, line: value.line }).collect()
        } else {
            value.texts(&mut self.problems)
        };
        let words = self.replace_all(words, &texts);
        if words.len() < texts.len() {
            return None;
        }
        if words.first().is_none_or(|program| program.text.is_empty()) {
            self.problems.add(value.line, format!("{} names no program", value.title));
            return None;
        }
        if let Some(word) = words.iter().find(|word| word.text.contains('\0')) {
            self.problems.add(word.line, format!("{} holds a NUL character", value.title));
            return None;
        }
        Some(words.into_iter().map(|word| word.text).collect())
    }

    fn task_params(&mut self, table: &TableReader<'_, '_>, words: &Words) -> BTreeMap<String, String> {
        let Some(value) = table.get("params") else { return BTreeMap::new() };
        let members = value.members(|_| false, &mut self.problems);
        let text = |(key, value)| Some((key, self.scalar(words, &value)?));
        members.into_iter().filter_map(text).collect()
    }

    fn env(&mut self, table: &TableReader<'_, '_>, words: &Words) -> BTreeMap<String, String> {
        let Some(value) = table.get("env") else { return BTreeMap::new() };
        let mut env = BTreeMap::new();
        for (name, value) in value.members(|_| false, &mut self.problems) {
            let Some(text) = self.scalar(words, &value) else { continue };
            if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
                self.problems.add(value.line, format!("{name:?} cannot be an environment variable"));
            } else {
                env.insert(name, text);
            }
        }
        env
    }

    fn inputs(&mut self, table: &TableReader<'_, '_>, words: &Words) -> Vec<PathBuf> {
        let mut inputs = Vec::new();
        let mut seen = HashSet::new();
        for text in table.texts("inputs", &mut self.problems) {
            let replaced = words.replace_in_pattern(&text.text);
            let Some(pattern) = self.noted(text.line, replaced) else { continue };
            let found = self.files.find(&pattern);
            let Some(found) = self.noted(text.line, found) else { continue };
            let new = found.iter().map(|path| below(path).unwrap_or_else(|| path.clone()));
            inputs.extend(new.filter(|path| seen.insert(path.clone())).map(PathBuf::from));
        }
        inputs
    }

    fn outputs(&mut self, table: &TableReader<'_, '_>, words: &Words) -> Vec<String> {
        let mut outputs: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        for text in table.texts("outputs", &mut self.problems) {
            let FileText { text: written, line } = &text;
            let Some(path) = self.replace(words, &text) else { continue };
            let path = path.text;
            let checked = match below(&path) {
                Some(_) if written.contains('*') => {
                    Err(format!("the output {written} is a pattern: name each output"))
                }
                Some(path) if seen.insert(path.clone()) => Ok(path),
                Some(path) => Err(format!("the output {path} is named twice")),
                None => Err(format!("the output {path:?} is no path below the folder of the command")),
            };
            outputs.extend(self.noted(*line, checked));
        }
        outputs
    }

    fn timeout(&mut self, table: &TableReader<'_, '_>) -> Option<Duration> {
        let value = table.get("timeout")?;
        let seconds = value.number(&mut self.problems)?;
        let limit = Duration::try_from_secs_f64(seconds);
        let problem = |_| format!("{}: expected a number of seconds, zero or more", value.title);
        // Zero waits for ever, as it does for build.timeout.
        self.noted(value.line, limit.map_err(problem)).filter(|limit| !limit.is_zero())
    }
}
