//! Questions about requests and entries that build nothing.

#![forbid(unsafe_code)]

use crate::build::{self, Job, toolchain};
use crate::cache::layout::Category;
use crate::cache::{Cache, Verify};
use crate::error::{Error, Kind, Result};
use crate::params::resolved::{CacheParams, Resolved};
use crate::process::exec_context::ExecContext;
use crate::signature::check_signature;

use super::library::Library;
use super::{Request, Session, find};

impl Session {
    /// The signature that a call with this request would use on this machine. The compiler may be asked what it is.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a bad name.
    pub fn signature(&self, request: Request<'_>) -> Result<String> {
        self.ticket(request).map(|ticket| ticket.signature)
    }

    /// Loads an entry of the cache by its signature, with all that it needs.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it is not there or not whole, [`Kind::Load`].
    pub fn open(&self, params: &CacheParams, signature: &str) -> Result<Library> {
        let cache = cache_of(params, signature)?;
        let order = find(&cache, signature, Verify::ForLoad)?.ok_or_else(|| {
            let text =
                format!("{signature} is not (or not whole) in the cache {}", cache.layout().root().display());
            Error::new(Kind::Cache, text)
        })?;
        let origin = self.origin(&cache, &order);
        Ok(self.load(&cache, &order, origin)?)
    }

    /// The command that would build a library, in the folder of its source, with libraries of the cache to be linked.
    /// The compiler may be asked what it is.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what is no signature.
    pub fn command(&self, params: &Resolved, signature: &str, dependencies: &[&str]) -> Result<Vec<String>> {
        let cache = cache_of(&params.cache, signature)?;
        dependencies.iter().try_for_each(|dependency| check_signature(dependency))?;
        let layout = cache.layout();
        let mut build = params.build.clone();
        let statics = toolchain::own_statics(&build, &self.toolchain(params));
        build.flags.splice(0..0, statics.map(str::to_owned));
        let files: Vec<String> =
            dependencies.iter().map(|dependency| layout.lib_basename(dependency)).collect();
        Ok(build::command_line(&Job {
            params: &build,
            signature,
            source: (&layout.src_basename(signature), b""),
            header: None,
            library: &layout.lib_basename(signature),
            dependencies: &files,
            repro_files: Vec::new(),
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
}

/// The cache that `params` names, for a signature that comes from outside.
fn cache_of(params: &CacheParams, signature: &str) -> Result<Cache> {
    check_signature(signature)?;
    Ok(Cache::new(&params.cache_dir, params))
}

/// An entry with all that has to travel with it, as the bytes that a builder sends.
///
/// # Errors
/// [`Kind::Cache`] when it is not there, not whole, or does not fit into memory.
pub fn read_binary(params: &CacheParams, signature: &str) -> Result<Vec<u8>> {
    cache_of(params, signature)?.pack(signature)
}

/// Publishes what [`read_binary`] gave, elsewhere.
///
/// # Errors
/// [`Kind::Cache`] when the bytes are not whole, bring another library, or cannot be written; the error of the builder
/// when that is what they bring.
pub fn write_binary(params: &CacheParams, signature: &str, blob: &[u8]) -> Result<()> {
    let cache = cache_of(params, signature)?;
    super::transport::publish_received(blob, signature, &cache).map_err(|error| match error.kind() {
        Kind::Callback => Error::new(Kind::Cache, error.message()),
        _ => error,
    })
}
