//! The whole of a make at a moment: for people, and to find nodes that wait for each other.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind};
use crate::plan::node::NodeId;
use crate::plan::schedule::Step;
use crate::process::phase::PhaseClock;

use super::making::{MakeState, Making};
use super::options::MakeProgress;

impl Making<'_> {
    /// Fails nodes that wait for each other in a circle that callbacks have made. Returns true if there are
    /// any.
    pub(super) fn break_circle(&self, state: &mut MakeState) -> bool {
        let stuck = state.schedule.running() == 0
            && state.schedule.open() > 0
            && state.started.is_empty()
            && !state.schedule.has_ready();
        if !stuck {
            return false;
        }
        let waiting = |id: &NodeId| matches!(state.schedule.step(*id), Step::Waiting(_) | Step::Held);
        let Some(first) = (0..state.schedule.len()).find(waiting) else { return false };
        let mut chain = vec![first];
        while let Some(next) =
            state.schedule.predecessors(chain[chain.len() - 1]).iter().copied().find(waiting)
        {
            let is_closed = chain.contains(&next);
            chain.push(next);
            if is_closed {
                break;
            }
        }
        let labels: Vec<String> = {
            let nodes = self.plan.nodes();
            chain.iter().map(|id| nodes.entries[*id].spec.label.clone()).collect()
        };
        let text = format!(
            "callbacks have made a cycle, in which each node needs the next: {}",
            labels.join(" -> ")
        );
        self.fail(state, first, Error::new(Kind::Generate, text));
        true
    }

    /// Returns a snapshot, for people.
    pub(super) fn progress(&self, state: &MakeState, total: usize) -> MakeProgress {
        let mut progress = MakeProgress { total, waiting: state.waiting, ..MakeProgress::default() };
        for id in 0..state.schedule.len() {
            match state.schedule.step(id) {
                Step::Done => progress.done += 1,
                Step::Failed => progress.failed += 1,
                Step::Blocked(_) => progress.blocked += 1,
                Step::Running => {
                    progress.running.push((id, state.clocks.get(&id).and_then(PhaseClock::current)));
                }
                _ => {}
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a number of jobs is small")]
        let jobs = self.jobs as f64;
        let known = !self.history.nodes.is_empty();
        progress.seconds_left = known.then(|| state.schedule.work_left() / jobs);
        progress
    }
}
