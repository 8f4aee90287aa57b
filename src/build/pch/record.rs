//! The record of a precompiled header: the files it was made from, and the check that they have not changed.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fsutil::{self, FileStamp, LONGEST_TEXT};

use super::include_names::IncludeNames;
use super::volatile_macros;
use crate::build::inputs;

/// Contents of `record`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PchRecord {
    pub(super) format: String,
    /// Name of the folder.
    pub(super) key: String,
    /// Reason why there is nothing to use. The other fields say what it was to be made from.
    pub(super) refused: Option<String>,
    /// Seconds before another try, if nothing changes.
    pub(super) pause: u64,
    /// Stamps of the precompiled file and of its header, by their names in the folder.
    pub(super) made: BTreeMap<String, FileStamp>,
    /// SHA-256 of the precompiled file, to check a disk by hand.
    pub(super) sha256: String,
    /// All headers that it was made from, with those of compiler and system.
    pub(super) headers: BTreeMap<PathBuf, FileStamp>,
    /// Directories in which another header could be found: those that are searched, and those of the headers.
    pub(super) dirs: BTreeMap<PathBuf, DirState>,
    /// Parts of the names that these headers include or test for.
    pub(super) asked: BTreeSet<String>,
}

/// State of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirState {
    facts: FileStamp,
    /// Entries whose names are in `asked`; those of directories end with a slash.
    has: BTreeSet<String>,
    /// True if headers may ask for any name in it.
    any: bool,
}

pub(super) const FORMAT: &str = "dijitso pch 4";

/// Returns the stamp of a file; the default if it cannot be read.
pub(super) fn file_stamp(path: &Path) -> FileStamp {
    FileStamp::of(path).unwrap_or_default()
}

/// Returns the stamp of a directory, without the fields that change while its names stay the same.
fn dir_stamp(path: &Path) -> FileStamp {
    FileStamp { size: 0, ctime: 0, ..file_stamp(path) }
}

impl DirState {
    fn now(path: &Path, asked: &BTreeSet<String>, any: bool) -> Self {
        // Before it is read, so that a new entry meanwhile is noticed later.
        let facts = dir_stamp(path);
        let mut has = BTreeSet::new();
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if asked.contains(&name) {
                has.insert(if entry.path().is_dir() { format!("{name}/") } else { name });
            }
        }
        Self { facts, has, any }
    }

    /// Returns true if no requested name has appeared or gone.
    fn is_current(&self, path: &Path, asked: &BTreeSet<String>) -> bool {
        dir_stamp(path) == self.facts || (!self.any && Self::now(path, asked, false).has == self.has)
    }
}

impl PchRecord {
    /// Records the present state of the headers of a text. Refused if a header gives another result each
    /// time.
    pub(super) fn now(key: &str, text: &str, headers: Vec<PathBuf>, searched: &[PathBuf]) -> Self {
        let mut names = IncludeNames::default();
        names.add(text);
        let mut dirs: BTreeSet<PathBuf> = searched.iter().cloned().collect();
        // A directory above a searched one may be any, such as that of temporary files. Headers ask there for
        // known names only.
        let mut above = BTreeSet::new();
        let mut watch = |dir: &Path, below: &str| {
            let path = dir.join(below);
            if path.is_dir() {
                let all = if below.split('/').any(|part| part == "..") { &mut above } else { &mut dirs };
                all.insert(path);
            }
        };
        let (mut any, mut refused) = (false, None);
        let mut facts = BTreeMap::new();
        for path in headers {
            // Before it is read, so that a change meanwhile is noticed later.
            let before = file_stamp(&path);
            match fsutil::read_plain(&path, LONGEST_TEXT) {
                Ok(data) => {
                    let text = String::from_utf8_lossy(&data);
                    let mut own = IncludeNames::default();
                    own.add(&text);
                    // The directory of a header is searched before the others.
                    if let Some(dir) = path.parent() {
                        own.dirs().into_iter().for_each(|below| watch(dir, below));
                    }
                    names.join(own);
                    let word = volatile_macros::first_in(&text).filter(|_| !inputs::is_of_compiler(&path));
                    refused = refused.or_else(|| word.map(|word| format!("{}: {word}", path.display())));
                }
                Err(_) => any = true,
            }
            facts.insert(path, before);
        }
        // The compiler includes some without a directive.
        let unasked = facts.keys().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let asked: BTreeSet<String> = names.parts().into_iter().chain(unasked).collect();
        any |= names.are_incomplete();
        // A header may appear in a directory of this name that is searched earlier.
        let below = names.dirs();
        searched.iter().for_each(|dir| below.iter().for_each(|below| watch(dir, below)));
        dirs.extend(facts.keys().filter_map(|header| header.parent()).map(Path::to_owned));
        above.retain(|dir| !dirs.contains(dir));
        let dir = |path: PathBuf, any: bool| {
            let now = DirState::now(&path, &asked, any);
            (path, now)
        };
        let above = above.into_iter().map(|path| dir(path, false));
        let dirs = dirs.into_iter().map(|path| dir(path, any)).chain(above).collect();
        Self {
            format: FORMAT.to_owned(),
            key: key.to_owned(),
            refused,
            pause: 0,
            made: BTreeMap::new(),
            sha256: String::new(),
            dirs,
            headers: facts,
            asked,
        }
    }

    /// Returns true if no header has changed and no other would be found.
    pub(super) fn is_current(&self) -> bool {
        self.headers.iter().all(|(path, facts)| file_stamp(path) == *facts)
            && self.dirs.iter().all(|(path, dir)| dir.is_current(path, &self.asked))
    }

    /// Returns true if one of the headers has this name, or is known to ask for a file of this name.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.asked.contains(name)
    }

    /// Returns true if it is the record of this preamble.
    pub(super) fn is_about(&self, key: &str) -> bool {
        self.format == FORMAT && self.key == key
    }
}

/// Returns true if the part of a text after the line `mark` has no code and leaves the macros as they were.
/// The text is what compilers write with `-E -dD`.
pub(super) fn is_idempotent(preprocessed: &str, mark: &str) -> bool {
    let Some((once, again)) = preprocessed.split_once(mark) else { return false };
    let mut macros: BTreeMap<&str, &str> = BTreeMap::new();
    once.lines().for_each(|line| {
        define(&mut macros, line);
    });
    let before = macros.clone();
    let only_directives = again.lines().all(|line| line.trim().is_empty() || define(&mut macros, line));
    only_directives && macros == before
}

/// Applies a line to the macros. Returns false if it is neither a definition nor a line marker.
fn define<'a>(macros: &mut BTreeMap<&'a str, &'a str>, line: &'a str) -> bool {
    if let Some(rest) = line.strip_prefix("#define ") {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
        macros.insert(&rest[..end], &rest[end..]);
        return true;
    }
    if let Some(name) = line.strip_prefix("#undef ") {
        macros.remove(name.trim());
        return true;
    }
    // A line marker: `# 12 "file.h" 1 3`.
    line.strip_prefix("# ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_text_again_must_change_nothing() {
        let mark = "int mark;\n";
        let once = "# 1 \"a\"\n#define A 1\nint x;\n#define F(x) x\n";
        for fine in ["", "\n# 1 \"a.h\" 3\n", "#undef A\n#define A 1\n"] {
            assert!(is_idempotent(&format!("{once}{mark}{fine}"), mark), "{fine}");
        }
        for wrong in
            ["int y;\n", "#undef A\n", "#define A 2\n", "#define B\n", "#pragma x\n", "#define F(y) x\n"]
        {
            assert!(!is_idempotent(&format!("{once}{mark}{wrong}"), mark), "{wrong}");
        }
        assert!(!is_idempotent(once, mark));
    }

    #[test]
    fn what_appears_beside_a_header_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["lib/sub", "inc/sub"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("lib/a.h"), "#include \"sub/b.h\"\n").unwrap();
        fs::write(at("inc/sub/b.h"), "").unwrap();
        let headers = vec![at("inc/sub/b.h"), at("lib/a.h")];
        let record = PchRecord::now("k", "#include <a.h>", headers, &[at("lib"), at("inc")]);
        assert!(record.is_current() && record.refused.is_none());
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(at("lib/sub/b.h"), "").unwrap();
        assert!(!record.is_current());
    }

    #[test]
    fn a_header_that_means_something_else_each_time_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let header = dir.path().join("a.h");
        fs::write(&header, "const char* when = __TIME__;\n").unwrap();
        let record = PchRecord::now("k", "#include <a.h>", vec![header], &[]);
        assert!(record.refused.unwrap().ends_with("a.h: __TIME__"));
    }

    #[test]
    fn any_change_of_a_header_or_of_where_it_is_searched_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("first")).unwrap();
        fs::create_dir(at("second")).unwrap();
        fs::write(at("second/a.h"), "1").unwrap();
        let record =
            || PchRecord::now("k", "#include <a.h>", vec![at("second/a.h")], &[at("first"), at("none")]);
        let is_noticed = |change: &dyn Fn()| {
            let record = record();
            assert!(record.is_current());
            // File times have a resolution.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            assert!(!record.is_current());
        };
        let old = fs::metadata(at("second/a.h")).unwrap().modified().unwrap();
        is_noticed(&|| {
            fs::write(at("second/a.h"), "2").unwrap();
            let file = fs::File::options().append(true).open(at("second/a.h")).unwrap();
            file.set_modified(old).unwrap();
        });
        is_noticed(&|| fs::write(at("first/a.h"), "3").unwrap());
        fs::create_dir(at("none")).unwrap();
        is_noticed(&|| fs::write(at("none/a.h"), "4").unwrap());
        fs::write(at("second/a.h"), "#include <sub/b.h>\n#if __has_include(\"c.h\")\n#endif\n").unwrap();
        is_noticed(&|| fs::write(at("first/c.h"), "").unwrap());
        is_noticed(&|| fs::create_dir(at("first/sub")).unwrap());
        is_noticed(&|| fs::write(at("first/sub/b.h"), "").unwrap());
        is_noticed(&|| fs::remove_dir_all(at("first/sub")).unwrap());
        is_noticed(&|| fs::remove_dir_all(at("none")).unwrap());
        // No header asks for this one.
        let before = record();
        fs::write(at("first/other.h"), "").unwrap();
        assert!(before.is_current());
        // Headers may ask for any name, but not in the directory above.
        fs::write(at("second/a.h"), "#include MAKE(b)\n#include \"../c.h\"\n").unwrap();
        let before = record();
        fs::write(at("above.h"), "").unwrap();
        assert!(before.is_current());
        is_noticed(&|| fs::write(at("c.h"), "").unwrap());
        is_noticed(&|| fs::write(at("first/another.h"), "").unwrap());
        is_noticed(&|| fs::remove_file(at("second/a.h")).unwrap());
        assert!(record().asks_for("a.h") && !record().asks_for("second"));
    }
}
