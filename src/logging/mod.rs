//! Log records for hosts that have no logger of Rust's own.
//!
//! The crate logs through [`log`]. A Rust program installs a logger as it likes, and keeps it. For programs
//! in other languages the first call of the C interface installs one ([`install`]): records go to standard
//! error, to a file, or to a function of the host, and also as lines of JSON to a file for tools. The
//! environment variable `DIJITSO_LOG` selects them, see [`options`].
//!
//! Every record carries its rank and host. Ranks other than the first show errors only, unless `DIJITSO_LOG`
//! has `ranks=all`.

#![forbid(unsafe_code)]

pub mod options;
mod place;
pub mod progress;
mod sink;
pub mod terminal;

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use crate::error::{Error, Kind};
use crate::escape;
use crate::sync::recover;

use options::LogOptions;
pub use place::{RankScope, ReportScope, Voice, enter, here, is_chosen, report, speak};
use sink::{Events, Sink};

/// Details for finding a fault in the library.
pub const DEBUG: i32 = 10;
/// Steps of the library.
pub const INFO: i32 = 20;
/// A problem that the library works around.
pub const WARNING: i32 = 30;
/// A failure.
pub const ERROR: i32 = 40;
/// Above all levels: shows nothing.
pub const OFF: i32 = 50;

/// The target of records about a finished call. The file of events has an event of its own for each.
const FINISHED: &str = "dijitso::finished";

/// The target of records about builds that take long.
const TARGET: &str = "dijitso::progress";

/// A record on its way to the host.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// [`DEBUG`], [`INFO`], [`WARNING`] or [`ERROR`].
    pub level: i32,
    /// One paragraph.
    pub message: &'a str,
    /// The module that logs.
    pub target: &'a str,
    /// Rank and size of the communicator in use; else of the largest that this process has used; `None`
    /// without one.
    pub rank: Option<(usize, usize)>,
    /// The name of this host.
    pub host: &'a str,
}

/// A function of the host that takes records, from any thread.
pub type Handler = Arc<dyn Fn(&LogRecord<'_>) + Send + Sync>;

/// A finished call.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The requested name.
    pub name: &'a str,
    /// Duration of the call.
    pub seconds: f64,
    /// The signature and how this rank got the library ("built"), or the error.
    pub outcome: Result<(&'a str, &'a str), &'a Error>,
}

/// The logger of programs that have no other.
struct Logging {
    level: AtomicI32,
    all_ranks: bool,
    sink: Sink,
    events: Option<Events>,
    handler: RwLock<Option<Handler>>,
    host: String,
}

thread_local! {
    /// Set while a handler runs on this thread. Records that the handler causes are dropped, or it would
    /// never end.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

static LOGGING: OnceLock<Logging> = OnceLock::new();

/// Installs the logger, once. Returns false if the program has a logger of its own, which stays.
pub fn install() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    if let Some(ours) = OURS.get() {
        return *ours;
    }
    let mut complaints = Vec::new();
    let logging = LOGGING.get_or_init(|| {
        let text = std::env::var_os(options::VARIABLE).unwrap_or_default();
        let (options, unclear) = LogOptions::parse(&text.to_string_lossy());
        complaints = unclear;
        Logging::new(&options, &mut complaints)
    });
    let ours = *OURS.get_or_init(|| log::set_logger(logging).is_ok());
    if ours {
        log::set_max_level(logging.filter());
    }
    for complaint in complaints {
        log::warn!("{}: {complaint}", options::VARIABLE);
    }
    ours
}

/// Returns the level. Records below it are not shown.
pub fn level() -> i32 {
    install();
    LOGGING.get().map_or(WARNING, |logging| logging.level.load(Ordering::Relaxed))
}

/// Sets the level. Records below it are not shown.
///
/// # Errors
/// [`Kind::State`] if the program has a logger of its own.
pub fn set_level(level: i32) -> crate::error::Result<()> {
    let logging = ours()?;
    logging.level.store(level, Ordering::Relaxed);
    log::set_max_level(logging.filter());
    Ok(())
}

/// Passes records to a function of the host instead of standard error or a file; `None` restores these. When
/// this returns, the previous function no longer runs and is never called again.
///
/// # Errors
/// [`Kind::State`] if the program has a logger of its own, or a handler calls this.
pub fn set_handler(handler: Option<Handler>) -> crate::error::Result<()> {
    let logging = ours()?;
    if BUSY.get() {
        return Err(Error::new(Kind::State, "a log handler calls the library, which it must not do"));
    }
    *recover(logging.handler.write()) = handler;
    Ok(())
}

fn ours() -> crate::error::Result<&'static Logging> {
    let text = "this program has a logger of its own (the crate log), which takes the records";
    let ours = install();
    LOGGING.get().filter(|_| ours).ok_or_else(|| Error::new(Kind::State, text))
}

/// Logs a finished call, and writes it to the file of events. Memory hits are not logged.
pub fn finished(call: &Finished<'_>) {
    let logging = LOGGING.get();
    if let Some(logging) = logging
        && let Some(events) = &logging.events
    {
        events.finished(call, here(), &logging.host);
    }
    match call.outcome {
        Ok((signature, origin)) => {
            log::info!(target: FINISHED, "{signature}: {origin} in {:.3} s", call.seconds);
        }
        Err(error) if is_logged_here(error) => {
            // The host gets the error and prints it: at the default level it is not printed by the log as
            // well.
            log::info!(target: FINISHED, "\"{}\" failed: {}", call.name, error.message_without_place());
        }
        Err(_) => {}
    }
}

/// Returns true on the one rank that logs an error: all ranks get the same one.
fn is_logged_here(error: &Error) -> bool {
    let rank = here().map_or(0, |(rank, _)| rank);
    usize::try_from(error.rank()).map_or(rank == 0, |at| at == rank)
}

impl Logging {
    fn new(options: &LogOptions, complaints: &mut Vec<String>) -> Self {
        let events = options.events.as_deref().and_then(|path| {
            let cannot = |error| complaints.push(format!("cannot write {}: {error}", path.display()));
            Events::open(path).map_err(cannot).ok()
        });
        let sink = options.file.as_deref().map_or(Ok(Sink::Stderr), Sink::open).unwrap_or_else(|error| {
            complaints.push(format!("cannot write the file that it names: {error}"));
            Sink::Stderr
        });
        Self {
            level: AtomicI32::new(options.level),
            all_ranks: options.all_ranks,
            sink,
            events,
            handler: RwLock::new(None),
            host: crate::host_name(),
        }
    }

    /// The level below which no record is needed.
    fn threshold(&self) -> i32 {
        let level = self.level.load(Ordering::Relaxed);
        if self.events.is_some() { level.min(INFO) } else { level }
    }

    fn filter(&self) -> log::LevelFilter {
        use log::LevelFilter::{Debug, Error, Info, Off, Warn};
        let threshold = self.threshold();
        [(DEBUG, Debug), (INFO, Info), (WARNING, Warn), (ERROR, Error)]
            .iter()
            .find(|(limit, _)| threshold <= *limit)
            .map_or(Off, |(_, filter)| *filter)
    }

    fn level(&self) -> i32 {
        self.level.load(Ordering::Relaxed)
    }

    fn has_handler(&self) -> bool {
        recover(self.handler.read()).is_some()
    }

    fn deliver(&self, record: &LogRecord<'_>) {
        if let Some(events) = &self.events
            && record.target != FINISHED
        {
            events.record(record);
        }
        if record.level < self.level.load(Ordering::Relaxed) {
            return;
        }
        // The lock is held while the handler runs, so that `set_handler` returns after the old one is done.
        let handler = recover(self.handler.read());
        match &*handler {
            Some(handler) => handler(record),
            None if record.level >= ERROR || self.all_ranks || place::speaks() => self.sink.write(record),
            None => {}
        }
    }
}

fn number(level: log::Level) -> i32 {
    match level {
        log::Level::Error => ERROR,
        log::Level::Warn => WARNING,
        log::Level::Info => INFO,
        log::Level::Debug | log::Level::Trace => DEBUG,
    }
}

/// Marks this thread as logging. A handler that logs would never end.
struct Busy;

impl Busy {
    fn begin() -> Option<Self> {
        (!BUSY.replace(true)).then_some(Self)
    }
}

impl Drop for Busy {
    /// Also if a handler panics.
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// Delivers a record about progress, whatever the rank: its thread was chosen to report. People who have seen it
/// on the terminal get it only in files for tools.
fn progress_record(text: &str, is_shown: bool) {
    let Some(logging) = LOGGING.get().filter(|_| install()) else {
        log::warn!(target: TARGET, "{text}");
        return;
    };
    // The program may be about to end, and its handler gone.
    if log::max_level() < log::LevelFilter::Warn {
        return;
    }
    let Some(_busy) = Busy::begin() else { return };
    let message = escape::paragraph(text);
    let rank = here();
    let record = LogRecord { level: WARNING, message: &message, target: TARGET, rank, host: &logging.host };
    if let Some(events) = &logging.events {
        events.record(&record);
    }
    if is_shown || logging.level() > WARNING {
        return;
    }
    match &*recover(logging.handler.read()) {
        Some(handler) => handler(&record),
        None => logging.sink.write_progress(&record),
    }
}

impl log::Log for Logging {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let ours = metadata.target().split("::").next() == Some("dijitso");
        ours && number(metadata.level()) >= self.threshold()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(_busy) = Busy::begin() else { return };
        let message = record.args().to_string();
        let message = escape::paragraph(&message);
        self.deliver(&LogRecord {
            level: number(record.level()),
            message: &message,
            target: record.target(),
            rank: here(),
            host: &self.host,
        });
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests;
