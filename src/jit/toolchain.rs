//! What the compiler is, asked at most once per compiler and cache.

#![forbid(unsafe_code)]

use crate::build::toolchain;
use crate::cache::Cache;
use crate::params::resolved::Resolved;
use crate::signature::Toolchain;

use super::{Session, lock};

impl Session {
    /// From memory, from the cache, or by running the compiler; never an error, because a hit needs no compiler.
    ///
    /// When the compiler is not there, it is taken for what it was when this cache last saw it.
    pub(super) fn toolchain(&self, params: &Resolved) -> Toolchain {
        let compiler = toolchain::inspect(&params.build);
        let cache = Cache::new(&params.cache.cache_dir, &params.cache);
        let saved =
            |key: &str| cache.read_toolchain(key).ok().flatten().and_then(|data| toolchain::decode(&data));
        let Some(key) = &compiler.file_key else {
            return saved(&compiler.command_key).unwrap_or_else(Toolchain::unknown);
        };
        if let Some(known) = lock(&self.toolchains).get(key) {
            return known.clone();
        }
        let found = saved(key).unwrap_or_else(|| {
            let found = toolchain::probe(&params.build, self.runner.as_ref());
            let record = toolchain::encode(&params.build, &found);
            for key in [key, &compiler.command_key] {
                // Without a record the next program asks again.
                let written = cache.write_toolchain(key, &record);
                written.unwrap_or_else(|error| log::info!("{error}"));
            }
            found
        });
        lock(&self.toolchains).insert(key.clone(), found.clone());
        found
    }
}
