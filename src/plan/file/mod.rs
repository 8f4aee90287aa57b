//! Plan files: TOML that people and programs write.
//!
//! ```text
//! [plan]      name  params                     both may be missing
//! [params]    parameters of all modules
//! [[task]]    label name for_each command inputs outputs params env needs after copy_to timeout
//! [[module]]  label name for_each source text entry header language key needs after params generator
//! source   := FILE | PATTERN | "TASK:FILE" | { file = FILE } | { task = LABEL, file = FILE }
//!           | { text = TEXT } | { entry = SIGNATURE }
//! ```
//! `docs/plan-files.md` says what each key means. Reading checks all that can be checked without running
//! anything, and looks for mistakes after the first one, too.
//!
//! Two modules of one label that are made from the same entry are one node: several programs may record what
//! they use into one file.

#![forbid(unsafe_code)]

mod draft;
mod globs;
mod labels;
mod module;
mod problems;
mod reader;
mod source;
mod task;
mod words;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Kind, Result};
use crate::human;

use super::definition::PlanDefinition;
use draft::NodeReader;
use globs::PlanFiles;
use module::{MODULE_KEYS, PlanParams};
use problems::FileProblems;
use reader::TableReader;
use source::TaskOutputs;
use task::TASK_KEYS;
use words::Words;

pub use write::{to_toml, write_plan};

/// The largest plan file.
const LARGEST: u64 = 256 << 20;

/// Reads a plan file. Relative paths in it begin at its directory.
///
/// # Errors
/// [`Kind::Params`] with file and line if it is not a plan, names files that do not exist, or cannot be read.
pub fn read_plan(path: &Path) -> Result<PlanDefinition> {
    read_plan_and_directories(path).map(|(plan, _)| plan)
}

/// Reads a plan file as [`read_plan`] does. Also returns the directories that its patterns have searched; `None`
/// if they have searched more than is known.
///
/// # Errors
/// As [`read_plan`].
pub fn read_plan_and_directories(path: &Path) -> Result<(PlanDefinition, Option<Vec<PathBuf>>)> {
    let failed = |cause: std::io::Error| {
        Error::new(Kind::Params, format!("cannot read the plan {}: {cause}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let length = file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if length as u64 > LARGEST {
        let text = format!("the plan {} has more than {}", path.display(), human::size(LARGEST));
        return Err(Error::new(Kind::Params, text));
    }
    let base = std::path::absolute(path).map_err(failed)?;
    parse(&bytes, path, base.parent().unwrap_or(Path::new("/")))
}

/// Reads a plan from the bytes of `file`. Relative paths in it begin at `base`, which is absolute.
///
/// # Errors
/// As [`read_plan`].
pub fn parse_plan(bytes: &[u8], file: &Path, base: &Path) -> Result<PlanDefinition> {
    parse(bytes, file, base).map(|(plan, _)| plan)
}

fn parse(bytes: &[u8], file: &Path, base: &Path) -> Result<(PlanDefinition, Option<Vec<PathBuf>>)> {
    let at_line = |line: usize, problem: &str| {
        Error::new(Kind::Params, format!("{}:{line}: {problem}", file.display()))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        at_line(line, "it is not UTF-8")
    })?;
    let problems = FileProblems::new(file, text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| problems.line(span.start));
        at_line(line, error.message())
    })?;
    let (plan, searched, problems) = read_tables(table.get_ref(), file, base, problems);
    problems.into_error().map_or(Ok((plan, searched)), Err)
}

fn read_tables<'f>(
    table: &DeTable<'_>,
    file: &Path,
    base: &Path,
    mut problems: FileProblems<'f>,
) -> (PlanDefinition, Option<Vec<PathBuf>>, FileProblems<'f>) {
    const TOP: &[&str] = &["plan", "params", "task", "module"];
    let top = TableReader::new(("the file", 1), table, TOP, &mut problems);
    let tasks = tables("task", TASK_KEYS, table, &mut problems);
    let modules = tables("module", MODULE_KEYS, table, &mut problems);

    let mut reader = NodeReader { base, files: PlanFiles::new(base), problems };
    let mut params = PlanParams::default();
    let plan = top.get("plan").and_then(|value| Some((value.line, value.table(&mut reader.problems)?)));
    let plan = plan.map(|(line, table)| {
        TableReader::new(("[plan]", line), table, &["name", "params"], &mut reader.problems)
    });
    let name = plan.as_ref().and_then(|plan| plan.text("name", &mut reader.problems));
    let of_plan = plan.as_ref().and_then(|plan| plan.get("params"));
    for value in of_plan.into_iter().chain(top.get("params")) {
        reader.add_params(&value, &Words::default(), &mut params);
    }

    // Modules may use tasks that come after them.
    let mut drafts: Vec<_> = tasks.iter().flat_map(|table| reader.tasks(table)).collect();
    let outputs = TaskOutputs::new(&drafts, reader.problems.is_empty());
    let of_modules: Vec<_> = modules.iter().flat_map(|table| reader.modules(table, &outputs)).collect();
    drafts.extend(of_modules);
    // In the order of the file. Nodes of one table keep theirs.
    drafts.sort_by_key(|draft| draft.node.line);
    // A node that could not be read may be needed by others.
    let nodes =
        if reader.problems.is_empty() { labels::connect(drafts, &mut reader.problems) } else { Vec::new() };

    let mut settings = params.settings;
    settings.extend(params.generator.map(|json| ("generator".to_owned(), json.to_string())));
    let name = name.map_or_else(|| stem_of(file), |name| name.text);
    let base = PathBuf::from(base);
    let searched = reader.files.searched();
    (PlanDefinition { name, base, params: settings, nodes }, searched, reader.problems)
}

fn stem_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| "plan".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Returns the tables of `[[task]]` or `[[module]]`.
fn tables<'t, 'i>(
    key: &'static str,
    known: &[&str],
    table: &'t DeTable<'i>,
    problems: &mut FileProblems<'_>,
) -> Vec<TableReader<'t, 'i>> {
    let name = if key == "task" { "[[task]]" } else { "[[module]]" };
    let Some((written, value)) = table.get_key_value(key) else { return Vec::new() };
    let DeValue::Array(items) = value.get_ref() else {
        let line = problems.line(written.span().start);
        problems.add(line, format!("\"{key}\" is not a list of tables: begin each with {name}"));
        return Vec::new();
    };
    let mut tables = Vec::with_capacity(items.len());
    for item in items.iter() {
        let line = problems.line(item.span().start);
        match item.get_ref() {
            DeValue::Table(table) => tables.push(TableReader::new((name, line), table, known, problems)),
            _ => problems
                .add(line, format!("\"{key}\" has something that is no table: begin each with {name}")),
        }
    }
    tables
}

#[cfg(test)]
mod tests;
