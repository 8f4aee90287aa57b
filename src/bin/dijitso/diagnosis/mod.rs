//! Examines a machine and recommends settings: probes, each with a finding and, if necessary, advice.
//!
//! Each set of probes has a time limit, so that a hanging disk is a finding. Probes write to private folders,
//! which are removed at once, or by the next sweep if the disk hangs.

#![forbid(unsafe_code)]

mod compiler;
mod disk;
pub(crate) mod ranks;
mod system;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use dijitso::human::count;
use dijitso::params::resolved::Resolved;

/// The verdict of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// The library works, and could work better.
    Warn,
    /// The library does not work like this.
    Bad,
}

impl Verdict {
    /// Returns the verdict in one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A probe and its finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Probe {
    /// The subject of the probe.
    pub(crate) name: String,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// The finding, in a sentence.
    pub(crate) finding: String,
    /// Advice, unless the verdict is [`Verdict::Ok`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advice: String,
}

impl Probe {
    fn new(name: impl Into<String>, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self { name: name.into(), verdict, finding: finding.into(), advice: String::new() }
    }

    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, finding)
    }

    fn warn(name: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..Self::new(name, Verdict::Warn, finding) }
    }

    fn bad(name: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..Self::new(name, Verdict::Bad, finding) }
    }
}

/// A recommended setting and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// The key, for example "parallel.buildon".
    pub(crate) key: String,
    /// The value.
    pub(crate) value: String,
    /// The reason, in a sentence.
    pub(crate) reason: String,
}

impl Setting {
    fn new(key: &str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), reason: reason.into() }
    }
}

/// The results of all probes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Diagnosis {
    /// The probes.
    pub(crate) probes: Vec<Probe>,
    /// Settings that fit better than the current ones.
    pub(crate) settings: Vec<Setting>,
}

impl Diagnosis {
    /// Returns the worst verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        self.probes.iter().map(|probe| probe.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// Returns the diagnosis as text for the terminal.
    pub(crate) fn text(&self) -> String {
        let width = self.probes.iter().map(|probe| probe.name.chars().count()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for probe in &self.probes {
            lines.push(format!("{:<4}  {:<width$}  {}", probe.verdict.word(), probe.name, probe.finding));
            if !probe.advice.is_empty() {
                lines.push(format!("      {:<width$}  -> {}", "", probe.advice));
            }
        }
        lines.push(String::new());
        for setting in &self.settings {
            lines.push(format!("{} = {} would fit: {}.", setting.key, setting.value, setting.reason));
        }
        lines.push(self.summary());
        lines.join("\n")
    }

    /// Returns the verdict in a sentence that names the worst probes.
    pub(crate) fn summary(&self) -> String {
        let total = count(self.probes.len(), "probe", "probes");
        let verdict = self.verdict();
        if verdict == Verdict::Ok {
            let fit = if self.settings.is_empty() { ", and the current settings fit" } else { "" };
            return format!("Nothing is wrong in {total}{fit}.");
        }
        let worst: Vec<&str> = self
            .probes
            .iter()
            .filter(|probe| probe.verdict == verdict)
            .map(|probe| probe.name.as_str())
            .collect();
        let what = match verdict {
            Verdict::Bad if worst.len() == 1 => "is bad",
            Verdict::Bad => "are bad",
            _ => "could be better",
        };
        format!("{} of {total} {what}: {}.", worst.len(), worst.join(", "))
    }
}

/// Limits the probes of one disk, which may hang.
const DISK_LIMIT: Duration = Duration::from_secs(20);

/// Limits the probes of the compiler. Each run of the compiler has a shorter limit of its own.
const COMPILER_LIMIT: Duration = Duration::from_secs(200);

/// Runs probes in a thread of their own. If it does not return in time, it is left behind, and that is the
/// finding.
fn limited(
    name: &str,
    limit: Duration,
    probes: impl FnOnce() -> (Vec<Probe>, Vec<Setting>) + Send + 'static,
) -> (Vec<Probe>, Vec<Setting>) {
    let (sender, receiver) = mpsc::channel();
    let started = std::thread::Builder::new().spawn(move || {
        // The receiver is gone if this took too long.
        let _ = sender.send(probes());
    });
    let hung = |reason: String| {
        let advice = "find out what hangs: df, ls, mount";
        (vec![Probe::bad(name, reason, advice)], Vec::new())
    };
    match started {
        Err(error) => hung(format!("cannot be examined: {error}")),
        Ok(_) => receiver.recv_timeout(limit).unwrap_or_else(|error| match error {
            mpsc::RecvTimeoutError::Timeout => hung(format!("no answer within {} s", limit.as_secs())),
            mpsc::RecvTimeoutError::Disconnected => hung("the probe broke down".to_owned()),
        }),
    }
}

/// Examines this machine with these parameters. Takes seconds, and leaves no file.
pub(crate) fn examine(params: &Resolved) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let mut add = |(probes, settings): (Vec<Probe>, Vec<Setting>)| {
        diagnosis.probes.extend(probes);
        diagnosis.settings.extend(settings);
    };
    let own = params.clone();
    add(limited("compiler", COMPILER_LIMIT, move || compiler::probes(&own)));
    for (name, path) in places(params) {
        let own = params.clone();
        let label = name.to_owned();
        add(limited(name, DISK_LIMIT, move || disk::probes(&label, &path, &own)));
    }
    let own = params.clone();
    add(limited("this host", DISK_LIMIT, move || system::probes(&own)));
    diagnosis
}

/// Returns the directories to examine, with their names.
fn places(params: &Resolved) -> Vec<(&'static str, PathBuf)> {
    let mut places =
        vec![(CACHE, params.cache.cache_dir.clone()), (TEMP, params.cache.temp_dir_root.clone())];
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        places.push((HOME, PathBuf::from(home)));
    }
    places
}

const CACHE: &str = "cache";
const TEMP: &str = "temporary files";
const HOME: &str = "home";

/// Returns the directory, or the nearest existing one above it.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests;
