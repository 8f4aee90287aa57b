//! Builds one library in a folder of its own, or a folder that shows why it cannot be built.

#![forbid(unsafe_code)]

pub mod command;
mod diagnostics;
mod failure;
mod inputs;
pub mod toolchain;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::inputs::Input;
use crate::params::resolved::BuildParams;
use crate::process::{Command, Exit, Outcome, Runner};

use command::Dirs;

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
    pub belongings: Vec<std::path::PathBuf>,
    /// The cache's directories of headers and of libraries.
    pub cache_dirs: (&'a Path, &'a Path),
    /// Where to stage.
    pub temp_root: &'a Path,
    /// Where a failed build is kept.
    pub failure_dir: &'a Path,
}

/// A library that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The library as the linker wrote it.
    pub image: Vec<u8>,
    /// The command that was run, in the folder of source and header.
    pub argv: Vec<String>,
    /// What the compiler had to say nevertheless.
    pub output: String,
    /// How long it took.
    pub seconds: f64,
    /// Headers and libraries that it has read, other than those of the cache.
    pub inputs: Vec<Input>,
}

/// Compiles and links. Nothing stays behind, but for the failure folder when the compiler fails.
///
/// # Errors
/// [`Kind::Compile`] with the compiler's output and the failure folder; [`Kind::Cache`] when staging fails.
pub fn build(job: &Job<'_>, runner: &dyn Runner) -> Result<Built> {
    let staging = fsutil::private_dir(job.temp_root).map_err(|error| {
        let error = Error::io("cannot make a staging folder in", job.temp_root, &error);
        error.context("set cache.temp_dir_root or TMPDIR to a place that can be written")
    })?;
    let dir = staging.path();
    for (name, text) in [Some(job.source), job.header].into_iter().flatten() {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| Error::io("cannot write", &path, &error))?;
    }
    let cache_dirs = Dirs {
        include: job.cache_dirs.0.display().to_string(),
        library: job.cache_dirs.1.display().to_string(),
    };
    let made = format!("{}.d", job.signature);
    let noting = inputs::options(job.params, &made);
    let argv = command::argv(job.params, &noting, job.source.0, job.library, job.dependencies, &cache_dirs);
    let begin = Instant::now();
    let command = Command {
        argv: argv.clone(),
        cwd: dir.to_owned(),
        timeout: job.params.timeout,
        capture: job.params.capture,
    };
    let outcome = runner.run(&command);
    let seconds = begin.elapsed().as_secs_f64();

    let image = match &outcome {
        Ok(Outcome { exit: Exit::Code(0), .. }) => {
            fs::read(dir.join(job.library)).ok().filter(|image| !image.is_empty())
        }
        // Nobody says whether the linker was content; a library that it has finished has all its sections.
        Ok(Outcome { exit: Exit::Unknown, .. }) => {
            fs::read(dir.join(job.library)).ok().filter(|image| is_whole_library(image))
        }
        _ => None,
    };
    match (image, outcome) {
        (Some(image), Ok(outcome)) => {
            let output = String::from_utf8_lossy(&outcome.output).into_owned();
            let noted = fs::read(dir.join(&made)).unwrap_or_default();
            let headers = inputs::headers(&String::from_utf8_lossy(&noted), job.cache_dirs.0);
            let inputs = inputs::record(headers.into_iter().chain(inputs::libraries(job.params)));
            Ok(Built { image, argv, output, seconds, inputs })
        }
        (_, outcome) => Err(failed(job, &argv, outcome, seconds)),
    }
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

fn failed(job: &Job<'_>, argv: &[String], outcome: io::Result<Outcome>, seconds: f64) -> Error {
    let compiler = crate::process::join(&job.params.compiler);
    let (what, output) = match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "install it, or name another by CXX, CC, build.cxx or build.cc";
            (format!("the compiler \"{compiler}\" is not there ({error}); {hint}"), String::new())
        }
        Err(error) => (format!("the compiler \"{compiler}\" cannot be run: {error}"), String::new()),
        Ok(outcome) => {
            let output = String::from_utf8_lossy(&outcome.output).into_owned();
            let first = diagnostics::first_error(&output);
            let mut what = format!("{compiler} {}", outcome.exit.describe());
            if outcome.exit == Exit::TimedOut {
                what.push_str(&format!(" of {seconds:.0} s (build.timeout)"));
            } else if matches!(outcome.exit, Exit::Code(0) | Exit::Unknown) {
                what.push_str(" and wrote no library");
            }
            if let Some(first) = first {
                what.push_str(": ");
                what.push_str(first);
            }
            (what, output)
        }
    };
    let error = Error::new(Kind::Compile, "").with_log(output.as_str());
    match failure::keep(job, argv, &what, &output) {
        Ok(()) => {
            let path = job.failure_dir.display();
            let message =
                format!("cannot build {}: {what}; to reproduce it, run {path}/recompile.sh", job.signature);
            Error::new(Kind::Compile, message).with_log(error.log()).with_path(path.to_string())
        }
        Err(cause) => {
            let message = format!("cannot build {}: {what}; ({})", job.signature, cause.message());
            Error::new(Kind::Compile, message).with_log(error.log())
        }
    }
}

#[cfg(test)]
mod tests;
