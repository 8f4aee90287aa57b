//! Checks a cache: every library, header and source against its record, the entries that it needs, the files
//! that its build has read, and files that belong to no entry.
//!
//! | name | severity | meaning |
//! |---|---|---|
//! | `library-cut`, `library-version`, `library-altered`, `library-foreign` | broken | not a valid library |
//! | `header-missing`, `header-altered` | broken | the header that was built is missing or altered |
//! | `result-altered` | broken | the result of a task is cut short, altered or that of another task |
//! | `dependency-missing`, `dependency-broken` | broken | an entry that it needs is missing or broken |
//! | `cycle` | broken | the entry needs itself |
//! | `refused` | broken | another user can write it, so it is not used |
//! | `unreadable` | broken | it cannot be read |
//! | `input-changed`, `dependency-stale` | stale | a file or entry that it needs has changed |
//! | `source-altered` | leftover | the stored source is not the one that was compiled |
//! | `orphan` | leftover | a header, source or log without a library, for longer than any build takes |
//! | `leftover` | leftover | left by a program that has ended, or by an older version |
//! | `foreign-file` | leftover | not made by dijitso: another name, or a link or directory |
//!
//! Repair moves broken entries and results to `quarantine/`, so that they are made again, and removes
//! leftovers and entries of older versions. It changes no entry that a living program is building, and no
//! foreign file.

#![forbid(unsafe_code)]

mod finding;
mod repair;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::elf;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Folder, PathTrust, ReadError, Tree};
use crate::inputs::Input;
use crate::sync::{lock, recover};

pub use finding::{CheckReport, Finding, FindingKind, RepairOutcome, Severity};

use super::layout::Category;
use super::record::{EntryRecord, Invalid};
use super::results::TaskResult;
use super::walk::DependencyWalk;
use super::{Cache, check_source, file_digest, lease, record, stats};

/// The action of a check on its findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairMode {
    /// Reports only.
    Off,
    /// Reports what repair would do.
    DryRun,
    /// Repairs.
    On,
}

/// The time that a header, source or log may be without a library: longer than any build takes.
const ORPHANED: Duration = Duration::from_secs(2 * 24 * 3600);

/// The result of examining one entry by itself.
#[derive(Default)]
struct Examined {
    needs: Vec<String>,
    /// Numbers in [`Inputs`].
    inputs: Vec<usize>,
    findings: Vec<Finding>,
    bytes: u64,
}

/// The inputs of all entries. The same header is an input of many, and is read once.
#[derive(Default)]
struct Inputs {
    numbers: HashMap<Input, usize>,
}

impl Cache {
    /// Checks the entries and results of `signatures`, and the entries that they need; with none, everything in
    /// the cache. `progress` gets the numbers of entries examined and of all, then those of results.
    ///
    /// # Errors
    /// [`Kind::Cache`] for an unknown signature, or if the cache cannot be read at all.
    pub fn check(
        &self,
        signatures: &[String],
        repair: RepairMode,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<CheckReport> {
        crate::inputs::invalidate();
        let (tree, repairable) = match (repair, self.open()) {
            (RepairMode::Off, tree) => (None, tree.is_ok()),
            (RepairMode::DryRun | RepairMode::On, tree) => (tree?.map(Arc::new), true),
        };
        let libraries = self.library_files()?;
        let known: HashSet<&str> = libraries.iter().map(|(signature, _)| signature.as_str()).collect();
        let mut results = self.result_signatures();
        let is_result = |name: &String| results.binary_search(name).is_ok();
        let is_known = |name: &&String| known.contains(name.as_str()) || is_result(name);
        if let Some(unknown) = signatures.iter().find(|signature| !is_known(signature)) {
            let text = format!("there is no entry {unknown} in {}", self.layout().root().display());
            return Err(Error::new(Kind::Cache, text));
        }
        if !signatures.is_empty() {
            results.retain(|name| signatures.contains(name));
        }
        let mut report = CheckReport { findings: self.directories(), ..CheckReport::default() };
        let root_is_refused = report.findings.iter().any(|finding| finding.path == self.layout().root());
        let mut next: Vec<String> = match signatures {
            [] => libraries.iter().map(|(signature, _)| signature.clone()).collect(),
            some => some.iter().filter(|name| known.contains(name.as_str())).cloned().collect(),
        };
        let inputs = Mutex::default();
        let mut all: BTreeMap<String, Examined> = BTreeMap::new();
        while !next.is_empty() {
            let done = in_parallel(&next, progress, |signature| self.examine(signature, &inputs));
            all.extend(next.into_iter().zip(done));
            let needed = all.values().flat_map(|examined| &examined.needs);
            let new = needed.filter(|name| known.contains(name.as_str()) && !all.contains_key(*name));
            next = new.cloned().collect::<BTreeSet<_>>().into_iter().collect();
        }
        self.changed(&mut all, recover(inputs.into_inner()));
        self.connections(&mut all);
        (report.entries, report.results) = (all.len(), results.len());
        let results = in_parallel(&results, progress, |signature| self.examine_result(signature));
        for examined in all.into_values().chain(results) {
            report.bytes += examined.bytes;
            report.findings.extend(examined.findings);
        }
        if signatures.is_empty() && !root_is_refused {
            report.findings.extend(self.orphans(&known));
        }
        report.findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.what.severity(), finding.signature.clone(), finding.what);
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
        report.findings.iter_mut().for_each(|finding| finding.repairable = repairable);
        if let Some(tree) = &tree {
            self.repair(tree, &mut report.findings, repair == RepairMode::On);
        }
        Ok(report)
    }

    /// Checks the directories without which nothing is loaded.
    fn directories(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for dir in [self.layout().root().to_owned(), self.layout().dir(Category::Lib)] {
            match fsutil::path_trust(&dir) {
                Ok(PathTrust::Untrusted(reason)) => {
                    let text = format!("nothing is loaded from here: {reason}");
                    findings.push(Finding::new(FindingKind::Refused, "", &dir, text));
                }
                Ok(_) => {}
                Err(error) => {
                    findings.push(Finding::new(FindingKind::Unreadable, "", &dir, error.to_string()))
                }
            }
        }
        findings
    }

    /// Examines one entry by itself.
    fn examine(&self, signature: &str, inputs: &Mutex<Inputs>) -> Examined {
        let mut examined = Examined::default();
        let lib = self.layout().lib(signature);
        let Some(file) = examined.read(signature, &lib) else { return examined };
        match record::open(&file, signature) {
            Ok(record) => {
                // An older version may have published an unfinished file.
                if let Err(reason) = elf::check(record::image_of(&file)) {
                    let text = format!("its build has not written a complete shared library: {reason}");
                    examined.findings.push(Finding::new(FindingKind::LibraryCut, signature, &lib, text));
                }
                drop(file);
                self.examine_sidecars(&record, &mut examined);
                examined.needs = record.needs().map(str::to_owned).collect();
                let params = self.layout().params();
                if params.check_inputs && !params.signature_is_name {
                    let numbers = &mut lock(inputs).numbers;
                    for input in record.inputs {
                        let count = numbers.len();
                        examined.inputs.push(*numbers.entry(input).or_insert(count));
                    }
                }
            }
            Err(invalid) => {
                let what = match invalid {
                    Invalid::Version => FindingKind::LibraryVersion,
                    Invalid::Altered => FindingKind::LibraryAltered,
                    Invalid::Foreign => FindingKind::LibraryForeign,
                    _ => FindingKind::LibraryCut,
                };
                examined.findings.push(Finding::new(what, signature, &lib, invalid.describe()));
            }
        }
        // Another program has removed the entry meanwhile.
        if !examined.findings.is_empty() && !fsutil::exists_nofollow(&lib) {
            examined.findings.clear();
        }
        examined
    }

    /// Examines a result: reads it, and compares it with its digest.
    fn examine_result(&self, signature: &str) -> Examined {
        let mut examined = Examined::default();
        let path = self.layout().result(signature);
        if let Some(bytes) = examined.read(signature, &path)
            && TaskResult::from_bytes(&bytes, signature).is_none()
        {
            let text = "it is not the whole result that was published";
            examined.findings.push(Finding::new(FindingKind::ResultAltered, signature, &path, text));
        }
        examined
    }

    fn examine_sidecars(&self, record: &EntryRecord, examined: &mut Examined) {
        let signature = &record.signature;
        if let Some(expected) = &record.header {
            let path = self.layout().inc(signature);
            let before = examined.findings.len();
            match examined.read(signature, &path) {
                Some(header) if file_digest(&header) == *expected => {}
                Some(_) => {
                    let text = "it is not the header that was built";
                    examined.findings.push(Finding::new(FindingKind::HeaderAltered, signature, &path, text));
                }
                None if examined.findings.len() > before => {}
                None => {
                    let text = "the header is missing";
                    examined.findings.push(Finding::new(FindingKind::HeaderMissing, signature, &path, text));
                }
            }
        }
        if record.source_sha256.is_empty() {
            return;
        }
        for path in self.layout().candidates(Category::Src, signature) {
            let before = examined.findings.len();
            let Some(data) = examined.read(signature, &path) else {
                // Sources are for people: an entry is valid without.
                examined.findings[before..]
                    .iter_mut()
                    .for_each(|finding| finding.what = FindingKind::SourceAltered);
                continue;
            };
            let packed = path.extension().is_some_and(|extension| extension == "gz");
            if let Err(text) = check_source(record, &data, packed) {
                examined.findings.push(Finding::new(FindingKind::SourceAltered, signature, &path, text));
            }
        }
    }

    /// Adds findings for changed inputs.
    fn changed(&self, all: &mut BTreeMap<String, Examined>, inputs: Inputs) {
        let mut inputs: Vec<(Input, usize)> = inputs.numbers.into_iter().collect();
        inputs.sort_by_key(|(_, number)| *number);
        let changes = in_parallel(&inputs, &|_, _| {}, |(input, _)| input.change());
        for (signature, examined) in all {
            let lib = self.layout().lib(signature);
            for change in examined.inputs.iter().filter_map(|number| changes[*number].as_ref()) {
                examined.findings.push(Finding::new(FindingKind::InputChanged, signature, &lib, change));
            }
        }
    }

    /// Adds findings for entries whose dependencies are missing, broken or stale, and for cycles.
    fn connections(&self, all: &mut BTreeMap<String, Examined>) {
        let worst = |examined: &Examined| {
            let severities = examined.findings.iter().map(|finding| finding.what.severity());
            severities.filter(|severity| *severity != Severity::Leftover).min()
        };
        let mut state: HashMap<String, Option<Severity>> =
            all.iter().map(|(signature, examined)| (signature.clone(), worst(examined))).collect();
        let mut found: Vec<Finding> = Vec::new();
        let (mut walk, mut order) = (DependencyWalk::default(), Vec::new());
        let open = |signature: &str| {
            let needs = all[signature].needs.iter().filter(|needed| all.contains_key(*needed));
            Ok::<_, ()>(((), needs.cloned().collect()))
        };
        for signature in all.keys() {
            order.extend(walk.visit(signature, open).unwrap_or_default());
        }
        for cycle in &walk.cycles {
            let signature = &cycle[0];
            let text = format!("it needs itself: {}", cycle.join(" needs "));
            found.push(Finding::new(FindingKind::Cycle, signature, &self.layout().lib(signature), text));
            state.insert(signature.clone(), Some(Severity::Broken));
        }
        // Dependencies come first.
        for (signature, ()) in order {
            let lib = self.layout().lib(&signature);
            for needed in &all[&signature].needs {
                let (what, text) = match state.get(needed) {
                    // Removed meanwhile, with the entry that needed it.
                    None if !fsutil::exists_nofollow(&lib) => continue,
                    None => {
                        (FindingKind::DependencyMissing, format!("it needs {needed}, which is not there"))
                    }
                    Some(Some(Severity::Broken)) => {
                        (FindingKind::DependencyBroken, format!("it needs {needed}, which is broken"))
                    }
                    Some(Some(Severity::Stale)) => (
                        FindingKind::DependencyStale,
                        format!("it needs {needed}, which will be built again"),
                    ),
                    Some(_) => continue,
                };
                found.push(Finding::new(what, &signature, &lib, text));
                let known = state.entry(signature.clone()).or_default();
                *known = Some(known.map_or(what.severity(), |known| known.min(what.severity())));
            }
        }
        for finding in found {
            if let Some(examined) = all.get_mut(&finding.signature) {
                examined.findings.push(finding);
            }
        }
    }

    /// Finds files that belong to no entry.
    fn orphans(&self, known: &HashSet<&str>) -> Vec<Finding> {
        let layout = self.layout();
        let mut findings = Vec::new();
        let names = |dir: &Path| -> Vec<(String, PathBuf)> {
            // No link in a cache is followed.
            let is_dir = dir == layout.root() || dir.symlink_metadata().is_ok_and(|facts| facts.is_dir());
            let entries = is_dir.then(|| std::fs::read_dir(dir).into_iter().flatten().flatten());
            let named =
                |entry: std::fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
            entries.into_iter().flatten().map(named).collect()
        };
        let staged = fsutil::is_unfinished;
        for (name, path) in names(layout.root()) {
            if !layout.is_own(&name) && !staged(&name) {
                findings.push(foreign_file(&path));
            }
        }
        let categories = [Category::Inc, Category::Src, Category::Lib, Category::Log];
        let dirs: BTreeSet<PathBuf> = layout.dirs().into_iter().collect();
        for dir in dirs.iter().filter(|dir| *dir != layout.root()) {
            let here = categories.iter().filter(|category| layout.dir(**category) == *dir);
            let here: Vec<Category> = here.copied().collect();
            for (name, path) in names(dir) {
                let inner = dirs.iter().any(|other| other.starts_with(&path));
                let signature = here.iter().find_map(|category| layout.signature_of(*category, &name));
                match signature {
                    _ if inner || staged(&name) => {}
                    Some(signature) if known.contains(signature) => {}
                    Some(signature) => {
                        let old = stats::age(&path).is_some_and(|age| age >= ORPHANED);
                        // It may have been removed or built meanwhile.
                        if old && !fsutil::exists_nofollow(&layout.lib(signature)) {
                            let text = "it belongs to no library";
                            findings.push(Finding::new(FindingKind::Orphan, signature, &path, text));
                        }
                    }
                    None => findings.push(foreign_file(&path)),
                }
            }
        }
        for dir in layout.other_dirs().iter().chain(&dirs) {
            if dir.symlink_metadata().is_ok_and(|facts| !facts.is_dir()) {
                let text = "it is not a directory: nothing in it is changed";
                findings.push(Finding::new(FindingKind::ForeignFile, "", dir, text));
            }
        }
        for dir in layout.other_dirs() {
            let foreign = names(&dir).into_iter().filter(|(_, path)| !layout.names(path));
            findings.extend(foreign.map(|(_, path)| foreign_file(&path)));
        }
        self.leftovers(&mut findings);
        if let Some(tree) = Tree::open(layout.root()).ok().flatten() {
            for (dir, _) in self.old_dirs(&tree) {
                let text = "only older versions of dijitso have used this directory";
                findings.push(Finding::new(FindingKind::Leftover, "", &dir, text));
            }
        }
        if let Some(tree) = Tree::open(layout.root()).ok().flatten() {
            for path in self.damaged_lists(&tree) {
                let text = "it is damaged, or of another version: the next run writes another one";
                findings.push(Finding::new(FindingKind::Leftover, "", &path, text));
            }
        }
        for (name, path) in names(&layout.lease("")).into_iter().filter(|(_, path)| layout.names(path)) {
            if let Some(info) = lease::look(None, &path).filter(|info| !info.living && !staged(&name)) {
                let text = format!("{}, which was building it, has ended", info.describe());
                findings.push(Finding::new(FindingKind::Leftover, &name, &path, text));
            }
        }
        for (_, path) in names(&layout.comm()).into_iter().filter(|(_, path)| layout.names(path)) {
            if stats::age(&path).is_some_and(|age| age >= ORPHANED) {
                let text = "hosts have used it to find each other, and do not need it any more";
                findings.push(Finding::new(FindingKind::Leftover, "", &path, text));
            }
        }
        findings
    }

    fn leftovers(&self, findings: &mut Vec<Finding>) {
        for dir in self.staging_places() {
            let inside = || Folder::open(&dir).ok().flatten();
            let Some(folder) = Folder::open_temporary(&dir).ok().flatten().or_else(inside) else { continue };
            for left in fsutil::unfinished(&folder).into_iter().filter(|unfinished| unfinished.left) {
                let text = "a program that has ended left it unfinished";
                findings.push(Finding::new(FindingKind::Leftover, "", &left.path, text));
            }
        }
    }
}

impl Examined {
    /// Reads a file. `None` if there is none, or a finding says why it cannot be read.
    fn read(&mut self, signature: &str, path: &Path) -> Option<Vec<u8>> {
        match fsutil::read_trusted(path) {
            Ok(data) => {
                self.bytes += data.as_ref().map_or(0, |data| data.len() as u64);
                data
            }
            Err(unread) => {
                let (what, text) = match unread {
                    ReadError::Refused(reason) => (FindingKind::Refused, format!("it is not used: {reason}")),
                    ReadError::Failed(error) => (FindingKind::Unreadable, error.to_string()),
                };
                self.findings.push(Finding::new(what, signature, path, text));
                None
            }
        }
    }
}

fn foreign_file(path: &Path) -> Finding {
    Finding::new(FindingKind::ForeignFile, "", path, "dijitso has not made it, and does not change it")
}

/// Applies `each` to all items with as many threads as there are cores. Returns the results in order.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    progress: &(dyn Fn(usize, usize) + Sync),
    each: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    const MOST: usize = 16;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MOST).min(items.len().div_ceil(8));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return results };
            results.push((at, each(item)));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, items.len());
        }
    };
    let mut results = std::thread::scope(|scope| {
        // Without other threads, this one does all.
        let others: Vec<_> =
            (1..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut results = work();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
