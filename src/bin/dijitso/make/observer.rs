//! Shows a make: one line on a terminal that is updated in place, a line for each node elsewhere.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use dijitso::error::{Error, Result};
use dijitso::escape;
use dijitso::plan::make::{MakeEvent, MakeEventKind, MakeObserver, MakeProgress, MakeReport};
use dijitso::plan::view::ResultOrigin;
use dijitso::plan::{NodeId, Plan, StopRequest};

use crate::context::CommandContext;
use crate::output;

use super::event_file::EventFile;

/// The most running nodes that the line names.
const NAMED: usize = 3;

/// Shows a make, and writes its events to a file.
pub(super) struct Reporter {
    plan: Arc<Plan>,
    events: Option<EventFile>,
    show: Show,
    labels: HashMap<NodeId, String>,
    /// The request to stop that people have been told of.
    stop: StopRequest,
}

enum Show {
    /// Nothing: another rank speaks, or the result is JSON.
    Nothing,
    /// A line on a terminal.
    Bar(ProgressBar),
    /// A line for each node.
    Lines,
}

impl Reporter {
    /// # Errors
    /// `Kind::Cache` if the file for the events cannot be made.
    pub(super) fn new(plan: &Arc<Plan>, events: Option<&Path>, context: &mut CommandContext) -> Result<Self> {
        let events = events.filter(|_| context.is_speaker).map(EventFile::create).transpose()?;
        context.out.flush();
        let show = if !context.is_speaker || context.out.json {
            Show::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{bar:20.green/dim} {pos}/{len} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            Show::Bar(bar)
        } else {
            Show::Lines
        };
        Ok(Self { plan: Arc::clone(plan), events, show, labels: HashMap::new(), stop: StopRequest::Go })
    }

    fn label(&mut self, node: NodeId) -> String {
        let plan = &self.plan;
        let label = self.labels.entry(node).or_insert_with(|| {
            plan.spec(node).map_or_else(String::new, |spec| escape::paragraph(&spec.label).into_owned())
        });
        label.clone()
    }

    fn say(&self, text: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => bar.suspend(|| output::note(&text)),
            Show::Lines => output::note(&text),
        }
    }

    /// Says once that the make was asked to stop.
    pub(super) fn say_stop(&mut self, stop: StopRequest) {
        if stop > self.stop {
            self.stop = stop;
            self.say(match stop {
                StopRequest::Kill => "ending what runs",
                _ => "stopping: what runs is finished; once more to end it now",
            });
        }
    }

    /// Shows the outcome: a summary, and a line for each failed node.
    pub(super) fn finish(&mut self, plan: &Plan, report: &MakeReport, context: &mut CommandContext) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
        if !context.is_speaker {
            return;
        }
        if context.out.json {
            let failed: Vec<_> = report
                .failed
                .iter()
                .map(|node| {
                    let error = plan.status(*node).and_then(|status| status.error);
                    json!({ "label": self.label(*node), "error": error.as_ref().map(Error::message) })
                })
                .collect();
            context.out.document(&json!({
                "done": report.done,
                "built": report.built,
                "failed": failed,
                "blocked": report.blocked,
                "todo": report.todo,
                "seconds": report.seconds,
            }));
            return;
        }
        context.note(&summary(report));
        if !report.failed.is_empty() {
            context.note(&"\"dijitso plan why PLAN\" says more, \"dijitso make PLAN failed\" tries again");
        }
        counts(report.done, report.failed.len(), report.blocked, context);
    }
}

/// Says that nothing was to be done.
pub(super) fn unchanged(nodes: u64, context: &mut CommandContext) {
    if context.out.json {
        context.out.document(&json!({
            "done": nodes, "built": 0, "failed": [], "blocked": 0, "todo": 0, "seconds": 0.0,
        }));
    } else {
        context.note(&format_args!("0 built, nothing to do: all {nodes} nodes are made"));
        counts(nodes, 0, 0, context);
    }
}

/// Writes the last line of a make, which programs may read.
fn counts(done: impl Display, failed: usize, blocked: usize, context: &mut CommandContext) {
    context.out.line(format_args!("{done} done, {failed} failed, {blocked} blocked"));
}

impl MakeObserver for Reporter {
    fn event(&mut self, event: &MakeEvent) {
        self.say_stop(self.plan.stop_request());
        if let Some(events) = &mut self.events {
            events.write(&self.plan, event);
        }
        let label = self.label(event.node);
        match &event.kind {
            MakeEventKind::Done(ResultOrigin::Built, seconds) if matches!(self.show, Show::Lines) => {
                self.say(&format!("done {label}, {seconds:.1} s"));
            }
            MakeEventKind::Failed(error, _) => {
                let message = error.message();
                let message = message.strip_prefix(&format!("\"{label}\": ")).unwrap_or(message);
                self.say(&format!("failed {label}: {message}"));
            }
            MakeEventKind::Retried(error) => {
                self.say(&format!("trying {label} again: {}", error.message()));
            }
            _ => {}
        }
    }

    fn progress(&mut self, progress: &MakeProgress) {
        self.say_stop(self.plan.stop_request());
        let names: Vec<String> = progress
            .running
            .iter()
            .take(NAMED)
            .map(|(node, phase)| {
                let label = self.label(*node);
                phase.map_or_else(|| label.clone(), |phase| format!("{label} ({})", phase.word()))
            })
            .collect();
        let Show::Bar(bar) = &self.show else { return };
        bar.set_length(progress.total as u64);
        bar.set_position((progress.done + progress.failed + progress.blocked) as u64);
        let mut parts = Vec::new();
        if progress.failed > 0 {
            parts.push(format!("{} failed", progress.failed));
        }
        if progress.blocked > 0 {
            parts.push(format!("{} blocked", progress.blocked));
        }
        if let Some(seconds) = progress.seconds_left.filter(|seconds| *seconds >= 1.0) {
            parts.push(format!("about {} left", time(seconds)));
        }
        if !names.is_empty() {
            let more = progress.running.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            parts.push(format!("{}{more}", names.join(", ")));
        }
        if let Some(reason) = progress.waiting {
            parts.push(format!("others wait: {}", reason.describe()));
        }
        bar.set_message(parts.join("; "));
    }
}

/// Describes the outcome in a line.
fn summary(report: &MakeReport) -> String {
    let found = report.done - report.built;
    let mut text = format!("{} built, {found} found", report.built);
    for (count, word) in
        [(report.failed.len(), "failed"), (report.blocked, "blocked"), (report.todo, "still to be made")]
    {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    format!("{text}, in {}", time(report.seconds))
}

/// Returns seconds as people read them.
fn time(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let whole = seconds as u64;
    if whole < 3600 {
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        format!("{} h {} min", whole / 3600, whole / 60 % 60)
    }
}
