//! A cache that is open for changes: trusted, marked as a cache, and entered without following a link.
//!
//! ```text
//! CACHEDIR.TAG := "Signature: 8a477f597d28d172789f06886806bc55" "\n"     for backup programs
//!                 "# dijitso cache, format 1" "\n"
//!                 text
//! ```
//! The mark is made first, and never in a directory that has something under a name that a cache uses. So
//! everything under these names in a marked directory is dijitso's. Other files beside them do not matter. In
//! a directory without the mark nothing is written, moved or removed. Entries in it are loaded all the same:
//! that changes nothing.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, PathTrust, Tree, TrustWalk};

use super::{Cache, FILE_MODE, path_trust::path_trust, refused};

/// The name of the mark, in the cache directory itself.
pub const MARK: &str = "CACHEDIR.TAG";

/// The first lines of the mark. The format of the mark is that of all versions so far.
pub(crate) const LINES: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# dijitso cache, format 1\n";

/// The rest of the mark, for people.
const TEXT: &str = "# Libraries that dijitso has built. Everything in this directory can be removed: it is \
                    built again.\n\
                    # Without this file dijitso changes nothing here.\n";

/// The number of times that a mark is looked for which another program makes at this time, or which a network
/// disk does not show yet.
const ATTEMPTS: u64 = 50;

/// The kind of mark in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The mark of a cache of dijitso.
    Ours,
    /// The mark of another program.
    Other,
    /// No mark.
    None,
}

impl Cache {
    /// Opens the cache for changes. `None` if it is missing, or has nothing in it under a name that a cache
    /// uses.
    ///
    /// # Errors
    /// [`Kind::Cache`] if other users can write or replace it, it is not marked as a cache, or it cannot be
    /// read.
    pub fn open(&self) -> Result<Option<Tree>> {
        let Some(tree) = self.trusted()? else { return Ok(None) };
        let mut attempt = 0;
        loop {
            let content = match self.mark(&tree)? {
                Mark::Ours => return Ok(Some(tree)),
                Mark::Other => return Err(self.unmarked(Mark::Other, None)),
                Mark::None => self.content(&tree)?,
            };
            match content {
                None => return Ok(None),
                // Another program has marked it after this one has looked for the mark.
                Some(name) if attempt == 0 || (name == MARK && attempt < ATTEMPTS) => {
                    std::thread::sleep(Duration::from_millis(attempt));
                    attempt += 1;
                }
                Some(name) => return Err(self.unmarked(Mark::None, Some(&name))),
            }
        }
    }

    /// Opens the cache to put something into it. Makes and marks it if necessary.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_or_make(&self) -> Result<Tree> {
        let root = self.layout.root();
        // Before it is made, because a directory above it may be refused.
        if self.trusted()?.is_none() {
            self.check_home()?;
            fsutil::create_dirs(root)
                .map_err(|error| Error::io("cannot use the cache directory", root, &error))?;
        }
        for attempt in 0..ATTEMPTS {
            let Some(tree) = self.trusted()? else { break };
            let content = match self.mark(&tree)? {
                Mark::Ours => return Ok(tree),
                Mark::Other => return Err(self.unmarked(Mark::Other, None)),
                Mark::None => self.content(&tree)?,
            };
            match content {
                None => {
                    let text = format!("{LINES}{TEXT}");
                    tree.publish_noclobber(&root.join(MARK), text.as_bytes(), FILE_MODE, Durability::Synced)
                        .map_err(|error| cannot("cannot write", &root.join(MARK), &error))?;
                }
                // Another program has just marked it, or a network disk has not shown the mark yet.
                Some(name) if name == MARK => std::thread::sleep(Duration::from_millis(attempt)),
                Some(name) => return Err(self.unmarked(Mark::None, Some(&name))),
            }
        }
        let text = format!("cannot use the cache directory {}: it has gone meanwhile", root.display());
        Err(Error::new(Kind::Cache, text))
    }

    /// Removes the cache directory if only the mark is in it.
    pub fn unmake(&self) {
        let (root, mark) = (self.layout.root(), self.layout.root().join(MARK));
        let Ok(Some(tree)) = self.open() else { return };
        if !tree.list(root).is_ok_and(|names| names == [MARK]) || !tree.remove(&mark).is_ok_and(|gone| gone) {
            return;
        }
        if std::fs::remove_dir(root).is_err() {
            // Another program has put something into it, so it stays a cache.
            let text = format!("{LINES}{TEXT}");
            let _ = tree.publish_noclobber(&mark, text.as_bytes(), FILE_MODE, Durability::Synced);
        }
    }

    /// Opens the cache directory. Refuses it if other users can write or replace it.
    fn trusted(&self) -> Result<Option<Tree>> {
        let root = self.layout.root();
        let trust = match path_trust(root, &mut TrustWalk::default())? {
            PathTrust::Untrusted(reason) => return Err(refused(root, &reason)),
            trust => trust,
        };
        let folder = fsutil::Folder::open_as(root, trust)
            .map_err(|error| cannot("cannot use the cache directory", root, &error))?;
        Ok(folder.map(Tree::new))
    }

    fn mark(&self, tree: &Tree) -> Result<Mark> {
        const LONGEST: u64 = 4096;
        let path = self.layout.root().join(MARK);
        match tree.read(&path, LONGEST) {
            Ok(Some(text)) if text.starts_with(LINES.as_bytes()) => Ok(Mark::Ours),
            Ok(Some(_)) => Ok(Mark::Other),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Ok(Mark::Other),
            Ok(None) => Ok(Mark::None),
            Err(error) => Err(cannot("cannot read", &path, &error)),
        }
    }

    /// The first name in the directory that a cache uses and that is not an empty directory; the mark before
    /// all others.
    fn content(&self, tree: &Tree) -> Result<Option<String>> {
        let root = self.layout.root();
        let names = tree.list(root).map_err(|error| cannot("cannot read", root, &error))?;
        if names.iter().any(|name| name == MARK) {
            return Ok(Some(MARK.to_owned()));
        }
        let counts = |name: &&str| {
            // The cache of a single rank has a mark of its own.
            let of_rank = name.strip_prefix("process-").is_some_and(|rank| rank.parse::<usize>().is_ok());
            !of_rank
                && self.layout.is_own(name)
                && !tree.list(&root.join(name)).is_ok_and(|names| names.is_empty())
        };
        Ok(names.iter().filter_map(|name| name.to_str()).find(counts).map(str::to_owned))
    }

    fn unmarked(&self, mark: Mark, content: Option<&str>) -> Error {
        let root = self.layout.root().display();
        let why = match (mark, content) {
            (Mark::Other, _) => format!("its {MARK} is that of another program"),
            (_, content) => {
                format!(
                    "it has no {MARK} of dijitso, and has something called {}",
                    content.unwrap_or_default()
                )
            }
        };
        let text = format!(
            "{root} is not a cache of dijitso: {why}. Nothing is built into it, and nothing in it is \
             changed. \
             Name another directory (DIJITSO_CACHE_DIR, cache.cache_dir, --cache-dir), or empty this one"
        );
        Error::new(Kind::Cache, text)
    }

    /// Refuses to make a missing home directory.
    fn check_home(&self) -> Result<()> {
        match &self.layout.params().home {
            Some(home) if self.layout.root().starts_with(home) && !home.is_dir() => {
                let text = format!(
                    "cannot create the cache directory {}: the directory {} is not there, and is not made; \
                     set DIJITSO_CACHE_DIR, or create it",
                    self.layout.root().display(),
                    home.display()
                );
                Err(Error::new(Kind::Cache, text))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the error of an operation in a cache. A reason that is not from the file system is a refusal.
pub(super) fn cannot(doing: &str, path: &Path, error: &io::Error) -> Error {
    match error.get_ref() {
        Some(reason) if error.kind() == ErrorKind::PermissionDenied => refused(path, &reason.to_string()),
        _ => Error::io(doing, path, error),
    }
}

#[cfg(test)]
mod tests;
