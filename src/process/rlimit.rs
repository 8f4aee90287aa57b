//! Limits the address space of a process that already runs, and of its descendants.
//!
//! Setting a limit between fork and exec needs code there, which rules out `posix_spawn`. Setting it on this
//! process meanwhile would limit the host. So `prlimit` sets it on the child right after its creation, and
//! later descendants inherit it. Earlier ones are found by walking the descendants, at once and again some
//! milliseconds later, for a fork that was under way during a walk.
//!
//! So the limit comes a little late: microseconds, or until this thread gets a core on a busy machine. A
//! process keeps the memory that it has by then. Beyond the limit it gets no more, which stops a compiler,
//! because compilers allocate in thousands of steps. A process stays without a limit if its parent ended
//! before the first walk, or if it was started before and the kernel has no
//! `/proc/<pid>/task/<tid>/children`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// The number of walks over the descendants of a child, and the time between two.
const WALKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// A limit that is being set on a child and its descendants.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: Rlimit,
    walks: u32,
}

impl MemoryLimit {
    /// Makes a limit of `bytes`, and of no more than this process has. `None` sets no limit.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        let Some(bytes) = bytes else {
            return Self { limit: Rlimit { current: None, maximum: None }, walks: 0 };
        };
        let own = getrlimit(Resource::As);
        let least = |own: Option<u64>| Some(own.map_or(bytes, |own| own.min(bytes)));
        Self { limit: Rlimit { current: least(own.current), maximum: least(own.maximum) }, walks: WALKS }
    }

    /// Returns the time until the next walk, or `None` after the last.
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
                // Read after the limit was set: later children inherit it.
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
                static LOGGED: AtomicBool = AtomicBool::new(false);
                if !LOGGED.swap(true, Ordering::Relaxed) {
                    log::warn!("build.memory_limit has no effect: the system refuses to set it ({errno})");
                }
            }
        }
    }
}

/// Returns the children of all threads of a process.
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
