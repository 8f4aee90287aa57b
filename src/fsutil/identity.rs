//! Tells one file from another, and one state of a file from another.

#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};
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

impl FileStamp {
    /// Returns the stamp of the file of this name in an open directory, links followed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn below(dir: impl AsFd, name: &str) -> io::Result<Self> {
        Ok(Self::of_statx(&statx(dir, name, AtFlags::empty(), StatxFlags::BASIC_STATS)?))
    }

    fn of_statx(facts: &Statx) -> Self {
        let time = |of: rustix::fs::StatxTimestamp| nanoseconds(of.tv_sec, of.tv_nsec.into());
        Self {
            size: facts.stx_size,
            mtime: time(facts.stx_mtime),
            ctime: time(facts.stx_ctime),
            inode: facts.stx_ino,
        }
    }

    /// Returns true if the file is old enough that its stamp identifies its contents: another change of it would
    /// not come within the same tick of the file system's clock.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        /// Nanoseconds: longer than a tick of any file system's clock.
        const TICK: i64 = 2_000_000_000;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).saturating_sub(self.ctime) > TICK
    }
}

/// The identity, state, owner and mode of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// Which file it is.
    pub id: FileId,
    /// The state of its contents.
    pub stamp: FileStamp,
    pub(super) owner: u32,
    pub(super) mode: u32,
}

impl FileState {
    /// Takes the state from metadata.
    #[must_use]
    pub fn new(metadata: &Metadata) -> Self {
        Self {
            id: FileId::new(metadata),
            stamp: FileStamp::new(metadata),
            owner: metadata.uid(),
            mode: metadata.mode(),
        }
    }

    /// Returns the present state of a file, links not followed. A network disk asks its server.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn now(path: &Path) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let facts: Statx = statx(CWD, path, flags, StatxFlags::BASIC_STATS)?;
        let device = rustix::fs::makedev(facts.stx_dev_major, facts.stx_dev_minor);
        Ok(Self {
            id: FileId { device, inode: facts.stx_ino },
            stamp: FileStamp::of_statx(&facts),
            owner: facts.stx_uid,
            mode: facts.stx_mode.into(),
        })
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
