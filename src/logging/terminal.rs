//! The line of standard error that is updated in place, if that is a terminal.
//!
//! It is written without the lock of [`std::io::stderr`]: a child that the host forks meanwhile must not find that
//! locked.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::signals::without_signals;

/// Goes to the begin of the line and removes what is after it.
const ERASE: &str = "\r\x1b[K";

/// True while a line is shown that other output has to remove.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Returns true if standard error is a terminal that understands more than plain text, and this program is in
/// its foreground.
#[must_use]
pub fn is_usable() -> bool {
    let stderr = io::stderr();
    let is_plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    if is_plain || !stderr.is_terminal() {
        return false;
    }
    match rustix::termios::tcgetpgrp(&stderr) {
        Ok(foreground) => foreground == rustix::process::getpgrp(),
        // It is not the controlling terminal of this program: jobs do not share it.
        Err(_) => true,
    }
}

/// Returns the columns of the terminal.
#[must_use]
pub fn columns() -> usize {
    const USUAL: usize = 80;
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(USUAL)
}

/// Shows a line in the place of the one that is shown.
pub fn show(line: &str) {
    SHOWN.store(true, Ordering::SeqCst);
    write(&format!("{ERASE}{line}"));
}

/// Removes the line, if one is shown.
pub fn clear() {
    if SHOWN.swap(false, Ordering::SeqCst) {
        write(ERASE);
    }
}

/// Returns true if the line is shown, and nothing else was written over it.
#[must_use]
pub fn is_shown() -> bool {
    SHOWN.load(Ordering::SeqCst)
}

/// Writes a line that stays, in the place of the one that is shown.
pub fn say(line: &str) {
    write_lines(&format!("{line}\n"));
}

/// Writes whole lines, after removing the one that is shown.
pub(super) fn write_lines(lines: &str) {
    if SHOWN.swap(false, Ordering::SeqCst) {
        write(&format!("{ERASE}{lines}"));
    } else {
        write(lines);
    }
}

/// Writes to standard error. An error is dropped: there is no other place to report it.
fn write(text: &str) {
    let stderr = io::stderr();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = without_signals(|| rustix::io::write(stderr.as_fd(), rest).map_err(io::Error::from));
        match written {
            Ok(0) => return,
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
