//! `dijitso make PLAN --launcher "srun -N2 -n8"`: the same command once more, on the ranks of a launcher.

#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use dijitso::error::{Error, Kind, Result};

use super::super::context::CommandContext;
use super::super::usage;
use super::{command_line, programs};

/// Replaces this process by the launcher, so that every signal reaches it and its exit code is that of the
/// command. Returns only with `--dry-run`, after it has printed the command line.
///
/// # Errors
/// `Kind::InvalidArgument` if the launcher is no command line; `Kind::Unsupported` if it cannot be started.
pub(super) fn run(launcher: &str, arguments: &[String], context: &mut CommandContext) -> Result<()> {
    let words = command(launcher, &this_program()?, arguments)?;
    if context.options.dry_run {
        if context.out.json {
            context.out.document(&json!({ "command": words }));
        } else {
            context.out.line(shell_words::join(&words));
        }
        return Ok(());
    }
    context.out.flush();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    for (name, value) in VARIABLES {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    Err(programs::not_started(&words[0], &command.exec()))
}

/// Variables of launchers, set unless they are set already.
const VARIABLES: [(&str, &str); 1] = [
    // srun hands the first Ctrl-C to the ranks. Otherwise it only shows their states.
    ("SLURM_DISABLE_STATUS", "1"),
];

/// Returns the command line of a launcher that starts this command.
fn command(launcher: &str, program: &str, arguments: &[String]) -> Result<Vec<String>> {
    let mut words = split(launcher)?;
    words.push(program.to_owned());
    words.extend(command_line::for_workers(arguments));
    Ok(words)
}

/// Splits the words of a launcher.
///
/// # Errors
/// `Kind::InvalidArgument` if a quote is open, or if there is no word.
pub(super) fn split(launcher: &str) -> Result<Vec<String>> {
    let words = shell_words::split(launcher).map_err(|error| usage(format!("--launcher: {error}")))?;
    if words.is_empty() {
        return Err(usage("--launcher is empty: name a command, for example \"mpiexec -n 4\""));
    }
    Ok(words)
}

/// Returns the path of this command.
///
/// # Errors
/// `Kind::Unsupported` if the system does not say it, or if it is not UTF-8.
pub(super) fn this_program() -> Result<String> {
    let failed = |text: String| Error::new(Kind::Unsupported, format!("cannot find this command: {text}"));
    let path: PathBuf = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    path.into_os_string().into_string().map_err(|path| failed(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_other_arguments() {
        let arguments = ["make", "a b.toml", "--launcher", "srun -n2", "-k"].map(str::to_owned);
        let words = command("srun -n2 'x y'", "/bin/dijitso", &arguments).unwrap();
        assert_eq!(words, ["srun", "-n2", "x y", "/bin/dijitso", "make", "a b.toml", "-k"]);
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for launcher in ["", "  ", "srun 'x"] {
            assert_eq!(split(launcher).unwrap_err().kind(), Kind::InvalidArgument, "{launcher:?}");
        }
    }
}
