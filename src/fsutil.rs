//! Files that appear whole or not at all, and gzip. Knows nothing of caches.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use tempfile::NamedTempFile;

/// Creates a directory and its parents, for this user only. A path at which a file stands is an error.
///
/// # Errors
/// Those of the file system.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A private file in the directory of `path`, with the contents, not yet under its name.
fn stage(path: &Path, data: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut staged = tempfile::Builder::new()
        .prefix(STAGED_PREFIX)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(parent)?;
    staged.write_all(data)?;
    Ok(staged)
}

/// Why what is behind these facts may have been put there by somebody else; `None` when only this user, or root, can
/// have.
#[must_use]
pub fn distrust(facts: &fs::Metadata) -> Option<String> {
    let (owner, own) = (facts.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        return Some(format!("it belongs to user {owner}, and this is user {own}"));
    }
    let mode = facts.mode() & 0o7777;
    (mode & 0o022 != 0).then(|| format!("others can write it (mode {mode:04o}; chmod go-w)"))
}

/// The contents and facts of a file, taken from the same open file; `None` when there is no such file.
///
/// # Errors
/// Those of the file system, other than that the file does not exist.
pub fn open_if_there(path: &Path) -> io::Result<Option<(Vec<u8>, fs::Metadata)>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let facts = file.metadata()?;
    let mut data = Vec::with_capacity(usize::try_from(facts.len()).unwrap_or_default());
    file.read_to_end(&mut data)?;
    Ok(Some((data, facts)))
}

/// How the names of files begin that are not finished; the dot keeps them out of listings.
pub const STAGED_PREFIX: &str = ".staged-";

/// Gives `path` these contents unless something is already there. True when this call made it.
///
/// The file appears whole, in one step (a rename that refuses to overwrite, or a hard link); what was there is never
/// touched.
///
/// # Errors
/// Those of the file system.
pub fn publish_first(path: &Path, data: &[u8], mode: u32) -> io::Result<bool> {
    match stage(path, data, mode)?.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(refused) => Err(refused.error),
    }
}

/// Gives `path` these contents in one step, whatever was there before.
///
/// # Errors
/// Those of the file system.
pub fn publish_over(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    stage(path, data, mode)?.persist(path).map(drop).map_err(|refused| refused.error)
}

/// The contents of a file, or `None` when there is no such file.
///
/// # Errors
/// Those of the file system, other than that the file does not exist.
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `data` as a gzip file. Equal input gives equal output: no time, no name.
#[must_use]
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// A new directory that only this user can enter, removed with everything in it when dropped.
///
/// # Errors
/// Those of the file system.
pub fn private_dir(root: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("dijitso-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_publisher_wins_and_leaves_nothing_else() {
        let dir = private_dir(&std::env::temp_dir()).unwrap();
        let path = dir.path().join("file");
        assert!(publish_first(&path, b"first", 0o600).unwrap());
        assert!(!publish_first(&path, b"second", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        publish_over(&path, b"third", 0o700).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_publishers_agree_on_one_content() {
        let dir = private_dir(&std::env::temp_dir()).unwrap();
        let path = dir.path().join("file");
        let wins: usize = std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..8_u8)
                .map(|id| {
                    scope.spawn({
                        let path = &path;
                        move || usize::from(publish_first(path, &[id; 4096], 0o600).unwrap())
                    })
                })
                .collect();
            publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum()
        });
        let data = fs::read(&path).unwrap();
        assert_eq!((wins, data.len()), (1, 4096));
        assert!(data.iter().all(|byte| *byte == data[0]));
    }

    /// Defect C18 of the original: a file in the place of a directory was accepted.
    #[test]
    fn c18_a_file_is_not_a_directory() {
        let dir = private_dir(&std::env::temp_dir()).unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(create_dirs(&path).is_err());
        create_dirs(&dir.path().join("a/b")).unwrap();
        create_dirs(&dir.path().join("a/b")).unwrap();
    }

    #[test]
    fn gzip_is_reproducible() {
        let packed = gzip(b"int main;");
        assert_eq!(packed, gzip(b"int main;"));
        let mut contents = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut contents).unwrap();
        assert_eq!(contents, b"int main;");
    }
}
