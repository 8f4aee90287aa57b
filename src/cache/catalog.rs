//! What is in the cache: entries with the sizes and ages of their files, and the files themselves.
//!
//! A file belongs to an entry when its name is exactly one that this cache gives (see [`Layout::signature_of`]): what is
//! staged, set aside or somebody else's is not listed. Listing opens no file.
//!
//! [`Layout::signature_of`]: super::layout::Layout::signature_of

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, OutputFile, Tree};
use crate::params::resolved::SourceStorage;
use crate::signature::{check_signature, name_of};

use super::layout::Category;
use super::lease::{self, Acquire};
use super::open::cannot;
use super::publish::plain;
use super::record::{self, EntryRecord};
use super::source::{check_source, is_packed};
use super::{Cache, FILE_MODE, unread};

/// A file of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub category: Category,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes of the disk that it takes.
    pub allocated: u64,
    /// When it was last changed, which for a file of the cache is when it was published.
    pub modified: SystemTime,
}

/// All files of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The signature.
    pub signature: String,
    /// Its files: header, source, library, log, as far as they are there.
    pub files: Vec<Listed>,
}

impl Entry {
    /// The name that the signature was made of.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.signature)
    }

    /// The library; without one this is no entry but what is left of one.
    #[must_use]
    pub fn library(&self) -> Option<&Listed> {
        self.files.iter().find(|file| file.category == Category::Lib)
    }

    /// The files of these categories.
    pub fn of(&self, categories: &[Category]) -> impl Iterator<Item = &Listed> {
        self.files.iter().filter(move |file| categories.contains(&file.category))
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Bytes of the disk that its files take.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.files.iter().map(|file| file.allocated).sum()
    }

    /// When it was published: the time of the library, else of its newest file.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let newest = || self.files.iter().map(|file| file.modified).max();
        self.library().map(|file| file.modified).or_else(newest).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How long ago it was published.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.modified().elapsed().unwrap_or_default()
    }
}

/// The contents of a cache at one moment, sorted by signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Signatures with a library.
    pub entries: Vec<Entry>,
    /// Signatures without one: headers, sources and logs that are left.
    pub orphans: Vec<Entry>,
}

impl Catalog {
    /// Entries and what is left of some.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.orphans)
    }
}

/// What to do with files that stand where files are to be extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave them and give up.
    Keep,
    /// Replace them.
    Replace,
}

impl Cache {
    /// The contents of the cache. One that is not there is empty.
    ///
    /// # Errors
    /// [`Kind::Cache`] when a directory cannot be read.
    pub fn catalog(&self) -> Result<Catalog> {
        let mut all: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for category in Category::ALL {
            let dir = self.layout().dir(category);
            let cannot = |error: io::Error| Error::io("cannot read", &dir, &error);
            let files = match fs::read_dir(&dir) {
                Ok(files) => files,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(cannot(error)),
            };
            for file in files {
                let file = file.map_err(cannot)?;
                let name = file.file_name();
                let signature = name.to_str().and_then(|name| self.layout().signature_of(category, name));
                // Whoever made it may have removed it again.
                let (Some(signature), Ok(facts)) = (signature, file.metadata()) else { continue };
                if !facts.is_file() {
                    continue;
                }
                let modified = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let (size, allocated) = (facts.len(), fsutil::allocated(&facts));
                let listed = Listed { category, path: file.path(), size, allocated, modified };
                all.entry(signature.to_owned()).or_default().push(listed);
            }
        }
        let all = all.into_iter().map(|(signature, files)| Entry { signature, files });
        let (entries, orphans) = all.partition(|entry| entry.library().is_some());
        Ok(Catalog { entries, orphans })
    }

    /// The entries, sorted by signature.
    ///
    /// # Errors
    /// As [`Cache::catalog`].
    pub fn entries(&self) -> Result<Vec<Entry>> {
        self.catalog().map(|catalog| catalog.entries)
    }

    /// The caches below this one that single ranks have for themselves (strategy "process"), sorted.
    #[must_use]
    pub fn of_processes(&self) -> Vec<PathBuf> {
        let is_rank = |file: &fs::DirEntry| {
            let rank =
                file.file_name().to_str().and_then(|name| name.strip_prefix("process-")?.parse::<u32>().ok());
            rank.is_some() && file.file_type().is_ok_and(|kind| kind.is_dir())
        };
        let files = fs::read_dir(self.layout().root()).into_iter().flatten().flatten();
        let mut dirs: Vec<PathBuf> = files.filter(is_rank).map(|file| file.path()).collect();
        dirs.sort();
        dirs
    }

    /// What is recorded in a library, read from its end alone and taken for what it says: for lists, not for loading.
    /// `None` when there is no library, or one without a record of its own.
    ///
    /// # Errors
    /// [`Kind::Cache`] when the library cannot be read, or others can have written it.
    pub fn record(&self, signature: &str) -> Result<Option<EntryRecord>> {
        let path = self.layout().lib(signature);
        let file = fsutil::open_trusted(&path).map_err(|why| unread(&path, why))?;
        let Some(file) = file else { return Ok(None) };
        let tail =
            record::read_record_tail(&file).map_err(|error| Error::io("cannot read", &path, &error))?;
        Ok(tail.record().filter(|record| record.signature == signature))
    }

    /// The header.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it is there and cannot be read, or others can have written it.
    pub fn read_header(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Inc, signature)
    }

    /// The source, as it was before it was compressed.
    ///
    /// # Errors
    /// As [`Cache::read_header`]; when it is compressed and damaged.
    pub fn read_source(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Src, signature)
    }

    /// The log.
    ///
    /// # Errors
    /// As [`Cache::read_header`].
    pub fn read_log(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Log, signature)
    }

    /// A file of an entry; a compressed one as it was before.
    ///
    /// # Errors
    /// As [`Cache::read_source`].
    pub fn read_file(&self, category: Category, signature: &str) -> Result<Option<Vec<u8>>> {
        check_signature(signature)?;
        for path in self.layout().candidates(category, signature) {
            if let Some(data) = self.read_checked(category, signature, &path)? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// A file that was listed; a compressed one as it was before. `None` when it has been removed since.
    ///
    /// # Errors
    /// As [`Cache::read_source`].
    pub fn read_listed(&self, file: &Listed) -> Result<Option<Vec<u8>>> {
        let name = file.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let signature = self.layout().signature_of(file.category, name).unwrap_or_default();
        self.read_checked(file.category, signature, &file.path)
    }

    /// Writes the header of a signature that has no library: what is published is never changed.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be written, or a library was built with another one.
    pub fn store_header(&self, signature: &str, text: &[u8]) -> Result<()> {
        check_signature(signature)?;
        let library = self.layout().lib(signature);
        if library.exists() && self.read_header(signature)?.as_deref() != Some(text) {
            let text = format!("{} was built with another header; remove it first", library.display());
            return Err(Error::new(Kind::Cache, text));
        }
        self.store(&self.layout().inc(signature), text).map(drop)
    }

    /// Writes the source of a signature, compressed unless `cache.src_storage` is "keep".
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be written, or a library was built from another one.
    pub fn store_source(&self, signature: &str, text: &[u8]) -> Result<()> {
        check_signature(signature)?;
        if let Some(record) = self.record(signature)? {
            check_source(&record, text, false).map_err(|reason| {
                Error::new(Kind::Cache, format!("the source of {signature} is not stored: {reason}"))
            })?;
        }
        let packed = self.layout().params().src_storage != SourceStorage::Keep;
        let path = self.layout().src(signature, packed);
        let tree = if packed { self.store(&path, &fsutil::gzip(text))? } else { self.store(&path, text)? };
        // One source for each signature: another form of it would be taken for this one.
        for other in self.layout().candidates(Category::Src, signature) {
            if other != path {
                delete(&tree, &other)?;
            }
        }
        Ok(())
    }

    /// Writes the log of a signature.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be written.
    pub fn store_log(&self, signature: &str, text: &[u8]) -> Result<()> {
        check_signature(signature)?;
        self.store(&self.layout().log(signature), text).map(drop)
    }

    fn store(&self, path: &Path, data: &[u8]) -> Result<Tree> {
        let tree = self.open_or_make()?;
        tree.replace_atomic(path, data, FILE_MODE, Durability::Synced)
            .map_err(|error| cannot("cannot write", path, &error))?;
        Ok(tree)
    }

    /// Copies files of a signature to `dir`, which is created; the source is not compressed there. Gives the paths of
    /// the copies, none when the signature has no such files.
    ///
    /// # Errors
    /// [`Kind::Cache`] when a file cannot be read or written, or stands there already and `existing` says to keep it;
    /// nothing is written then.
    pub fn extract(
        &self,
        signature: &str,
        categories: &[Category],
        dir: &Path,
        existing: Existing,
    ) -> Result<Vec<PathBuf>> {
        const TEXT_MODE: u32 = 0o644;
        const PROGRAM_MODE: u32 = 0o755;
        check_signature(signature)?;
        let mut copies = Vec::new();
        for category in categories {
            for path in self.layout().candidates(*category, signature) {
                let Some(data) = self.read_checked(*category, signature, &path)? else { continue };
                let plain = if is_packed(&path) { path.with_extension("") } else { path };
                let mode = if *category == Category::Lib { PROGRAM_MODE } else { TEXT_MODE };
                copies.push((dir.join(plain.file_name().unwrap_or_default()), data, mode));
                break;
            }
        }
        let in_the_way = copies.iter().find(|(path, ..)| path.symlink_metadata().is_ok());
        if let (Some((path, ..)), Existing::Keep) = (in_the_way, existing) {
            return Err(stands_there(path));
        }
        if !copies.is_empty() {
            fs::create_dir_all(dir).map_err(|error| Error::io("cannot create", dir, &error))?;
        }
        for (path, data, mode) in &copies {
            let written = match existing {
                Existing::Keep => fsutil::publish_noclobber(path, data, *mode, Durability::Volatile),
                Existing::Replace => replace(path, data, *mode).map(|()| true),
            };
            if !written.map_err(|error| Error::io("cannot write", path, &error))? {
                return Err(stands_there(path));
            }
        }
        Ok(copies.into_iter().map(|(path, ..)| path).collect())
    }

    /// Removes files of a signature, the library first, so that others see a whole entry or none. Gives the paths of
    /// what was removed.
    ///
    /// # Errors
    /// [`Kind::Cache`] when somebody is building it just now, or a file cannot be removed; as [`Cache::open`].
    pub fn remove(&self, signature: &str, categories: &[Category]) -> Result<Vec<PathBuf>> {
        check_signature(signature)?;
        let Some(tree) = self.open()?.map(Arc::new) else { return Ok(Vec::new()) };
        let path = self.layout().lease(signature);
        let busy = |who: &str| Error::new(Kind::Cache, format!("{signature} is being built by {who}"));
        if let Some(held) = lease::look(Some(&tree), &path).filter(|held| held.living) {
            return Err(busy(&held.describe()));
        }
        // Whoever comes to build it while we are at it waits. Where leases do not work, entries are safe all the same.
        let _lease = match lease::take(&tree, &path, Duration::from_millis(1), || false) {
            Acquire::Acquired(lease) => Some(lease),
            _ => None,
        };
        let library = self.layout().lib(signature);
        let whole = categories.contains(&Category::Lib);
        let mut removed = Vec::new();
        let others = categories.iter().filter(|category| **category != Category::Lib);
        let others = others.flat_map(|category| self.layout().candidates(*category, signature));
        for path in whole.then(|| library.clone()).into_iter().chain(others) {
            // Who receives a library publishes it without a lease: its files are not ours any more.
            if whole && path != library && library.symlink_metadata().is_ok() {
                break;
            }
            if delete(&tree, &path)? {
                removed.push(path);
            }
        }
        if whole && library.symlink_metadata().is_err() {
            delete(&tree, &self.layout().atime(signature))?;
        }
        Ok(removed)
    }
}

/// Removes a plain file. False when there is none.
fn delete(tree: &Tree, path: &Path) -> Result<bool> {
    if !plain(tree, path)? {
        return Ok(false);
    }
    tree.remove(path).map_err(|error| cannot("cannot remove", path, &error))
}

/// Writes a copy in the place of an earlier one. What is no plain file there is not replaced.
fn replace(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OutputFile::create(path, mode)?;
    file.write_all(data)?;
    file.finish()
}

fn stands_there(path: &Path) -> Error {
    let text = format!("{} is there already and is not overwritten", path.display());
    Error::new(Kind::Cache, text)
}

#[cfg(test)]
mod tests;
