//! What of a machine matters to the library, and which settings fit: probes, each with a finding and perhaps advice.
//!
//! No probe waits for ever: each set of them has a time limit, so that a disk that hangs is a finding. What a probe
//! writes is in private folders, removed at once, or by the next sweep if the disk hangs.

#![forbid(unsafe_code)]

mod compiler;
mod disk;
#[cfg(any(test, feature = "mpi"))]
pub(crate) mod ranks;
mod system;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use dijitso::human::count;
use dijitso::params::resolved::Resolved;

/// What a probe comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// The library will not work so.
    Bad,
}

impl Verdict {
    /// In one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A probe and what it has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Probe {
    /// What was looked at.
    pub(crate) name: String,
    /// What it comes to.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) finding: String,
    /// What to do about it.
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

/// A setting that fits, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// The key, as "parallel.buildon".
    pub(crate) key: String,
    /// The value.
    pub(crate) value: String,
    /// Why, in a sentence.
    pub(crate) reason: String,
}

impl Setting {
    fn new(key: &str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), reason: reason.into() }
    }
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Diagnosis {
    /// The probes.
    pub(crate) probes: Vec<Probe>,
    /// Settings that fit better than those in force.
    pub(crate) settings: Vec<Setting>,
}

impl Diagnosis {
    /// The worst of the verdicts.
    pub(crate) fn verdict(&self) -> Verdict {
        self.probes.iter().map(|probe| probe.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// For people.
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

    /// The verdict in a sentence, which speaks of the worst probes by their names.
    pub(crate) fn summary(&self) -> String {
        let total = count(self.probes.len(), "probe", "probes");
        let verdict = self.verdict();
        if verdict == Verdict::Ok {
            let fit = if self.settings.is_empty() { ", and the settings in force fit" } else { "" };
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

/// Gives up on what takes longer than this: a disk that hangs.
const DISK_LIMIT: Duration = Duration::from_secs(20);

/// The compiler has a limit of its own for each run, which ends earlier.
const COMPILER_LIMIT: Duration = Duration::from_secs(200);

/// Runs probes in a thread of their own; one that does not come back is left behind, which is the finding.
fn limited(
    name: &str,
    limit: Duration,
    probes: impl FnOnce() -> (Vec<Probe>, Vec<Setting>) + Send + 'static,
) -> (Vec<Probe>, Vec<Setting>) {
    let (sender, receiver) = mpsc::channel();
    let started = std::thread::Builder::new().spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = sender.send(probes());
    });
    let hung = |reason: String| {
        let advice = "find out what hangs: df, ls, mount";
        (vec![Probe::bad(name, reason, advice)], Vec::new())
    };
    match started {
        Err(error) => hung(format!("cannot be looked at: {error}")),
        Ok(_) => receiver.recv_timeout(limit).unwrap_or_else(|error| match error {
            mpsc::RecvTimeoutError::Timeout => hung(format!("no answer within {} s", limit.as_secs())),
            mpsc::RecvTimeoutError::Disconnected => hung("the probe broke down".to_owned()),
        }),
    }
}

/// Looks at this machine with the eyes of these parameters. Takes seconds, and leaves nothing behind.
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

/// The directories that matter.
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

/// The directory, or the nearest one above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests;
