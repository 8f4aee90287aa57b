//! Writes plans as plan files.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::Value as Json;

use crate::error::{Error, Kind, Result};
use crate::fsutil::OutputFile;
use crate::plan::definition::{
    ModuleDefinition, NodeDefinition, PlanDefinition, SourceDefinition, TaskDefinition, WorkDefinition,
};
use crate::toml_text::{key, list, string, value};

use super::globs::{escape_pattern, file_name};
use super::module::language_of;
use super::words::escape_words;

const FILE_MODE: u32 = 0o644;

/// Returns a plan as the text of a plan file in its directory, which [`super::read_plan`] reads back.
///
/// # Errors
/// [`Kind::InvalidArgument`] if a path is not UTF-8, or the parameters `generator` are not JSON.
pub fn to_toml(plan: &PlanDefinition) -> Result<String> {
    let mut text = format!("[plan]\nname = {}\n", string(&plan.name));
    if !plan.params.is_empty() {
        text.push_str("\n[params]\n");
        for (name, setting) in &plan.params {
            let shown = if name == "generator" { generator(setting)? } else { string(setting) };
            text.push_str(&format!("{} = {shown}\n", parameter_key(name)));
        }
    }
    for node in &plan.nodes {
        text.push_str(&node_table(node)?);
    }
    Ok(text)
}

/// Writes a plan file, in one step, in the place of one that is there.
///
/// # Errors
/// As [`to_toml`]; [`Kind::InvalidArgument`] if the file is in another directory than that of the plan, and
/// the plan has relative paths; [`Kind::Cache`] if it cannot be written.
pub fn write_plan(plan: &PlanDefinition, path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::file("cannot write", path, &error);
    let full = std::path::absolute(path).map_err(failed)?;
    if full.parent() != Some(&plan.base) && has_relative_paths(plan) {
        let text = format!(
            "{} is not in {}, where the paths of the plan begin",
            path.display(),
            plan.base.display()
        );
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let text = to_toml(plan)?;
    let mut file = OutputFile::create(path, FILE_MODE).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.finish()).map_err(failed)
}

fn has_relative_paths(plan: &PlanDefinition) -> bool {
    let is_file =
        |source: &SourceDefinition| matches!(source, SourceDefinition::File(path) if path.is_relative());
    plan.nodes.iter().any(|node| match &node.work {
        WorkDefinition::Module(module) => {
            [Some(&module.source), module.header.as_ref()].into_iter().flatten().any(is_file)
        }
        WorkDefinition::Task(task) => task.inputs.iter().chain(&task.copy_to).any(|path| path.is_relative()),
    })
}

/// Returns a node as a table, with an empty line before it.
pub(super) fn node_table(node: &NodeDefinition) -> Result<String> {
    let mut table = NodeTable(String::new());
    match &node.work {
        WorkDefinition::Module(module) => table.module(node, module)?,
        WorkDefinition::Task(task) => table.task(node, task)?,
    }
    Ok(table.0)
}

/// The text of a table.
struct NodeTable(String);

impl NodeTable {
    fn add(&mut self, name: &str, shown: &str) {
        self.0.push_str(&format!("{name} = {shown}\n"));
    }

    fn list<T: AsRef<str>>(&mut self, name: &str, items: &[T]) {
        if !items.is_empty() {
            self.add(name, &list(items));
        }
    }

    fn module(&mut self, node: &NodeDefinition, module: &ModuleDefinition) -> Result<()> {
        self.0.push_str("\n[[module]]\n");
        self.add("label", &string(&node.label));
        if module.name != node.label {
            self.add("name", &string(&module.name));
        }
        match &module.source {
            SourceDefinition::Text(text) => self.add("text", &string(text)),
            SourceDefinition::Entry(signature) => self.add("entry", &string(signature)),
            other => self.add("source", &source(other)?),
        }
        if let Some(header) = &module.header {
            self.add("header", &source(header)?);
        }
        let path = match &module.source {
            SourceDefinition::File(path) => path.to_string_lossy().into_owned(),
            SourceDefinition::Output { file, .. } => file.clone(),
            SourceDefinition::Text(_) | SourceDefinition::Entry(_) => String::new(),
        };
        if !module.params.contains_key("build.language") && language_of(&path).is_some() {
            // The suffix says nothing: the parameters do.
            self.add("language", "\"\"");
        }
        if !module.keyed_by_text {
            self.add("key", "\"name\"");
        }
        self.list("needs", &node.needs);
        self.list("after", &node.after);
        for (name, setting) in &module.params {
            self.add(&format!("params.{}", parameter_key(name)), &string(setting));
        }
        if !module.generator.is_empty() {
            self.add("generator", &generator(&module.generator)?);
        }
        Ok(())
    }

    fn task(&mut self, node: &NodeDefinition, task: &TaskDefinition) -> Result<()> {
        self.0.push_str("\n[[task]]\n");
        // Words in braces are replaced if there are parameters.
        let plain = |text: &str| if task.params.is_empty() { text.to_owned() } else { escape_words(text) };
        self.add("label", &string(&node.label));
        if task.command.first().is_none_or(|program| file_name(program) != task.name) {
            self.add("name", &string(&task.name));
        }
        let command: Vec<String> = task.command.iter().map(|word| plain(word)).collect();
        self.add("command", &list(&command));
        let inputs = task.inputs.iter().map(|path| Ok(plain(&escape_pattern(utf8(path)?))));
        self.list("inputs", &inputs.collect::<Result<Vec<String>>>()?);
        self.list("outputs", &task.outputs.iter().map(|output| plain(output)).collect::<Vec<String>>());
        self.texts("params", &task.params);
        self.texts("env", &task.env);
        self.list("needs", &node.needs);
        self.list("after", &node.after);
        if let Some(dir) = &task.copy_to {
            self.add("copy_to", &string(utf8(dir)?));
        }
        if let Some(limit) = task.timeout {
            let seconds = limit.as_secs_f64();
            self.add("timeout", &value(&Json::from(seconds)).unwrap_or_default());
        }
        Ok(())
    }

    fn texts(&mut self, name: &str, texts: &BTreeMap<String, String>) {
        for (key_of, text) in texts {
            self.add(&format!("{name}.{}", key(key_of)), &string(text));
        }
    }
}

/// Returns the key of a parameter, with its section as a table.
fn parameter_key(name: &str) -> String {
    name.split('.').map(key).collect::<Vec<_>>().join(".")
}

/// Returns section `generator` as TOML, or as a string with JSON if TOML has no such value.
fn generator(text: &str) -> Result<String> {
    let json: Json = serde_json::from_str(text).map_err(|error| {
        Error::new(Kind::InvalidArgument, format!("the generator parameters of a plan are not JSON: {error}"))
    })?;
    // A string is JSON.
    let written = if json.is_string() { None } else { value(&json) };
    Ok(written.unwrap_or_else(|| string(text)))
}

fn source(source: &SourceDefinition) -> Result<String> {
    Ok(match source {
        SourceDefinition::File(path) => match utf8(path)? {
            path if path.contains(['*', '?', '[', ':']) => format!("{{ file = {} }}", string(path)),
            path => string(path),
        },
        SourceDefinition::Text(text) => format!("{{ text = {} }}", string(text)),
        SourceDefinition::Output { task, file } => {
            format!("{{ task = {}, file = {} }}", string(task), string(file))
        }
        SourceDefinition::Entry(signature) => format!("{{ entry = {} }}", string(signature)),
    })
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let text = format!("a plan file cannot name {}, which is not UTF-8", path.display());
        Error::new(Kind::InvalidArgument, text)
    })
}
