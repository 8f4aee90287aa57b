//! A directory with those below it, by paths, without following a link: each directory is opened from the one above it,
//! looked at, and kept open.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Durability;
use super::folder::{Facts, Folder};
use crate::sync::lock;

/// A directory that is open, with those below it that have been entered. All paths begin with the path of it.
#[derive(Debug)]
pub struct Tree {
    top: Arc<Folder>,
    entered: Mutex<HashMap<PathBuf, Arc<Folder>>>,
}

impl Tree {
    /// The tree below a directory.
    #[must_use]
    pub fn new(top: Folder) -> Self {
        Self { top: Arc::new(top), entered: Mutex::default() }
    }

    /// Opens the tree below a directory. `None` when it is not there.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        Ok(Folder::open(path)?.map(Self::new))
    }

    /// The directory itself.
    #[must_use]
    pub fn top(&self) -> &Folder {
        &self.top
    }

    /// Whether a path is below this directory, or is its own.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(self.top.path())
    }

    /// Enters a directory; makes it, and those above it, if `make` says so. `None` when it is not there.
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

    /// The directory that holds a path, and the name in it.
    fn place<'a>(&self, path: &'a Path, make: bool) -> io::Result<Option<(Arc<Folder>, &'a OsStr)>> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(self.enter(dir, make)?.map(|folder| (folder, name)))
    }

    fn made<'a>(&self, path: &'a Path) -> io::Result<(Arc<Folder>, &'a OsStr)> {
        self.place(path, true)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The names in a directory, sorted; none when it is not there.
    ///
    /// # Errors
    /// As [`Folder::list`].
    pub fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = self.enter(dir, false)?.map_or(Ok(Vec::new()), |folder| folder.list())?;
        names.sort();
        Ok(names)
    }

    /// As [`Folder::facts`].
    ///
    /// # Errors
    /// As there.
    pub fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.facts(name))
    }

    /// As [`Folder::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self, path: &Path) -> io::Result<bool> {
        self.place(path, false)?.map_or(Ok(false), |(folder, name)| folder.remove(name))
    }

    /// As [`Folder::remove_all`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_all(&self, path: &Path) -> io::Result<bool> {
        self.place(path, false)?.map_or(Ok(false), |(folder, name)| folder.remove_all(name))
    }

    /// As [`Folder::rename`]; makes the directory of `to` if need be.
    ///
    /// # Errors
    /// As there.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let Some((folder, name)) = self.place(from, false)? else { return Ok(false) };
        let (other, new) = self.made(to)?;
        folder.rename(name, &other, new)
    }

    /// As [`Folder::link`].
    ///
    /// # Errors
    /// As there.
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Some((folder, name)) = self.place(from, false)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (other, new) = self.made(to)?;
        folder.link(name, &other, new)
    }

    /// As [`Folder::open_file`].
    ///
    /// # Errors
    /// As there.
    pub fn open_file(&self, path: &Path) -> io::Result<Option<File>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.open_file(name))
    }

    /// As [`Folder::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        self.place(path, false)?.map_or(Ok(None), |(folder, name)| folder.read(name, most))
    }

    /// As [`Folder::publish_first`]; makes the directory if need be, as all that follow.
    ///
    /// # Errors
    /// As there.
    pub fn publish_first(&self, path: &Path, data: &[u8], mode: u32, power: Durability) -> io::Result<bool> {
        let (folder, name) = self.made(path)?;
        folder.publish_first(name, data, mode, power)
    }

    /// As [`Folder::publish_over`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_over(&self, path: &Path, data: &[u8], mode: u32, power: Durability) -> io::Result<()> {
        let (folder, name) = self.made(path)?;
        folder.publish_over(name, data, mode, power)
    }

    /// As [`Folder::append`].
    ///
    /// # Errors
    /// As there.
    pub fn append(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<u64> {
        let (folder, name) = self.made(path)?;
        folder.append(name, data, mode)
    }

    /// As [`Folder::touch`].
    ///
    /// # Errors
    /// As there.
    pub fn touch(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (folder, name) = self.made(path)?;
        folder.touch(name, mode)
    }
}
