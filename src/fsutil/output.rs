//! Output files that a user has named.
//!
//! A plain file appears whole or not at all. `/dev/null`, `/dev/stdout`, a FIFO and a terminal are written to
//! and never replaced. A link to a plain file is followed, and the plain file is replaced.

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

/// Time to wait for a program that reads a FIFO.
const FIFO_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of links that are followed, as by Linux.
const MAX_LINKS: usize = 40;

/// A file that is being written. If it is dropped before [`OutputFile::finish`], a plain file stays as it
/// was.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    staged: StagedOutput,
}

#[derive(Debug)]
enum StagedOutput {
    /// None: the bytes go straight to the target.
    No,
    /// The file has no name yet, so nothing is left if the program is killed.
    Unnamed { target: PathBuf, mode: u32 },
    /// The file has a hidden name, because the file system has no unnamed files.
    Named { target: PathBuf, path: tempfile::TempPath },
}

/// The kind of file that a path leads to.
enum Target {
    /// A plain file, or none yet.
    Plain(PathBuf),
    /// Standard output of this process.
    Stdout,
    /// Standard error of this process.
    Stderr,
    /// A FIFO or a device.
    Other,
}

impl OutputFile {
    /// Begins to write the file at `path`. A new file gets `mode` without the bits of the umask; a file that
    /// is replaced keeps its mode.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a directory, a socket, a block device, a link to nothing, and a
    /// FIFO that no program reads within 10 seconds; any I/O error.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        allow(Op::Create, path)?;
        match target_of(path)? {
            Target::Plain(target) => Self::stage(target, mode),
            Target::Stdout => Self::direct(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Target::Stderr => Self::direct(io::stderr().as_fd().try_clone_to_owned()?.into()),
            Target::Other => Self::direct(open_other(path)?),
        }
    }

    fn direct(file: File) -> io::Result<Self> {
        Ok(Self { file, staged: StagedOutput::No })
    }

    fn stage(target: PathBuf, mode: u32) -> io::Result<Self> {
        let dir = parent(&target);
        let there = fs::metadata(&target).ok();
        let mode = there.as_ref().map_or(mode, |metadata| metadata.mode() & 0o777);
        // An unnamed file gets its name through /proc.
        if Path::new("/proc/self/fd").is_dir() {
            let unnamed = File::options().write(true).mode(mode).custom_flags(libc::O_TMPFILE).open(dir);
            if let Ok(file) = unnamed {
                return Ok(Self { file, staged: StagedOutput::Unnamed { target, mode } });
            }
        }
        let (file, path) = staging(dir, mode)?.into_parts();
        Ok(Self { file, staged: StagedOutput::Named { target, path } })
    }

    /// Returns the hidden file that is left if this process is killed; `None` if there is none.
    #[must_use]
    pub fn leftover(&self) -> Option<&Path> {
        match &self.staged {
            StagedOutput::Named { path, .. } => Some(path),
            StagedOutput::No | StagedOutput::Unnamed { .. } => None,
        }
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the name is no longer that of a plain file; any I/O error.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Self { file, staged } = self;
        let target = match &staged {
            StagedOutput::No => return Ok(()),
            StagedOutput::Unnamed { target, .. } | StagedOutput::Named { target, .. } => target,
        };
        sync(&file)?;
        allow(Op::Name, target)?;
        match fs::symlink_metadata(target) {
            Ok(metadata) if !metadata.is_file() => return Err(cannot_replace(metadata.file_type())),
            Ok(metadata) => file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o777))?,
            Err(_) => {}
        }
        match staged {
            StagedOutput::No => Ok(()),
            StagedOutput::Named { target, path } => path.persist(target).map_err(|error| error.error),
            StagedOutput::Unnamed { target, mode } => {
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

/// Opens a log to append to: a plain file (made if there is none), a terminal or another device, or the
/// standard output or error of this process. Not a FIFO, which would wait for its reader.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for other kinds of files; any I/O error.
pub fn open_log(path: &Path) -> io::Result<File> {
    match target_of(path)? {
        Target::Stdout => return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        Target::Stderr => return Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        Target::Plain(_) | Target::Other => {}
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

/// Tells if a path leads to the standard output of this process, as `/dev/stdout` does.
#[must_use]
pub fn is_stdout(path: &Path) -> bool {
    matches!(target_of(path), Ok(Target::Stdout))
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

/// Follows a path to its target.
fn target_of(path: &Path) -> io::Result<Target> {
    let mut at = path.to_owned();
    for _ in 0..MAX_LINKS {
        let kind = match fs::symlink_metadata(&at) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && at == path => {
                return Ok(Target::Plain(at));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refused(format!("it is a link to {}, which is not there", at.display())));
            }
            Err(error) => return Err(error),
        };
        match kind {
            kind if kind.is_file() => return Ok(Target::Plain(at)),
            kind if kind.is_symlink() => {
                let dir = fs::canonicalize(parent(&at))?;
                // A link to an open file, which need not have a name.
                if dir.starts_with("/proc") && dir.ends_with("fd") {
                    return descriptor(&at);
                }
                at = dir.join(fs::read_link(&at)?);
            }
            kind if kind.is_dir() || kind.is_socket() || kind.is_block_device() => {
                return Err(refused(format!("it is {}, which is not written into", kind_name(kind))));
            }
            _ => return Ok(Target::Other),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Follows a link of `/proc/PID/fd`.
fn descriptor(link: &Path) -> io::Result<Target> {
    let metadata = fs::metadata(link)?;
    let is = |file: io::Result<std::os::fd::OwnedFd>| {
        let own = file.and_then(|file| File::from(file).metadata());
        own.is_ok_and(|own| FileId::new(&own) == FileId::new(&metadata) && own.rdev() == metadata.rdev())
    };
    let kind = metadata.file_type();
    // A plain file that is opened again is written from its beginning.
    if is(io::stdout().as_fd().try_clone_to_owned()) {
        Ok(Target::Stdout)
    } else if is(io::stderr().as_fd().try_clone_to_owned()) {
        Ok(Target::Stderr)
    } else if kind.is_fifo() || kind.is_char_device() {
        Ok(Target::Other)
    } else {
        let text = format!("it leads to {} that a process has open; give its own path", kind_name(kind));
        Err(refused(text))
    }
}

/// Opens a FIFO or a device; neither creates nor truncates it.
fn open_other(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let begin = Instant::now();
    let file = loop {
        match File::options().write(true).custom_flags(flags).open(path) {
            // No program has it open for reading yet.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && begin.elapsed() < FIFO_TIMEOUT => {
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
