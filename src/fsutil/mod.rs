//! Atomic publication of files, reading of files that only this user can have written, and gzip. Nothing here
//! depends on the layout of a cache.

#![forbid(unsafe_code)]

mod create_dirs;
mod disk;
mod entry_metadata;
pub mod faults;
mod folder;
mod gzip;
mod identity;
mod output;
mod plain;
mod tree;
mod trust;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::owner::{Liveness, ProcessId};
use crate::signals::without_signals;
use crate::sync::lock;

pub use create_dirs::create_dirs;
pub use disk::{free_bytes, free_bytes_in_memory, is_local, loader_token, seems_local};
pub use entry_metadata::EntryMetadata;
use faults::{Op, allow};
pub use folder::{Folder, Staged};
pub use gzip::{gunzip, gunzip_parts, gzip};
pub use identity::{FileId, FileStamp, FileState};
pub use output::{OutputFile, is_stdout, open_log};
pub use plain::{
    LONGEST_LIBRARY, LONGEST_LIST, LONGEST_TEXT, kind_name, not_plain, open_plain, read_plain,
    read_plain_text, too_long,
};
pub use tree::Tree;
pub use trust::{PathTrust, TrustWalk, path_trust, staging_trust, untrusted_reason, untrusted_state};

/// Begins the hidden names of unfinished files. The tag of the process follows, so that others can tell if it
/// still runs.
const STAGED_PREFIX: &str = ".staged-";

/// Begins the names of private directories. The tag of the process follows.
const PRIVATE_PREFIX: &str = "dijitso-";

/// The contents that a file has for certain after a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// All of its contents: they reach the disk before the name does.
    Synced,
    /// Nothing: readers must expect an empty file.
    Volatile,
}

/// Makes an empty private file in `dir`, which is removed when the value is dropped.
///
/// # Errors
/// Any I/O error.
pub fn staging(dir: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(&format!("{STAGED_PREFIX}{}-", ProcessId::current().tag()))
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
}

fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        // The file system cannot.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP)) => {
            Ok(())
        }
        done => done,
    }
}

/// Publishes these contents at `path` unless the path is taken; see [`Folder::publish_noclobber`].
///
/// # Errors
/// As [`Folder::publish_noclobber`].
pub fn publish_noclobber(path: &Path, data: &[u8], mode: u32, durability: Durability) -> io::Result<bool> {
    let (folder, name) = folder::of_file(path)?;
    folder.publish_noclobber(name, data, mode, durability)
}

/// Publishes these contents at `path` in one step, and replaces what is there.
///
/// # Errors
/// Any I/O error.
pub fn replace_atomic(path: &Path, data: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let (folder, name) = folder::of_file(path)?;
    folder.replace_atomic(name, data, mode, durability)
}

/// Writes a file in a private directory. Raises no signal in the host.
///
/// # Errors
/// Any I/O error.
pub fn write(path: &Path, data: impl AsRef<[u8]>) -> io::Result<()> {
    without_signals(|| fs::write(path, data))
}

/// Copies a file with its mode. Raises no signal in the host.
///
/// # Errors
/// Any I/O error.
pub fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    without_signals(|| fs::copy(from, to))
}

/// Reason why a file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// Another user can have written it.
    Refused(String),
    /// An I/O error.
    Failed(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads a file that only this user and root can have written; `None` if there is none.
///
/// Owner and mode are those of the open file, not of its path. A symbolic link is not followed.
///
/// # Errors
/// [`ReadError::Refused`] if others can have written it, or if it is no plain file; [`ReadError::Failed`].
pub fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    read_trusted_up_to(path, u64::MAX)
}

/// Reads such a file of at most `longest` bytes.
///
/// # Errors
/// As [`read_trusted`]; [`io::ErrorKind::FileTooLarge`].
pub fn read_trusted_up_to(path: &Path, longest: u64) -> Result<Option<Vec<u8>>, ReadError> {
    Ok(read_trusted_with_state(path, longest)?.map(|(data, _)| data))
}

/// Does the same. Returns the state of the file before it was read, too.
///
/// # Errors
/// As [`read_trusted_up_to`].
pub fn read_trusted_with_state(path: &Path, longest: u64) -> Result<Option<(Vec<u8>, FileState)>, ReadError> {
    let mut data = Vec::new();
    Ok(read_trusted_part(path, longest, &mut data)?.map(|state| (data, state)))
}

/// Appends the contents of such a file to `data`. Returns the state of the file before it was read; `None` if
/// there is none. After an error `data` is as it was.
///
/// # Errors
/// As [`read_trusted`].
pub fn read_trusted_onto(path: &Path, data: &mut Vec<u8>) -> Result<Option<FileState>, ReadError> {
    read_trusted_part(path, u64::MAX, data)
}

fn read_trusted_part(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<Option<FileState>, ReadError> {
    const ATTEMPTS: usize = 3;
    let before = data.len();
    let mut attempt = 1;
    loop {
        match read_once(path, longest, data) {
            Ok(state) => return Ok(state),
            // The file was replaced on the server of a network disk while it was open. The name leads to the
            // new one.
            Err(ReadError::Failed(error))
                if attempt < ATTEMPTS && error.raw_os_error() == Some(libc::ESTALE) =>
            {
                data.truncate(before);
                attempt += 1;
            }
            Err(why) => {
                data.truncate(before);
                return Err(why);
            }
        }
    }
}

fn read_once(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<Option<FileState>, ReadError> {
    let Some((file, metadata)) = open_with_metadata(path)? else { return Ok(None) };
    if metadata.len() > longest {
        return Err(too_long(metadata.len(), longest).into());
    }
    fill(&file, metadata.len(), data)?;
    Ok(Some(FileState::new(&metadata)))
}

/// Appends a file of this size to `data`, by one call to the system if that gives all. Bytes that are appended
/// to the file meanwhile are not read.
fn fill(file: &File, size: u64, data: &mut Vec<u8>) -> io::Result<()> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    data.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let end = data.len() + size;
    while data.len() < end {
        match rustix::io::read(file, rustix::buffer::spare_capacity(data)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    data.truncate(end);
    Ok(())
}

/// Opens a file that only this user and root can have written; `None` if there is none.
///
/// # Errors
/// As [`read_trusted`].
pub fn open_trusted(path: &Path) -> Result<Option<File>, ReadError> {
    Ok(open_with_metadata(path)?.map(|(file, _)| file))
}

fn open_with_metadata(path: &Path) -> Result<Option<(File, fs::Metadata)>, ReadError> {
    allow(Op::Read, path)?;
    // A FIFO that another user put here must not block this process.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(ReadError::Refused("it is a symbolic link".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::Refused("it is not a file".to_owned()));
    }
    if let Some(reason) = untrusted_reason(&metadata) {
        return Err(ReadError::Refused(reason));
    }
    Ok(Some((file, metadata)))
}

/// Returns the bytes that a file takes on the disk.
#[must_use]
pub fn allocated(metadata: &fs::Metadata) -> u64 {
    // A block of stat has 512 bytes on every file system.
    metadata.blocks().saturating_mul(512)
}

/// Sets the times of a file to now. Makes an empty file if there is none.
///
/// # Errors
/// Any I/O error.
pub fn touch(path: &Path, mode: u32) -> io::Result<()> {
    let (folder, name) = folder::of_file(path)?;
    folder.touch(name, mode)
}

/// Tells if this path exists, also as a link that leads nowhere.
#[must_use]
pub fn exists_nofollow(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// A file or directory that a process has begun and not finished.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The path of the file or directory.
    pub path: PathBuf,
    /// True if the process has ended, so that it stays unfinished.
    pub left: bool,
}

/// Returns the process that gave this name to an unfinished file or a private directory.
fn creator_in_name(name: &str) -> Option<ProcessId> {
    let tag = name.strip_prefix(STAGED_PREFIX).or_else(|| name.strip_prefix(PRIVATE_PREFIX))?;
    ProcessId::from_tag(tag)
}

/// Tells if unfinished files or private directories have such names.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    creator_in_name(name).is_some()
}

/// Lists the unfinished files and directories of this user in a directory.
#[must_use]
pub fn unfinished(dir: &Folder) -> Vec<Unfinished> {
    // Those of another host are left alone for longer than any build takes.
    const LONG: Duration = Duration::from_secs(2 * 24 * 3600);
    let own = rustix::process::geteuid().as_raw();
    let mut all = Vec::new();
    for name in dir.list().unwrap_or_default() {
        let Some(owner) = name.to_str().and_then(creator_in_name) else { continue };
        let Ok(Some(metadata)) = dir.metadata(&name) else { continue };
        if metadata.owner != own || !(metadata.is_file() || metadata.is_dir()) {
            continue;
        }
        let old = || SystemTime::now().duration_since(metadata.modified).is_ok_and(|age| age > LONG);
        let left = match owner.liveness() {
            Liveness::Dead => true,
            Liveness::Unknown => old(),
            Liveness::Alive | Liveness::Stopped => false,
        };
        all.push(Unfinished { path: dir.path().join(name), left });
    }
    all
}

/// Removes from a directory what ended processes left unfinished. Errors are only logged: the next sweep
/// tries again.
pub fn sweep(dir: &Folder) {
    for unfinished in unfinished(dir).into_iter().filter(|unfinished| unfinished.left) {
        let path = &unfinished.path;
        match dir.remove_all(path.file_name().unwrap_or_default()) {
            Ok(_) => log::info!("removed {}, left by a program that has ended", path.display()),
            Err(error) => log::info!("cannot remove {}: {error}", path.display()),
        }
    }
}

/// Tells if this is the hidden name of an unfinished file; see [`staging`].
#[must_use]
pub fn is_staged(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(STAGED_PREFIX))
}

/// Makes a directory that only this user can enter, which is removed with its contents when the value is
/// dropped.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if others can rename what is in `root` or above it, because they could
/// replace the directory while a program writes to it by its path; any I/O error.
pub fn private_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    match staging_trust(root)? {
        PathTrust::Trusted(real) => folder_in(&real),
        PathTrust::Missing => Err(io::ErrorKind::NotFound.into()),
        PathTrust::Renamable(reason) | PathTrust::Untrusted(reason) => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
        }
    }
}

/// Makes a private directory in the first of `places` in which no other user can replace it. Places after the
/// first are made if they do not exist.
///
/// # Errors
/// Any I/O error at the chosen place; if none is safe, [`io::ErrorKind::PermissionDenied`] with what is wrong
/// with the first.
pub fn staging_dir(places: &[PathBuf]) -> io::Result<tempfile::TempDir> {
    let mut why_not: Option<(&Path, String)> = None;
    for place in places {
        let mut trust = staging_trust(place);
        if let (Ok(PathTrust::Missing), Some(_), Some(parent)) = (&trust, &why_not, place.parent())
            && matches!(staging_trust(parent), Ok(PathTrust::Trusted(_)))
        {
            create_dirs(place)?;
            trust = staging_trust(place);
        }
        match (trust, &why_not) {
            (Ok(PathTrust::Renamable(reason) | PathTrust::Untrusted(reason)), None) => {
                why_not = Some((place, reason));
            }
            // The caller learns what is wrong with the place that it asked for.
            (Ok(PathTrust::Missing), None) => return Err(io::ErrorKind::NotFound.into()),
            (Err(error), None) => return Err(error),
            (Ok(PathTrust::Trusted(real)), None) => return folder_in(&real),
            (Ok(PathTrust::Trusted(real)), Some((wanted, reason))) => {
                let Ok(folder) = folder_in(&real) else { continue };
                log_once(wanted, &real, reason);
                return Ok(folder);
            }
            (_, Some(_)) => {}
        }
    }
    let (_, reason) = why_not.unwrap_or((Path::new(""), "no place was named".to_owned()));
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Logs once in a process that the files are staged elsewhere than asked for.
fn log_once(wanted: &Path, taken: &Path, reason: &str) {
    static LOGGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&LOGGED).insert(wanted.to_owned()) {
        log::info!("staging in {} and not in {}: {reason}", taken.display(), wanted.display());
    }
}

/// Makes a directory that only this user can enter, for what is not read again, so that others may be able to
/// rename it.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if any user can rename what is in `root`; any I/O error.
pub fn unguarded_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    match staging_trust(root)? {
        PathTrust::Untrusted(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
        _ => folder_in(root),
    }
}

fn folder_in(root: &Path) -> io::Result<tempfile::TempDir> {
    let private = || fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new()
        .prefix(&format!("{PRIVATE_PREFIX}{}-", ProcessId::current().tag()))
        .permissions(private())
        .tempdir_in(root)?;
    if folder.path().metadata()?.mode() & 0o700 != 0o700 {
        // The umask took rights of this user.
        fs::set_permissions(folder.path(), private())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
