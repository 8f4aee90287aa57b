//! Environment variables as the library reads them: one that is empty is one that is not set.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;

/// The value of a variable, if it is set and not empty.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The directory for temporary files: `TMPDIR`, else `/tmp`. The standard library takes an empty one at its word, and
/// then no file can be made and no command be run.
#[must_use]
pub fn temp_dir() -> PathBuf {
    variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}
