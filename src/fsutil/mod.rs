//! Files that appear whole or not at all, files that only this user can have written, and gzip. Knows nothing of
//! caches.

#![forbid(unsafe_code)]

mod disk;
pub mod faults;
mod gzip;
mod output;
mod plain;
mod trust;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::owner::{Life, Owner};

pub use disk::{is_local, room, room_in_memory};
use faults::{Op, allow};
pub use gzip::{gunzip, gunzip_parts, gzip};
pub use output::{OutputFile, is_stdout, open_log};
pub use plain::{
    LONGEST_LIBRARY, LONGEST_LIST, LONGEST_TEXT, kind_name, not_plain, open_plain, read_plain,
    read_plain_text, too_long,
};
pub use trust::{Look, Standing, distrust, shelter, standing};

/// Creates a directory and its parents, for this user only. A path at which a file stands is an error.
///
/// # Errors
/// Those of the file system.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    // Asked first: on a network disk, or one that is read-only, looking is cheaper than trying.
    if path.is_dir() {
        return Ok(());
    }
    allow(Op::Create, path)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// How the names of files begin that are not finished; the dot keeps them out of listings. The owner follows, so that
/// whoever comes later knows whether it is still to be finished.
const STAGED_PREFIX: &str = ".staged-";

/// How the names of private folders begin; the owner follows.
const PRIVATE_PREFIX: &str = "dijitso-";

/// What becomes of a file when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Data before name: no name stands for what never reached the disk.
    Safe,
    /// It may be there and empty afterwards, and whoever reads it has to expect that.
    Careless,
}

/// A private file in the directory of `path`, with the contents, not yet under its name.
fn stage(path: &Path, data: &[u8], mode: u32, power: Power) -> io::Result<NamedTempFile> {
    allow(Op::Create, path)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut staged = staging(parent, mode)?;
    allow(Op::Write, path)?;
    staged.write_all(data)?;
    if power == Power::Safe {
        sync(staged.as_file())?;
    }
    Ok(staged)
}

/// An empty private file in `dir`, which goes away when it is dropped.
///
/// # Errors
/// Those of the file system.
pub fn staging(dir: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(&format!("{STAGED_PREFIX}{}-", Owner::me().tag()))
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

/// Gives `path` these contents unless something is already there. True when this call made it.
///
/// The file appears whole, in one step (a rename that refuses to overwrite, or a hard link); what was there is never
/// touched. A network disk that reports a failure although it did what it was asked (the answer was lost, and the
/// second request found it done) is not believed: the file that stands there is compared with ours.
///
/// # Errors
/// Those of the file system.
pub fn publish_first(path: &Path, data: &[u8], mode: u32, power: Power) -> io::Result<bool> {
    let staged = stage(path, data, mode, power)?;
    allow(Op::Name, path)?;
    match staged.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(refused) if is_at(path, refused.file.as_file()) => Ok(true),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(refused) => Err(refused.error),
    }
}

/// Gives `path` these contents in one step, whatever was there before.
///
/// # Errors
/// Those of the file system.
pub fn publish_over(path: &Path, data: &[u8], mode: u32, power: Power) -> io::Result<()> {
    let staged = stage(path, data, mode, power)?;
    allow(Op::Name, path)?;
    match staged.persist(path) {
        Err(refused) if !is_at(path, refused.file.as_file()) => Err(refused.error),
        _ => Ok(()),
    }
}

/// Whether `path` is a name of this open file.
fn is_at(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(ours)) = (fs::symlink_metadata(path), file.metadata()) else { return false };
    (named.dev(), named.ino()) == (ours.dev(), ours.ino())
}

/// Moves a file to another name, over what is there. False when there is no such file.
///
/// # Errors
/// Those of the file system.
pub fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    allow(Op::Name, from)?;
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    /// Somebody else can have written it.
    Refused(String),
    /// The file system says no.
    Failed(io::Error),
}

impl From<io::Error> for Unread {
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
pub fn read_own(path: &Path) -> Result<Option<Vec<u8>>, Unread> {
    read_own_up_to(path, u64::MAX)
}

/// As [`read_own`], of a file of at most `longest` bytes.
///
/// # Errors
/// As [`read_own`]; [`io::ErrorKind::FileTooLarge`].
pub fn read_own_up_to(path: &Path, longest: u64) -> Result<Option<Vec<u8>>, Unread> {
    let mut data = Vec::new();
    Ok(read_own_part(path, longest, &mut data)?.then_some(data))
}

/// As [`read_own`], behind what is in `data` already; false when there is no such file. Where it fails, `data` is as it
/// was.
///
/// # Errors
/// As [`read_own`].
pub fn read_own_onto(path: &Path, data: &mut Vec<u8>) -> Result<bool, Unread> {
    read_own_part(path, u64::MAX, data)
}

fn read_own_part(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<bool, Unread> {
    const ATTEMPTS: usize = 3;
    let before = data.len();
    let mut attempt = 1;
    loop {
        match read_once(path, longest, data) {
            Ok(there) => return Ok(there),
            // Replaced on the server while a network disk had it open: the name leads to the new one.
            Err(Unread::Failed(error))
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

fn read_once(path: &Path, longest: u64, data: &mut Vec<u8>) -> Result<bool, Unread> {
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
            Err(error) => return Err(Unread::Failed(error.into())),
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
pub fn open_own(path: &Path) -> Result<Option<File>, Unread> {
    Ok(open_with_facts(path)?.map(|(file, _)| file))
}

fn open_with_facts(path: &Path) -> Result<Option<(File, fs::Metadata)>, Unread> {
    allow(Op::Read, path)?;
    // A pipe that somebody put here must not hold us.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(Unread::Refused("it is a symbolic link".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(Unread::Refused("it is not a file".to_owned()));
    }
    if let Some(reason) = distrust(&facts) {
        return Err(Unread::Refused(reason));
    }
    Ok(Some((file, facts)))
}

/// What of the disk a file takes, in bytes.
#[must_use]
pub fn allocated(facts: &fs::Metadata) -> u64 {
    // Blocks of stat have 512 bytes, whatever those of the disk have.
    facts.blocks().saturating_mul(512)
}

/// Appends to a file of this user, in one step for all that write to it from this host. Gives its size before that.
///
/// # Errors
/// Those of the file system.
pub fn append(path: &Path, data: &[u8], mode: u32) -> io::Result<u64> {
    allow(Op::Create, path)?;
    // A pipe or link that somebody put here must not hold us, nor lead us elsewhere.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = File::options().append(true).create(true).mode(mode).custom_flags(flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    allow(Op::Write, path)?;
    // Once: the rest of a line that did not fit would come behind those of others.
    if file.write(data)? < data.len() {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(facts.len())
}

/// Gives an empty file, which is made if need be, the time of now.
///
/// # Errors
/// Those of the file system.
pub fn touch(path: &Path, mode: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    allow(Op::Create, path)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    match utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => {}
        done => return Ok(done?),
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().append(true).create(true).mode(mode).custom_flags(flags).open(path).map(drop)
}

/// Whether there is anything at this path, be it a link that leads nowhere.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Something that a process has begun and not finished.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// A file or folder.
    pub path: PathBuf,
    /// Whether nobody will finish it.
    pub left: bool,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// What processes have begun in `dir`, and whether they still can finish it. Only what belongs to this user.
#[must_use]
pub fn unfinished(dir: &Path) -> Vec<Unfinished> {
    // Another host's are left alone for as long as any build may take.
    const LONG: Duration = Duration::from_secs(2 * 24 * 3600);
    let own = rustix::process::geteuid().as_raw();
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let tag = name.strip_prefix(STAGED_PREFIX).or_else(|| name.strip_prefix(PRIVATE_PREFIX));
        let Some(owner) = tag.and_then(Owner::from_tag) else { continue };
        let Ok(facts) = entry.metadata() else { continue };
        let old = || {
            let age = facts.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            age.is_some_and(|age| age > LONG)
        };
        let left = match owner.life() {
            Life::Dead => true,
            Life::Unknown => old(),
            Life::Alive | Life::Stopped => false,
        };
        if facts.uid() == own {
            all.push(Unfinished { path: entry.path(), left, is_dir: facts.is_dir() });
        }
    }
    all
}

/// Removes from `dir` what processes that have ended left unfinished. Says nothing: it is done again.
pub fn sweep(dir: &Path) {
    for unfinished in unfinished(dir).into_iter().filter(|unfinished| unfinished.left) {
        let path = &unfinished.path;
        match remove(path, unfinished.is_dir) {
            Ok(()) => log::info!("removed {}, left by a program that has ended", path.display()),
            Err(error) => log::info!("cannot remove {}: {error}", path.display()),
        }
    }
}

/// Whether this is the name of a file that has not got its contents yet; see [`staging`].
#[must_use]
pub fn is_staged(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(STAGED_PREFIX))
}

/// Removes from `dir` the plain files that are older than this, by their own clock. Says nothing.
pub fn remove_old(dir: &Path, age: Duration) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let old = entry.metadata().ok().filter(fs::Metadata::is_file).and_then(|facts| facts.modified().ok());
        if old.is_some_and(|time| SystemTime::now().duration_since(time).is_ok_and(|since| since > age)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes a file, or a folder with all that is in it.
///
/// # Errors
/// Those of the file system.
pub fn remove(path: &Path, is_dir: bool) -> io::Result<()> {
    allow(Op::Create, path)?;
    if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// A new directory that only this user can enter, removed with everything in it when dropped.
///
/// # Errors
/// Those of the file system; a `root` in which, or above which, others can rename what is not theirs: they could put
/// another directory in its place while a program writes to it by its path.
pub fn private_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    match shelter(root)? {
        Standing::Firm(real) => folder_in(&real),
        Standing::Missing => Err(io::ErrorKind::NotFound.into()),
        Standing::Loose(reason) | Standing::Refused(reason) => {
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
        let mut standing = shelter(place);
        if let (Ok(Standing::Missing), Some(_), Some(parent)) = (&standing, &why_not, place.parent())
            && matches!(shelter(parent), Ok(Standing::Firm(_)))
        {
            create_dirs(place)?;
            standing = shelter(place);
        }
        match (standing, &why_not) {
            (Ok(Standing::Loose(reason) | Standing::Refused(reason)), None) => {
                why_not = Some((place, reason));
            }
            // What is wrong with the place that was asked for is to be told.
            (Ok(Standing::Missing), None) => return Err(io::ErrorKind::NotFound.into()),
            (Err(error), None) => return Err(error),
            (Ok(Standing::Firm(real)), None) => return folder_in(&real),
            (Ok(Standing::Firm(real)), Some((wanted, reason))) => {
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
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(wanted.to_owned()) {
        log::info!("staging in {} and not in {}: {reason}", taken.display(), wanted.display());
    }
}

/// A new directory that only this user can enter, in one that need not be safe: for what is not read again. Not in one
/// where anybody can rename what is not theirs.
///
/// # Errors
/// Those of the file system.
pub fn unguarded_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    match shelter(root)? {
        Standing::Refused(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
        _ => folder_in(root),
    }
}

fn folder_in(root: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("{PRIVATE_PREFIX}{}-", Owner::me().tag()))
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(root)
}

#[cfg(test)]
mod tests;
