//! Memory hits: the libraries that a process has loaded, each once, and the calls that they answer.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use foldhash::fast::FixedState;

use crate::codec::Digest32;
use crate::sync::{lock, recover};

use super::library::Library;

/// The libraries of earlier calls, by name and parameters. An entry never changes.
///
/// A lookup mostly neither locks, nor allocates, nor writes anything that other threads read: each thread has
/// a small table of its last hits.
pub(crate) struct HitCache {
    /// Unique in the process, also after the cache is dropped: it marks the hits of this cache in the tables
    /// of threads.
    id: u64,
    by_params: RwLock<HashMap<Digest32, ByName, FixedState>>,
}

type ByName = HashMap<Arc<[u8]>, Library, FixedState>;

/// A hit in the table of a thread. Its slot follows from the hash of name and parameters.
struct MemoryHit {
    cache: u64,
    params: Digest32,
    name: Arc<[u8]>,
    library: Library,
}

/// The slots in the table of a thread, of some ninety bytes each.
const SLOTS: usize = 256;

thread_local! {
    static HITS: RefCell<Vec<Option<MemoryHit>>> = const { RefCell::new(Vec::new()) };
}

impl Default for HitCache {
    fn default() -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), by_params: RwLock::default() }
    }
}

impl HitCache {
    /// Gives `take` the library of such a call; `None` if there was none. The name may be invalid.
    pub(crate) fn get<T>(
        &self,
        name: &[u8],
        params: &Digest32,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        let slot = self.slot(name, params);
        let matches = |hit: &&MemoryHit| hit.cache == self.id && *hit.name == *name && hit.params == *params;
        let mut take = Some(take);
        let of_thread = HITS.try_with(|hits| {
            let hits = hits.try_borrow().ok()?;
            let hit = hits.get(slot)?.as_ref().filter(matches)?;
            take.take().map(|take| take(&hit.library))
        });
        if let Ok(Some(taken)) = of_thread {
            return Some(taken);
        }
        let (name, library) = {
            let by_params = recover(self.by_params.read());
            let (name, library) = by_params.get(params)?.get_key_value(name)?;
            (Arc::clone(name), library.clone())
        };
        let taken = take.map(|take| take(&library));
        let hit = MemoryHit { cache: self.id, params: *params, name, library };
        // The table of a thread that is ending is gone.
        let _ = HITS.try_with(|hits| {
            if let Ok(mut hits) = hits.try_borrow_mut() {
                if hits.is_empty() {
                    hits.resize_with(SLOTS, || None);
                }
                hits[slot] = Some(hit);
            }
        });
        taken
    }

    fn slot(&self, name: &[u8], params: &Digest32) -> usize {
        // Any part of a digest is a hash.
        let [a, b, c, d, e, f, g, h, ..] = *params;
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ self.id;
        let mut hasher = FixedState::with_seed(0).build_hasher();
        hasher.write_u64(seed);
        hasher.write(name);
        usize::try_from(hasher.finish() % SLOTS as u64).unwrap_or_default()
    }

    pub(crate) fn put(&self, name: &str, params: Digest32, library: &Library) {
        let mut by_params = recover(self.by_params.write());
        let by_name = by_params.entry(params).or_default();
        // If two threads have made the same call, the library of the first stays.
        by_name.entry(name.as_bytes().into()).or_insert_with(|| library.clone());
    }
}

/// The libraries of a process, by path and by the digest of the file.
#[derive(Default)]
pub(super) struct LoadedLibraries {
    by_path: Mutex<HashSet<Versions, FixedState>>,
}

/// The libraries of one path; at least one. The path is that of the libraries.
struct Versions(Vec<(Digest32, Library)>);

impl Versions {
    fn find(&self, digest: &Digest32, loaded: bool) -> Option<&Library> {
        let found = self.0.iter().find(|(other, library)| other == digest && library.is_loaded() == loaded);
        found.map(|(_, library)| library)
    }
}

/// Borrows the path as bytes, which are hashed ten times faster than its components. All paths come from
/// `Layout`, so the same path always has the same bytes.
impl Borrow<OsStr> for Versions {
    fn borrow(&self) -> &OsStr {
        self.0.first().map_or(OsStr::new(""), |(_, library)| library.path().as_os_str())
    }
}

impl Hash for Versions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<OsStr>::borrow(self).hash(state);
    }
}

impl PartialEq for Versions {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<OsStr>::borrow(self) == Borrow::<OsStr>::borrow(other)
    }
}

impl Eq for Versions {}

impl LoadedLibraries {
    /// Returns the library of this path and digest that is loaded, or the one that is not.
    pub(super) fn get(&self, path: &Path, digest: &Digest32, loaded: bool) -> Option<Library> {
        lock(&self.by_path).get(path.as_os_str())?.find(digest, loaded).cloned()
    }

    /// Returns whether any library of this path has been loaded.
    pub(super) fn has(&self, path: &Path) -> bool {
        let by_path = lock(&self.by_path);
        by_path
            .get(path.as_os_str())
            .is_some_and(|versions| versions.0.iter().any(|(_, library)| library.is_loaded()))
    }

    /// Stores a library. Returns the stored one, which is that of another thread if it was faster.
    pub(super) fn intern(&self, digest: Digest32, library: Library) -> Library {
        let mut by_path = lock(&self.by_path);
        let mut versions =
            by_path.take(library.path().as_os_str()).unwrap_or_else(|| Versions(Vec::with_capacity(1)));
        let interned = versions.find(&digest, library.is_loaded()).cloned().unwrap_or_else(|| {
            versions.0.push((digest, library.clone()));
            library
        });
        by_path.insert(versions);
        interned
    }
}
