//! Directories that only older versions have used. Nothing reads or writes them; `check --repair`, `gc` and
//! `clean` remove them.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use crate::fsutil::Tree;

use super::Cache;
use super::layout::OLD_DIRS;

impl Cache {
    /// The directories of older layouts, with the files and folders in them that dijitso has made. A
    /// directory in which there are only other files is left out.
    pub(super) fn old_dirs(&self, tree: &Tree) -> Vec<(PathBuf, Vec<PathBuf>)> {
        let root = self.layout().root();
        let own = rustix::process::geteuid().as_raw();
        let removable = |path: &PathBuf| {
            let Ok(Some(facts)) = tree.metadata(path) else { return false };
            // Folders of precompiled headers are the only ones.
            let expected =
                facts.is_file() || (facts.is_dir() && path.parent() == Some(&root.join("prologue")));
            expected && facts.owner == own && self.layout().names(path)
        };
        let content = |dir: PathBuf| {
            tree.metadata(&dir).ok().flatten().filter(|facts| facts.is_dir())?;
            let paths: Vec<PathBuf> = tree.list(&dir).ok()?.iter().map(|name| dir.join(name)).collect();
            let is_empty = paths.is_empty();
            let paths: Vec<PathBuf> = paths.into_iter().filter(removable).collect();
            (is_empty || !paths.is_empty()).then_some((dir, paths))
        };
        OLD_DIRS.iter().filter_map(|name| content(root.join(name))).collect()
    }

    /// Removes what dijitso has made in a directory of an older layout, and the directory if nothing else is
    /// in it.
    ///
    /// # Errors
    /// Any I/O error.
    pub(super) fn remove_old_dir(&self, tree: &Tree, dir: &Path) -> io::Result<bool> {
        let Some((_, content)) = self.old_dirs(tree).into_iter().find(|(old, _)| old == dir) else {
            return Ok(false);
        };
        for path in content {
            tree.remove_all(&path)?;
        }
        if tree.list(dir)?.is_empty() { tree.remove_all(dir) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests;
