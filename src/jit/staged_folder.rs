//! Private folders with libraries that one rank of a host has staged for all.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::sync::{lock, try_lock};

/// A private folder with libraries, which only this user can enter.
pub(super) struct StagedFolder {
    path: PathBuf,
    /// On the leader.
    owned: Mutex<Option<OwnedFolder>>,
}

/// A folder that this process has made. It is removed when this is dropped, but not by a forked process.
struct OwnedFolder {
    process: u32,
    folder: Option<TempDir>,
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        if self.process != std::process::id()
            && let Some(folder) = self.folder.take()
        {
            let _ = folder.keep();
        }
    }
}

impl StagedFolder {
    /// Takes over a folder that this process has made.
    pub(super) fn new(folder: TempDir) -> Self {
        let path = folder.path().to_owned();
        let owned = OwnedFolder { process: std::process::id(), folder: Some(folder) };
        Self { path, owned: Mutex::new(Some(owned)) }
    }

    /// Returns the folder that the leader of this host has named.
    pub(super) fn of_leader(path: &[u8]) -> Self {
        Self { path: PathBuf::from(OsStr::from_bytes(path)), owned: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder, if this process has made it. What was loaded from it stays loaded.
    pub(super) fn remove(&self) {
        let owned = try_lock(&self.owned).and_then(|mut owned| owned.take());
        drop(owned);
    }
}

/// The folders that this process keeps for later calls.
#[derive(Default)]
pub(super) struct StagedFolders(Mutex<Vec<Weak<StagedFolder>>>);

impl StagedFolders {
    /// Adds a folder.
    pub(super) fn keep(&self, folder: &Arc<StagedFolder>) {
        let mut folders = lock(&self.0);
        folders.retain(|folder| folder.strong_count() > 0);
        folders.push(Arc::downgrade(folder));
    }

    /// Removes all folders, at the end of the process. Waits for no other thread.
    pub(super) fn remove_all(&self) {
        let folders = try_lock(&self.0).map(|mut folders| std::mem::take(&mut *folders)).unwrap_or_default();
        folders.iter().filter_map(Weak::upgrade).for_each(|folder| folder.remove());
    }
}
