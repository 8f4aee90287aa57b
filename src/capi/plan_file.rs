//! Plans from plan files, and plan files from plans.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::params::Params;
use crate::params::schema::KEYS;
use crate::plan::definition::{
    ModuleDefinition, NodeDefinition, PlanDefinition, SourceDefinition, WorkDefinition,
};
use crate::plan::file::{read_plan, write_plan};
use crate::plan::node::{ModuleSource, ModuleWork, NodeSpec, Work};
use crate::plan::{NodeId, Plan};
use crate::sync::lock;

use super::boundary;
use super::convert::{handle_output, invalid, text};
use super::error::dijitso_error;
use super::params::{dijitso_params, settings};
use super::plan::{dijitso_plan, plan_of};
use super::status::dijitso_status;

/// Makes the plan that a plan file describes; `dijitso make` makes the same.
///
/// @param path            The file. Relative paths in it begin at its directory. *Copied*.
/// @param params_or_null  Parameters that the file does not set, and the cache. *Copied*; NULL for the
///                        defaults.
/// @param plan_out        Receives the plan, *owned* by the caller, freed by dijitso_plan_free(). Nodes may
///                        be added to it.
/// @param error_out       Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS with the lines of the file
///         that are wrong, or if it cannot be read.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_load(
    path: *const c_char,
    params_or_null: *const dijitso_params,
    plan_out: *mut *mut dijitso_plan,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_load", || {
            let plan_out = handle_output(plan_out, "plan_out")?;
            let path = Path::new(text(path, "path")?);
            let mut own = settings(params_or_null)?;
            let definition = read_plan(path)?;
            let plan = Plan::of_definition(&definition, &own, &[], Some(path))?;
            definition.params.iter().try_for_each(|(key, value)| own.set(key, value))?;
            *plan_out = dijitso_plan::handle(plan, own, Some(definition));
            Ok(())
        })
    }
}

/// Writes a plan as a plan file, in one step, in the place of one that is there.
///
/// Nodes that callbacks have added are left out: those that add them do so again.
///
/// @param plan       *Borrowed* for the call. Its modules have texts, or come from a plan file like its
///                   tasks: callbacks cannot be written.
/// @param path       The file. *Copied*. A plan whose file has relative paths stays in its directory.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a node with a callback, which the message
///         names; or DIJITSO_ERROR_CACHE if it cannot be written.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_save(
    plan: *const dijitso_plan,
    path: *const c_char,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_save", || {
            let (plan, path) = (plan_of(plan)?, Path::new(text(path, "path")?));
            write_plan(&definition_of(plan, path)?, path)
        })
    }
}

/// Returns the definition of a plan that is to be written to `path`.
fn definition_of(plan: &dijitso_plan, path: &Path) -> Result<PlanDefinition> {
    let full = std::path::absolute(path).map_err(|error| Error::file("cannot write", path, &error))?;
    let base = full.parent().unwrap_or(Path::new("/")).to_owned();
    let (base, params, loaded) = match &plan.definition {
        Some(definition) => (definition.base.clone(), definition.params.clone(), &definition.nodes[..]),
        None => (base, changed(&plan.settings, None), &[][..]),
    };
    let mut nodes = Vec::new();
    for id in 0..plan.plan.len() {
        let Some(spec) = plan.plan.spec(id) else { continue };
        if plan.plan.is_taken_back(id) || spec.definer.is_some() {
            continue;
        }
        let work = match loaded.get(id) {
            Some(node) => node.work.clone(),
            None => WorkDefinition::Module(module_definition(plan, id, &spec)?),
        };
        let labels = |nodes: Vec<NodeId>| {
            let specs = nodes.into_iter().filter_map(|needed| plan.plan.spec(needed));
            let lasting = specs.filter(|spec| spec.definer.is_none());
            lasting.map(|spec| spec.label.clone()).collect()
        };
        let (needs, after) = (labels(plan.plan.needs(id)), labels(plan.plan.after(id)));
        nodes.push(NodeDefinition { label: spec.label.clone(), line: 0, needs, after, work });
    }
    Ok(PlanDefinition { name: plan.plan.name().to_owned(), base, params, nodes })
}

fn module_definition(plan: &dijitso_plan, id: NodeId, spec: &NodeSpec) -> Result<ModuleDefinition> {
    let callback = || {
        let text = format!("\"{}\" has a callback, which a plan file cannot have", spec.label);
        Error::new(Kind::InvalidArgument, text)
    };
    let Work::Module(ModuleWork { name, source: ModuleSource::Text { code, header }, .. }) = &spec.work
    else {
        return Err(callback());
    };
    let as_text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec());
        text.map(SourceDefinition::Text).map_err(|_| {
            invalid(format!("the text of \"{}\" is not UTF-8, which a plan file has to be", spec.label))
        })
    };
    let settings = lock(&plan.node_settings);
    let own = settings.get(&id);
    let params = own.map(|own| changed(own, Some(&plan.settings))).unwrap_or_default();
    // What the generator reads has no effect on a text, but it is part of the key.
    let generator =
        own.unwrap_or(&plan.settings).get("generator").filter(|json| json != "{}" && json != "null");
    Ok(ModuleDefinition {
        name: name.clone(),
        params,
        generator: generator.unwrap_or_default(),
        source: as_text(code)?,
        header: header.as_deref().map(as_text).transpose()?,
        keyed_by_text: true,
    })
}

/// Returns the values that are not those of `base`; without `base`, those that the program has set.
fn changed(params: &Params, base: Option<&Params>) -> BTreeMap<String, String> {
    let is_changed = |name: &&str| match base {
        Some(base) => base.get(name) != params.get(name),
        None => params.origin(name).is_some_and(|origin| *origin == crate::params::ValueOrigin::Caller),
    };
    let names = KEYS.iter().map(|key| key.name).filter(is_changed);
    names.filter_map(|name| Some((name.to_owned(), params.get(name)?))).collect()
}
