//! Environment variables. The library treats an empty one as not set.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;

/// Returns the value of a variable, if it is set and not empty.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the directory for temporary files: `TMPDIR`, else `/tmp`. The standard library would use an empty
/// `TMPDIR`, and then no file could be made and no command be run.
#[must_use]
pub fn temp_dir() -> PathBuf {
    variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}
