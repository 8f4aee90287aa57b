//! Precompiled headers that are built in the background.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::owner::Creator;
use crate::process::detached::RunDetached;
use crate::process::exec_context::ExecContext;
use crate::process::slots::{self, SlotRequest};
use crate::sync::lock;

use super::build::{MAX_LOCK_WAIT, PchJob, build};

/// Longest wait for a compiler slot.
const MAX_SLOT_WAIT: Duration = Duration::from_secs(600);

/// Directory in which compiler slots of this host are counted, and the numbers of slots to choose from.
#[derive(Clone, Debug)]
pub(super) struct SlotChoice {
    pub(super) dir: PathBuf,
    pub(super) choices: Vec<usize>,
}

/// Precompiled headers that this process will build.
#[derive(Default)]
struct Queue {
    /// Process of the queue: a forked process has a copy of it, but not the thread.
    creator: Option<Creator>,
    waiting: Vec<(PchJob, Option<SlotChoice>)>,
    /// Stores with a running thread. In each, one is built at a time.
    busy: Vec<PathBuf>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { creator: None, waiting: Vec::new(), busy: Vec::new() });

fn queue() -> MutexGuard<'static, Queue> {
    let mut queue = lock(&QUEUE);
    let creator = Some(Creator::current());
    if queue.creator != creator {
        *queue = Queue { creator, ..Queue::default() };
    }
    queue
}

/// Returns true if this process builds it, or will.
pub(super) fn contains(job: &PchJob) -> bool {
    queue().waiting.iter().any(|(other, _)| other.is_same(job))
}

/// Builds a precompiled header in the background, with lower priority, in a compiler slot of this host.
pub(super) fn push(job: PchJob, slot_choice: Option<SlotChoice>, run: RunDetached) {
    let mut queue = queue();
    if queue.waiting.iter().any(|(other, _)| other.is_same(&job)) {
        return;
    }
    let dir = job.store.dir.clone();
    queue.waiting.push((job, slot_choice));
    if queue.busy.contains(&dir) {
        return;
    }
    queue.busy.push(dir.clone());
    let of = dir.clone();
    let thread = std::thread::Builder::new().name("dijitso-pch".to_owned());
    if thread.spawn(move || run_queue(&of, run)).is_err() {
        queue.waiting.retain(|(job, _)| job.store.dir != dir);
        queue.busy.retain(|other| *other != dir);
    }
}

fn run_queue(dir: &Path, run: RunDetached) {
    // Of this thread and its children. Not the lowest, because it holds a compiler slot.
    let _ = rustix::process::setpriority_process(None, 5);
    while let Some((job, slot_choice)) = next_job(dir) {
        build_in_slot(&job, slot_choice.as_ref(), run);
        queue().waiting.retain(|(other, _)| !other.is_same(&job));
    }
}

/// Returns the next one for this store. If there is none, the calling thread is taken off the list of busy
/// ones.
fn next_job(dir: &Path) -> Option<(PchJob, Option<SlotChoice>)> {
    let mut queue = queue();
    let next = queue.waiting.iter().find(|(job, _)| job.store.dir == dir).cloned();
    if next.is_none() {
        queue.busy.retain(|other| other != dir);
    }
    next
}

fn build_in_slot(job: &PchJob, slot_choice: Option<&SlotChoice>, run: RunDetached) {
    let slot = match slot_choice {
        Some(SlotChoice { dir, choices }) => {
            match slots::take_spare(&SlotRequest { dir, choices, patience: MAX_SLOT_WAIT }) {
                None => return job.log("no compiler slot became free"),
                slot => slot,
            }
        }
        None => None,
    };
    // Another program may have built it meanwhile.
    if job.needs_build() {
        build(job, run, MAX_LOCK_WAIT, &ExecContext::default());
    }
    drop(slot);
}
