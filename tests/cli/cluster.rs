//! `dijitso make --submit`, `--launcher` and `dijitso plan wait`, with programs that stand in for those of the
//! batch systems.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::home::{Home, ended, text};

/// A home with a plan, and a folder with programs for `PATH`.
struct Site {
    home: Home,
}

impl Site {
    fn new() -> Self {
        let home = Home::empty();
        fs::create_dir(home.at("bin")).unwrap();
        fs::write(home.at("p.toml"), "").unwrap();
        Self { home }
    }

    /// Adds a program, a shell script that first writes down its arguments.
    fn program(&self, name: &str, script: &str) -> &Self {
        let path = self.home.at("bin").join(name);
        let log = self.home.at("calls");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\n{script}\n", log.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs the command with these programs alone on `PATH`.
    fn run(&self, arguments: &[&str]) -> Output {
        ended(self.home.command(arguments).env("PATH", self.home.at("bin")).spawn().unwrap())
    }

    /// Runs the command with no program on `PATH`.
    fn run_alone(&self, arguments: &[&str]) -> Output {
        ended(self.home.command(arguments).env("PATH", self.home.at("empty")).spawn().unwrap())
    }

    /// Returns the calls of programs.
    fn calls(&self) -> String {
        fs::read_to_string(self.home.at("calls")).unwrap_or_default()
    }

    fn jobs(&self, name: &str) -> std::path::PathBuf {
        self.home.at("p.toml.jobs").join(name)
    }
}

fn shown(output: &Output) -> (Option<i32>, &str, &str) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_job_is_submitted_and_recorded() {
    let site = Site::new();
    site.program("sbatch", "echo 17");
    let output = site.run(&["make", "p.toml", "--submit", "slurm", "--submit-args", "-p 'a b' -t 10", "-j3"]);
    let (code, stdout, stderr) = shown(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    let script = site.jobs("slurm-17.sh");
    assert!(stdout.contains(&script.display().to_string()), "{stdout}");
    assert!(stdout.contains("sbatch -d afterok:17 "), "{stdout}");
    assert!(stdout.contains("dijitso plan wait p.toml"), "{stdout}");
    let text = fs::read_to_string(&script).unwrap();
    assert!(text.contains(" make p.toml -j3 --status-file "), "{text}");
    assert!(!text.contains("--submit"), "{text}");
    assert!(site.calls().starts_with("sbatch --parsable -p a b -t 10 "), "{}", site.calls());
    assert!(site.jobs("slurm-17.json").is_file());
    assert_eq!(fs::read_dir(site.jobs("")).unwrap().count(), 2);
}

#[test]
fn the_script_is_saved_where_the_user_wants_it() {
    let site = Site::new();
    site.program("qsub", "echo 5.1-2:1");
    let output =
        site.run(&["make", "p.toml", "--submit", "sge", "--array", "2", "--script", "job.sh", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["job"], "5");
    assert_eq!(json["dependency"], "-hold_jid 5");
    assert_eq!(json["array"], 2);
    let text = fs::read_to_string(site.home.at("job.sh")).unwrap();
    assert!(text.contains("\n#$ -t 1-2\n"), "{text}");
    assert!(text.contains("--part \"$SGE_TASK_ID\"/2 "), "{text}");
    assert!(!site.jobs("sge-5.sh").exists());
}

#[test]
fn a_dry_run_prints_the_script_and_changes_nothing() {
    let site = Site::new();
    site.program("sbatch", "echo 17");
    let output = site.run(&["make", "p.toml", "--submit", "slurm", "-n", "--script", "job.sh"]);
    let (code, stdout, stderr) = shown(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    assert!(stdout.starts_with("#!/bin/sh\n") && stdout.contains("\nexec "), "{stdout}");
    assert!(!stdout.contains(" -n "), "{stdout}");
    assert_eq!(site.calls(), "");
    assert!(!site.home.at("job.sh").exists() && !site.jobs("").exists());
}

#[test]
fn a_refusal_shows_the_words_of_the_batch_system() {
    let site = Site::new();
    site.program("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1");
    let output = site.run(&["make", "p.toml", "--submit", "slurm"]);
    let (code, stdout, stderr) = shown(&output);
    assert_eq!(code, Some(1));
    assert_eq!(stdout, "");
    assert!(
        stderr.contains("sbatch has refused the job: exit code 1: sbatch: error: invalid part"),
        "{stderr}"
    );
    // Nothing stays behind.
    assert_eq!(fs::read_dir(site.jobs("")).unwrap().count(), 0);
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let site = Site::new();
    for (arguments, program, package) in [
        (["--submit", "slurm"], "sbatch", "slurm-client"),
        (["--submit", "sge"], "qsub", "gridengine-client"),
        (["--launcher", "srun -n 2"], "srun", "slurm-client"),
    ] {
        let output = site.run_alone(&[&["make", "p.toml"], arguments.as_slice()].concat());
        let (code, _, stderr) = shown(&output);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(&format!("no command {program} on PATH")), "{stderr}");
        assert!(stderr.contains(package), "{stderr}");
    }
}

#[test]
fn options_of_a_submission_need_one() {
    let site = Site::new();
    for arguments in [["--array", "2"], ["--script", "s"], ["--submit-args", "-p x"]] {
        let output = site.run(&[&["make", "p.toml"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let output = site.run(&["make", "p.toml", "--submit", "slurm", "--array", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The launcher gets the other words, and its exit code is that of the command.
#[test]
fn a_launcher_takes_the_place_of_the_command() {
    let site = Site::new();
    site.program("srun", "echo \"status $SLURM_DISABLE_STATUS pid $$\"; exit 113");
    let arguments = ["make", "p.toml", "--launcher", "srun -N2 'a b'", "-j", "2"];
    let child = site.home.command(&arguments).env("PATH", site.home.at("bin")).spawn().unwrap();
    let pid = child.id();
    let output = ended(child);
    assert_eq!(output.status.code(), Some(113));
    assert_eq!(text(&output.stdout), format!("status 1 pid {pid}\n"));
    let program = env!("CARGO_BIN_EXE_dijitso");
    assert_eq!(site.calls(), format!("srun -N2 a b {program} make p.toml -j 2\n"));
}

#[test]
fn waiting_returns_the_exit_code_that_the_job_has_written() {
    let site = Site::new();
    site.program("sbatch", "echo 17").program("scontrol", "exit 1");
    site.run(&["make", "p.toml", "--submit", "slurm"]);
    fs::write(site.jobs("slurm-17.status"), "113\n").unwrap();
    let output = site.run(&["plan", "wait", "p.toml"]);
    assert_eq!(shown(&output), (Some(113), "Slurm job 17: exit code 113\n", ""));
    let output = site.run(&["plan", "wait", "p.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["exit_code"], &json["job"]), (&113.into(), &"17".into()));
    assert!(!site.calls().contains("scontrol"), "{}", site.calls());
}

#[test]
fn waiting_for_a_job_asks_the_batch_system() {
    let site = Site::new();
    site.program("scontrol", "echo 'JobId=9 JobState=COMPLETED Reason=None ExitCode=0:0'")
        .program("sbatch", "");
    let output = site.run(&["plan", "wait", "9"]);
    assert_eq!(shown(&output), (Some(0), "Slurm job 9: exit code 0\n", ""));
    assert_eq!(site.calls(), "scontrol --oneliner show job 9\n");
}

#[test]
fn waiting_has_a_timeout_and_knows_unknown_jobs() {
    let site = Site::new();
    site.program("scontrol", "echo 'JobId=9 JobState=RUNNING Reason=None'").program("sbatch", "");
    let (code, stderr) = fails(&site.run(&["plan", "wait", "9", "--timeout", "0.1"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("Slurm job 9: running") && stderr.contains("--timeout"), "{stderr}");
    site.program("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
    let (_, stderr) = fails(&site.run(&["plan", "wait", "9"]));
    assert!(stderr.contains("Slurm job 9: there is no such job"), "{stderr}");
    let (code, stderr) = fails(&site.run(&["plan", "wait", "p.toml"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("no job of the plan p.toml"), "{stderr}");
    let (_, stderr) = fails(&site.run_alone(&["plan", "wait", "9"]));
    assert!(stderr.contains("neither sbatch nor qsub"), "{stderr}");
    site.program("qsub", "");
    let (_, stderr) = fails(&site.run(&["plan", "wait", "9"]));
    assert!(stderr.contains("--system slurm or --system sge"), "{stderr}");
}

fn fails(output: &Output) -> (i32, String) {
    assert_eq!(text(&output.stdout), "");
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
}
