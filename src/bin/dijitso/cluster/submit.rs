//! `dijitso make PLAN --submit slurm`: writes the job script, submits it, and records the job.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil::{self, Durability};

use super::super::context::CommandContext;
use super::super::usage;
use super::job_files::{self, JobFiles, JobRecord};
use super::programs::InstalledPrograms;
use super::script::{JobScript, job_name};
use super::{BatchSystem, ClusterOptions, command_line, launcher, sge, slurm};

/// Submits a job that makes the plan, or prints its script with `--dry-run`.
///
/// # Errors
/// `Kind::InvalidArgument`, `Kind::Unsupported`, `Kind::State`, `Kind::Cache`: see [`ClusterOptions`].
pub(super) fn run(
    options: &ClusterOptions,
    system: BatchSystem,
    arguments: &[String],
    plan: &Path,
    context: &mut CommandContext,
) -> Result<()> {
    let files = JobFiles::of(plan)?;
    let text = script(options, system, arguments, plan, &files)?;
    let mut submit_args = Vec::new();
    for words in &options.submit_args {
        submit_args
            .extend(shell_words::split(words).map_err(|error| usage(format!("--submit-args: {error}")))?);
    }
    if context.options.dry_run {
        print_script(&text, system, &submit_args, context);
        return Ok(());
    }
    files.create()?;
    let draft = files.path().join(format!("{}-new-{}.sh", system.word(), std::process::id()));
    let written = options.script.clone().unwrap_or_else(|| draft.clone());
    write_script(&written, &text)?;
    let submitted = submit(system, &submit_args, &written);
    let (job, script) = match (submitted, &options.script) {
        (Ok(job), Some(script)) => (job, std::path::absolute(script).unwrap_or_else(|_| script.clone())),
        (Ok(job), None) => {
            let script = files.path().join(format!("{}.sh", job_files::stem(system, &job)));
            // The batch system has its own copy.
            fs::rename(&draft, &script)
                .map_err(|error| Error::file("cannot rename the job script to", &script, &error))?;
            (job, script)
        }
        (Err(error), script) => {
            if script.is_none() {
                let _ = fs::remove_file(&draft);
            }
            return Err(error);
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let record = JobRecord::new(system, job, options.array.map(Into::into), script, now);
    // The job is submitted all the same, and its id is what the user needs now.
    if let Err(error) = files.write(&record) {
        context.note(&error);
    }
    print(&record, plan, context);
    Ok(())
}

/// Returns the text of the script.
fn script(
    options: &ClusterOptions,
    system: BatchSystem,
    arguments: &[String],
    plan: &Path,
    files: &JobFiles,
) -> Result<String> {
    let not_text = |path: &Path| usage(format!("{} is not UTF-8, and a job script is", path.display()));
    let directory = std::env::current_dir()
        .map_err(|error| Error::new(Kind::Cache, format!("cannot find the current directory: {error}")))?;
    if let Some(launcher) = &options.launcher {
        launcher::split(launcher)?;
        if launcher.contains(['\n', '\r']) {
            return Err(usage("--launcher has a line break"));
        }
    }
    Ok(JobScript {
        system,
        name: &job_name(plan),
        plan: &plan.display().to_string(),
        directory: directory.to_str().ok_or_else(|| not_text(&directory))?,
        jobs: files.path().to_str().ok_or_else(|| not_text(files.path()))?,
        launcher: options.launcher.as_deref().map(str::trim),
        program: &launcher::this_program()?,
        arguments: &command_line::for_job(arguments),
        array: options.array.map(Into::into),
        variables: &variables(system),
    }
    .text())
}

/// Returns the variables that a batch system does not hand on. Grid Engine starts login shells, whose profiles
/// set the path anew, and drops variables of the dynamic loader.
fn variables(system: BatchSystem) -> Vec<(&'static str, String)> {
    const DROPPED: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];
    let names = if system == BatchSystem::Sge { DROPPED.as_slice() } else { &[] };
    names.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect()
}

/// Writes a script that the user may run.
fn write_script(path: &Path, text: &str) -> Result<()> {
    fsutil::replace_atomic(path, text.as_bytes(), 0o777, Durability::Volatile)
        .map_err(|error| Error::file("cannot write the job script to", path, &error))
}

/// Hands a script over. Returns the id of the job.
fn submit(system: BatchSystem, submit_args: &[String], script: &Path) -> Result<String> {
    // A name that begins with a hyphen would be an option.
    let script: PathBuf = std::path::absolute(script).unwrap_or_else(|_| script.to_owned());
    let script = script.to_str().ok_or_else(|| usage(format!("{} is not UTF-8", script.display())))?;
    match system {
        BatchSystem::Slurm => slurm::submit(&InstalledPrograms, submit_args, script),
        BatchSystem::Sge => sge::submit(&InstalledPrograms, submit_args, script),
    }
}

/// Prints the script alone.
fn print_script(text: &str, system: BatchSystem, submit_args: &[String], context: &mut CommandContext) {
    if context.out.json {
        let json = json!({
            "system": system,
            "submitter": system.submitter(),
            "submit_args": submit_args,
            "script_text": text,
        });
        context.out.document(&json);
    } else {
        context.out.text(text);
    }
}

/// Prints the job, and what to do with its id.
fn print(record: &JobRecord, plan: &Path, context: &mut CommandContext) {
    let id = record.job.split(';').next().unwrap_or_default();
    let dependency = record.system.dependency(id);
    if context.out.json {
        let json = json!({
            "system": record.system,
            "job": id,
            "array": record.array,
            "script": record.script,
            "submitter": record.system.submitter(),
            "dependency": dependency,
        });
        context.out.document(&json);
        return;
    }
    let plan = plan.display().to_string();
    let out = &mut context.out;
    out.line(format_args!("{} job {id}: {}", record.system, record.script.display()));
    out.line(format_args!("after it: {} {dependency} SCRIPT", record.system.submitter()));
    out.line(format_args!("wait for it: dijitso plan wait {}", shell_words::quote(&plan)));
}
