//! The runner that starts real processes.
//!
//! It creates them by `posix_spawn`, which is safe beside InfiniBand drivers. The standard library uses it if
//! no code has to run between fork and exec.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use wait4::Wait4;

use crate::signals::Tie;

use super::detached::{self, RunDetached};
use super::exec_context::ExecContext;
use super::rlimit::MemoryLimit;
use super::slots::{self, Slot, SlotRequest};
use super::{Capture, Command, Exit, OUTPUT_LIMIT, Outcome, Runner};
use super::{affinity, environment, null_device};

/// The runner that starts real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn slot(&self, request: &SlotRequest<'_>, context: &ExecContext) -> Option<Slot> {
        slots::take(request, context)
    }

    fn has_free_core(&self) -> bool {
        affinity::one_is_free()
    }

    fn detached(&self) -> Option<RunDetached> {
        Some(detached::run)
    }

    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let (program, arguments) = command
            .argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty command line"))?;
        let mut spawn = std::process::Command::new(program);
        // Diagnostics must not be translated, since they are searched for "error:".
        spawn.args(arguments).current_dir(&command.cwd).env("LC_ALL", "C");
        if command.cwd.is_absolute() && !names_launcher(&command.argv) {
            // Files that a killed compiler leaves are removed with the folder.
            spawn.env("TMPDIR", &command.cwd);
        }
        spawn.envs(command.env.iter().map(|(name, value)| (name, value)));
        // In a group of its own, so that the time limit and the end of this process also end the compiler's
        // children.
        spawn.process_group(0);
        match command.capture {
            Capture::Pipe => through_pipe(&mut spawn, command),
            Capture::File => through_file(&mut spawn, command),
        }
    }
}

/// Programs that run compilers for other processes, also later and on other hosts. Some leave servers behind,
/// whose temporary directory must not be one that is soon removed.
const LAUNCHERS: [&str; 7] = ["ccache", "sccache", "distcc", "pump", "icecc", "icerun", "buildcache"];

/// Returns true if a command line runs a compiler through a launcher such as ccache, by its name or by a
/// link: `/usr/lib/ccache/g++`.
#[must_use]
pub fn names_launcher(argv: &[String]) -> bool {
    let is_launcher =
        |path: &Path| path.file_name().is_some_and(|name| LAUNCHERS.iter().any(|known| name == *known));
    let path = std::env::var_os("PATH");
    let leads_to_launcher = |word: &String| {
        let program = super::find_program(word, path.as_deref(), Path::new("/"));
        program.and_then(|program| program.canonicalize().ok()).is_some_and(|program| is_launcher(&program))
    };
    let words = || argv.iter().filter(|word| !word.starts_with('-'));
    // Options follow the words of the compiler command, except in commands such as "nice -n 5 ccache g++".
    words().any(|word| is_launcher(Path::new(word)))
        || argv.iter().take_while(|word| !word.starts_with('-')).any(leads_to_launcher)
}

fn through_pipe(spawn: &mut std::process::Command, command: &Command) -> io::Result<Outcome> {
    let (mut reader, writer) = io::pipe()?;
    spawn.stdout(writer.try_clone()?).stderr(writer);
    let mut child = RunningChild::start(spawn, command)?;
    // The command object still holds copies of the write end; with them there would be no end of file.
    spawn.stdout(Stdio::null()).stderr(Stdio::null());

    let mut output = Vec::new();
    // On the heap: the stack of the host's thread may be small.
    let mut buffer = vec![0_u8; 16 << 10];
    loop {
        // Checked first, so that all that the child wrote before its end is read below.
        let ended = child.ended()?;
        let patience = if ended { Duration::ZERO } else { child.slice() };
        if readable(&reader, patience)? {
            let count = match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            if count == 0 {
                break;
            }
            let room = OUTPUT_LIMIT.saturating_sub(output.len());
            output.extend_from_slice(&buffer[..count.min(room)]);
            if ended && room == 0 {
                break;
            }
        } else if ended {
            // A grandchild, such as the daemon of a compiler cache, holds the pipe open. Its output is not
            // wanted.
            break;
        }
    }
    Ok(Outcome { exit: child.finish()?, output })
}

fn through_file(spawn: &mut std::process::Command, command: &Command) -> io::Result<Outcome> {
    let mut file: File = tempfile::tempfile_in(environment::temp_dir())?;
    spawn.stdout(file.try_clone()?).stderr(file.try_clone()?);
    let child = RunningChild::start(spawn, command)?;
    let exit = child.finish()?;
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

/// A running child and its limits.
struct RunningChild {
    child: Child,
    deadline: Option<Instant>,
    memory: MemoryLimit,
    context: ExecContext,
    exit: Option<Exit>,
    /// Held until the child has ended or was killed.
    _tie: Option<Tie>,
}

impl RunningChild {
    fn start(spawn: &mut std::process::Command, command: &Command) -> io::Result<Self> {
        let tie = Tie::new().ok();
        let input = tie.as_ref().and_then(|tie| tie.input().ok());
        spawn.stdin(input.map_or_else(null_device, Ok)?);
        let child = affinity::spawn(spawn, command.context.cores)?;
        tie.iter().for_each(|tie| tie.bind(child.id()));
        let mut memory = MemoryLimit::new(command.memory);
        memory.walk(child.id());
        let deadline = command.timeout.and_then(|limit| Instant::now().checked_add(limit));
        let context = command.context.clone();
        Ok(Self { child, deadline, memory, context, exit: None, _tie: tie })
    }

    /// Returns the time to sleep at most before the next check.
    fn slice(&self) -> Duration {
        const LONGEST: Duration = Duration::from_millis(50);
        let longest = self.context.nap(self.memory.due().unwrap_or(LONGEST));
        self.deadline.map_or(longest, |at| at.saturating_duration_since(Instant::now()).min(longest))
    }

    /// Returns true if the child has ended. Kills it at its deadline, or if its context is cancelled.
    fn ended(&mut self) -> io::Result<bool> {
        if self.exit.is_some() {
            return Ok(true);
        }
        match self.poll_child() {
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
            Ok(None) if self.context.is_cancelled() => {
                self.kill();
                self.exit = Some(Exit::Signal(Signal::KILL.as_raw()));
            }
            Ok(None) => self.memory.walk(self.child.id()),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self.exit = Some(Exit::Unknown),
            Err(error) => return Err(error),
        }
        Ok(self.exit.is_some())
    }

    /// Returns the status of the child if it has ended. Notes its memory for the clock of a watched build.
    ///
    /// Not inlined: the statistics of a process would take stack of every call.
    #[inline(never)]
    fn poll_child(&mut self) -> io::Result<Option<ExitStatus>> {
        if !self.context.is_timed() {
            return self.child.try_wait();
        }
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return self.child.try_wait();
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), options)?.is_none() {
            return Ok(None);
        }
        let ended = self.child.wait4()?;
        self.context.note_memory(ended.rusage.maxrss);
        Ok(Some(ended.status))
    }

    fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // An error means that the group is gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // A process that waits for a lost disk does not end by this either, and must not block this thread
        // for ever.
        const PATIENCE: Duration = Duration::from_secs(10);
        let begin = Instant::now();
        let mut nap = Duration::from_micros(50);
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > PATIENCE {
                log::warn!("process {} was killed and does not end: it is left to itself", self.child.id());
                return;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(5));
        }
    }

    /// Waits for the end, with short sleeps at first: a small compile takes some 40 ms.
    fn finish(mut self) -> io::Result<Exit> {
        let mut nap = Duration::from_micros(50);
        while !self.ended()? {
            std::thread::sleep(nap.min(self.slice()));
            nap = (nap * 2).min(Duration::from_millis(5));
        }
        Ok(self.exit.expect("ended() returned true"))
    }
}

impl Drop for RunningChild {
    /// Leaves no child behind, also after an error or a panic.
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], capture: Capture, timeout: Option<Duration>) -> io::Result<Outcome> {
        run_in(argv, capture, timeout, ExecContext::default())
    }

    fn run_in(
        argv: &[&str],
        capture: Capture,
        timeout: Option<Duration>,
        context: ExecContext,
    ) -> io::Result<Outcome> {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let cwd = environment::temp_dir();
        SystemRunner.run(&Command { argv, env: Vec::new(), cwd, timeout, capture, memory: None, context })
    }

    #[test]
    fn output_of_any_bytes_comes_back_in_order() {
        for capture in [Capture::Pipe, Capture::File] {
            let outcome = run(&["sh", "-c", "printf 'a\\377'; printf b >&2; exit 3"], capture, None).unwrap();
            assert_eq!((outcome.exit, outcome.output.as_slice()), (Exit::Code(3), b"a\xffb".as_slice()));
        }
    }

    /// The server that ccache and its like leave behind would keep a directory that is soon removed.
    #[test]
    fn launchers_of_compilers_keep_the_temporary_directory_of_the_host() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\necho \"TMPDIR is ${TMPDIR-unset}\"\n";
        for name in ["sccache", "g++"] {
            std::fs::write(dir.path().join(name), script).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        symlink("sccache", dir.path().join("masquerade-c++")).unwrap();
        let output_of = |words: &[&str]| {
            let argv: Vec<String> =
                words.iter().map(|word| word.replace("DIR", dir.path().to_str().unwrap())).collect();
            let command = Command {
                argv,
                env: Vec::new(),
                cwd: dir.path().to_owned(),
                timeout: None,
                capture: Capture::Pipe,
                memory: None,
                context: ExecContext::default(),
            };
            String::from_utf8(SystemRunner.run(&command).unwrap().output).unwrap()
        };
        let staging = format!("TMPDIR is {}\n", dir.path().display());
        assert_eq!(output_of(&["DIR/g++", "-I/opt/ccache", "x.cpp"]), staging);
        let host = std::env::var("TMPDIR").unwrap_or_else(|_| "unset".to_owned());
        let inherited = format!("TMPDIR is {host}\n");
        for words in [
            &["DIR/sccache", "g++"][..],
            &["env", "DIR/sccache", "g++"],
            &["nice", "-n", "1", "DIR/sccache"],
            &["DIR/masquerade-c++", "-O2"],
            &["env", "DIR/masquerade-c++"],
        ] {
            assert_eq!(output_of(words), inherited, "{words:?}");
        }
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
    fn a_cancelled_command_ends_with_its_children() {
        for capture in [Capture::Pipe, Capture::File] {
            let context = ExecContext::default();
            let own = context.clone();
            let run = std::thread::spawn(move || {
                run_in(&["sh", "-c", "sleep 60 & echo $!; sleep 60"], capture, None, own)
            });
            std::thread::sleep(Duration::from_millis(300));
            context.cancel();
            let outcome = run.join().unwrap().unwrap();
            assert_eq!(outcome.exit, Exit::Signal(9));
            assert!(is_gone(String::from_utf8(outcome.output).unwrap().trim()));
        }
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_does_not_block_the_runner() {
        let begin = Instant::now();
        let outcome = run(&["sh", "-c", "sleep 20 & echo done"], Capture::Pipe, None).unwrap();
        assert_eq!((outcome.exit, outcome.output.as_slice()), (Exit::Code(0), b"done\n".as_slice()));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn long_output_is_truncated_and_does_not_block_the_program() {
        let outcome =
            run(&["head", "-c", &(OUTPUT_LIMIT + 100_000).to_string(), "/dev/zero"], Capture::Pipe, None)
                .unwrap();
        assert_eq!((outcome.exit, outcome.output.len()), (Exit::Code(0), OUTPUT_LIMIT));
    }

    /// Waits until a process has ended, or only its status is left.
    fn is_gone(process: &str) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim();
            if state.is_empty() || state.starts_with(['Z', 'X']) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn no_process_is_left_after_the_time_limit() {
        for capture in [Capture::Pipe, Capture::File] {
            let limit = Some(Duration::from_millis(200));
            let script = "echo $$; sleep 60 & echo $!; sh -c 'echo $$; sleep 60; :'; :";
            let outcome = run(&["sh", "-c", script], capture, limit).unwrap();
            assert_eq!(outcome.exit, Exit::TimedOut);
            let processes = String::from_utf8(outcome.output).unwrap();
            assert_eq!(processes.lines().count(), 3, "{processes}");
            assert!(processes.lines().all(is_gone), "{processes}");
        }
    }

    /// The system stops a compiler that reads from a terminal in the background, and does not end it.
    #[test]
    fn a_stopped_command_is_killed_at_the_time_limit() {
        for signal in ["STOP", "TSTP", "TTOU"] {
            let script = format!("echo $$; kill -{signal} $$; echo on");
            let limit = Some(Duration::from_millis(300));
            let outcome = run(&["sh", "-c", &script], Capture::Pipe, limit).unwrap();
            assert_eq!(outcome.exit, Exit::TimedOut, "{signal}");
            let output = String::from_utf8(outcome.output).unwrap();
            assert_eq!(output.lines().count(), 1, "{signal}: {output}");
            assert!(is_gone(output.trim()), "{signal}");
        }
    }

    #[test]
    fn the_command_ends_with_its_runner() {
        let command = |limit| Command {
            argv: Vec::new(),
            env: Vec::new(),
            cwd: environment::temp_dir(),
            timeout: limit,
            capture: Capture::File,
            memory: Some(1 << 33),
            context: ExecContext::default(),
        };
        for limit in [None, Some(Duration::from_secs(60))] {
            let mut sleep = std::process::Command::new("sleep");
            sleep.arg("60").process_group(0);
            let child = RunningChild::start(&mut sleep, &command(limit)).unwrap();
            let process = child.child.id().to_string();
            // As an error in the middle of a run does, or a panic.
            drop(child);
            assert!(is_gone(&process));
            assert!(!Path::new("/proc").join(process).exists(), "its status was taken");
        }
    }
}
