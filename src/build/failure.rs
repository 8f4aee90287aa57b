//! The folder that reproduces a failed build. It can be moved.
//!
//! ```text
//! jitfailure-<signature>/
//!     <source>  <header>      as they were handed to the compiler
//!     include/  lib/          headers and libraries of the dependencies
//!     error.log               output of the compiler
//!     recompile.sh            the command, to be run from anywhere
//!     README
//! ```

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fsutil::{self, Folder};

use super::command::{self, Dirs};
use super::{Job, modules};

/// Writes the folder, and removes an older one of the same signature.
pub(super) fn keep(job: &Job<'_>, argv: &[String], what: &str, output: &str) -> Result<()> {
    let target = job.failure_dir;
    let root = target.parent().unwrap_or(Path::new("."));
    let cannot = |error| Error::io("no folder to reproduce the failure: cannot write", target, &error);
    fsutil::create_dirs(root).map_err(cannot)?;
    let staged = fsutil::unguarded_dir(root).map_err(cannot)?;
    fill(staged.path(), job, argv, what, output).map_err(cannot)?;
    // Another rank may do the same at the same time: either folder will do. While it removes an older folder, that
    // looks like one of another program.
    let removed = (1..REMOVALS).find_map(|_| {
        let removed = remove(root, target).ok();
        removed.or_else(|| {
            std::thread::sleep(REMOVAL_PAUSE);
            None
        })
    });
    removed.map_or_else(|| remove(root, target), Ok).map_err(cannot)?;
    match fs::rename(staged.path(), target) {
        Ok(()) => {
            // The folder was renamed: there is nothing to remove.
            let _ = staged.keep();
            Ok(())
        }
        Err(_) if target.join(SCRIPT).is_file() => Ok(()),
        Err(error) => Err(cannot(error)),
    }
}

/// Removes an older failure folder. Refuses to remove any other folder.
fn remove(root: &Path, target: &Path) -> std::io::Result<()> {
    let Some(name) = target.file_name() else { return Ok(()) };
    let folder = Folder::writable(root)?;
    let is_ours = match folder.sub(name)? {
        Some(older) => older.metadata(OsStr::new(SCRIPT))?.is_some_and(|facts| facts.is_file()),
        None => return Ok(()),
    };
    if !is_ours {
        let text = format!("the folder has no {SCRIPT}, so it is not from dijitso; move it elsewhere");
        return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, text));
    }
    folder.remove_all(name).map(drop)
}

const SCRIPT: &str = "recompile.sh";

/// Attempts to remove an older folder, with pauses between them.
const REMOVALS: usize = 10;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

fn fill(dir: &Path, job: &Job<'_>, argv: &[String], what: &str, output: &str) -> std::io::Result<()> {
    for (name, text) in [Some(job.source), job.header].into_iter().flatten() {
        fsutil::write(&dir.join(name), text)?;
    }
    modules::unpack(job, dir)?;
    for subdir in ["include", "lib"] {
        fs::create_dir(dir.join(subdir))?;
    }
    if let Some(copies) = &job.copies {
        copies.write(dir, ["include", "lib"]).map_err(|error| std::io::Error::other(error.to_string()))?;
    }
    for file in job.repro_files.iter().filter(|_| job.copies.is_none()) {
        let subdir = if file.starts_with(job.cache_dirs.1) { "lib" } else { "include" };
        // A dependency may have no header. Copying a FIFO would block until it is written.
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            let _ = fsutil::copy(file, &dir.join(subdir).join(name));
        }
    }
    fsutil::write(&dir.join("error.log"), output)?;
    let here = Dirs { include: "include".to_owned(), library: "lib".to_owned() };
    let local = command::argv(job.params, &[], job.source.0, job.library, job.dependencies, &here);
    let script = format!(
        "#!/bin/sh\n\
         # Builds {signature} again, with the files beside this script.\n\
         cd \"$(dirname \"$0\")\" || exit 1\n\
         exec {command}\n",
        signature = job.signature,
        command = crate::process::join(&local),
    );
    let path = dir.join(SCRIPT);
    fsutil::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    let readme = format!(
        "Building {signature} failed: {what}\n\n\
         This command was run:\n\n    {command}\n\n\
         error.log   its output\n\
         recompile.sh   builds again from the files in this folder, which can be moved\n",
        signature = job.signature,
        command = crate::process::join(argv),
    );
    fsutil::write(&dir.join("README"), readme)
}
