//! Makes the plan that a definition describes.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::params::Params;
use crate::params::resolved::Resolved;

use super::definition::{
    ModuleDefinition, NodeDefinition, PlanDefinition, SourceDefinition, TaskDefinition, WorkDefinition,
};
use super::graph::{Edge, Plan, key_of_file};
use super::node::{CommandSpec, ModuleSource, ModuleWork, TaskAction, TaskWork, Work};

impl Plan {
    /// Makes the plan of a definition. `params` choose the cache, and are the parameters that the plan does not
    /// set; `overrides` are set after those of the plan and of its modules. `file` is the place of the plan, for
    /// its journal.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for labels that are taken or not there and for bad names; [`Kind::Params`] for
    /// bad parameters.
    pub fn of_definition(
        definition: &PlanDefinition,
        params: &Params,
        overrides: &[(String, String)],
        file: Option<&Path>,
    ) -> Result<Self> {
        let mut own = params.clone();
        for (key, value) in definition.params.iter().chain(overrides.iter().map(|(key, value)| (key, value)))
        {
            own.set(key, value)?;
        }
        let resolved = Arc::new(own.resolve()?);
        let key = file.map_or_else(|| definition.name.clone(), key_of_file);
        let plan = Self::with_key(&definition.name, key, Arc::clone(&resolved));
        let mut known = ResolvedParams { plan: &own, overrides, resolved, others: HashMap::new() };
        for node in &definition.nodes {
            let work = match &node.work {
                WorkDefinition::Module(module) => Work::Module(module_work(module, definition, &mut known)?),
                WorkDefinition::Task(task) => Work::Task(task_work(task, definition)),
            };
            plan.add(&node.label, work, true).map_err(|error| in_line(node, &error))?;
        }
        for (id, node) in definition.nodes.iter().enumerate() {
            let outputs = outputs_of(node);
            let uses = node.needs.iter().chain(outputs).map(|label| (label, Edge::Use));
            for (label, edge) in uses.chain(node.after.iter().map(|label| (label, Edge::After))) {
                let Some(needed) = plan.find(label) else {
                    let text = format!("\"{}\" needs \"{label}\", which is not in the plan", node.label);
                    return Err(in_line(node, &Error::new(Kind::InvalidArgument, text)));
                };
                plan.need(id, needed, edge).map_err(|error| in_line(node, &error))?;
            }
        }
        Ok(plan)
    }
}

/// Adds the line of the file to the error of a node.
fn in_line(node: &NodeDefinition, error: &Error) -> Error {
    let line = if node.line == 0 { String::new() } else { format!("line {}: ", node.line) };
    Error::new(error.kind(), format!("{line}{}", error.message()))
}

/// Returns the tasks whose outputs are the source or header of a node.
fn outputs_of(node: &NodeDefinition) -> Vec<&String> {
    let WorkDefinition::Module(module) = &node.work else { return Vec::new() };
    let sources = [Some(&module.source), module.header.as_ref()].into_iter().flatten();
    let mut tasks = Vec::new();
    for source in sources {
        if let SourceDefinition::Output { task, .. } = source {
            tasks.push(task);
        }
    }
    tasks
}

/// Resolved parameters, shared by nodes with the same ones.
struct ResolvedParams<'a> {
    plan: &'a Params,
    overrides: &'a [(String, String)],
    resolved: Arc<Resolved>,
    others: HashMap<(BTreeMap<String, String>, String), Arc<Resolved>>,
}

impl ResolvedParams<'_> {
    fn of(&mut self, module: &ModuleDefinition) -> Result<Arc<Resolved>> {
        if module.params.is_empty() && module.generator.is_empty() {
            return Ok(Arc::clone(&self.resolved));
        }
        let key = (module.params.clone(), module.generator.clone());
        if let Some(known) = self.others.get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut params = self.plan.clone();
        for (key, value) in module.params.iter().chain(self.overrides.iter().map(|(key, value)| (key, value)))
        {
            params.set(key, value)?;
        }
        if !module.generator.is_empty() {
            params.merge_json(&format!("{{\"generator\":{}}}", module.generator))?;
        }
        let resolved = Arc::new(params.resolve()?);
        self.others.insert(key, Arc::clone(&resolved));
        Ok(resolved)
    }
}

fn module_work(
    module: &ModuleDefinition,
    definition: &PlanDefinition,
    params: &mut ResolvedParams<'_>,
) -> Result<ModuleWork> {
    let params = params.of(module).map_err(|error| error.context(&format!("the library {}", module.name)))?;
    let source = ModuleSource::Defined {
        base: definition.base.clone(),
        code: module.source.clone(),
        header: module.header.clone(),
        keyed_by_text: module.keyed_by_text,
    };
    Ok(ModuleWork { name: module.name.clone(), params, source })
}

fn task_work(task: &TaskDefinition, definition: &PlanDefinition) -> TaskWork {
    let input = |path: &std::path::PathBuf| (path.display().to_string(), definition.base.join(path));
    TaskWork {
        name: task.name.clone(),
        params: serde_json::to_string(&task.params).expect("a map of strings"),
        inputs: task.inputs.iter().map(input).collect(),
        action: TaskAction::Command(CommandSpec {
            argv: task.command.clone(),
            env: task.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            outputs: task.outputs.clone(),
            copy_to: task.copy_to.as_ref().map(|directory| definition.base.join(directory)),
            timeout: task.timeout,
        }),
    }
}
