//! Precompiled preambles: the headers that generated sources begin with, compiled once for many.
//!
//! ```text
//! <place>/<key>/preamble.h        the directives that the sources begin with, see `text`
//! <place>/<key>/preamble.h.gch    the same, precompiled
//! <place>/<key>/record            last to appear: what it was made from, see `record`
//! <place>/.lock                   held (flock) by whoever makes one, and by the compiler that it runs
//! ```
//! The key is a digest of the compiler and its files, the flags, the directories of headers, the environment in which
//! the compiler searches, and the text.
//!
//! It is an aid, and never decides anything: a source is compiled as it is, with the precompiled text before it, and
//! what it includes a second time is nothing (which is tried when it is made). What fails in this way is compiled
//! plainly, so that whatever a person sees comes of the plain command.
//!
//! A precompiled header is as good as foreign code: it lies where nobody else can put another, belongs to this user and
//! can be written by nobody else, and it has the size, times and number in the file system that were recorded when it
//! was made. Its digest is recorded too, and not computed at each use: that would take longer than it spares.

#![forbid(unsafe_code)]

mod build;
mod environment;
mod include_names;
mod include_resolver;
mod pragmas;
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
use build::{Places, Work};
use environment::Environment;
use record::Record;
use text::Text;

/// Where precompiled preambles are kept.
#[derive(Clone, Debug)]
pub struct Store {
    /// A directory on a disk of this host.
    pub dir: PathBuf,
    /// Bytes that they may take together.
    pub max_size: u64,
}

const HEADER: &str = "preamble.h";
const PRECOMPILED: &str = "preamble.h.gch";
const RECORD: &str = "record";

/// In the warning of a compiler that does not use what others of it, or it with other options, have made.
const INVALID: &str = "invalid-pch";

/// With fewer headers, reading them takes no longer than reading what was made of them.
const FEWEST_HEADERS: usize = 40;

/// What was made and has come out of date is not made again sooner than this after it was made: whoever writes headers
/// while building would have it made all the time. The same for what is too large to be kept.
const PAUSE: Duration = Duration::from_secs(60);

/// What cannot be made is tried again after so long, or when something has changed.
const REFUSAL: Duration = Duration::from_secs(24 * 3600);

/// What could not be made for a reason that passes (a full disk, a compiler that was killed) is tried again after that
/// pause, or so many times as long as it took to fail.
const TIMES: u32 = 20;

/// A precompiled preamble that may be used.
#[derive(Clone, Debug)]
pub(super) struct UsablePch {
    /// The header to include first.
    pub(super) header: PathBuf,
    /// What it was made from.
    pub(super) headers: Vec<PathBuf>,
    /// What its files are like.
    made: BTreeMap<String, FileStamp>,
}

/// The preamble of a source, made or not.
#[derive(Debug)]
pub(super) struct Preamble<'a> {
    job: &'a Job<'a>,
    store: &'a Store,
    work: Work,
    guards: Vec<String>,
    ours: Vec<PathBuf>,
}

impl<'a> Preamble<'a> {
    /// The preamble of a job, where it has one that others may share and precompiling it is wanted.
    pub(super) fn of(job: &'a Job<'a>) -> Option<Self> {
        let store = job.preambles.as_ref()?;
        if job.params.precompile == Precompile::Never || job.copies.is_some() || !fits(job) {
            return None;
        }
        let source = std::str::from_utf8(job.source.1).ok()?;
        let Text { lines: text, guards, ours } = include_resolver::preamble(job, source)?;
        let files = toolchain::inspect(job.params).file_key?;
        let environment = environment::environment();
        let key = key(job.params, &environment, &files, &text);
        let mut argv = job.params.compiler.clone();
        argv.extend(job.params.flags.iter().cloned());
        argv.push("-I.".to_owned());
        argv.extend(job.params.include_dirs.iter().map(|dir| format!("-I{dir}")));
        let chosen = job.params.precompile == Precompile::Always || !job.params.preamble.is_empty();
        let work = Work {
            store: store.clone(),
            key,
            text,
            argv,
            language: job.params.language.dialect,
            environment,
            searched: include_resolver::searched(job.params),
            limit: job.params.timeout.map_or(build::LIMIT, |limit| limit.min(build::LIMIT)),
            fewest: if chosen { 0 } else { FEWEST_HEADERS },
            cores: job.params.cores,
        };
        Some(Self { job, store, work, guards, ours })
    }

    /// The precompiled preamble, if there is one and everything is as it was when it was made.
    pub(super) fn ready(&self) -> Option<UsablePch> {
        let folder = firm(&self.store.dir.join(&self.work.key))?;
        let record = read_record(&folder).filter(|record| record.key == self.work.key)?;
        if record.refused.is_some() || !is_as_made(&folder, &record) || !record.is_current() {
            return None;
        }
        // The folder of the source and the cache's headers are searched before some of those directories. And what was
        // looked through is not to be read by others as well.
        let own = [Some(self.job.source), self.job.header].into_iter().flatten().map(|(name, _)| name);
        let ours = self.ours.iter().filter_map(|path| path.file_name()?.to_str());
        let mut names = own.chain(ours);
        let cached = fs::read_dir(self.job.cache_dirs.0).into_iter().flatten().flatten();
        let mut cached = cached.filter_map(|entry| entry.file_name().into_string().ok());
        if names.any(|name| record.asks_for(name)) || cached.any(|name| record.asks_for(&name)) {
            return None;
        }
        if include_resolver::are_asked_for(self.job, &self.guards, &record) {
            self.work.tell("a header that it was made from asks whether another has been read");
            return None;
        }
        build::note_use(&folder);
        let Record { headers, made, .. } = record;
        Some(UsablePch { header: folder.join(HEADER), headers: headers.into_keys().collect(), made })
    }

    /// Makes it now, where a build is to wait for that.
    pub(super) fn make_first(&self, run: Option<RunDetached>) {
        if let Some(run) =
            run.filter(|_| self.job.params.precompile == Precompile::Always && self.work.needs_build())
        {
            build::make(&self.work, run, self.job.context.patience(build::PATIENCE));
        }
    }

    /// Has it made while the first build without it runs, if a core is free for that.
    pub(super) fn make_beside(&self, runner: &dyn Runner) {
        if self.is_for_later() && self.work.needs_build() && runner.has_free_core() {
            self.queue(runner);
        }
    }

    /// Has it made beside all that follows, after a build without it that took so many seconds.
    pub(super) fn make_later(&self, runner: &dyn Runner, seconds: f64) {
        if self.is_for_later() && (build::is_under_way(&self.work) || self.work.needs_build()) {
            let mut lacking = lock(&LACKING);
            if lacking.len() >= MOST_LACKING {
                lacking.clear();
            }
            let (count, sum) = lacking.entry(self.work.folder()).or_default();
            (*count, *sum) = (*count + 1, *sum + seconds);
            drop(lacking);
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
        let places = params.slots_dir.clone().map(|dir| Places { dir, choices: choices() });
        build::make_later(self.work.clone(), places, run);
    }

    /// With it a compiler has failed that is content without, or has not used it: neither will others, unless what it has
    /// said is about something that passes.
    pub(super) fn discard(&self, ready: &UsablePch, said: &str) {
        let text = "a source that compiles without it does not compile with it";
        let passes = !said.contains(INVALID) && !diagnostics::is_refusal(said);
        // Others may have removed it, or made another, and that is why.
        let is_there = |folder: &Path| {
            let record = read_record(folder).filter(|record| record.refused.is_none());
            record.is_some_and(|record| {
                record.made == ready.made && is_as_made(folder, &record) && record.is_current()
            })
        };
        if build::give_up(&self.work, text, if passes { PAUSE } else { REFUSAL }, is_there) {
            self.work.tell(text);
        }
    }
}

/// Builds of this process that lacked a precompiled preamble, by the folder of that: how many, and their seconds.
static LACKING: Mutex<BTreeMap<PathBuf, (usize, f64)>> = Mutex::new(BTreeMap::new());

/// So many builds go without. After them, the next waits for what is under way.
const WITHOUT: usize = 2;

/// How long the next build waits at most, in terms of the seconds that those without have taken together.
const WAIT: f64 = 2.0;

/// So many preambles are remembered.
const MOST_LACKING: usize = 1000;

/// Waits while the precompiled preamble of a job is made, if several builds have gone without it: by then its use pays
/// for the wait. To be called before the build takes a place among the compilers, because what is waited for needs one.
pub(super) fn wait_for_making(job: &Job<'_>) {
    if job.params.precompile != Precompile::Auto || lock(&LACKING).values().all(|(count, _)| *count < WITHOUT)
    {
        return;
    }
    let Some(preamble) = Preamble::of(job) else { return };
    let Some((count, seconds)) = lock(&LACKING).get(&preamble.work.folder()).copied() else { return };
    if count < WITHOUT || !build::is_under_way(&preamble.work) {
        return;
    }
    let limit = Duration::try_from_secs_f64(seconds * WAIT).unwrap_or_default().min(PAUSE);
    if limit.is_zero() {
        return;
    }
    preamble.work.tell(&format!("{} waits for it for at most {:.0} s", job.signature, limit.as_secs_f64()));
    let begin = Instant::now();
    while build::is_under_way(&preamble.work)
        && begin.elapsed() < limit
        && !job.context.is_cancelled()
        && !job.context.is_hurried()
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    if build::is_under_way(&preamble.work) {
        // Once in vain is enough: whatever is in its way, no further build of this process waits.
        lock(&LACKING).insert(preamble.work.folder(), (count, f64::NEG_INFINITY));
    }
}

impl UsablePch {
    /// The options by which a compiler uses it.
    pub(super) fn options(&self) -> Vec<String> {
        ["-Winvalid-pch", "-include", &self.header.display().to_string()].map(str::to_owned).to_vec()
    }

    /// Whether a compiler says that it has not used it.
    pub(super) fn is_unused(output: &str) -> bool {
        output.contains(INVALID) || output.contains(PRECOMPILED)
    }
}

/// The path without links of a directory in whose place nobody else can put another.
fn firm(dir: &Path) -> Option<PathBuf> {
    match fsutil::path_trust(dir) {
        Ok(PathTrust::Trusted(real)) => Some(real),
        _ => None,
    }
}

fn read_record(folder: &Path) -> Option<Record> {
    let data = fsutil::read_trusted(&folder.join(RECORD)).ok().flatten()?;
    serde_json::from_slice(&data).ok().filter(|record: &Record| record.format == record::FORMAT)
}

/// Whether the files are those that were recorded, and nobody else's.
fn is_as_made(folder: &Path, record: &Record) -> bool {
    [HEADER, PRECOMPILED].into_iter().all(|name| {
        let file = fsutil::open_trusted(&folder.join(name)).ok().flatten();
        let facts = file.and_then(|file| file.metadata().ok());
        facts.is_some_and(|facts| record.made.get(name) == Some(&FileStamp::new(&facts)))
    })
}

/// Flags with which a header that is compiled beforehand may not give the same, or that somebody uses who has plans of
/// their own: further files to include, other outputs, debug information (which names the folder of the header).
fn fits(job: &Job<'_>) -> bool {
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
    // A server that one of them leaves behind would hold the lock.
    known && clean && !process::names_launcher(&params.compiler)
}

fn key(params: &BuildParams, environment: &Environment, files: &str, text: &str) -> String {
    // What was recorded in another way is not taken up either.
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
