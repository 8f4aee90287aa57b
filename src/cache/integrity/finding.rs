//! What a check finds, how bad it is, and what to do about it.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot be used.
    Broken,
    /// It is built again at its next use.
    Stale,
    /// It takes room.
    Leftover,
}

impl Severity {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Stale => "stale",
            Self::Leftover => "litter",
        }
    }
}

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table in the module above")]
pub enum FindingKind {
    LibraryCut,
    LibraryVersion,
    LibraryAltered,
    LibraryForeign,
    HeaderMissing,
    HeaderAltered,
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

    /// How bad it is.
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
            Self::ForeignFile => "move it elsewhere if it is needed, else remove it",
            Self::Refused => {
                "find out who has written it; then take the rights of others away, or --repair sets it aside"
            }
            Self::Unreadable => "look at the rights and at the disk; --repair sets it aside",
            Self::Orphan | Self::SourceAltered => "--repair sets it aside",
            Self::Leftover => "--repair removes it",
            _ => "--repair sets it aside, and it is built again at its next use",
        }
    }
}

/// What has become of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairOutcome {
    /// Nothing was tried, or there is nothing that this library does about it.
    No,
    /// It would be mended.
    Would,
    /// It has been set aside or removed.
    Done,
    /// A living program, which is named, is working on it.
    Busy(String),
    /// Why it could not be.
    Failed(String),
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: FindingKind,
    /// The entry; empty for what belongs to none.
    pub signature: String,
    /// The file.
    pub path: PathBuf,
    /// In words.
    pub text: String,
    /// What has become of it.
    pub mended: RepairOutcome,
    /// Whether anything is repaired in this cache; not in one that is refused, or in what is no cache.
    pub repairs: bool,
}

impl Finding {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        // A directory: nothing in it is changed before its owner has made it safe.
        let is_dir = self.signature.is_empty();
        match self.what {
            FindingKind::Refused if is_dir => {
                "find out who can write it; then make it yours alone (chown, chmod go-w), or name another cache directory"
            }
            FindingKind::Unreadable if is_dir => "look at the rights and at the disk",
            what if !self.repairs && what.advice().contains("--repair") => {
                "nothing is repaired here: the directory is refused, or is no cache of dijitso"
            }
            what => what.advice(),
        }
    }

    pub(super) fn new(what: FindingKind, signature: &str, path: &Path, text: impl Into<String>) -> Self {
        let (signature, path) = (signature.to_owned(), path.to_owned());
        Self { what, signature, path, text: text.into(), mended: RepairOutcome::No, repairs: true }
    }
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries that were looked at.
    pub entries: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is not as it should be: the worst first, then by signature.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether nothing is broken any more.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let left = |finding: &Finding| finding.mended != RepairOutcome::Done;
        !self.findings.iter().any(|finding| finding.what.severity() == Severity::Broken && left(finding))
    }
}
