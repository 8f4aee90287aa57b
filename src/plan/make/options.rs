//! Options of a make, and its report.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind};
use crate::plan::node::NodeId;
use crate::plan::view::{ResultOrigin, State};
use crate::process::interrupt::Interrupt;
use crate::process::jobserver::Jobserver;
use crate::process::phase::Phase;

/// Options of a make.
#[derive(Clone, Default)]
pub struct MakeOptions {
    /// The nodes to make, with all that they need; empty for all nodes.
    pub targets: Vec<NodeId>,
    /// The most nodes that run at once in this process; 0 for one on each core.
    pub jobs: usize,
    /// Start nothing new after the first failure.
    pub fail_fast: bool,
    /// The number of further attempts for a node that fails for a passing reason.
    pub retries: u32,
    /// Make tasks again whose results are in the cache.
    pub force: bool,
    /// Load the libraries on all ranks when everything is made.
    pub load: bool,
    /// The jobserver of GNU make that has started this process. It limits the nodes that run at once.
    pub jobserver: Option<Jobserver>,
    /// Asked while the make waits, on the thread that makes; cancels it.
    pub interrupt: Option<Interrupt>,
}

/// The outcome of a make, the same on all ranks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MakeReport {
    /// The number of nodes that are done.
    pub done: usize,
    /// The number of those that were built now.
    pub built: usize,
    /// The failed nodes.
    pub failed: Vec<NodeId>,
    /// The number of nodes that a failed one blocks.
    pub blocked: usize,
    /// The number of nodes that are still to be made: the make was stopped.
    pub todo: usize,
    /// Seconds from begin to end.
    pub seconds: f64,
    /// The error of the make: of its failed nodes, or that it was stopped.
    pub error: Option<Error>,
}

/// Something that has happened to a node.
#[derive(Clone, Debug)]
pub struct MakeEvent {
    /// The node.
    pub node: NodeId,
    /// The kind of the event.
    pub kind: MakeEventKind,
}

/// An event in the making of a node.
#[derive(Clone, Debug)]
pub enum MakeEventKind {
    /// It has begun to run.
    Started,
    /// A callback has added it.
    Added,
    /// It waits for nodes that its callback has added.
    Parked,
    /// It has failed for a passing reason, and runs again later.
    Retried(Error),
    /// It is done, after these seconds.
    Done(ResultOrigin, f64),
    /// It has failed, after these seconds.
    Failed(Error, f64),
    /// The failed node that blocks it.
    Blocked(NodeId),
}

/// A snapshot of a make, for people.
#[derive(Clone, Debug, Default)]
pub struct MakeProgress {
    /// The number of nodes that are done.
    pub done: usize,
    /// The number of failed nodes.
    pub failed: usize,
    /// The number of blocked nodes.
    pub blocked: usize,
    /// The number of all nodes of this make.
    pub total: usize,
    /// The nodes that run in this process, with their phases.
    pub running: Vec<(NodeId, Option<Phase>)>,
    /// Why no more nodes run, if some are ready.
    pub waiting: Option<WaitReason>,
    /// The seconds that are expected to be left; `None` if nothing is known.
    pub seconds_left: Option<f64>,
}

/// Why a node that is ready does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// This many nodes run, and no more may.
    Jobs(usize),
    /// Memory is short.
    Memory,
    /// GNU make has no token to give.
    Jobserver,
    /// Other programs build the same.
    Programs(usize),
    /// The make was asked to stop.
    Stopped,
}

impl WaitReason {
    /// Describes the reason in a few words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Jobs(jobs) => format!("{jobs} run already"),
            Self::Memory => "memory is short".to_owned(),
            Self::Jobserver => "make has no token to give".to_owned(),
            Self::Programs(1) => "another program builds the same".to_owned(),
            Self::Programs(count) => format!("other programs build {count} of them"),
            Self::Stopped => "stopping".to_owned(),
        }
    }
}

/// Gets what happens in a make, on the thread that makes.
pub trait MakeObserver {
    /// Called for each event, in order.
    fn event(&mut self, event: &MakeEvent);

    /// Called with a snapshot a few times a second.
    fn progress(&mut self, progress: &MakeProgress);
}

/// An observer that ignores everything.
pub struct Unobserved;

impl MakeObserver for Unobserved {
    fn event(&mut self, _: &MakeEvent) {}

    fn progress(&mut self, _: &MakeProgress) {}
}

impl MakeReport {
    /// Makes the report from the states of the nodes of a make: label, state, error and origin of each.
    pub(super) fn of<'a>(
        nodes: impl Iterator<Item = (NodeId, &'a str, State, Option<&'a Error>, Option<ResultOrigin>)>,
        seconds: f64,
    ) -> Self {
        const NAMED: usize = 8;
        let mut report = Self { seconds, ..Self::default() };
        let mut failures: Vec<(&str, &Error)> = Vec::new();
        for (id, label, state, error, origin) in nodes {
            match state {
                State::Done => report.done += 1,
                State::Failed => report.failed.push(id),
                State::Blocked => report.blocked += 1,
                State::Todo | State::Running => report.todo += 1,
            }
            report.built += usize::from(state == State::Done && origin == Some(ResultOrigin::Built));
            if let (State::Failed, Some(error)) = (state, error) {
                failures.push((label, error));
            }
        }
        let total = report.done + report.failed.len() + report.blocked + report.todo;
        // Callbacks of different ranks add nodes in different orders.
        failures.sort_by_key(|(label, _)| *label);
        if let Some((label, first)) = failures.first() {
            let mut text = format!("{} of {total} nodes failed", failures.len());
            if report.blocked > 0 {
                text.push_str(&format!(" and {} are blocked", report.blocked));
            }
            text.push_str(&format!(": \"{label}\": {}", first.message()));
            for (label, error) in failures.iter().take(NAMED).skip(1) {
                text.push_str(&format!("; \"{label}\": {}", error.message()));
            }
            if failures.len() > NAMED {
                text.push_str(&format!("; and {} more", failures.len() - NAMED));
            }
            let error = Error::new(first.kind(), text).with_log(first.log()).with_path(first.path());
            report.error = Some(error.with_rank(first.rank()));
        } else if report.todo > 0 {
            let text = format!("the make was stopped: {} of {total} nodes are still to be made", report.todo);
            report.error = Some(Error::new(Kind::Cancelled, text));
        }
        report
    }
}
