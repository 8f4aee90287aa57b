//! One execution of a node: where and when it ran, and what each of its phases took.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

pub use crate::process::phase::Phase;

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
