//! A batch job, as its batch system describes it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// The end of a job, or of one task of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// Its script has ended with this exit code.
    Code(i32),
    /// Its batch system has ended it: `cancelled`.
    Stopped(String),
}

impl JobEnd {
    /// Returns the exit code that stands for it: 1 if the batch system has ended it.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Stopped(_) => 1,
        }
    }
}

impl Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Stopped(state) => f.write_str(state),
        }
    }
}

/// The tasks of a job that have ended, by their numbers. A job that is no array is its only task, 0.
pub(super) type JobEnds = BTreeMap<u32, JobEnd>;

/// A job, as its batch system describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JobReport {
    /// The ends that the batch system remembers.
    pub(super) ends: JobEnds,
    /// The state of the tasks that wait or run, if there are any, with the reason why they wait.
    pub(super) active: Option<String>,
    /// The reason why a task never starts.
    pub(super) stuck: Option<String>,
}

/// Returns the exit code of an array: that of the worst task. A bug of the command is worse than nodes that
/// have failed, and anything else comes last, in front of success.
pub(super) fn worst_code(ends: &JobEnds) -> i32 {
    let rank = |code: &i32| match code {
        114 => 3,
        113 => 2,
        0 => 0,
        _ => 1,
    };
    ends.values().map(JobEnd::code).max_by_key(rank).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_task_gives_the_exit_code() {
        let worst = |codes: &[i32]| {
            worst_code(&codes.iter().zip(1..).map(|(code, task)| (task, JobEnd::Code(*code))).collect())
        };
        assert_eq!(worst(&[]), 0);
        assert_eq!(worst(&[0, 0]), 0);
        assert_eq!(worst(&[0, 1]), 1);
        assert_eq!(worst(&[113, 1, 0]), 113);
        assert_eq!(worst(&[113, 114, 1]), 114);
        assert_eq!(worst_code(&[(0, JobEnd::Stopped("cancelled".into()))].into()), 1);
    }
}
