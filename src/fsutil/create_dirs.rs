//! Makes directories.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::faults::{Op, allow};

/// Makes a directory and those above it that do not exist, for this user only.
///
/// # Errors
/// Any I/O error; a file has the path.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    // On a network disk it costs less to ask first than to try.
    if path.is_dir() {
        return Ok(());
    }
    allow(Op::Create, path)?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dirs(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let metadata = fs::symlink_metadata(path)?;
            if metadata.is_dir() && metadata.mode() & 0o700 != 0o700 {
                // The umask has taken the rights of this user away.
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
