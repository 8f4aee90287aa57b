//! Open directories below one directory, by path. Each is opened from the one above it without following a
//! link, checked, and kept open.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Durability;
use super::entry_metadata::EntryMetadata;
use super::folder::Folder;
use crate::sync::lock;

/// An open directory, with those below it that were entered. All paths begin with its path.
#[derive(Debug)]
pub struct Tree {
    top: Arc<Folder>,
    entered: Mutex<HashMap<PathBuf, Arc<Folder>>>,
}

impl Tree {
    /// Makes the tree below an open directory.
    #[must_use]
    pub fn new(top: Folder) -> Self {
        Self { top: Arc::new(top), entered: Mutex::default() }
    }

    /// Opens the tree below a directory. `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        Ok(Folder::open(path)?.map(Self::new))
    }

    /// Returns the directory itself.
    #[must_use]
    pub fn top(&self) -> &Folder {
        &self.top
    }

    /// Tells if a path is that of this directory or below it.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(self.top.path())
    }

    /// Opens a directory below this one. If `make` is true, makes it and those above it. `None` if it does
    /// not exist.
    ///
    /// # Errors
    /// As [`Folder::sub`].
    pub fn enter(&self, dir: &Path, make: bool) -> io::Result<Option<Arc<Folder>>> {
        if let Some(folder) = lock(&self.entered).get(dir) {
            return Ok(Some(Arc::clone(folder)));
        }
        let below = dir.strip_prefix(self.top.path()).map_err(|_| {
            let text = format!("it is not below {}", self.top.path().display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let mut folder = Arc::clone(&self.top);
        for part in below.components() {
            let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
            folder = Arc::new(match make {
                true => folder.make(name)?,
                false => match folder.sub(name)? {
                    Some(sub) => sub,
                    None => return Ok(None),
                },
            });
        }
        lock(&self.entered).insert(dir.to_owned(), Arc::clone(&folder));
        Ok(Some(folder))
    }

    /// Opens the directory that holds a path; returns it with the name.
    fn place<'a>(&self, path: &'a Path, make: bool) -> io::Result<Option<(Arc<Folder>, &'a OsStr)>> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(self.enter(dir, make)?.map(|folder| (folder, name)))
    }

    fn made<'a>(&self, path: &'a Path) -> io::Result<(Arc<Folder>, &'a OsStr)> {
        self.place(path, true)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns the names in a directory, sorted; none if it does not exist.
    ///
    /// # Errors
    /// As [`Folder::list`].
    pub fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = self.enter(dir, false)?.map_or(Ok(Vec::new()), |folder| folder.list())?;
        names.sort();
        Ok(names)
    }

    /// Reads the metadata of a path, as [`Folder::metadata`] does.
    ///
    /// # Errors
    /// As [`Folder::metadata`].
    pub fn metadata(&self, path: &Path) -> io::Result<Option<EntryMetadata>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.metadata(name))
    }

    /// Removes a file, as [`Folder::remove`] does.
    ///
    /// # Errors
    /// As [`Folder::remove`].
    pub fn remove(&self, path: &Path) -> io::Result<bool> {
        self.place(path, false)?.map_or(Ok(false), |(folder, name)| folder.remove(name))
    }

    /// Removes a file or directory, as [`Folder::remove_all`] does.
    ///
    /// # Errors
    /// As [`Folder::remove_all`].
    pub fn remove_all(&self, path: &Path) -> io::Result<bool> {
        self.place(path, false)?.map_or(Ok(false), |(folder, name)| folder.remove_all(name))
    }

    /// Renames a file, as [`Folder::rename`] does. Makes the directory of `to` if it does not exist.
    ///
    /// # Errors
    /// As [`Folder::rename`].
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let Some((folder, name)) = self.place(from, false)? else { return Ok(false) };
        let (other, new) = self.made(to)?;
        folder.rename(name, &other, new)
    }

    /// Makes a hard link, as [`Folder::link`] does.
    ///
    /// # Errors
    /// As [`Folder::link`].
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Some((folder, name)) = self.place(from, false)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (other, new) = self.made(to)?;
        folder.link(name, &other, new)
    }

    /// Opens a file, as [`Folder::open_file`] does.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn open_file(&self, path: &Path) -> io::Result<Option<File>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.open_file(name))
    }

    /// Reads a file, as [`Folder::read`] does.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.read(name, most))
    }

    /// Publishes a file, as [`Folder::publish_noclobber`] does. Makes its directory if it does not exist, as
    /// the functions below do.
    ///
    /// # Errors
    /// As [`Folder::publish_noclobber`].
    pub fn publish_noclobber(
        &self,
        path: &Path,
        data: &[u8],
        mode: u32,
        durability: Durability,
    ) -> io::Result<bool> {
        let (folder, name) = self.made(path)?;
        folder.publish_noclobber(name, data, mode, durability)
    }

    /// Replaces a file, as [`Folder::replace_atomic`] does.
    ///
    /// # Errors
    /// As [`Folder::replace_atomic`].
    pub fn replace_atomic(
        &self,
        path: &Path,
        data: &[u8],
        mode: u32,
        durability: Durability,
    ) -> io::Result<()> {
        let (folder, name) = self.made(path)?;
        folder.replace_atomic(name, data, mode, durability)
    }

    /// Appends to a file, as [`Folder::append`] does.
    ///
    /// # Errors
    /// As [`Folder::append`].
    pub fn append(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<u64> {
        let (folder, name) = self.made(path)?;
        folder.append(name, data, mode)
    }

    /// Touches a file, as [`Folder::touch`] does.
    ///
    /// # Errors
    /// As [`Folder::touch`].
    pub fn touch(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (folder, name) = self.made(path)?;
        folder.touch(name, mode)
    }
}
