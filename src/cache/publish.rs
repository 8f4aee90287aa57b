//! Publishes entries, and moves invalid ones to `quarantine/`.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::elf;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, ReadError, Staged, Tree};

use super::layout::Category;
use super::open::cannot;
use super::record::{self, EntryRecord, Invalid};
use super::{Cache, EntryFiles, EntryView, FILE_MODE, LIB_MODE, Lookup, VerifiedLib, Verify, missing, read};

impl Cache {
    /// Moves an invalid library to `quarantine/`, so that a valid one can be published.
    ///
    /// Another rank may have replaced it meanwhile. So the moved file is verified again, and goes back if it
    /// is valid.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be moved.
    pub fn quarantine(&self, signature: &str, invalid: &Invalid) -> Result<()> {
        match self.open()? {
            Some(tree) => self.quarantine_in(&tree, signature, invalid),
            None => Ok(()),
        }
    }

    pub(super) fn quarantine_in(&self, tree: &Tree, signature: &str, invalid: &Invalid) -> Result<()> {
        let path = self.layout.lib(signature);
        let dir = self.layout.quarantine();
        let failed = |error: io::Error| cannot("cannot write in", &dir, &error);
        movable(tree, &path)?;
        // First to a private name, so that exactly the moved file is verified.
        let folder = tree.enter(&dir, true).map_err(failed)?.ok_or_else(|| missing(&dir))?;
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = dir.join(own.name());
        let moved = tree
            .rename(&path, &staged)
            .map_err(|error| cannot("cannot quarantine the library", &path, &error))?;
        if !moved {
            return Ok(());
        }
        let moved = match fsutil::read_trusted(&staged) {
            Ok(moved) => moved.unwrap_or_default(),
            // No program will use it.
            Err(ReadError::Refused(_)) => Vec::new(),
            // It may be valid, so it goes back.
            Err(ReadError::Failed(error)) => {
                let _ = tree.link(&staged, &path);
                return Err(Error::io("cannot read", &path, &error));
            }
        };
        let valid = record::open(&moved, signature).is_ok_and(|record| {
            elf::check(record::image_of(&moved)).is_ok()
                && self.header_matches(signature, record.header.as_ref(), Verify::ForLink).unwrap_or(false)
                && self.stale_input(signature, &record.inputs).is_none()
        });
        let by_itself = !matches!(invalid, Invalid::Dependency | Invalid::Source(_) | Invalid::Refused(_));
        if valid && by_itself && tree.link(&staged, &path).is_ok() {
            return Ok(());
        }
        log::warn!("{} is moved to {}: {}", path.display(), dir.display(), invalid.describe());
        tree.rename(&staged, &dir.join(self.layout.lib_basename(signature))).map(drop).map_err(failed)
    }

    /// Moves a valid entry to `quarantine/` because its source is out of date, unless another program has
    /// replaced it meanwhile.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be moved.
    pub fn retire(&self, record: &EntryRecord, reason: &str) -> Result<()> {
        if self.record(&record.signature)?.as_ref() != Some(record) {
            return Ok(());
        }
        self.quarantine(&record.signature, &Invalid::Source(reason.to_owned()))
    }

    /// Moves a library that the dynamic loader refuses to `quarantine/`, if it is still the one that was
    /// looked up.
    ///
    /// # Errors
    /// As [`Cache::quarantine`].
    pub fn quarantine_refused(&self, refused: &VerifiedLib, reason: &str) -> Result<()> {
        match self.lookup(&refused.signature, Verify::ForLoad)? {
            Lookup::Hit(order) if order.last() == Some(refused) => {
                self.quarantine(&refused.signature, &Invalid::Refused(reason.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Publishes an entry: header, source and log first, the library last. Returns true if the library of
    /// this call is in the cache now, false if another valid one was there before.
    ///
    /// # Errors
    /// [`Kind::Cache`] if a file cannot be written; then the library has not been published.
    pub fn publish(&self, files: &EntryFiles) -> Result<bool> {
        self.publish_view(files.view())
    }

    /// Does the same as [`Cache::publish`] with borrowed files.
    ///
    /// # Errors
    /// As [`Cache::publish`].
    pub fn publish_view(&self, files: EntryView<'_>) -> Result<bool> {
        self.publish_if(files, |_| Ok(()))
    }

    /// Publishes an entry as [`Cache::publish`] does if `admit` accepts the library. `admit` gets its path: a
    /// staged file in the directory of libraries, which is then renamed.
    ///
    /// # Errors
    /// As [`Cache::publish`], and those of `admit`; then nothing has been published.
    pub fn publish_if(&self, files: EntryView<'_>, admit: impl FnOnce(&Path) -> Result<()>) -> Result<bool> {
        const ATTEMPTS: usize = 4;
        let tree = &self.open_or_make()?;
        self.make_dirs(tree)?;
        let sidecars = self.sidecar_files(files);
        let path = self.layout.lib(files.signature);
        let (dir, name) = (self.layout.dir(Category::Lib), self.layout.lib_basename(files.signature));
        let name = OsStr::new(&name);
        let failed = |error: io::Error| cannot("cannot write", &path, &error);
        let folder = tree.enter(&dir, true).map_err(failed)?.ok_or_else(|| missing(&dir))?;
        let library = folder.write(name, files.library, LIB_MODE, Durability::Synced).map_err(failed)?;
        admit(&dir.join(library.name()))?;
        for _ in 0..ATTEMPTS {
            let mut lost = Vec::new();
            for (path, data) in &sidecars {
                if !first(tree, path, data, FILE_MODE)? {
                    lost.push((path, *data));
                }
            }
            if library.publish_noclobber(name).map_err(failed)? {
                // Only one publisher gets here. Its files replace those of others, who were first with them.
                for (path, data) in lost {
                    if read(path).is_ok_and(|found| found.as_deref() == Some(data)) {
                        continue;
                    }
                    self.replace_sidecar(tree, path, data)?;
                }
                return Ok(true);
            }
            match self.lookup(files.signature, Verify::ForLink)? {
                Lookup::Hit(..) => return Ok(false),
                Lookup::Miss => {}
                // Other programs may be about to load it, so it must not disappear.
                Lookup::Damaged(Invalid::Input(change)) => {
                    return self.replace(tree, files, &library, &change).map(|()| true);
                }
                Lookup::Damaged(invalid) => self.quarantine_in(tree, files.signature, &invalid)?,
            }
        }
        let text =
            format!("{} is damaged again as soon as it is repaired; who writes to it?", path.display());
        Err(Error::new(Kind::Cache, text))
    }

    /// Replaces a stale entry: for readers in one step. The old library stays in `quarantine/`.
    fn replace(&self, tree: &Tree, files: EntryView<'_>, library: &Staged<'_>, reason: &str) -> Result<()> {
        let (path, dir) = (self.layout.lib(files.signature), self.layout.quarantine());
        let failed = |error: io::Error| cannot("cannot write in", &dir, &error);
        let kept = dir.join(self.layout.lib_basename(files.signature));
        let folder = tree.enter(&dir, true).map_err(failed)?.ok_or_else(|| missing(&dir))?;
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = dir.join(own.name());
        // A second name for the old library. If it cannot be made, only the old library is lost.
        let _ = tree.remove(&staged);
        if tree.link(&path, &staged).is_ok() {
            let _ = tree.rename(&staged, &kept);
        }
        log::warn!("{} is replaced, the old one is in {}: {reason}", path.display(), dir.display());
        for (path, data) in self.sidecar_files(files) {
            self.replace_sidecar(tree, &path, data)?;
        }
        library
            .replace_atomic(path.file_name().unwrap_or_default())
            .map_err(|error| cannot("cannot write", &path, &error))
    }

    /// Replaces a header, source or log. If something other than a file is in the place of a source or log,
    /// the entry goes without it.
    fn replace_sidecar(&self, tree: &Tree, path: &Path, data: &[u8]) -> Result<()> {
        let header = path.parent().is_some_and(|dir| dir == self.layout.dir(Category::Inc));
        if header || plain(tree, path)? {
            return tree
                .replace_atomic(path, data, FILE_MODE, Durability::Synced)
                .map_err(|error| cannot("cannot write", path, &error));
        }
        log::warn!(
            "{} is not written: something other than a file is there; move it elsewhere",
            path.display()
        );
        Ok(())
    }

    fn sidecar_files<'a>(&self, files: EntryView<'a>) -> Vec<(PathBuf, &'a [u8])> {
        let signature = files.signature;
        let header = files.header.map(|data| (self.layout.inc(signature), data));
        let source = files.source.map(|(data, packed)| (self.layout.src(signature, packed), data));
        let log = files.log.map(|data| (self.layout.log(signature), data));
        [header, source, log].into_iter().flatten().collect()
    }
}

fn first(tree: &Tree, path: &Path, data: &[u8], mode: u32) -> Result<bool> {
    tree.publish_noclobber(path, data, mode, Durability::Synced)
        .map_err(|error| cannot("cannot write", path, &error))
}

/// Returns true if there is a plain file at this path, or nothing: it may be moved or replaced.
///
/// # Errors
/// [`Kind::Cache`] if its metadata cannot be read.
pub(super) fn plain(tree: &Tree, path: &Path) -> Result<bool> {
    let facts = tree.metadata(path).map_err(|error| cannot("cannot look at", path, &error))?;
    Ok(facts.is_none_or(|facts| facts.is_file()))
}

/// Refuses to move what is neither a file nor a link. A directory of such a name is not dijitso's.
///
/// # Errors
/// [`Kind::Cache`] if it is another kind of file.
pub(super) fn movable(tree: &Tree, path: &Path) -> Result<()> {
    let facts = tree.metadata(path).map_err(|error| cannot("cannot look at", path, &error))?;
    if facts.is_none_or(|facts| facts.is_file() || facts.kind == rustix::fs::FileType::Symlink) {
        return Ok(());
    }
    Err(Error::new(Kind::Cache, format!("{} is no file; move it elsewhere", path.display())))
}
