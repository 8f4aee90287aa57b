//! Reads the source of a library: its text, and what it is linked to.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use crate::cache::layout::Layout;
use crate::cache::results::{ResultStore, TaskResult};
use crate::codec::Digest32;
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::jit::callbacks::GenerateRequest;
use crate::jit::{Callbacks, Source};
use crate::params::resolved::Resolved;
use crate::signature::SourceText;

use super::definition::SourceDefinition;
use super::graph::Plan;
use super::node::{ModuleSource, ModuleWork, NodeId};
use super::renamed::{RenamedEntries, SourceNames};

/// The text of a library, with the signatures of what it is linked to.
pub(super) struct ReadySource {
    code: Arc<[u8]>,
    header: Option<Arc<[u8]>>,
    dependencies: Vec<String>,
    /// The names by which it may name itself.
    own: SourceNames,
    /// The layout of the cache, which names its header.
    layout: Layout,
}

impl ReadySource {
    /// Returns the digest of the text, for a key.
    pub(super) fn digest(&self) -> Digest32 {
        let dependencies: Vec<&str> = self.dependencies.iter().map(String::as_str).collect();
        let text =
            SourceText { code: &self.code, header: self.header.as_deref(), dependencies: &dependencies };
        text.digest()
    }

    /// Sets it as the source of a generate callback for this signature.
    pub(super) fn give(&self, signature: &str, source: &mut Source) {
        let mut renamed = RenamedEntries::default();
        renamed.add(&self.own, signature, self.layout.inc_basename(signature));
        source.code = Some(renamed.apply(self.code.to_vec()));
        source.header = self.header.as_deref().map(|header| renamed.apply(header.to_vec()));
        source.dependencies.clone_from(&self.dependencies);
    }

    /// Makes callbacks that give it.
    pub(super) fn into_callbacks(self) -> Callbacks<'static> {
        let generate = move |request: GenerateRequest<'_>, source: &mut Source| {
            self.give(request.signature, source);
            Ok(())
        };
        Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() }
    }
}

impl ModuleWork {
    /// Returns true if the text of the library is part of its key.
    pub(super) fn is_keyed_by_text(&self) -> bool {
        !matches!(self.source, ModuleSource::Generate(_) | ModuleSource::Defined { keyed_by_text: false, .. })
    }

    /// Returns the parameters of the call for the library, whose text is `ready`.
    pub(super) fn call_params(&self, params: &Resolved, ready: &ReadySource) -> Resolved {
        if self.is_keyed_by_text() { params.with_text(ready.digest()) } else { params.clone() }
    }
}

/// Returns the signatures of the libraries that a node needs.
pub(super) fn linked(plan: &Plan, id: NodeId) -> Vec<String> {
    let nodes = plan.nodes();
    let needs = nodes.entries[id].needs.iter().map(|needed| &nodes.entries[*needed]);
    let libraries = needs.filter(|entry| !entry.spec.work.is_task());
    libraries.filter_map(|entry| entry.status.signature.clone()).collect()
}

/// Returns what the needs of a node have made: digests of files, signatures of libraries.
pub(super) fn need_digests(plan: &Plan, id: NodeId) -> Vec<String> {
    let nodes = plan.nodes();
    let needs = nodes.entries[id].needs.iter().map(|needed| &nodes.entries[*needed].status);
    let made = |status: &super::node::NodeStatus| match status.digest.as_str() {
        "" => status.signature.clone().unwrap_or_default(),
        digest => digest.to_owned(),
    };
    needs.map(made).collect()
}

/// Reads the text of a library that has no callback. What it needs is done.
///
/// # Errors
/// [`Kind::Generate`] if a file or an output is not there; [`Kind::Cache`] if the cache cannot be read.
pub(super) fn ready_source(
    plan: &Plan,
    store: &ResultStore,
    id: NodeId,
    module: &ModuleWork,
) -> Result<ReadySource> {
    let (before, own) = {
        let nodes = plan.nodes();
        let entry = &nodes.entries[id];
        (entry.predecessors().collect::<Vec<_>>(), SourceNames::new(&entry.spec.label, module))
    };
    let (code, header) = match &module.source {
        ModuleSource::Text { code, header } => (Arc::clone(code), header.clone()),
        ModuleSource::Defined { base, code, header, .. } => {
            let renamed = plan.renamed(before);
            let read = |source, is_header| {
                read_source(plan, store, base, source, is_header).map(|text| renamed.apply(text))
            };
            let code = read(code, false)?;
            let header = header.as_ref().map(|header| read(header, true));
            (code.into(), header.transpose()?.map(Into::into))
        }
        ModuleSource::Generate(_) => return Err(Error::new(Kind::Internal, "a callback is no text")),
    };
    let layout = plan.cache().layout().clone();
    Ok(ReadySource { code, header, dependencies: linked(plan, id), own, layout })
}

fn read_source(
    plan: &Plan,
    store: &ResultStore,
    base: &Path,
    source: &SourceDefinition,
    is_header: bool,
) -> Result<Vec<u8>> {
    let failed = |text: String| Error::new(Kind::Generate, text);
    match source {
        SourceDefinition::Text(text) => Ok(text.clone().into_bytes()),
        SourceDefinition::File(path) => {
            let path = base.join(path);
            fsutil::read_plain(&path, fsutil::LONGEST_TEXT)
                .map_err(|error| failed(format!("cannot read the source {}: {error}", path.display())))
        }
        SourceDefinition::Output { task, file } => {
            let result = plan.find(task).map(|node| result_of(plan, store, node)).transpose()?;
            let contents = result.as_ref().and_then(|result| result.file(file));
            let none = || failed(format!("the task \"{task}\" has no output {file}"));
            contents.map(|file| file.contents.clone()).ok_or_else(none)
        }
        SourceDefinition::Entry(signature) => {
            let cache = plan.cache();
            let read =
                if is_header { cache.read_header(signature)? } else { cache.read_source(signature)? };
            read.ok_or_else(|| {
                let what = if is_header { "header" } else { "source" };
                let root = cache.layout().root().display();
                failed(format!("the {what} of {signature} is not in the cache {root}: record the plan again"))
            })
        }
    }
}

/// Reads the result of a task that is done.
///
/// # Errors
/// [`Kind::Cache`] if it is gone or damaged.
pub(super) fn result_of(plan: &Plan, store: &ResultStore, node: NodeId) -> Result<TaskResult> {
    let (label, signature) = {
        let nodes = plan.nodes();
        let entry = &nodes.entries[node];
        (entry.spec.label.clone(), entry.status.signature.clone().unwrap_or_default())
    };
    store.read(&signature)?.ok_or_else(|| {
        let text = format!("the result of \"{label}\" was removed or damaged meanwhile: make the plan again");
        Error::new(Kind::Cache, text)
    })
}
