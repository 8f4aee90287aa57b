//! Child processes that are the test program itself.

use std::process::Command;

/// Arguments that run one ignored test of a test program: the body of a child process.
pub(crate) fn arguments(test: &str) -> [&str; 5] {
    ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]
}

/// Starts this test program again for one ignored test.
#[allow(dead_code, reason = "some test programs run their children through another program")]
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments(test));
    command
}
