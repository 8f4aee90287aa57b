//! Where things lie: the only place that joins paths of a cache.
//!
//! ```text
//! <cache_dir>/include/<signature>.h
//! <cache_dir>/src/<signature>.cpp.gz            (or .cpp, .c.gz, .c)
//! <cache_dir>/lib/libdijitso-<signature>.so     last to appear; its presence means that the entry is whole
//! <cache_dir>/log/<signature>.txt
//! <cache_dir>/comm/                             short-lived files by which hosts find out that they share the cache
//! <cache_dir>/toolchain/                        what each compiler said of itself
//! <cache_dir>/lease/<signature>                who is building it just now
//! <cache_dir>/failed/<signature>               why building it failed a moment ago
//! <cache_dir>/tmp/                              private folders, where TMPDIR is no safe place for them
//! <cache_dir>/aside/                            damaged files, one of each name, for whoever wants to know why
//! ```
//! All names but the last five follow parameters of the section `cache`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::params::resolved::CacheParams;

/// What is kept of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// The paths of one cache.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    params: CacheParams,
}

impl Layout {
    /// The layout of the cache at `root` (`params.cache_dir`, or a rank's own directory below it).
    #[must_use]
    pub fn new(root: &Path, params: &CacheParams) -> Self {
        Self { root: root.to_owned(), params: params.clone() }
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
        let others = ["toolchain", "lease", "failed", "aside"].map(|name| self.root.join(name));
        let [_, staging @ ..] = self.staging_places();
        self.dirs().into_iter().chain(others).chain(staging).collect()
    }

    /// Where to make private folders: the place that was asked for, and what is taken where others can rename what is
    /// in that one.
    #[must_use]
    pub fn staging_places(&self) -> [PathBuf; 3] {
        [self.params.temp_dir_root.clone(), self.root.join("tmp"), PathBuf::from("/tmp")]
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
        self.dir(Category::Lib).join(self.lib_basename(signature))
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
    pub fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// The directory of a rank that must not share: strategy "process".
    #[must_use]
    pub fn process_root(root: &Path, rank: usize) -> PathBuf {
        root.join(format!("process-{rank}"))
    }
}
