//! The logger of the command.

#![forbid(unsafe_code)]

use std::io::Write;

use dijitso::escape;

/// Writes the messages of the library to the standard error stream.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("dijitso")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let _ = writeln!(std::io::stderr(), "dijitso: {}", escape::lines(&text));
        }
    }

    fn flush(&self) {}
}

/// Shows messages of the library up to this level.
pub(super) fn install(level: log::LevelFilter) {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}
