//! One run of the compiler, with what makes it faster, and without that where it fails.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::elf;
use crate::error::{Error, Kind};
use crate::fsutil::{self, LONGEST_LIBRARY, LONGEST_LIST};
use crate::inputs::Input;
use crate::process::{Command, Exit, Outcome, Runner};

use super::command::Dirs;
use super::inputs::{self, Read, RunStart};
use super::pch::{Preamble, UsablePch};
use super::{
    Built, COPIES, Failed, Job, cache_dirs, command_in, depfile_args, describe, diagnostics, failed, linker,
    with_note,
};

/// Runs of a compiler until the files that it reads stay the same for so long.
pub(super) const RUNS: usize = 3;

/// One run of the compiler.
pub(super) struct CompilerRun {
    argv: Vec<String>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    /// The library, if the run was a success, or why it cannot be read.
    pub(super) image: Option<io::Result<Vec<u8>>>,
    /// Why the file that a successful run has written is no library.
    unfit: Option<String>,
    /// The headers that the compiler has noted down.
    headers: Vec<PathBuf>,
    began: RunStart,
}

/// What makes a run faster and changes nothing else.
struct Accelerators {
    linker: Option<String>,
    preamble: Option<UsablePch>,
    /// From before it was looked whether they are as they were.
    began: RunStart,
}

impl Accelerators {
    fn none(dir: &Path) -> Self {
        Self { linker: None, preamble: None, began: RunStart::now(dir) }
    }

    fn words(&self) -> Vec<String> {
        let preamble = self.preamble.as_ref().map(UsablePch::options).unwrap_or_default();
        preamble.into_iter().chain(self.linker.as_deref().map(linker::options).unwrap_or_default()).collect()
    }
}

impl CompilerRun {
    /// One run with all that makes it faster. Where it fails with that, or for a reason that may lie there, once more
    /// plainly: what is told is always what the plain command has said.
    pub(super) fn of(job: &Job<'_>, dir: &Path, runner: &dyn Runner) -> Self {
        let began = RunStart::now(dir);
        let preamble = Preamble::of(job);
        if let Some(preamble) = &preamble {
            preamble.make_first(runner.detached());
        }
        let ready = preamble.as_ref().and_then(Preamble::ready);
        if let (Some(preamble), None) = (&preamble, &ready) {
            preamble.make_beside(runner);
        }
        let aids = Accelerators { linker: linker::choose(job.params), preamble: ready, began };
        if aids.words().is_empty() {
            let run = Self::plain(job, dir, runner);
            run.make_later(preamble.as_ref(), runner);
            return run;
        }
        let aided = Self::once(job, dir, runner, &depfile_args(job), &aids);
        let output =
            String::from_utf8_lossy(aided.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output));
        let unused = aids.preamble.is_some() && UsablePch::is_unused(&output);
        let linker = aids
            .linker
            .as_ref()
            .filter(|linker| aided.unfit.is_some() || linker::is_at_fault(&output, linker));
        let at_fault = match &aided.outcome {
            // Twice as long would be longer than others wait; and nobody can be started.
            Err(_) | Ok(Outcome { exit: Exit::TimedOut, .. }) => false,
            Ok(_) if aided.image.is_some() => unused,
            Ok(_) => aids.preamble.is_some() || linker.is_some() || inputs::are_unknown(job.params, &output),
        };
        if !at_fault {
            if aids.preamble.is_none() {
                aided.make_later(preamble.as_ref(), runner);
            }
            return aided;
        }
        let run = Self::plain(job, dir, runner);
        if run.image.is_some() {
            match (linker, &preamble) {
                (Some(linker), _) if !unused => linker::disable_for(job.params, linker),
                (_, Some(preamble)) => {
                    aids.preamble.iter().for_each(|ready| preamble.discard(ready, &output));
                }
                _ => {}
            }
        }
        run
    }

    /// Once more without the options by which headers are noted down, where the compiler does not know them.
    fn plain(job: &Job<'_>, dir: &Path, runner: &dyn Runner) -> Self {
        let noting = depfile_args(job);
        let run = Self::once(job, dir, runner, &noting, &Accelerators::none(dir));
        let failed = |outcome: &Outcome| matches!(outcome.exit, Exit::Code(1..));
        let unknown = !noting.is_empty()
            && run.outcome.as_ref().is_ok_and(|outcome| {
                failed(outcome) && inputs::are_unknown(job.params, &String::from_utf8_lossy(&outcome.output))
            });
        if !unknown {
            return run;
        }
        inputs::disable_for(&job.params.compiler);
        Self::once(job, dir, runner, &[], &Accelerators::none(dir))
    }

    /// Has the preamble made for those that come, after a run that did well without.
    fn make_later(&self, preamble: Option<&Preamble<'_>>, runner: &dyn Runner) {
        if let Some(preamble) = preamble.filter(|_| matches!(self.image, Some(Ok(_)))) {
            preamble.make_later(runner, self.seconds);
        }
    }

    fn once(job: &Job<'_>, dir: &Path, runner: &dyn Runner, noting: &[String], aids: &Accelerators) -> Self {
        let library = dir.join(job.library);
        let noted = noting.last().map(|file| dir.join(file));
        // Half a library, or the headers of a run before, would pass for the work of this one.
        for left in noted.iter().chain([&library]) {
            let _ = fs::remove_file(left);
        }
        // What is written down is to work when the copies and the preamble have gone, and to give the same file.
        let mut argv = command_in(job, noting, &cache_dirs(job));
        argv.extend(aids.linker.as_deref().map(linker::options).unwrap_or_default());
        let [copied_headers, copied_libraries] = COPIES.map(str::to_owned);
        let copies = Dirs { include: copied_headers, library: copied_libraries };
        let words: Vec<String> = noting.iter().cloned().chain(aids.words()).collect();
        let run = if job.copies.is_some() {
            command_in(job, &words, &copies)
        } else {
            command_in(job, &words, &cache_dirs(job))
        };
        let command = Command {
            argv: run,
            cwd: dir.to_owned(),
            timeout: job.params.timeout,
            capture: job.params.capture,
            memory: job.params.memory_limit,
            context: job.context.clone(),
        };
        let begin = Instant::now();
        let outcome = runner.run(&command);
        let seconds = begin.elapsed().as_secs_f64();
        let written = || match fsutil::read_plain(&library, LONGEST_LIBRARY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read),
        };
        let mut unfit = None;
        let image = match outcome.as_ref().map(|outcome| outcome.exit) {
            // Compilers and their wrappers end well and leave half a file, or another one. Without a status, a library
            // that the linker has finished speaks for itself.
            Ok(Exit::Code(0) | Exit::Unknown) => written().filter(|read| {
                unfit = read.as_ref().ok().and_then(|image| elf::check_ours(image).err());
                unfit.is_none()
            }),
            _ => None,
        };
        let noted = noted.and_then(|noted| fsutil::read_plain(&noted, LONGEST_LIST).ok()).unwrap_or_default();
        let mut headers = inputs::all_headers(&String::from_utf8_lossy(&noted));
        if let Some(preamble) = &aids.preamble {
            // In its place, what it was made from.
            let folder = preamble.header.parent().unwrap_or(&preamble.header);
            headers.retain(|path| !path.starts_with(folder));
            headers.extend(preamble.headers.iter().cloned());
            headers.sort();
            headers.dedup();
        }
        inputs::keep_minded(&mut headers, job.cache_dirs.0);
        Self { argv, outcome, seconds, image, unfit, headers, began: aids.began }
    }

    /// What it has read, where that matters, and after a failure what it may have looked for.
    pub(super) fn read(&self, job: &Job<'_>, before: &[Input]) -> Read {
        let mut paths = self.headers.clone();
        if self.image.is_none() {
            let output = self.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output);
            paths.extend(inputs::named(&String::from_utf8_lossy(output)));
        } else if !job.tracks_inputs {
            return Read::default();
        }
        paths.extend(inputs::libraries(job.params));
        inputs::record(paths, self.began, before)
    }

    /// Whether it failed because there was no room for what it wrote.
    pub(super) fn is_short_of_room(&self) -> bool {
        let said = self.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output);
        self.image.is_none() && diagnostics::lacks_room(&String::from_utf8_lossy(said))
    }

    /// How the compiler itself was killed or crashed, if it was; not when it did its work, or by our time limit.
    pub(super) fn crash(&self) -> Option<String> {
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
    pub(super) fn finish(self, job: &Job<'_>, retried: Option<String>, read: Read) -> Result<Built, Failed> {
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
                let (what, output) =
                    describe(job, outcome, self.seconds, crashed, retried.as_deref(), self.unfit.as_deref());
                let error = failed(job, &self.argv, &what, &output);
                Err(Failed { error, deterministic, inputs: read.inputs })
            }
        }
    }
}
