//! Publication: how an entry comes into the cache, and how what is damaged goes out of its way.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::elf;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Power, Unread};

use super::seal::{self, Damage};
use super::{Cache, Check, EntryFiles, EntryView, FILE_MODE, LIB_MODE, Lookup, read};

impl Cache {
    /// Moves a damaged library out of the way, so that a whole one can be published.
    ///
    /// Another rank may have replaced it meanwhile: what was moved is looked at once more, and an entry that does not
    /// have this damage goes back to its place.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be moved.
    pub fn set_aside(&self, signature: &str, damage: &Damage) -> Result<()> {
        let path = self.layout.lib(signature);
        let aside = self.layout.aside();
        let cannot = |error: io::Error| Error::io("cannot write in", &aside, &error);
        fsutil::create_dirs(&aside).map_err(|error| Error::io("cannot create", &aside, &error))?;
        // First to a name of our own, so that we look at exactly what we moved.
        let own = fsutil::staging(&aside, FILE_MODE).map_err(cannot)?.into_temp_path();
        let moved = fsutil::rename(&path, &own)
            .map_err(|error| Error::io("cannot set aside the damaged library", &path, &error))?;
        if !moved {
            return Ok(());
        }
        let moved = match fsutil::read_own(&own) {
            Ok(moved) => moved.unwrap_or_default(),
            // Nobody will ever use it.
            Err(Unread::Refused(_)) => Vec::new(),
            // It cannot be judged now: it stays what it was.
            Err(Unread::Failed(error)) => {
                let _ = fs::hard_link(&own, &path);
                return Err(Error::io("cannot read", &path, &error));
            }
        };
        let whole = seal::open(&moved, signature).is_ok_and(|record| {
            elf::check(seal::image_of(&moved)).is_ok()
                && self.header_is_whole(signature, record.header.as_ref(), Check::Whole).unwrap_or(false)
                && self.changed_input(signature, &record.inputs).is_none()
        });
        if whole && *damage != Damage::Dependency && fs::hard_link(&own, &path).is_ok() {
            return Ok(());
        }
        log::warn!("{} is set aside in {}: {}", path.display(), aside.display(), damage.describe());
        own.persist(aside.join(self.layout.lib_basename(signature))).map_err(|refused| cannot(refused.error))
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
        const ATTEMPTS: usize = 4;
        self.ensure_dirs()?;
        let besides = self.besides(files);
        for _ in 0..ATTEMPTS {
            let mut lost = Vec::new();
            for (path, data) in &besides {
                if !first(path, data, FILE_MODE)? {
                    lost.push((path, data));
                }
            }
            let path = self.layout.lib(files.signature);
            if first(&path, files.library, LIB_MODE)? {
                // Only one publisher gets here; where others were first with a file, ours belongs to the library.
                for (path, data) in lost {
                    if read(path).is_ok_and(|there| there.as_deref() == Some(*data)) {
                        continue;
                    }
                    fsutil::publish_over(path, data, FILE_MODE, Power::Safe)
                        .map_err(|error| Error::io("cannot write", path, &error))?;
                }
                return Ok(true);
            }
            match self.lookup(files.signature, Check::Whole)? {
                Lookup::Hit(..) => return Ok(false),
                Lookup::Miss => {}
                // Whole, and perhaps about to be loaded by others, to whom it must not disappear.
                Lookup::Damaged(Damage::Input(change)) => return self.replace(files, &change).map(|()| true),
                Lookup::Damaged(damage) => self.set_aside(files.signature, &damage)?,
            }
        }
        let path = self.layout.lib(files.signature);
        let text =
            format!("{} is damaged again as soon as it is repaired; who writes to it?", path.display());
        Err(Error::new(Kind::Cache, text))
    }

    /// Puts an entry in the place of one that is whole, in one step for whoever looks; the old library is kept aside.
    fn replace(&self, files: EntryView<'_>, why: &str) -> Result<()> {
        let (path, aside) = (self.layout.lib(files.signature), self.layout.aside());
        let cannot = |error: io::Error| Error::io("cannot write in", &aside, &error);
        fsutil::create_dirs(&aside).map_err(|error| Error::io("cannot create", &aside, &error))?;
        let kept = aside.join(self.layout.lib_basename(files.signature));
        let own = fsutil::staging(&aside, FILE_MODE).map_err(cannot)?.into_temp_path();
        // A second name for the old one, of which nobody can have a half; without it nothing but history is lost.
        let _ = fs::remove_file(&own);
        if fs::hard_link(&path, &own).is_ok() {
            let _ = fsutil::rename(&own, &kept);
        }
        log::warn!("{} is replaced, the old one is in {}: {why}", path.display(), aside.display());
        for (path, data) in self.besides(files) {
            fsutil::publish_over(&path, data, FILE_MODE, Power::Safe)
                .map_err(|error| Error::io("cannot write", &path, &error))?;
        }
        fsutil::publish_over(&path, files.library, LIB_MODE, Power::Safe)
            .map_err(|error| Error::io("cannot write", &path, &error))
    }

    fn besides<'a>(&self, files: EntryView<'a>) -> Vec<(PathBuf, &'a [u8])> {
        let signature = files.signature;
        let header = files.header.map(|data| (self.layout.inc(signature), data));
        let source = files.source.map(|(data, packed)| (self.layout.src(signature, packed), data));
        let log = files.log.map(|data| (self.layout.log(signature), data));
        [header, source, log].into_iter().flatten().collect()
    }
}

pub(super) fn first(path: &Path, data: &[u8], mode: u32) -> Result<bool> {
    fsutil::publish_first(path, data, mode, Power::Safe)
        .map_err(|error| Error::io("cannot write", path, &error))
}
