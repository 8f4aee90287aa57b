//! Reads plain files at paths that may lead to something else: a FIFO, on which an open or a read waits for
//! ever, a device that never ends, a socket.

#![forbid(unsafe_code)]

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Limit of a library that is read: 4 GiB.
pub const LONGEST_LIBRARY: u64 = 4 << 30;

/// Limit of a source, a header or a log that is read: 256 MiB.
pub const LONGEST_TEXT: u64 = 256 << 20;

/// Limit of a compiler's dependency file: 64 MiB.
pub const LONGEST_LIST: u64 = 64 << 20;

/// Returns the kind of a file in words.
#[must_use]
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_file() => "a plain file",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() => "a block device",
        _ => "a device",
    }
}

/// Makes the error for a path that leads to another kind of file.
#[must_use]
pub fn not_plain(kind: FileType) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, not a plain file", kind_name(kind)))
}

/// Opens a plain file for reading, links followed. Does not wait for the other end of a FIFO.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if it is no plain file; any I/O error.
pub fn open_plain(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(not_plain(metadata.file_type())) }
}

/// Reads a plain file of at most `longest` bytes.
///
/// # Errors
/// As [`open_plain`]; [`io::ErrorKind::FileTooLarge`] and [`io::ErrorKind::OutOfMemory`].
pub fn read_plain(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = open_plain(path)?;
    if metadata.len() > longest {
        return Err(too_long(metadata.len(), longest));
    }
    let mut data = Vec::new();
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    data.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    // The file may still grow.
    file.take(longest).read_to_end(&mut data)?;
    Ok(data)
}

/// Reads a plain text of at most [`LONGEST_TEXT`] bytes.
///
/// # Errors
/// As [`read_plain`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_plain_text(path: &Path) -> io::Result<String> {
    let data = read_plain(path, LONGEST_TEXT)?;
    String::from_utf8(data).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes the error for a file that is too long.
#[must_use]
pub fn too_long(size: u64, longest: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {size} bytes; at most {longest} are allowed"))
}
