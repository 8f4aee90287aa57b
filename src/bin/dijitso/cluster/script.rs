//! The text of a job script. Pure: what it depends on is in [`JobScript`].

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::Path;

use super::{BatchSystem, command_line};

/// All that the text of a job script depends on.
pub(super) struct JobScript<'a> {
    /// The batch system.
    pub(super) system: BatchSystem,
    /// The name of the job.
    pub(super) name: &'a str,
    /// The plan, as the user named it, for a comment.
    pub(super) plan: &'a str,
    /// The directory in which the command runs; absolute.
    pub(super) directory: &'a str,
    /// The directory of logs and exit codes; absolute.
    pub(super) jobs: &'a str,
    /// The words before the command, as a shell reads them: `srun -N2 -n8`.
    pub(super) launcher: Option<&'a str>,
    /// The command `dijitso`; absolute.
    pub(super) program: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a [String],
    /// The number of jobs of an array.
    pub(super) array: Option<u32>,
    /// Variables of the submission, as far as the batch system does not hand them on.
    pub(super) variables: &'a [(&'static str, String)],
}

impl JobScript<'_> {
    /// Returns the text.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("#!/bin/sh\n");
        let plan = self.plan.replace(|c: char| c.is_control(), " ");
        let _ = writeln!(text, "# Makes the plan {plan}; written by dijitso {}.", env!("CARGO_PKG_VERSION"));
        self.directives(&mut text);
        text.push('\n');
        if !self.variables.is_empty() {
            let _ = writeln!(text, "# {} does not hand on these variables of the submission.", self.system);
        }
        for (name, value) in self.variables {
            let _ = writeln!(text, "export {name}={}", quote(value));
        }
        let _ = writeln!(text, "cd {} || exit 1", quote(self.directory));
        text.push_str(
            "# The command takes the place of the shell, and gets the signals of the batch system itself.\n",
        );
        let _ = writeln!(text, "exec {}", self.command());
        text
    }

    /// Writes the lines that the batch system reads.
    fn directives(&self, text: &mut String) {
        let log = Path::new(self.jobs).join(self.log_name()).display().to_string();
        let _ = match self.system {
            BatchSystem::Slurm => {
                let array =
                    self.array.map(|count| format!("#SBATCH --array=1-{count}\n")).unwrap_or_default();
                // A path has a percent sign of its own doubled; that of the name of the log is a pattern.
                let log = Path::new(&self.jobs.replace('%', "%%")).join(self.log_name());
                let log = quote_directive(&log.display().to_string());
                write!(text, "#SBATCH --job-name={}\n#SBATCH --output={log}\n{array}", self.name)
            }
            BatchSystem::Sge => {
                let array = self.array.map(|count| format!("#$ -t 1-{count}\n")).unwrap_or_default();
                let name = self.name;
                let log = if is_plain(self.jobs) { &log } else { "/dev/null" };
                // -V: the job gets the environment of the submission, as it does from Slurm.
                write!(text, "#$ -S /bin/sh\n#$ -N {name}\n#$ -V\n#$ -j y\n#$ -o {log}\n{array}")
            }
        };
    }

    /// Returns the pattern of the name of the log.
    fn log_name(&self) -> &'static str {
        match (self.system, self.array.is_some()) {
            (BatchSystem::Slurm, false) => "slurm-%j.log",
            (BatchSystem::Slurm, true) => "slurm-%A.%a.log",
            (BatchSystem::Sge, false) => "sge-$JOB_ID.log",
            (BatchSystem::Sge, true) => "sge-$JOB_ID.$TASK_ID.log",
        }
    }

    /// Returns the words that name the job and the task in shell.
    fn job(&self) -> &'static str {
        match (self.system, self.array.is_some()) {
            (BatchSystem::Slurm, false) => "/slurm-\"$SLURM_JOB_ID\"",
            (BatchSystem::Slurm, true) => "/slurm-\"$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID\"",
            (BatchSystem::Sge, false) => "/sge-\"$JOB_ID\"",
            (BatchSystem::Sge, true) => "/sge-\"$JOB_ID.$SGE_TASK_ID\"",
        }
    }

    /// Returns the command line in shell.
    fn command(&self) -> String {
        let mut line = String::new();
        if let Some(launcher) = self.launcher {
            let _ = write!(line, "{launcher} ");
        }
        line.push_str(&quote(self.program));
        let end = self.arguments.iter().position(|word| word == "--").unwrap_or(self.arguments.len());
        let (options, words) = self.arguments.split_at(end);
        for word in options {
            let _ = write!(line, " {}", quote(word));
        }
        // Without cpusets a job sees all cores of its host, not only those that it was given.
        if self.launcher.is_none() && !command_line::limits_jobs(self.arguments) {
            line.push_str(match self.system {
                BatchSystem::Slurm => " -j \"${SLURM_CPUS_ON_NODE:-1}\"",
                BatchSystem::Sge => " -j \"${NSLOTS:-1}\"",
            });
        }
        if let Some(count) = self.array {
            let task = match self.system {
                BatchSystem::Slurm => "SLURM_ARRAY_TASK_ID",
                BatchSystem::Sge => "SGE_TASK_ID",
            };
            let _ = write!(line, " --part \"${task}\"/{count}");
        }
        let _ = write!(line, " --status-file {}{}.status", quote(self.jobs), self.job());
        for word in words {
            let _ = write!(line, " {}", quote(word));
        }
        if self.system == BatchSystem::Sge && !is_plain(self.jobs) {
            // Grid Engine takes colons, commas and more in a path as its own syntax.
            let _ = write!(line, " > {}{}.log 2>&1", quote(self.jobs), self.job());
        }
        line
    }
}

/// Returns a name for the job of a plan, of the characters that all batch systems take.
pub(super) fn job_name(plan: &Path) -> String {
    let stem = plan.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    format!("dijitso-{}", stem.chars().take(64).map(plain).collect::<String>())
}

/// Quotes a word for a shell.
fn quote(word: &str) -> String {
    shell_words::quote(word).into_owned()
}

/// Returns true if a path means itself in a directive of Grid Engine.
fn is_plain(path: &str) -> bool {
    path.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '='))
}

/// Quotes the value of an option in a directive of Slurm.
fn quote_directive(value: &str) -> String {
    if is_plain(&value.replace('%', "")) {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLURM: &str = include_str!("golden/slurm.sh");
    const SLURM_ARRAY: &str = include_str!("golden/slurm-array.sh");
    const SGE: &str = include_str!("golden/sge-array.sh");

    // Paths and words that no shell and no batch system may take for something else.
    const ODD: &str = include_str!("golden/odd-slurm.sh");
    const ODD_SGE: &str = include_str!("golden/odd-sge.sh");

    fn golden(text: &str) -> String {
        text.replace("VERSION", env!("CARGO_PKG_VERSION"))
    }

    fn words(line: &str) -> Vec<String> {
        shell_words::split(line).unwrap()
    }

    #[test]
    fn scripts_are_as_expected() {
        let arguments = words("make poisson.toml -k");
        let variables =
            [("PATH", "/opt/my gcc/bin:/usr/bin".to_owned()), ("LD_LIBRARY_PATH", "/opt/lib".to_owned())];
        let script = |system, launcher, array| {
            JobScript {
                system,
                name: &job_name(Path::new("poisson.toml")),
                plan: "poisson.toml",
                directory: "/home/me",
                jobs: "/home/me/poisson.toml.jobs",
                launcher,
                program: "/opt/bin/dijitso",
                arguments: &arguments,
                array,
                variables: if system == BatchSystem::Sge { &variables } else { &[] },
            }
            .text()
        };
        assert_eq!(script(BatchSystem::Slurm, None, None), golden(SLURM));
        assert_eq!(script(BatchSystem::Slurm, Some("srun -N2 -n8"), Some(4)), golden(SLURM_ARRAY));
        assert_eq!(script(BatchSystem::Sge, None, Some(4)), golden(SGE));
    }

    #[test]
    fn odd_words_are_quoted() {
        let arguments = words(r#"make "it's 5%.toml" -j2 -- '$HOME'"#);
        for (system, expected) in [(BatchSystem::Slurm, ODD), (BatchSystem::Sge, ODD_SGE)] {
            let script = JobScript {
                system,
                name: &job_name(Path::new("it's 5%.toml")),
                plan: "it's 5%.toml",
                directory: r#"/data/it's "5%\"#,
                jobs: r#"/data/it's "5%\/jobs"#,
                launcher: None,
                program: "/opt/bin/dijitso",
                arguments: &arguments,
                array: None,
                variables: &[],
            };
            assert_eq!(script.text(), golden(expected));
        }
    }

    #[test]
    fn a_line_break_in_a_name_stays_in_the_comment() {
        let script = JobScript {
            system: BatchSystem::Slurm,
            name: "dijitso-x",
            plan: "a\nrm -rf b",
            directory: "/d",
            jobs: "/d/jobs",
            launcher: None,
            program: "/p",
            arguments: &words("make x"),
            array: None,
            variables: &[],
        };
        assert!(script.text().starts_with("#!/bin/sh\n# Makes the plan a rm -rf b; written"));
    }
}
