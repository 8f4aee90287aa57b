//! The paths of a cache: the only place that joins them.
//!
//! ```text
//! <cache_dir>/CACHEDIR.TAG                      made first: without it nothing here is changed
//! <cache_dir>/include/<signature>.h
//! <cache_dir>/src/<signature>.cpp.gz            (or .cpp, .c.gz, .c)
//! <cache_dir>/lib/libdijitso-<signature>.so     published last: the entry is complete
//! <cache_dir>/log/<signature>.txt
//! <cache_dir>/comm/                             files by which hosts find out that they share it
//! <cache_dir>/toolchain/<key>                   what a compiler has said of itself
//! <cache_dir>/lease/<signature>                 the process that is building it
//! <cache_dir>/failed/<signature>                the last failure to build it
//! <cache_dir>/tmp/                              private folders, if TMPDIR is no safe place for them
//! <cache_dir>/quarantine/                       damaged files, the latest of each name, for inspection
//! <cache_dir>/stats/                            counters, written by each host to a file of its own
//! <cache_dir>/atime/<signature>                 empty; its time is that of the last use, to the hour
//! <cache_dir>/gc/                               when each host has last looked for entries to evict
//! <cache_dir>/pch/<key>/                        precompiled headers
//! <cache_dir>/runs/                             entries that runs of a program have used
//! <cache_dir>/result/<signature>                files that a task has made; its time is that of the last use
//! <cache_dir>/plan/<key>.jsonl                  the journal of a plan: what its nodes took, and why some failed
//! <cache_dir>/plan/<key>.state                  what the last make of a plan has seen, for the next one
//! <cache_dir>/aside/, used/, prologue/          of older versions; removed by `check --repair` and `gc`
//! ```
//! The names of the first five directories follow parameters of the section `cache`.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::language;
use crate::params::resolved::CacheParams;
use crate::signature::check_signature;

/// A kind of file of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// The generated header.
    Inc,
    /// The generated source, perhaps compressed.
    Src,
    /// The path of the library.
    Lib,
    /// The build log.
    Log,
}

impl Category {
    /// All categories, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Inc, Self::Src, Self::Lib, Self::Log];

    /// The name in lists of categories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inc => "inc",
            Self::Src => "src",
            Self::Lib => "lib",
            Self::Log => "log",
        }
    }

    /// Reads the name of a category.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] that names the valid names, the nearest first.
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

    /// Reads a list of categories such as `inc,src`; `all` stands for all of them.
    ///
    /// # Errors
    /// As [`Category::parse`], also for an empty list.
    pub fn parse_list(list: &str) -> Result<Vec<Self>> {
        let mut categories = Vec::new();
        for name in list.split(',').map(str::trim) {
            let named = if name == "all" { Self::ALL.to_vec() } else { vec![Self::parse(name)?] };
            categories.extend(named);
        }
        // Each once, in the order of `ALL`.
        Ok(Self::ALL.into_iter().filter(|category| categories.contains(category)).collect())
    }
}

/// Directories of older versions in the cache directory. See [`super::old_layout`].
pub(super) const OLD_DIRS: [&str; 3] = ["aside", "used", "prologue"];

/// All directories in the cache directory but those that parameters name.
const OTHER_DIRS: [&str; 15] = [
    "toolchain",
    "lease",
    "failed",
    "tmp",
    "quarantine",
    "stats",
    "atime",
    "gc",
    "pch",
    "runs",
    "result",
    "plan",
    "aside",
    "used",
    "prologue",
];

/// The end of the name of a damaged result in the quarantine. There its name alone says which file it was.
const RESULT_POSTFIX: &str = ".result";

/// The paths of one cache.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    params: Arc<CacheParams>,
}

impl Layout {
    /// The layout of the cache at `root`: `params.cache_dir`, or a directory below it for one rank.
    #[must_use]
    pub fn new(root: &Path, params: Arc<CacheParams>) -> Self {
        Self { root: root.to_owned(), params }
    }

    /// Returns true if both give the files of a signature the same paths.
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

    /// The parameters that name files and directories.
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

    /// The directories that must exist before anything is published: those of the categories.
    #[must_use]
    pub fn dirs(&self) -> [PathBuf; 4] {
        [Category::Inc, Category::Src, Category::Lib, Category::Log].map(|category| self.dir(category))
    }

    /// The directories in which unfinished files may be left.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        let others = ["toolchain", "lease", "failed", "quarantine", "runs", "result", "plan"]
            .map(|name| self.root.join(name));
        let [_, staging @ ..] = self.staging_places();
        self.dirs().into_iter().chain(others).chain(staging).collect()
    }

    /// Directories for private folders: the one that was asked for, and those that are used if other users
    /// can rename what is in that one.
    #[must_use]
    pub fn staging_places(&self) -> [PathBuf; 3] {
        [self.params.temp_dir_root.clone(), self.root.join("tmp"), PathBuf::from("/tmp")]
    }

    /// Directories in memory in which builds may be staged, unless another directory was asked for. Nothing
    /// is loaded from there.
    #[must_use]
    pub fn memory_places(&self) -> Vec<PathBuf> {
        if self.params.temp_dir_named {
            return Vec::new();
        }
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        [PathBuf::from("/dev/shm")].into_iter().chain(own).collect()
    }

    /// Returns true if dijitso gives files in this directory such names. A file of another name is not
    /// touched.
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
            Some("failed" | "atime" | "toolchain" | "used" | "result") => is_signature,
            Some("plan") => name.ends_with(".jsonl") || name.ends_with(".state"),
            Some("quarantine" | "aside") => {
                name.strip_suffix(RESULT_POSTFIX).is_some_and(|signature| check_signature(signature).is_ok())
                    || categories.any(|category| self.signature_of(category, name).is_some())
            }
            Some("stats") => name.strip_suffix(".jsonl").is_some_and(|key| key.contains('~')),
            Some("gc") => name.contains('~'),
            Some("runs") => super::runs::is_own(name),
            Some("pch" | "prologue") => name == ".lock" || (name.len() == 32 && is_hex(name)),
            _ => categories
                .any(|category| self.dir(category) == dir && self.signature_of(category, name).is_some()),
        }
    }

    /// The directories of this cache other than those of the categories.
    #[must_use]
    pub fn other_dirs(&self) -> Vec<PathBuf> {
        OTHER_DIRS.iter().map(|name| self.root.join(name)).chain([self.comm()]).collect()
    }

    /// Returns true if this is a directory of an older layout.
    pub(super) fn is_old_dir(&self, path: &Path) -> bool {
        OLD_DIRS.iter().any(|name| path == self.root.join(name))
    }

    /// Returns true if dijitso puts something of this name into a cache directory.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        let params = &self.params;
        let dirs = [&params.inc_dir, &params.src_dir, &params.lib_dir, &params.log_dir, &params.comm_dir];
        let first =
            |dir: &String| Path::new(dir).components().next().is_some_and(|part| part.as_os_str() == name);
        name == super::open::MARK
            || OTHER_DIRS.contains(&name)
            || dirs.into_iter().any(first)
            || name.strip_prefix("jitfailure-").is_some_and(|signature| check_signature(signature).is_ok())
            || name.strip_prefix("process-").is_some_and(|rank| rank.parse::<usize>().is_ok())
    }

    /// The file name of a library. After `-l:` it is also its name for the linker.
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

    /// The file name of an uncompressed source.
    #[must_use]
    pub fn src_basename(&self, signature: &str) -> String {
        format!("{signature}{}", self.params.src_postfix)
    }

    /// The path of the library.
    #[must_use]
    pub fn lib(&self, signature: &str) -> PathBuf {
        let CacheParams { lib_dir, lib_prefix, lib_basename, lib_postfix, .. } = &*self.params;
        let parts = [lib_prefix, lib_basename, signature, lib_postfix];
        // Each hit asks for this several times, so memory is allocated once.
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

    /// The path of the header.
    #[must_use]
    pub fn inc(&self, signature: &str) -> PathBuf {
        self.dir(Category::Inc).join(self.inc_basename(signature))
    }

    /// The path of the source; `packed` for the compressed one.
    #[must_use]
    pub fn src(&self, signature: &str, packed: bool) -> PathBuf {
        let gz = if packed { ".gz" } else { "" };
        self.dir(Category::Src).join(format!("{}{gz}", self.src_basename(signature)))
    }

    /// The path of the log.
    #[must_use]
    pub fn log(&self, signature: &str) -> PathBuf {
        self.dir(Category::Log).join(format!("{signature}{}", self.params.log_postfix))
    }

    /// The paths of the files that an entry may have beside its library, for sources of either language.
    #[must_use]
    pub fn sidecars(&self, signature: &str) -> Vec<PathBuf> {
        let others = [Category::Inc, Category::Log, Category::Src];
        others.into_iter().flat_map(|category| self.candidates(category, signature)).collect()
    }

    /// The possible paths of a file of this category, the likeliest first: a source may be compressed or not,
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

    /// The possible ends of the names of sources: a cache may hold those of all languages.
    fn src_postfixes(&self) -> Vec<&str> {
        let (own, all) = (self.params.src_postfix.as_str(), language::suffixes());
        if all.contains(&own) { all } else { vec![own] }
    }

    /// Reads the signature from the name of a file in the directory of a category. `None` if this cache gives
    /// no such name.
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

    /// Returns true if this is the path of a folder that reproduces a failed build.
    #[must_use]
    pub fn is_failure(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        path.parent() == Some(self.params.fail_dir_root.as_path())
            && name.strip_prefix("jitfailure-").is_some_and(|signature| check_signature(signature).is_ok())
    }

    /// The path of the folder that reproduces a failed build.
    #[must_use]
    pub fn failure(&self, signature: &str) -> PathBuf {
        self.params.fail_dir_root.join(format!("jitfailure-{signature}"))
    }

    /// The directory in which hosts put short-lived files to find each other.
    #[must_use]
    pub fn comm(&self) -> PathBuf {
        self.root.join(&self.params.comm_dir)
    }

    /// The file with what the compiler of this key has said of itself.
    #[must_use]
    pub fn toolchain(&self, key: &str) -> PathBuf {
        self.root.join("toolchain").join(key)
    }

    /// The directory of precompiled headers: in the cache if that is on a disk of this host, else in the
    /// directory for temporary files; `None` if that is not on such a disk either.
    #[must_use]
    pub fn pch_dir(&self) -> Option<PathBuf> {
        let in_cache = self.root.join("pch");
        if fsutil::is_local(&self.root) {
            return Some(in_cache);
        }
        let temp = &self.params.temp_dir_root;
        let user = rustix::process::geteuid().as_raw();
        fsutil::is_local(temp).then(|| temp.join(format!("dijitso-pch-{user}")))
    }

    /// The lease of the process that is building `key`.
    #[must_use]
    pub fn lease(&self, key: &str) -> PathBuf {
        self.root.join("lease").join(key)
    }

    /// The file with the last failure to build a signature.
    #[must_use]
    pub fn failed(&self, signature: &str) -> PathBuf {
        self.root.join("failed").join(signature)
    }

    /// The directory of damaged files.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The place of a damaged result.
    #[must_use]
    pub fn quarantined_result(&self, signature: &str) -> PathBuf {
        self.quarantine().join(format!("{signature}{RESULT_POSTFIX}"))
    }

    /// The directory of the counters of all hosts.
    #[must_use]
    pub fn stats(&self) -> PathBuf {
        self.root.join("stats")
    }

    /// A file of counters; `key` names the host.
    #[must_use]
    pub fn stats_file(&self, key: &str) -> PathBuf {
        self.stats().join(format!("{key}.jsonl"))
    }

    /// The file whose time is that of the last use of an entry.
    #[must_use]
    pub fn atime(&self, signature: &str) -> PathBuf {
        self.root.join("atime").join(signature)
    }

    /// The file whose time is that of the last eviction after a build on the host of this key.
    #[must_use]
    pub fn gc_stamp(&self, key: &str) -> PathBuf {
        self.root.join("gc").join(key)
    }

    /// The directory of lists of the entries that runs have used.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The list of the entries that runs of a program have used.
    #[must_use]
    pub fn run(&self, key: &str) -> PathBuf {
        self.runs().join(key)
    }

    /// The libraries that runs of a program use.
    #[must_use]
    pub fn run_pack(&self, key: &str) -> PathBuf {
        self.runs().join(format!("{key}{}", super::runs::PACK))
    }

    /// The result of the task of this signature.
    #[must_use]
    pub fn result(&self, signature: &str) -> PathBuf {
        self.root.join("result").join(signature)
    }

    /// The journal of the plan of this key.
    #[must_use]
    pub fn plan_journal(&self, key: &str) -> PathBuf {
        self.plans().join(format!("{key}.jsonl"))
    }

    /// The files that the last make of the plan of this key has seen.
    #[must_use]
    pub fn plan_state(&self, key: &str) -> PathBuf {
        self.plans().join(format!("{key}.state"))
    }

    /// The directory of the journals of plans, and of what their last makes have found.
    #[must_use]
    pub fn plans(&self) -> PathBuf {
        self.root.join("plan")
    }

    /// The cache directory of one rank: strategy "process".
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
