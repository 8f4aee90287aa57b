//! Findings of a check, their severity, and advice.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The entry cannot be used.
    Broken,
    /// The entry is built again at its next use.
    Stale,
    /// A file that takes space.
    Leftover,
}

impl Severity {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Stale => "stale",
            Self::Leftover => "leftover",
        }
    }
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table in the module above")]
pub enum FindingKind {
    LibraryCut,
    LibraryVersion,
    LibraryAltered,
    LibraryForeign,
    HeaderMissing,
    HeaderAltered,
    ResultAltered,
    DependencyMissing,
    DependencyBroken,
    Cycle,
    Refused,
    Unreadable,
    InputChanged,
    DependencyStale,
    SourceAltered,
    Orphan,
    Leftover,
    ForeignFile,
}

impl FindingKind {
    /// The name, as in the table in the module above.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LibraryCut => "library-cut",
            Self::LibraryVersion => "library-version",
            Self::LibraryAltered => "library-altered",
            Self::LibraryForeign => "library-foreign",
            Self::HeaderMissing => "header-missing",
            Self::HeaderAltered => "header-altered",
            Self::ResultAltered => "result-altered",
            Self::DependencyMissing => "dependency-missing",
            Self::DependencyBroken => "dependency-broken",
            Self::Cycle => "cycle",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::InputChanged => "input-changed",
            Self::DependencyStale => "dependency-stale",
            Self::SourceAltered => "source-altered",
            Self::Orphan => "orphan",
            Self::Leftover => "leftover",
            Self::ForeignFile => "foreign-file",
        }
    }

    /// The severity.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::InputChanged | Self::DependencyStale => Severity::Stale,
            Self::SourceAltered | Self::Orphan | Self::Leftover | Self::ForeignFile => Severity::Leftover,
            _ => Severity::Broken,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::InputChanged | Self::DependencyStale => "nothing: it is built again at its next use",
            Self::ForeignFile => "move it elsewhere if you need it, else remove it",
            Self::Refused => {
                "find out who has written it; then remove the write permission of others, or --repair \
                 quarantines it"
            }
            Self::Unreadable => "check the permissions and the disk; --repair quarantines it",
            Self::Orphan | Self::SourceAltered => "--repair quarantines it",
            Self::Leftover => "--repair removes it",
            Self::ResultAltered => "--repair quarantines it, and the next make of its plan makes it again",
            Self::LibraryVersion => "--repair removes it if it is older; it is built again at its next use",
            _ => "--repair quarantines it, and it is built again at its next use",
        }
    }
}

/// The result of repairing a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairOutcome {
    /// Nothing was tried, or repair does nothing about it.
    No,
    /// It would be repaired.
    Would,
    /// It has been quarantined or removed.
    Done,
    /// A living program, which is named, is building it.
    Busy(String),
    /// It could not be repaired, for this reason.
    Failed(String),
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub what: FindingKind,
    /// The signature of the entry; empty if it belongs to none.
    pub signature: String,
    /// The file.
    pub path: PathBuf,
    /// The finding in words.
    pub text: String,
    /// The result of its repair.
    pub outcome: RepairOutcome,
    /// False if the directory is refused or is not a cache: nothing is repaired in it.
    pub repairable: bool,
}

impl Finding {
    /// Advises what to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        // Nothing in a directory is changed before its owner has made it safe.
        let is_dir = self.signature.is_empty();
        match self.what {
            FindingKind::Refused if is_dir => {
                "find out who can write it; then make it yours alone (chown, chmod go-w), or name another \
                 cache directory"
            }
            FindingKind::Unreadable if is_dir => "check the permissions and the disk",
            what if !self.repairable && what.advice().contains("--repair") => {
                "nothing is repaired here: the directory is refused, or is no cache of dijitso"
            }
            what => what.advice(),
        }
    }

    pub(super) fn new(what: FindingKind, signature: &str, path: &Path, text: impl Into<String>) -> Self {
        let (signature, path) = (signature.to_owned(), path.to_owned());
        Self { what, signature, path, text: text.into(), outcome: RepairOutcome::No, repairable: true }
    }
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The number of entries that were examined.
    pub entries: usize,
    /// The number of results of tasks that were examined.
    pub results: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// The findings, the most severe first, then by signature.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Returns true if nothing is broken, or everything broken has been repaired.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let left = |finding: &Finding| finding.outcome != RepairOutcome::Done;
        !self.findings.iter().any(|finding| finding.what.severity() == Severity::Broken && left(finding))
    }
}
