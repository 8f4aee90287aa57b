//! Words on nodes that several commands use.

#![forbid(unsafe_code)]

use std::time::Duration;

use anstyle::Style;

use dijitso::plan::journal::now;
use dijitso::plan::view::{NodeView, PlanView, State};

use super::super::output::{BLOCKED, BUSY, DONE, FAILED, age};

/// Returns the word for the state of a node: that of the state, or `ready`.
pub(super) fn state_word(view: &PlanView, at: usize) -> &'static str {
    match &view.nodes[at] {
        node if node.interrupted => "interrupted",
        _ if view.is_ready(at) => "ready",
        node => node.state.word(),
    }
}

/// Returns the word for the state of a node, with `*` if it is stale.
pub(super) fn marked_state(view: &PlanView, at: usize) -> String {
    let mark = if view.nodes[at].stale { "*" } else { "" };
    format!("{}{mark}", state_word(view, at))
}

/// Returns the style of a state.
pub(super) fn state_style(state: State) -> Style {
    match state {
        State::Todo => Style::new(),
        State::Running => BUSY,
        State::Done => DONE,
        State::Failed => FAILED,
        State::Blocked => BLOCKED,
    }
}

/// Formats a time span in seconds: `0.25 s`, `90.0 s`, `36 min`.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 9.995 => format!("{:.2} s", seconds.max(0.0)),
        seconds if seconds < 119.95 => format!("{seconds:.1} s"),
        seconds => Duration::try_from_secs_f64(seconds).map_or_else(|_| "-".to_owned(), age),
    }
}

/// Returns the time since the last execution of a node ended.
pub(super) fn idle_time(node: &NodeView) -> Option<Duration> {
    let last = node.last.as_ref()?;
    Duration::try_from_secs_f64((now() - last.end()).max(0.0)).ok()
}

/// Returns a time span in one unit, `-` if there is none.
pub(super) fn coarse(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), age)
}

/// Returns why a node is as it is. `None` if it is done and not stale.
pub(super) fn reason(view: &PlanView, at: usize) -> Option<String> {
    let node = &view.nodes[at];
    let label = |at: usize| view.nodes[at].label.as_str();
    match node.state {
        State::Failed => {
            let message = node.error.as_ref().map(|error| error.message().to_owned());
            Some(message.unwrap_or_else(|| "its last execution has failed".to_owned()))
        }
        State::Blocked => Some(match node.blocked_by {
            Some(failed) => format!("{} has failed", label(failed)),
            None => "something that it needs has failed".to_owned(),
        }),
        State::Running => Some(match &node.last {
            Some(last) => format!("it runs on {}, rank {}", last.host, last.rank),
            None => "it runs".to_owned(),
        }),
        State::Done | State::Todo if node.stale => {
            Some("something that it depends on has changed, or its result was removed".to_owned())
        }
        State::Done => None,
        State::Todo => {
            let is_missing = |needed: &usize| view.nodes[*needed].state != State::Done;
            let mut missing = node.predecessors().filter(is_missing);
            Some(match (missing.next(), missing.count()) {
                (Some(first), 0) => format!("it waits for {}", label(first)),
                (Some(first), more) => format!("it waits for {} and {more} more", label(first)),
                (None, _) if node.last.is_some() => "its result is not in the cache".to_owned(),
                (None, _) => "it has not been made yet".to_owned(),
            })
        }
    }
}
