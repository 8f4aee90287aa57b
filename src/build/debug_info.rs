//! Debug information that names the files of the cache.
//!
//! A compiler runs in a staging folder that is removed after the build, and writes the name of this folder
//! into debug information. A prefix map replaces it by the directory of sources in the cache, where debuggers
//! and profilers find the source. So two builds in one cache give the same bytes.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use crate::sync::lock;

use super::{COPIES, Job};

/// The option: GCC since 4.3, Clang since 3.8, and compilers that are made of them.
const OPTION: &str = "-fdebug-prefix-map";

/// Compilers that do not know it.
static REFUSED: Mutex<BTreeSet<Vec<String>>> = Mutex::new(BTreeSet::new());

/// Returns the options for a run in the staging folder `dir`; none if the build has no debug information, or
/// if the compiler does not know them.
///
/// They are no part of the recorded command: it is run again in a folder that has the source.
pub(super) fn options(job: &Job<'_>, dir: &Path) -> Vec<String> {
    if !job.params.has_debug_info() || lock(&REFUSED).contains(&job.params.compiler) {
        return Vec::new();
    }
    let (sources, headers) = (job.source_dir.display().to_string(), job.cache_dirs.0.display().to_string());
    // Compilers take the path of the folder without links.
    let staging = dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).display().to_string();
    let mut maps = vec![(staging, sources)];
    if let Some((name, _)) = job.header {
        // As a source names it, and as it is found by `-I.`.
        maps.extend([name.to_owned(), format!("./{name}")].map(|from| (from, format!("{headers}/{name}"))));
    }
    if job.copies.is_some() {
        maps.push((COPIES[0].to_owned(), headers));
    }
    // The first `=` ends the old name.
    let fits = |(from, _): &(String, String)| !from.contains('=');
    maps.into_iter().filter(fits).map(|(from, to)| format!("{OPTION}={from}={to}")).collect()
}

/// Returns true if the output of a failed run says that the compiler does not know the option. It is then not
/// passed to this compiler again, in this process.
pub(super) fn is_refused(job: &Job<'_>, output: &str) -> bool {
    if !job.params.has_debug_info() || !output.contains(OPTION) {
        return false;
    }
    let is_new = lock(&REFUSED).insert(job.params.compiler.clone());
    if is_new {
        let compiler = crate::process::join(&job.params.compiler);
        log::warn!("{compiler} does not know {OPTION}: debuggers do not find the sources by themselves");
    }
    is_new
}
