//! The lines of earlier consoles.

#![forbid(unsafe_code)]

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustyline::Editor;
use rustyline::history::FileHistory;

use super::completion::ConsoleHelper;

/// The number of lines that are kept.
pub(super) const LINES: usize = 1000;

/// Returns the file, in the directory for the state of programs. `None` if there is no home directory.
pub(super) fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("dijitso").join("console_history"))
}

/// Writes the new lines to the file. A history that cannot be written is no reason to stop.
pub(super) fn append(editor: &mut Editor<ConsoleHelper, FileHistory>, path: &Path) {
    const PRIVATE: u32 = 0o700;
    let written = path
        .parent()
        .map_or(Ok(()), |folder| DirBuilder::new().recursive(true).mode(PRIVATE).create(folder))
        .map_err(Into::into)
        .and_then(|()| editor.append_history(path));
    if let Err(cause) = written {
        log::debug!("cannot write {}: {cause}", path.display());
    }
}
