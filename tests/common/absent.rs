//! Tests that cannot be tried on this machine.

#![allow(dead_code, reason = "no test program uses all of it")]

use std::io::Write;
use std::process::{Command, Stdio};

/// Returns whether a program can be started. If it cannot, prints that the test is skipped.
///
/// # Panics
/// If DIJITSO_TEST_MUST is 1: `tests/run` sets it and installs these programs.
pub(crate) fn has_program(program: &str) -> bool {
    let quiet = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if quiet.is_ok() {
        return true;
    }
    let must = std::env::var_os("DIJITSO_TEST_MUST").is_some_and(|value| value == "1");
    assert!(!must, "{program} is not installed, and DIJITSO_TEST_MUST is 1");
    skip(&format!("{program} is not installed"));
    false
}

/// Prints that a test is skipped, and why. Bypasses the test harness, which shows the output of failed tests
/// only.
pub(crate) fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
