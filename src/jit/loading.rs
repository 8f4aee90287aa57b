//! Loading: in place if only this user and root can rename the path; otherwise from private copies of the
//! verified bytes.
//!
//! A process loads a library once, so that its static variables exist once. The dynamic loader identifies
//! libraries by their files. If two libraries are loaded from copies and linked to a third, the folder of the
//! second has a link to the copy of the third that the first has loaded. That file has no name any more; an
//! open descriptor keeps it reachable.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use crate::cache::{Cache, EntryFiles, EntryView, VerifiedEntry, VerifiedLib, load_order};
use crate::codec::Digest32;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileId, PathTrust};
use crate::load::{Image, Loader};
use crate::sync::lock;

use super::hit_cache::LoadedLibraries;
use super::library::{Library, Origin, provenance};
use super::refusal::LoadRefusal;

/// The result of loading.
pub(super) type LoadResult = std::result::Result<Library, LoadRefusal>;

/// The libraries of a process: what it has loaded, and from which files.
pub(super) struct Libraries {
    pub(super) loader: Arc<dyn Loader>,
    loaded: LoadedLibraries,
    /// Files of libraries that are or will be loaded from somewhere else than a cache, by path in the cache
    /// and digest.
    copies: Mutex<HashMap<(PathBuf, Digest32), File, FixedState>>,
}

/// The place that libraries are loaded from.
pub(super) enum LoadFrom {
    /// The directory of libraries, by its path without links: others who can change a link on the declared
    /// path change nothing between verification and loading.
    Cache(PathBuf),
    /// Private copies, for this reason.
    Copies(String),
}

impl Libraries {
    pub(super) fn new(loader: Arc<dyn Loader>) -> Self {
        Self { loader, loaded: LoadedLibraries::default(), copies: Mutex::default() }
    }

    /// Returns exactly this library, if it has been loaded.
    pub(super) fn get(&self, cache: &Cache, lib: &VerifiedLib) -> Option<Library> {
        self.loaded.get(&cache.layout().lib(&lib.signature), &lib.digest, true)
    }

    /// Returns the origin of a library that the cache has: memory, if it has been loaded.
    pub(super) fn hit_origin(&self, cache: &Cache, order: &[VerifiedLib]) -> Origin {
        let loaded = order.last().is_some_and(|lib| self.get(cache, lib).is_some());
        if loaded { Origin::Memory } else { Origin::Disk }
    }

    /// Loads the libraries of an entry that was looked up, dependencies first, each once.
    pub(super) fn load(&self, cache: &Cache, entry: &VerifiedEntry, origin: Origin) -> LoadResult {
        let last = entry.last().ok_or_else(nothing_to_load)?;
        if !cache.layout().params().load {
            return Ok(self.intern(cache, last, None, origin));
        }
        if let Some(library) = self.get(cache, last) {
            return Ok(library.with_origin(origin));
        }
        let lib_dir = entry.lib_dir.clone().map_or_else(|| cache.lib_dir_trust(), Ok)?;
        let why = match self.choose_place(cache, entry, lib_dir)? {
            LoadFrom::Cache(dir) => return self.load_in_place(cache, entry, &dir, origin),
            LoadFrom::Copies(why) => why,
        };
        let entries = cache.read_closure(&last.signature)?;
        let entries: Vec<_> = entries.iter().map(EntryFiles::view).collect();
        self.load_copies(&entries, &last.signature, cache, origin, &why)
    }

    /// Decides from where libraries that have been looked up are loaded.
    fn choose_place(&self, cache: &Cache, order: &[VerifiedLib], lib_dir: PathTrust) -> Result<LoadFrom> {
        // The dynamic loader identifies libraries by path: for one that was built again it would return the
        // old one.
        let is_replaced = |lib: &&VerifiedLib| {
            self.loaded.has(&cache.layout().lib(&lib.signature)) && self.get(cache, lib).is_none()
        };
        // Loading the file in the cache would load the library twice.
        let is_copied = |lib: &&VerifiedLib| {
            lock(&self.copies).contains_key(&(cache.layout().lib(&lib.signature), lib.digest))
        };
        let elsewhere = order.iter().find(is_replaced).or_else(|| order.iter().find(is_copied));
        match (lib_dir, elsewhere) {
            (PathTrust::Renamable(reason), _) => Ok(LoadFrom::Copies(reason)),
            (_, Some(lib)) => {
                Ok(LoadFrom::Copies(format!("{} has been loaded from elsewhere already", lib.signature)))
            }
            (PathTrust::Trusted(dir), None) => Ok(LoadFrom::Cache(dir)),
            (PathTrust::Missing | PathTrust::Untrusted(_), None) => {
                let path = cache.layout().lib(order.last().map_or("", |last| &last.signature));
                let text = format!("cannot load {}: it has been removed meanwhile", path.display());
                Err(Error::new(Kind::Cache, text))
            }
        }
    }

    /// Loads from `dir`, the directory of libraries.
    pub(super) fn load_in_place(
        &self,
        cache: &Cache,
        order: &[VerifiedLib],
        dir: &Path,
        origin: Origin,
    ) -> LoadResult {
        self.load_each(cache, order, dir, origin, |error, file, _| {
            let is_new = matches!(origin, Origin::Built | Origin::Received);
            let from = if is_new { String::new() } else { provenance(file) };
            Error::new(error.kind(), format!("{}{from}", error.message()))
        })
    }

    /// Loads from the files in `folder` what has not been loaded before. `explain` adds to the error of the
    /// loader.
    pub(super) fn load_each(
        &self,
        cache: &Cache,
        order: &[VerifiedLib],
        folder: &Path,
        origin: Origin,
        explain: impl Fn(Error, &Path, &VerifiedLib) -> Error,
    ) -> LoadResult {
        let mut library = Err(nothing_to_load().into());
        for lib in order {
            library = Ok(match self.get(cache, lib) {
                Some(library) => library.with_origin(origin),
                None => {
                    let file = folder.join(cache.layout().lib_basename(&lib.signature));
                    // Without a lock: initialisers of a library may do anything.
                    let image = self.loader.load(&file).map_err(|error| {
                        let error = explain(error, &file, lib);
                        // Resolved only after a failure, so that a success pays nothing.
                        let at_fault = error.kind() == Kind::Load
                            && file.exists()
                            && self.loader.resolve(&file).is_err();
                        LoadRefusal { error, culprit: at_fault.then(|| Box::new(lib.clone())) }
                    })?;
                    self.intern(cache, lib, Some(image), origin)
                }
            });
        }
        library
    }

    fn intern(
        &self,
        cache: &Cache,
        lib: &VerifiedLib,
        image: Option<Arc<dyn Image>>,
        origin: Origin,
    ) -> Library {
        let path = cache.layout().lib(&lib.signature);
        let library = Library::new(&lib.signature, &path, image, origin);
        self.loaded.intern(lib.digest, library).with_origin(origin)
    }

    /// Loads a library from bytes that the directory of this host does not show.
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

    /// Loads a library and what it is linked to from a private folder, which is removed afterwards.
    fn load_copies(
        &self,
        entries: &[EntryView<'_>],
        signature: &str,
        cache: &Cache,
        origin: Origin,
        why: &str,
    ) -> LoadResult {
        let places = cache.layout().staging_places();
        let private = fsutil::staging_dir(&places).map_err(|error| {
            Error::io("cannot make a private folder in", &places[0], &error).context(&format!(
                "{signature} has to be loaded from a private copy, because {why}; set cache.temp_dir_root \
                 or TMPDIR to \
                 a directory of yours that no other user can rename"
            ))
        })?;
        let order = load_order::order(entries, signature)?;
        for lib in &order {
            let bytes = load_order::library(entries, &lib.signature).unwrap_or_default();
            // It is removed in a moment, so it need not survive a crash of the host.
            let copy =
                |path: &Path| fsutil::publish_noclobber(path, bytes, 0o700, Durability::Volatile).map(drop);
            self.materialize(cache, lib, private.path(), copy)?;
        }
        self.load_each(cache, &order, private.path(), origin, |error, _, _| {
            error.with_note(&format!("this is a private copy, made because {why}"))
        })
    }

    /// Loads a library that has just been built from the file that is to be published.
    pub(super) fn load_staged_build(
        &self,
        cache: &Cache,
        entries: &[EntryView<'_>],
        order: &[VerifiedLib],
        staged: &Path,
    ) -> Result<()> {
        let Some((last, dependencies)) = order.split_last() else { return Ok(()) };
        match self.choose_place(cache, order, cache.lib_dir_trust()?)? {
            LoadFrom::Cache(dir) => {
                if !dependencies.is_empty() {
                    self.load_in_place(cache, dependencies, &dir, Origin::Disk)?;
                }
                let file = dir.join(staged.file_name().unwrap_or_default());
                let image = self.loader.load(&file)?;
                self.intern(cache, last, Some(image), Origin::Built);
            }
            LoadFrom::Copies(why) => {
                self.load_copies(entries, &last.signature, cache, Origin::Built, &why)?;
            }
        }
        Ok(())
    }

    /// Registers the files of libraries that are about to be loaded, if they are not registered. Returns
    /// false and registers none if one of the libraries has been loaded before from another file.
    pub(super) fn register_copies(&self, cache: &Cache, order: &[VerifiedLib], files: Vec<File>) -> bool {
        let keys: Vec<_> = order.iter().map(|lib| (cache.layout().lib(&lib.signature), lib.digest)).collect();
        // Locked until all are registered: two threads must not load from one file each.
        let mut copies = lock(&self.copies);
        let id = |file: &File| file.metadata().map(|stat| FileId::new(&stat)).ok();
        let mut new = Vec::new();
        for (key, file) in keys.into_iter().zip(files) {
            match copies.get(&key) {
                Some(registered) if id(registered) == id(&file) => {}
                None if !self.loaded.has(&key.0) => new.push((key, file)),
                _ => return false,
            }
        }
        let room = max_open_copies().saturating_sub(copies.len());
        copies.extend(new.into_iter().take(room));
        true
    }

    /// Puts a library into `folder`: a link to the file that it has been or is being loaded from; otherwise
    /// `make` puts a file there.
    pub(super) fn materialize(
        &self,
        cache: &Cache,
        lib: &VerifiedLib,
        folder: &Path,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<()> {
        let basename = cache.layout().lib_basename(&lib.signature);
        let path = folder.join(&basename);
        let key = (cache.layout().lib(&lib.signature), lib.digest);
        // Locked until the file is registered: two threads must not make one each.
        let mut copies = lock(&self.copies);
        if let Some(open) = copies.get(&key) {
            if link(&path, &PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())), open) {
                return Ok(());
            }
        } else if self.get(cache, lib).is_some()
            && let PathTrust::Trusted(dir) = cache.lib_dir_trust()?
            && let Ok(file) = File::open(dir.join(&basename))
            && link(&path, &dir.join(&basename), &file)
        {
            return Ok(());
        }
        make(&path).map_err(|error| Error::io("cannot write", &path, &error))?;
        if copies.len() < max_open_copies()
            && let Ok(file) = File::open(&path)
        {
            copies.insert(key, file);
        }
        Ok(())
    }
}

fn nothing_to_load() -> Error {
    Error::new(Kind::Internal, "nothing to load")
}

/// Makes a link at `path` to `target`. Returns whether it leads to this file.
fn link(path: &Path, target: &Path, file: &File) -> bool {
    let same_file = || Some(FileId::of(path).ok()? == FileId::new(&file.metadata().ok()?));
    if symlink(target, path).is_err() {
        return false;
    }
    let same = same_file() == Some(true);
    if !same {
        let _ = fs::remove_file(path);
    }
    same
}

/// Returns how many copies may be kept open: the host program needs descriptors, too. A library whose copy is
/// not kept open gets a second copy if it is needed again.
fn max_open_copies() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX))
}
