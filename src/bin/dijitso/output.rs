//! The output of the command: results to the standard output, messages to the standard error stream.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Display, Write as _};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use dijitso::escape;
pub(super) use dijitso::human::{age, count, size};

/// The style of headings.
pub(super) const STRONG: Style = Style::new().bold();
/// The style of paths.
pub(super) const PATH: Style = AnsiColor::Magenta.on_default();
/// The style of line numbers.
pub(super) const NUMBER: Style = AnsiColor::Green.on_default();
/// The style of matches.
pub(super) const MATCH: Style = AnsiColor::Red.on_default().bold();
/// The style of what is done.
pub(super) const DONE: Style = AnsiColor::Green.on_default();
/// The style of what is at work.
pub(super) const BUSY: Style = AnsiColor::Cyan.on_default();
/// The style of what something else holds up.
pub(super) const BLOCKED: Style = AnsiColor::Yellow.on_default();
/// The style of error messages and of what has failed.
pub(super) const FAILED: Style = AnsiColor::Red.on_default().bold();

/// The standard output. If the reader closes a pipe, the rest is dropped without an error.
///
/// On a terminal, control characters are escaped: the text of an entry may come from anywhere.
pub(super) struct Out {
    to: BufWriter<Box<dyn Write>>,
    colour: bool,
    terminal: bool,
    /// Set while a colour code of the command is written, which is not escaped.
    own: Rc<Cell<bool>>,
    /// Writes results as JSON if true.
    pub(super) json: bool,
    failure: Option<io::Error>,
}

impl Out {
    /// Returns the standard output of this process.
    pub(super) fn stdout(json: bool) -> Self {
        let stdout = io::stdout();
        let colour = !json && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let terminal = stdout.is_terminal();
        Self::new(Box::new(stdout.lock()), terminal, colour, json)
    }

    fn new(to: Box<dyn Write>, terminal: bool, colour: bool, json: bool) -> Self {
        Self { to: BufWriter::new(to), colour, terminal, own: Rc::default(), json, failure: None }
    }

    /// Writes bytes unchanged, also to a terminal.
    ///
    /// # Errors
    /// The first error of this output.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.attempt(|to| to.write_all(bytes));
        match &self.failure {
            Some(error) => {
                Err(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
            }
            None => Ok(()),
        }
    }

    /// Writes a part of a file, which need not be text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let bytes = if self.terminal { escape::bytes(bytes) } else { Cow::Borrowed(bytes) };
        self.attempt(|to| to.write_all(&bytes));
    }

    /// Writes a part of a line.
    pub(super) fn text(&mut self, text: impl Display) {
        let (terminal, own) = (self.terminal, Rc::clone(&self.own));
        self.attempt(|to| {
            if !terminal {
                return write!(to, "{text}");
            }
            let mut escaping = Escaping { to, own: &own, failure: None };
            match (write!(escaping, "{text}"), escaping.failure) {
                (Err(_), Some(error)) => Err(error),
                (Err(_), None) => Err(io::Error::other("a text that cannot be shown")),
                (Ok(()), _) => Ok(()),
            }
        });
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl Display) {
        self.text(text);
        self.attempt(|to| to.write_all(b"\n"));
    }

    /// Writes a heading, shortened to the columns of a terminal.
    pub(super) fn title(&mut self, text: &str) {
        let text = shortened(text, self.columns().unwrap_or(usize::MAX), true);
        self.line(self.paint(STRONG, text));
    }

    /// Writes a JSON document.
    pub(super) fn document(&mut self, json: &Json) {
        let text = format!("{json:#}");
        self.line(escape::json(&text));
    }

    /// Writes buffered output, so that a reader sees it now.
    pub(super) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    /// Returns the number of columns of the terminal; `None` if this output is none.
    pub(super) fn columns(&self) -> Option<usize> {
        self.terminal.then(|| columns_of(io::stdout()))
    }

    /// Returns whether an earlier write failed, so that nothing more is written.
    pub(super) fn is_closed(&self) -> bool {
        self.failure.is_some()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut self.to).err();
        }
    }

    /// Returns whether the reader has closed the pipe.
    pub(super) fn has_lost_reader(&self) -> bool {
        self.failure.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Writes buffered output.
    ///
    /// # Errors
    /// The first error of this output, except a closed pipe.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.flush();
        match self.failure.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns `text` in a style, if this output has colours.
    pub(super) fn paint(&self, style: Style, text: impl Display) -> Painted {
        let own = (self.colour && style != Style::new()).then(|| Rc::clone(&self.own));
        Painted { style, text: text.to_string(), own }
    }
}

/// A text in a style, for [`Out::text`], which escapes the codes in the text but not those of the style.
pub(super) struct Painted {
    style: Style,
    text: String,
    /// `None` if the output has no colours.
    own: Option<Rc<Cell<bool>>>,
}

impl Display for Painted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, text, own } = self;
        let Some(own) = own else { return f.write_str(text) };
        own.set(true);
        let begin = write!(f, "{style}");
        own.set(false);
        let shown = begin.and_then(|()| f.write_str(text));
        own.set(true);
        let end = write!(f, "{style:#}");
        own.set(false);
        shown.and(end)
    }
}

/// Writes to a terminal. Escapes every control character except the colour codes of the command.
struct Escaping<'a> {
    to: &'a mut dyn Write,
    own: &'a Cell<bool>,
    failure: Option<io::Error>,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = if self.own.get() { Cow::Borrowed(text) } else { escape::lines(text) };
        self.to.write_all(text.as_bytes()).map_err(|error| {
            self.failure = Some(error);
            fmt::Error
        })
    }
}

/// Returns the number of columns of the terminal of the standard error stream.
pub(super) fn stderr_columns() -> usize {
    columns_of(io::stderr())
}

fn columns_of(terminal: impl std::os::fd::AsFd) -> usize {
    const USUAL: usize = 80;
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(USUAL)
}

/// Writes a message to the standard error stream.
pub(super) fn note(text: &dyn Display) {
    let stderr = io::stderr();
    let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    let style = if colour { FAILED } else { Style::new() };
    let text = text.to_string();
    let _ = writeln!(stderr.lock(), "{style}dijitso:{style:#} {}", escape::lines(&text));
}

/// Asks a question on the terminal. `None` if there is no terminal.
pub(super) fn ask(question: &str) -> Option<bool> {
    let (stdin, stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return None;
    }
    let _ = write!(stderr.lock(), "{} [y/N] ", escape::lines(question));
    let mut answer = String::new();
    let _ = stdin.read_line(&mut answer);
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The progress of a long operation: a bar on a terminal, which the drop clears; otherwise nothing.
pub(super) struct ProgressBar {
    bar: Option<indicatif::ProgressBar>,
    /// Nothing is shown before: most operations are short.
    begin: Instant,
    what: &'static str,
    done: usize,
    total: usize,
}

impl ProgressBar {
    /// Returns the progress of an operation with `total` steps.
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let target = indicatif::ProgressDrawTarget::stderr_with_hz(10);
            let bar = indicatif::ProgressBar::with_draw_target(None, target);
            let template = match stderr_columns() {
                0..50 => "{prefix} {pos}/{len} {msg}",
                _ => "{prefix} {bar:20.green/dim} {pos}/{len} {msg}",
            };
            let style = indicatif::ProgressStyle::with_template(template);
            bar.set_style(
                style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()).progress_chars("━╸─"),
            );
            bar
        });
        Self { bar, begin: Instant::now(), what, done: 0, total }
    }

    /// Counts one more step.
    pub(super) fn step(&mut self) {
        self.at(self.what, self.done + 1, self.total, 0);
    }

    /// Shows the number of steps done and bytes written. A short operation shows nothing.
    pub(super) fn at(&mut self, what: &'static str, done: usize, total: usize, bytes: u64) {
        const SHORT: Duration = Duration::from_millis(100);
        (self.what, self.done, self.total) = (what, done, total);
        let Some(bar) = self.bar.as_ref().filter(|_| self.begin.elapsed() >= SHORT) else { return };
        bar.set_prefix(what);
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(if bytes > 0 { size(bytes) } else { String::new() });
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    }
}

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// The blanks between columns.
const BETWEEN: &str = "  ";

/// A table with a heading.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// Returns a table with these columns.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.styled_row(cells.into_iter().map(|cell| (cell, Style::new())).collect());
    }

    /// Adds a row with a cell and its style for each column.
    pub(super) fn styled_row(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells);
    }

    /// Replaces the last cells by shorter ones, so that the table fits into a number of columns. `shorten` gets
    /// the row and the width for its last cell, which is at least `least`.
    pub(super) fn fit_last(
        &mut self,
        columns: usize,
        least: usize,
        shorten: impl Fn(usize, usize) -> String,
    ) {
        let widths = self.widths();
        let before: usize = widths[..widths.len() - 1].iter().map(|width| width + BETWEEN.len()).sum();
        let room = columns.saturating_sub(before).max(least);
        for (at, row) in self.rows.iter_mut().enumerate() {
            if let Some((text, _)) = row.last_mut().filter(|(text, _)| text.width() > room) {
                *text = shorten(at, room);
            }
        }
    }

    /// Returns the columns of a terminal that the table takes.
    pub(super) fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + BETWEEN.len() * (widths.len() - 1)
    }

    /// Shortens cells of columns, one column after the other, until the table fits into a number of columns of a
    /// terminal. `which` has their places, each with the width that stays at least.
    pub(super) fn fit(&mut self, columns: usize, which: &[(usize, usize)]) {
        for (at, least) in which {
            let Some(excess) = self.width().checked_sub(columns).filter(|excess| *excess > 0) else { return };
            let room = self.widths()[*at].saturating_sub(excess).max(*least);
            for row in &mut self.rows {
                if let Some((text, _)) = row.get_mut(*at) {
                    *text = shortened(text, room, false).into_owned();
                }
            }
        }
    }

    /// Writes the table.
    pub(super) fn write(&self, out: &mut Out) {
        self.write_heading(out);
        self.write_rows(out);
    }

    /// Writes the table, with a line below each row that has one.
    pub(super) fn write_with(&self, below: impl Iterator<Item = Option<String>>, out: &mut Out) {
        self.write_heading(out);
        let widths = self.widths();
        for (row, below) in self.rows.iter().zip(below) {
            self.write_row(row, &widths, out);
            below.into_iter().for_each(|line| out.line(line));
        }
    }

    /// Writes the table without its heading.
    pub(super) fn write_rows(&self, out: &mut Out) {
        let widths = self.widths();
        self.rows.iter().for_each(|row| self.write_row(row, &widths, out));
    }

    fn write_heading(&self, out: &mut Out) {
        let heading: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        out.line(out.paint(STRONG, self.aligned(&heading, &self.widths()).join(BETWEEN)));
    }

    fn write_row(&self, row: &[(String, Style)], widths: &[usize], out: &mut Out) {
        let texts: Vec<&str> = row.iter().map(|(text, _)| text.as_str()).collect();
        for (at, (text, (_, style))) in self.aligned(&texts, widths).iter().zip(row).enumerate() {
            let between = if at > 0 { BETWEEN } else { "" };
            out.text(format_args!("{between}{}", out.paint(*style, text)));
        }
        out.line("");
    }

    /// Returns the width of each column.
    fn widths(&self) -> Vec<usize> {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| Some(row.get(at)?.0.width()));
            cells.chain([self.columns[at].0.len()]).max().unwrap_or_default()
        };
        (0..self.columns.len()).map(widest).collect()
    }

    /// Returns the cells of a line, filled up with blanks. Nothing follows the last text.
    fn aligned(&self, cells: &[&str], widths: &[usize]) -> Vec<String> {
        let end = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        let fill = |at: usize| {
            let blanks = " ".repeat(widths[at].saturating_sub(cells[at].width()));
            match self.columns[at].1 {
                Align::Right => format!("{blanks}{}", cells[at]),
                Align::Left if at + 1 == end => cells[at].to_owned(),
                Align::Left => format!("{}{blanks}", cells[at]),
            }
        };
        (0..end).map(fill).collect()
    }
}

/// Shortens a text to a number of columns: dots stand for its middle, or for its end.
pub(super) fn shortened(text: &str, columns: usize, keep_end: bool) -> Cow<'_, str> {
    const DOTS: &str = "...";
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(DOTS.len());
    let tail = if keep_end { room / 2 } else { 0 };
    let begin = fitting(text.chars(), room - tail);
    let end = fitting(text.chars().rev(), tail);
    Cow::Owned(format!("{begin}{DOTS}{}", end.chars().rev().collect::<String>()))
}

/// Returns the first characters that fit into a number of columns.
fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or_default();
        taken <= columns
    };
    chars.take_while(fits).collect()
}

/// Returns the seconds since 1970.
pub(super) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Keeps what a test writes.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct KeptOutput(Rc<std::cell::RefCell<Vec<u8>>>);

#[cfg(test)]
impl KeptOutput {
    /// Takes the text that was written since the last time.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

#[cfg(test)]
impl Write for KeptOutput {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Out {
    /// Returns an output that a test reads.
    pub(super) fn kept(terminal: bool, colour: bool, json: bool) -> (Self, KeptOutput) {
        let kept = KeptOutput::default();
        (Self::new(Box::new(kept.clone()), terminal, colour, json), kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        assert_eq!(table.aligned(&["å", "7"], &[4, 4]).join("  "), "å        7");
        assert_eq!(table.aligned(&["格", "7"], &[4, 4]).join("  "), "格       7");
        assert_eq!(table.aligned(&["å", ""], &[4, 4]).join("  "), "å");
    }

    #[test]
    fn a_table_fits_if_its_columns_can_be_shortened() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("BY", Align::Left)]);
        let row = |name: &str, by: &str| vec![name.to_owned(), "7 B".to_owned(), by.to_owned()];
        table.row(row("poisson_0123456789", "gcc 12.2.0"));
        table.row(row("mass", "clang"));
        let widths = |table: &Table| table.widths();
        table.fit(36, &[(0, 8), (2, 5)]);
        assert_eq!(widths(&table), [18, 4, 10], "it fits");
        table.fit(30, &[(0, 8), (2, 5)]);
        assert_eq!((widths(&table), table.rows[0][0].0.as_str()), (vec![12, 4, 10], "poisson_0..."));
        table.fit(20, &[(0, 8), (2, 5)]);
        assert_eq!(widths(&table), [8, 4, 5], "no shorter than allowed, nor than the heading");
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(shortened("poisson_17", 10, true), "poisson_17");
        assert_eq!(shortened("poisson_170", 10, true), "pois...170");
        assert_eq!(shortened("poisson_170", 10, false), "poisson...");
        assert_eq!(shortened("格格格格格格", 9, true), "格...格");
        assert_eq!(shortened("abcdef", 2, true), "...");
    }

    #[test]
    fn colours_are_not_for_files() {
        assert_eq!(shown(false, false, |out| out.text(out.paint(MATCH, "x"))), "x");
        assert_eq!(shown(false, true, |out| out.text(out.paint(STRONG, "x"))), "\u{1b}[1mx\u{1b}[0m");
    }

    /// Returns the bytes that `write` writes to an output.
    fn shown(terminal: bool, colour: bool, write: impl FnOnce(&mut Out)) -> String {
        let (mut out, kept) = Out::kept(terminal, colour, false);
        write(&mut out);
        out.finish().unwrap();
        kept.text()
    }

    #[test]
    fn a_terminal_gets_no_codes_but_those_of_colours() {
        let hostile = "a\u{1b}[1m\rb\u{9b}2J\tc";
        let all = |out: &mut Out| {
            out.line(format_args!("{hostile} {}", out.paint(STRONG, hostile)));
            out.bytes(hostile.as_bytes());
        };
        let safe = "a\\x1b[1m\\rb\\x9b2J\tc";
        assert_eq!(shown(true, true, all), format!("{safe} \u{1b}[1m{safe}\u{1b}[0m\n{safe}"));
        assert_eq!(shown(true, false, all), format!("{safe} {safe}\n{safe}"));
        assert_eq!(shown(false, false, all), format!("{hostile} {hostile}\n{hostile}"));
    }
}
