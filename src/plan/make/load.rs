//! Loads the libraries of a plan that is made.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use crate::cache::Cache;
use crate::cache::results::{ResultStore, TaskResult};
use crate::error::{Error, Kind, Result};
use crate::jit::callbacks::GenerateRequest;
use crate::jit::{Batch, Callbacks, CommState, Library, Session, Source};
use crate::parallel::Communicator;
use crate::params::resolved::CacheParams;
use crate::plan::graph::Plan;
use crate::plan::node::{ModuleSource, ModuleWork, NodeCall, NodeId, NodeSpec, Work};
use crate::plan::source::{linked, ready_source, result_of};
use crate::plan::view::State;

/// Returns the library of a node that is done, loaded by this process alone. Not collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a node that is no library, [`Kind::State`] for one that is not done,
/// [`Kind::Cache`], [`Kind::Load`].
pub fn library(plan: &Plan, session: &Session, node: NodeId) -> Result<Library> {
    let (spec, signature) = made(plan, node)?;
    if spec.work.is_task() {
        let text = format!("\"{}\" is a task and has no library", spec.label);
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let params = match &spec.work {
        Work::Module(module) => &module.params,
        _ => plan.params(),
    };
    let root = plan.root();
    if root == plan.params().cache.cache_dir {
        return session.open(&params.cache, &signature);
    }
    session.open(&CacheParams { cache_dir: root, ..(*params.cache).clone() }, &signature)
}

/// Reads the result of a task that is done, from the cache directory of this process. Not collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a node that is no task, [`Kind::State`] for one that is not done,
/// [`Kind::Cache`] if the result was removed or damaged, and the error of a node that has failed.
pub fn result(plan: &Plan, node: NodeId) -> Result<TaskResult> {
    made(plan, node)?;
    read_result(plan, node)
}

/// Reads the result of a task that the node of a callback needs. It is there whatever another rank, which makes
/// the same in a directory of its own, has told of that task meanwhile. Not collective.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a node that is no task; [`Kind::Cache`] if the result was removed or damaged.
pub fn need_result(call: &NodeCall<'_>, needed: NodeId) -> Result<TaskResult> {
    read_result(call.plan, needed)
}

fn read_result(plan: &Plan, node: NodeId) -> Result<TaskResult> {
    if let Some(spec) = plan.spec(node).filter(|spec| !spec.work.is_task()) {
        let text = format!("\"{}\" is a library and has no files", spec.label);
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let cache = Cache::with_shared_params(&plan.root(), &plan.params().cache);
    result_of(plan, &ResultStore::open(&cache), node)
}

/// Returns a node that is done, with its signature.
fn made(plan: &Plan, node: NodeId) -> Result<(Arc<NodeSpec>, String)> {
    let (Some(spec), Some(status)) = (plan.spec(node), plan.status(node)) else {
        let text = format!("node {node} is not in the plan {}", plan.name());
        return Err(Error::new(Kind::InvalidArgument, text));
    };
    if let Some(error) = status.error {
        return Err(error);
    }
    match (status.state, status.signature) {
        (State::Done, Some(signature)) => Ok((spec, signature)),
        _ => Err(Error::new(Kind::State, format!("\"{}\" is not made yet", spec.label))),
    }
}

/// Loads the libraries of all nodes that are done. What cannot be loaded fails.
pub fn load_libraries(plan: &Plan, session: &Session) {
    for id in done_libraries(plan) {
        if let Err(error) = library(plan, session, id) {
            fail(plan, id, error);
        }
    }
}

/// Loads the libraries of all nodes that are done, on all ranks. A library that a rank does not find, because
/// its processor needs another one, is built. What cannot be loaded fails. Collective.
///
/// # Errors
/// Those of the communicator.
pub(super) fn load_libraries_on(
    plan: &Plan,
    session: &Session,
    comm: &dyn Communicator,
    state: &CommState,
) -> Result<()> {
    for (names, ids) in batches(plan) {
        let Some(spec) = plan.spec(ids[0]) else { continue };
        let Work::Module(module) = &spec.work else { continue };
        // A text that this rank alone cannot read is an error of the call, on which all agree.
        let params = if module.is_keyed_by_text() {
            text_of(plan, ids[0], module).map(|text| module.params.with_text(text))
        } else {
            Ok((*module.params).clone())
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let batch = params.as_ref().map(|params| Batch { names: &names, params }).map_err(Clone::clone);
        let error = RefCell::new(None);
        let mut callbacks = Callbacks {
            generate: Some(Box::new(|request, source| {
                let id = ids.iter().zip(&names).find(|(_, name)| **name == request.name).map(|(id, _)| *id);
                id.map_or(Err(1), |id| {
                    generate(plan, id, request, source).inspect_err(|_| {
                        *error.borrow_mut() = source.error.clone();
                    })
                })
            })),
            ..Callbacks::default()
        };
        let loaded = session.jit_many_on(comm, state, batch, &mut callbacks);
        drop(callbacks);
        match loaded {
            Err(error) if comm.check_alive().is_err() => return Err(error),
            Err(error) => ids.iter().for_each(|id| fail(plan, *id, error.clone())),
            Ok(results) => {
                for (id, result) in ids.iter().zip(results) {
                    result.map(drop).unwrap_or_else(|error| fail(plan, *id, error));
                }
            }
        }
    }
    Ok(())
}

fn done_libraries(plan: &Plan) -> Vec<NodeId> {
    let nodes = plan.nodes();
    let is_done = |id: &NodeId| {
        let entry = &nodes.entries[*id];
        entry.status.state == State::Done && matches!(entry.spec.work, Work::Module(_)) && !entry.taken_back
    };
    (0..nodes.entries.len()).filter(is_done).collect()
}

/// Returns batches of libraries with equal parameters, in the order of the nodes: names and nodes.
fn batches(plan: &Plan) -> Vec<(Vec<String>, Vec<NodeId>)> {
    let mut all: Vec<(Vec<String>, Vec<NodeId>)> = Vec::new();
    let mut last = None;
    for id in done_libraries(plan) {
        let Some(spec) = plan.spec(id) else { continue };
        let Work::Module(module) = &spec.work else { continue };
        // What the callback of one rank has added, the others do not have.
        if spec.definer.is_some() {
            continue;
        }
        // Both are the same on all ranks, so that all make the same calls.
        let key = (!module.is_keyed_by_text()).then_some(module.params.shared_digest);
        match all.last_mut().filter(|_| key.is_some() && key == last) {
            Some((names, ids)) => {
                names.push(module.name.clone());
                ids.push(id);
            }
            None => all.push((vec![module.name.clone()], vec![id])),
        }
        last = key;
    }
    all
}

/// Returns the digest of the text of a library, which is part of its key.
fn text_of(plan: &Plan, id: NodeId, module: &ModuleWork) -> Result<crate::codec::Digest32> {
    let store = ResultStore::open(&plan.cache());
    crate::error::catch("reading a source", || ready_source(plan, &store, id, module))
        .map(|ready| ready.digest())
}

/// Generates the source of a library for a rank that does not find it.
fn generate(
    plan: &Plan,
    id: NodeId,
    request: GenerateRequest<'_>,
    source: &mut Source,
) -> std::result::Result<(), i32> {
    let Some(spec) = plan.spec(id) else { return Err(1) };
    let Work::Module(module) = &spec.work else { return Err(1) };
    match &module.source {
        ModuleSource::Generate(generate) => {
            let (signature, params) = (request.signature, request.generator);
            let call = NodeCall { plan, node: id, signature, params, added: Mutex::default() };
            let guard = plan.define_for(id);
            let result = generate(&call, source);
            drop(guard);
            result?;
            source.dependencies.extend(linked(plan, id));
        }
        _ => match ready_source(plan, &ResultStore::open(&plan.cache()), id, module) {
            Ok(ready) => ready.give(request.signature, source),
            Err(error) => {
                source.error = Some(error.message().to_owned());
                return Err(1);
            }
        },
    }
    Ok(())
}

fn fail(plan: &Plan, id: NodeId, error: Error) {
    if let Some(entry) = plan.nodes().entries.get_mut(id) {
        (entry.status.state, entry.status.error) = (State::Failed, Some(error));
    }
}
