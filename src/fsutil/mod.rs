//! Files that appear whole or not at all, files that only this user can have written, and gzip. Knows nothing of
//! caches.

#![forbid(unsafe_code)]

mod disk;
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

pub use disk::{is_local, room, room_in_memory, word_of_loader};
use faults::{Op, allow};
pub use folder::{Facts, Folder, Staged, create_dirs};
pub use gzip::{gunzip, gunzip_parts, gzip};
pub use identity::{FileId, FileStamp};
pub use output::{OutputFile, is_stdout, open_log};
pub use plain::{
    LONGEST_LIBRARY, LONGEST_LIST, LONGEST_TEXT, kind_name, not_plain, open_plain, read_plain,
    read_plain_text, too_long,
};
pub use tree::Tree;
pub use trust::{PathTrust, TrustWalk, path_trust, staging_trust, untrusted_reason};

/// How the names of files begin that are not finished; the dot keeps them out of listings. The owner follows, so that
/// whoever comes later knows whether it is still to be finished.
const STAGED_PREFIX: &str = ".staged-";

/// How the names of private folders begin; the owner follows.
const PRIVATE_PREFIX: &str = "dijitso-";

/// What becomes of a file when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Data before name: no name stands for what never reached the disk.
    Synced,
    /// It may be there and empty afterwards, and whoever reads it has to expect that.
    Volatile,
}

/// An empty private file in `dir`, which goes away when it is dropped.
///
/// # Errors
/// Those of the file system.
pub fn staging(dir: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(&format!("{STAGED_PREFIX}{}-", ProcessId::current().tag()))
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
}

fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        // A file system that has no such thing.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP)) => {
            Ok(())
        }
        done => done,
    }
}

/// Gives `path` these contents unless something is already there; see [`Folder::publish_first`].
///
/// # Errors
/// As there.
pub fn publish_noclobber(path: &Path, data: &[u8], mode: u32, power: Durability) -> io::Result<bool> {
    let (folder, name) = folder::of_file(path)?;
    folder.publish_first(name, data, mode, power)
}

/// Gives `path` these contents in one step, whatever was there before.
///
/// # Errors
/// Those of the file system.
pub fn replace_atomic(path: &Path, data: &[u8], mode: u32, power: Durability) -> io::Result<()> {
    let (folder, name) = folder::of_file(path)?;
    folder.publish_over(name, data, mode, power)
}

/// Gives a file in a folder of our own these contents. Raises no signal in the host.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, data: impl AsRef<[u8]>) -> io::Result<()> {
    without_signals(|| fs::write(path, data))
}

/// Copies a file with its mode. Raises no signal in the host.
///
/// # Errors
/// Those of the file system.
pub fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    without_signals(|| fs::copy(from, to))
}

/// Why a file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// Somebody else can have written it.
    Refused(String),
    /// The file system says no.
    Failed(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The contents of a file that only this user, or root, can have written; `None` when there is no such file.
///
/// Owner and mode are those of the open file, not of its path; a symbolic link is not followed.
///
/// # Errors
/// Why it was not read; that it does not exist is no error.
pub fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    read_own_up_to(path, u64::MAX)
}

/// As [`read_own`], of a file of at most `longest` bytes.
///
/// # Errors
/// As [`read_own`]; [`io::ErrorKind::FileTooLarge`].
pub fn read_own_up_to(path: &Path, longest: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut data = Vec::new();
    Ok(read_own_part(path, longest, &mut data)?.then_some(data))
}

/// As [`read_own`], behind what is in `data` already; false when there is no such file. Where it fails, `data` is as it
/// was.
///
/// # Errors
/// As [`read_own`].
pub fn read_trusted_onto(path: &Path, data: &mut Vec<u8>) -> Result<bool, ReadError> {
    read_own_part(path, u64::MAX, data)
}

fn read_own_part(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<bool, ReadError> {
    const ATTEMPTS: usize = 3;
    let before = data.len();
    let mut attempt = 1;
    loop {
        match read_once(path, longest, data) {
            Ok(there) => return Ok(there),
            // Replaced on the server while a network disk had it open: the name leads to the new one.
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

fn read_once(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<bool, ReadError> {
    let Some((file, facts)) = open_with_facts(path)? else { return Ok(false) };
    if facts.len() > longest {
        return Err(too_long(facts.len(), longest).into());
    }
    let size = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    data.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    // As much as there was when it was looked at, without asking for more: what is written later is not ours.
    let end = data.len() + size;
    while data.len() < end {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(data)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(ReadError::Failed(error.into())),
        }
    }
    data.truncate(end);
    Ok(true)
}

/// A file that only this user, or root, can have written, open for reading; `None` when there is no such file. As
/// [`read_own`], for a look at a part of it.
///
/// # Errors
/// As [`read_own`].
pub fn open_trusted(path: &Path) -> Result<Option<File>, ReadError> {
    Ok(open_with_facts(path)?.map(|(file, _)| file))
}

fn open_with_facts(path: &Path) -> Result<Option<(File, fs::Metadata)>, ReadError> {
    allow(Op::Read, path)?;
    // A pipe that somebody put here must not hold us.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(ReadError::Refused("it is a symbolic link".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(ReadError::Refused("it is not a file".to_owned()));
    }
    if let Some(reason) = untrusted_reason(&facts) {
        return Err(ReadError::Refused(reason));
    }
    Ok(Some((file, facts)))
}

/// What of the disk a file takes, in bytes.
#[must_use]
pub fn allocated(facts: &fs::Metadata) -> u64 {
    // Blocks of stat have 512 bytes, whatever those of the disk have.
    facts.blocks().saturating_mul(512)
}

/// Gives an empty file, which is made if need be, the time of now.
///
/// # Errors
/// Those of the file system.
pub fn touch(path: &Path, mode: u32) -> io::Result<()> {
    let (folder, name) = folder::of_file(path)?;
    folder.touch(name, mode)
}

/// Whether there is anything at this path, be it a link that leads nowhere.
#[must_use]
pub fn exists_nofollow(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Something that a process has begun and not finished.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// A file or folder.
    pub path: PathBuf,
    /// Whether nobody will finish it.
    pub left: bool,
}

/// Who has begun what has this name, if it is the name of something unfinished.
fn beginner(name: &str) -> Option<ProcessId> {
    let tag = name.strip_prefix(STAGED_PREFIX).or_else(|| name.strip_prefix(PRIVATE_PREFIX))?;
    ProcessId::from_tag(tag)
}

/// Whether this is a name that unfinished files and private folders have.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    beginner(name).is_some()
}

/// What processes have begun in a directory, and whether they still can finish it. Only what belongs to this user.
#[must_use]
pub fn unfinished(dir: &Folder) -> Vec<Unfinished> {
    // Another host's are left alone for as long as any build may take.
    const LONG: Duration = Duration::from_secs(2 * 24 * 3600);
    let own = rustix::process::geteuid().as_raw();
    let mut all = Vec::new();
    for name in dir.list().unwrap_or_default() {
        let Some(owner) = name.to_str().and_then(beginner) else { continue };
        let Ok(Some(facts)) = dir.facts(&name) else { continue };
        if facts.owner != own || !(facts.is_file() || facts.is_dir()) {
            continue;
        }
        let old = || SystemTime::now().duration_since(facts.modified).is_ok_and(|age| age > LONG);
        let left = match owner.liveness() {
            Liveness::Dead => true,
            Liveness::Unknown => old(),
            Liveness::Alive | Liveness::Stopped => false,
        };
        all.push(Unfinished { path: dir.path().join(name), left });
    }
    all
}

/// Removes from a directory what processes that have ended left unfinished. Says nothing: it is done again.
pub fn sweep(dir: &Folder) {
    for unfinished in unfinished(dir).into_iter().filter(|unfinished| unfinished.left) {
        let path = &unfinished.path;
        match dir.remove_all(path.file_name().unwrap_or_default()) {
            Ok(_) => log::info!("removed {}, left by a program that has ended", path.display()),
            Err(error) => log::info!("cannot remove {}: {error}", path.display()),
        }
    }
}

/// Whether this is the name of a file that has not got its contents yet; see [`staging`].
#[must_use]
pub fn is_staged(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(STAGED_PREFIX))
}

/// A new directory that only this user can enter, removed with everything in it when dropped.
///
/// # Errors
/// Those of the file system; a `root` in which, or above which, others can rename what is not theirs: they could put
/// another directory in its place while a program writes to it by its path.
pub fn private_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    match staging_trust(root)? {
        PathTrust::Trusted(real) => folder_in(&real),
        PathTrust::Missing => Err(io::ErrorKind::NotFound.into()),
        PathTrust::Renamable(reason) | PathTrust::Untrusted(reason) => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
        }
    }
}

/// A private directory in the first of `places` where nobody else can put another in its place. A place that is not
/// there is made, but for the first.
///
/// # Errors
/// Those of the file system at the place that was taken; when there is none, why the first is none.
pub fn staging_dir(places: &[PathBuf]) -> io::Result<tempfile::TempDir> {
    let mut why_not: Option<(&Path, String)> = None;
    for place in places {
        let mut standing = staging_trust(place);
        if let (Ok(PathTrust::Missing), Some(_), Some(parent)) = (&standing, &why_not, place.parent())
            && matches!(staging_trust(parent), Ok(PathTrust::Trusted(_)))
        {
            create_dirs(place)?;
            standing = staging_trust(place);
        }
        match (standing, &why_not) {
            (Ok(PathTrust::Renamable(reason) | PathTrust::Untrusted(reason)), None) => {
                why_not = Some((place, reason));
            }
            // What is wrong with the place that was asked for is to be told.
            (Ok(PathTrust::Missing), None) => return Err(io::ErrorKind::NotFound.into()),
            (Err(error), None) => return Err(error),
            (Ok(PathTrust::Trusted(real)), None) => return folder_in(&real),
            (Ok(PathTrust::Trusted(real)), Some((wanted, reason))) => {
                let Ok(folder) = folder_in(&real) else { continue };
                tell_once(wanted, &real, reason);
                return Ok(folder);
            }
            (_, Some(_)) => {}
        }
    }
    let (_, reason) = why_not.unwrap_or((Path::new(""), "no place was named".to_owned()));
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Says once in a process that another place is taken than the one that was asked for.
fn tell_once(wanted: &Path, taken: &Path, reason: &str) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&TOLD).insert(wanted.to_owned()) {
        log::info!("staging in {} and not in {}: {reason}", taken.display(), wanted.display());
    }
}

/// A new directory that only this user can enter, in one that need not be safe: for what is not read again. Not in one
/// where anybody can rename what is not theirs.
///
/// # Errors
/// Those of the file system.
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
        // The umask has taken the rights of this user away.
        fs::set_permissions(folder.path(), private())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
