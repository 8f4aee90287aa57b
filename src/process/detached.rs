//! A command that runs beside the program, after whose end nobody may wait for it.
//!
//! Its input is an open file with a lock (`flock`): the lock is there until both we and the command have ended, so that
//! others see whether it still runs, whatever has become of us. What it says goes to memory and not to a pipe, which
//! would end with us, and the command with it. The kernel ends it when it has taken more time of a processor than it
//! may.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};

use crate::signals::without_signals;

use super::affinity::{self, Cores};

/// A command that is run aside.
#[derive(Clone, Debug)]
pub struct DetachedCommand<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// The working directory.
    pub cwd: &'a Path,
    /// The file that is locked.
    pub lock: &'a File,
    /// For how long it may run.
    pub limit: Duration,
    /// The cores that it runs on.
    pub cores: Cores,
    /// All its variables, but for the language of what it says and its directory for temporary files.
    pub environment: &'a [(OsString, OsString)],
}

/// How a command that was run aside has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetachedExit {
    /// Well, and the beginning of what it has said.
    Success(String),
    /// By itself and not well, or by a signal, or by its time limit; and the beginning of what it has said.
    Failure(String),
}

/// Something that runs commands aside.
pub type RunDetached = fn(&DetachedCommand<'_>) -> io::Result<DetachedExit>;

/// Bytes of what it says that are read.
const SAID: usize = 1 << 16;

/// Runs a command to its end, or to its time limit.
///
/// # Errors
/// When it cannot be started.
pub fn run(aside: &DetachedCommand<'_>) -> io::Result<DetachedExit> {
    let (program, arguments) = aside.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut spawn = std::process::Command::new(program);
    spawn.args(arguments).current_dir(aside.cwd);
    spawn.env_clear().envs(aside.environment.iter().map(|(name, value)| (name, value)));
    spawn.env("LC_ALL", "C").env("TMPDIR", aside.cwd);
    spawn.stdin(Stdio::from(aside.lock.try_clone()?)).stdout(super::null_device()?);
    let said = what_is_said().ok();
    let stderr = said.as_ref().and_then(|said| said.try_clone().ok());
    spawn.stderr(stderr.map_or_else(super::null_device, |stderr| Ok(Stdio::from(stderr)))?);
    spawn.process_group(0);
    let mut child = Ended(affinity::spawn(&mut spawn, aside.cores)?);
    let seconds = Some(aside.limit.as_secs().max(1));
    let limit = Rlimit { current: seconds, maximum: seconds };
    if let Some(process) = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw) {
        // It starts the compiler proper some milliseconds later. Where that is refused, the time limit is left.
        let _ = prlimit(Some(process), Resource::Cpu, limit);
    }
    let begin = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait()? {
            let said = beginning(said);
            return Ok(if status.success() {
                DetachedExit::Success(said)
            } else {
                DetachedExit::Failure(said)
            });
        }
        if begin.elapsed() >= aside.limit {
            return Ok(DetachedExit::Failure(beginning(said)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file in memory that takes so much and no more: who says the same again and again is not listened to.
fn what_is_said() -> io::Result<File> {
    let file = File::from(memfd_create("dijitso aside", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    without_signals(|| file.set_len(SAID as u64))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

fn beginning(said: Option<File>) -> String {
    let mut text = vec![0; SAID];
    // What cannot be read is missing, and that is all. Whoever still writes does so behind it.
    let length = said.and_then(|said| said.read_at(&mut text, 0).ok()).unwrap_or_default();
    text.truncate(length);
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// A child that is killed, with all that came of it, and whose status is taken.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the program has changed of its own meanwhile.
    #[test]
    fn a_command_has_the_environment_that_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::create(dir.path().join("lock")).unwrap();
        let argv = ["sh", "-c", "echo \"$GIVEN ${CARGO_MANIFEST_DIR-none} $LC_ALL\" >&2"].map(str::to_owned);
        let path = std::env::var_os("PATH").unwrap();
        let environment =
            [("PATH".into(), path), ("GIVEN".into(), "1".into()), ("LC_ALL".into(), "x".into())];
        let limit = Duration::from_secs(60);
        let cores = Cores::Auto;
        let command = DetachedCommand {
            argv: &argv,
            cwd: dir.path(),
            lock: &lock,
            limit,
            cores,
            environment: &environment,
        };
        assert_eq!(run(&command).unwrap(), DetachedExit::Success("1 none C\n".to_owned()));
    }
}
