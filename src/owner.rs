//! Identities of processes. An unfinished file names its process, so that others find out later whether it is
//! still alive.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::codec::{digest, hex};

/// The identity of a process. It differs from that of any other process, also of one with the same number
/// later or on another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Digest of the boot identifier: the host, since it was started.
    pub boot: String,
    /// The PID namespace: containers have their own.
    #[serde(rename = "space")]
    pub pid_namespace: u64,
    /// The number of the process in that namespace.
    pub pid: u32,
    /// Time of its start, in clock ticks since the boot.
    pub start: u64,
}

/// The state of a process, seen from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It is stopped (SIGSTOP, a debugger).
    Stopped,
    /// It has ended.
    Dead,
    /// It cannot be seen: it is, or was, on another host or in another container.
    Unknown,
}

impl ProcessId {
    /// Returns the identity of this process. If the process cannot see itself in `/proc`, its liveness is
    /// unknown to all.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        match (namespace(), own_start(pid)) {
            (Some((boot, pid_namespace)), Some(start)) => {
                Self { boot: boot.clone(), pid_namespace: *pid_namespace, pid, start }
            }
            _ => Self { boot: UNKNOWN_BOOT.to_owned(), pid_namespace: 0, pid, start: 0 },
        }
    }

    /// Returns the state of the process. `Dead` only if that is certain.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        let Some((boot, pid_namespace)) = namespace() else { return Liveness::Unknown };
        if self.boot != *boot || self.pid_namespace != *pid_namespace {
            return Liveness::Unknown;
        }
        match stat(self.pid) {
            Ok(stat) if stat.start != self.start => Liveness::Dead,
            // A zombie has ended. A process whose first thread alone has ended looks the same, but has more
            // threads.
            Ok(Stat { state: 'Z' | 'X' | 'x', threads: 0 | 1, .. }) => Liveness::Dead,
            Ok(Stat { state: 'T' | 't', .. }) => Liveness::Stopped,
            Ok(_) => Liveness::Alive,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Liveness::Dead,
            Err(_) => Liveness::Unknown,
        }
    }

    /// Returns the identity as a part of a file name; see [`ProcessId::from_tag`].
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}.{:x}.{}.{}", self.boot, self.pid_namespace, self.pid, self.start)
    }

    /// Reads a [`ProcessId::tag`] at the beginning of a text. Ignores all that follows a `-`.
    #[must_use]
    pub fn from_tag(text: &str) -> Option<Self> {
        let mut fields = text.split('-').next()?.split('.');
        let boot = fields.next().filter(|boot| boot.len() == 12)?.to_owned();
        let pid_namespace = u64::from_str_radix(fields.next()?, 16).ok()?;
        let pid = fields.next()?.parse().ok()?;
        let start = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some(Self { boot, pid_namespace, pid, start })
    }
}

/// The process that created a value. A child that the host forks inherits a copy of the value, and none of
/// the threads that work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creator(u32);

impl Creator {
    /// Returns this process.
    #[must_use]
    pub fn current() -> Self {
        Self(std::process::id())
    }

    /// Returns true in the creator, false in a forked child of it.
    #[must_use]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

impl fmt::Display for Creator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Returns the boot identifier, which all containers of a machine share; the name of the host if there is
/// none.
#[must_use]
pub fn boot_id() -> &'static [u8] {
    static BOOT: OnceLock<Vec<u8>> = OnceLock::new();
    BOOT.get_or_init(|| {
        let mut text = [0; 64];
        // A read returns all of it or fails.
        let length = File::open("/proc/sys/kernel/random/boot_id").and_then(|mut file| file.read(&mut text));
        length.map_or_else(|_| crate::host_name().into_bytes(), |length| text[..length].to_vec())
    })
}

/// Returns a digest of [`boot_id`] for names of files.
#[must_use]
pub fn boot() -> String {
    hex(&digest(boot_id())[..6])
}

/// The boot in the identity of a process whose liveness cannot be known.
const UNKNOWN_BOOT: &str = "000000000000";

/// Returns this boot and the PID namespace of this process. `None` if `/proc` is missing or belongs to
/// another namespace, in which numbers mean other processes.
fn namespace() -> Option<&'static (String, u64)> {
    static NAMESPACE: OnceLock<Option<(String, u64)>> = OnceLock::new();
    let find = || {
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str()?.parse() != Ok(std::process::id()) {
            return None;
        }
        let pid_namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
        Some((boot(), pid_namespace))
    };
    NAMESPACE.get_or_init(find).as_ref()
}

/// The fields of `/proc/PID/stat` that are used.
#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    threads: u64,
    start: u64,
}

/// Returns when this process has started. It is read once; a forked child has another number and reads it anew.
fn own_start(pid: u32) -> Option<u64> {
    static KNOWN_PID: AtomicU32 = AtomicU32::new(0);
    static START: AtomicU64 = AtomicU64::new(0);
    if KNOWN_PID.load(Ordering::Acquire) == pid {
        return Some(START.load(Ordering::Relaxed));
    }
    let start = stat(pid).ok()?.start;
    START.store(start, Ordering::Relaxed);
    KNOWN_PID.store(pid, Ordering::Release);
    Some(start)
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::other("/proc/PID/stat is not understood"))
}

/// Reads `/proc/PID/stat`. The name of the program, in parentheses, may hold parentheses and blanks too.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    // Fields 3, 20 and 22 of the line.
    let state = fields.next()?.chars().next()?;
    let threads = fields.nth(16)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, threads, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_has_ended_is_dead() {
        let me = ProcessId::current();
        assert_eq!(me.liveness(), Liveness::Alive);
        assert_eq!(
            ProcessId { start: me.start + 1, ..me.clone() }.liveness(),
            Liveness::Dead,
            "its number, used again"
        );
        assert_eq!(ProcessId { boot: UNKNOWN_BOOT.into(), ..me.clone() }.liveness(), Liveness::Unknown);
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let start = stat(child.id()).unwrap().start;
        let other = ProcessId { pid: child.id(), start, ..me };
        assert_eq!(other.liveness(), Liveness::Alive);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let stopped = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            other.liveness() == Liveness::Stopped
        });
        assert!(stopped);
        child.kill().unwrap();
        let dead = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            other.liveness() == Liveness::Dead
        });
        assert!(dead, "a zombie counts as dead");
        child.wait().unwrap();
        assert_eq!(other.liveness(), Liveness::Dead);
    }

    #[test]
    fn a_tag_is_read_back_and_nothing_else_is() {
        let me = ProcessId::current();
        assert_eq!(ProcessId::from_tag(&me.tag()), Some(me.clone()));
        assert_eq!(ProcessId::from_tag(&format!("{}-aX3.tmp", me.tag())), Some(me));
        for text in ["", "abc", "0123456789ab.1.2", "0123456789ab.1.2.3.4", "0123456789ab.x.y.z-"] {
            assert_eq!(ProcessId::from_tag(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_programs_do_not_confuse() {
        let line = "7 (a) b ( c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 4242 1 1";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', threads: 3, start: 4242 }));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }
}
