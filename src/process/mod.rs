//! Runs a command line with a time limit, a memory limit and captured output.
//!
//! [`Runner`] is a trait so that tests of everything above need no compiler; [`Spawn`] starts real processes, never
//! through a shell. [`slots`] holds back compilers when the host has enough of them, [`cores`] says where they run, and
//! by [`manner`] another thread can stop them.

#![forbid(unsafe_code)]

pub mod affinity;
pub mod detached;
pub mod environment;
pub mod exec_context;
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

/// How the output of a command comes back to us.
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
    /// The working directory.
    pub cwd: PathBuf,
    /// After this long the whole process group is killed; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How output is captured.
    pub capture: Capture,
    /// Bytes of address space for each process that comes of it; `None` for no limit of ours.
    pub memory: Option<u64>,
    /// The cores it runs on; a command of a cancelled context is killed.
    pub context: ExecContext,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed by us, after the time limit.
    TimedOut,
    /// The host ignores SIGCHLD, so the system threw the status away.
    Unknown,
}

impl Exit {
    /// The end in words: "ended with exit code 1".
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

/// What a command that ran left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// Standard output and error in the order of writing; any bytes, at most [`OUTPUT_LIMIT`].
    pub output: Vec<u8>,
}

/// Bytes of output that are kept; the rest is read and dropped, so that a chatty compiler cannot fill the memory.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// Something that runs command lines.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When the program could not be started at all; `NotFound` when there is no such program.
    fn run(&self, command: &Command) -> io::Result<Outcome>;

    /// Waits for a place among the compilers of this host, held until it is dropped.
    ///
    /// `None` when nobody counts, or after the patience of `request`: it is economy, so the compiler runs all the same.
    /// Runners that start no real processes take no places.
    fn slot(&self, request: &SlotRequest<'_>, context: &ExecContext) -> Option<Slot> {
        let _ = (request, context);
        None
    }

    /// Whether a core of this host is free just now for a command that nothing waits for.
    fn has_free_core(&self) -> bool {
        false
    }

    /// How to run commands beside the program, after whose end they may go on; `None` where that is not to be done.
    fn detached(&self) -> Option<RunDetached> {
        None
    }
}

/// The input of programs that read nothing.
///
/// # Errors
/// If there is no such device. Otherwise the system would say of the program that it is not there.
fn null_device() -> io::Result<Stdio> {
    const PATH: &str = "/dev/null";
    let file = File::options().read(true).write(true).open(PATH).map_err(|error| {
        let text = format!("{PATH} cannot be opened ({error}), and no program is started without it");
        io::Error::other(text)
    })?;
    Ok(file.into())
}

/// Words as one line that a shell splits into the same words, quoted only where that is needed.
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

/// The program that `word` names: itself with a slash, else the first executable file of that name on `path`.
///
/// `path` is the value of `PATH`. Relative names are taken from `cwd`.
#[must_use]
pub fn find_program(word: &str, path: Option<&std::ffi::OsStr>, cwd: &std::path::Path) -> Option<PathBuf> {
    let executable = |candidate: PathBuf| {
        let file = candidate.is_file();
        (file && rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK).is_ok()).then_some(candidate)
    };
    if word.contains('/') {
        return executable(cwd.join(word));
    }
    directories(path?).into_iter().find_map(|directory| executable(cwd.join(directory).join(word)))
}

/// The directories of a list such as `PATH`, each once: login scripts put the same one there again and again.
#[must_use]
pub fn directories(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    for directory in std::env::split_paths(path) {
        // Few, and most differ in their lengths: faster than a table of them.
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
