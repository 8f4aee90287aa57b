//! Commands that run beside the program and may outlive it.
//!
//! The input of such a command is an open file with a lock (`flock`). The lock stays until both this process
//! and the command have ended, so that other processes see that the command still runs, also if this process
//! was killed. Its output goes to memory and not to a pipe: a pipe would break with this process and end the
//! command. The kernel kills it if it takes more processor time than its limit.

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
use super::exec_context::ExecContext;

/// A command that runs beside the program.
#[derive(Clone, Debug)]
pub struct DetachedCommand<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// The working directory.
    pub cwd: &'a Path,
    /// The locked file.
    pub lock: &'a File,
    /// The limit of its run time, and of its processor time.
    pub limit: Duration,
    /// The cores that it runs on.
    pub cores: Cores,
    /// Its environment, apart from `LC_ALL` and `TMPDIR`.
    pub environment: &'a [(OsString, OsString)],
    /// Ends it if it is cancelled.
    pub context: &'a ExecContext,
}

/// The end of a detached command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetachedExit {
    /// It succeeded. With the beginning of its output.
    Success(String),
    /// It failed, was cancelled, or ended by a signal or its time limit. With the beginning of its output.
    Failure(String),
}

/// Runs a detached command to its end; a function, so that tests need no compiler.
pub type RunDetached = fn(&DetachedCommand<'_>) -> io::Result<DetachedExit>;

/// Bytes of its output that are kept.
const OUTPUT_LIMIT: usize = 1 << 16;

/// Runs a command to its end, or to its time limit.
///
/// # Errors
/// Those of the system if it cannot be started.
pub fn run(command: &DetachedCommand<'_>) -> io::Result<DetachedExit> {
    let (program, arguments) = command.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut spawn = std::process::Command::new(program);
    spawn.args(arguments).current_dir(command.cwd);
    spawn.env_clear().envs(command.environment.iter().map(|(name, value)| (name, value)));
    spawn.env("LC_ALL", "C").env("TMPDIR", command.cwd);
    spawn.stdin(Stdio::from(command.lock.try_clone()?)).stdout(super::null_device()?);
    let output = output_file().ok();
    let stderr = output.as_ref().and_then(|output| output.try_clone().ok());
    spawn.stderr(stderr.map_or_else(super::null_device, |stderr| Ok(Stdio::from(stderr)))?);
    spawn.process_group(0);
    let mut child = KillOnDrop(affinity::spawn(&mut spawn, command.cores)?);
    let seconds = Some(command.limit.as_secs().max(1));
    let limit = Rlimit { current: seconds, maximum: seconds };
    if let Some(process) = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw) {
        // Set in time: the command starts the compiler proper some milliseconds later. If the system refuses,
        // the limit of run time is left.
        let _ = prlimit(Some(process), Resource::Cpu, limit);
    }
    let begin = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait()? {
            let text = read_output(output);
            return Ok(if status.success() {
                DetachedExit::Success(text)
            } else {
                DetachedExit::Failure(text)
            });
        }
        if begin.elapsed() >= command.limit || command.context.is_cancelled() {
            return Ok(DetachedExit::Failure(read_output(output)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a file in memory that takes [`OUTPUT_LIMIT`] bytes and no more, however much the command writes.
fn output_file() -> io::Result<File> {
    let file = File::from(memfd_create("dijitso output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    without_signals(|| file.set_len(OUTPUT_LIMIT as u64))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Returns the output so far. Output that cannot be read is left out; output that is still written comes
/// behind it.
fn read_output(output: Option<File>) -> String {
    let mut text = vec![0; OUTPUT_LIMIT];
    let length = output.and_then(|output| output.read_at(&mut text, 0).ok()).unwrap_or_default();
    text.truncate(length);
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// A child whose process group is killed and whose status is taken when this is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
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

    /// Changes of the program's own environment do not matter.
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
            context: &ExecContext::default(),
        };
        assert_eq!(run(&command).unwrap(), DetachedExit::Success("1 none C\n".to_owned()));
    }
}
