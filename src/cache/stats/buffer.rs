//! Buffers hits and writes several at once: opening and writing a file takes as long as loading a small
//! library.
//!
//! They are written with the next event of the cache that is not a hit; with the first hit a second or more
//! after the oldest; if there are many; if this process reads the statistics; and at the end of the process.
//! A process that is killed loses its buffer.
//!
//! Memory hits since the last event are also written at the end of the process, as calls on the cache of that
//! event.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::sync::try_lock;

use super::{Event, Line};

/// The age at which a hit is written with the next one.
const LONGEST: Duration = Duration::from_secs(1);

/// The number of lines that are written at once: a few pages. Writing takes as long as loading two small libraries, so
/// a call for dozens of them should not write each time.
const MOST: usize = 128;

struct Buffer {
    /// The process that has added the lines: a forked one begins without any.
    process: u32,
    oldest: Option<Instant>,
    lines: Vec<(Cache, Line)>,
    /// The cache of the last event of this process.
    last: Option<Cache>,
}

static LATER: Mutex<Buffer> = Mutex::new(Buffer { process: 0, oldest: None, lines: Vec::new(), last: None });

/// The process of the last event; 0 before the first.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Returns true if hits since the last event may have been counted by the process that this one was forked
/// from.
pub(super) fn is_inherited() -> bool {
    let last = PROCESS.load(Ordering::Relaxed);
    last != 0 && last != std::process::id()
}

fn own(mut later: MutexGuard<'_, Buffer>) -> MutexGuard<'_, Buffer> {
    let process = std::process::id();
    if later.process != process {
        PROCESS.store(process, Ordering::Relaxed);
        *later = Buffer { process, oldest: None, lines: Vec::new(), last: None };
    }
    later
}

/// `None` where another thread has it, which may have stayed behind in the parent of a forked process, or
/// have been stopped at the end of this one.
fn later() -> Option<MutexGuard<'static, Buffer>> {
    try_lock(&LATER).map(own)
}

/// Adds a line to the buffer, or writes all lines.
pub(super) fn push(cache: &Cache, line: Line) {
    push_at(cache, line, Instant::now());
}

fn push_at(cache: &Cache, line: Line, now: Instant) {
    let Some(mut later) = later() else {
        return write(vec![(cache.clone(), line)]);
    };
    later.lines.push((cache.clone(), line));
    later.last = Some(cache.clone());
    let oldest = *later.oldest.get_or_insert(now);
    if now.saturating_duration_since(oldest) >= LONGEST || later.lines.len() >= MOST {
        let lines = take_all(&mut later);
        drop(later);
        write(lines);
    }
}

/// Takes the lines of this cache out of the buffer; the caller writes them.
pub(super) fn take(cache: &Cache) -> Vec<Line> {
    let Some(mut later) = later() else { return Vec::new() };
    let (own, others): (Vec<_>, Vec<_>) =
        take_all(&mut later).into_iter().partition(|(of, _)| of.layout().root() == cache.layout().root());
    if !others.is_empty() {
        later.oldest = Some(Instant::now());
        later.lines = others;
    }
    own.into_iter().map(|(_, line)| line).collect()
}

/// Remembers that an event of this cache is being written.
pub(super) fn set_last(cache: &Cache) {
    if let Some(mut later) = later() {
        later.last = Some(cache.clone());
    }
}

fn take_all(later: &mut Buffer) -> Vec<(Cache, Line)> {
    later.oldest = None;
    std::mem::take(&mut later.lines)
}

/// Writes all lines and the memory hits since. Waits for no other thread or process.
pub fn write_all(memory: impl FnOnce() -> u64) {
    let Some(mut later) = later() else { return };
    let mut lines = take_all(&mut later);
    let last = later.last.clone();
    drop(later);
    if let Some((_, line)) = lines.last_mut() {
        line.m = line.m.saturating_add(memory());
    } else if let Some(cache) = last {
        // A build has been written at once, and nothing since.
        let memory = memory();
        if memory > 0 {
            lines.push((cache, Line::new(Event::Memory, "", 0, memory)));
        }
    }
    write(lines);
}

fn write(mut lines: Vec<(Cache, Line)>) {
    while let Some((cache, _)) = lines.first() {
        let cache = cache.clone();
        let same = |(of, _): &(Cache, Line)| of.layout().root() == cache.layout().root();
        let (own, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(same);
        let own: Vec<Line> = own.into_iter().map(|(_, line)| line).collect();
        cache.write_or_log(&own);
        lines = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache;

    fn written(cache: &Cache) -> usize {
        let files = std::fs::read_dir(cache.layout().stats()).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap().lines().count()).sum()
    }

    /// Other tests of this process write the buffer, too.
    #[test]
    fn hits_are_written_together_and_none_is_lost_or_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        cache.ensure_dirs().unwrap();
        let hit = || Line::new(Event::Hit, "a", 1, 0);
        let now = Instant::now();
        push_at(&cache, hit(), now);
        push_at(&cache, hit(), now + LONGEST);
        assert_eq!(written(&cache), 2, "the oldest was a second old");
        for _ in 0..MOST {
            push_at(&cache, hit(), now);
        }
        assert!(written(&cache) > 2, "many are written at once");
        push_at(&cache, hit(), now);
        assert_eq!(cache.stats().total().disk_hits, 3 + MOST as u64, "all are read");
        push_at(&cache, hit(), now);
        cache.count(Event::Build, "b", 1, 0);
        assert_eq!(written(&cache), 5 + MOST, "with the next event");
        push_at(&cache, hit(), now);
        assert_eq!(cache.reset_stats().unwrap(), 1);
        assert_eq!(cache.stats().total().disk_hits, 0, "what was removed does not come back");
    }
}
