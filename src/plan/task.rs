//! Tasks: their signatures, and the folder in which a command makes its files.
//!
//! ```text
//! signature := name "_" first 32 hexadecimal digits of SHA-256(key)
//! key       := "dijitso task" u32 version  bytes name  bytes params
//!              u64 count  count * bytes word        the command; none for a callback
//!              u64 count  count * bytes output
//!              u64 count  count * bytes variable    "NAME=value"
//!              u64 count  count * (bytes name  bytes SHA-256(input))
//!              u64 count  count * bytes need        digest of the files of a task, signature of a library
//! ```
//! A need enters by what it has made, so a task whose inputs were made again with the same bytes is not made
//! again.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::cache::Cache;
use crate::cache::results::{ResultFile, TaskResult};
use crate::codec::{Writer, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::process::exec_context::ExecContext;
use crate::process::{Capture, Command, Exit, Runner};

use super::node::{CommandSpec, TaskAction, TaskWork};

/// Version of the signatures of tasks, raised when equal input would give another signature.
const VERSION: u32 = 1;

/// The longest part of a name in a signature, in bytes.
const MAX_NAME: usize = 100;

/// The longest file that a task reads or writes.
const LONGEST_FILE: u64 = 16 << 30;

/// Returns the signature of a task whose inputs have these digests, and whose needs have made this.
pub(super) fn task_signature(task: &TaskWork, inputs: &[String], needs: &[String]) -> String {
    let mut writer = Writer::new(b"dijitso task");
    writer.u32(VERSION);
    writer.bytes(task.name.as_bytes());
    writer.bytes(task.params.as_bytes());
    let (argv, outputs): (&[String], &[String]) = match &task.action {
        TaskAction::Callback(_) => (&[], &[]),
        TaskAction::Command(command) => (&command.argv, &command.outputs),
    };
    let env: Vec<String> = match &task.action {
        TaskAction::Callback(_) => Vec::new(),
        TaskAction::Command(command) => {
            command.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
        }
    };
    for words in [argv, outputs, &env] {
        writer.u64(words.len() as u64);
        words.iter().for_each(|word| writer.bytes(word.as_bytes()));
    }
    writer.u64(inputs.len() as u64);
    for ((name, _), digest) in task.inputs.iter().zip(inputs) {
        writer.bytes(name.as_bytes());
        writer.bytes(digest.as_bytes());
    }
    writer.u64(needs.len() as u64);
    needs.iter().for_each(|need| writer.bytes(need.as_bytes()));
    let hash = hex(&digest(&writer.finish()));
    format!("{}_{}", signature_name(&task.name), &hash[..32])
}

/// Returns the name of a task as it begins a signature, which is the name of a file.
fn signature_name(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.+-".contains(c) { c } else { '_' };
    let mut name: String = name.chars().map(allowed).take(MAX_NAME).collect();
    if name.is_empty() || name.starts_with(['.', '-']) {
        name.insert(0, '_');
    }
    name
}

/// Reads an input, and returns its digest.
///
/// # Errors
/// [`Kind::Generate`] if it cannot be read.
pub(super) fn input_digest(label: &str, path: &Path) -> Result<String> {
    let data = fsutil::read_plain(path, LONGEST_FILE).map_err(|error| {
        let text = format!("\"{label}\" needs the file {}: {error}", path.display());
        Error::new(Kind::Generate, text)
    })?;
    Ok(hex(&digest(&data)))
}

/// The files that a command finds in its folder.
pub(super) struct FolderInputs<'a> {
    /// Name and path of each input.
    pub(super) inputs: &'a [(String, PathBuf)],
    /// The digest of each input, as the signature of the task has it.
    pub(super) digests: &'a [String],
    /// Returns the digest of an input as it is now.
    pub(super) digest_of: &'a dyn Fn(&Path) -> Result<String>,
    /// The results of the tasks that it needs.
    pub(super) results: &'a [TaskResult],
}

/// Runs the command of a task in a folder of its own. Returns the files that it was to write.
///
/// # Errors
/// [`Kind::Generate`] if it fails, or does not write an output; [`Kind::Cache`] if there is no folder for it;
/// [`Kind::Cancelled`] or [`Kind::State`] if it was cancelled.
pub(super) fn run_command(
    label: &str,
    command: &CommandSpec,
    files: &FolderInputs<'_>,
    cache: &Cache,
    runner: &dyn Runner,
    context: &ExecContext,
) -> Result<Vec<ResultFile>> {
    let places = cache.layout().staging_places();
    let cannot = |error: io::Error| Error::io("cannot make a folder for a command in", &places[0], &error);
    let folder = fsutil::staging_dir(&places).map_err(cannot)?;
    fill(label, folder.path(), files)?;
    for output in &command.outputs {
        check_relative(label, output)?;
        make_parent(&folder.path().join(output))?;
    }
    let run = Command {
        argv: command.argv.clone(),
        env: command.env.clone(),
        cwd: folder.path().to_owned(),
        timeout: command.timeout,
        capture: Capture::Pipe,
        memory: None,
        context: context.clone(),
    };
    let failed = |text: String| Error::new(Kind::Generate, text);
    let program = command.argv.first().map_or("", String::as_str);
    let outcome = runner.run(&run).map_err(|error| {
        failed(format!("\"{label}\": {program} cannot be started: {error}")).passing_with(&error)
    })?;
    context.check(label)?;
    let output = String::from_utf8_lossy(&outcome.output).into_owned();
    if !matches!(outcome.exit, Exit::Code(0) | Exit::Unknown) {
        let first = first_error(&output).map_or(String::new(), |line| format!(": {line}"));
        let error = failed(format!("\"{label}\": {program} {}{first}", outcome.exit.describe()));
        let error = error.with_log(output);
        // A program that was killed or has run out of time may do better the next time.
        return Err(if matches!(outcome.exit, Exit::Code(_)) { error } else { error.passing() });
    }
    let read = |name: &String| {
        read_output(folder.path(), name).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("did not write {name}; in its folder it left {}", left(folder.path(), files))
                }
                _ => format!("wrote {name}, which cannot be read: {error}"),
            };
            let error = failed(format!("\"{label}\": {program} ended with exit code 0 and {reason}"))
                .passing_with(&error);
            error.with_log(&*output)
        })
    };
    command.outputs.iter().map(read).collect()
}

/// Reads what a command has written. A link may lead to another file of its folder, and not out of it.
fn read_output(folder: &Path, name: &str) -> io::Result<ResultFile> {
    let path = folder.join(name).canonicalize()?;
    if !path.starts_with(folder.canonicalize()?) {
        let text = format!("it is a link to {}, outside of the folder of the command", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let contents = fsutil::read_plain(&path, LONGEST_FILE)?;
    let mode = fs::metadata(&path).map_or(0, |facts| facts.permissions().mode());
    Ok(ResultFile { name: name.to_owned(), executable: mode & 0o100 != 0, contents })
}

/// Puts inputs and results of needs into a folder.
fn fill(label: &str, folder: &Path, files: &FolderInputs<'_>) -> Result<()> {
    let failed = |name: &str, error: &io::Error| {
        let text = format!("\"{label}\": {name} cannot be put into the folder of the command: {error}");
        Error::new(Kind::Generate, text).passing_with(error)
    };
    for ((name, path), digest) in files.inputs.iter().zip(files.digests) {
        let target = folder.join(inside(name));
        make_parent(&target)?;
        fsutil::copy(path, &target).map_err(|error| failed(name, &error))?;
        if (files.digest_of)(path)? != *digest {
            let text = format!("\"{label}\": {} has changed in the meantime", path.display());
            return Err(Error::new(Kind::Generate, text).passing());
        }
    }
    for file in files.results.iter().flat_map(|result| &result.files) {
        let target = folder.join(inside(&file.name));
        make_parent(&target)?;
        if target.exists() {
            let text = format!("\"{label}\" gets two files with the name {}", file.name);
            return Err(Error::new(Kind::Generate, text));
        }
        write_file(&target, file).map_err(|error| failed(&file.name, &error))?;
    }
    Ok(())
}

fn write_file(path: &Path, file: &ResultFile) -> io::Result<()> {
    fsutil::write(path, &file.contents)?;
    if file.executable {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Returns the place of an input in the folder: its relative path, or its last part if that leads out.
fn inside(name: &str) -> PathBuf {
    let path = Path::new(name);
    if path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        path.to_owned()
    } else {
        PathBuf::from(path.file_name().unwrap_or_default())
    }
}

/// Refuses an output that would lie outside of the folder.
fn check_relative(label: &str, output: &str) -> Result<()> {
    let mut parts = Path::new(output).components();
    if output.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        let text = format!(
            "\"{label}\": the output \"{output}\" is not a path below the folder of the command: use a relative \
             path, and copy_to for another place"
        );
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, &error))
}

/// Returns the first line of an output that names an error, else its last line; `None` if it is empty.
fn first_error(output: &str) -> Option<&str> {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    let named = lines.clone().find(|line| line.to_ascii_lowercase().contains("error"));
    named.or_else(|| lines.next_back())
}

/// Names the files in a folder that were not put there for the command.
fn left(folder: &Path, files: &FolderInputs<'_>) -> String {
    const NAMED: usize = 8;
    let given = files.inputs.iter().map(|(name, _)| name.as_str());
    let given: Vec<PathBuf> = given
        .chain(files.results.iter().flat_map(|result| result.files.iter().map(|file| file.name.as_str())))
        .map(inside)
        .collect();
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if let Ok(name) = path.strip_prefix(folder)
                && !given.iter().any(|given| given == name)
            {
                names.push(name.display().to_string());
            }
        }
    }
    names.sort();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > NAMED => format!("{} and {} more files", names[..NAMED].join(", "), count - NAMED),
        _ => names.join(", "),
    }
}

/// Copies the files of a result into a directory, except those that are there already.
///
/// # Errors
/// [`Kind::Generate`] if a file cannot be written.
pub(super) fn copy_out(label: &str, result: &TaskResult, directory: &Path) -> Result<()> {
    for file in &result.files {
        let path = directory.join(&file.name);
        if fs::read(&path).is_ok_and(|contents| contents == file.contents) {
            continue;
        }
        make_parent(&path)?;
        let mode = if file.executable { 0o777 } else { 0o666 };
        fsutil::replace_atomic(&path, &file.contents, mode, fsutil::Durability::Volatile).map_err(
            |error| {
                let text = format!("\"{label}\": cannot write {}: {error}", path.display());
                Error::new(Kind::Generate, text)
            },
        )?;
    }
    Ok(())
}

/// The time between two attempts to make a node that failed for a passing reason; doubled each time.
pub(super) const BACKOFF: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn work(name: &str, argv: &[&str], inputs: &[&str]) -> TaskWork {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        TaskWork {
            name: name.to_owned(),
            params: "{}".to_owned(),
            inputs: inputs.iter().map(|name| ((*name).to_owned(), PathBuf::from(name))).collect(),
            action: TaskAction::Command(CommandSpec {
                argv: words(argv),
                env: Vec::new(),
                outputs: words(&["out"]),
                copy_to: None,
                timeout: None,
            }),
        }
    }

    #[test]
    fn each_part_of_a_task_changes_its_signature() {
        let sign = |name, argv: &[&str], inputs: &[&str], digests: &[&str], needs: &[&str]| {
            let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            task_signature(&work(name, argv, inputs), &own(digests), &own(needs))
        };
        let all = [
            sign("a", &["cp", "x"], &["x"], &["1"], &["2"]),
            sign("b", &["cp", "x"], &["x"], &["1"], &["2"]),
            sign("a", &["cp", "y"], &["x"], &["1"], &["2"]),
            sign("a", &["cp", "x"], &["y"], &["1"], &["2"]),
            sign("a", &["cp", "x"], &["x"], &["2"], &["2"]),
            sign("a", &["cp", "x"], &["x"], &["1"], &["1"]),
            sign("a", &["cp", "x"], &["x"], &["1"], &[]),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        for signature in &all {
            crate::signature::check_signature(signature).unwrap();
        }
    }

    #[test]
    fn any_name_begins_a_signature() {
        for name in ["", ".hidden", "a b", "größe/ä", &"x".repeat(300)] {
            let signature = task_signature(&work(name, &["true"], &[]), &[], &[]);
            crate::signature::check_signature(&signature).unwrap();
            assert!(!signature.contains('/') && signature.len() < 200, "{signature}");
        }
    }

    /// The result would else have the signature of the old input.
    #[test]
    fn an_input_that_changes_before_its_command_runs_is_a_failure_that_passes() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = [("in".to_owned(), dir.path().join("in"))];
        fsutil::write(&inputs[0].1, b"one").unwrap();
        let digests = [input_digest("a", &inputs[0].1).unwrap()];
        let digest_of = |path: &Path| input_digest("a", path);
        let files = FolderInputs { inputs: &inputs, digests: &digests, digest_of: &digest_of, results: &[] };
        let folder = tempfile::tempdir().unwrap();
        fill("a", folder.path(), &files).unwrap();
        fsutil::write(&inputs[0].1, b"two").unwrap();
        let error = fill("a", folder.path(), &files).unwrap_err();
        assert!(error.is_passing() && error.message().contains("has changed in the meantime"), "{error}");
    }

    #[test]
    fn inputs_stay_inside_and_the_first_error_is_found() {
        assert_eq!(inside("forms/a.py"), Path::new("forms/a.py"));
        assert_eq!(inside("../a.py"), Path::new("a.py"));
        assert_eq!(inside("/home/me/a.py"), Path::new("a.py"));
        assert!(check_relative("x", "../out").is_err() && check_relative("x", "/out").is_err());
        assert_eq!(first_error("a\nb: Error: no\nc\n"), Some("b: Error: no"));
        assert_eq!((first_error("a\n\nb\n"), first_error("\n")), (Some("b"), None));
    }
}
