//! Shows builds that take long: in one line on a terminal, or by records of the log.
//!
//! One thread of the process does it for all builds, from 2 s after the first has begun until none is left. If
//! nothing is built, there is no thread.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::logging;
use crate::logging::progress::{self, Progress, QUIET, Report};
use crate::logging::terminal;
use crate::owner::Creator;
use crate::process::phase::{Phase, PhaseClock};
use crate::sync::{lock, recover, try_lock};

use super::line::{ShownName, describe, describe_end};

/// The time between two looks at the builds, once they are shown.
const INTERVAL: Duration = Duration::from_millis(250);

/// The time between two looks at the leases of other ranks.
const LEASE_INTERVAL: Duration = Duration::from_secs(1);

/// Columns that stay free at the end of the line. There a terminal shows ^C.
const ECHO: usize = 3;

/// Columns of a record that is no line on a terminal.
const RECORD_ROOM: usize = 300;

/// Begins the line.
const PREFIX: &str = "dijitso: ";

/// Threads of the host that wait for a build in a call.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A thread of the host that waits for a build in a call, so that it writes nothing to the terminal.
pub(in crate::jit) struct WaitingInCall;

/// Marks this thread of the host as waiting in a call, until the value is dropped.
#[must_use]
pub(in crate::jit) fn wait_in_call() -> WaitingInCall {
    WAITING.fetch_add(1, Ordering::SeqCst);
    WaitingInCall
}

impl Drop for WaitingInCall {
    fn drop(&mut self) {
        if WAITING.fetch_sub(1, Ordering::SeqCst) == 1 {
            // From now on the host may write.
            terminal::clear();
        }
    }
}

/// A build in the display, until it is dropped.
pub(super) struct ShownBuild {
    display: Arc<Display>,
    number: u64,
    is_built: bool,
}

impl ShownBuild {
    /// Adds a build. `None` if this thread does not report, or people do not want it.
    pub(super) fn begin(name: &str, clock: &PhaseClock) -> Option<Self> {
        let report = if progress::reports() { Report::choose() } else { Report::Nothing };
        if report == Report::Nothing {
            return None;
        }
        let display = Display::get()?;
        let number = display.add(name, BuildKind::Own(clock.clone()), report);
        Some(Self { display, number, is_built: false })
    }

    pub(super) fn succeed(&mut self) {
        self.is_built = true;
    }
}

impl Drop for ShownBuild {
    fn drop(&mut self) {
        self.display.remove(self.number, Some(self.is_built));
    }
}

/// A build of another rank of this host.
pub(in crate::jit) struct Watched {
    pub(in crate::jit) name: String,
    /// It is under way while this file exists.
    pub(in crate::jit) lease: PathBuf,
}

/// Builds of other ranks in the display, until this is dropped.
pub(in crate::jit) struct WatchedBuilds {
    /// With the numbers of the builds; `None` if nothing is shown.
    display: Option<(Arc<Display>, Vec<u64>)>,
}

impl WatchedBuilds {
    /// Adds builds of other ranks, for which this one reports.
    #[must_use]
    pub(in crate::jit) fn begin(builds: Vec<Watched>) -> Self {
        let report = if builds.is_empty() { Report::Nothing } else { Report::choose() };
        if report == Report::Nothing {
            return Self { display: None };
        }
        let display = Display::get().map(|display| {
            let add = |build: Watched| {
                display.add(&build.name, BuildKind::Other(build.lease, LeaseState::Unseen), report)
            };
            let numbers = builds.into_iter().map(add).collect();
            (display, numbers)
        });
        Self { display }
    }
}

impl Drop for WatchedBuilds {
    fn drop(&mut self) {
        if let Some((display, numbers)) = &self.display {
            numbers.iter().for_each(|number| display.remove(*number, None));
        }
    }
}

/// The state of the lease of another rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseState {
    /// It was not there yet.
    Unseen,
    /// It is there.
    Seen,
    /// It was there.
    Gone,
}

enum BuildKind {
    /// A build of this process.
    Own(PhaseClock),
    /// A build of another one.
    Other(PathBuf, LeaseState),
}

struct DisplayedBuild {
    number: u64,
    name: String,
    since: Instant,
    kind: BuildKind,
}

impl DisplayedBuild {
    fn is_under_way(&self) -> bool {
        matches!(self.kind, BuildKind::Own(_) | BuildKind::Other(_, LeaseState::Seen))
    }

    fn shown(&self) -> ShownName {
        let phase = match &self.kind {
            BuildKind::Own(clock) => clock.current(),
            BuildKind::Other(..) => Some(Phase::Compile),
        };
        ShownName { name: self.name.clone(), phase }
    }
}

/// Builds from the time at which there is one until the time at which there is none.
struct BuildPeriod {
    report: Report,
    /// Rank and size of the first build, for records.
    rank_and_size: Option<(usize, usize)>,
    progress: Progress,
    /// True if people or a host have been told.
    is_announced: bool,
    built: usize,
    failed: usize,
    /// The name of the build that has ended last.
    last: String,
}

#[derive(Default)]
struct DisplayState {
    builds: Vec<DisplayedBuild>,
    period: Option<BuildPeriod>,
    next_number: u64,
    /// True while the thread runs.
    has_thread: bool,
    /// The thread that was started last.
    thread: Option<JoinHandle<()>>,
    is_closed: bool,
    /// The line on the terminal.
    line: String,
    leases_seen: Option<Instant>,
}

/// The display of this process.
struct Display {
    creator: Creator,
    state: Mutex<DisplayState>,
    changed: Condvar,
}

/// Locked for a moment: a child that is forked meanwhile shows nothing.
static DISPLAY: Mutex<Option<Arc<Display>>> = Mutex::new(None);

/// A text for people or the host.
struct ProgressMessage {
    text: String,
    rank_and_size: Option<(usize, usize)>,
    /// True if the line in place has said it.
    is_shown: bool,
    /// True if it goes to the terminal as the line in place does.
    is_in_terminal_style: bool,
}

impl ProgressMessage {
    /// Passes it on, without a lock, because it may call the host.
    fn send(self) {
        if self.is_in_terminal_style && !self.is_shown {
            terminal::say(&format!("{PREFIX}{}", self.text));
        }
        let _rank = self.rank_and_size.map(|(rank, size)| logging::enter(rank, size));
        progress::record(&self.text, self.is_shown || self.is_in_terminal_style);
    }
}

impl Display {
    /// Returns the display of this process. That of the parent of a fork is of no use: its thread is not here,
    /// and its lock may be held.
    fn get() -> Option<Arc<Self>> {
        let mut display = try_lock(&DISPLAY)?;
        if let Some(display) = display.as_ref().filter(|display| display.creator.is_current()) {
            return Some(Arc::clone(display));
        }
        let new =
            Arc::new(Self { creator: Creator::current(), state: Mutex::default(), changed: Condvar::new() });
        if let Some(old) = display.replace(Arc::clone(&new)) {
            std::mem::forget(old);
        }
        Some(new)
    }

    fn add(self: &Arc<Self>, name: &str, kind: BuildKind, report: Report) -> u64 {
        let mut state = lock(&self.state);
        let number = state.next_number;
        state.next_number += 1;
        state.builds.push(DisplayedBuild { number, name: name.to_owned(), since: Instant::now(), kind });
        if state.period.is_none() {
            state.period = Some(BuildPeriod {
                report,
                rank_and_size: logging::here(),
                progress: Progress::default(),
                is_announced: false,
                built: 0,
                failed: 0,
                last: String::new(),
            });
        }
        if !state.has_thread && !state.is_closed {
            let display = Arc::clone(self);
            let thread = std::thread::Builder::new().name("dijitso-show".to_owned());
            state.thread = thread.spawn(move || display.run()).ok();
            state.has_thread = state.thread.is_some();
        }
        number
    }

    /// Removes a build. `is_built` tells its outcome; `None` for that of another rank.
    fn remove(&self, number: u64, is_built: Option<bool>) {
        // A forked child has a copy of the value, and a lock that may be held.
        if !self.creator.is_current() {
            return;
        }
        let mut state = lock(&self.state);
        let Some(at) = state.builds.iter().position(|build| build.number == number) else { return };
        let build = state.builds.remove(at);
        let is_built = is_built.or(match build.kind {
            BuildKind::Other(_, LeaseState::Unseen) => None,
            _ => Some(true),
        });
        let is_last = state.builds.is_empty();
        let Some(period) = &mut state.period else { return };
        if let Some(is_built) = is_built {
            period.built += usize::from(is_built);
            period.failed += usize::from(!is_built);
            period.last = build.name;
        }
        if !is_last {
            return;
        }
        let message = state.period.take().and_then(|period| period.end());
        state.line.clear();
        drop(state);
        self.changed.notify_all();
        message.into_iter().for_each(ProgressMessage::send);
    }

    /// Shows builds until there is none.
    fn run(&self) {
        let mut state = lock(&self.state);
        while let Some(pause) = state.pause().filter(|_| !state.is_closed) {
            (state, _) = recover(self.changed.wait_timeout(state, pause));
            let leases = state.leases_to_see();
            if !leases.is_empty() {
                drop(state);
                // Without the lock: the disk may be slow.
                let seen: Vec<(u64, bool)> = (leases.into_iter())
                    .map(|(number, lease)| (number, lease.symlink_metadata().is_ok()))
                    .collect();
                state = lock(&self.state);
                state.note_leases(&seen);
            }
            if state.is_closed {
                break;
            }
            if let Some(message) = state.show() {
                drop(state);
                message.send();
                state = lock(&self.state);
            }
        }
        state.has_thread = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the thread, and removes the line from the terminal.
    fn close(&self) {
        const MAX_CLOSE: Duration = Duration::from_millis(200);
        let mut state = lock(&self.state);
        state.is_closed = true;
        self.changed.notify_all();
        let begin = Instant::now();
        // Not for ever: it may wait for an interpreter that ends.
        while let Some(left) = MAX_CLOSE.checked_sub(begin.elapsed()).filter(|_| state.has_thread) {
            (state, _) = recover(self.changed.wait_timeout(state, left));
        }
        let thread = state.thread.take().filter(|_| !state.has_thread);
        drop(state);
        // The code that it runs may be unmapped now.
        thread.into_iter().for_each(|thread| drop(thread.join()));
        terminal::clear();
    }
}

impl BuildPeriod {
    /// Returns what is to be said at the end: nothing, unless it has been said that something is built.
    fn end(self) -> Option<ProgressMessage> {
        if !self.is_announced {
            return None;
        }
        terminal::clear();
        let text = describe_end(&self.last, self.built, self.failed, self.progress.elapsed());
        let is_in_terminal_style = self.report == Report::InPlace;
        Some(ProgressMessage {
            text,
            rank_and_size: self.rank_and_size,
            is_shown: false,
            is_in_terminal_style,
        })
    }
}

impl DisplayState {
    /// Returns the time until there is something to do; `None` if nothing is built.
    fn pause(&self) -> Option<Duration> {
        let period = self.period.as_ref()?;
        let elapsed = period.progress.elapsed();
        if elapsed < QUIET {
            return Some(QUIET.saturating_sub(elapsed));
        }
        let watches = self.builds.iter().any(|build| matches!(build.kind, BuildKind::Other(..)));
        Some(match period.report {
            Report::InPlace => INTERVAL,
            _ if watches => LEASE_INTERVAL.min(period.progress.next_due()),
            _ => period.progress.next_due(),
        })
    }

    /// Returns the leases that are to be looked at now.
    fn leases_to_see(&mut self) -> Vec<(u64, PathBuf)> {
        let is_early = self.period.as_ref().is_none_or(|period| period.progress.elapsed() < QUIET);
        if is_early || self.leases_seen.is_some_and(|at| at.elapsed() < LEASE_INTERVAL / 2) {
            return Vec::new();
        }
        self.leases_seen = Some(Instant::now());
        let lease = |build: &DisplayedBuild| match &build.kind {
            BuildKind::Other(lease, LeaseState::Unseen | LeaseState::Seen) => {
                Some((build.number, lease.clone()))
            }
            _ => None,
        };
        self.builds.iter().filter_map(lease).collect()
    }

    fn note_leases(&mut self, seen: &[(u64, bool)]) {
        for build in &mut self.builds {
            let Some((_, exists)) = seen.iter().find(|(number, _)| *number == build.number) else { continue };
            if let BuildKind::Other(_, lease) = &mut build.kind {
                *lease = match (*lease, exists) {
                    (_, true) => LeaseState::Seen,
                    (LeaseState::Seen, false) => LeaseState::Gone,
                    (other, false) => other,
                };
            }
        }
    }

    /// Shows the builds. Returns a record if one is due.
    fn show(&mut self) -> Option<ProgressMessage> {
        let Self { builds, period, line, .. } = self;
        let period = period.as_mut()?;
        if period.progress.elapsed() < QUIET {
            return None;
        }
        let running: Vec<&DisplayedBuild> = builds.iter().filter(|build| build.is_under_way()).collect();
        let shown: Vec<ShownName> = running.iter().map(|build| build.shown()).collect();
        let longest = running.iter().map(|build| build.since.elapsed()).max()?;
        let gone =
            builds.iter().filter(|build| matches!(build.kind, BuildKind::Other(_, LeaseState::Gone))).count();
        let done = period.built + period.failed + gone;
        let text = |room: usize| describe(&shown, longest, done, room);
        let in_place = period.report == Report::InPlace && WAITING.load(Ordering::SeqCst) > 0;
        if in_place {
            let new = format!("{PREFIX}{}", text(terminal::columns().saturating_sub(PREFIX.len() + ECHO)));
            if new != *line || !terminal::is_shown() {
                terminal::show(&new);
                *line = new;
            }
        }
        period.progress.due()?;
        period.is_announced = true;
        Some(ProgressMessage {
            text: text(RECORD_ROOM),
            rank_and_size: period.rank_and_size,
            is_shown: in_place,
            is_in_terminal_style: period.report == Report::InPlace,
        })
    }
}

/// Ends the display of this process, which is about to end.
pub fn close() {
    let display = try_lock(&DISPLAY).and_then(|display| display.clone());
    if let Some(display) = display.filter(|display| display.creator.is_current()) {
        display.close();
    }
}
