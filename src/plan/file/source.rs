//! Reads where the source or the header of a module is.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::plan::definition::{SourceDefinition, WorkDefinition};
use crate::signature::check_signature;

use super::draft::{Draft, NodeReader};
use super::problems::did_you_mean;
use super::reader::{FileText, FileValue, TableReader};
use super::words::Words;

/// The keys of a table in the place of a source.
const SOURCE_KEYS: &[&str] = &["file", "task", "text", "entry"];

/// A source as the plan file has it.
#[derive(Clone)]
pub(super) enum WrittenSource {
    /// A file, a pattern, or `TASK:FILE`.
    Place(FileText),
    /// A file, literally.
    File(FileText),
    /// A file of a task.
    Output { task: FileText, file: FileText },
    /// The text.
    Text(String),
    /// A signature.
    Entry(FileText),
}

/// The outputs of tasks by their labels.
pub(super) struct TaskOutputs<'d> {
    by_label: HashMap<&'d str, HashSet<&'d str>>,
    /// False if some tasks could not be read.
    is_complete: bool,
}

impl<'d> TaskOutputs<'d> {
    pub(super) fn new(tasks: &'d [Draft], is_complete: bool) -> Self {
        let outputs = |draft: &'d Draft| match &draft.node.work {
            WorkDefinition::Task(task) => {
                Some((draft.node.label.as_str(), task.outputs.iter().map(String::as_str).collect()))
            }
            WorkDefinition::Module(_) => None,
        };
        Self { by_label: tasks.iter().filter_map(outputs).collect(), is_complete }
    }

    /// Splits `TASK:FILE` at the first colon, if a task has that label.
    pub(super) fn split<'t>(&self, place: &'t str) -> Option<(&'t str, &'t str)> {
        place.split_once(':').filter(|(task, _)| self.by_label.contains_key(task))
    }

    fn check(&self, task: &str, file: &str) -> Result<(), String> {
        let Some(outputs) = self.by_label.get(task) else {
            let hint = did_you_mean(task, self.by_label.keys().copied());
            return Err(format!("there is no task \"{task}\"{hint}"));
        };
        if outputs.contains(file) {
            return Ok(());
        }
        let hint = did_you_mean(file, outputs.iter().copied());
        Err(format!("the task \"{task}\" has no output \"{file}\"{hint}"))
    }
}

impl NodeReader<'_, '_> {
    /// Reads a source as it is written.
    pub(super) fn written_source(&mut self, value: &FileValue<'_, '_>) -> Option<WrittenSource> {
        if value.is_text() {
            return value.text(&mut self.problems).map(WrittenSource::Place);
        }
        let Some(table) = value.as_table() else {
            let problem = format!(
                "{}: expected the path of a file, \"TASK:FILE\", or a table with task and file, text, or \
                 entry",
                value.title
            );
            self.problems.add(value.line, problem);
            return None;
        };
        let table = TableReader::new(("the source", value.line), table, SOURCE_KEYS, &mut self.problems);
        let [file, task, text, entry] = ["file", "task", "text", "entry"].map(|key| table.get(key).is_some());
        let problems = &mut self.problems;
        match (file, task, text, entry) {
            (true, false, false, false) => table.text("file", problems).map(WrittenSource::File),
            (true, true, false, false) => {
                let (task, file) = (table.text("task", problems), table.text("file", problems));
                Some(WrittenSource::Output { task: task?, file: file? })
            }
            (false, false, true, false) => {
                table.text("text", problems).map(|text| WrittenSource::Text(text.text))
            }
            (false, false, false, true) => table.text("entry", problems).map(WrittenSource::Entry),
            _ => {
                let problem =
                    format!("{}: name a file, a task and its file, a text, or an entry", value.title);
                self.problems.add(value.line, problem);
                None
            }
        }
    }

    /// Returns the source for these words, and checks that it exists.
    pub(super) fn source(
        &mut self,
        written: &WrittenSource,
        words: &Words,
        tasks: &TaskOutputs<'_>,
    ) -> Option<SourceDefinition> {
        match written {
            WrittenSource::Place(text) => {
                let place = self.replace(words, text)?;
                match tasks.split(&place.text) {
                    Some((task, file)) => self.output(task, file, text.line, tasks),
                    None => self.file(&place, tasks),
                }
            }
            WrittenSource::File(text) => {
                let path = self.replace(words, text)?;
                self.file(&path, tasks)
            }
            WrittenSource::Output { task, file } => {
                let (task, file) = (self.replace(words, task)?, self.replace(words, file)?);
                self.output(&task.text, &file.text, file.line, tasks)
            }
            // Braces are common in sources.
            WrittenSource::Text(text) => Some(SourceDefinition::Text(text.clone())),
            WrittenSource::Entry(text) => {
                let entry = self.replace(words, text)?;
                let checked = check_signature(&entry.text).map_err(|error| error.message().to_owned());
                self.noted(text.line, checked).map(|()| SourceDefinition::Entry(entry.text))
            }
        }
    }

    fn file(&mut self, path: &FileText, tasks: &TaskOutputs<'_>) -> Option<SourceDefinition> {
        let task = path.text.split_once(':').map(|(task, _)| task);
        if task.is_some() && !tasks.is_complete {
            return None;
        }
        let checked = self.files.check_file(&path.text).map_err(|mut problem| {
            if let Some(task) = task {
                let hint = did_you_mean(task, tasks.by_label.keys().copied());
                problem.push_str(&format!(", and there is no task \"{task}\"{hint}"));
            }
            problem
        });
        self.noted(path.line, checked).map(|()| SourceDefinition::File(PathBuf::from(&path.text)))
    }

    fn output(
        &mut self,
        task: &str,
        file: &str,
        line: usize,
        tasks: &TaskOutputs<'_>,
    ) -> Option<SourceDefinition> {
        let checked = tasks.check(task, file);
        // What is missing may be a task that could not be read.
        if checked.is_err() && !tasks.is_complete {
            return None;
        }
        self.noted(line, checked)?;
        Some(SourceDefinition::Output { task: task.to_owned(), file: file.to_owned() })
    }
}
