//! Open directories. Operations go by the descriptor, so they reach this directory even if its path leads
//! elsewhere by then. They follow no link, and refuse files that other users can have written.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::fsutil::FileId;
use crate::owner::ProcessId;
use crate::signals::without_signals;

use super::entry_metadata::EntryMetadata;
use super::faults::{Op, allow};
use super::{Durability, PathTrust, STAGED_PREFIX, fill, path_trust, staging_trust, sync, untrusted_reason};

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    dir: File,
    path: PathBuf,
}

fn denied(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens a directory that only this user and root can write. `None` if it does not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] with the reason if the directory is not trusted (see
    /// [`path_trust`]); any I/O error.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::open_as(path, path_trust(path)?)
    }

    /// Opens a directory whose path trust is known, as [`Folder::open`] does.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn open_as(path: &Path, trust: PathTrust) -> io::Result<Option<Self>> {
        let (at, flags) = match trust {
            PathTrust::Missing => return Ok(None),
            PathTrust::Untrusted(reason) => return Err(denied(reason)),
            PathTrust::Trusted(real) => (real, ENTER | OFlags::NOFOLLOW),
            // Others can replace the directory, so what was opened is checked below.
            PathTrust::Renamable(_) => (path.to_owned(), ENTER),
        };
        Self::enter(CWD, at.as_os_str(), flags, path.to_owned())
    }

    /// Opens a directory to make or remove files of known names in it, even if others can write to it.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn writable(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = File::from(rustix::fs::openat(CWD, at, flags, Mode::empty())?);
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Opens a temporary directory: others may write to it, but cannot rename what is not theirs. `None` if
    /// it does not exist.
    ///
    /// # Errors
    /// As [`Folder::open`], also if others can rename what is in it.
    pub fn open_temporary(path: &Path) -> io::Result<Option<Self>> {
        match staging_trust(path)? {
            PathTrust::Missing => Ok(None),
            PathTrust::Untrusted(reason) | PathTrust::Renamable(reason) => Err(denied(reason)),
            PathTrust::Trusted(real) => {
                let dir = rustix::fs::openat(CWD, &real, ENTER | OFlags::NOFOLLOW, Mode::empty())?;
                Ok(Some(Self { dir: File::from(dir), path: path.to_owned() }))
            }
        }
    }

    /// Opens a directory in this one, which must not be a link, and which only this user and root can write.
    /// `None` if it does not exist.
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
                return Err(denied(format!("{} is a link or a file, not a directory", path.display())));
            }
            Err(error) => return Err(error.into()),
        };
        match untrusted_reason(&dir.metadata()?) {
            Some(reason) => Err(denied(format!("{}: {reason}", path.display()))),
            None => Ok(Some(Self { dir, path })),
        }
    }

    /// Opens a directory in this one, as [`Folder::sub`] does. Makes it if it does not exist, for this user
    /// only.
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
                    // The umask took rights of this user.
                    rustix::fs::chmodat(&self.dir, name, Mode::RWXU, AtFlags::empty())?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sub(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns the path that the directory was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the descriptor of the directory.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.dir
    }

    /// Returns the names in it, unsorted.
    ///
    /// # Errors
    /// Any I/O error.
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

    /// Returns the metadata of a name in it. `None` if there is no such name.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn metadata(&self, name: &OsStr) -> io::Result<Option<EntryMetadata>> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(EntryMetadata::new(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file or a link. Returns false if there is none.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn remove(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Create, &self.path.join(name))?;
        removed(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()))
    }

    /// Removes a directory of this user with all that is in it, or a file. Returns false if there is none.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn remove_all(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Create, &self.path.join(name))?;
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            // POSIX says EPERM, Linux EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return removed(done),
        }
        let Some(folder) = self.sub(name)? else { return Ok(false) };
        folder.empty(0)?;
        removed(rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR))
    }

    /// Removes all that is in it. No other user can interfere, because none can enter the directory that
    /// holds this one.
    fn empty(&self, depth: usize) -> io::Result<()> {
        /// Each level takes a descriptor. Neither this library nor a compiler makes directories as deep as
        /// this.
        const MAX_DEPTH: usize = 64;
        for name in self.list()? {
            match rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) if depth < MAX_DEPTH => {}
                done => {
                    removed(done)?;
                    continue;
                }
            }
            let dir = rustix::fs::openat(&self.dir, &name, ENTER | OFlags::NOFOLLOW, Mode::empty())?;
            Self { dir: File::from(dir), path: self.path.join(&name) }.empty(depth + 1)?;
            removed(rustix::fs::unlinkat(&self.dir, &name, AtFlags::REMOVEDIR))?;
        }
        Ok(())
    }

    /// Moves a file to a name in a directory, and replaces what has that name. Returns false if there is no
    /// such file.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<bool> {
        allow(Op::Name, &self.path.join(name))?;
        removed(rustix::fs::renameat(&self.dir, name, &to.dir, new))
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; any I/O error.
    pub fn link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.dir, name, &to.dir, new, AtFlags::empty())?)
    }

    /// Makes an empty file with a hidden name of its own, which is removed when the value is dropped.
    ///
    /// # Errors
    /// Any I/O error.
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
                    restore_mode(&staged.file, mode)?;
                    return Ok(staged);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Writes a file that is to get this name, and has a hidden one until then.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn write(
        &self,
        name: &OsStr,
        data: &[u8],
        mode: u32,
        durability: Durability,
    ) -> io::Result<Staged<'_>> {
        let path = self.path.join(name);
        allow(Op::Create, &path)?;
        let mut staged = self.stage(mode)?;
        allow(Op::Write, &path)?;
        without_signals(|| staged.file.write_all(data))?;
        if durability == Durability::Synced {
            sync(&staged.file)?;
        }
        Ok(staged)
    }

    /// Publishes these contents as `name` unless the name is taken, as [`Staged::publish_noclobber`]. Returns
    /// true if this call made the file.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn publish_noclobber(
        &self,
        name: &OsStr,
        data: &[u8],
        mode: u32,
        durability: Durability,
    ) -> io::Result<bool> {
        self.write(name, data, mode, durability)?.publish_noclobber(name)
    }

    /// Publishes these contents as `name` in one step, and replaces what has that name.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn replace_atomic(
        &self,
        name: &OsStr,
        data: &[u8],
        mode: u32,
        durability: Durability,
    ) -> io::Result<()> {
        self.write(name, data, mode, durability)?.replace_atomic(name)
    }

    /// Tells if `name` is a name of this open file.
    fn is_at(&self, name: &OsStr, file: &File) -> bool {
        let (Ok(Some(named)), Ok(ours)) = (self.metadata(name), file.metadata()) else { return false };
        named.id == FileId::new(&ours)
    }

    /// Opens a plain file that only this user and root can have written. `None` if there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] with the reason if others can have written it; any I/O error.
    pub fn open_file(&self, name: &OsStr) -> io::Result<Option<File>> {
        Ok(self.open_with_size(name)?.map(|(file, _)| file))
    }

    fn open_with_size(&self, name: &OsStr) -> io::Result<Option<(File, u64)>> {
        let path = self.path.join(name);
        allow(Op::Read, &path)?;
        // A FIFO that another user put here must not block this process.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(denied("it is a symbolic link".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(denied("it is not a file".to_owned()));
        }
        let size = metadata.len();
        untrusted_reason(&metadata).map_or(Ok(Some((file, size))), |reason| Err(denied(reason)))
    }

    /// Reads such a file of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Folder::open_file`]; [`io::ErrorKind::FileTooLarge`].
    pub fn read(&self, name: &OsStr, most: u64) -> io::Result<Option<Vec<u8>>> {
        const ATTEMPTS: usize = 3;
        // The file was replaced on the server of a network disk while it was open. The name leads to the new
        // one.
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
        let Some((file, size)) = self.open_with_size(name)? else { return Ok(None) };
        if size > most {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut data = Vec::new();
        fill(&file, size, &mut data)?;
        Ok(Some(data))
    }

    /// Appends to a plain file, in one step for all that write to it from this host. Returns its size before
    /// that.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if only a part was written; any I/O error.
    pub fn append(&self, name: &OsStr, data: &[u8], mode: u32) -> io::Result<u64> {
        let path = self.path.join(name);
        let mut file = self.file_to_append(name, mode)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        allow(Op::Write, &path)?;
        // One write: the rest of a line would come after lines of others.
        if without_signals(|| file.write(data))? < data.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(metadata.len())
    }

    fn file_to_append(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        allow(Op::Create, &self.path.join(name))?;
        // A FIFO that another user put here must not block this process, nor a link lead it elsewhere.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        match rustix::fs::openat(&self.dir, name, flags, mode) {
            Err(Errno::NOENT) => {}
            done => return Ok(File::from(done?)),
        }
        let file = File::from(rustix::fs::openat(&self.dir, name, flags | OFlags::CREATE, mode)?);
        restore_mode(&file, mode.as_raw_mode())?;
        Ok(file)
    }

    /// Opens an existing file only to set its times, again and again.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn open_to_touch(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?))
    }

    /// Sets the times of a file to now. Makes an empty file if there is none.
    ///
    /// # Errors
    /// Any I/O error.
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

/// Gives this user the rights to a new file that the umask took.
fn restore_mode(file: &File, mode: u32) -> io::Result<()> {
    let lacking = file.metadata()?.mode() & mode & 0o700 != mode & 0o700;
    if lacking { file.set_permissions(fs::Permissions::from_mode(mode)) } else { Ok(()) }
}

fn removed(done: rustix::io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A file that has a hidden name, which is removed when the value is dropped.
#[derive(Debug)]
pub struct Staged<'a> {
    folder: &'a Folder,
    name: OsString,
    file: File,
}

impl Staged<'_> {
    /// Returns the hidden name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns the open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it this name unless the name is taken. Returns true if it has the name.
    ///
    /// The file appears whole, in one step (a rename that refuses to overwrite, or a hard link), and nothing
    /// is replaced. A network disk may report a failure although it gave the name, if the first answer was
    /// lost. So after a failure the file that has the name is compared with this one.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn publish_noclobber(&self, name: &OsStr) -> io::Result<bool> {
        allow(Op::Name, &self.folder.path.join(name))?;
        let dir = &self.folder.dir;
        let done = match rustix::fs::renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
            // The system or file system cannot.
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

    /// Gives it this name in one step, and replaces what has the name.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn replace_atomic(&self, name: &OsStr) -> io::Result<()> {
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

/// Opens the directory of a file, to make the file in it.
pub(super) fn of_file(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((Folder::writable(path.parent().unwrap_or(Path::new(".")))?, name))
}
