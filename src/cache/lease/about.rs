//! The words of a lease about its owner, for people. Nothing depends on them.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::logging;

/// Bytes of a name that are kept.
const LONGEST: usize = 100;

/// User, program and rank of the owner of a lease, as it has written them itself. All are unknown in a lease of an
/// older version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseAbout {
    /// The name of the user, by the environment; empty if unknown.
    pub user: String,
    /// The program, with the script or plan that it runs; empty if unknown.
    pub program: String,
    /// Rank and size of the communicator of the call, or of the largest that the process has used.
    pub rank: Option<(usize, usize)>,
    /// When the lease was taken, in seconds since 1970; 0 if unknown.
    pub since: u64,
}

impl LeaseAbout {
    /// Describes this process.
    pub(super) fn current() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = ["USER", "LOGNAME"].into_iter().find_map(variable).unwrap_or_default();
        let words = fs::read("/proc/self/cmdline").unwrap_or_default();
        let words: Vec<String> = (words.split(|byte| *byte == 0).take(32))
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { user: shortened(&user), program: shortened(&program(&words)), rank: logging::here(), since }
    }
}

/// Returns the last part of a path.
fn base(word: &str) -> String {
    Path::new(word).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Names the program of a command line: an interpreter with its script, dijitso with its subcommand and plan.
/// Other arguments may be secret.
fn program(words: &[String]) -> String {
    const INTERPRETERS: [&str; 9] =
        ["python", "pypy", "perl", "julia", "ruby", "bash", "sh", "node", "octave"];
    let Some((first, rest)) = words.split_first() else { return String::new() };
    let program = base(first);
    let plain = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let mut operands = rest.iter().filter(|word| !word.starts_with('-') && !word.is_empty());
    let has_code = rest.iter().any(|word| word == "-c" || word == "-e");
    let shown: Vec<String> = match plain {
        "dijitso" => operands.by_ref().take(2).map(|word| base(word)).collect(),
        _ if INTERPRETERS.contains(&plain) && !has_code => operands.take(1).map(|word| base(word)).collect(),
        _ => Vec::new(),
    };
    [vec![program], shown].concat().join(" ")
}

fn shortened(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_with_its_script_and_without_its_arguments() {
        let of = |line: &str| program(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("/usr/bin/python3.11 -u /home/u/poisson.py --token=secret"), "python3.11 poisson.py");
        assert_eq!(of("python3 -c print(1) secret"), "python3");
        assert_eq!(of("./solver secret"), "solver");
        assert_eq!(of("dijitso make plans/poisson.toml -j 4"), "dijitso make poisson.toml");
        assert_eq!(program(&[]), "");
    }

    #[test]
    fn names_are_short_and_without_control_characters() {
        assert_eq!(shortened("a\u{1b}[2Jb"), "a[2Jb");
        assert!(shortened(&"ä".repeat(200)).len() <= LONGEST);
        let about = LeaseAbout::current();
        assert!(!about.program.is_empty() && about.since > 1_000_000_000, "{about:?}");
    }
}
