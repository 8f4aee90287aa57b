//! Reads the stamps of many files, relative to the directories that they are in: the system then looks up one
//! name for each file, and not those of all directories above it. A directory of few files is not opened.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use foldhash::fast::FixedState;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::fsutil::FileStamp;

/// The directories on the way to the last file, each open.
pub(super) struct OpenDirs<'a> {
    /// The number of files in each directory.
    counts: HashMap<&'a str, usize, FixedState>,
    open: Vec<(&'a str, OwnedFd)>,
}

/// The number of directories that are open at once.
const MOST: usize = 16;

/// The number of files from which on it is worth while to open their directory.
const FEWEST: usize = 4;

fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/').filter(|(dir, name)| !dir.is_empty() && !name.is_empty())
}

impl<'a> OpenDirs<'a> {
    /// Prepares for these files.
    pub(super) fn of(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<&str, usize, FixedState> = HashMap::default();
        paths.filter_map(split).for_each(|(dir, _)| *counts.entry(dir).or_default() += 1);
        Self { counts, open: Vec::new() }
    }

    /// Returns the stamp of the file that an absolute path leads to, links followed.
    ///
    /// # Errors
    /// Any I/O error.
    pub(super) fn stamp(&mut self, path: &'a str) -> io::Result<FileStamp> {
        let counts = &self.counts;
        let many = |dir: &str| counts.get(dir).is_some_and(|count| *count >= FEWEST);
        let Some((dir, name)) = split(path).filter(|(dir, _)| many(dir)) else {
            return FileStamp::of(Path::new(path));
        };
        match self.open(dir) {
            Some(folder) => FileStamp::below(folder, name),
            // No directory, no permission, no descriptor: the full path tells.
            None => FileStamp::of(Path::new(path)),
        }
    }

    /// Returns a directory, opened from the nearest one above it that is open.
    fn open(&mut self, dir: &'a str) -> Option<&OwnedFd> {
        let below =
            |above: &str| dir.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        while self.open.last().is_some_and(|(above, _)| below(above).is_none()) {
            self.open.pop();
        }
        if self.open.last().is_none_or(|(above, _)| *above != dir) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = match self.open.last() {
                Some((above, folder)) => openat(folder, &dir[above.len() + 1..], flags, Mode::empty()),
                None => openat(CWD, dir, flags, Mode::empty()),
            };
            if self.open.len() == MOST {
                self.open.remove(0);
            }
            self.open.push((dir, opened.ok()?));
        }
        self.open.last().map(|(_, folder)| folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn stamps_are_those_of_the_full_paths() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| format!("{}/{path}", dir.path().display());
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::create_dir_all(at("ab")).unwrap();
        std::os::unix::fs::symlink("a/b", at("link")).unwrap();
        let files = ["a/1", "a/b/2", "a/b/c/3", "a/b/4", "ab/5", "a/b/c/6", "7"];
        for file in files {
            fs::write(at(file), file).unwrap();
        }
        std::os::unix::fs::symlink("../7", at("a/8")).unwrap();
        let more = ["link/2", "link/c/3", "link/../../ab/5", "a/8", "a//1"];
        let bad = ["a/none", "none/1", "a/1/2", "a/b/"];
        let paths: Vec<String> = files.into_iter().chain(more).chain(bad).map(at).collect();
        // Each directory has many files.
        let repeated = std::iter::repeat_n(&paths, FEWEST).flatten().map(String::as_str);
        for mut dirs in [OpenDirs::of(repeated), OpenDirs::of(std::iter::empty())] {
            for path in &paths {
                let kind = |stamp: io::Result<FileStamp>| stamp.map_err(|error| error.kind());
                assert_eq!(kind(dirs.stamp(path)), kind(FileStamp::of(Path::new(path))), "{path}");
            }
        }
    }
}
