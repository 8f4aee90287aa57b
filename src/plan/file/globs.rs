//! Finds the files that a plan names: by their paths, or by patterns.
//!
//! In a pattern `*` and `?` stand for characters of one name, `[abc]` for one of these, and `**` for any
//! directories. A name that begins with a dot is matched by a dot alone. Matches are sorted.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use glob::{MatchOptions, Pattern};

/// The files of a plan. Looks at each file, and for each pattern, once.
pub(super) struct PlanFiles<'a> {
    base: &'a Path,
    is_file: HashMap<PathBuf, bool>,
    matches: HashMap<String, Rc<Vec<String>>>,
    /// The directories that were searched; `None` if they are not known.
    searched: Option<Vec<PathBuf>>,
}

/// Returns true if a text is a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Returns text that names one file, where patterns are allowed.
pub(super) fn escape_pattern(text: &str) -> String {
    if is_pattern(text) { Pattern::escape(text) } else { text.to_owned() }
}

impl<'a> PlanFiles<'a> {
    pub(super) fn new(base: &'a Path) -> Self {
        Self { base, is_file: HashMap::new(), matches: HashMap::new(), searched: Some(Vec::new()) }
    }

    /// Checks that a file exists. The error is a message.
    pub(super) fn check_file(&mut self, path: &str) -> Result<(), String> {
        if path.is_empty() || path.contains('\0') {
            return Err(format!("{path:?} is no path of a file"));
        }
        if self.is_file(Path::new(path)) {
            return Ok(());
        }
        let full = self.base.join(path);
        Err(if full.is_dir() {
            format!("{path} is a directory; write {path}/* for the files in it")
        } else {
            format!("there is no file {path} in {}", self.base.display())
        })
    }

    /// Returns whether a file exists.
    pub(super) fn is_file(&mut self, path: &Path) -> bool {
        let base = self.base;
        *self.is_file.entry(path.to_owned()).or_insert_with(|| base.join(path).is_file())
    }

    /// Returns the files that a pattern matches, at least one, or the file of this name.
    pub(super) fn find(&mut self, text: &str) -> Result<Rc<Vec<String>>, String> {
        if let Some(known) = self.matches.get(text) {
            return Ok(Rc::clone(known));
        }
        let found = if is_pattern(text) {
            self.expand(text)?
        } else {
            self.check_file(text)?;
            vec![text.to_owned()]
        };
        let found = Rc::new(found);
        self.matches.insert(text.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    /// Returns the directories that patterns have searched; `None` if a pattern has searched more than one.
    pub(super) fn searched(&self) -> Option<Vec<PathBuf>> {
        self.searched.clone()
    }

    fn note_search(&mut self, pattern: &Path) {
        let dir = pattern.parent().unwrap_or(Path::new(""));
        if dir.to_str().is_none_or(is_pattern) {
            self.searched = None;
        } else if let Some(searched) = &mut self.searched {
            searched.push(self.base.join(dir));
        }
    }

    fn expand(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        let base = self.base.to_str().ok_or_else(|| format!("{} is no text", self.base.display()))?;
        let path = Path::new(pattern);
        self.note_search(path);
        let full = if path.is_absolute() {
            pattern.to_owned()
        } else {
            format!("{}/{pattern}", Pattern::escape(base.trim_end_matches('/')))
        };
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let paths = glob::glob_with(&full, options)
            .map_err(|error| format!("{pattern} is not a pattern: {}", error.msg))?;
        let mut found = Vec::new();
        for path in paths {
            let path = path.map_err(|error| {
                format!("{pattern}: cannot read {}: {}", error.path().display(), error.error())
            })?;
            let shown = path.strip_prefix(self.base).ok().filter(|_| !Path::new(pattern).is_absolute());
            let shown = shown.unwrap_or(&path);
            if path.is_file() {
                let text = shown
                    .to_str()
                    .ok_or_else(|| format!("{pattern}: the name of {} is not UTF-8", shown.display()))?;
                self.is_file.insert(shown.to_owned(), true);
                found.push(text.to_owned());
            }
        }
        if !found.is_empty() {
            found.sort_unstable();
            return Ok(found);
        }
        let mut message = format!("{pattern} matches no file in {}", self.base.display());
        if self.base.join(pattern).is_file() {
            message.push_str(&format!("; write {} for the file of that name", Pattern::escape(pattern)));
        }
        Err(message)
    }
}

/// Returns a path below a folder without `.`: `None` if it leads out of the folder, or is the folder itself.
pub(super) fn below(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    let is_file = !path.ends_with('/') && !parts.is_empty() && !path.contains('\0');
    is_file.then(|| parts.join("/"))
}

/// Returns the name of a file without its last suffix.
pub(super) fn stem(path: &str) -> String {
    Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the name of a file.
pub(super) fn file_name(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn patterns_find_files_in_order_and_not_directories() {
        let dir = tempfile::tempdir().unwrap();
        // The base may look like a pattern.
        let base = dir.path().join("a[b]*");
        fs::create_dir_all(base.join("forms/old")).unwrap();
        for file in ["forms/b.py", "forms/a.py", "forms/.hidden.py", "forms/old/c.py", "x[1].c"] {
            fs::write(base.join(file), "").unwrap();
        }
        let mut files = PlanFiles::new(&base);
        let mut find = |pattern: &str| files.find(pattern).map(|found| found.to_vec());
        assert_eq!(find("forms/*").unwrap(), ["forms/a.py", "forms/b.py"]);
        assert_eq!(find("**/*.py").unwrap(), ["forms/a.py", "forms/b.py", "forms/old/c.py"]);
        assert_eq!(find("x[[]1].c").unwrap(), ["x[1].c"]);
        assert_eq!(find(&escape_pattern("x[1].c")).unwrap(), ["x[1].c"]);
        assert_eq!(find("forms/a.py").unwrap(), ["forms/a.py"]);
        let hint = find("x[1].c").unwrap_err();
        assert!(hint.contains("matches no file") && hint.contains("x[[]1[]].c"), "{hint}");
        assert!(find("forms").unwrap_err().contains("is a directory"));
        assert!(find("forms/z.py").unwrap_err().contains("there is no file"));
        assert!(find("[").unwrap_err().contains("is not a pattern"));
        let absolute = base.join("forms").join("a.py").display().to_string();
        assert_eq!(find(&escape_pattern(&absolute)).unwrap(), [absolute]);
    }

    #[test]
    fn paths_below_a_folder_stay_there() {
        assert_eq!(below("./a//b.c").as_deref(), Some("a/b.c"));
        for path in ["", ".", "..", "a/../b", "/a", "a/"] {
            assert_eq!(below(path), None, "{path}");
        }
        assert_eq!(
            (stem("a/b.tar.gz"), stem(".x"), file_name("a/b.c")),
            ("b.tar".into(), ".x".into(), "b.c".into())
        );
    }
}
