//! Tells one file from another, and one state of a file from another.

#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Device and inode: the same for all names of a file, on one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The number of its file system.
    pub device: u64,
    /// Its number in its file system.
    pub inode: u64,
}

impl FileId {
    /// Takes the identity from metadata.
    #[must_use]
    pub fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the identity of the file that a path leads to, links followed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::new(&metadata))
    }
}

/// The state of a file as far as metadata shows it. Any change of the file changes it, also one that restores
/// size and modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last modification, in nanoseconds since 1970.
    pub mtime: i64,
    /// Time of the last change by the clock of the file system, which no program can set, in nanoseconds
    /// since 1970.
    pub ctime: i64,
    /// Its number in its file system.
    pub inode: u64,
}

impl FileStamp {
    /// Takes the stamp from metadata.
    #[must_use]
    pub fn new(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Returns the stamp of the file that a path leads to, links followed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::new(&metadata))
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
