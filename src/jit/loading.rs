//! Loading: by path from a cache that stands firmly, else from private copies of what was checked.
//!
//! A library is loaded once in a process, whatever is linked to it, so that its static variables are there once. The
//! dynamic loader tells libraries apart by their files. Where two libraries that are loaded from copies are linked to
//! a third, the folder of the second has a link to the copy of the first. That file has no name any more by then and
//! is reached by a descriptor that is kept open.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{Cache, EntryFiles, EntryView, VerifiedLib, load_order};
use crate::codec::Digest32;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileId, PathTrust};
use crate::load::Image;

use super::library::provenance;
use super::quarantine::Refusal;
use super::{Library, Origin, Session, lock};

/// Copies of libraries that are or will be loaded, by path in the cache and digest.
pub(super) type Copies = HashMap<(PathBuf, Digest32), File>;

/// From where libraries are loaded.
pub(super) enum Place {
    /// From the directory of libraries, as it is called without links.
    Real(PathBuf),
    /// From private copies, for this reason.
    Copies(String),
}

impl Session {
    /// Loads the libraries of a lookup, dependencies first, each once.
    pub(super) fn load(
        &self,
        cache: &Cache,
        order: &[VerifiedLib],
        origin: Origin,
    ) -> std::result::Result<Library, Refusal> {
        let Some(last) = order.last() else {
            return Err(Error::new(Kind::Internal, "nothing to load").into());
        };
        if !cache.layout().params().load {
            return Ok(self.intern(cache, last, None, origin));
        }
        if let Some(library) = self.loaded(cache, last) {
            return Ok(library.with_origin(origin));
        }
        let why = match self.place(cache, order)? {
            Place::Real(real) => return self.load_in_place(cache, order, &real, origin),
            Place::Copies(why) => why,
        };
        let entries = cache.read_closure(&last.signature)?;
        let entries: Vec<_> = entries.iter().map(EntryFiles::view).collect();
        self.load_copies(&entries, &last.signature, cache, origin, &why)
    }

    /// From where libraries that have been looked up are loaded.
    pub(super) fn place(&self, cache: &Cache, order: &[VerifiedLib]) -> Result<Place> {
        // The dynamic loader knows libraries by their paths: of one that was built again it would give the old one.
        let replaced = |whole: &&VerifiedLib| {
            self.images.has(&cache.layout().lib(&whole.signature)) && self.loaded(cache, whole).is_none()
        };
        // The files in the cache would be others than those that are loaded.
        let copied = |whole: &&VerifiedLib| {
            lock(&self.copies).contains_key(&(cache.layout().lib(&whole.signature), whole.digest))
        };
        let elsewhere = order.iter().find(replaced).or_else(|| order.iter().find(copied));
        match (cache.libraries()?, elsewhere) {
            (PathTrust::Renamable(reason), _) => Ok(Place::Copies(reason)),
            (_, Some(whole)) => {
                Ok(Place::Copies(format!("{} has been loaded from elsewhere already", whole.signature)))
            }
            (PathTrust::Trusted(real), None) => Ok(Place::Real(real)),
            (PathTrust::Missing | PathTrust::Untrusted(_), None) => {
                let path = cache.layout().lib(order.last().map_or("", |last| &last.signature));
                let text = format!("cannot load {}: it has gone meanwhile", path.display());
                Err(Error::new(Kind::Cache, text))
            }
        }
    }

    /// Loads from `real`, the directory of libraries as it is called without links: whoever can change a link on the
    /// way to it changes nothing between the check and the loading.
    pub(super) fn load_in_place(
        &self,
        cache: &Cache,
        order: &[VerifiedLib],
        real: &Path,
        origin: Origin,
    ) -> std::result::Result<Library, Refusal> {
        let mut library = None;
        for whole in order {
            library = match self.loaded(cache, whole) {
                Some(library) => Some(library.with_origin(origin)),
                None => {
                    // Not under the lock: initialisers of a library may do anything.
                    let file = real.join(cache.layout().lib_basename(&whole.signature));
                    let image = self.loader.load(&file).map_err(|error| {
                        let built = matches!(origin, Origin::Built | Origin::Received);
                        let from = if built { String::new() } else { provenance(&file) };
                        let error = Error::new(error.kind(), format!("{}{from}", error.message()));
                        self.refusal(error, &file, whole)
                    })?;
                    Some(self.intern(cache, whole, Some(image), origin))
                }
            };
        }
        library.ok_or_else(|| Error::new(Kind::Internal, "nothing to load").into())
    }

    pub(super) fn intern(
        &self,
        cache: &Cache,
        whole: &VerifiedLib,
        image: Option<Arc<dyn Image>>,
        origin: Origin,
    ) -> Library {
        let path = cache.layout().lib(&whole.signature);
        let library = Library::new(&whole.signature, &path, image, origin);
        self.images.keep(whole.digest, library).with_origin(origin)
    }

    /// Loads a library from bytes that this host's directory does not show.
    pub(super) fn load_bytes(
        &self,
        entries: &[EntryView<'_>],
        signature: &str,
        cache: &Cache,
        origin: Origin,
    ) -> Result<Library> {
        let path = cache.layout().lib(signature);
        if !cache.layout().params().load {
            return Ok(Library::new(signature, &path, None, origin));
        }
        let why = format!("{} does not show what was published in it", cache.layout().root().display());
        Ok(self.load_copies(entries, signature, cache, origin, &why)?)
    }

    /// Loads a library and what it is linked to from a private folder that is gone afterwards.
    pub(super) fn load_copies(
        &self,
        entries: &[EntryView<'_>],
        signature: &str,
        cache: &Cache,
        origin: Origin,
        why: &str,
    ) -> std::result::Result<Library, Refusal> {
        let places = cache.layout().staging_places();
        let private = fsutil::staging_dir(&places).map_err(|error| {
            Error::io("cannot make a private folder in", &places[0], &error).context(&format!(
                "{signature} has to be loaded from a private copy, because {why}; set cache.temp_dir_root or TMPDIR to \
                 a directory of yours that nobody else can rename"
            ))
        })?;
        let order = load_order::order(entries, signature)?;
        for whole in &order {
            let bytes = load_order::library(entries, &whole.signature).unwrap_or_default();
            // It is gone in a moment, and so is a host that loses its power.
            let copy =
                |path: &Path| fsutil::publish_noclobber(path, bytes, 0o700, Durability::Volatile).map(drop);
            self.materialize(cache, whole, private.path(), copy)?;
        }
        let mut library = None;
        for whole in &order {
            let file = private.path().join(cache.layout().lib_basename(&whole.signature));
            if let Some(known) = self.loaded(cache, whole) {
                library = Some(known.with_origin(origin));
                continue;
            }
            let image = self.loader.load(&file).map_err(|error| {
                let error = error.with_note(&format!("this is a private copy, made because {why}"));
                self.refusal(error, &file, whole)
            })?;
            library = Some(self.intern(cache, whole, Some(image), origin));
        }
        library.ok_or_else(|| Error::new(Kind::Internal, "nothing to load").into())
    }

    /// Holds the files of libraries that are about to be loaded, unless one of them has been loaded before from another
    /// file: then nothing is held.
    pub(super) fn register_copies(&self, cache: &Cache, order: &[VerifiedLib], files: Vec<File>) -> bool {
        let keys: Vec<_> = order.iter().map(|w| (cache.layout().lib(&w.signature), w.digest)).collect();
        // Held until all are known: two threads must not load from one file each.
        let mut copies = lock(&self.copies);
        if keys.iter().any(|key| copies.contains_key(key) || self.images.has(&key.0)) {
            return false;
        }
        let room = most_held().saturating_sub(copies.len());
        copies.extend(keys.into_iter().zip(files).take(room));
        true
    }

    /// Puts a library into `folder`: a link to the file of which it has been loaded or is just being loaded, else one
    /// that `make` puts there.
    pub(super) fn materialize(
        &self,
        cache: &Cache,
        whole: &VerifiedLib,
        folder: &Path,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<()> {
        let path = folder.join(cache.layout().lib_basename(&whole.signature));
        let in_cache = cache.layout().lib(&whole.signature);
        // Held until the file is known: two threads must not make one each.
        let mut copies = lock(&self.copies);
        let key = (in_cache, whole.digest);
        if let Some(held) = copies.get(&key) {
            if link(&path, &PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())), held) {
                return Ok(());
            }
        } else if self.loaded(cache, whole).is_some()
            && let PathTrust::Trusted(real) = cache.libraries()?
            && let Ok(file) = File::open(real.join(cache.layout().lib_basename(&whole.signature)))
            && link(&path, &real.join(cache.layout().lib_basename(&whole.signature)), &file)
        {
            return Ok(());
        }
        make(&path).map_err(|error| Error::io("cannot write", &path, &error))?;
        if copies.len() < most_held()
            && let Ok(file) = File::open(&path)
        {
            copies.insert(key, file);
        }
        Ok(())
    }
}

/// Makes a link at `path` to `target`, if it then leads to this file.
fn link(path: &Path, target: &Path, file: &File) -> bool {
    let same = || Some(FileId::of(path).ok()? == FileId::new(&file.metadata().ok()?));
    if symlink(target, path).is_err() {
        return false;
    }
    let leads = same() == Some(true);
    if !leads {
        let _ = fs::remove_file(path);
    }
    leads
}

/// How many descriptors of copies may be held: the host program needs some too. Without, a library that is needed again
/// gets a second copy.
fn most_held() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX))
}
