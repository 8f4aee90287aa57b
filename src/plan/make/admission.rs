//! May one more node run? Compilers of C++ need much memory, and a host that swaps is slower than one that waits. GNU
//! make shares its jobs out by tokens.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::plan::node::NodeId;
use crate::process::jobserver::{JobToken, Jobserver};

/// Counts the memory that running nodes are expected to use.
#[derive(Debug, Default)]
pub(super) struct MemoryGate {
    running: HashMap<NodeId, u64>,
    /// The memory that is available, and when it was read.
    available: Option<(u64, Instant)>,
}

impl MemoryGate {
    /// The time between two readings.
    pub(super) const POLL: Duration = Duration::from_millis(200);

    /// The part of the available memory that is left alone: one in this many.
    const HEADROOM: u64 = 10;

    /// Returns true if a node that is expected to use `memory` bytes may run beside `running` others. One always
    /// may.
    pub(super) fn admits(&mut self, memory: u64, running: usize) -> bool {
        if memory == 0 || running == 0 {
            return true;
        }
        let now = Instant::now();
        let fresh = self.available.filter(|(_, at)| now.duration_since(*at) < Self::POLL);
        let (available, _) = fresh.unwrap_or_else(|| (available_memory(), now));
        self.available = Some((available, fresh.map_or(now, |(_, at)| at)));
        // What runs has not taken all of its memory yet.
        let promised: u64 = self.running.values().map(|memory| memory / 2).sum();
        available.saturating_sub(available / Self::HEADROOM) >= memory.saturating_add(promised)
    }

    pub(super) fn begin(&mut self, id: NodeId, memory: u64) {
        if memory > 0 {
            self.running.insert(id, memory);
        }
    }

    pub(super) fn end(&mut self, id: NodeId) {
        self.running.remove(&id);
    }
}

/// The tokens of GNU make that this process has.
#[derive(Debug, Default)]
pub(super) struct JobTokens {
    taken: Vec<JobToken>,
    /// True if the jobserver has failed: then it limits nothing.
    is_broken: bool,
}

impl JobTokens {
    /// The time between two questions.
    pub(super) const POLL: Duration = Duration::from_millis(10);

    /// Returns the number of nodes that run without a token: make has started one process, of all ranks the first.
    fn free(rank: usize) -> usize {
        usize::from(rank == 0)
    }

    /// Returns true if there are tokens for one more node beside `running` others. Takes one if necessary.
    pub(super) fn suffice(&mut self, jobserver: &Jobserver, running: usize, rank: usize) -> bool {
        if self.is_broken || running < Self::free(rank) + self.taken.len() {
            return true;
        }
        match jobserver.try_take() {
            Ok(Some(token)) => self.taken.push(token),
            Ok(None) => return false,
            Err(error) => {
                log::warn!("the jobserver of make is not used any more: {error}");
                self.is_broken = true;
            }
        }
        true
    }

    /// Gives the tokens back that `running` nodes do not need.
    pub(super) fn give_back(&mut self, running: usize, rank: usize) {
        self.taken.truncate(running.saturating_sub(Self::free(rank)));
    }
}

/// Returns the bytes that programs can still get, of this host and of the control group of this process;
/// `u64::MAX` if the system does not tell.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    let host = kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    let group = limit.zip(used).map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
    host.min(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_waits_until_there_is_memory_for_it_but_one_always_runs() {
        let mut gate = MemoryGate {
            available: Some((10 << 30, Instant::now() + MemoryGate::POLL)),
            ..MemoryGate::default()
        };
        assert!(gate.admits(8 << 30, 1) && !gate.admits(10 << 30, 1));
        assert!(gate.admits(100 << 30, 0) && gate.admits(0, 9));
        gate.begin(1, 4 << 30);
        assert!(gate.admits(6 << 30, 1) && !gate.admits(8 << 30, 1));
        gate.end(1);
        assert!(gate.admits(8 << 30, 1));
    }

    #[test]
    fn the_system_tells_its_memory() {
        let available = available_memory();
        assert!(available > 1 << 20 && available < u64::MAX);
    }
}
