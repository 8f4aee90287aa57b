//! The check between the build of a library and its publication: the dynamic loader accepts it.
//!
//! A build of the calling thread is loaded, from the file that is then published under its name. So its
//! initialisers run on the thread that asks for the library, like those of any other. A build of another
//! thread, one that this process must not load, or one with debug information is resolved by the loader in a
//! process of its own, which runs none of its code.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::cache::{Cache, EntryFiles, EntryView, Lookup, VerifiedLib, Verify, load_order};
use crate::error::{Error, Result};
use crate::fsutil::{self, Durability};
use crate::load::Loader;

use super::loading::Libraries;

/// A way to admit a library to the cache.
pub(super) enum Admission<'a> {
    /// By loading it into this process, for the calls to come.
    Loaded(&'a Libraries),
    /// By resolving it in another process.
    Resolved(&'a dyn Loader),
}

impl Admission<'_> {
    /// Checks a library at `staged`, in the directory of libraries of `cache`.
    ///
    /// # Errors
    /// `Kind::Load` if the loader refuses it; `Kind::Cache` if it cannot be tried.
    pub(super) fn admit(&self, cache: &Cache, files: EntryView<'_>, staged: &Path) -> Result<()> {
        // The lookup also finds out whether others can rename the libraries.
        if matches!(cache.lookup(files.signature, Verify::ForLoad)?, Lookup::Hit(_)) {
            // Another program was faster. Nothing of this build is published.
            return Ok(());
        }
        let closure = closure(cache, files)?;
        let entries: Vec<EntryView<'_>> = closure.iter().map(EntryFiles::view).chain([files]).collect();
        let order = load_order::order(&entries, files.signature)?;
        let admitted = match self {
            Self::Loaded(libraries) if cache.layout().params().load => {
                libraries.load_staged_build(cache, &entries, &order, staged)
            }
            Self::Loaded(libraries) => resolve(libraries.loader.as_ref(), cache, &entries, &order, staged),
            Self::Resolved(loader) => resolve(*loader, cache, &entries, &order, staged),
        };
        admitted.map_err(|error| {
            let path = cache.layout().lib(files.signature);
            let text = error.message().replace(&*staged.to_string_lossy(), &path.to_string_lossy());
            Error::new(error.kind(), text)
        })
    }
}

/// Reads the entries that a library is linked to.
fn closure(cache: &Cache, files: EntryView<'_>) -> Result<Vec<EntryFiles>> {
    let mut closure: Vec<EntryFiles> = Vec::new();
    for dependency in load_order::dependencies(files)? {
        for files in cache.read_closure(&dependency)? {
            if !closure.iter().any(|known| known.signature == files.signature) {
                closure.push(files);
            }
        }
    }
    Ok(closure)
}

/// Has the loader resolve a library in another process.
fn resolve(
    loader: &dyn Loader,
    cache: &Cache,
    entries: &[EntryView<'_>],
    order: &[VerifiedLib],
    staged: &Path,
) -> Result<()> {
    if cache.renamable_reason()?.is_none() {
        return loader.resolve(staged);
    }
    // Others can replace the file, and some relocations run code of a library.
    let places = cache.layout().staging_places();
    let private = fsutil::staging_dir(&places)
        .map_err(|error| Error::io("cannot make a private folder in", &places[0], &error))?;
    let mut last = staged.to_owned();
    for lib in order {
        last = private.path().join(cache.layout().lib_basename(&lib.signature));
        let bytes = load_order::library(entries, &lib.signature).unwrap_or_default();
        fsutil::publish_noclobber(&last, bytes, 0o700, Durability::Volatile)
            .map_err(|error| Error::io("cannot write", &last, &error))?;
    }
    loader.resolve(&last)
}
