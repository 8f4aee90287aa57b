//! A file in memory that the ranks of a host map.
//!
//! It is a file without a name, of the lowest rank of the host, which goes with its last user. The others open
//! it by process id and descriptor, and recognise it by its inode. That fails if they run as another user or in
//! another pid namespace, or if there is no `/proc`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::fs::{fallocate, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use rustix::io::Errno;

use crate::signals::without_signals;

/// Bytes of a handle: process and descriptor (`u32`), and an inode (`u64`).
pub const HANDLE_SIZE: usize = 16;

/// A file in memory, empty until it is mapped.
#[derive(Debug)]
pub struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// Makes a file of this process.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new() -> io::Result<Self> {
        const NAME: &str = "dijitso-ranks";
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
            // An old kernel without this flag.
            Err(Errno::INVAL) => memfd_create(NAME, flags)?,
            made => made?,
        };
        Ok(Self { file: File::from(file) })
    }

    /// Returns the handle by which other processes open the file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn handle(&self) -> io::Result<[u8; HANDLE_SIZE]> {
        let mut handle = [0; HANDLE_SIZE];
        handle[..4].copy_from_slice(&std::process::id().to_le_bytes());
        handle[4..8].copy_from_slice(&self.file.as_raw_fd().to_le_bytes());
        handle[8..].copy_from_slice(&self.file.metadata()?.ino().to_le_bytes());
        Ok(handle)
    }

    /// Opens the file of another process of this host. All memory files of a machine are in one file system,
    /// that of this one.
    ///
    /// # Errors
    /// `NotFound` if it is not there or is another file, and those of the system.
    pub fn open(&self, handle: [u8; HANDLE_SIZE]) -> io::Result<Self> {
        let word =
            |at: usize| u32::from_le_bytes([handle[at], handle[at + 1], handle[at + 2], handle[at + 3]]);
        let inode = u64::from(word(8)) | u64::from(word(12)) << 32;
        let device = self.file.metadata()?.dev();
        let is_same =
            |metadata: &fs::Metadata| inode != 0 && (metadata.dev(), metadata.ino()) == (device, inode);
        // The descriptor may by now be another file of another program, which must not even be opened.
        let path = format!("/proc/{}/fd/{}", word(0), word(4));
        if !is_same(&fs::metadata(&path)?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        if !is_same(&file.metadata()?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { file })
    }

    /// Maps `size` bytes, of which the first `first` have memory. All processes pass the same sizes: the first
    /// one gives the file its length and seals it, so that no process takes the memory away.
    ///
    /// # Errors
    /// Those of the system: a lack of memory is an error here and not a signal at the first access.
    pub fn map(&self, size: usize, first: usize) -> io::Result<MmapRaw> {
        let seals = SealFlags::SHRINK | SealFlags::GROW;
        without_signals(|| Ok(ftruncate(&self.file, size as u64)?))?;
        match fcntl_add_seals(&self.file, seals | SealFlags::SEAL) {
            // Another process was first.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if !fcntl_get_seals(&self.file)?.contains(seals) || self.file.metadata()?.len() != size as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let memory = MmapOptions::new().len(size).map_raw(&self.file)?;
        match memory.advise_range(Advice::PopulateWrite, 0, first) {
            // A kernel before Linux 5.14. It gets all of the memory now.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                without_signals(|| Ok(fallocate(&self.file, FallocateFlags::empty(), 0, size as u64)?))?;
            }
            done => done?,
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_of_the_handle_is_opened() {
        let own = MemoryFile::new().unwrap();
        let handle = own.handle().unwrap();
        assert!(own.open(handle).is_ok());
        let mut wrong = handle;
        let other = tempfile::tempfile().unwrap();
        wrong[4..8].copy_from_slice(&other.as_raw_fd().to_le_bytes());
        assert!(own.open(wrong).is_err(), "another file");
        let second = MemoryFile::new().unwrap();
        wrong[4..8].copy_from_slice(&second.handle().unwrap()[4..8]);
        assert!(own.open(wrong).is_err(), "another file in memory");
        assert!(own.open([0; HANDLE_SIZE]).is_err(), "none");
        wrong = handle;
        wrong[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(own.open(wrong).is_err(), "no such process");
    }

    #[test]
    fn processes_map_the_same_memory_which_none_takes_away() {
        let own = MemoryFile::new().unwrap();
        let other = own.open(own.handle().unwrap()).unwrap();
        let second = other.map(1 << 16, 4096).unwrap();
        let first = own.map(1 << 16, 4096).unwrap();
        assert!(own.map(1 << 17, 4096).is_err(), "another size");
        assert!(ftruncate(&own.file, 0).is_err());
        // SAFETY: both maps have that many bytes, and no other thread uses them.
        unsafe {
            first.as_mut_ptr().add(5).write(7);
            assert_eq!(second.as_ptr().add(5).read(), 7);
        }
    }
}
