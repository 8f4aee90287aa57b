//! What a process answers from memory: loaded libraries, each once, and the calls that they answer.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Mutex;

use papaya::Equivalent;

use crate::wire::Digest32;

use super::library::Library;
use super::lock;

/// Libraries that calls with the same name and parameters are answered with.
///
/// A look neither locks, nor allocates, nor writes anything that other threads read.
#[derive(Default)]
pub(crate) struct Memory {
    libraries: papaya::HashMap<Call, Library, foldhash::fast::RandomState>,
}

/// What was asked for.
#[derive(PartialEq, Eq)]
struct Call {
    params: Digest32,
    name: Box<[u8]>,
}

/// What is asked for.
struct Asked<'a> {
    params: &'a Digest32,
    name: &'a [u8],
}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked { params: &self.params, name: &self.name }.hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Of a digest any part will do.
        let [a, b, c, d, e, f, g, h, ..] = *self.params;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        state.write(self.name);
    }
}

impl Equivalent<Call> for Asked<'_> {
    fn equivalent(&self, call: &Call) -> bool {
        *self.name == *call.name && *self.params == call.params
    }
}

impl Memory {
    /// Gives `take` the library that such a call was answered with. Of names that cannot be there is none.
    pub(crate) fn get<T>(
        &self,
        name: &[u8],
        params: &Digest32,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        self.libraries.pin().get(&Asked { params, name }).map(take)
    }

    pub(crate) fn put(&self, name: &str, params: Digest32, library: &Library) {
        let name = name.as_bytes().into();
        self.libraries.pin().insert(Call { params, name }, library.clone());
    }
}

/// The libraries of a process by path, told apart by the digests of their files.
#[derive(Default)]
pub(super) struct Images {
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

impl Borrow<Path> for Versions {
    fn borrow(&self) -> &Path {
        self.0.first().map_or(Path::new(""), |(_, library)| library.path())
    }
}

impl Hash for Versions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<Path>::borrow(self).hash(state);
    }
}

impl PartialEq for Versions {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<Path>::borrow(self) == Borrow::<Path>::borrow(other)
    }
}

impl Eq for Versions {}

impl Images {
    /// The library of this path and digest, as it is when it is loaded, or as it is when it is not.
    pub(super) fn get(&self, path: &Path, digest: &Digest32, loaded: bool) -> Option<Library> {
        lock(&self.by_path).get(path)?.find(digest, loaded).cloned()
    }

    /// Whether any library of this path has been loaded.
    pub(super) fn has(&self, path: &Path) -> bool {
        let by_path = lock(&self.by_path);
        by_path.get(path).is_some_and(|versions| versions.0.iter().any(|(_, library)| library.is_loaded()))
    }

    /// Keeps a library. Gives the one that is kept: that of another thread, where it was faster.
    pub(super) fn keep(&self, digest: Digest32, library: Library) -> Library {
        let mut by_path = lock(&self.by_path);
        let mut versions = by_path.take(library.path()).unwrap_or_else(|| Versions(Vec::with_capacity(1)));
        let kept = versions.find(&digest, library.is_loaded()).cloned().unwrap_or_else(|| {
            versions.0.push((digest, library.clone()));
            library
        });
        by_path.insert(versions);
        kept
    }
}
