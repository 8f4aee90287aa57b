//! Directories that are open. What is done in one is done there, whatever its path leads to by then: no link in it is
//! followed, and others cannot have written it.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::fsutil::FileId;
use crate::owner::ProcessId;
use crate::signals::without_signals;

use super::faults::{Op, allow};
use super::{Durability, PathTrust, STAGED_PREFIX, path_trust, staging_trust, sync, untrusted_reason};

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    dir: File,
    path: PathBuf,
}

/// What is known of a name in a directory; a link is a link.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What it is.
    pub kind: FileType,
    /// Its user.
    pub owner: u32,
    /// Bytes of the disk that it takes.
    pub allocated: u64,
    /// When it was last changed.
    pub modified: SystemTime,
    /// The file itself.
    pub id: FileId,
}

impl Facts {
    // The types of the numbers differ between processors.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    fn new(stat: &rustix::fs::Stat) -> Self {
        let since =
            Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), stat.st_mtime_nsec as u32);
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            owner: stat.st_uid,
            // Blocks of stat have 512 bytes, whatever those of the disk have.
            allocated: (stat.st_blocks as u64).saturating_mul(512),
            modified: SystemTime::UNIX_EPOCH + since,
            id: FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
        }
    }

    /// Whether it is a plain file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

fn denied(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens a directory that only this user and root can write. `None` when it is not there.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::PermissionDenied`] with the reason when the directory, or what leads
    /// to it, is refused (see [`standing`]).
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::standing(path, path_trust(path)?)
    }

    /// As [`Folder::open`], for a directory of which is known how it stands.
    ///
    /// # Errors
    /// As there.
    pub fn standing(path: &Path, standing: PathTrust) -> io::Result<Option<Self>> {
        let (at, flags) = match standing {
            PathTrust::Missing => return Ok(None),
            PathTrust::Untrusted(reason) => return Err(denied(reason)),
            PathTrust::Trusted(real) => (real, ENTER | OFlags::NOFOLLOW),
            // Others can put another directory there: what is opened is looked at below.
            PathTrust::Renamable(_) => (path.to_owned(), ENTER),
        };
        Self::enter(CWD, at.as_os_str(), flags, path.to_owned())
    }

    /// Opens a directory to make or remove files of known names in it, whoever else can write there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn writable(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = File::from(rustix::fs::openat(CWD, at, flags, Mode::empty())?);
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Opens a directory in which others may write, but cannot rename what is not theirs: a temporary directory. `None`
    /// when it is not there.
    ///
    /// # Errors
    /// As [`Folder::open`], also where others can rename what is in it.
    pub fn shelter(path: &Path) -> io::Result<Option<Self>> {
        match staging_trust(path)? {
            PathTrust::Missing => Ok(None),
            PathTrust::Untrusted(reason) | PathTrust::Renamable(reason) => Err(denied(reason)),
            PathTrust::Trusted(real) => {
                let dir = rustix::fs::openat(CWD, &real, ENTER | OFlags::NOFOLLOW, Mode::empty())?;
                Ok(Some(Self { dir: File::from(dir), path: path.to_owned() }))
            }
        }
    }

    /// Opens a directory in this one, which must be no link, and be this user's or root's alone. `None` when it is not
    /// there.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn sub(&self, name: &OsStr) -> io::Result<Option<Self>> {
        Self::enter(&self.dir, name, ENTER | OFlags::NOFOLLOW, self.path.join(name))
    }

    fn enter(
        from: impl std::os::fd::AsFd,
        name: &OsStr,
        flags: OFlags,
        path: PathBuf,
    ) -> io::Result<Option<Self>> {
        let dir = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Ok(dir) => File::from(dir),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(denied(format!("{} is a link or a file, and no directory", path.display())));
            }
            Err(error) => return Err(error.into()),
        };
        match untrusted_reason(&dir.metadata()?) {
            Some(reason) => Err(denied(format!("{}: {reason}", path.display()))),
            None => Ok(Some(Self { dir, path })),
        }
    }

    /// As [`Folder::sub`]; makes the directory if need be, for this user only.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn make(&self, name: &OsStr) -> io::Result<Self> {
        if let Some(there) = self.sub(name)? {
            return Ok(there);
        }
        let path = self.path.join(name);
        allow(Op::Create, &path)?;
        match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) => {
                let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if Mode::from_raw_mode(stat.st_mode) & Mode::RWXU != Mode::RWXU {
                    // The umask has taken the rights of this user away.
                    rustix::fs::chmodat(&self.dir, name, Mode::RWXU, AtFlags::empty())?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sub(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.dir
    }

    /// The names in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn list(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// What a name in it stands for. `None` when there is no such name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Facts::new(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name that is no directory. False when there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Create, &self.path.join(name))?;
        gone(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()))
    }

    /// Removes a directory of this user with all that is in it, or a file. False when there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_all(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Create, &self.path.join(name))?;
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            // POSIX says EPERM, Linux EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return gone(done),
        }
        let Some(folder) = self.sub(name)? else { return Ok(false) };
        folder.empty(0)?;
        gone(rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR))
    }

    /// Removes all that is in it. Others cannot get here: nobody else can enter the folder that this is in.
    fn empty(&self, depth: usize) -> io::Result<()> {
        /// Deeper than any folder that this library or a compiler makes; each level takes a descriptor.
        const DEEPEST: usize = 64;
        for name in self.list()? {
            match rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) if depth < DEEPEST => {}
                done => {
                    gone(done)?;
                    continue;
                }
            }
            let dir = rustix::fs::openat(&self.dir, &name, ENTER | OFlags::NOFOLLOW, Mode::empty())?;
            Self { dir: File::from(dir), path: self.path.join(&name) }.empty(depth + 1)?;
            gone(rustix::fs::unlinkat(&self.dir, &name, AtFlags::REMOVEDIR))?;
        }
        Ok(())
    }

    /// Moves a file to a name in a directory, over what is there. False when there is no such file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<bool> {
        allow(Op::Name, &self.path.join(name))?;
        gone(rustix::fs::renameat(&self.dir, name, &to.dir, new))
    }

    /// Gives a file a second name, unless that is taken.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.dir, name, &to.dir, new, AtFlags::empty())?)
    }

    /// Makes an empty file under a name of its own, which is removed when it is dropped.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn stage(&self, mode: u32) -> io::Result<Staged<'_>> {
        use std::hash::{BuildHasher, RandomState};
        const ATTEMPTS: usize = 16;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let tag = ProcessId::current().tag();
        for _ in 0..ATTEMPTS {
            let random = RandomState::new().hash_one(SystemTime::now());
            let name = OsString::from(format!("{STAGED_PREFIX}{tag}-{random:016x}"));
            match rustix::fs::openat(&self.dir, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(file) => {
                    let staged = Staged { folder: self, name, file: File::from(file) };
                    own_mode(&staged.file, mode)?;
                    return Ok(staged);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Writes a file that is to get this name; it has one of its own until then.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, name: &OsStr, data: &[u8], mode: u32, power: Durability) -> io::Result<Staged<'_>> {
        let path = self.path.join(name);
        allow(Op::Create, &path)?;
        let mut staged = self.stage(mode)?;
        allow(Op::Write, &path)?;
        without_signals(|| staged.file.write_all(data))?;
        if power == Durability::Synced {
            sync(&staged.file)?;
        }
        Ok(staged)
    }

    /// Gives `name` these contents unless something is already there, as [`Staged::name_first`]. True when this call made
    /// it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn publish_first(&self, name: &OsStr, data: &[u8], mode: u32, power: Durability) -> io::Result<bool> {
        self.write(name, data, mode, power)?.name_first(name)
    }

    /// Gives `name` these contents in one step, whatever was there before.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn publish_over(&self, name: &OsStr, data: &[u8], mode: u32, power: Durability) -> io::Result<()> {
        self.write(name, data, mode, power)?.name_over(name)
    }

    /// Whether `name` is a name of this open file.
    fn is_at(&self, name: &OsStr, file: &File) -> bool {
        let (Ok(Some(named)), Ok(ours)) = (self.facts(name), file.metadata()) else { return false };
        named.id == FileId::new(&ours)
    }

    /// Opens a plain file that only this user or root can have written. `None` when there is none.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::PermissionDenied`] with the reason.
    pub fn open_file(&self, name: &OsStr) -> io::Result<Option<File>> {
        let path = self.path.join(name);
        allow(Op::Read, &path)?;
        // A pipe that somebody put here must not hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(denied("it is a symbolic link".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(denied("it is not a file".to_owned()));
        }
        untrusted_reason(&facts).map_or(Ok(Some(file)), |reason| Err(denied(reason)))
    }

    /// The contents of such a file, if it is no longer than `most`.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn read(&self, name: &OsStr, most: u64) -> io::Result<Option<Vec<u8>>> {
        const ATTEMPTS: usize = 3;
        // Replaced on the server while a network disk had it open: the name leads to the new one.
        let is_stale = |read: &io::Result<_>| {
            read.as_ref().is_err_and(|error: &io::Error| error.raw_os_error() == Some(libc::ESTALE))
        };
        let mut read = self.read_once(name, most);
        for _ in 1..ATTEMPTS {
            if !is_stale(&read) {
                break;
            }
            read = self.read_once(name, most);
        }
        read
    }

    fn read_once(&self, name: &OsStr, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let mut data = Vec::new();
        let length = file.take(most.saturating_add(1)).read_to_end(&mut data)?;
        if length as u64 > most {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(Some(data))
    }

    /// Appends to a plain file, in one step for all that write to it from this host. Gives its size before that.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn append(&self, name: &OsStr, data: &[u8], mode: u32) -> io::Result<u64> {
        let path = self.path.join(name);
        let mut file = self.file_to_append(name, mode)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        allow(Op::Write, &path)?;
        // Once: the rest of a line that did not fit would come behind those of others.
        if without_signals(|| file.write(data))? < data.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(facts.len())
    }

    fn file_to_append(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        allow(Op::Create, &self.path.join(name))?;
        // A pipe or link that somebody put here must not hold us, nor lead us elsewhere.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        match rustix::fs::openat(&self.dir, name, flags, mode) {
            Err(Errno::NOENT) => {}
            done => return Ok(File::from(done?)),
        }
        let file = File::from(rustix::fs::openat(&self.dir, name, flags | OFlags::CREATE, mode)?);
        own_mode(&file, mode.as_raw_mode())?;
        Ok(file)
    }

    /// Opens a file that is there for writing, without looking at its contents: to give it the time of now, again and
    /// again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open_to_touch(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?))
    }

    /// Gives an empty file, which is made if need be, the time of now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn touch(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        use rustix::fs::{Timespec, Timestamps, UTIME_NOW, utimensat};
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        match utimensat(&self.dir, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => self.file_to_append(name, mode).map(drop),
            done => Ok(done?),
        }
    }
}

/// Gives a file that was just made the rights of this user that the umask has taken away.
fn own_mode(file: &File, mode: u32) -> io::Result<()> {
    let lacking = file.metadata()?.mode() & mode & 0o700 != mode & 0o700;
    if lacking { file.set_permissions(fs::Permissions::from_mode(mode)) } else { Ok(()) }
}

fn gone(done: rustix::io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A file that has not got its name yet; removed when it is dropped, if it has got none.
#[derive(Debug)]
pub struct Staged<'a> {
    folder: &'a Folder,
    name: OsString,
    file: File,
}

impl Staged<'_> {
    /// The name that it has until then.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it this name unless something has it already. True when it has the name.
    ///
    /// The file appears whole, in one step (a rename that refuses to overwrite, or a hard link); what was there is never
    /// touched. A network disk that reports a failure although it did what it was asked (the answer was lost, and the
    /// second request found it done) is not believed: the file that stands there is compared with ours.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn name_first(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Name, &self.folder.path.join(name))?;
        let dir = &self.folder.dir;
        let done = match rustix::fs::renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
            // A system or file system that has no such thing.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(dir, &self.name, dir, name, AtFlags::empty())
            }
            done => done,
        };
        match done {
            Ok(()) => Ok(true),
            Err(_) if self.folder.is_at(name, &self.file) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it this name in one step, whatever had it before.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn name_over(&self, name: &OsStr) -> io::Result<()> {
        allow(Op::Name, &self.folder.path.join(name))?;
        match rustix::fs::renameat(&self.folder.dir, &self.name, &self.folder.dir, name) {
            Err(error) if !self.folder.is_at(name, &self.file) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.folder.dir, &self.name, AtFlags::empty());
    }
}

/// Makes a directory and those above it that are not there, for this user only. A path at which a file stands is an
/// error.
///
/// # Errors
/// Those of the file system.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // Asked first: on a network disk, or one that is read-only, looking is cheaper than trying.
    if path.is_dir() {
        return Ok(());
    }
    allow(Op::Create, path)?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dirs(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let facts = fs::symlink_metadata(path)?;
            if facts.is_dir() && facts.mode() & 0o700 != 0o700 {
                // The umask has taken the rights of this user away.
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a directory to make a file in it, by the path of that file.
pub(super) fn of_file(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((Folder::writable(path.parent().unwrap_or(Path::new(".")))?, name))
}
