//! Who made a file that is not finished: a process that can be recognised later, and be told dead.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::wire::{digest, hex};

/// A process, told apart from all others, also from one that has got its number later or on another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Digest of the identifier of the boot: the host, since it was started.
    pub boot: String,
    /// The name space in which the number of the process counts: containers have their own.
    pub space: u64,
    /// The number of the process.
    pub pid: u32,
    /// When it was started, in clock ticks since the boot.
    pub start: u64,
}

/// What can be known of a process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Alive,
    /// It is there, but has been stopped (SIGSTOP, a debugger).
    Stopped,
    /// It has ended.
    Dead,
    /// It is, or was, on another host or in another container.
    Unknown,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn me() -> Self {
        let pid = std::process::id();
        let (boot, space) = place();
        Self { boot: boot.clone(), space: *space, pid, start: stat(pid).map_or(0, |(_, start)| start) }
    }

    /// Whether this process still runs.
    #[must_use]
    pub fn life(&self) -> Life {
        let (boot, space) = place();
        if self.boot != *boot || self.space != *space {
            return Life::Unknown;
        }
        match stat(self.pid) {
            Some((_, start)) if start != self.start => Life::Dead,
            // A zombie does nothing any more, whether its parent looks after it or not.
            Some(('Z' | 'X' | 'x', _)) => Life::Dead,
            Some(('T' | 't', _)) => Life::Stopped,
            Some(_) => Life::Alive,
            // Without /proc nothing is known.
            None if !fs::exists("/proc/self/stat").unwrap_or(false) => Life::Unknown,
            None => Life::Dead,
        }
    }

    /// The owner as a part of a file name; see [`Owner::from_tag`].
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}.{:x}.{}.{}", self.boot, self.space, self.pid, self.start)
    }

    /// The reverse of [`Owner::tag`], of the beginning of a text: what follows a further `-` does not matter.
    #[must_use]
    pub fn from_tag(text: &str) -> Option<Self> {
        let mut fields = text.split('-').next()?.split('.');
        let boot = fields.next().filter(|boot| boot.len() == 12)?.to_owned();
        let space = u64::from_str_radix(fields.next()?, 16).ok()?;
        let pid = fields.next()?.parse().ok()?;
        let start = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some(Self { boot, space, pid, start })
    }
}

/// The identifier of this boot, which all containers of a machine share; without one, the name of the host.
#[must_use]
pub fn boot_id() -> &'static [u8] {
    static BOOT: OnceLock<Vec<u8>> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| crate::host_name().into_bytes())
    })
}

fn place() -> &'static (String, u64) {
    static PLACE: OnceLock<(String, u64)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let space = fs::metadata("/proc/self/ns/pid").map_or(0, |facts| facts.ino());
        (hex(&digest(boot_id())[..6]), space)
    })
}

/// State and start of a process; `None` when there is none.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&text))
}

/// The name of the program, in parentheses, may hold anything, parentheses and blanks too.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line; the state is field 3.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_has_ended_is_dead() {
        let me = Owner::me();
        assert_eq!(me.life(), Life::Alive);
        assert_eq!(Owner { start: me.start + 1, ..me.clone() }.life(), Life::Dead, "its number, used again");
        assert_eq!(Owner { boot: "000000000000".into(), ..me.clone() }.life(), Life::Unknown);
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let start = stat(child.id()).unwrap().1;
        let other = Owner { pid: child.id(), start, ..me };
        assert_eq!(other.life(), Life::Alive);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let stopped = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            other.life() == Life::Stopped
        });
        assert!(stopped);
        child.kill().unwrap();
        let dead = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            other.life() == Life::Dead
        });
        assert!(dead, "a zombie counts as dead");
        child.wait().unwrap();
        assert_eq!(other.life(), Life::Dead);
    }

    #[test]
    fn a_tag_is_read_back_and_nothing_else_is() {
        let me = Owner::me();
        assert_eq!(Owner::from_tag(&me.tag()), Some(me.clone()));
        assert_eq!(Owner::from_tag(&format!("{}-aX3.tmp", me.tag())), Some(me));
        for text in ["", "abc", "0123456789ab.1.2", "0123456789ab.1.2.3.4", "0123456789ab.x.y.z-"] {
            assert_eq!(Owner::from_tag(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_programs_do_not_confuse() {
        let line = "7 (a) b ( c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(line), Some(('S', 4242)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }
}
