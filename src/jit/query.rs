//! Queries about requests and entries. They build nothing.

#![forbid(unsafe_code)]

use crate::build::{self, Job, toolchain};
use crate::cache::layout::Category;
use crate::cache::{Cache, Verify};
use crate::error::{Error, Kind, Result};
use crate::params::resolved::{CacheParams, Resolved};
use crate::process::exec_context::ExecContext;
use crate::signature::check_signature;

use super::library::Library;
use super::lookup::find;
use super::session::Session;
use super::transport::publish_received;

/// Loads an entry by its signature; see [`Session::open`].
pub(super) fn open(session: &Session, params: &CacheParams, signature: &str) -> Result<Library> {
    let cache = cache_of(params, signature)?;
    let order = find(&cache, signature, Verify::ForLoad)?.ok_or_else(|| {
        let text =
            format!("{signature} is missing or damaged in the cache {}", cache.layout().root().display());
        Error::new(Kind::Cache, text)
    })?;
    let origin = session.libraries.hit_origin(&cache, &order);
    Ok(session.libraries.load(&cache, &order, origin)?)
}

/// Returns the command that would build a library; see [`Session::command`].
pub(super) fn command(
    session: &Session,
    params: &Resolved,
    signature: &str,
    dependencies: &[&str],
) -> Result<Vec<String>> {
    let cache = cache_of(&params.cache, signature)?;
    dependencies.iter().try_for_each(|dependency| check_signature(dependency))?;
    let layout = cache.layout();
    let mut build = params.build.clone();
    let statics = toolchain::own_statics(&build, &session.toolchains.get(params));
    build.flags.splice(0..0, statics.map(str::to_owned));
    let files: Vec<String> = dependencies.iter().map(|dependency| layout.lib_basename(dependency)).collect();
    Ok(build::command_line(&Job {
        params: &build,
        signature,
        source: (&layout.src_basename(signature), b""),
        header: None,
        library: &layout.lib_basename(signature),
        dependencies: &files,
        repro_files: Vec::new(),
        source_dir: &layout.dir(Category::Src),
        cache_dirs: (&layout.dir(Category::Inc), &layout.dir(Category::Lib)),
        temp_roots: &layout.staging_places(),
        copies: None,
        tracks_inputs: cache.layout().params().tracks_inputs(),
        memory_roots: &[],
        pch_store: None,
        failure_dir: &layout.failure(signature),
        context: &ExecContext::default(),
    }))
}

/// Returns the cache that `params` names, for a signature that comes from outside.
fn cache_of(params: &CacheParams, signature: &str) -> Result<Cache> {
    check_signature(signature)?;
    Ok(Cache::new(&params.cache_dir, params))
}

/// Reads an entry with its transitive dependency closure, as the bytes that a builder sends.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a bad signature; [`Kind::Cache`] if the entry is missing, damaged, or does
/// not fit into memory.
pub fn read_binary(params: &CacheParams, signature: &str) -> Result<Vec<u8>> {
    cache_of(params, signature)?.pack(signature)
}

/// Publishes the bytes of [`read_binary`] in another cache.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a bad signature; [`Kind::Cache`] if the bytes are damaged, contain another
/// library, or cannot be written; the error of the builder if they contain that.
pub fn write_binary(params: &CacheParams, signature: &str, closure: &[u8]) -> Result<()> {
    let cache = cache_of(params, signature)?;
    publish_received(closure, signature, &cache).map_err(|error| match error.kind() {
        Kind::Callback => Error::new(Kind::Cache, error.message()),
        _ => error,
    })
}
