//! Destinations of records: lines for people, lines of JSON for tools.
//!
//! ```text
//! line  := "dijitso " level " [" place "]: " message     place: "rank 2 of 8 on node1", or the host alone
//!        | "dijitso [" place "]: " message               about a build that takes long
//! event := { "event": "log" | "library" | "failure",
//!            "time": seconds since 1970, "pid", "host", "rank" and "ranks": numbers or null,
//!            log:      "level", "target", "message"
//!            library:  "name", "signature", "origin", "seconds"
//!            failure:  "name", "status", "message", "seconds", "failed_rank", "path" }
//! ```
//! A line is written by one call, at the end of the file, so that several processes may share it.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::fsutil;
use crate::signals::without_signals;

use super::{DEBUG, ERROR, Finished, INFO, LogRecord, WARNING, terminal};

/// Returns the name of a level.
pub(super) fn name(level: i32) -> &'static str {
    [(DEBUG, "debug"), (INFO, "info"), (WARNING, "warning"), (ERROR, "error")]
        .iter()
        .find(|(limit, _)| level <= *limit)
        .map_or("critical", |(_, name)| name)
}

/// The destination of lines for people.
pub(super) enum Sink {
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(File),
}

impl Sink {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fsutil::open_log(path).map(Self::File)
    }

    /// Writes a line. An error is dropped: there is no other place to report it.
    pub(super) fn write(&self, record: &LogRecord<'_>) {
        self.write_line(&line(record));
    }

    /// Writes a line about a build that takes long, which is no problem of any level.
    pub(super) fn write_progress(&self, record: &LogRecord<'_>) {
        self.write_line(&format!("dijitso [{}]: {}\n", place(record), record.message));
    }

    fn write_line(&self, line: &str) {
        match self {
            Self::Stderr => terminal::write_lines(line),
            Self::File(file) => {
                let _ = without_signals(|| (&*file).write_all(line.as_bytes()));
            }
        }
    }
}

pub(super) fn line(record: &LogRecord<'_>) -> String {
    format!("dijitso {} [{}]: {}\n", name(record.level), place(record), record.message)
}

fn place(record: &LogRecord<'_>) -> String {
    match record.rank {
        Some((rank, size)) => format!("rank {rank} of {size} on {}", record.host),
        None => record.host.to_owned(),
    }
}

/// The file of lines of JSON for tools.
pub(super) struct Events(File);

impl Events {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fsutil::open_log(path).map(Self)
    }

    pub(super) fn record(&self, record: &LogRecord<'_>) {
        let of_record = json!({
            "event": "log",
            "level": name(record.level),
            "target": record.target,
            "message": record.message,
        });
        self.write(of_record, record.rank, record.host);
    }

    pub(super) fn finished(&self, call: &Finished<'_>, rank: Option<(usize, usize)>, host: &str) {
        let of_call = match call.outcome {
            Ok((signature, origin)) => json!({
                "event": "library",
                "name": call.name,
                "signature": signature,
                "origin": origin,
                "seconds": call.seconds,
            }),
            Err(error) => json!({
                "event": "failure",
                "name": call.name,
                "status": error.kind().code(),
                "message": error.message(),
                "path": error.path(),
                "failed_rank": usize::try_from(error.rank()).ok(),
                "seconds": call.seconds,
            }),
        };
        self.write(of_call, rank, host);
    }

    fn write(&self, event: Value, rank: Option<(usize, usize)>, host: &str) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fields = Map::new();
        fields.insert("time".to_owned(), json!(time.as_secs_f64()));
        fields.insert("host".to_owned(), json!(host));
        fields.insert("pid".to_owned(), json!(std::process::id()));
        fields.insert("rank".to_owned(), json!(rank.map(|(rank, _)| rank)));
        fields.insert("ranks".to_owned(), json!(rank.map(|(_, size)| size)));
        if let Value::Object(own) = event {
            fields.extend(own);
        }
        let mut line = Value::Object(fields).to_string();
        line.push('\n');
        let _ = without_signals(|| (&self.0).write_all(line.as_bytes()));
    }
}
