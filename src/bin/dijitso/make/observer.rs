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
use dijitso::process::join;

use crate::context::CommandContext;
use crate::output;

use super::event_file::EventFile;
use super::progress_line::{bar_columns, describe};

/// The most running nodes that the line names.
const NAMED: usize = 16;

/// Shows a make, and writes its events to a file.
pub(super) struct Reporter {
    plan: Arc<Plan>,
    /// The plan file, as the command line names it.
    file: String,
    events: Option<EventFile>,
    show: Show,
    labels: HashMap<NodeId, String>,
    /// The request to stop that people have been told of.
    stop: StopRequest,
}

/// The columns that are left free at the end of the line. There a terminal shows ^C.
const ECHO: usize = 3;

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
    pub(super) fn new(
        plan: &Arc<Plan>,
        file: &Path,
        events: Option<&Path>,
        context: &mut CommandContext,
    ) -> Result<Self> {
        let events = events.filter(|_| context.is_speaker).map(EventFile::create).transpose()?;
        context.out.flush();
        let show = if !context.is_speaker || context.out.json {
            Show::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(bar_columns(output::stderr_columns())));
            dijitso::logging::progress::silence();
            Show::Bar(bar)
        } else {
            Show::Lines
        };
        let file = file.display().to_string();
        Ok(Self { plan: Arc::clone(plan), file, events, show, labels: HashMap::new(), stop: StopRequest::Go })
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
            let failures: Vec<_> = report
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
                "failed": failures.len(),
                "failures": failures,
                "blocked": report.blocked,
                "todo": report.todo,
                "seconds": report.seconds,
            }));
            return;
        }
        context.note(&summary(report));
        if !report.failed.is_empty() {
            let file = join(std::slice::from_ref(&self.file));
            context.note(&format_args!(
                "\"dijitso plan why {file}\" says more, \"dijitso make {file} failed\" tries again"
            ));
        }
        counts(report.done, report.failed.len(), report.blocked, context);
    }
}

/// Says that nothing was to be done.
pub(super) fn unchanged(nodes: u64, context: &mut CommandContext) {
    if context.out.json {
        context.out.document(&json!({
            "done": nodes, "built": 0, "failed": 0, "failures": [], "blocked": 0, "todo": 0, "seconds": 0.0,
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
                self.say(&format!("failed {label}: {}", without_label(error, &label)));
            }
            MakeEventKind::Retried(error) => {
                self.say(&format!("trying {label} again: {}", without_label(error, &label)));
            }
            _ => {}
        }
    }

    fn progress(&mut self, progress: &MakeProgress) {
        self.say_stop(self.plan.stop_request());
        if !matches!(self.show, Show::Bar(_)) {
            return;
        }
        let labels: Vec<String> =
            progress.running.iter().take(NAMED).map(|(node, _)| self.label(*node)).collect();
        let Show::Bar(bar) = &self.show else { return };
        let columns = output::stderr_columns();
        let count = format!("{}/{} ", progress.done + progress.failed + progress.blocked, progress.total);
        let taken = bar_columns(columns) + 1 + count.len() + ECHO;
        bar.set_style(style(bar_columns(columns)));
        bar.set_length(progress.total as u64);
        bar.set_position((progress.done + progress.failed + progress.blocked) as u64);
        let room = columns.saturating_sub(taken);
        let text = describe(progress, &labels, self.stop, room);
        bar.set_message(output::shortened(&text, room, false).into_owned());
    }
}

/// Returns the style of a line whose bar has so many columns.
fn style(columns: usize) -> ProgressStyle {
    let template = match columns {
        0 => "{pos}/{len} {msg}".to_owned(),
        columns => format!("{{bar:{columns}.green/dim}} {{pos}}/{{len}} {{msg}}"),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
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

/// Returns the message of an error without the label that it begins with.
fn without_label<'e>(error: &'e Error, label: &str) -> &'e str {
    let message = error.message();
    message.strip_prefix(&format!("\"{label}\": ")).unwrap_or(message)
}

/// Returns seconds as people read them.
pub(super) fn time(seconds: f64) -> String {
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
