//! What a process answers from memory: loaded libraries, each once, and the calls that they answer.

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
use crate::sync::recover;

use super::library::Library;
use super::lock;

/// Libraries that calls with the same name and parameters are answered with. What was put in stays as it is.
///
/// A look mostly neither locks, nor allocates, nor writes anything that other threads read: each thread remembers what
/// it was told last.
pub(crate) struct HitCache {
    /// No other has it, not even when this is gone: by it threads know what they remember from here.
    number: u64,
    by_params: RwLock<HashMap<Digest32, ByName>>,
}

type ByName = HashMap<Arc<[u8]>, Library>;

/// What a thread remembers: an answer in each place, which belongs to the hash of the question.
struct Answer {
    number: u64,
    params: Digest32,
    name: Arc<[u8]>,
    library: Library,
}

/// How many answers a thread remembers, of some ninety bytes each.
const REMEMBERED: usize = 256;

thread_local! {
    static ANSWERS: RefCell<Vec<Option<Answer>>> = const { RefCell::new(Vec::new()) };
}

impl Default for HitCache {
    fn default() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self { number: NUMBERS.fetch_add(1, Ordering::Relaxed), by_params: RwLock::default() }
    }
}

impl HitCache {
    /// Gives `take` the library that such a call was answered with. Of names that cannot be there is none.
    pub(crate) fn get<T>(
        &self,
        name: &[u8],
        params: &Digest32,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        let at = self.slot(name, params);
        let is_it = |answer: &&Answer| {
            answer.number == self.number && *answer.name == *name && answer.params == *params
        };
        let mut take = Some(take);
        let remembered = ANSWERS.try_with(|answers| {
            let answers = answers.try_borrow().ok()?;
            let answer = answers.get(at)?.as_ref().filter(is_it)?;
            take.take().map(|take| take(&answer.library))
        });
        if let Ok(Some(taken)) = remembered {
            return Some(taken);
        }
        let (name, library) = {
            let by_params = recover(self.by_params.read());
            let (name, library) = by_params.get(params)?.get_key_value(name)?;
            (Arc::clone(name), library.clone())
        };
        let taken = take.map(|take| take(&library));
        let answer = Answer { number: self.number, params: *params, name, library };
        // A thread that is ending has nothing to remember.
        let _ = ANSWERS.try_with(|answers| {
            if let Ok(mut answers) = answers.try_borrow_mut() {
                if answers.is_empty() {
                    answers.resize_with(REMEMBERED, || None);
                }
                answers[at] = Some(answer);
            }
        });
        taken
    }

    fn slot(&self, name: &[u8], params: &Digest32) -> usize {
        // Of a digest any part will do.
        let [a, b, c, d, e, f, g, h, ..] = *params;
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ self.number;
        let mut hasher = FixedState::with_seed(0).build_hasher();
        hasher.write_u64(seed);
        hasher.write(name);
        usize::try_from(hasher.finish() % REMEMBERED as u64).unwrap_or_default()
    }

    pub(crate) fn put(&self, name: &str, params: Digest32, library: &Library) {
        let mut by_params = recover(self.by_params.write());
        let by_name = by_params.entry(params).or_default();
        // Where two threads have made the same call, what the first one was given stays.
        by_name.entry(name.as_bytes().into()).or_insert_with(|| library.clone());
    }
}

/// The libraries of a process by path, told apart by the digests of their files.
#[derive(Default)]
pub(super) struct LoadedLibraries {
    by_path: Mutex<HashSet<Versions>>,
}

/// At least one library, of one path: that stands in the libraries.
struct Versions(Vec<(Digest32, Library)>);

impl Versions {
    fn find(&self, digest: &Digest32, loaded: bool) -> Option<&Library> {
        let found = self.0.iter().find(|(other, library)| other == digest && library.is_loaded() == loaded);
        found.map(|(_, library)| library)
    }
}

/// By the bytes of the path, which are taken in ten times faster than its parts: all paths come from the same place.
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
    /// The library of this path and digest, as it is when it is loaded, or as it is when it is not.
    pub(super) fn get(&self, path: &Path, digest: &Digest32, loaded: bool) -> Option<Library> {
        lock(&self.by_path).get(path.as_os_str())?.find(digest, loaded).cloned()
    }

    /// Whether any library of this path has been loaded.
    pub(super) fn has(&self, path: &Path) -> bool {
        let by_path = lock(&self.by_path);
        by_path
            .get(path.as_os_str())
            .is_some_and(|versions| versions.0.iter().any(|(_, library)| library.is_loaded()))
    }

    /// Keeps a library. Gives the one that is kept: that of another thread, where it was faster.
    pub(super) fn keep(&self, digest: Digest32, library: Library) -> Library {
        let mut by_path = lock(&self.by_path);
        let mut versions =
            by_path.take(library.path().as_os_str()).unwrap_or_else(|| Versions(Vec::with_capacity(1)));
        let kept = versions.find(&digest, library.is_loaded()).cloned().unwrap_or_else(|| {
            versions.0.push((digest, library.clone()));
            library
        });
        by_path.insert(versions);
        kept
    }
}
