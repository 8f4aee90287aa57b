//! Signals between the library, its host, and the programs that it starts. Dispositions of the host are never
//! changed.

use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::ptr;

use libc::{SIG_BLOCK, SIG_SETMASK, SIGKILL, SIGPIPE, SIGXFSZ, c_int, sigset_t};

/// Signals that a failing write raises: SIGPIPE with `EPIPE`, SIGXFSZ with `EFBIG` beyond `ulimit -f`.
const RAISED: [c_int; 2] = [SIGPIPE, SIGXFSZ];

/// The command of fcntl(2) that sets the signal of a file. The crate `libc` has no name for it.
const F_SETSIG: c_int = 10;

/// Runs a write, or a change of a file's length, such that a failure raises no signal, which would end the
/// host.
///
/// The kernel sends such a signal to the writing thread. It is blocked in this thread during the write, and
/// taken back if the write failed for that reason. A signal that was pending before stays pending.
///
/// # Errors
/// Those of `write`, which must return the error of the system.
pub fn without_signals<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let blocked = Blocked::new();
    let done = write();
    match done.as_ref().map_err(io::Error::kind) {
        Err(ErrorKind::BrokenPipe) => blocked.take_back(SIGPIPE),
        Err(ErrorKind::FileTooLarge) => blocked.take_back(SIGXFSZ),
        _ => {}
    }
    done
}

/// A writer to a file that the host named, which may be a pipe: a failure raises no signal.
#[derive(Debug)]
pub struct WithoutSignals<W>(pub W);

impl<W: Write> Write for WithoutSignals<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        without_signals(|| self.0.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        without_signals(|| self.0.flush())
    }
}

/// Blocks the signals of a write in this thread until it is dropped.
struct Blocked {
    before: sigset_t,
    /// For each signal of [`RAISED`], true if it was pending already.
    pending: [bool; RAISED.len()],
}

impl Blocked {
    fn new() -> Self {
        let set = set_of(&RAISED);
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid, and the call fills the second. It fails only for an unknown action.
        let before = unsafe {
            libc::pthread_sigmask(SIG_BLOCK, &raw const set, before.as_mut_ptr());
            before.assume_init()
        };
        // A signal that is not blocked is delivered at once and never pending.
        let pending = RAISED.map(|signal| holds(&before, signal) && is_pending(signal));
        Self { before, pending }
    }

    /// Takes back the signal that a write of this thread raised.
    fn take_back(&self, signal: c_int) {
        if RAISED.iter().zip(self.pending).any(|(raised, pending)| *raised == signal && pending) {
            // The two signals have become one.
            return;
        }
        let (set, now) = (set_of(&[signal]), libc::timespec { tv_sec: 0, tv_nsec: 0 });
        loop {
            // A signal pending for this thread is taken before one pending for the process.
            // SAFETY: set and time are valid, and NULL asks for no information about the signal.
            let taken = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) };
            if taken != -1 || io::Error::last_os_error().kind() != ErrorKind::Interrupted {
                return;
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is valid.
        unsafe { libc::pthread_sigmask(SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

fn set_of(signals: &[c_int]) -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the set, and the signals exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn holds(set: &sigset_t, signal: c_int) -> bool {
    // SAFETY: the set is valid.
    unsafe { libc::sigismember(ptr::from_ref(set), signal) == 1 }
}

fn is_pending(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: the set is valid.
    unsafe { libc::sigpending(&raw mut set) == 0 && holds(&set, signal) }
}

/// Ties a process group to this process: the kernel kills the group when this process ends, however it ends.
///
/// The input of the group is one end of a socket, from which it reads an end of file. When this process ends,
/// the other end is closed, and the kernel sends `SIGKILL` to the owner of the first (`O_ASYNC`, `F_SETOWN`,
/// `F_SETSIG`). A parent-death signal would need code between fork and exec, which is not safe beside
/// InfiniBand drivers. It would also be sent when the thread that started a program ends, and would miss the
/// program's children. A watchdog process would keep the host's open files open.
///
/// During some microseconds between the start of a group and [`Tie::bind`] the group is not tied. A child
/// that the host forked and that has not called `exec` holds the socket too, so the group is killed only
/// after that child has ended.
#[derive(Debug)]
pub struct Tie {
    group_end: UnixStream,
    /// Closed with this process.
    _own_end: UnixStream,
}

impl Tie {
    /// Makes a tie for a group that is to be started.
    ///
    /// # Errors
    /// Those of the system, such as too many open files.
    pub fn new() -> io::Result<Self> {
        let (own_end, group_end) = UnixStream::pair()?;
        own_end.shutdown(Shutdown::Write)?;
        Ok(Self { group_end, _own_end: own_end })
    }

    /// Returns the input of the group.
    ///
    /// # Errors
    /// Those of the system, such as too many open files.
    pub fn input(&self) -> io::Result<Stdio> {
        Ok(OwnedFd::from(self.group_end.try_clone()?).into())
    }

    /// Ties a group that was started with [`Tie::input`], until this is dropped.
    pub fn bind(&self, group: u32) {
        let Ok(group) = c_int::try_from(group) else { return };
        let owned = self.control(libc::F_SETOWN, -group) && self.control(F_SETSIG, SIGKILL);
        let bound = owned && self.control(libc::F_SETFL, libc::O_RDWR | libc::O_ASYNC);
        if !bound {
            log::debug!(
                "process group {group} will go on if this process is killed: the system cannot tie it"
            );
        }
    }

    fn control(&self, command: c_int, argument: c_int) -> bool {
        // SAFETY: the descriptor is open, and these commands take a number.
        unsafe { libc::fcntl(self.group_end.as_raw_fd(), command, argument) != -1 }
    }
}

impl Drop for Tie {
    /// Unties the group: a process that is left on purpose, such as the server of a compiler cache, goes on.
    fn drop(&mut self) {
        self.control(libc::F_SETFL, libc::O_RDWR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn raise(signal: c_int) {
        // SAFETY: the call takes a number.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    /// Writes into a pipe without a reader. Test programs ignore SIGPIPE, but a blocked signal is pending all
    /// the same.
    fn write_without_reader() -> io::Result<()> {
        let (reader, mut writer) = io::pipe()?;
        drop(reader);
        writer.write_all(b"x")
    }

    #[test]
    fn a_write_that_fails_leaves_no_signal_and_no_mask() {
        std::thread::spawn(|| {
            let before = Blocked::new().before;
            assert!(RAISED.iter().all(|signal| !holds(&before, *signal)));
            let error = without_signals(write_without_reader).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let outer = Blocked::new();
            let error = without_signals(write_without_reader).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(!is_pending(SIGPIPE), "taken back also while an outer one blocks it");
            assert!(RAISED.iter().all(|signal| !holds(&outer.before, *signal)));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_signal_that_was_pending_stays_so() {
        std::thread::spawn(|| {
            let _outer = Blocked::new();
            raise(SIGPIPE);
            without_signals(write_without_reader).unwrap_err();
            assert!(is_pending(SIGPIPE));
            without_signals(|| Ok(())).unwrap();
            assert!(is_pending(SIGPIPE));
            Blocked { pending: [false; 2], before: Blocked::new().before }.take_back(SIGPIPE);
            assert!(!is_pending(SIGPIPE));
        })
        .join()
        .unwrap();
    }

    /// Runs itself again below a limit of file sizes.
    #[test]
    fn a_file_beyond_the_limit_is_an_error() {
        const LIMITED: &str = "DIJITSO_TEST_FILE_LIMIT";
        let name = "signals::tests::a_file_beyond_the_limit_is_an_error";
        let Some(path) = std::env::var_os(LIMITED) else {
            let dir = tempfile::tempdir().unwrap();
            let script = "ulimit -f 8; exec \"$0\" --exact \"$1\" --nocapture";
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(name);
            let output = command.env(LIMITED, dir.path().join("file")).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        };
        let mut file = File::create(path).unwrap();
        let error = without_signals(|| file.write_all(&[0; 1 << 20])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        let error = without_signals(|| file.set_len(1 << 20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        without_signals(|| file.set_len(1)).unwrap();
    }

    fn ends(process: u32, within: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < within {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            if state.is_empty() || state.starts_with(['Z', 'X']) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn a_group_reads_nothing_and_ends_with_the_other_end_of_its_socket() {
        let tie = Tie::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "cat; sleep 100 & echo $!; sleep 100"]).process_group(0);
        let mut child = command.stdin(tie.input().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
        drop(command);
        tie.bind(child.id());
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).unwrap();
        let grandchild = line.trim().parse().unwrap();
        // The end of this process does the same.
        tie._own_end.shutdown(Shutdown::Both).unwrap();
        assert!(ends(grandchild, Duration::from_secs(20)));
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(SIGKILL));
    }

    #[test]
    fn a_group_goes_on_after_its_tie_is_dropped() {
        let tie = Tie::new().unwrap();
        let mut command = Command::new("sleep");
        let mut child = command.arg("100").process_group(0).stdin(tie.input().unwrap()).spawn().unwrap();
        drop(command);
        tie.bind(child.id());
        drop(tie);
        assert!(!ends(child.id(), Duration::from_millis(200)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
