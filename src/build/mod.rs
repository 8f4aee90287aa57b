//! Builds one library in a folder of its own, or a folder that shows why it cannot be built.

#![forbid(unsafe_code)]

pub mod command;
mod diagnostics;
mod failure;
mod inputs;
mod retry;
pub mod toolchain;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::fsutil;
use crate::inputs::Input;
use crate::params::resolved::BuildParams;
use crate::process::slots::{self, Wanted};
use crate::process::{Command, Exit, Outcome, Runner, manner};

use command::Dirs;
use inputs::{Read, Since};

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
    pub belongings: Vec<PathBuf>,
    /// The cache's directories of headers and of libraries.
    pub cache_dirs: (&'a Path, &'a Path),
    /// Headers and libraries of the dependencies, where the compiler must not be led to the cache's directories because
    /// others can put something else in their place.
    pub copies: Option<Copies>,
    /// Where to stage: the first of these in which nobody else can put another folder in the place of ours.
    pub temp_roots: &'a [PathBuf],
    /// Where a failed build is kept.
    pub failure_dir: &'a Path,
    /// Whether it matters what the compiler reads besides the source.
    pub minds_inputs: bool,
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
                fs::write(&path, data).map_err(|error| Error::io("cannot write", &path, &error))?;
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
    let staging = fsutil::staging_dir(job.temp_roots).map_err(|error| {
        let error = Error::io("cannot make a staging folder in", &job.temp_roots[0], &error);
        error.context(
            "set cache.temp_dir_root or TMPDIR to a place that can be written and in which nobody else can rename what \
             is yours",
        )
    })?;
    let dir = staging.path();
    for (name, text) in [Some(job.source), job.header].into_iter().flatten() {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| Error::io("cannot write", &path, &error))?;
    }
    if let Some(copies) = &job.copies {
        copies.write(dir, COPIES)?;
    }
    // Held for a second run too, and dropped before a failure is written down.
    let slot = job.params.slots_dir.as_deref().and_then(|dir| {
        let choices = slots::choices(job.params.max_compilers);
        runner.slot(&Wanted {
            dir,
            choices: &choices,
            patience: job.params.timeout.map_or(PATIENCE, |limit| limit.min(PATIENCE)),
        })
    });
    let mut run = Run::of(job, dir, runner);
    wanted(job)?;
    let lower = if job.params.retry && run.image.is_none() { retry::lower(job.params) } else { None };
    let mut retried = None;
    let mut params = job.params.clone();
    let mut job = job.clone();
    if let (Some(flag), Some(crash)) = (lower, run.crash()) {
        retried = Some(format!("{flag} was added because the first run without it {crash}"));
        log::warn!("{}: trying once more with {flag}: the compiler {crash}", job.signature);
        params.flags.push(flag.to_owned());
        job.params = &params;
        run = Run::of(&job, dir, runner);
    }
    let mut read = run.read(&job, &[]);
    // What is recorded has to be what was compiled. What has changed meanwhile is compiled once more, as it is now.
    for _ in 1..RUNS {
        let Some(changed) = read.unsettled.as_ref().filter(|_| run.image.is_some()) else { break };
        log::info!("{}: once more, because {changed} has changed while it was compiled", job.signature);
        run = Run::of(&job, dir, runner);
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
    if manner::given_up() {
        return Err(Error::new(Kind::State, format!("the build of {} was given up", job.signature)));
    }
    Ok(())
}

/// The command that [`build`] runs first, in the folder of source and header.
#[must_use]
pub fn command_line(job: &Job<'_>) -> Vec<String> {
    command_in(job, &noting(job), &cache_dirs(job))
}

fn command_in(job: &Job<'_>, noting: &[String], dirs: &Dirs) -> Vec<String> {
    command::argv(job.params, noting, job.source.0, job.library, job.dependencies, dirs)
}

fn cache_dirs(job: &Job<'_>) -> Dirs {
    Dirs { include: job.cache_dirs.0.display().to_string(), library: job.cache_dirs.1.display().to_string() }
}

/// The options by which the compiler notes down what it reads, and in which file: the last of them.
fn noting(job: &Job<'_>) -> Vec<String> {
    if job.minds_inputs { inputs::options(job.params, &format!("{}.d", job.signature)) } else { Vec::new() }
}

/// Runs of a compiler until the files that it reads stay the same for so long.
const RUNS: usize = 3;

/// One run of the compiler.
struct Run {
    argv: Vec<String>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    /// The library, if the run was a success, or why it cannot be read.
    image: Option<io::Result<Vec<u8>>>,
    /// The headers that the compiler has noted down.
    headers: Vec<PathBuf>,
    began: Since,
}

impl Run {
    /// Once more without the options by which headers are noted down, where the compiler does not know them.
    fn of(job: &Job<'_>, dir: &Path, runner: &dyn Runner) -> Self {
        let noting = noting(job);
        let run = Self::once(job, dir, runner, &noting);
        let failed = |outcome: &Outcome| matches!(outcome.exit, Exit::Code(1..));
        let unknown = !noting.is_empty()
            && run.outcome.as_ref().is_ok_and(|outcome| {
                failed(outcome) && inputs::are_unknown(&String::from_utf8_lossy(&outcome.output))
            });
        if !unknown {
            return run;
        }
        inputs::forgo(&job.params.compiler);
        Self::once(job, dir, runner, &[])
    }

    fn once(job: &Job<'_>, dir: &Path, runner: &dyn Runner, noting: &[String]) -> Self {
        let library = dir.join(job.library);
        let noted = noting.last().map(|file| dir.join(file));
        // Half a library, or the headers of a run before, would pass for the work of this one.
        for left in noted.iter().chain([&library]) {
            let _ = fs::remove_file(left);
        }
        // What is written down is to work when the copies have gone.
        let argv = command_in(job, noting, &cache_dirs(job));
        let [copied_headers, copied_libraries] = COPIES.map(str::to_owned);
        let copies = Dirs { include: copied_headers, library: copied_libraries };
        let run = if job.copies.is_some() { command_in(job, noting, &copies) } else { argv.clone() };
        let command = Command {
            argv: run,
            cwd: dir.to_owned(),
            timeout: job.params.timeout,
            capture: job.params.capture,
            memory: job.params.memory_limit,
        };
        let began = Since::now(dir);
        let begin = Instant::now();
        let outcome = runner.run(&command);
        let seconds = begin.elapsed().as_secs_f64();
        let written = || match fs::read(&library) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read),
        };
        let accepted = |accept: fn(&[u8]) -> bool| {
            written().filter(|read| read.as_ref().map_or(true, |image| accept(image)))
        };
        let image = match outcome.as_ref().map(|outcome| outcome.exit) {
            Ok(Exit::Code(0)) => accepted(|image| !image.is_empty()),
            // Nobody says whether the linker was content; a library that it has finished has all its sections.
            Ok(Exit::Unknown) => accepted(is_whole_library),
            _ => None,
        };
        let noted = noted.and_then(|noted| fs::read(noted).ok()).unwrap_or_default();
        let headers = inputs::headers(&String::from_utf8_lossy(&noted), job.cache_dirs.0);
        Self { argv, outcome, seconds, image, headers, began }
    }

    /// What it has read, where that matters, and after a failure what it may have looked for.
    fn read(&self, job: &Job<'_>, before: &[Input]) -> Read {
        let mut paths = self.headers.clone();
        if self.image.is_none() {
            let output = self.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output);
            paths.extend(inputs::named(&String::from_utf8_lossy(output)));
        } else if !job.minds_inputs {
            return Read::default();
        }
        paths.extend(inputs::libraries(job.params));
        inputs::record(paths, self.began, before)
    }

    /// How the compiler itself was killed or crashed, if it was; not when it did its work, or by our time limit.
    fn crash(&self) -> Option<String> {
        /// ILL, ABRT, BUS, FPE, KILL and SEGV as shells and wrappers report them: 128 and the signal.
        const SIGNALS: [i32; 6] = [132, 134, 135, 136, 137, 139];
        let outcome = self.outcome.as_ref().ok()?;
        match outcome.exit {
            Exit::Signal(_) => Some(outcome.exit.describe()),
            Exit::Code(0) | Exit::TimedOut => None,
            Exit::Code(_) | Exit::Unknown => {
                let output = String::from_utf8_lossy(&outcome.output);
                let said = diagnostics::crash(&output).map(|line| format!("crashed: {line}"));
                let reported = matches!(outcome.exit, Exit::Code(code) if SIGNALS.contains(&code));
                said.or_else(|| reported.then(|| outcome.exit.describe()))
            }
        }
    }

    /// The library of a run, or why there is none. `retried` is about the run before.
    fn finish(self, job: &Job<'_>, retried: Option<String>, read: Read) -> Result<Built, Failed> {
        let crashed = self.crash().is_some();
        match (self.image, self.outcome) {
            (Some(Err(error)), _) => {
                let what = format!("the compiler has written {}, which cannot be read", job.library);
                Err(Error::new(Kind::Cache, format!("cannot build {}: {what}: {error}", job.signature))
                    .into())
            }
            (Some(Ok(_)), Ok(_)) if read.unsettled.is_some() => {
                let changed = read.unsettled.unwrap_or_default();
                let text = format!(
                    "cannot build {}: {changed} was changed during each of {RUNS} runs of the compiler, so that nobody \
                     knows what was compiled; who writes to it? (cache.check_inputs=false does not mind)",
                    job.signature
                );
                Err(Error::new(Kind::Compile, text).into())
            }
            (Some(Ok(image)), Ok(outcome)) => {
                let output = with_note(retried.as_deref(), &outcome.output);
                let (argv, seconds, inputs) = (self.argv, self.seconds, read.inputs);
                Ok(Built { image, argv, output, seconds, retried, inputs })
            }
            (_, outcome) => {
                let refused = outcome.as_ref().is_ok_and(|outcome| {
                    matches!(outcome.exit, Exit::Code(1..))
                        && diagnostics::is_refusal(&String::from_utf8_lossy(&outcome.output))
                });
                let deterministic = refused && !crashed && retried.is_none() && read.unsettled.is_none();
                let (what, output) = describe(job, outcome, self.seconds, crashed, retried.as_deref());
                let error = failed(job, &self.argv, &what, &output);
                Err(Failed { error, deterministic, inputs: read.inputs })
            }
        }
    }
}

/// Output of the compiler, after a line on the run before.
fn with_note(note: Option<&str>, output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    note.map_or_else(|| output.clone().into_owned(), |note| format!("dijitso: {note}\n{output}"))
}

/// Whether this is a shared library whose section headers, which a linker writes last, are there and within it.
fn is_whole_library(image: &[u8]) -> bool {
    use object::{Object, ObjectKind, ObjectSection};
    object::File::parse(image).is_ok_and(|file| {
        let within = |section: object::Section<'_, '_>| {
            section
                .file_range()
                .is_none_or(|(at, size)| at.checked_add(size).is_some_and(|end| end <= image.len() as u64))
        };
        file.kind() == ObjectKind::Dynamic && file.sections().count() > 0 && file.sections().all(within)
    })
}

/// A failure in words, and the output that goes with it.
fn describe(
    job: &Job<'_>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    crashed: bool,
    retried: Option<&str>,
) -> (String, String) {
    let compiler = crate::process::join(&job.params.compiler);
    let (mut what, output) = match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "install it, or name another by CXX, CC, build.cxx or build.cc";
            (format!("the compiler \"{compiler}\" is not there ({error}); {hint}"), String::new())
        }
        Err(error) => (format!("the compiler \"{compiler}\" cannot be run: {error}"), String::new()),
        Ok(outcome) => {
            let output = String::from_utf8_lossy(&outcome.output);
            let mut what = format!("{compiler} {}", outcome.exit.describe());
            if outcome.exit == Exit::TimedOut {
                what.push_str(&format!(" of {seconds:.0} s (build.timeout)"));
            } else if matches!(outcome.exit, Exit::Code(0) | Exit::Unknown) {
                what.push_str(" and wrote no library");
            }
            if let Some(first) = diagnostics::first_error(&output) {
                what.push_str(": ");
                what.push_str(first);
            }
            let short = crashed || diagnostics::may_lack_memory(&output);
            if let Some(limit) = job.params.memory_limit.filter(|_| short) {
                what.push_str(&format!(" (build.memory_limit is {})", bytes(limit)));
            }
            (what, with_note(retried, &outcome.output))
        }
    };
    if let Some(retried) = retried {
        what.push_str(&format!(" ({retried})"));
    }
    (what, output)
}

/// A number of bytes as the parameter takes it: 500M.
fn bytes(number: u64) -> String {
    let mut rest = number;
    let mut unit = 0;
    while unit < 4 && rest > 0 && rest.is_multiple_of(1024) {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest}{}", ["", "K", "M", "G", "T"][unit])
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

#[cfg(test)]
mod tests;
