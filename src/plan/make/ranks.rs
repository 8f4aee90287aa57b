//! A make by the ranks of a communicator.
//!
//! Each rank runs nodes as a process alone does, but only those that were dealt to it. The ranks meet every few
//! milliseconds, and tell each other what has begun and ended; compilers run meanwhile. Everything that is
//! decided follows from what they have told each other in meetings (`Agreed`), so all decide the same: what is
//! ready, who makes it, and when the make is over. Nodes that are dealt and have not begun are dealt again at
//! each meeting, so a slow node holds up nothing but what needs it.
//!
//! The result of a node is sent, at the meeting after its end, to the cache directories that do not have it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cache::layout::Layout;
use crate::error::{Error, Kind, Result};
use crate::jit::{Batch, CommState, Session, enter_plan};
use crate::parallel::cache_domains::{CacheDomains, discover};
use crate::parallel::{Communicator, agree};
use crate::params::resolved::BuildOn;
use crate::plan::graph::{Plan, StopRequest};
use crate::plan::journal::{JournalLine, JournalWriter, NodeEnd};
use crate::plan::node::NodeId;
use crate::plan::schedule::Step;
use crate::sync::recover;

use super::agreed::Agreed;
use super::alone::{ask_host, begin_make, drain, end_make, run_threads, snapshot};
use super::deal::{RankLoad, deal};
use super::load::load_libraries_on;
use super::making::{Making, interrupted};
use super::news::{Meeting, News, NewsItem, meet};
use super::node_attempt::NextStep;
use super::options::{MakeObserver, MakeOptions, MakeReport};
use super::send::{SentResult, send_results};

/// Makes the nodes of a plan on all ranks of `comm`. All pass the same plan. Collective.
///
/// # Errors
/// Errors of the make itself, the same on all ranks: those of [`make`](super::make),
/// [`Kind::RanksDisagree`] for different plans, and those of the communicator.
pub fn make_on(
    plan: &Plan,
    session: &Session,
    comm: &dyn Communicator,
    comm_state: &CommState,
    options: &MakeOptions,
    observer: &mut dyn MakeObserver,
) -> Result<MakeReport> {
    comm.check_alive()?;
    let begin = Instant::now();
    let _here = crate::logging::enter(comm.rank(), comm.size());
    plan.forget_added();
    let names = [plan.name()];
    enter_plan(comm, Ok((Batch { names: &names, params: plan.params() }, plan.digest(&options.targets))))?;
    let cache = plan.cache();
    let domains = discover(comm, || cache.identify(), cache.layout().root(), &cache.layout().comm(), None)?;
    let own_root = own_root(plan, &domains, comm.rank());
    let mut making = agree(comm, "preparing a plan", || {
        begin_make(plan, session, options, (comm.rank(), comm.size()), own_root)
    })?;
    making.place = Some((comm.size(), comm.host().to_owned()));
    let shares_out = plan.params().buildon != BuildOn::Process;
    let capacities = capacities(comm, &making, &domains)?;
    let writes = domains.leaders()[comm.rank()] == comm.rank();
    let journal = if writes { JournalWriter::open(&cache, plan.key()).ok() } else { None };
    let agreed = {
        let state = making.lock();
        Agreed::new(&state.schedule, plan, if shares_out { 1 } else { comm.size() })
    };
    {
        let mut state = making.lock();
        state.elsewhere = vec![shares_out; state.schedule.len()];
        state.tells_ranks = true;
    }
    comm.begin_polling(options.interrupt.as_ref());
    let mut ranks = RankLoop {
        comm,
        domains: &domains,
        shares_out,
        capacities,
        journal,
        agreed,
        polls: true,
        quiet_meetings: 0,
    };
    let made = run_threads(&making, |making| {
        // The communicator is broken: what still runs is of no use to the other ranks.
        ranks.run(making, observer).inspect_err(|_| making.plan.stop(StopRequest::Kill))
    });
    if ranks.polls {
        comm.end_polling();
    }
    if let Err(error) = made {
        plan.resume();
        return Err(error);
    }
    ranks.agreed.write_to(plan);
    drain(&making, observer);
    if options.load {
        load_libraries_on(plan, session, comm, comm_state)?;
    }
    end_make(&making, begin)
}

/// Returns the cache directory of a rank, if each has its own: with strategy "process", where ranks share one.
fn own_root(plan: &Plan, domains: &CacheDomains, rank: usize) -> Option<PathBuf> {
    let params = plan.params();
    let is_own = params.buildon == BuildOn::Process && !domains.is_singleton(rank);
    is_own.then(|| Layout::process_root(&params.cache.cache_dir, rank))
}

/// Takes part in a make with an error of this rank, which all ranks then have. Returns the error that they have
/// agreed on. Collective.
pub fn refuse_on(comm: &dyn Communicator, error: Error) -> Error {
    match comm.check_alive().and_then(|()| enter_plan(comm, Err(error))) {
        Ok(()) => Error::new(Kind::Internal, "the ranks make a plan that one of them has refused"),
        Err(agreed) => agreed,
    }
}

/// Returns how many nodes each rank runs at once: the ranks of a host share its cores. Collective.
fn capacities(comm: &dyn Communicator, making: &Making<'_>, domains: &CacheDomains) -> Result<Vec<usize>> {
    let all = comm.all_gather(&(making.jobs as u64).to_le_bytes())?;
    let jobs: Vec<usize> = all
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
        .map(|jobs| usize::try_from(jobs).unwrap_or(1))
        .collect();
    let hosts = domains.hosts();
    let on_host = |rank: usize| hosts.iter().filter(|host| **host == hosts[rank]).count();
    let asked = making.options.jobs > 0;
    let shared = |rank: usize| if asked { jobs[rank] } else { jobs[rank].div_ceil(on_host(rank)) };
    let builds = |rank: usize| match making.plan.params().buildon {
        BuildOn::Root => domains.leaders()[rank] == domains.leaders()[0],
        BuildOn::Node | BuildOn::Process => true,
    };
    Ok((0..comm.size()).map(|rank| if builds(rank) { shared(rank).max(1) } else { 0 }).collect())
}

/// One rank's side of the meetings.
struct RankLoop<'a> {
    comm: &'a dyn Communicator,
    domains: &'a CacheDomains,
    /// False if each rank makes everything in a directory of its own.
    shares_out: bool,
    capacities: Vec<usize>,
    /// On one rank of each cache directory.
    journal: Option<JournalWriter>,
    agreed: Agreed,
    polls: bool,
    /// The number of meetings at which nothing ran, nothing was told, and nothing was to be dealt.
    quiet_meetings: usize,
}

/// The most such meetings in a row while a rank may still find out why.
const MAX_QUIET: usize = 3;

impl RankLoop<'_> {
    /// Runs nodes and meets the other ranks until the make is over. Collective.
    fn run(&mut self, making: &Making<'_>, observer: &mut dyn MakeObserver) -> Result<()> {
        // More ranks than cores must not do nothing but meet.
        let millis = u64::try_from(self.comm.size()).unwrap_or(u64::MAX).clamp(5, 100);
        let interval = Duration::from_millis(millis);
        self.deal(making);
        loop {
            let due = Instant::now() + interval;
            self.work(making, observer, due);
            if self.meet(making)? {
                return Ok(());
            }
        }
    }

    /// Runs what belongs to the thread of the host, until the ranks meet.
    fn work(&self, making: &Making<'_>, observer: &mut dyn MakeObserver, due: Instant) {
        loop {
            drain(making, observer);
            if self.comm.rank() == 0 {
                observer.progress(&snapshot(making));
            }
            ask_host(making);
            let mut state = making.lock();
            if !state.rank_news.is_empty() || making.is_over(&state) {
                let soon = Instant::now() + Duration::from_millis(1);
                if due <= soon || state.schedule.running() < making.jobs {
                    return;
                }
            }
            let now = Instant::now();
            if now >= due {
                return;
            }
            match making.next(&mut state, true) {
                NextStep::Run(id) => {
                    drop(state);
                    making.settle(id, making.attempt(id, true));
                }
                NextStep::Finish(id, pending) => state.started.push_back((id, pending)),
                NextStep::Wait(wake) => {
                    let wake = wake.map_or(due, |wake| wake.min(due));
                    let nap = wake.saturating_duration_since(now).max(Duration::from_millis(1));
                    drop(recover(making.host_changed.wait_timeout(state, nap)));
                }
            }
        }
    }

    /// Meets the other ranks. Returns true if the make is over. Collective.
    fn meet(&mut self, making: &Making<'_>) -> Result<bool> {
        let (news, is_running) = self.freeze(making);
        let stop = making.plan.stop_request();
        let meeting = match meet(self.comm, &news, stop, is_running) {
            // The host of a rank has cancelled the make: all ranks kill what they run, and meet once more.
            Err(error)
                if error.kind() == Kind::Cancelled && self.polls && self.comm.check_alive().is_ok() =>
            {
                self.comm.end_polling();
                self.polls = false;
                making.plan.stop(StopRequest::Kill);
                let mut state = making.lock();
                state.rank_news.splice(0..0, news);
                state.reserved = None;
                return Ok(false);
            }
            met => met?,
        };
        let sent = self.send(making, &meeting)?;
        self.agreed.begin_meeting();
        self.merge(making, &meeting, &sent);
        if meeting.stop > making.plan.stop_request() {
            making.plan.stop(meeting.stop);
        }
        let halted =
            meeting.stop != StopRequest::Go || (making.options.fail_fast && self.agreed.has_failed());
        if halted {
            making.lock().halted = true;
        }
        making.lock().reserved = None;
        let is_over = self.agreed.open() == 0 || (halted && !meeting.is_running);
        if !is_over {
            let dealt = self.deal(making);
            let is_quiet = meeting.news.iter().all(Vec::is_empty) && !meeting.is_running;
            self.quiet_meetings = if is_quiet && !dealt { self.quiet_meetings + 1 } else { 0 };
            if self.quiet_meetings > 0 {
                // Only the rank whose callbacks have made a circle knows of it. It tells at the next meeting.
                making.break_circle(&mut making.lock());
            }
            if self.quiet_meetings > MAX_QUIET {
                self.agreed.fail_rest();
            }
        }
        making.wake_all();
        Ok(is_over)
    }

    /// Stops the begin of nodes until the end of the meeting, except for a few that this rank reserves if a host
    /// may be late because it generates. Returns the news of this rank, and whether it runs a node.
    fn freeze(&self, making: &Making<'_>) -> (Vec<NewsItem>, bool) {
        let mut state = making.lock();
        // What is tried again later is as good as running, unless nothing new is started.
        let is_postponed = !state.delayed.is_empty() && !making.is_halted(&state);
        let is_running = state.schedule.running() > 0 || !state.started.is_empty() || is_postponed;
        let count = if making.has_host_callbacks() { making.jobs } else { 0 };
        let reserved: Vec<NodeId> = state
            .schedule
            .ready()
            .filter(|id| !state.elsewhere.get(*id).copied().unwrap_or_default())
            .take(count)
            .collect();
        let mut news = std::mem::take(&mut state.rank_news);
        let nodes = making.plan.nodes();
        news.extend(
            reserved
                .iter()
                .map(|id| NewsItem { label: nodes.entries[*id].spec.label.clone(), what: News::Reserved }),
        );
        drop(nodes);
        if self.shares_out {
            state.reserved = Some(reserved.into_iter().collect());
        }
        (news, is_running)
    }

    /// Sends what has been made to the cache directories that do not have it. Collective.
    fn send(&self, making: &Making<'_>, meeting: &Meeting) -> Result<Vec<SentResult>> {
        let is_one = self.domains.leaders().iter().all(|leader| *leader == self.domains.leaders()[0]);
        let mut done = Vec::new();
        for (rank, news) in meeting.news.iter().enumerate() {
            for item in news {
                if let News::Done { signature, digest, .. } = &item.what {
                    done.push(SentResult::new(rank, &item.label, signature, !digest.is_empty()));
                }
            }
        }
        if !is_one && !done.is_empty() && self.shares_out {
            send_results(self.comm, self.domains, making, &mut done)?;
        }
        Ok(done)
    }

    /// Takes in what the ranks have told. Not collective, and the same on all ranks.
    fn merge(&mut self, making: &Making<'_>, meeting: &Meeting, sent: &[SentResult]) {
        for (rank, news) in meeting.news.iter().enumerate() {
            for item in news {
                let failed = sent.iter().find(|sent| sent.label == item.label).and_then(SentResult::error);
                let mut item = item.clone();
                if let (News::Done { execution, .. }, Some(error)) = (&item.what, failed) {
                    item.what = News::Failed { error: error.clone(), execution: execution.clone() };
                }
                self.write(making, &item);
                self.agreed.merge(&item, rank);
                // In a directory of its own a rank has nothing of what others have made.
                let is_shared = self.shares_out || !matches!(item.what, News::Done { .. });
                if rank != self.comm.rank() && is_shared {
                    making.take_in_news(&item);
                }
            }
        }
    }

    /// Writes a line of the journal.
    fn write(&self, making: &Making<'_>, item: &NewsItem) {
        let Some(journal) = &self.journal else { return };
        let (signature, execution, error) = match &item.what {
            News::Done { signature, built: true, execution: Some(execution), .. } => {
                (Some(signature.clone()), execution.clone(), None)
            }
            News::Failed { error, execution: Some(execution) } => {
                (None, execution.clone(), Some(error.clone()))
            }
            News::Interrupted { execution } => (None, execution.clone(), Some(interrupted())),
            _ => return,
        };
        let (run, label) = (making.run.clone(), item.label.clone());
        let name = self.agreed.name(&label).to_owned();
        journal.write(&JournalLine::Node(Box::new(NodeEnd {
            run,
            label,
            name,
            signature,
            execution,
            error,
        })));
    }

    /// Deals ready nodes that have not begun. Returns true if there are any. Not collective, and the same on
    /// all ranks.
    fn deal(&self, making: &Making<'_>) -> bool {
        if !self.shares_out {
            return true;
        }
        let ready: Vec<NodeId> =
            self.agreed.schedule.ready().filter(|id| !self.agreed.is_reserved(*id)).collect();
        let seconds: Vec<f64> = ready.iter().map(|id| self.agreed.schedule.seconds(*id)).collect();
        let loads: Vec<RankLoad> = self
            .capacities
            .iter()
            .enumerate()
            .map(|(rank, capacity)| RankLoad { capacity: *capacity, seconds: self.agreed.load_of(rank) })
            .collect();
        let owners = deal(&seconds, &loads);
        let mut state = making.lock();
        for (id, owner) in ready.iter().zip(&owners) {
            let begun = state.schedule.step(*id) == Step::Running || state.delayed.contains_key(id);
            if !begun {
                state.elsewhere[*id] = *owner != self.comm.rank();
            }
        }
        drop(state);
        making.wake_all();
        !ready.is_empty()
    }
}
