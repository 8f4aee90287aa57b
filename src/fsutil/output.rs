//! Files that a person has named to be written.
//!
//! A plain file appears whole or not at all. What is no plain file is written into and never replaced: `/dev/null`,
//! `/dev/stdout`, a FIFO, a terminal. A link is followed to a plain file, which is replaced where it is.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, OFlags, fcntl_getfl, fcntl_setfl, linkat};

use crate::fsutil::FileId;
use crate::signals::without_signals;

use super::faults::{Op, allow};
use super::{kind_name, staging, sync};

/// How long to wait for a program that reads a FIFO.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many links are followed, as Linux does.
const LINKS: usize = 40;

/// A file that is being written; see the module. Dropped before [`OutputFile::finish`], a plain file is not there, or
/// is as it was.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    staged: Staged,
}

#[derive(Debug)]
enum Staged {
    /// The bytes go where they belong.
    No,
    /// The file has no name yet, so that nothing is left if the program is killed.
    Unnamed { target: PathBuf, mode: u32 },
    /// The file has a hidden name: this file system has no unnamed ones.
    Named { target: PathBuf, path: tempfile::TempPath },
}

/// What a path leads to.
enum Place {
    /// Nothing is there, or a plain file.
    Plain(PathBuf),
    /// Standard output of this process.
    Stdout,
    /// Standard error of this process.
    Stderr,
    /// A FIFO or a device.
    Other,
}

impl OutputFile {
    /// Begins to write what is to be at `path`. `mode` is that of a new file, but for what the umask takes away; a file
    /// that is replaced keeps its own.
    ///
    /// # Errors
    /// Those of the file system; for what cannot be written into (a directory, a socket, a block device), a link to
    /// nothing, and a FIFO that no program reads within 10 seconds.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        allow(Op::Create, path)?;
        match place(path)? {
            Place::Plain(target) => Self::stage(target, mode),
            Place::Stdout => Self::direct(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Place::Stderr => Self::direct(io::stderr().as_fd().try_clone_to_owned()?.into()),
            Place::Other => Self::direct(open_other(path)?),
        }
    }

    fn direct(file: File) -> io::Result<Self> {
        Ok(Self { file, staged: Staged::No })
    }

    fn stage(target: PathBuf, mode: u32) -> io::Result<Self> {
        let dir = parent(&target);
        let there = fs::metadata(&target).ok();
        let mode = there.as_ref().map_or(mode, |facts| facts.mode() & 0o777);
        // Unnamed files are given their name by way of /proc.
        if Path::new("/proc/self/fd").is_dir() {
            let unnamed = File::options().write(true).mode(mode).custom_flags(libc::O_TMPFILE).open(dir);
            if let Ok(file) = unnamed {
                return Ok(Self { file, staged: Staged::Unnamed { target, mode } });
            }
        }
        let (file, path) = staging(dir, mode)?.into_parts();
        Ok(Self { file, staged: Staged::Named { target, path } })
    }

    /// The hidden file that is left if this process is killed; `None` if there is none.
    #[must_use]
    pub fn leftover(&self) -> Option<&Path> {
        match &self.staged {
            Staged::Named { path, .. } => Some(path),
            Staged::No | Staged::Unnamed { .. } => None,
        }
    }

    /// Ends the file, and puts it in its place.
    ///
    /// # Errors
    /// Those of the file system; if something else than a plain file is there now.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Self { file, staged } = self;
        let target = match &staged {
            Staged::No => return Ok(()),
            Staged::Unnamed { target, .. } | Staged::Named { target, .. } => target,
        };
        sync(&file)?;
        allow(Op::Name, target)?;
        match fs::symlink_metadata(target) {
            Ok(facts) if !facts.is_file() => return Err(cannot_replace(facts.file_type())),
            Ok(facts) => file.set_permissions(fs::Permissions::from_mode(facts.mode() & 0o777))?,
            Err(_) => {}
        }
        match staged {
            Staged::No => Ok(()),
            Staged::Named { target, path } => path.persist(target).map_err(|error| error.error),
            Staged::Unnamed { target, mode } => {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                let name = |at: &Path| linkat(CWD, &unnamed, CWD, at, AtFlags::SYMLINK_FOLLOW);
                match name(&target) {
                    Err(rustix::io::Errno::EXIST) => {}
                    done => return Ok(done?),
                }
                // A link does not replace what is there; a rename does.
                let path = staging(parent(&target), mode)?.into_temp_path();
                fs::remove_file(&path)?;
                name(&path)?;
                path.persist(target).map_err(|error| error.error)
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        without_signals(|| self.file.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a log, to whose end lines are added: a plain file, which is made if need be, a terminal or another device, or
/// the standard output or error of this process. Nothing else: a FIFO waits for its reader.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::InvalidInput`] for what is none of these.
pub fn open_log(path: &Path) -> io::Result<File> {
    match place(path)? {
        Place::Stdout => return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        Place::Stderr => return Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        Place::Plain(_) | Place::Other => {}
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = match opened {
        // A FIFO that no program reads.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(super::not_plain(fs::metadata(path)?.file_type()));
        }
        opened => opened?,
    };
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file) } else { Err(super::not_plain(kind)) }
}

/// Whether a path leads to what this process has as its standard output, as `/dev/stdout` does.
#[must_use]
pub fn is_stdout(path: &Path) -> bool {
    matches!(place(path), Ok(Place::Stdout))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refused(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

fn cannot_replace(kind: fs::FileType) -> io::Error {
    refused(format!("{} is there, which is not replaced", kind_name(kind)))
}

/// Finds out what a path leads to.
fn place(path: &Path) -> io::Result<Place> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let kind = match fs::symlink_metadata(&at) {
            Ok(facts) => facts.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && at == path => {
                return Ok(Place::Plain(at));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refused(format!("it is a link to {}, which is not there", at.display())));
            }
            Err(error) => return Err(error),
        };
        match kind {
            kind if kind.is_file() => return Ok(Place::Plain(at)),
            kind if kind.is_symlink() => {
                let dir = fs::canonicalize(parent(&at))?;
                // Links to open files, which need not have a name.
                if dir.starts_with("/proc") && dir.ends_with("fd") {
                    return descriptor(&at);
                }
                at = dir.join(fs::read_link(&at)?);
            }
            kind if kind.is_dir() || kind.is_socket() || kind.is_block_device() => {
                return Err(refused(format!("it is {}, which is not written into", kind_name(kind))));
            }
            _ => return Ok(Place::Other),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// What a link of `/proc/PID/fd` leads to.
fn descriptor(link: &Path) -> io::Result<Place> {
    let facts = fs::metadata(link)?;
    let is = |file: io::Result<std::os::fd::OwnedFd>| {
        let own = file.and_then(|file| File::from(file).metadata());
        own.is_ok_and(|own| FileId::new(&own) == FileId::new(&facts) && own.rdev() == facts.rdev())
    };
    let kind = facts.file_type();
    // Opened anew, a plain file would be written from its beginning.
    if is(io::stdout().as_fd().try_clone_to_owned()) {
        Ok(Place::Stdout)
    } else if is(io::stderr().as_fd().try_clone_to_owned()) {
        Ok(Place::Stderr)
    } else if kind.is_fifo() || kind.is_char_device() {
        Ok(Place::Other)
    } else {
        let text = format!("it leads to {} that a process has open; give its own path", kind_name(kind));
        Err(refused(text))
    }
}

/// Opens a FIFO or a device, of which nothing is created or cut.
fn open_other(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let begin = Instant::now();
    let file = loop {
        match File::options().write(true).custom_flags(flags).open(path) {
            // No program has it open for reading, yet.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                return Err(refused("no program reads from it"));
            }
            opened => break opened?,
        }
    };
    let kind = file.metadata()?.file_type();
    if !kind.is_fifo() && !kind.is_char_device() {
        return Err(cannot_replace(kind));
    }
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}
