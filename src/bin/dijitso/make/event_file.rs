//! Events of a make as lines of JSON.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use dijitso::error::Result;
use dijitso::plan::Plan;
use dijitso::plan::journal::now;
use dijitso::plan::make::{MakeEvent, MakeEventKind};
use dijitso::plan::view::ResultOrigin;

use super::unwritable;

/// A file that gets the events of a make.
pub(super) struct EventFile {
    file: File,
    path: PathBuf,
    has_failed: bool,
}

impl EventFile {
    /// Opens the file. What is in it is lost.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        Ok(Self { file, path: path.to_owned(), has_failed: false })
    }

    /// Writes an event. The first failure is a warning.
    pub(super) fn write(&mut self, plan: &Plan, event: &MakeEvent) {
        let mut line = to_json(plan, event).to_string();
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes())
            && !std::mem::replace(&mut self.has_failed, true)
        {
            log::warn!("{}", unwritable(&self.path, &error));
        }
    }
}

/// Returns an event as JSON: its time, word and label, and what belongs to it.
fn to_json(plan: &Plan, event: &MakeEvent) -> Json {
    let label = |node| plan.spec(node).map(|spec| spec.label.clone());
    let (word, details) = match &event.kind {
        MakeEventKind::Started => ("started", json!({})),
        MakeEventKind::Added => ("added", json!({})),
        MakeEventKind::Parked => ("parked", json!({})),
        MakeEventKind::Retried(error) => ("retried", json!({ "error": error.message() })),
        MakeEventKind::Done(origin, seconds) => {
            ("done", json!({ "built": *origin == ResultOrigin::Built, "seconds": seconds }))
        }
        MakeEventKind::Failed(error, seconds) => {
            ("failed", json!({ "error": error.message(), "log": error.log(), "seconds": seconds }))
        }
        MakeEventKind::Blocked(cause) => ("blocked", json!({ "by": label(*cause) })),
    };
    let mut all = json!({ "time": now(), "event": word, "node": label(event.node) });
    if let (Some(all), Some(details)) = (all.as_object_mut(), details.as_object()) {
        all.extend(details.clone());
    }
    all
}
