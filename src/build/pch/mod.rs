//! Precompiled headers. The preamble, the directives that many generated sources begin with, is compiled
//! once.
//!
//! ```text
//! <store>/<key>/preamble.h        the preamble, see `text`
//! <store>/<key>/preamble.h.gch    the same, precompiled
//! <store>/<key>/record            written last: the files it was made from, see `record`
//! <store>/.lock                   locked (flock) by the program that builds, and by its compiler
//! ```
//! The key is a digest of the compiler and its files, the flags, the directories of headers, the environment
//! in which the compiler searches, and the text.
//!
//! A precompiled header changes only the speed. The source is compiled as it is, with the precompiled header
//! included before it; its own inclusion of the same headers then has no effect, which is tested when the
//! precompiled header is built. If a run fails, the plain command is run, so that errors are always those of
//! the plain command.
//!
//! A precompiled header is trusted like code: it is in a directory in which no other user can replace files,
//! belongs to this user, cannot be written by others, and has the size, times and inode that were recorded
//! when it was built. Its digest is recorded too, but not computed at each use, which would take longer than
//! the precompiled header saves.

#![forbid(unsafe_code)]

mod build;
mod environment;
mod include_names;
mod include_resolver;
mod pragmas;
mod queue;
mod record;
mod text;
mod volatile_macros;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::codec::{Writer, digest, hex};
use crate::fsutil::{self, FileStamp, PathTrust};
use crate::params::resolved::{BuildParams, Precompile};
use crate::process::detached::RunDetached;
use crate::process::{self, Runner, slots};
use crate::sync::lock;

use super::{Job, diagnostics, toolchain};
use build::PchJob;
use environment::CompilerEnv;
use queue::SlotChoice;
use record::PchRecord;
use text::PreambleText;

/// Store of precompiled headers.
#[derive(Clone, Debug)]
pub struct Store {
    /// A directory on a disk of this host.
    pub dir: PathBuf,
    /// Size limit, in bytes.
    pub max_size: u64,
}

const HEADER: &str = "preamble.h";
const PRECOMPILED: &str = "preamble.h.gch";
const RECORD: &str = "record";

/// Name of the warning of a compiler that does not use the precompiled header, because another compiler or
/// other options made it.
const INVALID: &str = "invalid-pch";

/// Least number of headers for which a precompiled header saves time.
const MIN_HEADERS: usize = 40;

/// Least age of an outdated precompiled header before it is built again: a user who edits headers would have
/// it built all the time. The same for one that is too large to be kept.
const PAUSE: Duration = Duration::from_secs(60);

/// Time until another try after a lasting failure, unless a header changes.
const REFUSAL: Duration = Duration::from_secs(24 * 3600);

/// After a transient failure (a full disk, a killed compiler), the next try comes after [`PAUSE`], or after
/// this multiple of the time that the failure took.
const FAILURE_FACTOR: u32 = 20;

/// A precompiled header that may be used.
#[derive(Clone, Debug)]
pub(super) struct UsablePch {
    /// Header to include first.
    pub(super) header: PathBuf,
    /// Headers it was made from.
    pub(super) headers: Vec<PathBuf>,
    /// Stamps of its files.
    made: BTreeMap<String, FileStamp>,
}

/// The preamble of a source, precompiled or not.
#[derive(Debug)]
pub(super) struct Preamble<'a> {
    job: &'a Job<'a>,
    store: &'a Store,
    pch_job: PchJob,
    guards: Vec<String>,
    own_headers: Vec<PathBuf>,
}

impl<'a> Preamble<'a> {
    /// Returns the preamble of a job, if it has one, precompiling is enabled, and its flags allow it.
    pub(super) fn of(job: &'a Job<'a>) -> Option<Self> {
        let store = job.pch_store.as_ref()?;
        if job.params.precompile == Precompile::Never || job.copies.is_some() || !is_suitable(job) {
            return None;
        }
        let source = std::str::from_utf8(job.source.1).ok()?;
        let PreambleText { lines: text, guards, own_headers } = include_resolver::preamble(job, source)?;
        let files = toolchain::inspect(job.params).file_key?;
        let environment = environment::environment();
        let key = key(job.params, &environment, &files, &text);
        let mut argv = job.params.compiler.clone();
        argv.extend(job.params.flags.iter().cloned());
        argv.push("-I.".to_owned());
        argv.extend(job.params.include_dirs.iter().map(|dir| format!("-I{dir}")));
        let chosen = job.params.precompile == Precompile::Always || !job.params.pch_headers.is_empty();
        let pch_job = PchJob {
            store: store.clone(),
            key,
            text,
            argv,
            language: job.params.language.dialect,
            environment,
            searched: include_resolver::dirs(job.params),
            limit: job.params.timeout.map_or(build::LIMIT, |limit| limit.min(build::LIMIT)),
            min_headers: if chosen { 0 } else { MIN_HEADERS },
            cores: job.params.cores,
        };
        Some(Self { job, store, pch_job, guards, own_headers })
    }

    /// Returns the precompiled header, if there is one and nothing has changed since it was built.
    pub(super) fn usable_pch(&self) -> Option<UsablePch> {
        let folder = trusted_path(&self.store.dir.join(&self.pch_job.key))?;
        let record = read_record(&folder).filter(|record| record.key == self.pch_job.key)?;
        if record.refused.is_some() || !has_recorded_stamps(&folder, &record) || !record.is_current() {
            return None;
        }
        // The folder of the source and the cache's headers are searched before some of these directories. And
        // no header may include again what was copied into the preamble.
        let own = [Some(self.job.source), self.job.header].into_iter().flatten().map(|(name, _)| name);
        let own_headers = self.own_headers.iter().filter_map(|path| path.file_name()?.to_str());
        let mut names = own.chain(own_headers);
        let cached = fs::read_dir(self.job.cache_dirs.0).into_iter().flatten().flatten();
        let mut cached = cached.filter_map(|entry| entry.file_name().into_string().ok());
        if names.any(|name| record.asks_for(name)) || cached.any(|name| record.asks_for(&name)) {
            return None;
        }
        if include_resolver::are_guards_mentioned(self.job, &self.guards, &record) {
            self.pch_job.log("one of its headers tests the guard of another");
            return None;
        }
        build::record_use(&folder);
        let PchRecord { headers, made, .. } = record;
        Some(UsablePch { header: folder.join(HEADER), headers: headers.into_keys().collect(), made })
    }

    /// Builds it now, if builds are to wait for it.
    pub(super) fn build_first(&self, run: Option<RunDetached>) {
        if let Some(run) =
            run.filter(|_| self.job.params.precompile == Precompile::Always && self.pch_job.needs_build())
        {
            let context = self.job.context;
            build::build(&self.pch_job, run, context.patience(build::MAX_LOCK_WAIT), context);
        }
    }

    /// Builds it in the background during the first build, if a core is free.
    pub(super) fn build_beside_run(&self, runner: &dyn Runner) {
        if self.is_for_later() && self.pch_job.needs_build() && runner.has_free_core() {
            self.queue(runner);
        }
    }

    /// Builds it in the background, after a build without it that took this many seconds.
    pub(super) fn build_pch_later(&self, runner: &dyn Runner, seconds: f64) {
        if self.is_for_later() && (queue::contains(&self.pch_job) || self.pch_job.needs_build()) {
            let mut builds_without = lock(&BUILDS_WITHOUT);
            if builds_without.len() >= MAX_COUNTED {
                builds_without.clear();
            }
            let (count, sum) = builds_without.entry(self.pch_job.folder()).or_default();
            (*count, *sum) = (*count + 1, *sum + seconds);
            drop(builds_without);
            self.queue(runner);
        }
    }

    fn is_for_later(&self) -> bool {
        self.job.params.precompile == Precompile::Auto
    }

    fn queue(&self, runner: &dyn Runner) {
        let params = self.job.params;
        let Some(run) = runner.detached() else { return };
        let choices = || slots::choices(params.max_compilers, params.cores);
        let places = params.slots_dir.clone().map(|dir| SlotChoice { dir, choices: choices() });
        queue::push(self.pch_job.clone(), places, run);
    }

    /// Marks it as unusable, after a run that failed with it, or did not use it, and succeeded without. A
    /// transient error makes the mark a short one.
    pub(super) fn discard(&self, pch: &UsablePch, output: &str) {
        let text = "a source compiles without it, but not with it";
        let is_transient = !output.contains(INVALID) && !diagnostics::is_refusal(output);
        // The reason may be that another program has removed or replaced it.
        let is_there = |folder: &Path| {
            let record = read_record(folder).filter(|record| record.refused.is_none());
            record.is_some_and(|record| {
                record.made == pch.made && has_recorded_stamps(folder, &record) && record.is_current()
            })
        };
        if build::mark_unusable(&self.pch_job, text, if is_transient { PAUSE } else { REFUSAL }, is_there) {
            self.pch_job.log(text);
        }
    }
}

/// Builds of this process without a precompiled header, by its folder: their number and seconds.
static BUILDS_WITHOUT: Mutex<BTreeMap<PathBuf, (usize, f64)>> = Mutex::new(BTreeMap::new());

/// Number of builds that do not wait. The next one waits if the precompiled header is being built.
const FREE_BUILDS: usize = 2;

/// Longest wait, as a multiple of the seconds of the builds without it.
const WAIT_FACTOR: f64 = 2.0;

/// Most folders that are counted.
const MAX_COUNTED: usize = 1000;

/// Waits while the precompiled header of a job is being built, if several builds have gone without it: by
/// then its use pays for the wait. Called before the build takes a compiler slot, because the other build
/// needs one.
pub(super) fn wait_for_build(job: &Job<'_>) {
    if job.params.precompile != Precompile::Auto
        || lock(&BUILDS_WITHOUT).values().all(|(count, _)| *count < FREE_BUILDS)
    {
        return;
    }
    let Some(preamble) = Preamble::of(job) else { return };
    let Some((count, seconds)) = lock(&BUILDS_WITHOUT).get(&preamble.pch_job.folder()).copied() else {
        return;
    };
    if count < FREE_BUILDS || !queue::contains(&preamble.pch_job) {
        return;
    }
    let limit = Duration::try_from_secs_f64(seconds * WAIT_FACTOR).unwrap_or_default().min(PAUSE);
    if limit.is_zero() {
        return;
    }
    preamble.pch_job.log(&format!("{} waits for it, at most {:.0} s", job.signature, limit.as_secs_f64()));
    let begin = Instant::now();
    while queue::contains(&preamble.pch_job)
        && begin.elapsed() < limit
        && !job.context.is_cancelled()
        && !job.context.is_hurried()
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    if queue::contains(&preamble.pch_job) {
        // After one wait in vain, no further build of this process waits.
        lock(&BUILDS_WITHOUT).insert(preamble.pch_job.folder(), (count, f64::NEG_INFINITY));
    }
}

impl UsablePch {
    /// Returns the options with which a compiler uses it.
    pub(super) fn options(&self) -> Vec<String> {
        ["-Winvalid-pch", "-include", &self.header.display().to_string()].map(str::to_owned).to_vec()
    }

    /// Returns true if the output of a compiler says that it was not used.
    pub(super) fn is_unused(output: &str) -> bool {
        output.contains(INVALID) || output.contains(PRECOMPILED)
    }
}

/// Returns the path of a directory without links, if no other user can replace it.
fn trusted_path(dir: &Path) -> Option<PathBuf> {
    match fsutil::path_trust(dir) {
        Ok(PathTrust::Trusted(real)) => Some(real),
        _ => None,
    }
}

fn read_record(folder: &Path) -> Option<PchRecord> {
    let data = fsutil::read_trusted(&folder.join(RECORD)).ok().flatten()?;
    serde_json::from_slice(&data).ok().filter(|record: &PchRecord| record.format == record::FORMAT)
}

/// Returns true if the files have the recorded stamps and belong to this user.
fn has_recorded_stamps(folder: &Path, record: &PchRecord) -> bool {
    [HEADER, PRECOMPILED].into_iter().all(|name| {
        let file = fsutil::open_trusted(&folder.join(name)).ok().flatten();
        let facts = file.and_then(|file| file.metadata().ok());
        facts.is_some_and(|facts| record.made.get(name) == Some(&FileStamp::new(&facts)))
    })
}

/// Returns true if flags and source suit a precompiled header. Unsuitable are flags that include further
/// files, write other outputs, or add debug information, which names the folder of the header.
fn is_suitable(job: &Job<'_>) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "-M",
        "-x",
        "-i",
        "-E",
        "-S",
        "-save-temps",
        "--save-temps",
        "-fpch",
        "-fprofile",
        "-fplugin",
        "-flto",
        "--coverage",
        "-ftest-coverage",
        "@",
    ];
    const SEARCHES: [&str; 3] = ["-isystem", "-iquote", "-idirafter"];
    let params = job.params;
    let odd = |word: &String| {
        let begins = BEGINNINGS.iter().any(|option| word.starts_with(option));
        let searches = SEARCHES.iter().any(|option| word.starts_with(option));
        (begins && !searches) || word == "-c" || (word.starts_with("-g") && word != "-g0")
    };
    let language = params.language;
    let known = language.has_pch && language.suffixes.iter().any(|suffix| job.source.0.ends_with(suffix));
    let clean = !params.flags.iter().chain(&params.compiler).any(odd);
    // A server that a launcher leaves behind would hold the lock.
    known && clean && !process::names_launcher(&params.compiler)
}

fn key(params: &BuildParams, environment: &CompilerEnv, files: &str, text: &str) -> String {
    // Records of another format have other keys.
    let mut writer = Writer::new(record::FORMAT.as_bytes());
    writer.bytes(files.as_bytes());
    writer.bytes(params.language.name.as_bytes());
    for words in [&params.compiler, &params.flags, &params.include_dirs] {
        writer.u64(words.len() as u64);
        words.iter().for_each(|word| writer.bytes(word.as_bytes()));
    }
    let variables: Vec<_> = environment.iter().filter(|(name, _)| environment::matters(name)).collect();
    writer.u64(variables.len() as u64);
    for (name, value) in variables {
        writer.bytes(name.as_encoded_bytes());
        writer.bytes(value.as_encoded_bytes());
    }
    writer.bytes(text.as_bytes());
    hex(&digest(&writer.finish())[..16])
}
