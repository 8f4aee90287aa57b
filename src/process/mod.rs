//! Runs a command line with a time limit, a memory limit and captured output.
//!
//! [`Runner`] is a trait, so that tests of the layers above need no compiler. [`SystemRunner`] starts real
//! processes, never through a shell. [`slots`] limits the compilers of a host, [`affinity`] chooses their
//! cores, and an [`ExecContext`] carries their deadline and cancellation, also by the host's
//! [`Interrupt`](interrupt::Interrupt).

#![deny(unsafe_code)]

pub mod affinity;
pub mod detached;
pub mod environment;
pub mod exec_context;
pub mod interrupt;
#[allow(unsafe_code, reason = "the constructor of a crate")]
pub mod jobserver;
pub mod phase;
mod rlimit;
pub mod slots;
mod spawn;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use detached::RunDetached;
use exec_context::ExecContext;
use slots::{Slot, SlotRequest};

pub use spawn::{SystemRunner, names_launcher};

/// Ways to capture the output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Through a pipe: `DIJITSO_SYSTEM_CALL_METHOD=SUBPROCESS`.
    Pipe,
    /// Through an unnamed temporary file: `DIJITSO_SYSTEM_CALL_METHOD=OS_SYSTEM`.
    File,
}

/// A command line to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments; the program is looked up on `PATH` unless it has a slash.
    pub argv: Vec<String>,
    /// Environment variables beside those that it inherits.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// After this long the whole process group is killed; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The way in which output is captured.
    pub capture: Capture,
    /// Address space of each of its processes in bytes; `None` sets no limit.
    pub memory: Option<u64>,
    /// Its cores and cancellation. The command is killed if the context is cancelled.
    pub context: ExecContext,
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed at the time limit.
    TimedOut,
    /// Unknown, because the host ignores SIGCHLD and the system dropped the status.
    Unknown,
}

impl Exit {
    /// Describes the end: "ended with exit code 1".
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Code(code) => format!("ended with exit code {code}"),
            Self::Signal(libc::SIGXFSZ) => {
                format!("was killed by signal {}: a file is larger than ulimit -f allows", libc::SIGXFSZ)
            }
            Self::Signal(signal) => format!("was killed by signal {signal}"),
            Self::TimedOut => "was stopped at its time limit".to_owned(),
            Self::Unknown => "ended without a status (this process ignores SIGCHLD)".to_owned(),
        }
    }
}

/// End and output of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its end.
    pub exit: Exit,
    /// Standard output and error in the order of writing; any bytes, at most [`OUTPUT_LIMIT`].
    pub output: Vec<u8>,
}

/// Bytes of output that are kept. The rest is read and dropped, so that no compiler can fill the memory.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// Runs command lines.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// Those of the system if the program cannot be started; `NotFound` if there is no such program.
    fn run(&self, command: &Command) -> io::Result<Outcome>;

    /// Waits for a compiler slot of this host, held until it is dropped.
    ///
    /// Returns `None` if compilers are not counted, or after the patience of the request: slots are for
    /// economy only, so the compiler runs all the same. Runners that start no real processes take no slots.
    fn slot(&self, request: &SlotRequest<'_>, context: &ExecContext) -> Option<Slot> {
        let _ = (request, context);
        None
    }

    /// Returns true if a core of this host is free at this moment for a command that nothing waits for.
    fn has_free_core(&self) -> bool {
        false
    }

    /// Returns the function that runs commands which may outlive the program; `None` if none are to be
    /// started.
    fn detached(&self) -> Option<RunDetached> {
        None
    }
}

/// Opens the input of programs that read nothing.
///
/// # Errors
/// Those of the system if there is no such device. Without this, spawning would report that the program is
/// not there.
fn null_device() -> io::Result<Stdio> {
    const PATH: &str = "/dev/null";
    let file = File::options().read(true).write(true).open(PATH).map_err(|error| {
        let text = format!("{PATH} cannot be opened ({error}), and no program is started without it");
        io::Error::other(text)
    })?;
    Ok(file.into())
}

/// Joins words to a line that a shell splits into the same words. Quotes only if necessary.
#[must_use]
pub fn join(words: &[String]) -> String {
    let plain = |word: &str| {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
        !word.is_empty() && word.bytes().all(safe)
    };
    let quoted = |(at, word): (usize, &String)| {
        // At the beginning of a command line, `=` would make it an assignment.
        if plain(word) && !(at == 0 && word.contains('=')) {
            word.clone()
        } else {
            shell_words::quote(word).into_owned()
        }
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Finds the program that `word` names: itself if it has a slash, else the first executable file of that name
/// on `path`.
///
/// `path` is the value of `PATH`. Relative names are taken from `cwd`.
#[must_use]
pub fn find_program(word: &str, path: Option<&std::ffi::OsStr>, cwd: &std::path::Path) -> Option<PathBuf> {
    let directories = path.map(directories).unwrap_or_default();
    find_program_in(word, &directories, cwd).map(|(program, _)| program)
}

/// Does the same as [`find_program`] with the directories of `PATH`. Returns the metadata of the program, too.
#[must_use]
pub fn find_program_in(
    word: &str,
    directories: &[PathBuf],
    cwd: &std::path::Path,
) -> Option<(PathBuf, std::fs::Metadata)> {
    let executable = |candidate: PathBuf| {
        let facts = std::fs::metadata(&candidate).ok().filter(std::fs::Metadata::is_file)?;
        let runs = rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK).is_ok();
        runs.then_some((candidate, facts))
    };
    if word.contains('/') {
        return executable(cwd.join(word));
    }
    directories.iter().find_map(|directory| executable(cwd.join(directory).join(word)))
}

/// Returns the directories of a list such as `PATH`, each once: login scripts often repeat them.
#[must_use]
pub fn directories(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    for directory in std::env::split_paths(path) {
        // The list is short and most lengths differ, so this is faster than a table.
        if !directories.iter().any(|known| known.as_os_str() == directory.as_os_str()) {
            directories.push(directory);
        }
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_line_is_split_into_the_same_words() {
        let words = ["A=b", "-std=c++11", "", "a b", "$ORIGIN", "it's", "~"].map(str::to_owned);
        let line = join(&words);
        assert_eq!(shell_words::split(&line).unwrap(), words);
        assert!(line.contains(" -std=c++11 '' "), "{line}");
    }
}
