//! Metadata of names in directories.

#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use rustix::fs::FileType;

use crate::fsutil::FileId;

/// Metadata of a name in a directory; links are not followed.
#[derive(Clone, Copy, Debug)]
pub struct EntryMetadata {
    /// File, directory, link or other.
    pub kind: FileType,
    /// The user that owns it.
    pub owner: u32,
    /// Bytes that it takes on the disk.
    pub allocated: u64,
    /// Time of the last modification.
    pub modified: SystemTime,
    /// The file itself.
    pub id: FileId,
}

impl EntryMetadata {
    // The types of the numbers differ between processors.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    pub(super) fn new(stat: &rustix::fs::Stat) -> Self {
        let since =
            Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), stat.st_mtime_nsec as u32);
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            owner: stat.st_uid,
            // A block of stat has 512 bytes on every file system.
            allocated: (stat.st_blocks as u64).saturating_mul(512),
            modified: SystemTime::UNIX_EPOCH + since,
            id: FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
        }
    }

    /// Tells if it is a plain file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Tells if it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}
