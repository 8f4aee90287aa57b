//! Where things lie: the only place that joins paths of a cache.
//!
//! ```text
//! <cache_dir>/CACHEDIR.TAG                      first to appear: without it nothing in the directory is changed
//! <cache_dir>/include/<signature>.h
//! <cache_dir>/src/<signature>.cpp.gz            (or .cpp, .c.gz, .c)
//! <cache_dir>/lib/libdijitso-<signature>.so     last to appear; its presence means that the entry is whole
//! <cache_dir>/log/<signature>.txt
//! <cache_dir>/comm/                             short-lived files by which hosts find out that they share the cache
//! <cache_dir>/toolchain/                        what each compiler said of itself
//! <cache_dir>/lease/<signature>                who is building it just now
//! <cache_dir>/failed/<signature>               why building it failed a moment ago
//! <cache_dir>/tmp/                              private folders, where TMPDIR is no safe place for them
//! <cache_dir>/quarantine/                            damaged files, one of each name, for whoever wants to know why
//! <cache_dir>/stats/                            what was counted, a file for each host
//! <cache_dir>/atime/<signature>                  empty; its time is that of the last use, to the hour
//! <cache_dir>/gc/                               when each host has last looked for what may go
//! <cache_dir>/pch/<key>/                   headers that sources begin with, precompiled
//! ```
//! All names but the last ten follow parameters of the section `cache`.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::language;
use crate::params::resolved::CacheParams;
use crate::signature::check_signature;

/// What is kept of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// The generated header.
    Inc,
    /// The generated source, perhaps compressed.
    Src,
    /// The library.
    Lib,
    /// The build log.
    Log,
}

impl Category {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Inc, Self::Src, Self::Lib, Self::Log];

    /// Its name in lists of categories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inc => "inc",
            Self::Src => "src",
            Self::Lib => "lib",
            Self::Log => "log",
        }
    }

    /// The category of this name.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] that names the valid ones, the nearest first.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name).ok_or_else(|| {
            let likeness = |category: &Self| strsim::jaro_winkler(category.name(), name);
            let nearest = Self::ALL.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let nearest = nearest.map_or("", Self::name);
            let shown: String = name.chars().take(40).collect();
            let text = format!(
                "there is no category {shown:?}; did you mean \"{nearest}\"? (categories: inc, src, lib, log)"
            );
            Error::new(Kind::InvalidArgument, text)
        })
    }

    /// The categories of a list such as `inc,src`; `all` stands for all of them.
    ///
    /// # Errors
    /// As [`Category::parse`]; an empty list.
    pub fn parse_list(list: &str) -> Result<Vec<Self>> {
        let mut categories = Vec::new();
        for name in list.split(',').map(str::trim) {
            let named = if name == "all" { Self::ALL.to_vec() } else { vec![Self::parse(name)?] };
            categories.extend(named);
        }
        // In their own order, each once.
        Ok(Self::ALL.into_iter().filter(|category| categories.contains(category)).collect())
    }
}

/// The paths of one cache.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    params: Arc<CacheParams>,
}

impl Layout {
    /// The layout of the cache at `root` (`params.cache_dir`, or a rank's own directory below it).
    #[must_use]
    pub fn new(root: &Path, params: Arc<CacheParams>) -> Self {
        Self { root: root.to_owned(), params }
    }

    /// Whether both put the files of a signature in the same places.
    #[must_use]
    pub fn same_places(&self, other: &Self) -> bool {
        let places = |layout: &Self| {
            let (inc, lib) = (layout.inc("x"), layout.lib("x"));
            [inc, lib, layout.src("x", true), layout.log("x")]
        };
        places(self) == places(other)
    }

    /// The cache directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The naming parameters.
    #[must_use]
    pub fn params(&self) -> &CacheParams {
        &self.params
    }

    /// The directory of a category.
    #[must_use]
    pub fn dir(&self, category: Category) -> PathBuf {
        self.root.join(match category {
            Category::Inc => &self.params.inc_dir,
            Category::Src => &self.params.src_dir,
            Category::Lib => &self.params.lib_dir,
            Category::Log => &self.params.log_dir,
        })
    }

    /// All directories that a cache needs before anything is published in it.
    #[must_use]
    pub fn dirs(&self) -> [PathBuf; 4] {
        [Category::Inc, Category::Src, Category::Lib, Category::Log].map(|category| self.dir(category))
    }

    /// All directories in which this cache puts files.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        let others = ["toolchain", "lease", "failed", "quarantine"].map(|name| self.root.join(name));
        let [_, staging @ ..] = self.staging_places();
        self.dirs().into_iter().chain(others).chain(staging).collect()
    }

    /// Where to make private folders: the place that was asked for, and what is taken where others can rename what is
    /// in that one.
    #[must_use]
    pub fn staging_places(&self) -> [PathBuf; 3] {
        [self.params.temp_dir_root.clone(), self.root.join("tmp"), PathBuf::from("/tmp")]
    }

    /// Places in memory in which builds may be staged, unless another place was asked for. Nothing is loaded from there.
    #[must_use]
    pub fn memory_places(&self) -> Vec<PathBuf> {
        if self.params.temp_dir_named {
            return Vec::new();
        }
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        [PathBuf::from("/dev/shm")].into_iter().chain(own).collect()
    }

    /// Whether files of this cache have names as this path in its place. What has another name is not ours.
    #[must_use]
    pub fn names(&self, path: &Path) -> bool {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
            return false;
        };
        let Ok(below) = dir.strip_prefix(&self.root) else { return false };
        if fsutil::is_unfinished(name) {
            return true;
        }
        let is_signature = check_signature(name).is_ok();
        let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut categories = Category::ALL.into_iter();
        if dir == self.comm() {
            return name.split_once('.').is_some_and(|(token, _)| token.len() >= 24 && is_hex(token));
        }
        match below.to_str() {
            Some("lease") => is_signature || name == ".collector",
            Some("failed" | "atime" | "toolchain") => is_signature,
            Some("quarantine") => categories.any(|category| self.signature_of(category, name).is_some()),
            Some("stats") => name.strip_suffix(".jsonl").is_some_and(|key| key.contains('~')),
            Some("gc") => name.contains('~'),
            Some("pch") => name == ".lock" || (name.len() == 32 && is_hex(name)),
            _ => categories
                .any(|category| self.dir(category) == dir && self.signature_of(category, name).is_some()),
        }
    }

    /// The directories of this cache other than those of the categories.
    #[must_use]
    pub fn other_dirs(&self) -> Vec<PathBuf> {
        let below = ["toolchain", "lease", "failed", "tmp", "quarantine", "stats", "atime", "gc", "pch"];
        below.map(|name| self.root.join(name)).into_iter().chain([self.comm()]).collect()
    }

    /// Whether this cache, or one for a single rank below it, puts something of this name into the cache directory.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        const OTHERS: [&str; 9] =
            ["pch", "toolchain", "lease", "failed", "tmp", "quarantine", "stats", "atime", "gc"];
        let params = &self.params;
        let dirs = [&params.inc_dir, &params.src_dir, &params.lib_dir, &params.log_dir, &params.comm_dir];
        let first =
            |dir: &String| Path::new(dir).components().next().is_some_and(|part| part.as_os_str() == name);
        name == super::open::MARK
            || OTHERS.contains(&name)
            || dirs.into_iter().any(first)
            || name.strip_prefix("jitfailure-").is_some_and(|signature| check_signature(signature).is_ok())
            || name.strip_prefix("process-").is_some_and(|rank| rank.parse::<usize>().is_ok())
    }

    /// The file name of a library, which is also its name to the linker after `-l:`.
    #[must_use]
    pub fn lib_basename(&self, signature: &str) -> String {
        let cache = &self.params;
        format!("{}{}{signature}{}", cache.lib_prefix, cache.lib_basename, cache.lib_postfix)
    }

    /// The file name of a header, as sources include it.
    #[must_use]
    pub fn inc_basename(&self, signature: &str) -> String {
        format!("{signature}{}", self.params.inc_postfix)
    }

    /// The file name of a source that is not compressed.
    #[must_use]
    pub fn src_basename(&self, signature: &str) -> String {
        format!("{signature}{}", self.params.src_postfix)
    }

    /// The library.
    #[must_use]
    pub fn lib(&self, signature: &str) -> PathBuf {
        let CacheParams { lib_dir, lib_prefix, lib_basename, lib_postfix, .. } = &*self.params;
        let parts = [lib_prefix, lib_basename, signature, lib_postfix];
        // Each hit asks for it several times: the memory is taken once.
        let length = |text: &str| text.len() + 1;
        let rest: usize = parts.into_iter().map(length).sum();
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + 1 + length(lib_dir) + rest);
        path.push(&self.root);
        path.push(lib_dir);
        path.push(lib_prefix);
        let name = path.as_mut_os_string();
        parts[1..].iter().for_each(|part| name.push(part));
        path
    }

    /// The header.
    #[must_use]
    pub fn inc(&self, signature: &str) -> PathBuf {
        self.dir(Category::Inc).join(self.inc_basename(signature))
    }

    /// The source; `packed` for the compressed one.
    #[must_use]
    pub fn src(&self, signature: &str, packed: bool) -> PathBuf {
        let gz = if packed { ".gz" } else { "" };
        self.dir(Category::Src).join(format!("{}{gz}", self.src_basename(signature)))
    }

    /// The log.
    #[must_use]
    pub fn log(&self, signature: &str) -> PathBuf {
        self.dir(Category::Log).join(format!("{signature}{}", self.params.log_postfix))
    }

    /// The files that an entry may have besides its library, whatever the language of its source was.
    #[must_use]
    pub fn sidecars(&self, signature: &str) -> Vec<PathBuf> {
        let others = [Category::Inc, Category::Log, Category::Src];
        others.into_iter().flat_map(|category| self.candidates(category, signature)).collect()
    }

    /// The paths at which the file of this category may lie, the likeliest first: a source may be compressed or not,
    /// and of another language than the parameters say.
    #[must_use]
    pub fn candidates(&self, category: Category, signature: &str) -> Vec<PathBuf> {
        match category {
            Category::Inc => vec![self.inc(signature)],
            Category::Lib => vec![self.lib(signature)],
            Category::Log => vec![self.log(signature)],
            Category::Src => {
                let dir = self.dir(Category::Src);
                let of = |postfix: &str| [".gz", ""].map(|gz| dir.join(format!("{signature}{postfix}{gz}")));
                self.src_postfixes().into_iter().flat_map(of).collect()
            }
        }
    }

    /// Returns the ends of names of sources: a cache may hold those of all languages.
    fn src_postfixes(&self) -> Vec<&str> {
        let (own, all) = (self.params.src_postfix.as_str(), language::suffixes());
        if all.contains(&own) { all } else { vec![own] }
    }

    /// The signature that the name of a file in the directory of a category stands for; `None` when it is not one that
    /// this cache gives.
    #[must_use]
    pub fn signature_of<'a>(&self, category: Category, name: &'a str) -> Option<&'a str> {
        let signature = match category {
            Category::Lib => name
                .strip_prefix(self.params.lib_prefix.as_str())?
                .strip_prefix(self.params.lib_basename.as_str())?
                .strip_suffix(self.params.lib_postfix.as_str())?,
            Category::Inc => name.strip_suffix(self.params.inc_postfix.as_str())?,
            Category::Log => name.strip_suffix(self.params.log_postfix.as_str())?,
            Category::Src => {
                let name = name.strip_suffix(".gz").unwrap_or(name);
                self.src_postfixes().into_iter().find_map(|postfix| name.strip_suffix(postfix))?
            }
        };
        check_signature(signature).is_ok().then_some(signature)
    }

    /// Whether this is the path of a folder that reproduces a failed build.
    #[must_use]
    pub fn is_failure(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        path.parent() == Some(self.params.fail_dir_root.as_path())
            && name.strip_prefix("jitfailure-").is_some_and(|signature| check_signature(signature).is_ok())
    }

    /// The folder that reproduces a failed build.
    #[must_use]
    pub fn failure(&self, signature: &str) -> PathBuf {
        self.params.fail_dir_root.join(format!("jitfailure-{signature}"))
    }

    /// Where hosts put short-lived files to find each other.
    #[must_use]
    pub fn comm(&self) -> PathBuf {
        self.root.join(&self.params.comm_dir)
    }

    /// What the compiler with this key said of itself.
    #[must_use]
    pub fn toolchain(&self, key: &str) -> PathBuf {
        self.root.join("toolchain").join(key)
    }

    /// Where precompiled headers are kept: here where that is a disk of this host, else in the directory for temporary
    /// files; `None` where that is not one either.
    #[must_use]
    pub fn preambles(&self) -> Option<PathBuf> {
        let near = self.root.join("pch");
        if fsutil::is_local(&self.root) {
            return Some(near);
        }
        let temp = &self.params.temp_dir_root;
        let user = rustix::process::geteuid().as_raw();
        fsutil::is_local(temp).then(|| temp.join(format!("dijitso-pch-{user}")))
    }

    /// Who is building `key`.
    #[must_use]
    pub fn lease(&self, key: &str) -> PathBuf {
        self.root.join("lease").join(key)
    }

    /// Why building a signature failed a moment ago.
    #[must_use]
    pub fn failed(&self, signature: &str) -> PathBuf {
        self.root.join("failed").join(signature)
    }

    /// Where damaged files go.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Where each host counts.
    #[must_use]
    pub fn stats(&self) -> PathBuf {
        self.root.join("stats")
    }

    /// A file of counts; `key` names the host.
    #[must_use]
    pub fn stats_file(&self, key: &str) -> PathBuf {
        self.stats().join(format!("{key}.jsonl"))
    }

    /// When an entry was last used.
    #[must_use]
    pub fn atime(&self, signature: &str) -> PathBuf {
        self.root.join("atime").join(signature)
    }

    /// When the host with this key has last looked for what may go.
    #[must_use]
    pub fn gc_stamp(&self, key: &str) -> PathBuf {
        self.root.join("gc").join(key)
    }

    /// The directory of a rank that must not share: strategy "process".
    #[must_use]
    pub fn process_root(root: &Path, rank: usize) -> PathBuf {
        root.join(format!("process-{rank}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect C24 of the original: what merely contained the name of a library was listed as one.
    #[test]
    fn c24_a_name_stands_for_one_signature_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = crate::cache::tests::cache(dir.path());
        let layout = cache.layout();
        for (category, name, expected) in [
            (Category::Lib, "libdijitso-a_b.so", Some("a_b")),
            (Category::Lib, "libdijitso-a.so.old", None),
            (Category::Lib, "libdijitso-a.so.priv.123", None),
            (Category::Lib, "xlibdijitso-a.so", None),
            (Category::Lib, "libdijitso-.so", None),
            (Category::Inc, "a.h", Some("a")),
            (Category::Inc, ".staged-x.h", None),
            (Category::Src, "a.cpp.gz", Some("a")),
            (Category::Src, "a.c", Some("a")),
            (Category::Src, "a.txt", None),
            (Category::Log, "a.txt", Some("a")),
        ] {
            assert_eq!(layout.signature_of(category, name), expected, "{name}");
        }
        assert!(layout.sidecars("a").contains(&layout.src("a", true)));
    }
}
