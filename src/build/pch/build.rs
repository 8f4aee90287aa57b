//! Makes precompiled preambles: one at a time on a host, beside the program where nobody is to wait for it.
//!
//! A program may end while its compiler is still at it. That compiler ends by itself, with the lock that it holds, or
//! by a limit of its time; what it has finished is taken up by whoever next wants the same.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::build::diagnostics;
use crate::build::inputs::{self, RunStart};
use crate::codec::hex;
use crate::fsutil::{self, Durability, Folder, LONGEST_TEXT};
use crate::human;
use crate::owner::Creator;
use crate::process::affinity::Cores;
use crate::process::detached::{DetachedCommand, DetachedExit, RunDetached};
use crate::process::slots::{self, SlotRequest};
use crate::sync::lock;

use super::environment::{self, Environment};
use super::pragmas;
use super::record::{Record, file_stamp, is_idempotent};
use super::{HEADER, PAUSE, PRECOMPILED, RECORD, REFUSAL, Store, TIMES, firm, is_as_made, read_record};

/// For how long a compiler may run, in seconds of the clock and of a processor.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// How long to wait for others who make one.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How long to wait for a place among the compilers of this host.
const PATIENCE_FOR_A_PLACE: Duration = Duration::from_secs(600);

/// How often at most a use is noted.
const NOTED: Duration = Duration::from_secs(3600);

const LOCK: &str = ".lock";
const PLAN: &str = "plan";
const NOTES: &str = "preamble.d";
const TWICE: &str = "twice.h";
const ONCE_MORE: &str = "twice.i";
const NOTES_OF_TWICE: &str = "twice.d";
/// What stands between the two times that the preamble is read for a trial, and is a line of its own.
const MARK: &str = "int dijitso_mark_between_two_preambles;\n";

/// A preamble to be made.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) store: Store,
    /// Name of its folder.
    pub(super) key: String,
    /// The directives.
    pub(super) text: String,
    /// Compiler, flags and include directories.
    pub(super) argv: Vec<String>,
    /// As after `-x`.
    pub(super) language: &'static str,
    /// The environment in which it was wanted: of that of the program another thread may change something.
    pub(super) environment: Environment,
    /// Directories in which headers are searched, by our command.
    pub(super) searched: Vec<PathBuf>,
    /// Time limit of one run.
    pub(super) limit: Duration,
    /// With fewer headers it is not made.
    pub(super) fewest: usize,
    /// The cores for its compilers.
    pub(super) cores: Cores,
}

/// Places for compilers on this host: where they are counted, and which will do.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) dir: PathBuf,
    pub(super) choices: Vec<usize>,
}

/// Why it is not made if there are fewer headers than that.
const FEW: &str = "it has too few headers to be worth it";

/// What is written down before the compiler runs, so that others can take up what it has made.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    began: RunStart,
    /// From before it runs, without what it makes.
    record: Record,
}

impl Work {
    pub(super) fn tell(&self, why: &str) {
        log::info!("precompiled preamble {}: {why}", self.key);
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.store.dir.join(&self.key)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.store.dir == other.store.dir
    }

    /// Whether there is none, and making one may help.
    pub(super) fn needs_build(&self) -> bool {
        let folder = self.folder();
        let Some(record) = read_record(&folder) else { return true };
        let made = fs::metadata(folder.join(RECORD)).and_then(|facts| facts.modified());
        let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or(REFUSAL);
        let current = record.is_current();
        match record.refused.as_deref() {
            Some(FEW) if self.fewest == 0 => true,
            Some(_) => age >= Duration::from_secs(record.pause) || (!current && age >= PAUSE),
            None => (!current || !is_as_made(&folder, &record)) && age >= PAUSE,
        }
    }
}

/// The preambles that this process is to make.
#[derive(Default)]
struct Queue {
    /// Whose queue it is: a process that was forked off has a copy, and not the thread.
    creator: Option<Creator>,
    waiting: Vec<(Work, Option<Places>)>,
    /// The stores for which a thread is at it: in each, one is made at a time.
    busy: Vec<PathBuf>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { creator: None, waiting: Vec::new(), busy: Vec::new() });

fn queue() -> MutexGuard<'static, Queue> {
    let mut queue = lock(&QUEUE);
    let creator = Some(Creator::current());
    if queue.creator != creator {
        *queue = Queue { creator, ..Queue::default() };
    }
    queue
}

/// Whether this process is making it, or about to.
pub(super) fn is_under_way(work: &Work) -> bool {
    queue().waiting.iter().any(|(other, _)| other.is_same(work))
}

/// Makes a preamble beside what this program does next, with a lower priority, as one of the compilers of this host.
pub(super) fn make_later(work: Work, places: Option<Places>, run: RunDetached) {
    let mut queue = queue();
    if queue.waiting.iter().any(|(other, _)| other.is_same(&work)) {
        return;
    }
    let dir = work.store.dir.clone();
    queue.waiting.push((work, places));
    if queue.busy.contains(&dir) {
        return;
    }
    queue.busy.push(dir.clone());
    let of = dir.clone();
    let thread = std::thread::Builder::new().name("dijitso-pch".to_owned());
    if thread.spawn(move || work_off(&of, run)).is_err() {
        queue.waiting.retain(|(work, _)| work.store.dir != dir);
        queue.busy.retain(|other| *other != dir);
    }
}

fn work_off(dir: &Path, run: RunDetached) {
    // Of this thread alone, and of what it starts. Not the lowest: what holds a place of a compiler is to come to its end.
    let _ = rustix::process::setpriority_process(None, 5);
    while let Some((work, places)) = next(dir) {
        make_in_a_place(&work, places.as_ref(), run);
        queue().waiting.retain(|(other, _)| !other.is_same(&work));
    }
}

/// The first that waits for this store. Without one, the thread that asks is not at it any more.
fn next(dir: &Path) -> Option<(Work, Option<Places>)> {
    let mut queue = queue();
    let next = queue.waiting.iter().find(|(work, _)| work.store.dir == dir).cloned();
    if next.is_none() {
        queue.busy.retain(|other| other != dir);
    }
    next
}

fn make_in_a_place(work: &Work, places: Option<&Places>, run: RunDetached) {
    let place = match places {
        Some(Places { dir, choices }) => {
            match slots::take_spare(&SlotRequest { dir, choices, patience: PATIENCE_FOR_A_PLACE }) {
                None => return work.tell("all places for compilers stayed taken"),
                place => place,
            }
        }
        None => None,
    };
    // Another program may have made it meanwhile.
    if work.needs_build() {
        make(work, run, PATIENCE);
    }
    drop(place);
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    why: String,
    /// Whether the next try may succeed though nothing has changed.
    passes: bool,
}

impl Refusal {
    fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false }
    }

    /// What a compiler has not done. Only what it says of the text is a reason to give up.
    fn of_compiler(what: &str, said: &str) -> Self {
        let line = diagnostics::first_error(said);
        let why = line.map_or_else(|| what.to_owned(), |line| format!("{what}: {line}"));
        Self { why, passes: !diagnostics::is_refusal(said) }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), passes: true }
    }
}

/// Makes a preamble, or takes up one that somebody has left. Tells why there is none. Waits at most for `patience` for
/// another program that makes one.
pub(super) fn make(work: &Work, run: RunDetached, patience: Duration) {
    if let Err(refusal) = try_to_make(work, run, patience) {
        work.tell(&refusal.why);
    }
}

fn try_to_make(work: &Work, run: RunDetached, patience: Duration) -> Result<(), Refusal> {
    if !work.store.dir.parent().is_some_and(Path::is_dir) {
        // The cache has been removed meanwhile, and is not to come back.
        return Ok(());
    }
    fsutil::create_dirs(&work.store.dir)?;
    let loose = || Refusal::lasting("others can change what is in its directory");
    let dir = firm(&work.store.dir).ok_or_else(loose)?;
    let Some(lock) = take_lock(&dir.join(LOCK), &work.folder(), patience)? else { return Ok(()) };
    let begin = Instant::now();
    let made = make_in(work, run, &lock);
    if let Err(Refusal { why, passes }) = &made {
        refuse(work, why, if *passes { PAUSE.max(begin.elapsed() * TIMES) } else { REFUSAL });
    }
    make_room(&work.store, &work.key);
    // Not left to the closing of the file: a process that the host has forked may have a copy of it.
    let _ = flock(&lock, FlockOperation::Unlock);
    made
}

fn open_lock(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}

/// Waits for the lock. `None` when what is wanted has appeared, or others take too long.
fn take_lock(path: &Path, folder: &Path, patience: Duration) -> io::Result<Option<File>> {
    let file = open_lock(path)?;
    let before = read_record(folder);
    let begin = Instant::now();
    let mut say_after = Duration::from_secs(3);
    let mut nap = Duration::from_millis(5);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if read_record(folder) == before => return Ok(Some(file)),
            Ok(()) => return Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < patience => {
                if begin.elapsed() >= say_after {
                    let (path, seconds) = (path.display(), patience.as_secs());
                    log::warn!(
                        "waiting for another program that precompiles headers ({path}), {seconds} s at most"
                    );
                    say_after *= 8;
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(250));
    }
}

fn make_in(work: &Work, run: RunDetached, lock: &File) -> Result<(), Refusal> {
    let folder = work.folder();
    if let Some(plan) = left(work, &folder)
        && finish(work, &folder, plan).is_ok()
    {
        return Ok(());
    }
    remove(&work.store, &work.key)?;
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let began = RunStart::now(&folder);
    let write = |name: &str, text: &str| fsutil::write(&folder.join(name), text);
    let run = |arguments: &[&str], what: &str| {
        let mut argv = work.argv.clone();
        argv.extend(arguments.iter().map(|word| (*word).to_owned()));
        let Work { environment, limit, cores, .. } = work;
        let (limit, cores) = (*limit, *cores);
        match run(&DetachedCommand { argv: &argv, cwd: &folder, lock, limit, cores, environment })? {
            DetachedExit::Success(said) => Ok(said),
            DetachedExit::Failure(said) => Err(Refusal::of_compiler(what, &said)),
        }
    };
    write(HEADER, &work.text)?;
    // What is included a second time must be nothing, since the sources include it once more.
    write(TWICE, &format!("{}{MARK}{}", work.text, work.text))?;
    let arguments =
        ["-v", "-MD", "-MF", NOTES_OF_TWICE, "-x", work.language, "-E", "-dD", TWICE, "-o", ONCE_MORE];
    let said = run(&arguments, "the compiler does not read it")?;
    let twice = fsutil::read_plain(&folder.join(ONCE_MORE), LONGEST_TEXT)?;
    let text = String::from_utf8_lossy(&twice);
    if !is_idempotent(&text, MARK) {
        return Err(Refusal::lasting("its headers give something else when they are included twice"));
    }
    if let Some(pragma) = pragmas::lasting(&text) {
        return Err(Refusal::lasting(format!("its headers leave something set for what follows: {pragma}")));
    }
    drop(text);
    drop(twice);
    let silent = || Refusal::lasting("the compiler does not say where it searches for headers");
    let mut searched = environment::searched(&said).ok_or_else(silent)?;
    searched.extend(work.searched.iter().cloned());
    // Before it is compiled: what changes meanwhile is seen.
    let headers = inputs::all_headers(&fsutil::read_plain_text(&folder.join(NOTES_OF_TWICE))?);
    let count = headers.len();
    let record = Record::now(&work.key, &work.text, headers, &searched);
    if count < work.fewest {
        return Err(Refusal::lasting(FEW));
    }
    if let Some(why) = record.refused {
        return Err(Refusal::lasting(why));
    }
    let plan = Plan { began, record };
    for name in [TWICE, ONCE_MORE, NOTES_OF_TWICE] {
        fs::remove_file(folder.join(name))?;
    }
    write(PLAN, &serde_json::to_string(&plan).map_err(io::Error::from)?)?;
    let language = format!("{}-header", work.language);
    // The path without links: clang looks for the header there, and for nothing else.
    let real = firm(&folder).ok_or_else(|| Refusal::lasting("others can change its folder"))?;
    let header = real.join(HEADER).display().to_string();
    // Without `-c`, a driver with libraries among its flags would link.
    let arguments = ["-c", "-MD", "-MF", NOTES, "-x", &language, &header, "-o", PRECOMPILED];
    run(&arguments, "the compiler does not precompile it")?;
    finish(work, &folder, plan)
}

/// The plan of a compiler whose program has ended before it, when it was about the same.
fn left(work: &Work, folder: &Path) -> Option<Plan> {
    if read_record(folder).is_some() || firm(folder).is_none() {
        return None;
    }
    let plan = fsutil::read_trusted(&folder.join(PLAN)).ok().flatten()?;
    // Written when all else is done.
    let notes = fs::metadata(folder.join(NOTES)).is_ok_and(|facts| facts.len() > 0);
    serde_json::from_slice(&plan).ok().filter(|plan: &Plan| notes && plan.record.is_about(&work.key))
}

/// Writes the record of what the compiler has made.
fn finish(work: &Work, folder: &Path, plan: Plan) -> Result<(), Refusal> {
    let Plan { began, mut record } = plan;
    let notes = fsutil::read_plain_text(&folder.join(NOTES))?;
    let mut headers = inputs::all_headers(&notes);
    // That which was precompiled, by the path that the compiler was given.
    let real = firm(folder).ok_or_else(|| Refusal::lasting("others can change its folder"))?;
    headers.retain(|path| !path.starts_with(&real));
    let changed = record.headers.keys().find(|path| began.has_seen_change_of(path));
    if changed.is_some() || !headers.iter().eq(record.headers.keys()) || !record.is_current() {
        let what = changed.map_or("what it is made from".to_owned(), |path| path.display().to_string());
        return Err(Refusal { why: format!("{what} has changed meanwhile"), passes: true });
    }
    let made = fsutil::open_trusted(&folder.join(PRECOMPILED)).ok().flatten();
    let made = made.ok_or_else(|| Refusal::lasting("nothing was made"))?;
    let size = made.metadata()?.len();
    if size == 0 {
        return Err(Refusal::lasting("nothing was made"));
    }
    if size > work.store.max_size {
        return Err(Refusal::lasting(format!("it takes {} (cache.pch_max_size)", human::size(size))));
    }
    // No name of ours stands for what never reached the disk.
    made.sync_data()?;
    record.sha256 = sha256(made)?;
    for name in [HEADER, PRECOMPILED] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600))?;
        record.made.insert(name.to_owned(), file_stamp(&folder.join(name)));
    }
    if !is_as_made(folder, &record) {
        return Err(Refusal::lasting("somebody else can have written what was made"));
    }
    write_record(folder, &record)?;
    work.tell("made");
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

fn write_record(folder: &Path, record: &Record) -> io::Result<()> {
    let data = serde_json::to_vec(record)?;
    fsutil::replace_atomic(&folder.join(RECORD), &data, 0o600, Durability::Synced)
}

/// Refuses what was made, if it is there as `is_there` says and nobody is making any: then the next build will see.
pub(super) fn give_up(work: &Work, why: &str, pause: Duration, is_there: impl Fn(&Path) -> bool) -> bool {
    let Some(lock) = firm(&work.store.dir).and_then(|dir| open_lock(&dir.join(LOCK)).ok()) else {
        return false;
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    let given_up = is_there(&work.folder());
    if given_up {
        refuse(work, why, pause);
    }
    let _ = flock(&lock, FlockOperation::Unlock);
    given_up
}

/// Writes down, in the place of what was made, that this preamble is not to be used, nor tried again so soon. Only while
/// the lock is held.
fn refuse(work: &Work, why: &str, pause: Duration) {
    let folder = work.folder();
    let before = read_record(&folder);
    // What was precompiled, or only read.
    let notes = [NOTES, NOTES_OF_TWICE];
    let notes = notes.into_iter().find_map(|name| fsutil::read_plain_text(&folder.join(name)).ok());
    let notes = notes.unwrap_or_default();
    let headers =
        before.map_or_else(|| inputs::all_headers(&notes), |before| before.headers.into_keys().collect());
    let _ = remove(&work.store, &work.key);
    if fs::DirBuilder::new().mode(0o700).create(&folder).is_ok() {
        let mut record = Record::now(&work.key, &work.text, headers, &work.searched);
        record.refused = Some(why.to_owned());
        record.pause = pause.as_secs();
        let _ = write_record(&folder, &record);
    }
}

/// Notes that a preamble is used, to the hour.
pub(super) fn note_use(folder: &Path) {
    let noted = fs::metadata(folder).and_then(|facts| facts.modified());
    let age = noted.ok().and_then(|noted| SystemTime::now().duration_since(noted).ok());
    if age.is_some_and(|age| age > NOTED) {
        let _ = fsutil::touch(folder, 0o700);
    }
}

/// Removes those that have not been used for the longest time, until all take no more than they may. Only while the
/// lock is held.
fn make_room(store: &Store, newest: &str) {
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

/// Removes the folder of a preamble, from the directory of preambles and from nowhere else. That there is none is fine.
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
        let passes = |said: &str| Refusal::of_compiler("it failed", said).passes;
        assert!(!passes("x.h:1:2: error: expected ';'\n"));
        for said in [
            "",
            "g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n",
            "preamble.h: fatal error: cannot write preamble.h.gch: No space left on device\n",
            "clang: error: unable to execute command: Killed\n",
        ] {
            assert!(passes(said), "{said}");
        }
        let refusal = Refusal::of_compiler("it failed", "note\nx.h:1:2: error: expected ';'\n");
        assert_eq!(refusal.why, "it failed: x.h:1:2: error: expected ';'");
    }
}
