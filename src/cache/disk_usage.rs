//! Disk usage of a cache: the files of its entries, and all others.
//!
//! Every file is counted once, however many names it has, and directories are counted too: the total is that
//! of `du`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, FileId, Tree};

use super::catalog::Catalog;
use super::layout::{Category, Layout};
use super::open::cannot;
use super::{Cache, lease, stats};

/// Files of a cache other than those of entries. All can be removed: they are made again when they are
/// needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Auxiliary {
    /// Results of tasks of plans.
    Results,
    /// Precompiled headers.
    Pch,
    /// Folders that reproduce failed builds.
    Failures,
    /// Damaged files.
    Quarantine,
    /// Unfinished files.
    Staging,
    /// Leases of builds, and files by which hosts find each other.
    Leases,
    /// Toolchains, failures, statistics, times of use, lists of runs and journals of plans.
    Notes,
}

impl Auxiliary {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::Results,
        Self::Pch,
        Self::Failures,
        Self::Quarantine,
        Self::Staging,
        Self::Leases,
        Self::Notes,
    ];

    /// The name in lists of categories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Pch => "pch",
            Self::Failures => "failures",
            Self::Quarantine => "quarantine",
            Self::Staging => "staging",
            Self::Leases => "leases",
            Self::Notes => "notes",
        }
    }
}

/// Kinds of files to count or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Files of entries.
    pub categories: Vec<Category>,
    /// Other files.
    pub auxiliary: Vec<Auxiliary>,
}

impl Selection {
    /// Selects everything.
    #[must_use]
    pub fn all() -> Self {
        Self { categories: Category::ALL.to_vec(), auxiliary: Auxiliary::ALL.to_vec() }
    }

    /// Returns true if everything is selected.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// Reads a list such as `src,pch`; `all` stands for everything.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] that names the valid names, the nearest first; also for an empty list.
    pub fn parse_list(list: &str) -> Result<Self> {
        let mut chosen = Self { categories: Vec::new(), auxiliary: Vec::new() };
        for name in list.split(',').map(str::trim) {
            let category = Category::ALL.into_iter().find(|category| category.name() == name);
            let auxiliary = Auxiliary::ALL.into_iter().find(|auxiliary| auxiliary.name() == name);
            match (category, auxiliary) {
                _ if name == "all" => return Ok(Self::all()),
                (None, None) => return Err(unknown(name)),
                _ => {
                    chosen.categories.extend(category);
                    chosen.auxiliary.extend(auxiliary);
                }
            }
        }
        // Each once, in the order of `ALL`.
        let categories = Category::ALL.into_iter().filter(|one| chosen.categories.contains(one)).collect();
        let auxiliary = Auxiliary::ALL.into_iter().filter(|one| chosen.auxiliary.contains(one)).collect();
        Ok(Self { categories, auxiliary })
    }
}

fn unknown(name: &str) -> Error {
    let names: Vec<&str> = Row::of_kinds().map(Row::name).collect();
    let likeness = |known: &&str| strsim::jaro_winkler(known, name);
    let nearest =
        names.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default();
    let shown: String = name.chars().take(40).collect();
    let text = format!(
        "there is no category {shown:?}; did you mean \"{nearest}\"? (categories: {})",
        names.join(", ")
    );
    Error::new(Kind::InvalidArgument, text)
}

/// A row of the table of disk usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Files of entries.
    Entry(Category),
    /// Other files.
    Auxiliary(Auxiliary),
    /// Caches of single ranks (strategy "process").
    Ranks,
    /// The directories of entries, the mark of the cache, and foreign files.
    Other,
}

impl Row {
    /// The rows that stand for categories, in the order in which they are listed.
    pub fn of_kinds() -> impl Iterator<Item = Self> {
        Category::ALL.into_iter().map(Self::Entry).chain(Auxiliary::ALL.into_iter().map(Self::Auxiliary))
    }

    /// All rows, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::of_kinds().chain([Self::Ranks, Self::Other])
    }

    /// The name: that of its category.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Entry(category) => category.name(),
            Self::Auxiliary(auxiliary) => auxiliary.name(),
            Self::Ranks => "ranks",
            Self::Other => "other",
        }
    }
}

/// A number of files and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// The number of files, without directories.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the disk that they and their directories take.
    pub allocated: u64,
}

impl Sums {
    /// Adds other sums.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.allocated += other.allocated;
    }

    fn of(facts: &fs::Metadata) -> Self {
        let (files, bytes) = if facts.is_dir() { (0, 0) } else { (1, facts.len()) };
        Self { files, bytes, allocated: fsutil::allocated(facts) }
    }
}

/// The disk usage of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    rows: BTreeMap<Row, Sums>,
    /// The directory of precompiled headers if it is outside the cache, and its sums. It serves all caches of
    /// this user on network disks.
    pub elsewhere: Option<(PathBuf, Sums)>,
}

impl DiskUsage {
    /// The sums of a row.
    #[must_use]
    pub fn of(&self, row: Row) -> Sums {
        self.rows.get(&row).copied().unwrap_or_default()
    }

    /// The sums of the files of these entries.
    #[must_use]
    pub fn of_entries(catalog: &Catalog) -> Self {
        let mut usage = Self::default();
        for file in catalog.all().flat_map(|entry| &entry.files) {
            let sums = Sums { files: 1, bytes: file.size, allocated: file.allocated };
            usage.rows.entry(Row::Entry(file.category)).or_default().add(sums);
        }
        usage
    }

    /// The total of some rows.
    pub fn sum(&self, rows: impl Iterator<Item = Row>) -> Sums {
        let mut sum = Sums::default();
        rows.for_each(|row| sum.add(self.of(row)));
        sum
    }
}

struct DiskWalk<'a> {
    layout: &'a Layout,
    seen: HashSet<FileId>,
    usage: DiskUsage,
}

impl DiskWalk<'_> {
    fn add(&mut self, row: Row, facts: &fs::Metadata) {
        if facts.nlink() < 2 || facts.is_dir() || self.seen.insert(FileId::new(facts)) {
            self.usage.rows.entry(row).or_default().add(Sums::of(facts));
        }
    }

    /// Adds the contents of a directory. Files that cannot be read or are gone are left out.
    fn walk(&mut self, dir: &Path, row: Row) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, Ok(facts)) = (entry.path(), entry.metadata()) else { continue };
            let row = self.row_of(&path, &facts).unwrap_or(row);
            self.add(row, &facts);
            if facts.is_dir() {
                self.walk(&path, row);
            }
        }
    }

    /// The row of a path, if it differs from that of its directory.
    fn row_of(&self, path: &Path, facts: &fs::Metadata) -> Option<Row> {
        let (dir, name) = (path.parent()?, path.file_name()?.to_str()?);
        if facts.is_dir() {
            let auxiliary = if self.layout.is_failure(path) {
                Auxiliary::Failures
            } else {
                match auxiliary_of(self.layout, path) {
                    Some(auxiliary) => auxiliary,
                    None if dir == self.layout.root() && is_of_rank(name) => return Some(Row::Ranks),
                    None => return None,
                }
            };
            return Some(Row::Auxiliary(auxiliary));
        }
        if fsutil::is_unfinished(name) && auxiliary_of(self.layout, dir).is_none() {
            return Some(Row::Auxiliary(Auxiliary::Staging));
        }
        let category = Category::ALL.into_iter().find(|category| {
            self.layout.dir(*category) == dir && self.layout.signature_of(*category, name).is_some()
        });
        category.filter(|_| facts.is_file()).map(Row::Entry)
    }
}

fn is_of_rank(name: &str) -> bool {
    name.strip_prefix("process-").is_some_and(|rank| rank.parse::<usize>().is_ok())
}

/// The kind of files in a directory of the cache.
fn auxiliary_of(layout: &Layout, dir: &Path) -> Option<Auxiliary> {
    Auxiliary::ALL.into_iter().find(|auxiliary| dirs(layout, *auxiliary).iter().any(|other| other == dir))
}

/// The directories that hold only files of this kind.
fn dirs(layout: &Layout, auxiliary: Auxiliary) -> Vec<PathBuf> {
    let root = layout.root();
    match auxiliary {
        Auxiliary::Results => vec![layout.result("")],
        Auxiliary::Pch => vec![root.join("pch"), root.join("prologue")],
        Auxiliary::Failures => Vec::new(),
        Auxiliary::Quarantine => vec![layout.quarantine(), root.join("aside")],
        Auxiliary::Staging => vec![root.join("tmp")],
        Auxiliary::Leases => vec![layout.lease(""), layout.comm()],
        Auxiliary::Notes => {
            vec![
                layout.toolchain(""),
                layout.failed(""),
                layout.stats(),
                layout.atime(""),
                layout.gc_stamp(""),
                layout.runs(),
                layout.plans(),
                root.join("used"),
            ]
        }
    }
    .into_iter()
    // Without the slash of an empty name at the end.
    .map(|dir| dir.components().collect())
    .collect()
}

impl Cache {
    /// Measures the disk usage of the cache. A missing cache uses nothing.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the metadata of the directory cannot be read.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let layout = self.layout();
        let root = layout.root();
        let facts = match fs::metadata(root) {
            Ok(facts) => Some(facts),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("cannot look at", root, &error)),
        };
        let mut walk = DiskWalk { layout, seen: HashSet::new(), usage: DiskUsage::default() };
        if let Some(facts) = facts {
            walk.add(Row::Other, &facts);
            walk.walk(root, Row::Other);
        }
        let mut usage = walk.usage;
        usage.elsewhere = self.pch_elsewhere().map(|dir| {
            let sums = below(&dir);
            (dir, sums)
        });
        Ok(usage)
    }

    /// The directory of precompiled headers, if it is outside the cache.
    fn pch_elsewhere(&self) -> Option<PathBuf> {
        let layout = self.layout();
        layout.pch_dir().filter(|dir| !dir.starts_with(layout.root()) && fsutil::exists_nofollow(dir))
    }

    /// Finds the files and folders of this kind that can be removed, with their sums. Files that a program
    /// uses are left out.
    #[must_use]
    pub fn auxiliary(&self, tree: &Tree, auxiliary: Auxiliary) -> Vec<(PathBuf, Sums)> {
        let layout = self.layout();
        let names = |dir: &Path| -> Vec<PathBuf> {
            tree.list(dir).unwrap_or_default().into_iter().map(|name| dir.join(name)).collect()
        };
        let in_dirs = || {
            let all = dirs(layout, auxiliary).into_iter().flat_map(|dir| names(&dir));
            all.filter(|path| layout.names(path))
        };
        let found: Vec<PathBuf> = match auxiliary {
            Auxiliary::Results => {
                self.result_signatures().iter().map(|signature| layout.result(signature)).collect()
            }
            Auxiliary::Pch => {
                let elsewhere = self.pch_elsewhere().and_then(|dir| Tree::open(&dir).ok().flatten());
                let elsewhere = elsewhere.iter().flat_map(|tree| {
                    let dir = tree.top().path();
                    tree.list(dir).unwrap_or_default().into_iter().map(|name| dir.join(name))
                });
                in_dirs().chain(elsewhere).filter(|path| is_pch(path)).collect()
            }
            // Outside the cache, they may belong to others.
            Auxiliary::Failures => {
                let dir = &layout.params().fail_dir_root;
                let all = if tree.holds(dir) { names(dir) } else { Vec::new() };
                all.into_iter().filter(|path| layout.is_failure(path)).collect()
            }
            Auxiliary::Quarantine | Auxiliary::Notes => in_dirs().collect(),
            Auxiliary::Staging => {
                let within = self.staging_places().into_iter().filter(|dir| tree.holds(dir));
                let folders = within.filter_map(|dir| tree.enter(&dir, false).ok().flatten());
                let all = folders.flat_map(|folder| fsutil::unfinished(&folder));
                all.filter(|unfinished| unfinished.left).map(|unfinished| unfinished.path).collect()
            }
            Auxiliary::Leases => {
                let dead = |path: &PathBuf| lease::look(None, path).is_some_and(|info| !info.living);
                let old = |path: &PathBuf| stats::age(path).is_some_and(|age| age >= super::gc::MIN_IDLE);
                let comm = layout.comm();
                in_dirs()
                    .filter(|path| if path.starts_with(&comm) { old(path) } else { dead(path) })
                    .collect()
            }
        };
        let with_sums = |path: PathBuf| {
            let sums = below(&path);
            (path, sums)
        };
        found.into_iter().map(with_sums).collect()
    }

    /// Removes a file or folder that [`Cache::auxiliary`] has found; false if it is gone.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be removed.
    pub fn remove_auxiliary(&self, tree: &Tree, path: &Path) -> Result<bool> {
        let removed = if tree.holds(path) {
            tree.remove_all(path)
        } else {
            let elsewhere = path.parent().map_or(Ok(None), Tree::open);
            elsewhere.and_then(|tree| tree.map_or(Ok(false), |tree| tree.remove_all(path)))
        };
        removed.map_err(|error| cannot("cannot remove", path, &error))
    }
}

/// Returns true if this is the folder of a precompiled header. The lock file of the program that makes one
/// stays.
fn is_pch(path: &Path) -> bool {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Sums up a file, or a folder with all its contents.
fn below(path: &Path) -> Sums {
    let Ok(facts) = fs::symlink_metadata(path) else { return Sums::default() };
    let mut sums = Sums::of(&facts);
    if facts.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            sums.add(below(&entry.path()));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_chosen_by_their_names() {
        let of = |list: &str| Selection::parse_list(list).unwrap();
        assert!(of("all").is_all() && of("src,all").is_all());
        let some = of("notes, src,pch,src");
        assert_eq!(some.categories, [Category::Src]);
        assert_eq!(some.auxiliary, [Auxiliary::Pch, Auxiliary::Notes]);
        assert!(of("inc,src,lib,log").auxiliary.is_empty());
        for list in ["", "src,", "quarantin"] {
            let error = Selection::parse_list(list).unwrap_err();
            assert!(error.message().contains("(categories: inc, src, lib, log, results, pch, "), "{error}");
        }
    }
}
