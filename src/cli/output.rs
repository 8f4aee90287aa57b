//! What the command writes: results to the standard output, the rest to the standard error stream.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;

pub(super) use crate::human::{age, count, size};

/// Headings and what else should stand out.
pub(super) const STRONG: Style = Style::new().bold();
/// Paths.
pub(super) const PATH: Style = AnsiColor::Magenta.on_default();
/// Numbers of lines.
pub(super) const NUMBER: Style = AnsiColor::Green.on_default();
/// What was looked for.
pub(super) const MATCH: Style = AnsiColor::Red.on_default().bold();
/// What failed.
const FAILED: Style = AnsiColor::Red.on_default().bold();

/// The standard output. A reader that goes away has seen enough: from then on nothing is written, and that is no error.
pub(super) struct Out {
    to: BufWriter<Box<dyn Write>>,
    colour: bool,
    /// Whether results are wanted as JSON.
    pub(super) json: bool,
    failure: Option<io::Error>,
}

impl Out {
    /// That of this process.
    pub(super) fn stdout(json: bool) -> Self {
        let stdout = io::stdout();
        let colour = !json && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self { to: BufWriter::new(Box::new(stdout.lock())), colour, json, failure: None }
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.attempt(|to| to.write_all(bytes));
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl Display) {
        self.attempt(|to| writeln!(to, "{text}"));
    }

    /// Writes a JSON document.
    pub(super) fn document(&mut self, json: &Json) {
        self.line(format_args!("{json:#}"));
    }

    /// Writes what has been collected, so that a reader sees it now.
    pub(super) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    /// Whether there is no use in writing more.
    pub(super) fn is_closed(&self) -> bool {
        self.failure.is_some()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut self.to).err();
        }
    }

    /// Writes what is left. An error if something that was to be read could not be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.flush();
        match self.failure.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// `text` in a colour, where there are colours.
    pub(super) fn paint(&self, style: Style, text: impl Display) -> String {
        paint(self.colour, style, text)
    }
}

fn paint(colour: bool, style: Style, text: impl Display) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_string() }
}

/// Says something that is not a result.
pub(super) fn note(text: &dyn Display) {
    let stderr = io::stderr();
    let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    let _ = writeln!(stderr.lock(), "{} {text}", paint(colour, FAILED, "dijitso:"));
}

/// Asks on the terminal. `None` when there is none.
pub(super) fn ask(question: &str) -> Option<bool> {
    let (stdin, stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return None;
    }
    let _ = write!(stderr.lock(), "{question} [y/N] ");
    let mut answer = String::new();
    let _ = stdin.read_line(&mut answer);
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// How far a long operation is, on terminals only; goes away when it is dropped.
pub(super) struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    shown: Option<Instant>,
    active: bool,
}

impl Progress {
    /// Of `total` steps.
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        Self { what, total, done: 0, shown: None, active: io::stderr().is_terminal() }
    }

    /// One step more.
    pub(super) fn step(&mut self) {
        const INTERVAL: Duration = Duration::from_millis(100);
        self.done += 1;
        if self.active && self.shown.is_none_or(|last| last.elapsed() >= INTERVAL) {
            // What takes no time needs no bar.
            if self.shown.replace(Instant::now()).is_some() {
                let _ = write!(io::stderr(), "\r{} {} of {}", self.what, self.done, self.total);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.active && self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// On which side the cells of a column begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a heading.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, which has a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it.
    pub(super) fn write(&self, out: &mut Out) {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
                cells.chain([self.columns[at].0.len()]).max().unwrap_or_default()
            })
            .collect();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let heading = self.aligned(&heading, &widths);
        out.line(out.paint(STRONG, heading));
        for row in &self.rows {
            out.line(self.aligned(row, &widths));
        }
    }

    fn aligned(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(&self.columns).zip(widths);
        let cells: Vec<String> = cells
            .map(|((cell, (_, align)), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    }
}

/// Seconds since 1970.
pub(super) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        let cells = ["å".to_owned(), "7".to_owned()];
        assert_eq!(table.aligned(&cells, &[4, 4]), "å        7");
    }

    #[test]
    fn colours_are_not_for_files() {
        assert_eq!(paint(false, MATCH, "x"), "x");
        assert_eq!(paint(true, STRONG, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
