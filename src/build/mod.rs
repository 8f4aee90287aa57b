//! Builds one library in a folder of its own, or a folder that shows why it cannot be built.

#![forbid(unsafe_code)]

pub mod command;
mod diagnostics;
mod failure;
mod inputs;
mod linker;
pub mod pch;
mod retry;
mod run;
pub mod toolchain;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::advice;
use crate::error::{Error, Kind};
use crate::fsutil;
use crate::human;
use crate::inputs::Input;
use crate::language::Language;
use crate::logging::progress;
use crate::params::resolved::BuildParams;
use crate::process::exec_context::ExecContext;
use crate::process::slots::{self, SlotRequest};
use crate::process::{Exit, Outcome, Runner, find_program};

use command::Dirs;
use run::{CompilerRun, RUNS};

/// A build to be done.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// Section `build`.
    pub params: &'a BuildParams,
    /// The signature, for messages.
    pub signature: &'a str,
    /// File name and text of the source.
    pub source: (&'a str, &'a [u8]),
    /// File name and text of the header.
    pub header: Option<(&'a str, &'a [u8])>,
    /// File name of the library.
    pub library: &'a str,
    /// File names of the libraries to link, in the cache's library directory.
    pub dependencies: &'a [String],
    /// Headers that the source may include and libraries that it is linked to, to be copied into a failure folder.
    pub repro_files: Vec<PathBuf>,
    /// The cache's directories of headers and of libraries.
    pub cache_dirs: (&'a Path, &'a Path),
    /// Headers and libraries of the dependencies, where the compiler must not be led to the cache's directories because
    /// others can put something else in their place.
    pub copies: Option<Copies>,
    /// Where to stage: the first of these in which nobody else can put another folder in the place of ours.
    pub temp_roots: &'a [PathBuf],
    /// Places in memory, of which the first with room is taken before all of those.
    pub memory_roots: &'a [PathBuf],
    /// Where a failed build is kept.
    pub failure_dir: &'a Path,
    /// Whether it matters what the compiler reads besides the source.
    pub tracks_inputs: bool,
    /// Where precompiled headers are kept, if anywhere.
    pub preambles: Option<pch::Store>,
    /// Its deadline and cores, and the flags by which it is cancelled or hurried.
    pub context: &'a ExecContext,
}

/// Files that a build finds beside its source, by name.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Libraries.
    pub libraries: Vec<(String, Vec<u8>)>,
}

impl Copies {
    /// Writes the files into these two new directories below `dir`.
    fn write(&self, dir: &Path, names: [&str; 2]) -> Result<(), Error> {
        for (name, files) in names.into_iter().zip([&self.headers, &self.libraries]) {
            let dir = dir.join(name);
            fs::create_dir_all(&dir).map_err(|error| Error::io("cannot create", &dir, &error))?;
            for (name, data) in files {
                let path = dir.join(name);
                fsutil::write(&path, data).map_err(|error| Error::io("cannot write", &path, &error))?;
            }
        }
        Ok(())
    }
}

/// Where copies lie below a staging folder: no source or header of ours is called so. Relative, so that the compiler
/// names what it reads there as it names what is beside the source.
const COPIES: [&str; 2] = [".dependencies/include", ".dependencies/lib"];

/// A library that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The library as the linker wrote it.
    pub image: Vec<u8>,
    /// The command that was run, in the folder of source and header.
    pub argv: Vec<String>,
    /// What the compiler had to say nevertheless.
    pub output: String,
    /// How long it took, without waiting for other compilers.
    pub seconds: f64,
    /// The flag that was added after the compiler was killed or had crashed without it, and how it had ended.
    pub retried: Option<String>,
    /// Headers and libraries that it has read, other than those of the cache; none where they do not matter.
    pub inputs: Vec<Input>,
}

/// A build that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What to tell.
    pub error: Error,
    /// The compiler ran to its end and refused the source: the same build would fail in the same way again. Not so
    /// when it was killed, crashed, is missing or timed out, when memory or a disk was short, or when a file was not
    /// found, which may appear anywhere.
    pub deterministic: bool,
    /// Files that the compiler has read or named, and the libraries that were asked for: another one may do.
    pub inputs: Vec<Input>,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, deterministic: false, inputs: Vec::new() }
    }
}

/// How long to wait at most for other compilers on this host. With the defaults, this, a lease and two runs of a
/// compiler take less than ranks wait for one another.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Compiles and links. Nothing stays behind, but for the failure folder when the compiler fails.
///
/// A compiler that is killed or crashes is run once more with less optimisation, if the parameters allow.
///
/// # Errors
/// [`Kind::Compile`] with the compiler's output and the failure folder; [`Kind::Cache`] when staging fails.
pub fn build(job: &Job<'_>, runner: &dyn Runner) -> Result<Built, Failed> {
    let mut staging = staged_in_memory(job).map_or_else(|| staged_on_disk(job), Ok)?;
    pch::wait_for_making(job);
    // Held for a second run too, and dropped before a failure is written down.
    let slot = job.params.slots_dir.as_deref().and_then(|dir| {
        let choices = slots::choices(job.params.max_compilers, job.context.cores);
        let patience = job.context.patience(job.params.timeout.map_or(PATIENCE, |limit| limit.min(PATIENCE)));
        runner.slot(&SlotRequest { dir, choices: &choices, patience }, job.context)
    });
    progress::restart();
    let mut run = CompilerRun::of(job, staging.path(), runner);
    wanted(job)?;
    if run.is_short_of_room() && job.memory_roots.iter().any(|root| staging.path().starts_with(root)) {
        staging = staged_on_disk(job)?;
        run = CompilerRun::of(job, staging.path(), runner);
        wanted(job)?;
    }
    let dir = staging.path();
    let lower = if job.params.retry && run.image.is_none() { retry::lower(job.params) } else { None };
    let mut retried = None;
    let mut params = job.params.clone();
    let mut job = job.clone();
    if let (Some(flag), Some(crash)) = (lower, run.crash()) {
        retried = Some(format!("{flag} was added because the first run without it {crash}"));
        log::warn!("{}: trying once more with {flag}: the compiler {crash}", job.signature);
        params.flags.push(flag.to_owned());
        job.params = &params;
        run = CompilerRun::of(&job, dir, runner);
    }
    let mut read = run.read(&job, &[]);
    // What is recorded has to be what was compiled. What has changed meanwhile is compiled once more, as it is now.
    for _ in 1..RUNS {
        let Some(changed) = read.unsettled.as_ref().filter(|_| run.image.is_some()) else { break };
        log::info!("{}: once more, because {changed} has changed while it was compiled", job.signature);
        run = CompilerRun::of(&job, dir, runner);
        read = run.read(&job, &read.inputs);
    }
    drop(slot);
    if run.image.is_none() {
        wanted(&job)?;
    }
    run.finish(&job, retried, read)
}

/// Fails when nobody waits for the build any more: what has become of the compiler is no news then.
fn wanted(job: &Job<'_>) -> Result<(), Error> {
    if job.context.is_cancelled() {
        return Err(Error::new(Kind::State, format!("the build of {} was given up", job.signature)));
    }
    Ok(())
}

/// Memory that has to be free for a build to be staged there: compilers leave megabytes, and others need it too.
const ROOM: u64 = 512 << 20;

/// A folder with all that the compiler is to find, in memory; `None` where there is no place for it.
fn staged_in_memory(job: &Job<'_>) -> Option<tempfile::TempDir> {
    let has_room = |root: &&PathBuf| fsutil::room_in_memory(root).is_some_and(|room| room >= ROOM);
    let staging = job.memory_roots.iter().filter(has_room).find_map(|root| fsutil::private_dir(root).ok())?;
    // What cannot be written there may be written on a disk.
    fill(job, staging.path()).ok().map(|()| staging)
}

/// A folder with all that the compiler is to find.
fn staged_on_disk(job: &Job<'_>) -> Result<tempfile::TempDir, Error> {
    let staging = fsutil::staging_dir(job.temp_roots).map_err(|error| {
        Error::file("cannot make a staging folder in", &job.temp_roots[0], &error).with_note(
            "set cache.temp_dir_root or TMPDIR to a place with room that can be written and in which nobody else can \
             rename what is yours",
        )
    })?;
    fill(job, staging.path())?;
    Ok(staging)
}

fn fill(job: &Job<'_>, dir: &Path) -> Result<(), Error> {
    for (name, text) in [Some(job.source), job.header].into_iter().flatten() {
        let path = dir.join(name);
        fsutil::write(&path, text).map_err(|error| Error::io("cannot write", &path, &error))?;
    }
    job.copies.as_ref().map_or(Ok(()), |copies| copies.write(dir, COPIES))
}

/// The command that [`build`] runs first, in the folder of source and header.
#[must_use]
pub fn command_line(job: &Job<'_>) -> Vec<String> {
    command_in(job, &depfile_args(job), &cache_dirs(job))
}

fn command_in(job: &Job<'_>, noting: &[String], dirs: &Dirs) -> Vec<String> {
    command::argv(job.params, noting, job.source.0, job.library, job.dependencies, dirs)
}

fn cache_dirs(job: &Job<'_>) -> Dirs {
    Dirs { include: job.cache_dirs.0.display().to_string(), library: job.cache_dirs.1.display().to_string() }
}

/// The options by which the compiler notes down what it reads, and in which file: the last of them.
fn depfile_args(job: &Job<'_>) -> Vec<String> {
    if job.tracks_inputs { inputs::options(job.params, &format!("{}.d", job.signature)) } else { Vec::new() }
}

/// Output of the compiler, after a line on the run before.
fn with_note(note: Option<&str>, output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    note.map_or_else(|| output.clone().into_owned(), |note| format!("dijitso: {note}\n{output}"))
}

/// The file of a compiler, if there is one.
fn is_there(compiler: &[String]) -> Option<PathBuf> {
    find_program(compiler.first()?, std::env::var_os("PATH").as_deref(), Path::new("/"))
}

/// A failure in words, and the output that goes with it.
fn describe(
    job: &Job<'_>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    crashed: bool,
    retried: Option<&str>,
    unfit: Option<&str>,
) -> (String, String) {
    let compiler = crate::process::join(&job.params.compiler);
    let advice = advice_on_start(job.params.language);
    let (mut what, output) = match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_there(&job.params.compiler).is_some() => {
            let path = is_there(&job.params.compiler).unwrap_or_default();
            let what = format!(
                "the compiler \"{compiler}\" is there, as {}, and cannot be started ({error}): what it needs to start is \
                 missing, its interpreter (the first line of a script) or its dynamic loader",
                path.display()
            );
            (what, String::new())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (format!("the compiler \"{compiler}\" is not there ({error}); {advice}"), String::new())
        }
        Err(error) => {
            let what = match error.kind() {
                io::ErrorKind::PermissionDenied => format!("{error}; {advice}"),
                _ => with_advice(error.to_string(), advice::of_cause(&error)),
            };
            (format!("the compiler \"{compiler}\" cannot be run: {what}"), String::new())
        }
        Ok(outcome) => {
            let output = String::from_utf8_lossy(&outcome.output);
            let mut what = format!("{compiler} {}", outcome.exit.describe());
            if outcome.exit == Exit::TimedOut {
                what.push_str(&format!(" of {seconds:.0} s (build.timeout)"));
            } else if matches!(outcome.exit, Exit::Code(0) | Exit::Unknown) {
                what.push_str(&match unfit {
                    Some(reason) => format!(" and wrote no shared library into {}: {reason}", job.library),
                    None => " and wrote no library".to_owned(),
                });
            }
            if let Some(first) = diagnostics::first_error(&output) {
                what.push_str(": ");
                what.push_str(first);
            }
            let short = crashed || diagnostics::may_lack_memory(&output);
            if let Some(limit) = job.params.memory_limit.filter(|_| short) {
                what.push_str(&format!(" (build.memory_limit is {})", human::size(limit)));
            }
            // The system kills by signal 9 who takes too much memory.
            let killed = outcome.exit == Exit::Signal(libc::SIGKILL);
            let what = with_advice(what, advice::of_compiler(&output, killed));
            (what, with_note(retried, &outcome.output))
        }
    };
    if let Some(retried) = retried {
        what.push_str(&format!(" ({retried})"));
    }
    (what, output)
}

/// Returns what to do about a compiler that cannot be started.
fn advice_on_start(language: &Language) -> String {
    format!("install it, or name another by {} or {}", language.compiler_variable, language.keys.compiler)
}

fn with_advice(what: String, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{what}; {advice}"),
        None => what,
    }
}

/// Keeps what reproduces the failure, and makes the error that says where.
fn failed(job: &Job<'_>, argv: &[String], what: &str, output: &str) -> Error {
    match failure::keep(job, argv, what, output) {
        Ok(()) => {
            let path = job.failure_dir.display();
            let message =
                format!("cannot build {}: {what}; to reproduce it, run {path}/recompile.sh", job.signature);
            Error::new(Kind::Compile, message).with_log(output).with_path(path.to_string())
        }
        Err(cause) => {
            let message = format!("cannot build {}: {what}; ({})", job.signature, cause.message());
            Error::new(Kind::Compile, message).with_log(output)
        }
    }
}

/// The error of a library that was built and that the dynamic loader refuses. What reproduces it is kept. The compiler
/// is not at fault, so no note is made of it: another process may load the same.
#[must_use]
pub fn not_loaded(job: &Job<'_>, argv: &[String], said: &str, error: &Error) -> Error {
    let what = format!("it was built, and {}", error.message());
    let output = with_note(Some(error.message()), said.as_bytes());
    let kept = failed(job, argv, &what, &output);
    let message = format!("{}; it was not published", kept.message());
    Error::new(error.kind(), message).with_log(output).with_path(kept.path())
}

#[cfg(test)]
mod tests;
