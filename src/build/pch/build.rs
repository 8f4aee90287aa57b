//! Builds precompiled headers, one at a time in a store.
//!
//! If the program ends first, the compiler goes on, with the lock that it holds, until it ends or its time
//! limit. The next program that needs the result takes it over.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::build::diagnostics;
use crate::build::inputs::{self, RunStart};
use crate::codec::hex;
use crate::fsutil::{self, Durability, Folder, LONGEST_TEXT};
use crate::human;
use crate::process::affinity::Cores;
use crate::process::detached::{DetachedCommand, DetachedExit, RunDetached};
use crate::process::exec_context::ExecContext;

use super::environment::{self, CompilerEnv};
use super::pragmas;
use super::record::{PchRecord, file_stamp, is_idempotent};
use super::{
    FAILURE_FACTOR, HEADER, PAUSE, PRECOMPILED, RECORD, REFUSAL, Store, has_recorded_stamps, read_record,
    trusted_path,
};

/// Limit of wall clock time and of processor time of a compiler.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// Longest wait for another program that builds in the same store.
pub(super) const MAX_LOCK_WAIT: Duration = Duration::from_secs(120);

/// Interval in which uses are recorded.
const USE_INTERVAL: Duration = Duration::from_secs(3600);

const LOCK: &str = ".lock";
const PLAN: &str = "plan";
const DEPFILE: &str = "preamble.d";
const TWICE_HEADER: &str = "twice.h";
const TWICE_OUTPUT: &str = "twice.i";
const TWICE_DEPFILE: &str = "twice.d";
/// Line between the two copies of the preamble in the test of idempotence.
const MARK: &str = "int dijitso_mark_between_two_preambles;\n";

/// A precompiled header to build.
#[derive(Clone, Debug)]
pub(super) struct PchJob {
    pub(super) store: Store,
    /// Name of its folder.
    pub(super) key: String,
    /// The preamble.
    pub(super) text: String,
    /// Compiler, flags and include directories.
    pub(super) argv: Vec<String>,
    /// Name of the language after `-x`.
    pub(super) language: &'static str,
    /// Environment at the time of the request: another thread may change that of the process.
    pub(super) environment: CompilerEnv,
    /// Directories that our command names for headers.
    pub(super) searched: Vec<PathBuf>,
    /// Time limit of one run.
    pub(super) limit: Duration,
    /// Least number of headers.
    pub(super) min_headers: usize,
    /// Cores for the compilers.
    pub(super) cores: Cores,
}

/// Reason in a record, compared when it is read.
const TOO_FEW_HEADERS: &str = "it has too few headers to save time";

/// State before the compiler runs. Another program that finds it can complete the build.
#[derive(Debug, Serialize, Deserialize)]
struct PchPlan {
    began: RunStart,
    /// Record of the headers, without the result.
    record: PchRecord,
}

impl PchJob {
    pub(super) fn log(&self, why: &str) {
        log::info!("precompiled header {}: {why}", self.key);
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.store.dir.join(&self.key)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.store.dir == other.store.dir
    }

    /// Returns true if there is no usable one, and it is time to build one.
    pub(super) fn needs_build(&self) -> bool {
        let folder = self.folder();
        let Some(record) = read_record(&folder) else { return true };
        let made = fs::metadata(folder.join(RECORD)).and_then(|facts| facts.modified());
        let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or(REFUSAL);
        let current = record.is_current();
        match record.refused.as_deref() {
            Some(TOO_FEW_HEADERS) if self.min_headers == 0 => true,
            Some(_) => age >= Duration::from_secs(record.pause) || (!current && age >= PAUSE),
            None => (!current || !has_recorded_stamps(&folder, &record)) && age >= PAUSE,
        }
    }
}

/// Reason why none was built.
#[derive(Debug, PartialEq, Eq)]
struct PchRefusal {
    why: String,
    /// True if another try may succeed although no header has changed.
    is_transient: bool,
}

impl PchRefusal {
    fn permanent(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_transient: false }
    }

    /// Returns the reason after a failed compiler run. It is transient unless the compiler has refused the
    /// text.
    fn of_compiler(what: &str, output: &str) -> Self {
        let line = diagnostics::first_error(output);
        let why = line.map_or_else(|| what.to_owned(), |line| format!("{what}: {line}"));
        Self { why, is_transient: !diagnostics::is_refusal(output) }
    }
}

impl From<io::Error> for PchRefusal {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), is_transient: true }
    }
}

/// Builds a precompiled header, or completes what another program has left, and logs why there is none. Waits
/// at most for `patience` for another program that builds one. Ends if `context` is cancelled.
pub(super) fn build(job: &PchJob, run: RunDetached, patience: Duration, context: &ExecContext) {
    if let Err(refusal) = try_build(job, run, patience, context) {
        job.log(&refusal.why);
    }
}

fn try_build(
    job: &PchJob,
    run: RunDetached,
    patience: Duration,
    context: &ExecContext,
) -> Result<(), PchRefusal> {
    if !job.store.dir.parent().is_some_and(Path::is_dir) {
        // The cache was removed meanwhile: do not recreate it.
        return Ok(());
    }
    fsutil::create_dirs(&job.store.dir)?;
    let untrusted = || PchRefusal::permanent("other users can change its directory");
    let dir = trusted_path(&job.store.dir).ok_or_else(untrusted)?;
    let Some(lock) = take_lock(&dir.join(LOCK), &job.folder(), patience, context)? else { return Ok(()) };
    let begin = Instant::now();
    let result = build_locked(job, run, &lock, context);
    // A compiler that was ended has refused nothing.
    if let Err(PchRefusal { why, is_transient }) = &result
        && !context.is_cancelled()
    {
        refuse(job, why, if *is_transient { PAUSE.max(begin.elapsed() * FAILURE_FACTOR) } else { REFUSAL });
    }
    evict(&job.store, &job.key);
    // Explicitly: a forked process of the host may have a copy of the open file.
    let _ = flock(&lock, FlockOperation::Unlock);
    result
}

fn open_lock(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}

/// Waits for the lock. Returns `None` if another program has written the record meanwhile, or takes too long,
/// or if the wait is cancelled.
fn take_lock(
    path: &Path,
    folder: &Path,
    patience: Duration,
    context: &ExecContext,
) -> io::Result<Option<File>> {
    let file = open_lock(path)?;
    let before = read_record(folder);
    let begin = Instant::now();
    let mut warn_after = Duration::from_secs(3);
    let mut delay = Duration::from_millis(5);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if read_record(folder) == before => return Ok(Some(file)),
            Ok(()) => return Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < patience && !context.is_cancelled() => {
                if begin.elapsed() >= warn_after {
                    let (path, seconds) = (path.display(), patience.as_secs());
                    log::warn!(
                        "waiting for another program that precompiles headers ({path}), {seconds} s at most"
                    );
                    warn_after *= 8;
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        std::thread::sleep(context.nap(delay));
        delay = (delay * 2).min(Duration::from_millis(250));
    }
}

fn build_locked(
    job: &PchJob,
    run: RunDetached,
    lock: &File,
    context: &ExecContext,
) -> Result<(), PchRefusal> {
    let folder = job.folder();
    if let Some(plan) = leftover_plan(job, &folder)
        && complete(job, &folder, plan).is_ok()
    {
        return Ok(());
    }
    remove(&job.store, &job.key)?;
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let began = RunStart::now(&folder);
    let write = |name: &str, text: &str| fsutil::write(&folder.join(name), text);
    let run = |arguments: &[&str], what: &str| {
        let mut argv = job.argv.clone();
        argv.extend(arguments.iter().map(|word| (*word).to_owned()));
        let PchJob { environment, limit, cores, .. } = job;
        let (limit, cores) = (*limit, *cores);
        let (argv, cwd) = (&argv, &folder);
        match run(&DetachedCommand { argv, cwd, lock, limit, cores, environment, context })? {
            DetachedExit::Success(output) => Ok(output),
            DetachedExit::Failure(output) => Err(PchRefusal::of_compiler(what, &output)),
        }
    };
    write(HEADER, &job.text)?;
    // A second inclusion must have no effect, because the source includes the headers again.
    write(TWICE_HEADER, &format!("{}{MARK}{}", job.text, job.text))?;
    let arguments = [
        "-v",
        "-MD",
        "-MF",
        TWICE_DEPFILE,
        "-x",
        job.language,
        "-E",
        "-dD",
        TWICE_HEADER,
        "-o",
        TWICE_OUTPUT,
    ];
    let output = run(&arguments, "the compiler cannot read it")?;
    let twice = fsutil::read_plain(&folder.join(TWICE_OUTPUT), LONGEST_TEXT)?;
    let text = String::from_utf8_lossy(&twice);
    if !is_idempotent(&text, MARK) {
        return Err(PchRefusal::permanent("its headers have another result when they are included twice"));
    }
    if let Some(pragma) = pragmas::lasting_pragma(&text) {
        return Err(PchRefusal::permanent(format!("its headers leave a pragma in effect: {pragma}")));
    }
    drop(text);
    drop(twice);
    let silent = || PchRefusal::permanent("the compiler does not print its search directories");
    let mut searched = environment::searched(&output).ok_or_else(silent)?;
    searched.extend(job.searched.iter().cloned());
    // Before compiling, so that changes meanwhile are noticed.
    let headers = inputs::all_headers(&fsutil::read_plain_text(&folder.join(TWICE_DEPFILE))?);
    let count = headers.len();
    let record = PchRecord::now(&job.key, &job.text, headers, &searched);
    if count < job.min_headers {
        return Err(PchRefusal::permanent(TOO_FEW_HEADERS));
    }
    if let Some(why) = record.refused {
        return Err(PchRefusal::permanent(why));
    }
    let plan = PchPlan { began, record };
    for name in [TWICE_HEADER, TWICE_OUTPUT, TWICE_DEPFILE] {
        fs::remove_file(folder.join(name))?;
    }
    write(PLAN, &serde_json::to_string(&plan).map_err(io::Error::from)?)?;
    let language = format!("{}-header", job.language);
    // The path without links: clang compares it with the path of the header.
    let real =
        trusted_path(&folder).ok_or_else(|| PchRefusal::permanent("other users can change its folder"))?;
    let header = real.join(HEADER).display().to_string();
    // Without `-c`, a driver with libraries among its flags would link.
    let arguments = ["-c", "-MD", "-MF", DEPFILE, "-x", &language, &header, "-o", PRECOMPILED];
    run(&arguments, "the compiler cannot precompile it")?;
    complete(job, &folder, plan)
}

/// Returns the plan of a compiler that has outlived its program, if it was about the same preamble.
fn leftover_plan(job: &PchJob, folder: &Path) -> Option<PchPlan> {
    if read_record(folder).is_some() || trusted_path(folder).is_none() {
        return None;
    }
    let plan = fsutil::read_trusted(&folder.join(PLAN)).ok().flatten()?;
    // The compiler writes it last.
    let depfile = fs::metadata(folder.join(DEPFILE)).is_ok_and(|facts| facts.len() > 0);
    serde_json::from_slice(&plan).ok().filter(|plan: &PchPlan| depfile && plan.record.is_about(&job.key))
}

/// Checks what the compiler has made, and writes its record.
fn complete(job: &PchJob, folder: &Path, plan: PchPlan) -> Result<(), PchRefusal> {
    let PchPlan { began, mut record } = plan;
    let depfile = fsutil::read_plain_text(&folder.join(DEPFILE))?;
    let mut headers = inputs::all_headers(&depfile);
    // Without the preamble itself.
    let real =
        trusted_path(folder).ok_or_else(|| PchRefusal::permanent("other users can change its folder"))?;
    headers.retain(|path| !path.starts_with(&real));
    let changed = record.headers.keys().find(|path| began.precedes_change_of(path));
    if changed.is_some() || !headers.iter().eq(record.headers.keys()) || !record.is_current() {
        let what = changed.map_or("one of its headers".to_owned(), |path| path.display().to_string());
        return Err(PchRefusal { why: format!("{what} has changed meanwhile"), is_transient: true });
    }
    let made = fsutil::open_trusted(&folder.join(PRECOMPILED)).ok().flatten();
    let made = made.ok_or_else(|| PchRefusal::permanent("the compiler has written nothing"))?;
    let size = made.metadata()?.len();
    if size == 0 {
        return Err(PchRefusal::permanent("the compiler has written nothing"));
    }
    if size > job.store.max_size {
        return Err(PchRefusal::permanent(format!(
            "it takes {}, more than cache.pch_max_size",
            human::size(size)
        )));
    }
    // The record must not name data that never reached the disk.
    made.sync_data()?;
    record.sha256 = sha256(made)?;
    for name in [HEADER, PRECOMPILED] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600))?;
        record.made.insert(name.to_owned(), file_stamp(&folder.join(name)));
    }
    if !has_recorded_stamps(folder, &record) {
        return Err(PchRefusal::permanent("another user may have written the result"));
    }
    write_record(folder, &record)?;
    job.log("built");
    Ok(())
}

fn sha256(mut file: File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn write_record(folder: &Path, record: &PchRecord) -> io::Result<()> {
    let data = serde_json::to_vec(record)?;
    fsutil::replace_atomic(&folder.join(RECORD), &data, 0o600, Durability::Synced)
}

/// Marks the result as unusable if `is_there` holds and no program is building: else the next build will see.
pub(super) fn mark_unusable(
    job: &PchJob,
    why: &str,
    pause: Duration,
    is_there: impl Fn(&Path) -> bool,
) -> bool {
    let Some(lock) = trusted_path(&job.store.dir).and_then(|dir| open_lock(&dir.join(LOCK)).ok()) else {
        return false;
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    let given_up = is_there(&job.folder());
    if given_up {
        refuse(job, why, pause);
    }
    let _ = flock(&lock, FlockOperation::Unlock);
    given_up
}

/// Replaces the result by a record that it is not to be used, nor built again before a pause. Requires the
/// lock.
fn refuse(job: &PchJob, why: &str, pause: Duration) {
    let folder = job.folder();
    let before = read_record(&folder);
    // Of the compilation, else of the test of idempotence.
    let depfile = [DEPFILE, TWICE_DEPFILE];
    let depfile = depfile.into_iter().find_map(|name| fsutil::read_plain_text(&folder.join(name)).ok());
    let depfile = depfile.unwrap_or_default();
    let headers =
        before.map_or_else(|| inputs::all_headers(&depfile), |before| before.headers.into_keys().collect());
    let _ = remove(&job.store, &job.key);
    if fs::DirBuilder::new().mode(0o700).create(&folder).is_ok() {
        let mut record = PchRecord::now(&job.key, &job.text, headers, &job.searched);
        record.refused = Some(why.to_owned());
        record.pause = pause.as_secs();
        let _ = write_record(&folder, &record);
    }
}

/// Records a use, to the hour.
pub(super) fn record_use(folder: &Path) {
    let noted = fs::metadata(folder).and_then(|facts| facts.modified());
    let age = noted.ok().and_then(|noted| SystemTime::now().duration_since(noted).ok());
    if age.is_some_and(|age| age > USE_INTERVAL) {
        let _ = fsutil::touch(folder, 0o700);
    }
}

/// Removes the least recently used ones until the store is within its limit. Requires the lock.
fn evict(store: &Store, newest: &str) {
    let is_key = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&store.dir).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned).filter(|name| is_key(name)) else {
            continue;
        };
        let files = fs::read_dir(entry.path()).into_iter().flatten().flatten();
        let size = files.filter_map(|file| file.metadata().ok()).map(|facts| fsutil::allocated(&facts)).sum();
        let used = entry.metadata().and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        all.push((if name == newest { SystemTime::now() } else { used }, size, entry.path()));
    }
    all.sort();
    let mut total: u64 = all.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in all {
        if total <= store.max_size || path.ends_with(newest) {
            break;
        }
        let key = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if remove(store, key).is_ok() {
            total -= size;
        }
    }
}

/// Removes a folder of the store, if it exists, and nothing elsewhere.
fn remove(store: &Store, key: &str) -> io::Result<()> {
    match Folder::open(&store.dir)? {
        Some(dir) => dir.remove_all(OsStr::new(key)).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_compiler_says_of_the_text_is_a_reason_to_give_up() {
        let is_transient = |output: &str| PchRefusal::of_compiler("it failed", output).is_transient;
        assert!(!is_transient("x.h:1:2: error: expected ';'\n"));
        for output in [
            "",
            "g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n",
            "preamble.h: fatal error: cannot write preamble.h.gch: No space left on device\n",
            "clang: error: unable to execute command: Killed\n",
        ] {
            assert!(is_transient(output), "{output}");
        }
        let refusal = PchRefusal::of_compiler("it failed", "note\nx.h:1:2: error: expected ';'\n");
        assert_eq!(refusal.why, "it failed: x.h:1:2: error: expected ';'");
    }
}
