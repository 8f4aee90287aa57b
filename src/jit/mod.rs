//! Just-in-time building: from a name and a callback to a loaded library.
//!
//! [`ranks`] is the collective way, [`local`] the way without a communicator. Both end in `make` on a builder. [`ahead`]
//! is either of them in two parts, between which other calls can be started.

#![forbid(unsafe_code)]

mod admission;
mod build_step;
pub mod bundle;
pub mod callbacks;
mod check;
mod counting;
mod explain;
mod hit_cache;
mod isa_groups;
mod library;
mod loading;
pub mod local;
mod nested;
mod node_staging;
pub mod pending;
mod preflight;
mod quarantine;
pub mod query;
pub mod ranks;
mod removed;
mod toolchain;
mod transport;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::cache::stats::HitCounter;
use crate::cache::{Cache, Lookup, VerifiedLib, Verify};
use crate::error::{Error, Kind, Result};
use crate::load::{Loader, System};
use crate::params::resolved::Resolved;
use crate::process::{Runner, SystemRunner};
use crate::signature::Toolchain;
use crate::sync::lock;

pub use callbacks::{Callbacks, Source};
use hit_cache::{HitCache, LoadedLibraries};
pub use library::{Library, Origin};
pub use nested::is_nested;

/// What a process keeps between calls: loaded libraries, answers of compilers.
pub struct Session {
    runner: Arc<dyn Runner>,
    loader: Arc<dyn Loader>,
    /// Libraries that calls have been answered with.
    images: LoadedLibraries,
    /// Files of which libraries have been loaded that were not loaded from a cache directory.
    copies: Mutex<loading::Copies>,
    /// Caches from which leftovers of dead programs have been removed.
    swept: Mutex<HashSet<PathBuf>>,
    /// Builds that other threads of this process do.
    under_way: Mutex<pending::InFlight>,
    /// Answers of compilers by their files.
    toolchains: Mutex<HashMap<String, Toolchain>>,
    /// What calls without a communicator have been answered.
    memory: HitCache,
    /// What has been counted and not written down.
    tally: HitCounter,
    /// Signatures that frozen caches did not have.
    missing: Mutex<BTreeSet<String>>,
    /// Whether answers of compilers are noted in the cache.
    takes_notes: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self::new(Arc::new(SystemRunner), Arc::new(System))
    }
}

impl Session {
    /// A session that runs compilers and loads libraries by these.
    #[must_use]
    pub fn new(runner: Arc<dyn Runner>, loader: Arc<dyn Loader>) -> Self {
        Self {
            runner,
            loader,
            images: LoadedLibraries::default(),
            copies: Mutex::default(),
            swept: Mutex::default(),
            under_way: Mutex::default(),
            toolchains: Mutex::default(),
            memory: HitCache::default(),
            tally: HitCounter::default(),
            missing: Mutex::default(),
            takes_notes: true,
        }
    }

    /// A session that leaves caches as they are: for those who only look.
    #[must_use]
    pub fn read_only() -> Self {
        Self { takes_notes: false, ..Self::default() }
    }

    /// The session of this process.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static SESSION: std::sync::OnceLock<Session> = std::sync::OnceLock::new();
        SESSION.get_or_init(Self::default)
    }

    fn loader(&self) -> &dyn Loader {
        self.loader.as_ref()
    }

    /// Exactly this library, if it has been loaded.
    fn loaded(&self, cache: &Cache, whole: &VerifiedLib) -> Option<Library> {
        self.images.get(&cache.layout().lib(&whole.signature), &whole.digest, true)
    }

    /// Where a library that a cache has comes from: memory, if it has been loaded.
    fn origin(&self, cache: &Cache, order: &[VerifiedLib]) -> Origin {
        let loaded = order.last().is_some_and(|whole| self.loaded(cache, whole).is_some());
        if loaded { Origin::Memory } else { Origin::Disk }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The name; see [`crate::signature::check_name`].
    pub name: &'a str,
    /// The parameters.
    pub params: &'a Resolved,
}

/// The libraries to load for a signature, dependencies first; a damaged entry counts as a miss.
///
/// It is left where it is: whoever publishes sets it aside, knowing what takes its place. A rank that merely looks
/// may see damage where a network disk has not shown everything yet.
fn find(cache: &Cache, signature: &str, check: Verify) -> Result<Option<Vec<VerifiedLib>>> {
    match cache.lookup(signature, check)? {
        Lookup::Hit(order) => Ok(Some(order)),
        Lookup::Miss => Ok(None),
        Lookup::Damaged(damage) => {
            log::warn!("{} will be rebuilt: {}", cache.layout().lib(signature).display(), damage.describe());
            Ok(None)
        }
    }
}

/// How often a call looks again when what it has found is gone before it is loaded: somebody makes room in the cache.
const MAX_LOOKUPS: usize = 3;

/// Whether what was found is not there any more.
fn was_evicted(cache: &Cache, order: &[VerifiedLib]) -> bool {
    order.iter().any(|whole| !cache.layout().lib(&whole.signature).exists())
}

fn no_generator(signature: &str, root: &Path) -> Error {
    let text = format!(
        "{signature} is not (or not whole) in the cache {}, and there is no generate callback to make it",
        root.display()
    );
    Error::new(Kind::InvalidArgument, text)
}

#[cfg(test)]
mod tests;
