//! Plans of what a cache holds: each entry becomes a module that is built from the source in the cache, after
//! what it is linked to.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;

use crate::cache::Cache;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::plan_entry::PlanEntry;

use super::definition::{ModuleDefinition, NodeDefinition, PlanDefinition, SourceDefinition, WorkDefinition};

/// A plan of entries, and the entries that it could not take.
#[derive(Debug)]
pub struct CachePlan {
    /// The plan.
    pub plan: PlanDefinition,
    /// Signatures of entries that are not in it, and why.
    pub left_out: Vec<(String, String)>,
}

/// The result of reading an entry: whether it is in the plan.
type Taken = std::result::Result<(), String>;

/// Makes a plan of entries with all that they need; `words` select them as in
/// [`Catalog::select`](crate::cache::catalog::Catalog::select), `None` takes all. Its name is that of the
/// cache directory, and paths begin at `base`, though it has none.
///
/// # Errors
/// As `select`; [`Kind::Cache`] if the cache cannot be read.
pub fn plan_of_cache(cache: &Cache, words: Option<&[String]>, base: &Path) -> Result<CachePlan> {
    let catalog = cache.catalog()?;
    let mut signatures: Vec<&str> = match words {
        Some(words) => catalog.select(words)?.iter().map(|entry| entry.signature.as_str()).collect(),
        None => catalog.entries.iter().map(|entry| entry.signature.as_str()).collect(),
    };
    signatures.sort_unstable();
    let mut taken: HashMap<String, Taken> = HashMap::new();
    let (mut nodes, mut left_out) = (Vec::new(), Vec::new());
    for signature in signatures {
        add_closure(cache, signature, &mut taken, &mut nodes, &mut left_out);
    }
    let name =
        cache.layout().root().file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    Ok(CachePlan { plan: PlanDefinition { name, base, nodes, ..PlanDefinition::default() }, left_out })
}

/// Adds an entry after all that it needs. An entry without source, or that needs such a one, is left out.
fn add_closure(
    cache: &Cache,
    signature: &str,
    taken: &mut HashMap<String, Taken>,
    nodes: &mut Vec<NodeDefinition>,
    left_out: &mut Vec<(String, String)>,
) {
    let mut open = vec![(signature.to_owned(), None::<PlanEntry>)];
    while let Some((signature, read)) = open.pop() {
        if taken.contains_key(&signature) {
            continue;
        }
        let entry = match read.map_or_else(|| entry_with_source(cache, &signature), Ok) {
            Ok(entry) => entry,
            Err(reason) => {
                left_out.push((signature.clone(), reason.clone()));
                taken.insert(signature, Err(reason));
                continue;
            }
        };
        let missing: Vec<String> =
            entry.before().filter(|needed| !taken.contains_key(*needed)).cloned().collect();
        // Damaged records may need each other.
        let is_open = || open.iter().any(|(other, read)| *other == signature && read.is_some());
        if !missing.is_empty() && !is_open() {
            open.push((signature, Some(entry)));
            open.extend(missing.into_iter().rev().map(|needed| (needed, None)));
            continue;
        }
        let bad = entry.before().find(|needed| !matches!(taken.get(*needed), Some(Ok(()))));
        let result = bad.map_or(Ok(()), |needed| Err(format!("it needs {needed}, which is left out")));
        match &result {
            Ok(()) => nodes.push(node_of(entry)),
            Err(reason) => left_out.push((signature.clone(), reason.clone())),
        }
        taken.insert(signature, result);
    }
}

/// Reads an entry. The error is why it is no module.
fn entry_with_source(cache: &Cache, signature: &str) -> std::result::Result<PlanEntry, String> {
    match catch("reading an entry", || PlanEntry::read(cache, signature)) {
        Ok(Some(entry)) if entry.has_source => Ok(entry),
        Ok(Some(_)) => Err("its source is not kept (cache.src_storage)".to_owned()),
        Ok(None) => Err("it is missing, or of another version of dijitso".to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}

fn node_of(entry: PlanEntry) -> NodeDefinition {
    let source = SourceDefinition::Entry(entry.signature.clone());
    let module = ModuleDefinition {
        name: entry.name,
        params: entry.settings,
        generator: entry.generator,
        header: entry.has_header.then(|| source.clone()),
        source,
        keyed_by_text: entry.keyed_by_text,
    };
    let (needs, after, work) = (entry.needs, entry.after, WorkDefinition::Module(module));
    NodeDefinition { label: entry.signature, line: 0, needs, after, work }
}

/// Puts the text of sources and headers in the place of entries, so that the plan needs this cache no more.
///
/// # Errors
/// [`Kind::Cache`] if a text is not in the cache, or is not UTF-8.
pub fn embed_texts(plan: &mut PlanDefinition, cache: &Cache) -> Result<()> {
    for node in &mut plan.nodes {
        let WorkDefinition::Module(module) = &mut node.work else { continue };
        embed(&mut module.source, cache, false)?;
        if let Some(header) = &mut module.header {
            embed(header, cache, true)?;
        }
    }
    Ok(())
}

fn embed(source: &mut SourceDefinition, cache: &Cache, is_header: bool) -> Result<()> {
    let SourceDefinition::Entry(signature) = source else { return Ok(()) };
    let (text, kind) = if is_header {
        (cache.read_header(signature)?, "header")
    } else {
        (cache.read_source(signature)?, "source")
    };
    let failed = |why: &str| Error::new(Kind::Cache, format!("the {kind} of {signature} {why}"));
    let text = text.ok_or_else(|| failed("is not in the cache"))?;
    let text = String::from_utf8(text).map_err(|_| failed("is not UTF-8, so a plan file cannot have it"))?;
    *source = SourceDefinition::Text(text);
    Ok(())
}
