//! Builds a library in a staging folder, or keeps a folder that reproduces the failure.

#![forbid(unsafe_code)]

pub mod command;
mod debug_info;
mod diagnostics;
mod failure;
mod inputs;
mod linker;
pub mod modules;
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
use crate::params::resolved::BuildParams;
use crate::process::exec_context::ExecContext;
use crate::process::phase::Phase;
use crate::process::slots::{self, SlotRequest};
use crate::process::{Exit, Outcome, Runner, find_program};

use command::Dirs;
use modules::Modules;
use run::{CompilerRun, MAX_RUNS};

/// A library to build, and where.
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
    /// Headers and libraries of dependencies, to be copied into a failure folder.
    pub repro_files: Vec<PathBuf>,
    /// Directory of sources of the cache, which debug information names.
    pub source_dir: &'a Path,
    /// Header and library directories of the cache.
    pub cache_dirs: (&'a Path, &'a Path),
    /// Private copies of the dependencies. Set if others can replace files in the cache's directories, which
    /// the compiler must then not read.
    pub copies: Option<DependencyCopies>,
    /// Directories to stage in: the first in which no other user can replace the folder is used.
    pub temp_roots: &'a [PathBuf],
    /// Directories in memory, tried before `temp_roots`: the first with room is used.
    pub memory_roots: &'a [PathBuf],
    /// Folder that reproduces a failure.
    pub failure_dir: &'a Path,
    /// True if the files that the compiler reads are recorded.
    pub tracks_inputs: bool,
    /// Store of precompiled headers; `None` if none are used.
    pub pch_store: Option<pch::Store>,
    /// Deadline and cores of the build, and the flags that cancel or hurry it.
    pub context: &'a ExecContext,
}

/// Headers and libraries of dependencies, as pairs of name and contents.
#[derive(Clone, Debug, Default)]
pub struct DependencyCopies {
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Libraries.
    pub libraries: Vec<(String, Vec<u8>)>,
}

impl DependencyCopies {
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

/// Directories of copies in a staging folder; no source or header has such a name. Relative paths, so that
/// the compiler reports these files as it reports the source.
const COPIES: [&str; 2] = [".dependencies/include", ".dependencies/lib"];

/// A library that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The library as the linker wrote it.
    pub image: Vec<u8>,
    /// Command that was run in the folder of source and header.
    pub argv: Vec<String>,
    /// Output of the compiler.
    pub output: String,
    /// Seconds of the build, without those spent waiting for other compilers.
    pub seconds: f64,
    /// Flag that was added for a second run, and how the first run ended without it.
    pub retried: Option<String>,
    /// Compiled modules that the source defines.
    pub modules: Modules,
    /// Headers and libraries that were read outside of the cache; empty if they are not tracked.
    pub inputs: Vec<Input>,
}

/// A build that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The error to report.
    pub error: Error,
    /// True if the compiler ran to its end and refused the source, so that the same build would fail again.
    /// False if it was killed, crashed, is missing or timed out, if memory or a disk was short, or if a file
    /// was not found, which may appear anywhere.
    pub deterministic: bool,
    /// Files that the compiler has read or named, and the requested libraries. If one changes, the build may
    /// succeed.
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

/// Longest wait for other compilers on this host. By default, this, a lease and two runs of a compiler end
/// before other ranks time out.
const MAX_SLOT_WAIT: Duration = Duration::from_secs(1800);

/// Compiles and links. Leaves nothing behind, except the failure folder if the compiler fails.
///
/// Runs a compiler that was killed or crashed once more with less optimisation, if the parameters allow.
///
/// # Errors
/// [`Kind::Compile`] with the compiler's output and the failure folder; [`Kind::Cache`] if staging fails;
/// [`Kind::Cancelled`] or [`Kind::State`] if the host or another thread has cancelled the build.
pub fn build(job: &Job<'_>, runner: &dyn Runner) -> Result<Built, Failed> {
    let mut staging = staged_in_memory(job).map_or_else(|| staged_on_disk(job), Ok)?;
    pch::wait_for_build(job);
    // Held for a second run too, and released before a failure is written to disk.
    let slot = job.params.slots_dir.as_deref().and_then(|dir| {
        let choices = slots::choices(job.params.max_compilers, job.context.cores);
        let patience =
            job.context.patience(job.params.timeout.map_or(MAX_SLOT_WAIT, |limit| limit.min(MAX_SLOT_WAIT)));
        job.context.enter(Phase::WaitForSlot);
        runner.slot(&SlotRequest { dir, choices: &choices, patience }, job.context)
    });
    job.context.check(job.signature)?;
    job.context.enter(Phase::Compile);
    let mut run = CompilerRun::with_accelerators(job, staging.path(), runner);
    job.context.check(job.signature)?;
    if run.lacked_room() && job.memory_roots.iter().any(|root| staging.path().starts_with(root)) {
        staging = staged_on_disk(job)?;
        run = CompilerRun::with_accelerators(job, staging.path(), runner);
        job.context.check(job.signature)?;
    }
    let dir = staging.path();
    let lower_flag = if job.params.retry && run.image.is_none() { retry::lower(job.params) } else { None };
    let mut retried = None;
    let mut params = job.params.clone();
    let mut job = job.clone();
    if let (Some(flag), Some(crash)) = (lower_flag, run.crash()) {
        retried = Some(format!("{flag} was added because the first run without it {crash}"));
        log::warn!("{}: trying again with {flag}: the compiler {crash}", job.signature);
        params.flags.push(flag.to_owned());
        job.params = &params;
        run = CompilerRun::with_accelerators(&job, dir, runner);
    }
    let mut read = run.inputs(&job, &[]);
    // The recorded inputs must be those that were compiled: if one has changed meanwhile, compile again.
    for _ in 1..MAX_RUNS {
        let Some(changed) = read.racy_input.as_ref().filter(|_| run.image.is_some()) else { break };
        job.context.check(job.signature)?;
        log::info!("{}: compiling again, because {changed} changed during the run", job.signature);
        run = CompilerRun::with_accelerators(&job, dir, runner);
        read = run.inputs(&job, &read.inputs);
    }
    drop(slot);
    job.context.check(job.signature)?;
    run.into_result(&job, retried, read)
}

/// Memory that must be free for staging there: a compiler leaves megabytes, and others need memory too.
const FREE_MEMORY: u64 = 512 << 20;

/// Creates a staging folder in memory with all files of the build; `None` if there is no room.
fn staged_in_memory(job: &Job<'_>) -> Option<tempfile::TempDir> {
    let has_room =
        |root: &&PathBuf| fsutil::free_bytes_in_memory(root).is_some_and(|room| room >= FREE_MEMORY);
    let staging = job.memory_roots.iter().filter(has_room).find_map(|root| fsutil::private_dir(root).ok())?;
    // On an error, the caller stages on a disk.
    fill(job, staging.path()).ok().map(|()| staging)
}

/// Creates a staging folder on a disk with all files of the build.
fn staged_on_disk(job: &Job<'_>) -> Result<tempfile::TempDir, Error> {
    let staging = fsutil::staging_dir(job.temp_roots).map_err(|error| {
        Error::file("cannot make a staging folder in", &job.temp_roots[0], &error).with_note(
            "set cache.temp_dir_root or TMPDIR to a writable directory with room, in which no other user can \
             rename your files",
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
    modules::unpack(job, dir).map_err(|error| Error::io("cannot write modules into", dir, &error))?;
    job.copies.as_ref().map_or(Ok(()), |copies| copies.write(dir, COPIES))
}

/// Returns the command that [`build`] runs first, in the folder of source and header.
#[must_use]
pub fn command_line(job: &Job<'_>) -> Vec<String> {
    command_in(job, &depfile_args(job), &cache_dirs(job))
}

fn command_in(job: &Job<'_>, depfile_args: &[String], dirs: &Dirs) -> Vec<String> {
    command::argv(job.params, depfile_args, job.source.0, job.library, job.dependencies, dirs)
}

fn cache_dirs(job: &Job<'_>) -> Dirs {
    Dirs { include: job.cache_dirs.0.display().to_string(), library: job.cache_dirs.1.display().to_string() }
}

/// Returns the options that make the compiler write a dependency file, with its name last; empty if inputs
/// are not tracked.
fn depfile_args(job: &Job<'_>) -> Vec<String> {
    if job.tracks_inputs { inputs::options(job.params, &format!("{}.d", job.signature)) } else { Vec::new() }
}

/// Returns the output of the compiler, after a line about the first run.
fn with_note(note: Option<&str>, output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    note.map_or_else(|| output.clone().into_owned(), |note| format!("dijitso: {note}\n{output}"))
}

/// Returns the path of a compiler, if it is installed.
fn path_of(compiler: &[String]) -> Option<PathBuf> {
    find_program(compiler.first()?, std::env::var_os("PATH").as_deref(), Path::new("/"))
}

/// Returns the description of a failure, and the output of the compiler.
fn describe(
    job: &Job<'_>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    crashed: bool,
    retried: Option<&str>,
    unfit: Option<&str>,
) -> (String, String) {
    let compiler = crate::process::join(&job.params.compiler);
    let (mut what, output) = match outcome {
        Err(error) => {
            let advice = advice_on_start(job.params.language);
            let what = match (error.kind(), path_of(&job.params.compiler)) {
                (io::ErrorKind::NotFound, Some(path)) => format!(
                    "exists, as {}, and cannot be started ({error}): its interpreter (the first line of a \
                     script) or its dynamic loader is missing",
                    path.display()
                ),
                (io::ErrorKind::NotFound, None) => format!("was not found ({error}); {advice}"),
                (io::ErrorKind::PermissionDenied, _) => format!("cannot be run: {error}; {advice}"),
                _ => format!("cannot be run: {}", with_advice(error.to_string(), advice::of_cause(&error))),
            };
            (format!("the compiler \"{compiler}\" {what}"), String::new())
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
            // The kernel kills a process that takes too much memory by signal 9.
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

/// Writes the failure folder and returns the error that names it.
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

/// Returns the error of a library that the dynamic loader refuses, and keeps a failure folder. The failure is
/// not recorded in the cache: it is not the compiler's, and another process may load the library.
#[must_use]
pub fn not_loaded(job: &Job<'_>, argv: &[String], output: &str, error: &Error) -> Error {
    let what = format!("it was built, and {}", error.message());
    let output = with_note(Some(error.message()), output.as_bytes());
    let kept = failed(job, argv, &what, &output);
    let message = format!("{}; it was not published", kept.message());
    Error::new(error.kind(), message).with_log(output).with_path(kept.path())
}

#[cfg(test)]
mod tests;
