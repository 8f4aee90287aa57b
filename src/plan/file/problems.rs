//! The problems of a plan file, each with its line. Reading goes on after one, so that a file can be
//! corrected at once.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::error::{Error, Kind};

/// The number of problems that are kept.
const MOST: usize = 20;

/// The longest text that is compared with others, in characters.
const LONGEST_COMPARED: usize = 64;

/// The problems of one file.
pub(super) struct FileProblems<'a> {
    file: &'a Path,
    /// The first byte of each line.
    line_starts: Vec<usize>,
    found: Vec<(usize, String)>,
    more: usize,
}

impl<'a> FileProblems<'a> {
    pub(super) fn new(file: &'a Path, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file, line_starts: [0].into_iter().chain(breaks).collect(), found: Vec::new(), more: 0 }
    }

    /// Returns the line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Adds a problem on a line; 0 for the whole file.
    pub(super) fn add(&mut self, line: usize, problem: impl Into<String>) {
        let problem = (line, problem.into());
        if self.is_full() {
            self.more += 1;
        } else if !self.found.contains(&problem) {
            // Each file of for_each has the same.
            self.found.push(problem);
        }
    }

    /// Returns true if no more problems are kept, so that making their texts is not worth the time.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MOST
    }

    /// Returns true if there is no problem.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Makes the error of the file: the message has the first problem, the log has all of them.
    pub(super) fn into_error(self) -> Option<Error> {
        let Self { file, mut found, more, .. } = self;
        // Tasks are read before modules.
        found.sort_by_key(|(line, _)| *line);
        let show = |(line, problem): &(usize, String)| match line {
            0 => format!("{}: {problem}", file.display()),
            _ => format!("{}:{line}: {problem}", file.display()),
        };
        let first = Error::new(Kind::Params, show(found.first()?));
        let others = found.len() - 1 + more;
        if others == 0 {
            return Some(first);
        }
        let mut log: String = found.iter().map(|problem| format!("{}\n", show(problem))).collect();
        if more > 0 {
            log.push_str(&format!("and {more} more\n"));
        }
        let noun = if others == 1 { "mistake" } else { "mistakes" };
        Some(first.with_note(&format!("{others} more {noun} in this file")).with_log(log))
    }
}

/// Returns the end of a message about an unknown word: the candidate that looks most like it, if one does.
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    // The comparison takes time for each pair of characters.
    let short = |text: &str| text.chars().take(LONGEST_COMPARED).collect::<String>();
    let wanted = short(word);
    let likeness = |text: &str| strsim::normalized_damerau_levenshtein(&short(text), &wanted);
    let best = candidates.map(|text| (likeness(text), text)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= 0.4)
        .map_or(String::new(), |(_, text)| format!("; did you mean \"{text}\"?"))
}
