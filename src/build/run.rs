//! One run of the compiler: with accelerators (linker, precompiled header), and without them if it fails.

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
use super::inputs::{self, RunInputs, RunStart};
use super::modules::{self, Modules};
use super::pch::{Preamble, UsablePch};
use super::{
    Built, COPIES, Failed, Job, cache_dirs, command_in, debug_info, depfile_args, describe, diagnostics,
    failed, linker, with_note,
};

/// Runs of a compiler, at most, until no input changes during a run.
pub(super) const MAX_RUNS: usize = 3;

/// Result of a run.
pub(super) struct CompilerRun {
    argv: Vec<String>,
    outcome: io::Result<Outcome>,
    seconds: f64,
    /// The library if the run succeeded, or the error of reading it.
    pub(super) image: Option<io::Result<Vec<u8>>>,
    /// Reason why the file written by a successful run is not a shared library.
    unfit: Option<String>,
    /// Compiled modules that a successful run has written.
    modules: Modules,
    /// Headers of the dependency file.
    headers: Vec<PathBuf>,
    began: RunStart,
}

/// Options that make a run faster and do not change its result.
struct Accelerators {
    linker: Option<String>,
    preamble: Option<UsablePch>,
    /// Taken before the precompiled header was checked.
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
    /// Runs the compiler with accelerators. If that fails, and an accelerator may be the reason, runs the
    /// plain command: errors that are reported are always those of the plain command.
    pub(super) fn with_accelerators(job: &Job<'_>, dir: &Path, runner: &dyn Runner) -> Self {
        let began = RunStart::now(dir);
        let preamble = Preamble::of(job);
        if let Some(preamble) = &preamble {
            preamble.build_first(runner.detached());
        }
        let pch = preamble.as_ref().and_then(Preamble::usable_pch);
        if let (Some(preamble), None) = (&preamble, &pch) {
            preamble.build_beside_run(runner);
        }
        let accelerators = Accelerators { linker: linker::choose(job.params), preamble: pch, began };
        if accelerators.words().is_empty() {
            let run = Self::plain(job, dir, runner);
            run.build_pch_later(preamble.as_ref(), runner);
            return run;
        }
        let accelerated = Self::once(job, dir, runner, &depfile_args(job), &accelerators);
        let output =
            String::from_utf8_lossy(accelerated.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output));
        let unused = accelerators.preamble.is_some() && UsablePch::is_unused(&output);
        let linker = accelerators
            .linker
            .as_ref()
            .filter(|linker| accelerated.unfit.is_some() || linker::is_at_fault(&output, linker));
        let at_fault = match &accelerated.outcome {
            // After a time-out a second run would exceed the limit of other ranks; a compiler that did not
            // start will not start now.
            Err(_) | Ok(Outcome { exit: Exit::TimedOut, .. }) => false,
            Ok(_) if job.context.is_cancelled() => false,
            Ok(_) if accelerated.image.is_some() => unused,
            Ok(_) => {
                accelerators.preamble.is_some()
                    || linker.is_some()
                    || inputs::options_unknown(job.params, &output)
                    || debug_info::is_refused(job, &output)
            }
        };
        if !at_fault {
            if accelerators.preamble.is_none() {
                accelerated.build_pch_later(preamble.as_ref(), runner);
            }
            return accelerated;
        }
        let run = Self::plain(job, dir, runner);
        if run.image.is_some() {
            match (linker, &preamble) {
                (Some(linker), _) if !unused => linker::disable_for(job.params, linker),
                (_, Some(preamble)) => {
                    accelerators.preamble.iter().for_each(|pch| preamble.discard(pch, &output));
                }
                _ => {}
            }
        }
        run
    }

    /// Runs the plain command, and again without those of our options that the compiler does not know: a map of
    /// names in debug information, a dependency file.
    fn plain(job: &Job<'_>, dir: &Path, runner: &dyn Runner) -> Self {
        let depfile_args = depfile_args(job);
        let failed = |outcome: &Outcome| matches!(outcome.exit, Exit::Code(1..));
        let mut run = Self::once(job, dir, runner, &depfile_args, &Accelerators::none(dir));
        let refused = run.outcome.as_ref().is_ok_and(|outcome| {
            failed(outcome) && debug_info::is_refused(job, &String::from_utf8_lossy(&outcome.output))
        });
        if refused {
            run = Self::once(job, dir, runner, &depfile_args, &Accelerators::none(dir));
        }
        let unknown = !depfile_args.is_empty()
            && run.outcome.as_ref().is_ok_and(|outcome| {
                failed(outcome)
                    && inputs::options_unknown(job.params, &String::from_utf8_lossy(&outcome.output))
            });
        if !unknown {
            return run;
        }
        inputs::disable_for(&job.params.compiler);
        Self::once(job, dir, runner, &[], &Accelerators::none(dir))
    }

    /// Has the preamble precompiled for later builds, after a successful run without it.
    fn build_pch_later(&self, preamble: Option<&Preamble<'_>>, runner: &dyn Runner) {
        if let Some(preamble) = preamble.filter(|_| matches!(self.image, Some(Ok(_)))) {
            preamble.build_pch_later(runner, self.seconds);
        }
    }

    fn once(
        job: &Job<'_>,
        dir: &Path,
        runner: &dyn Runner,
        depfile_args: &[String],
        accelerators: &Accelerators,
    ) -> Self {
        let library = dir.join(job.library);
        let depfile = depfile_args.last().map(|file| dir.join(file));
        // Files of an earlier run would be taken for those of this one.
        for left in depfile.iter().chain([&library]) {
            let _ = fs::remove_file(left);
        }
        // The recorded command must give the same code without the copies and the precompiled header.
        let mut argv = command_in(job, depfile_args, &cache_dirs(job));
        argv.extend(accelerators.linker.as_deref().map(linker::options).unwrap_or_default());
        let [copied_headers, copied_libraries] = COPIES.map(str::to_owned);
        let copies = Dirs { include: copied_headers, library: copied_libraries };
        let maps = debug_info::options(job, dir);
        let words: Vec<String> =
            depfile_args.iter().cloned().chain(maps).chain(accelerators.words()).collect();
        let run = if job.copies.is_some() {
            command_in(job, &words, &copies)
        } else {
            command_in(job, &words, &cache_dirs(job))
        };
        let command = Command {
            argv: run,
            env: Vec::new(),
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
            // Compilers and wrappers may exit with 0 and leave half a file, or another one. Without an exit
            // status, a complete library counts as success.
            Ok(Exit::Code(0) | Exit::Unknown) => written().filter(|read| {
                unfit = read.as_ref().ok().and_then(|image| elf::check_native(image).err());
                unfit.is_none()
            }),
            _ => None,
        };
        let depfile =
            depfile.and_then(|depfile| fsutil::read_plain(&depfile, LONGEST_LIST).ok()).unwrap_or_default();
        let mut headers = inputs::all_headers(&String::from_utf8_lossy(&depfile));
        if let Some(preamble) = &accelerators.preamble {
            // Replaced by the headers it was made from.
            let folder = preamble.header.parent().unwrap_or(&preamble.header);
            headers.retain(|path| !path.starts_with(folder));
            headers.extend(preamble.headers.iter().cloned());
            headers.sort();
            headers.dedup();
        }
        inputs::retain_tracked(&mut headers, job.cache_dirs.0);
        let modules = if image.is_some() { modules::written(job, dir) } else { Modules::new() };
        Self { argv, outcome, seconds, image, unfit, modules, headers, began: accelerators.began }
    }

    /// Returns the files that the run has read, if they are tracked; after a failure also those that it may
    /// have searched.
    pub(super) fn inputs(&self, job: &Job<'_>, before: &[Input]) -> RunInputs {
        let mut paths = self.headers.clone();
        if self.image.is_none() {
            let output = self.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output);
            paths.extend(inputs::files_in_messages(&String::from_utf8_lossy(output)));
        } else if !job.tracks_inputs {
            return RunInputs::default();
        }
        paths.extend(inputs::libraries(job.params));
        inputs::record(paths, self.began, before)
    }

    /// Returns true if the run failed because the file system was full.
    pub(super) fn lacked_room(&self) -> bool {
        let output = self.outcome.as_ref().map_or(&[][..], |outcome| &outcome.output);
        self.image.is_none() && diagnostics::lacks_room(&String::from_utf8_lossy(output))
    }

    /// Describes how the compiler was killed or crashed; `None` if it did its work or ran into our time
    /// limit.
    pub(super) fn crash(&self) -> Option<String> {
        /// ILL, ABRT, BUS, FPE, KILL and SEGV as shells and wrappers report them: 128 plus the signal.
        const SIGNALS: [i32; 6] = [132, 134, 135, 136, 137, 139];
        let outcome = self.outcome.as_ref().ok()?;
        match outcome.exit {
            Exit::Signal(_) => Some(outcome.exit.describe()),
            Exit::Code(0) | Exit::TimedOut => None,
            Exit::Code(_) | Exit::Unknown => {
                let output = String::from_utf8_lossy(&outcome.output);
                let crash = diagnostics::crash(&output).map(|line| format!("crashed: {line}"));
                let reported = matches!(outcome.exit, Exit::Code(code) if SIGNALS.contains(&code));
                crash.or_else(|| reported.then(|| outcome.exit.describe()))
            }
        }
    }

    /// Returns the library of a run, or its failure. `retried` describes the first run, if this is the
    /// second.
    pub(super) fn into_result(
        self,
        job: &Job<'_>,
        retried: Option<String>,
        read: RunInputs,
    ) -> Result<Built, Failed> {
        let crashed = self.crash().is_some();
        let timed_out = matches!(&self.outcome, Ok(Outcome { exit: Exit::TimedOut, .. }));
        let passing = crashed || timed_out || self.lacked_room();
        match (self.image, self.outcome) {
            (Some(Err(error)), _) => {
                let what = format!("the compiler has written {}, which cannot be read", job.library);
                Err(Error::new(Kind::Cache, format!("cannot build {}: {what}: {error}", job.signature))
                    .into())
            }
            (Some(Ok(_)), Ok(_)) if read.racy_input.is_some() => {
                let changed = read.racy_input.unwrap_or_default();
                let text = format!(
                    "cannot build {}: {changed} changed during each of {MAX_RUNS} runs of the compiler, so \
                     it is unknown what was compiled; find what writes to it, or set \
                     cache.check_inputs=false",
                    job.signature
                );
                Err(Error::new(Kind::Compile, text).into())
            }
            (Some(Ok(image)), Ok(outcome)) => {
                let output = with_note(retried.as_deref(), &outcome.output);
                let (argv, seconds, inputs) = (self.argv, self.seconds, read.inputs);
                Ok(Built { image, argv, output, seconds, retried, modules: self.modules, inputs })
            }
            (_, outcome) => {
                let refused = outcome.as_ref().is_ok_and(|outcome| {
                    matches!(outcome.exit, Exit::Code(1..))
                        && diagnostics::is_refusal(&String::from_utf8_lossy(&outcome.output))
                });
                let deterministic = refused && !crashed && retried.is_none() && read.racy_input.is_none();
                let (what, output) =
                    describe(job, outcome, self.seconds, crashed, retried.as_deref(), self.unfit.as_deref());
                let error = failed(job, &self.argv, &what, &output);
                let error = if passing { error.passing() } else { error };
                Err(Failed { error, deterministic, inputs: read.inputs })
            }
        }
    }
}
