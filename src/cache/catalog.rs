//! Lists, reads, stores, copies and removes entries and their files.
//!
//! A file belongs to an entry if its name is exactly one that this cache gives (see
//! [`Layout::signature_of`]). Staged, quarantined and foreign files are not listed. Listing opens no file.
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
    /// Its category.
    pub category: Category,
    /// Its path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes of the disk that it takes.
    pub allocated: u64,
    /// The time of the last change: for a file of the cache that of its publication.
    pub modified: SystemTime,
}

/// All files of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The signature.
    pub signature: String,
    /// Its files: header, source, library and log, if they exist.
    pub files: Vec<Listed>,
}

impl Entry {
    /// The name that the signature was made of.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.signature)
    }

    /// The library. Without one these files are orphans.
    #[must_use]
    pub fn library(&self) -> Option<&Listed> {
        self.files.iter().find(|file| file.category == Category::Lib)
    }

    /// Returns the files of these categories.
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

    /// The time of its publication: that of the library, else of its newest file.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let newest = || self.files.iter().map(|file| file.modified).max();
        self.library().map(|file| file.modified).or_else(newest).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The time since its publication.
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
    /// Signatures without one: headers, sources and logs that remain.
    pub orphans: Vec<Entry>,
}

impl Catalog {
    /// Returns entries and orphans.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.orphans)
    }
}

/// The treatment of existing files in the place of copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep them and fail.
    Keep,
    /// Replace them.
    Replace,
}

impl Cache {
    /// Lists the contents of the cache. A missing cache is empty.
    ///
    /// # Errors
    /// [`Kind::Cache`] if a directory cannot be read.
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
                // It may have been removed since.
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

    /// Lists the entries, sorted by signature.
    ///
    /// # Errors
    /// As [`Cache::catalog`].
    pub fn entries(&self) -> Result<Vec<Entry>> {
        self.catalog().map(|catalog| catalog.entries)
    }

    /// Lists the caches of single ranks below this one (strategy "process"), sorted.
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

    /// Reads the record at the end of a library, without checking its digest: for lists, not for loading.
    /// `None` if there is no library, or it has no record of this signature and version.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the library cannot be read, or other users can write it.
    pub fn record(&self, signature: &str) -> Result<Option<EntryRecord>> {
        let path = self.layout().lib(signature);
        let file = fsutil::open_trusted(&path).map_err(|error| unread(&path, error))?;
        let Some(file) = file else { return Ok(None) };
        let tail =
            record::read_record_tail(&file).map_err(|error| Error::io("cannot read", &path, &error))?;
        Ok(tail.record().filter(|record| record.signature == signature))
    }

    /// Reads the header.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it exists and cannot be read, or other users can write it.
    pub fn read_header(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Inc, signature)
    }

    /// Reads the source, uncompressed.
    ///
    /// # Errors
    /// As [`Cache::read_header`]; [`Kind::Cache`] if it cannot be uncompressed, or is another source.
    pub fn read_source(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Src, signature)
    }

    /// Reads the log.
    ///
    /// # Errors
    /// As [`Cache::read_header`].
    pub fn read_log(&self, signature: &str) -> Result<Option<Vec<u8>>> {
        self.read_file(Category::Log, signature)
    }

    /// Reads a file of an entry, uncompressed.
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

    /// Reads a file that was listed, uncompressed. `None` if it has been removed since.
    ///
    /// # Errors
    /// As [`Cache::read_source`].
    pub fn read_listed(&self, file: &Listed) -> Result<Option<Vec<u8>>> {
        let name = file.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let signature = self.layout().signature_of(file.category, name).unwrap_or_default();
        self.read_checked(file.category, signature, &file.path)
    }

    /// Writes the header of a signature that has no library. A published entry is never changed.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be written, or a library was built with another one.
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
    /// [`Kind::Cache`] if it cannot be written, or a library was built from another one.
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
        // A signature has one source: another form of it could be read instead of this one.
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
    /// [`Kind::Cache`] if it cannot be written.
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

    /// Copies files of a signature to `dir`, which is created. The source is uncompressed. Returns the paths
    /// of the copies, none if the signature has no such files.
    ///
    /// # Errors
    /// [`Kind::Cache`] if a file cannot be read or written; if a copy exists already and `existing` says to
    /// keep it, and nothing is written then.
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
            return Err(exists_already(path));
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
                return Err(exists_already(path));
            }
        }
        Ok(copies.into_iter().map(|(path, ..)| path).collect())
    }

    /// Removes files of a signature, the library first, so that other programs see a complete entry or none.
    /// Returns the paths of the files that it has removed.
    ///
    /// # Errors
    /// [`Kind::Cache`] if a program is building it, or a file cannot be removed; as [`Cache::open`].
    pub fn remove(&self, signature: &str, categories: &[Category]) -> Result<Vec<PathBuf>> {
        check_signature(signature)?;
        let Some(tree) = self.open()?.map(Arc::new) else { return Ok(Vec::new()) };
        let path = self.layout().lease(signature);
        if let Some(info) = lease::look(Some(&tree), &path).filter(|info| info.living) {
            let text = format!("{signature} is being built by {}", info.describe());
            return Err(Error::new(Kind::Cache, text));
        }
        // A program that comes to build it waits. If leases do not work here, entries are safe all the same.
        let _lease = match lease::take(&tree, &path, Duration::from_millis(1), || false) {
            Acquire::Acquired(lease) => Some(lease),
            _ => None,
        };
        let library = self.layout().lib(signature);
        let with_library = categories.contains(&Category::Lib);
        let mut removed = Vec::new();
        let others = categories.iter().filter(|category| **category != Category::Lib);
        let others = others.flat_map(|category| self.layout().candidates(*category, signature));
        for path in with_library.then(|| library.clone()).into_iter().chain(others) {
            // A rank that receives a library publishes it without a lease: these are its files now.
            if with_library && path != library && library.symlink_metadata().is_ok() {
                break;
            }
            if delete(&tree, &path)? {
                removed.push(path);
            }
        }
        if with_library && library.symlink_metadata().is_err() {
            delete(&tree, &self.layout().atime(signature))?;
        }
        Ok(removed)
    }
}

/// Removes a plain file; false if there is none.
fn delete(tree: &Tree, path: &Path) -> Result<bool> {
    if !plain(tree, path)? {
        return Ok(false);
    }
    tree.remove(path).map_err(|error| cannot("cannot remove", path, &error))
}

/// Writes a copy in the place of a plain file.
fn replace(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OutputFile::create(path, mode)?;
    file.write_all(data)?;
    file.finish()
}

fn exists_already(path: &Path) -> Error {
    let text = format!("{} is there already and is not overwritten", path.display());
    Error::new(Kind::Cache, text)
}

#[cfg(test)]
mod tests;
