//! Runs the programs of batch systems. [`Programs`] is a trait, so that tests need no batch system.

#![forbid(unsafe_code)]

use std::io;
use std::process::{Command, Stdio};

use dijitso::error::{Error, Kind};

/// The programs that are known, with the Debian packages that have them.
const PACKAGES: [(&str, &str); 11] = [
    ("sbatch", "slurm-client"),
    ("srun", "slurm-client"),
    ("salloc", "slurm-client"),
    ("scontrol", "slurm-client"),
    ("sacct", "slurm-client"),
    ("qsub", "gridengine-client"),
    ("qstat", "gridengine-client"),
    ("qacct", "gridengine-client"),
    ("mpiexec", "openmpi-bin or mpich"),
    ("mpirun", "openmpi-bin or mpich"),
    ("mpiexec.hydra", "mpich"),
];

/// The end of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProgramOutput {
    /// The exit code; `None` if a signal has killed it.
    pub(super) code: Option<i32>,
    /// The standard output.
    pub(super) output: String,
    /// The standard error stream.
    pub(super) errors: String,
}

impl ProgramOutput {
    /// Describes a failure: the exit code, and the text of the program.
    pub(super) fn describe(&self) -> String {
        let end = match self.code {
            Some(code) => format!("exit code {code}"),
            None => "killed by a signal".to_owned(),
        };
        let text = if self.errors.trim().is_empty() { &self.output } else { &self.errors };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
        if lines.is_empty() { end } else { format!("{end}: {}", lines.join("; ")) }
    }
}

/// Runs programs to their end.
pub(super) trait Programs {
    /// Runs a program.
    ///
    /// # Errors
    /// Those of the system if it cannot be started; `NotFound` if there is no such program.
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<ProgramOutput>;
}

/// The programs on `PATH`.
#[derive(Debug)]
pub(super) struct InstalledPrograms;

impl Programs for InstalledPrograms {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<ProgramOutput> {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
        Ok(ProgramOutput {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Makes the error of a program that could not be started, with its package if it is missing.
pub(super) fn not_started(program: &str, cause: &io::Error) -> Error {
    if cause.kind() != io::ErrorKind::NotFound {
        return Error::new(Kind::Unsupported, format!("cannot start {program}: {cause}"));
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let package = PACKAGES.iter().find(|(known, _)| *known == name);
    let advice = match package {
        Some((_, package)) => {
            format!("; Debian has it in the package {package}; clusters may want a module loaded first")
        }
        None => String::new(),
    };
    Error::new(Kind::Unsupported, format!("there is no command {program} on PATH{advice}"))
}

/// Answers by scripted outputs, for tests.
#[cfg(test)]
pub(super) struct ScriptedPrograms(pub(super) Vec<(&'static str, ProgramOutput)>);

#[cfg(test)]
impl Programs for ScriptedPrograms {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<ProgramOutput> {
        let line = std::iter::once(program).chain(arguments.iter().copied()).collect::<Vec<_>>().join(" ");
        let found = self.0.iter().find(|(known, _)| *known == line);
        found.map(|(_, output)| output.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = not_started("/usr/bin/srun", &io::ErrorKind::NotFound.into());
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.message().contains("no command /usr/bin/srun"), "{error}");
        assert!(error.message().contains("slurm-client"), "{error}");
        let error = not_started("aprun", &io::ErrorKind::NotFound.into());
        assert_eq!(error.message(), "there is no command aprun on PATH");
        let error = not_started("srun", &io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.message(), "cannot start srun: permission denied");
    }

    #[test]
    fn a_failure_shows_what_the_program_said() {
        let failed =
            |errors: &str| ProgramOutput { code: Some(1), output: "out\n".into(), errors: errors.into() };
        assert_eq!(failed("a\n\n b\n").describe(), "exit code 1: a; b");
        assert_eq!(failed(" ").describe(), "exit code 1: out");
        assert_eq!(ProgramOutput::default().describe(), "killed by a signal");
    }
}
