//! One execution of a node: where and when it ran, and what each of its phases took.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looks for its result in the cache.
    LookUp,
    /// Runs the callback that generates its source.
    Generate,
    /// Runs its callback or its command.
    Run,
    /// Waits for another program that builds the same.
    WaitForProgram,
    /// Waits for a compiler slot of the host.
    WaitForSlot,
    /// Runs the compiler.
    Compile,
    /// Publishes the result.
    Publish,
}

impl Phase {
    /// Returns the word for the phase, in messages and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::LookUp => "look-up",
            Self::Generate => "generate",
            Self::Run => "run",
            Self::WaitForProgram => "wait-for-program",
            Self::WaitForSlot => "wait-for-slot",
            Self::Compile => "compile",
            Self::Publish => "publish",
        }
    }
}

/// One execution of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The host on which it ran.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The rank, 0 without a communicator.
    pub rank: usize,
    /// The row of the rank in which it is drawn: executions of a rank that overlap have different slots.
    pub slot: usize,
    /// When it began, in seconds since 1970.
    pub begin: f64,
    /// Its phases in order, with the seconds that each took.
    pub phases: Vec<(Phase, f64)>,
    /// The most memory that one of its commands has used, in bytes; 0 if unknown.
    #[serde(default)]
    pub memory: u64,
}

impl Execution {
    /// Returns the seconds from its begin to its end.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|(_, seconds)| seconds).sum()
    }

    /// Returns when it ended, in seconds since 1970.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.begin + self.seconds()
    }

    /// Returns the seconds that it worked: without its waits for programs and slots.
    #[must_use]
    pub fn work(&self) -> f64 {
        let waits = |phase: &Phase| matches!(phase, Phase::WaitForProgram | Phase::WaitForSlot);
        self.phases.iter().filter(|(phase, _)| !waits(phase)).map(|(_, seconds)| seconds).sum()
    }
}
