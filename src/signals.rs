//! Signals between the library, its host, and the programs that it starts. Dispositions of the host are never changed.

use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::ptr;

use libc::{SIG_BLOCK, SIG_SETMASK, SIGKILL, SIGPIPE, SIGXFSZ, c_int, sigset_t};

/// The signals that a write raises beside its error: `EPIPE`, and `EFBIG` beyond `ulimit -f`.
const RAISED: [c_int; 2] = [SIGPIPE, SIGXFSZ];

/// Which signal tells of a file, of fcntl(2); the crate `libc` has no name for it.
const F_SETSIG: c_int = 10;

/// Runs a write (also one that sets the length of a file), which fails without a signal that would end the host.
///
/// The kernel sends such a signal to the thread that writes. It is blocked in this thread meanwhile, and taken back if
/// the write has failed for that reason. One that was pending before stays so.
///
/// # Errors
/// Those of `write`, which must give the error of the system and not hide it.
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

/// Writes to what the host has named, which may be a pipe.
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

/// The signals of a write are blocked in this thread until this is dropped.
struct Blocked {
    before: sigset_t,
    /// Those of [`RAISED`] that were pending already.
    pending: [bool; RAISED.len()],
}

impl Blocked {
    fn new() -> Self {
        let set = set_of(&RAISED);
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid, and the call fills the second. It fails for an unknown action alone.
        let before = unsafe {
            libc::pthread_sigmask(SIG_BLOCK, &raw const set, before.as_mut_ptr());
            before.assume_init()
        };
        // A signal that is not blocked is delivered at once and never pending.
        let pending = RAISED.map(|signal| holds(&before, signal) && is_pending(signal));
        Self { before, pending }
    }

    /// Takes back the signal that a write of this thread has raised.
    fn take_back(&self, signal: c_int) {
        if RAISED.iter().zip(self.pending).any(|(raised, pending)| *raised == signal && pending) {
            // The two have become one.
            return;
        }
        let (set, now) = (set_of(&[signal]), libc::timespec { tv_sec: 0, tv_nsec: 0 });
        loop {
            // What is pending for this thread is taken before what is pending for the process.
            // SAFETY: set and time are valid, and nothing is to be told of the signal.
            let taken = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) };
            if taken != -1 || io::Error::last_os_error().kind() != ErrorKind::Interrupted {
                return;
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the thread had.
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
/// The group has one end of a socket as its input, from which it reads an end of file. The other end is closed with
/// this process, and then the kernel sends `SIGKILL` to the owner of the first one (`O_ASYNC`, `F_SETOWN`, `F_SETSIG`).
/// A parent-death signal would need code between fork and exec, which is not safe beside InfiniBand drivers; it would
/// also be sent when the thread that started a program ends, and would miss what that program has started. A watching
/// process would hold what the host has open.
///
/// Some microseconds lie between the start of a group and [`Tie::bind`]. A child that the host has forked and that has
/// not called `exec` holds the socket too, and so keeps the group until it ends.
#[derive(Debug)]
pub struct Tie {
    group_end: UnixStream,
    /// Closed with this process.
    _own_end: UnixStream,
}

impl Tie {
    /// A tie of a group that is to be started.
    ///
    /// # Errors
    /// Those of the system, such as too many open files.
    pub fn new() -> io::Result<Self> {
        let (own_end, group_end) = UnixStream::pair()?;
        own_end.shutdown(Shutdown::Write)?;
        Ok(Self { group_end, _own_end: own_end })
    }

    /// The input of the group.
    ///
    /// # Errors
    /// As [`Tie::new`].
    pub fn input(&self) -> io::Result<Stdio> {
        Ok(OwnedFd::from(self.group_end.try_clone()?).into())
    }

    /// Binds the group, which is to have been started with [`Tie::input`], until this is dropped.
    pub fn bind(&self, group: u32) {
        let Ok(group) = c_int::try_from(group) else { return };
        let owned = self.control(libc::F_SETOWN, -group) && self.control(F_SETSIG, SIGKILL);
        let bound = owned && self.control(libc::F_SETFL, libc::O_RDWR | libc::O_ASYNC);
        if !bound {
            log::debug!(
                "process group {group} would go on if this process were killed: the system cannot tie it"
            );
        }
    }

    fn control(&self, command: c_int, argument: c_int) -> bool {
        // SAFETY: the descriptor is open, and these commands take a number.
        unsafe { libc::fcntl(self.group_end.as_raw_fd(), command, argument) != -1 }
    }
}

impl Drop for Tie {
    /// What is left of the group by intention, such as the server of a compiler cache, goes on.
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

    /// A write into a pipe that nobody reads. Test programs ignore SIGPIPE, but a blocked signal is pending all the same.
    fn write_into_nothing() -> io::Result<()> {
        let (reader, mut writer) = io::pipe()?;
        drop(reader);
        writer.write_all(b"x")
    }

    #[test]
    fn a_write_that_fails_leaves_no_signal_and_no_mask() {
        std::thread::spawn(|| {
            let before = Blocked::new().before;
            assert!(RAISED.iter().all(|signal| !holds(&before, *signal)));
            let error = without_signals(write_into_nothing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let outer = Blocked::new();
            let error = without_signals(write_into_nothing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(!is_pending(SIGPIPE), "taken back within another one, too");
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
            without_signals(write_into_nothing).unwrap_err();
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
        // As the end of this process does.
        tie._own_end.shutdown(Shutdown::Both).unwrap();
        assert!(ends(grandchild, Duration::from_secs(20)));
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(SIGKILL));
    }

    #[test]
    fn what_is_left_of_a_group_after_its_tie_goes_on() {
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
