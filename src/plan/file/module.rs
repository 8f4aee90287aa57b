//! Reads `[[module]]`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use crate::language::{LANGUAGES, Language, NAMES};
use crate::params::setting::setting;
use crate::plan::definition::{ModuleDefinition, NodeDefinition, SourceDefinition, WorkDefinition};
use crate::signature::{check_name, name_of};

use super::draft::{Draft, ForEach, NodeReader};
use super::globs::{is_pattern, stem};
use super::problems::did_you_mean;
use super::reader::{FileText, FileValue, TableReader};
use super::source::{TaskOutputs, WrittenSource};
use super::words::Words;

/// The keys of a module.
pub(super) const MODULE_KEYS: &[&str] = &[
    "label",
    "name",
    "for_each",
    "source",
    "text",
    "entry",
    "header",
    "language",
    "key",
    "needs",
    "after",
    "params",
    "generator",
];

const LANGUAGE: &str = "build.language";

/// Parameters, and section `generator` as JSON.
#[derive(Default)]
pub(super) struct PlanParams {
    pub(super) settings: BTreeMap<String, String>,
    pub(super) generator: Option<Json>,
}

impl NodeReader<'_, '_> {
    /// Reads the modules of a table: one, or one for each file of `for_each` or of the pattern `source`.
    pub(super) fn modules(&mut self, table: &TableReader<'_, '_>, tasks: &TaskOutputs<'_>) -> Vec<Draft> {
        let for_each = self.for_each(table);
        let Some(written) = self.written_source_of(table) else { return Vec::new() };
        if let Some(files) = for_each {
            let module = |file: &ForEach| self.module(table, &written, &file.words, tasks);
            return files.iter().filter_map(module).collect();
        }
        let pattern = match &written {
            WrittenSource::Place(text) if is_pattern(&text.text) && tasks.split(&text.text).is_none() => text,
            _ => return self.module(table, &written, &Words::default(), tasks).into_iter().collect(),
        };
        let found = self.files.find(&pattern.text);
        let found: Option<Rc<Vec<String>>> = self.noted(pattern.line, found);
        let mut module = |path: &String| {
            let file = WrittenSource::File(FileText { text: "{path}".to_owned(), line: pattern.line });
            self.module(table, &file, &ForEach::new(path).words, tasks)
        };
        found.iter().flat_map(|found| found.iter()).filter_map(&mut module).collect()
    }

    fn written_source_of(&mut self, table: &TableReader<'_, '_>) -> Option<WrittenSource> {
        let given = ["source", "text", "entry"].map(|key| table.get(key));
        let mut values = given.iter().flatten();
        let (first, second) = (values.next(), values.next());
        if let (Some(first), Some(second)) = (first, second) {
            self.problems
                .add(second.line, format!("{} beside {}: give one of them", second.title, first.title));
            return None;
        }
        match given {
            [Some(source), ..] => self.written_source(&source),
            [_, Some(text), _] => text.text(&mut self.problems).map(|text| WrittenSource::Text(text.text)),
            [.., Some(entry)] => entry.text(&mut self.problems).map(WrittenSource::Entry),
            _ => {
                let problem = "[[module]] has none of \"source\", \"text\" and \"entry\"";
                table.add_missing(problem, &mut self.problems);
                None
            }
        }
    }

    fn module(
        &mut self,
        table: &TableReader<'_, '_>,
        written: &WrittenSource,
        words: &Words,
        tasks: &TaskOutputs<'_>,
    ) -> Option<Draft> {
        let (mut needs, mut needs_lines) = self.labels("needs", table, words);
        let (after, after_lines) = self.labels("after", table, words);
        let params = self.module_params(table, words);
        let keyed_by_text = self.keyed_by_text(table);
        let header = table.get("header").map(|value| {
            let written = self.written_source(&value)?;
            self.source(&written, words, tasks)
        });
        let header = match header {
            Some(header) => Some(header?),
            None => None,
        };
        let source = self.source(written, words, tasks)?;
        let (label, name) = self.label_and_name(table, words, &source)?;
        let settings = self.with_language(table, words, &source, params.settings);
        for source in [Some(&source), header.as_ref()] {
            if let Some(SourceDefinition::Output { task, .. }) = source
                && !needs.contains(task)
            {
                needs.push(task.clone());
                needs_lines.push(table.line);
            }
        }
        let generator = params.generator.map_or_else(String::new, |json| json.to_string());
        let module = ModuleDefinition { name, params: settings, generator, source, header, keyed_by_text };
        let (line, work) = (table.line, WorkDefinition::Module(module));
        Some(Draft { node: NodeDefinition { label, line, needs, after, work }, needs_lines, after_lines })
    }

    /// Returns label and name. Each is the other's default; without both, the source has one.
    fn label_and_name(
        &mut self,
        table: &TableReader<'_, '_>,
        words: &Words,
        source: &SourceDefinition,
    ) -> Option<(String, String)> {
        let name = self.replaced_text("name", table, words);
        let label = self.replaced_text("label", table, words);
        let of_source = || match source {
            SourceDefinition::File(path) => Some(stem(&path.to_string_lossy())),
            SourceDefinition::Output { file, .. } => Some(stem(file)),
            SourceDefinition::Entry(signature) => Some(signature.clone()),
            SourceDefinition::Text(_) => None,
        };
        let default = || of_source().map(|text| FileText { text, line: table.line });
        let Some(label) = label.clone().or_else(|| name.clone()).or_else(default) else {
            table.add_missing("[[module]] with a text has no \"name\"", &mut self.problems);
            return None;
        };
        self.check_label(&label)?;
        let is_given = name.is_some();
        let name = name.unwrap_or_else(|| label.clone());
        // The label of an entry is by default its signature, as that is unique.
        let name = match source {
            SourceDefinition::Entry(signature) if !is_given && name.text == *signature => {
                FileText { text: name_of(signature).to_owned(), ..name }
            }
            _ => name,
        };
        let checked = check_name(&name.text).map_err(|error| {
            let hint = if is_given { "" } else { "; add a name = \"...\" for the library" };
            format!("{}{hint}", error.message())
        });
        self.noted(name.line, checked)?;
        Some((label.text, name.text))
    }

    fn keyed_by_text(&mut self, table: &TableReader<'_, '_>) -> bool {
        let Some(key) = table.text("key", &mut self.problems) else { return true };
        if key.text != "text" && key.text != "name" {
            let problem = format!(
                "\"key\" of [[module]] is \"text\" (the source is part of the key) or \"name\", not \"{}\"",
                key.text
            );
            self.problems.add(key.line, problem);
        }
        key.text != "name"
    }

    /// Adds the language: of the key `language`, else by the suffix of the source.
    fn with_language(
        &mut self,
        table: &TableReader<'_, '_>,
        words: &Words,
        source: &SourceDefinition,
        mut settings: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let path = match source {
            SourceDefinition::File(path) => path.to_string_lossy().into_owned(),
            SourceDefinition::Output { file, .. } => file.clone(),
            SourceDefinition::Text(_) | SourceDefinition::Entry(_) => String::new(),
        };
        if let Some(language) = self.replaced_text("language", table, words) {
            if Language::named(&language.text).is_some() {
                settings.insert(LANGUAGE.to_owned(), language.text);
            } else if !language.text.is_empty() {
                let hint = did_you_mean(&language.text, NAMES.into_iter());
                let problem =
                    format!("there is no language \"{}\"{hint} ({})", language.text, NAMES.join(", "));
                self.problems.add(language.line, problem);
            }
        } else if let Some(language) = language_of(&path)
            && !settings.contains_key(LANGUAGE)
        {
            settings.insert(LANGUAGE.to_owned(), language.name.to_owned());
        }
        settings
    }

    fn module_params(&mut self, table: &TableReader<'_, '_>, words: &Words) -> PlanParams {
        let mut params = PlanParams::default();
        if let Some(value) = table.get("params") {
            self.add_params(&value, words, &mut params);
        }
        if let Some(value) = table.get("generator")
            && let Some(json) = self.generator(&value, words)
        {
            self.add_generator(None, json, value.line, &mut params);
        }
        params
    }

    /// Adds the parameters of a table, whose keys may have sections as tables.
    pub(super) fn add_params(&mut self, value: &FileValue<'_, '_>, words: &Words, params: &mut PlanParams) {
        for (key, value) in value.members(|key| key.starts_with("generator"), &mut self.problems) {
            if key == "generator" {
                if let Some(json) = self.generator(&value, words) {
                    self.add_generator(None, json, value.line, params);
                }
                continue;
            }
            let Some(json) = self.json(words, &value) else { continue };
            if let Some(member) = key.strip_prefix("generator.") {
                self.add_generator(Some(member), json, value.line, params);
                continue;
            }
            let text = setting(&key, &json, self.base).map_err(|error| error.message().to_owned());
            if let Some(text) = self.noted(value.line, text)
                && params.settings.insert(key.clone(), text).is_some()
            {
                self.problems.add(value.line, format!("parameter {key} is given twice"));
            }
        }
    }

    /// Reads section `generator`: any value; a string is JSON, as for `dijitso_params_set`.
    fn generator(&mut self, value: &FileValue<'_, '_>, words: &Words) -> Option<Json> {
        match self.json(words, value)? {
            Json::String(text) => {
                let json = serde_json::from_str(&text)
                    .map_err(|error| format!("{} is a string that is not JSON: {error}", value.title));
                self.noted(value.line, json)
            }
            json => Some(json),
        }
    }

    fn add_generator(&mut self, member: Option<&str>, json: Json, line: usize, params: &mut PlanParams) {
        let problem = match (&mut params.generator, member) {
            (slot @ None, None) => {
                *slot = Some(json);
                return;
            }
            (slot @ None, Some(member)) => {
                *slot = Some(Json::Object(Map::from_iter([(member.to_owned(), json)])));
                return;
            }
            (Some(Json::Object(members)), Some(member)) if !members.contains_key(member) => {
                members.insert(member.to_owned(), json);
                return;
            }
            (Some(_), _) => "the generator parameters are given twice",
        };
        self.problems.add(line, problem);
    }
}

/// Returns the language of a source by the suffix of its name.
pub(super) fn language_of(path: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.suffixes.iter().any(|suffix| path.ends_with(suffix)))
}
