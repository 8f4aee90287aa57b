//! Reads the environment variable `DIJITSO_LOG`.
//!
//! ```text
//! DIJITSO_LOG := word ("," word)*
//! word        := "debug" | "info" | "warning" | "error" | "off" | number      the level; default: warning
//!              | "file=" PATH       records are added to this file instead of being shown on standard error
//!              | "json=" PATH       records and finished calls are also added to this file, as lines of JSON
//!              | "ranks=all"        every rank shows its records, not only the first one
//! ```
//! A path names a plain file, a terminal or another device, `/dev/stdout` or `/dev/stderr`. Anything else,
//! such as a FIFO, is not opened: it could block the program. A path ends at the next comma. Several
//! processes may name the same file.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::{DEBUG, ERROR, INFO, OFF, WARNING};

/// The name of the variable.
pub const VARIABLE: &str = "DIJITSO_LOG";

/// The values of the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Records below it are not shown.
    pub level: i32,
    /// Ranks other than 0 show more than errors.
    pub all_ranks: bool,
    /// The file for records instead of standard error.
    pub file: Option<PathBuf>,
    /// The file for records and events as JSON.
    pub events: Option<PathBuf>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: WARNING, all_ranks: false, file: None, events: None }
    }
}

/// Returns the level of a name, in any case, or of a number.
#[must_use]
pub fn level(text: &str) -> Option<i32> {
    Some(match text.to_ascii_lowercase().as_str() {
        "debug" => DEBUG,
        "info" => INFO,
        "warning" | "warn" => WARNING,
        "error" => ERROR,
        "off" | "critical" => OFF,
        other => other.parse().ok()?,
    })
}

impl LogOptions {
    /// Reads the variable. Returns complaints about the words that it does not understand and leaves out.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut options = Self::default();
        let mut complaints = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some(("file", path)) if !path.is_empty() => options.file = Some(path.into()),
                Some(("json", path)) if !path.is_empty() => options.events = Some(path.into()),
                Some(("ranks", "all")) => options.all_ranks = true,
                Some(("ranks", "first")) => options.all_ranks = false,
                _ => match level(word) {
                    Some(level) => options.level = level,
                    None => complaints.push(format!(
                        "\"{word}\" is not understood; it takes debug, info, warning, error, off, file=PATH, \
                         json=PATH, ranks=all"
                    )),
                },
            }
        }
        (options, complaints)
    }
}
