//! Which node is next: a pure state machine. On the ranks of a communicator all have the same one.
//!
//! A node is *waiting* for predecessors, *ready*, *running*, or *settled*: done, failed or blocked. Of the ready
//! nodes the one comes first that begins the longest way to the end of the plan.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::node::NodeId;

/// The step that a node is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Not part of this make.
    Unwanted,
    /// Added by a callback that is still running.
    Held,
    /// Waits for this many predecessors.
    Waiting(usize),
    Ready,
    Running,
    Done,
    Failed,
    /// The failed node that blocks it.
    Blocked(NodeId),
}

/// The schedule of a make.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    steps: Vec<Step>,
    dependants: Vec<Vec<NodeId>>,
    predecessors: Vec<Vec<NodeId>>,
    /// The expected seconds of each node, and of the longest way that begins with it.
    seconds: Vec<f64>,
    ways: Vec<f64>,
    /// True for nodes that belong to the thread of the host.
    of_host: Vec<bool>,
    /// The ready nodes of other threads and of the host, by the negated length of their ways in microseconds.
    ready: [BTreeSet<(i64, NodeId)>; 2],
    running: usize,
    /// Nodes that are wanted and not settled.
    open: usize,
}

impl Schedule {
    /// Makes the schedule of the wanted nodes. `order` has each node after its predecessors; `of_host` tells which
    /// belong to the thread of the host.
    pub(super) fn new(
        predecessors: Vec<Vec<NodeId>>,
        wanted: &[bool],
        order: &[NodeId],
        seconds: Vec<f64>,
        of_host: Vec<bool>,
    ) -> Self {
        let count = predecessors.len();
        let mut schedule = Self {
            steps: vec![Step::Unwanted; count],
            dependants: vec![Vec::new(); count],
            ways: seconds.clone(),
            seconds,
            of_host,
            predecessors,
            ..Self::default()
        };
        for id in (0..count).filter(|id| wanted[*id]) {
            for needed in &schedule.predecessors[id] {
                schedule.dependants[*needed].push(id);
            }
        }
        for id in order.iter().rev().filter(|id| wanted[**id]) {
            let longest =
                schedule.dependants[*id].iter().map(|next| schedule.ways[*next]).fold(0.0, f64::max);
            schedule.ways[*id] = schedule.seconds[*id] + longest;
        }
        for id in order.iter().filter(|id| wanted[**id]) {
            schedule.open += 1;
            schedule.wait_for(*id, schedule.predecessors[*id].len());
        }
        schedule
    }

    fn key(&self, id: NodeId) -> (i64, NodeId) {
        #[allow(clippy::cast_possible_truncation, reason = "a cast from floating point saturates")]
        let way = (self.ways[id] * 1e6) as i64;
        (-way, id)
    }

    fn wait_for(&mut self, id: NodeId, missing: usize) {
        self.steps[id] = if missing == 0 { Step::Ready } else { Step::Waiting(missing) };
        if missing == 0 {
            let key = self.key(id);
            self.ready[usize::from(self.of_host[id])].insert(key);
        }
    }

    pub(super) fn step(&self, id: NodeId) -> Step {
        self.steps.get(id).copied().unwrap_or(Step::Unwanted)
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns the ready nodes, the most urgent first.
    pub(super) fn ready(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut all: Vec<&(i64, NodeId)> = self.ready.iter().flatten().collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| *id)
    }

    /// Returns the ready nodes of the host, or those of other threads, the most urgent first.
    pub(super) fn ready_of(&self, is_host: bool) -> impl Iterator<Item = NodeId> + '_ {
        self.ready[usize::from(is_host)].iter().map(|(_, id)| *id)
    }

    /// Returns true if a node is ready.
    pub(super) fn has_ready(&self) -> bool {
        self.ready.iter().any(|ready| !ready.is_empty())
    }

    fn remove_ready(&mut self, id: NodeId) {
        let key = self.key(id);
        self.ready[usize::from(self.of_host[id])].remove(&key);
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Returns the number of wanted nodes that are not settled.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Returns the seconds that a node is expected to take.
    pub(super) fn seconds(&self, id: NodeId) -> f64 {
        self.seconds[id]
    }

    /// Returns the sum of the expected seconds of all wanted nodes that are not settled.
    pub(super) fn work_left(&self) -> f64 {
        let is_open =
            |step: &Step| matches!(step, Step::Held | Step::Waiting(_) | Step::Ready | Step::Running);
        let open = self.steps.iter().zip(&self.seconds).filter(|(step, _)| is_open(step));
        open.map(|(_, seconds)| seconds).sum()
    }

    /// Begins a ready node.
    pub(super) fn begin(&mut self, id: NodeId) {
        if self.steps[id] == Step::Ready {
            self.remove_ready(id);
            self.steps[id] = Step::Running;
            self.running += 1;
        }
    }

    /// Gives a running node back: it is to be done later.
    pub(super) fn give_back(&mut self, id: NodeId) {
        if self.steps[id] == Step::Running {
            self.running -= 1;
            self.wait_for(id, 0);
        }
    }

    /// Ends a node that is done. Its dependants may become ready.
    pub(super) fn done(&mut self, id: NodeId) {
        if !self.settle(id, Step::Done) {
            return;
        }
        for next in self.dependants[id].clone() {
            if let Step::Waiting(missing) = self.steps[next] {
                self.wait_for(next, missing - 1);
            }
        }
    }

    /// Ends a node that has failed. Returns the nodes that it blocks.
    pub(super) fn failed(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut blocked = Vec::new();
        if !self.settle(id, Step::Failed) {
            return blocked;
        }
        let mut open = self.dependants[id].clone();
        while let Some(next) = open.pop() {
            if self.settle(next, Step::Blocked(id)) {
                blocked.push(next);
                open.extend(&self.dependants[next]);
            }
        }
        blocked
    }

    /// Settles a node. Returns false if it is settled already, or not part of this make.
    fn settle(&mut self, id: NodeId, step: Step) -> bool {
        match self.steps[id] {
            Step::Waiting(_) | Step::Held => {}
            Step::Ready => self.remove_ready(id),
            Step::Running => self.running -= 1,
            Step::Unwanted | Step::Done | Step::Failed | Step::Blocked(_) => return false,
        }
        self.steps[id] = step;
        self.open -= 1;
        true
    }

    /// Adds a node that the callback of `definer` has added, as urgent as that one. It is held until
    /// [`Schedule::release`]. Without a definer it is not part of this make.
    pub(super) fn add(&mut self, definer: Option<NodeId>, seconds: f64, of_host: bool) -> NodeId {
        let id = self.steps.len();
        let way = definer.map_or(0.0, |definer| self.ways[definer]) + seconds;
        self.steps.push(if definer.is_some() { Step::Held } else { Step::Unwanted });
        self.dependants.push(Vec::new());
        self.predecessors.push(Vec::new());
        self.seconds.push(seconds);
        self.of_host.push(of_host);
        self.ways.push(way);
        self.open += usize::from(definer.is_some());
        id
    }

    /// Lets a held node wait for `predecessors`. Returns the failed node that blocks it, if there is one.
    pub(super) fn release(&mut self, id: NodeId, predecessors: &[NodeId]) -> Option<NodeId> {
        if self.steps[id] == Step::Held { self.wait_again(id, predecessors) } else { None }
    }

    /// Takes a node out that was added by a callback which has failed.
    pub(super) fn take_back(&mut self, id: NodeId) {
        if self.settle(id, Step::Unwanted) {
            self.dependants[id].clear();
        }
    }

    /// Lets a running node wait for `predecessors`. Returns the failed node among them or above them, if
    /// there is one: then it is blocked.
    pub(super) fn park(&mut self, id: NodeId, predecessors: &[NodeId]) -> Option<NodeId> {
        if self.steps[id] == Step::Running {
            self.running -= 1;
        }
        self.wait_again(id, predecessors)
    }

    fn wait_again(&mut self, id: NodeId, predecessors: &[NodeId]) -> Option<NodeId> {
        let mut missing = 0;
        for needed in predecessors {
            match self.steps[*needed] {
                Step::Done => continue,
                Step::Failed | Step::Blocked(_) => {
                    let cause = match self.steps[*needed] {
                        Step::Blocked(cause) => cause,
                        _ => *needed,
                    };
                    self.steps[id] = Step::Blocked(cause);
                    self.open -= 1;
                    return Some(cause);
                }
                _ => missing += 1,
            }
            self.dependants[*needed].push(id);
            self.predecessors[id].push(*needed);
        }
        self.wait_for(id, missing);
        None
    }

    /// Returns the predecessors of a node, as the schedule knows them.
    pub(super) fn predecessors(&self, id: NodeId) -> &[NodeId] {
        &self.predecessors[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(edges: &[&[NodeId]], seconds: &[f64]) -> Schedule {
        let order: Vec<NodeId> = (0..edges.len()).collect();
        let predecessors = edges.iter().map(|needs| needs.to_vec()).collect();
        Schedule::new(
            predecessors,
            &vec![true; edges.len()],
            &order,
            seconds.to_vec(),
            vec![false; edges.len()],
        )
    }

    /// Takes the most urgent ready node.
    fn next(schedule: &mut Schedule) -> Option<NodeId> {
        let id = schedule.ready().next()?;
        schedule.begin(id);
        Some(id)
    }

    #[test]
    fn the_longest_way_comes_first() {
        // 0 is short, and 3 behind it long; 1 and 2 are between.
        let mut schedule = schedule(&[&[], &[], &[], &[0]], &[1.0, 3.0, 2.0, 9.0]);
        assert_eq!([next(&mut schedule), next(&mut schedule)], [Some(0), Some(1)]);
        schedule.done(0);
        assert_eq!([next(&mut schedule), next(&mut schedule), next(&mut schedule)], [Some(3), Some(2), None]);
        [1, 2, 3].into_iter().for_each(|id| schedule.done(id));
        assert_eq!((schedule.open(), schedule.running()), (0, 0));
    }

    /// The case of compmake: A is done, B fails and needs A, C needs B.
    #[test]
    fn what_needs_a_failed_node_is_blocked_and_the_rest_goes_on() {
        let mut schedule = schedule(&[&[], &[0], &[1], &[]], &[1.0; 4]);
        assert_eq!(next(&mut schedule), Some(0));
        schedule.done(0);
        assert_eq!(next(&mut schedule), Some(1));
        assert_eq!(schedule.failed(1), [2]);
        assert_eq!((schedule.step(2), schedule.step(3)), (Step::Blocked(1), Step::Ready));
        assert_eq!((schedule.open(), next(&mut schedule)), (1, Some(3)));
    }

    #[test]
    fn a_parked_node_runs_again_after_what_it_waits_for() {
        let mut schedule = schedule(&[&[]], &[1.0]);
        assert_eq!(next(&mut schedule), Some(0));
        let added = schedule.add(Some(0), 1.0, false);
        assert_eq!(next(&mut schedule), None, "its callback may still add edges");
        assert_eq!(schedule.release(added, &[]), None);
        assert_eq!(schedule.park(0, &[added]), None);
        assert_eq!(next(&mut schedule), Some(added));
        assert_eq!(next(&mut schedule), None);
        schedule.done(added);
        assert_eq!(next(&mut schedule), Some(0));
        assert_eq!(schedule.park(0, &[added]), None, "it is done already");
        assert_eq!(next(&mut schedule), Some(0));
        let bad = schedule.add(Some(0), 1.0, false);
        assert_eq!(schedule.release(bad, &[]), None);
        assert_eq!(next(&mut schedule), Some(bad));
        assert!(schedule.failed(bad).is_empty());
        assert_eq!(schedule.park(0, &[bad]), Some(bad));
        assert_eq!((schedule.open(), schedule.running()), (0, 0));
    }

    #[test]
    fn only_what_is_wanted_is_scheduled() {
        let predecessors = vec![vec![], vec![0], vec![]];
        let mut schedule =
            Schedule::new(predecessors, &[true, true, false], &[0, 1, 2], vec![1.0; 3], vec![false; 3]);
        assert_eq!(schedule.open(), 2);
        assert_eq!(next(&mut schedule), Some(0));
        schedule.give_back(0);
        assert_eq!(schedule.work_left(), 2.0);
        assert_eq!(next(&mut schedule), Some(0));
        schedule.done(0);
        assert_eq!(next(&mut schedule), Some(1));
        assert_eq!(schedule.step(2), Step::Unwanted);
    }
}
