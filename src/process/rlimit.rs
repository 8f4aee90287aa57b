//! A limit of address space for a process that is already running, and for all that come of it.
//!
//! A limit that is set between fork and exec needs code there, and that forbids `posix_spawn`; one that is set on this
//! process meanwhile would hit the host. So it is set on the child right after it was created, by `prlimit`, and what
//! the child starts from then on inherits it. What it has started before is found by walking its descendants, at once
//! and some milliseconds later again, for a fork that was under way during a walk.
//!
//! So the limit comes a little late: microseconds, or on a busy machine until this thread gets a core again. What a
//! process has taken by then it keeps, and it gets no more if that is beyond the limit, which stops a compiler, as it
//! takes memory in thousands of steps. What stays without a limit: a process whose parent started it and ended before
//! the first walk, and, on a kernel without `/proc/<pid>/task/<tid>/children`, anything started before that.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// How often a child is walked at most, and the time between two walks.
const WALKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// A limit on its way to a child and its descendants.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: Rlimit,
    walks: u32,
}

impl MemoryLimit {
    /// A limit of so many bytes, and of no more than this process has itself; without bytes, nothing to be done.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        let Some(bytes) = bytes else {
            return Self { limit: Rlimit { current: None, maximum: None }, walks: 0 };
        };
        let own = getrlimit(Resource::As);
        let least = |own: Option<u64>| Some(own.map_or(bytes, |own| own.min(bytes)));
        Self { limit: Rlimit { current: least(own.current), maximum: least(own.maximum) }, walks: WALKS }
    }

    /// How soon the next walk is due; `None` when there is none.
    pub(super) fn due(&self) -> Option<Duration> {
        (self.walks > 0).then_some(PAUSE)
    }

    /// Sets the limit on `root` and its descendants.
    pub(super) fn walk(&mut self, root: u32) {
        if self.walks == 0 {
            return;
        }
        self.walks -= 1;
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![root]);
        while let Some(process) = waiting.pop() {
            if seen.insert(process) {
                self.set(process);
                // Read after the limit was set: what comes later inherits it.
                waiting.extend(children(process));
            }
        }
    }

    fn set(&self, process: u32) {
        let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) else { return };
        match prlimit(Some(process), Resource::As, self.limit) {
            // It may have ended.
            Ok(_) | Err(Errno::SRCH) => {}
            Err(errno) => {
                static SAID: AtomicBool = AtomicBool::new(false);
                if !SAID.swap(true, Ordering::Relaxed) {
                    log::warn!("build.memory_limit has no effect: the system refuses to set it ({errno})");
                }
            }
        }
    }
}

/// The children of all threads of a process.
fn children(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    fn address_space(process: u32) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    }

    #[test]
    fn processes_that_were_there_before_are_limited_too() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'sleep 60 & read x'; :"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut grandchild = None;
        let begin = Instant::now();
        while grandchild.is_none() && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
            grandchild = children(child.id()).first().and_then(|process| children(*process).first().copied());
        }
        let grandchild = grandchild.expect("the tree is there");
        assert_ne!(address_space(grandchild), (1_u64 << 33).to_string());
        MemoryLimit::new(Some(1 << 33)).walk(child.id());
        assert_eq!(address_space(child.id()), (1_u64 << 33).to_string());
        assert_eq!(address_space(grandchild), (1_u64 << 33).to_string());
        let _ = rustix::process::kill_process(
            Pid::from_raw(i32::try_from(grandchild).unwrap()).unwrap(),
            rustix::process::Signal::KILL,
        );
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_walk_over_nothing_is_nothing() {
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let mut limit = MemoryLimit::new(Some(1 << 33));
        for _ in 0..=WALKS {
            limit.walk(ended.id());
        }
        assert_eq!(limit.due(), None);
    }
}
