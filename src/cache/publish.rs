//! Publication: how an entry comes into the cache, and how what is damaged goes out of its way.

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
    /// Moves a damaged library out of the way, so that a whole one can be published.
    ///
    /// Another rank may have replaced it meanwhile: what was moved is looked at once more, and an entry that does not
    /// have this damage goes back to its place.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be moved.
    pub fn quarantine(&self, signature: &str, damage: &Invalid) -> Result<()> {
        match self.open()? {
            Some(tree) => self.quarantine_in(&tree, signature, damage),
            None => Ok(()),
        }
    }

    pub(super) fn quarantine_in(&self, tree: &Tree, signature: &str, damage: &Invalid) -> Result<()> {
        let path = self.layout.lib(signature);
        let aside = self.layout.quarantine();
        let failed = |error: io::Error| cannot("cannot write in", &aside, &error);
        movable(tree, &path)?;
        // First to a name of our own, so that we look at exactly what we moved.
        let folder = tree.enter(&aside, true).map_err(failed)?.ok_or_else(|| missing(&aside))?;
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = aside.join(own.name());
        let moved = tree
            .rename(&path, &staged)
            .map_err(|error| cannot("cannot set aside the damaged library", &path, &error))?;
        if !moved {
            return Ok(());
        }
        let moved = match fsutil::read_trusted(&staged) {
            Ok(moved) => moved.unwrap_or_default(),
            // Nobody will ever use it.
            Err(ReadError::Refused(_)) => Vec::new(),
            // It cannot be judged now: it stays what it was.
            Err(ReadError::Failed(error)) => {
                let _ = tree.link(&staged, &path);
                return Err(Error::io("cannot read", &path, &error));
            }
        };
        let whole = record::open(&moved, signature).is_ok_and(|record| {
            elf::check(record::image_of(&moved)).is_ok()
                && self.header_matches(signature, record.header.as_ref(), Verify::ForLink).unwrap_or(false)
                && self.stale_input(signature, &record.inputs).is_none()
        });
        let of_itself = !matches!(damage, Invalid::Dependency | Invalid::Source(_) | Invalid::Refused(_));
        if whole && of_itself && tree.link(&staged, &path).is_ok() {
            return Ok(());
        }
        log::warn!("{} is set aside in {}: {}", path.display(), aside.display(), damage.describe());
        tree.rename(&staged, &aside.join(self.layout.lib_basename(signature))).map(drop).map_err(failed)
    }

    /// Moves a whole entry out of the way, because its source is out of date; not if another program has replaced it
    /// meanwhile.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be moved.
    pub fn retire(&self, record: &EntryRecord, why: &str) -> Result<()> {
        if self.record(&record.signature)?.as_ref() != Some(record) {
            return Ok(());
        }
        self.quarantine(&record.signature, &Invalid::Source(why.to_owned()))
    }

    /// Moves a library out of the way that the dynamic loader refuses, if it is still the one that was looked up.
    ///
    /// # Errors
    /// As [`Cache::set_aside`].
    pub fn quarantine_refused(&self, refused: &VerifiedLib, reason: &str) -> Result<()> {
        match self.lookup(&refused.signature, Verify::ForLoad)? {
            Lookup::Hit(order) if order.last() == Some(refused) => {
                self.quarantine(&refused.signature, &Invalid::Refused(reason.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Publishes an entry: header, source and log first, the library last. True when this call's library is the one
    /// in the cache, false when a whole one was there before.
    ///
    /// # Errors
    /// [`Kind::Cache`] when something cannot be written; then the library has not been published.
    pub fn publish(&self, files: &EntryFiles) -> Result<bool> {
        self.publish_view(files.view())
    }

    /// As [`Cache::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_view(&self, files: EntryView<'_>) -> Result<bool> {
        self.publish_if(files, |_| Ok(()))
    }

    /// As [`Cache::publish`], if `admit` finds nothing wrong with the library. That lies then in the directory of
    /// libraries, under a name of its own; it is this file that gets the name of the entry.
    ///
    /// # Errors
    /// As there, and those of `admit`; then nothing has been published.
    pub fn publish_if(&self, files: EntryView<'_>, admit: impl FnOnce(&Path) -> Result<()>) -> Result<bool> {
        const ATTEMPTS: usize = 4;
        let tree = &self.open_or_make()?;
        self.make_dirs(tree)?;
        let besides = self.besides(files);
        let path = self.layout.lib(files.signature);
        let (dir, name) = (self.layout.dir(Category::Lib), self.layout.lib_basename(files.signature));
        let name = OsStr::new(&name);
        let failed = |error: io::Error| cannot("cannot write", &path, &error);
        let folder = tree.enter(&dir, true).map_err(failed)?.ok_or_else(|| missing(&dir))?;
        let library = folder.write(name, files.library, LIB_MODE, Durability::Synced).map_err(failed)?;
        admit(&dir.join(library.name()))?;
        for _ in 0..ATTEMPTS {
            let mut lost = Vec::new();
            for (path, data) in &besides {
                if !first(tree, path, data, FILE_MODE)? {
                    lost.push((path, *data));
                }
            }
            if library.publish_noclobber(name).map_err(failed)? {
                // Only one publisher gets here; where others were first with a file, ours belongs to the library.
                for (path, data) in lost {
                    if read(path).is_ok_and(|there| there.as_deref() == Some(data)) {
                        continue;
                    }
                    self.over(tree, path, data)?;
                }
                return Ok(true);
            }
            match self.lookup(files.signature, Verify::ForLink)? {
                Lookup::Hit(..) => return Ok(false),
                Lookup::Miss => {}
                // Whole, and perhaps about to be loaded by others, to whom it must not disappear.
                Lookup::Damaged(Invalid::Input(change)) => {
                    return self.replace(tree, files, &library, &change).map(|()| true);
                }
                Lookup::Damaged(damage) => self.quarantine_in(tree, files.signature, &damage)?,
            }
        }
        let text =
            format!("{} is damaged again as soon as it is repaired; who writes to it?", path.display());
        Err(Error::new(Kind::Cache, text))
    }

    /// Puts an entry in the place of one that is whole, in one step for whoever looks; the old library is kept aside.
    fn replace(&self, tree: &Tree, files: EntryView<'_>, library: &Staged<'_>, why: &str) -> Result<()> {
        let (path, aside) = (self.layout.lib(files.signature), self.layout.quarantine());
        let failed = |error: io::Error| cannot("cannot write in", &aside, &error);
        let kept = aside.join(self.layout.lib_basename(files.signature));
        let folder = tree.enter(&aside, true).map_err(failed)?.ok_or_else(|| missing(&aside))?;
        let own = folder.stage(FILE_MODE).map_err(failed)?;
        let staged = aside.join(own.name());
        // A second name for the old one, of which nobody can have a half; without it nothing but history is lost.
        let _ = tree.remove(&staged);
        if tree.link(&path, &staged).is_ok() {
            let _ = tree.rename(&staged, &kept);
        }
        log::warn!("{} is replaced, the old one is in {}: {why}", path.display(), aside.display());
        for (path, data) in self.besides(files) {
            self.over(tree, &path, data)?;
        }
        library
            .replace_atomic(path.file_name().unwrap_or_default())
            .map_err(|error| cannot("cannot write", &path, &error))
    }

    /// Writes a header, source or log in the place of another. A library is as good without source and log: where
    /// something stands in the way of one that is no file, there is none.
    fn over(&self, tree: &Tree, path: &Path, data: &[u8]) -> Result<()> {
        let header = path.parent().is_some_and(|dir| dir == self.layout.dir(Category::Inc));
        if header || plain(tree, path)? {
            return tree
                .replace_atomic(path, data, FILE_MODE, Durability::Synced)
                .map_err(|error| cannot("cannot write", path, &error));
        }
        log::warn!("{} is not written: what stands there is no file; move it elsewhere", path.display());
        Ok(())
    }

    fn besides<'a>(&self, files: EntryView<'a>) -> Vec<(PathBuf, &'a [u8])> {
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

/// Whether there is nothing at this path but a plain file, which may be moved or replaced.
///
/// # Errors
/// [`Kind::Cache`] when it cannot be looked at.
pub(super) fn plain(tree: &Tree, path: &Path) -> Result<bool> {
    let facts = tree.metadata(path).map_err(|error| cannot("cannot look at", path, &error))?;
    Ok(facts.is_none_or(|facts| facts.is_file()))
}

/// Refuses to move what is neither a file nor a link: a directory is not from here, whatever its name.
///
/// # Errors
/// [`Kind::Cache`].
pub(super) fn movable(tree: &Tree, path: &Path) -> Result<()> {
    let facts = tree.metadata(path).map_err(|error| cannot("cannot look at", path, &error))?;
    if facts.is_none_or(|facts| facts.is_file() || facts.kind == rustix::fs::FileType::Symlink) {
        return Ok(());
    }
    Err(Error::new(Kind::Cache, format!("{} is no file; move it elsewhere", path.display())))
}
