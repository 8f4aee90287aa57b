//! Runs a command line with a time limit and captured output.
//!
//! Processes are created by `posix_spawn` (the standard library uses it whenever no code has to run between fork and
//! exec), which is safe beside InfiniBand drivers, and never through a shell. [`Runner`] is a trait so that tests of
//! everything above need no compiler.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

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
}

/// The runner that starts real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spawn;

impl Runner for Spawn {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let (program, arguments) = command
            .argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty command line"))?;
        let mut spawn = std::process::Command::new(program);
        // Diagnostics are searched for "error:", so they must not be translated.
        spawn.args(arguments).current_dir(&command.cwd).env("LC_ALL", "C").stdin(Stdio::null());
        // A group of its own, so that a time limit ends the compiler's children too.
        spawn.process_group(0);
        match command.capture {
            Capture::Pipe => through_pipe(&mut spawn, command.timeout),
            Capture::File => through_file(&mut spawn, command.timeout),
        }
    }
}

fn through_pipe(spawn: &mut std::process::Command, timeout: Option<Duration>) -> io::Result<Outcome> {
    let (mut reader, writer) = io::pipe()?;
    spawn.stdout(writer.try_clone()?).stderr(writer);
    let mut watch = Watch::start(spawn, timeout)?;
    // The command object still holds our copies of the write end: without this there is no end of file.
    spawn.stdout(Stdio::null()).stderr(Stdio::null());

    let mut output = Vec::new();
    let mut buffer = [0_u8; 16 << 10];
    loop {
        // Asked first, so that what the child wrote before its end is still read below.
        let ended = watch.ended()?;
        let patience = if ended { Duration::ZERO } else { watch.slice() };
        if readable(&reader, patience)? {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let room = OUTPUT_LIMIT.saturating_sub(output.len());
            output.extend_from_slice(&buffer[..count.min(room)]);
            if ended && room == 0 {
                break;
            }
        } else if ended {
            // A grandchild (a compiler cache's daemon, say) holds the pipe open: what it will write is not ours.
            break;
        }
    }
    Ok(Outcome { exit: watch.finish()?, output })
}

fn through_file(spawn: &mut std::process::Command, timeout: Option<Duration>) -> io::Result<Outcome> {
    let mut file: File = tempfile::tempfile()?;
    spawn.stdout(file.try_clone()?).stderr(file.try_clone()?);
    let watch = Watch::start(spawn, timeout)?;
    let exit = watch.finish()?;
    file.rewind()?;
    let mut output = Vec::new();
    file.take(OUTPUT_LIMIT as u64).read_to_end(&mut output)?;
    Ok(Outcome { exit, output })
}

fn readable(reader: &io::PipeReader, slice: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(reader, PollFlags::IN)];
    let slice = Timespec { tv_sec: 0, tv_nsec: i64::from(slice.subsec_nanos()) };
    match poll(&mut fds, Some(&slice)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A running child and its deadline.
struct Watch {
    child: Child,
    deadline: Option<Instant>,
    exit: Option<Exit>,
}

impl Watch {
    fn start(spawn: &mut std::process::Command, timeout: Option<Duration>) -> io::Result<Self> {
        let child = spawn.spawn()?;
        Ok(Self { child, deadline: timeout.and_then(|limit| Instant::now().checked_add(limit)), exit: None })
    }

    /// How long to sleep at most before looking again.
    fn slice(&self) -> Duration {
        const LONGEST: Duration = Duration::from_millis(50);
        self.deadline.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()).min(LONGEST))
    }

    /// Whether the child has ended; kills it when its time is over.
    fn ended(&mut self) -> io::Result<bool> {
        if self.exit.is_some() {
            return Ok(true);
        }
        match self.child.try_wait() {
            Ok(Some(status)) => {
                let exit = match (status.code(), status.signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown,
                };
                self.exit = Some(exit);
            }
            Ok(None) if self.deadline.is_some_and(|at| Instant::now() >= at) => {
                self.kill();
                self.exit = Some(Exit::TimedOut);
            }
            Ok(None) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self.exit = Some(Exit::Unknown),
            Err(error) => return Err(error),
        }
        Ok(self.exit.is_some())
    }

    fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // The group may already be gone, which is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Waits for the end, with short naps at first: a small compile takes some 40 ms.
    fn finish(mut self) -> io::Result<Exit> {
        let mut nap = Duration::from_micros(50);
        while !self.ended()? {
            std::thread::sleep(nap.min(self.slice()));
            nap = (nap * 2).min(Duration::from_millis(5));
        }
        Ok(self.exit.expect("ended() said so"))
    }
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

impl Drop for Watch {
    /// Whatever happened to us, no child is left behind.
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
        }
    }
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
    std::env::split_paths(path?).find_map(|directory| executable(cwd.join(directory).join(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], capture: Capture, timeout: Option<Duration>) -> io::Result<Outcome> {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Spawn.run(&Command { argv, cwd: std::env::temp_dir(), timeout, capture })
    }

    #[test]
    fn output_of_any_bytes_comes_back_in_order() {
        for capture in [Capture::Pipe, Capture::File] {
            let outcome = run(&["sh", "-c", "printf 'a\\377'; printf b >&2; exit 3"], capture, None).unwrap();
            assert_eq!((outcome.exit, outcome.output.as_slice()), (Exit::Code(3), b"a\xffb".as_slice()));
        }
    }

    #[test]
    fn a_joined_line_is_split_into_the_same_words() {
        let words = ["A=b", "-std=c++11", "", "a b", "$ORIGIN", "it's", "~"].map(str::to_owned);
        let line = join(&words);
        assert_eq!(shell_words::split(&line).unwrap(), words);
        assert!(line.contains(" -std=c++11 '' "), "{line}");
    }

    #[test]
    fn a_missing_program_is_an_error_and_not_a_status() {
        let error = run(&["/nonexistent/compiler"], Capture::Pipe, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_time_limit_ends_grandchildren_too() {
        for capture in [Capture::Pipe, Capture::File] {
            let limit = Some(Duration::from_millis(100));
            let begin = Instant::now();
            let outcome = run(&["sh", "-c", "echo begun; sleep 30 & sleep 30"], capture, limit).unwrap();
            assert_eq!(outcome.exit, Exit::TimedOut);
            assert_eq!(outcome.output, b"begun\n");
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_hold_us() {
        let begin = Instant::now();
        let outcome = run(&["sh", "-c", "sleep 20 & echo done"], Capture::Pipe, None).unwrap();
        assert_eq!((outcome.exit, outcome.output.as_slice()), (Exit::Code(0), b"done\n".as_slice()));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_chatty_program_is_cut_and_not_blocked() {
        let outcome =
            run(&["head", "-c", &(OUTPUT_LIMIT + 100_000).to_string(), "/dev/zero"], Capture::Pipe, None)
                .unwrap();
        assert_eq!((outcome.exit, outcome.output.len()), (Exit::Code(0), OUTPUT_LIMIT));
    }
}
