//! What a library has to pass between its build and its publication: the dynamic loader takes it.
//!
//! A build of the calling thread is loaded, from the file that is published under its name afterwards. So its
//! initialisers run on the thread that asks for the library, as those of any other. A build of another thread, or one
//! that this process must not load, is resolved by the loader in a process of its own and runs nothing.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::cache::{Cache, EntryFiles, EntryView, Lookup, VerifiedLib, Verify, load_order};
use crate::error::{Error, Result};
use crate::fsutil::{self, Durability};
use crate::load::Loader;

use super::loading::Place;
use super::{Origin, Session};

/// How a library is admitted to the cache.
pub(super) enum Admission<'a> {
    /// It is loaded into this process, for the calls to come.
    Loaded(&'a Session),
    /// It is resolved in another process.
    Resolved(&'a dyn Loader),
}

impl Admission<'_> {
    /// Checks a library that lies at `staged`, in the directory of libraries of `cache`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Load`] if the loader refuses it; [`crate::error::Kind::Cache`] if it cannot be tried.
    pub(super) fn admit(&self, cache: &Cache, files: EntryView<'_>, staged: &Path) -> Result<()> {
        // The look sees how firmly the libraries stand, too.
        if matches!(cache.lookup(files.signature, Verify::ForLoad)?, Lookup::Hit(_)) {
            // Another program was faster. Nothing of this build is published.
            return Ok(());
        }
        let closure = closure(cache, files)?;
        let entries: Vec<EntryView<'_>> = closure.iter().map(EntryFiles::view).chain([files]).collect();
        let order = load_order::order(&entries, files.signature)?;
        let named = |error: Error| {
            let path = cache.layout().lib(files.signature);
            let text = error.message().replace(&*staged.to_string_lossy(), &path.to_string_lossy());
            Error::new(error.kind(), text)
        };
        match self {
            Self::Loaded(session) if cache.layout().params().load => {
                session.load_staged_build(cache, &entries, &order, staged).map_err(named)
            }
            Self::Loaded(session) => {
                resolve(session.loader(), cache, &entries, &order, staged).map_err(named)
            }
            Self::Resolved(loader) => resolve(*loader, cache, &entries, &order, staged).map_err(named),
        }
    }
}

/// The entries of what a library is linked to.
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
    if cache.is_loose()?.is_none() {
        return loader.resolve(staged);
    }
    // Others can put another file in its place, and some relocations run code of a library.
    let places = cache.layout().staging_places();
    let private = fsutil::staging_dir(&places)
        .map_err(|error| Error::io("cannot make a private folder in", &places[0], &error))?;
    let mut last = staged.to_owned();
    for whole in order {
        last = private.path().join(cache.layout().lib_basename(&whole.signature));
        let bytes = load_order::library(entries, &whole.signature).unwrap_or_default();
        fsutil::publish_noclobber(&last, bytes, 0o700, Durability::Volatile)
            .map_err(|error| Error::io("cannot write", &last, &error))?;
    }
    loader.resolve(&last)
}

impl Session {
    /// Loads a library that has just been built from the file that is to be published.
    fn load_staged_build(
        &self,
        cache: &Cache,
        entries: &[EntryView<'_>],
        order: &[VerifiedLib],
        staged: &Path,
    ) -> Result<()> {
        let Some((last, dependencies)) = order.split_last() else { return Ok(()) };
        match self.place(cache, order)? {
            Place::Real(real) => {
                if !dependencies.is_empty() {
                    self.load_in_place(cache, dependencies, &real, Origin::Disk)?;
                }
                let file = real.join(staged.file_name().unwrap_or_default());
                let image = self.loader.load(&file)?;
                self.intern(cache, last, Some(image), Origin::Built);
            }
            Place::Copies(why) => {
                self.load_copies(entries, &last.signature, cache, Origin::Built, &why)?;
            }
        }
        Ok(())
    }
}
