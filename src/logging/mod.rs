//! What the library has to say, for hosts that have no logger of Rust's own.
//!
//! The crate logs through [`log`]. A Rust program installs a logger as it likes, and keeps it. For programs in other
//! languages [`install`] puts one in place, which the C interface does with its first call: records go to standard error,
//! to a file, or to a function of the host; besides, as lines of JSON, to a file for tools. The environment variable
//! `DIJITSO_LOG` says which, see [`options`].
//!
//! Every record carries the rank on which it was made, and the host. Of many ranks only the first one speaks: the others
//! keep to themselves what is less than an error, unless they are asked for it.

#![forbid(unsafe_code)]

pub mod options;
mod place;
pub mod progress;
mod sink;

use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use crate::error::{Error, Kind};
use crate::escape;
use crate::sync::recover;

use options::LogOptions;
pub use place::{RankScope, Voice, enter, is_chosen, speak};
use sink::{Events, Sink};

/// Details for those who look for a fault in the library.
pub const DEBUG: i32 = 10;
/// What the library does.
pub const INFO: i32 = 20;
/// Something is not as it should be, and the library has found a way.
pub const WARNING: i32 = 30;
/// Something has failed.
pub const ERROR: i32 = 40;
/// Above everything: as a level it means silence.
pub const OFF: i32 = 50;

/// The target of records that tell of a finished call: the file of events has them as events.
const FINISHED: &str = "dijitso::finished";

/// A record on its way to the host.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// [`DEBUG`], [`INFO`], [`WARNING`] or [`ERROR`].
    pub level: i32,
    /// One paragraph.
    pub message: &'a str,
    /// The module that speaks.
    pub target: &'a str,
    /// Rank and size of the communicator that is in use here, or was last; `None` where none is known.
    pub rank: Option<(usize, usize)>,
    /// The name of this host.
    pub host: &'a str,
}

/// A function of the host that takes records, from any thread.
pub type Handler = Arc<dyn Fn(&LogRecord<'_>) + Send + Sync>;

/// A finished call.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The name that was asked for.
    pub name: &'a str,
    /// How long the call took.
    pub seconds: f64,
    /// The signature, and how this rank got the library ("built"); or why there is none.
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
    /// Set while a handler runs on this thread: what it makes us say would never end.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

static LOGGING: OnceLock<Logging> = OnceLock::new();

/// Puts the logger in place, once; true if it is, false when the program has one of its own, which it keeps.
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

/// The level: what is below it is not shown.
pub fn level() -> i32 {
    install();
    LOGGING.get().map_or(WARNING, |logging| logging.level.load(Ordering::Relaxed))
}

/// Sets the level.
///
/// # Errors
/// [`Kind::State`] when the program has a logger of its own.
pub fn set_level(level: i32) -> crate::error::Result<()> {
    let logging = ours()?;
    logging.level.store(level, Ordering::Relaxed);
    log::set_max_level(logging.filter());
    Ok(())
}

/// Lets a function of the host have the records, in place of standard error or a file; `None` for these. When this
/// returns, the former function is not running any more and will not be called again.
///
/// # Errors
/// [`Kind::State`] when the program has a logger of its own, or from within a handler.
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

/// Tells of a finished call, in the log and in the file of events. Answers from memory are not worth it.
pub fn finished(call: &Finished<'_>) {
    let logging = LOGGING.get();
    if let Some(logging) = logging
        && let Some(events) = &logging.events
    {
        events.finished(call, place::here(), &logging.host);
    }
    match call.outcome {
        Ok((signature, how)) => {
            log::info!(target: FINISHED, "{signature}: {how} in {:.3} s", call.seconds);
        }
        Err(error) if concerns_us(error) => {
            // The host gets the error and prints it: at the default level it is not printed by the log as well.
            log::info!(target: FINISHED, "\"{}\" failed: {}", call.name, error.message_without_place());
        }
        Err(_) => {}
    }
}

/// All ranks get the same error, and one of them tells it.
fn concerns_us(error: &Error) -> bool {
    let rank = place::here().map_or(0, |(rank, _)| rank);
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

    /// Below this nobody wants anything.
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

    fn deliver(&self, record: &LogRecord<'_>) {
        if let Some(events) = &self.events
            && record.target != FINISHED
        {
            events.record(record);
        }
        if record.level < self.level.load(Ordering::Relaxed) {
            return;
        }
        // The lock is held while the handler runs, so that whoever changes it knows when the old one is done.
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

impl log::Log for Logging {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let ours = metadata.target().split("::").next() == Some("dijitso");
        ours && number(metadata.level()) >= self.threshold()
    }

    fn log(&self, record: &log::Record<'_>) {
        /// Ends the turn even when a handler panics.
        struct Turn;
        impl Drop for Turn {
            fn drop(&mut self) {
                BUSY.set(false);
            }
        }
        if !self.enabled(record.metadata()) || BUSY.replace(true) {
            return;
        }
        let _turn = Turn;
        let message = record.args().to_string();
        let message = escape::paragraph(&message);
        self.deliver(&LogRecord {
            level: number(record.level()),
            message: &message,
            target: record.target(),
            rank: place::here(),
            host: &self.host,
        });
    }

    fn flush(&self) {
        let _ = std::io::stderr().flush();
    }
}

#[cfg(test)]
mod tests;
