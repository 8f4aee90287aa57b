//! The programs of Slurm: `sbatch`, `scontrol`, and `sacct` on clusters that keep accounts.

#![forbid(unsafe_code)]

use dijitso::error::{Error, Kind, Result};

use super::job_report::{JobEnd, JobReport};
use super::programs::{Programs, not_started};

/// Submits a script, and returns the job: its id, and the cluster after a semicolon if it is not the default
/// one.
///
/// # Errors
/// `Kind::Unsupported` if there is no `sbatch`; `Kind::State` if it refuses the job.
pub(super) fn submit(programs: &dyn Programs, options: &[String], script: &str) -> Result<String> {
    let arguments: Vec<&str> =
        ["--parsable"].into_iter().chain(options.iter().map(String::as_str)).chain([script]).collect();
    let ended = programs.run("sbatch", &arguments).map_err(|cause| not_started("sbatch", &cause))?;
    let is_id = |line: &&str| line.split(';').next().is_some_and(is_number);
    match ended.output.lines().map(str::trim).rfind(is_id) {
        Some(job) if ended.code == Some(0) => Ok(job.to_owned()),
        _ => Err(Error::new(Kind::State, format!("sbatch has refused the job: {}", ended.describe()))),
    }
}

/// Asks for a job. `None`: Slurm does not know it, or has forgotten it.
///
/// # Errors
/// `Kind::Unsupported` if there is no `scontrol`; `Kind::State` if it cannot reach the controller.
pub(super) fn query(programs: &dyn Programs, job: &str) -> Result<Option<JobReport>> {
    let (id, cluster) = job.split_once(';').map_or((job, None), |(id, cluster)| (id, Some(cluster)));
    let cluster: Vec<&str> = cluster.map(|cluster| vec!["-M", cluster]).unwrap_or_default();
    let arguments = [cluster.as_slice(), &["--oneliner", "show", "job", id]].concat();
    let ended = programs.run("scontrol", &arguments).map_err(|cause| not_started("scontrol", &cause))?;
    if ended.code == Some(0) {
        let report = parse_jobs(&ended.output);
        if report != JobReport::default() {
            return Ok(Some(report));
        }
    } else if !ended.errors.contains("Invalid job id") {
        return Err(Error::new(Kind::State, format!("scontrol show job {id}: {}", ended.describe())));
    }
    // Slurm itself forgets a job minutes after its end. The accounts remember it, if the site keeps some.
    let format = ["-n", "-P", "-X", "-j", id, "-o", "JobID,State,ExitCode"];
    let accounts = programs.run("sacct", &[cluster.as_slice(), &format].concat());
    let report = accounts.map(|ended| parse_accounts(&ended.output)).unwrap_or_default();
    Ok((report != JobReport::default()).then_some(report))
}

/// Reads the output of `scontrol --oneliner show job`: a line for each task that has begun, and one for those
/// that wait.
fn parse_jobs(output: &str) -> JobReport {
    let mut report = JobReport::default();
    for line in output.lines() {
        let field = |name: &str| {
            line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let Some(state) = field("JobState") else { continue };
        let task = field("ArrayTaskId").map_or(Some(0), |task| task.parse().ok());
        add(
            &mut report,
            task,
            state,
            field("Reason").unwrap_or_default(),
            field("ExitCode").unwrap_or_default(),
        );
    }
    report
}

/// Reads the output of `sacct`: `12_3|COMPLETED|0:0`.
fn parse_accounts(output: &str) -> JobReport {
    let mut report = JobReport::default();
    for line in output.lines() {
        let mut fields = line.split('|');
        let (Some(id), Some(state), Some(code)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let task = id.split_once('_').map_or(Some(0), |(_, task)| task.parse().ok());
        // "CANCELLED by 1000"
        add(&mut report, task, state.split(' ').next().unwrap_or_default(), "", code);
    }
    report
}

/// Adds a task to a report. A task without a number stands for several that wait.
fn add(report: &mut JobReport, task: Option<u32>, state: &str, reason: &str, exit: &str) {
    let stopped = match state {
        "COMPLETED" | "FAILED" => None,
        "CANCELLED" => Some("was cancelled"),
        "TIMEOUT" => Some("was ended at the time limit of the job"),
        "DEADLINE" => Some("was ended at its deadline"),
        "OUT_OF_MEMORY" => Some("was ended because it needed too much memory"),
        "NODE_FAIL" => Some("was ended by the failure of a node"),
        "PREEMPTED" => Some("was ended for a job that comes first"),
        "BOOT_FAIL" => Some("has not begun, because a node did not start"),
        "LAUNCH_FAILED" | "RECONFIG_FAIL" | "REVOKED" => Some("has not begun"),
        _ => {
            // Such a job would wait for ever.
            let never = ["DependencyNeverSatisfied", "BadConstraints", "InvalidAccount", "InvalidQOS"];
            if state == "PENDING" && never.contains(&reason) {
                report.stuck = Some(reason.to_owned());
            }
            let reason = if matches!(reason, "" | "None") { String::new() } else { format!(" ({reason})") };
            // A running task says more than those that wait.
            if report.active.as_deref() != Some("running") {
                report.active = Some(format!("{}{reason}", state.to_lowercase()));
            }
            return;
        }
    };
    let mut exit = exit.split(':').map(|part| part.parse::<i32>().unwrap_or_default());
    let (code, signal) = (exit.next().unwrap_or_default(), exit.next().unwrap_or_default());
    let end = match stopped {
        Some(stopped) => JobEnd::Stopped(stopped.to_owned()),
        None if signal > 0 => JobEnd::Stopped(format!("was killed by signal {signal}")),
        None if code == 0 && state == "FAILED" => JobEnd::Stopped("has failed".to_owned()),
        None => JobEnd::Code(code),
    };
    report.ends.insert(task.unwrap_or_default(), end);
}

/// Returns true for a number without a sign.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::programs::{ProgramOutput, ScriptedPrograms};
    use super::*;

    fn said(code: i32, output: &str, errors: &str) -> ProgramOutput {
        ProgramOutput { code: Some(code), output: output.into(), errors: errors.into() }
    }

    #[test]
    fn the_id_is_found_among_other_lines() {
        let submit = |output: ProgramOutput| {
            let programs = ScriptedPrograms(vec![("sbatch --parsable -p debug a b.sh", output)]);
            submit(&programs, &["-p".to_owned(), "debug".to_owned()], "a b.sh")
        };
        assert_eq!(submit(said(0, "12\n", "sbatch: warning: x\n")).unwrap(), "12");
        assert_eq!(submit(said(0, "hello of the site 7\n13;big\n", "")).unwrap(), "13;big");
        let refused = submit(said(1, "", "sbatch: error: invalid partition specified: x\n")).unwrap_err();
        assert_eq!(refused.kind(), Kind::State);
        assert_eq!(
            refused.message(),
            "sbatch has refused the job: exit code 1: sbatch: error: invalid partition specified: x"
        );
        let missing = super::submit(&ScriptedPrograms(vec![]), &[], "s").unwrap_err();
        assert_eq!(missing.kind(), Kind::Unsupported);
    }

    const ENDED: &str = "JobId=9 JobName=dijitso-p UserId=root(0) JobState=FAILED Reason=NonZeroExitCode \
                         Dependency=(null) Requeue=1 ExitCode=113:0 RunTime=00:00:01 Command=/a JobState=X\n";
    const ARRAY: &str = "JobId=15 ArrayJobId=12 ArrayTaskId=3 JobState=RUNNING Reason=None ExitCode=0:0\n\
                         JobId=12 ArrayJobId=12 ArrayTaskId=4-8%2 JobState=PENDING Reason=Priority\n\
                         JobId=14 ArrayJobId=12 ArrayTaskId=2 JobState=CANCELLED Reason=None ExitCode=0:15\n\
                         JobId=13 ArrayJobId=12 ArrayTaskId=1 JobState=COMPLETED Reason=None ExitCode=0:0\n";

    #[test]
    fn jobs_are_read() {
        assert_eq!(
            parse_jobs(ENDED),
            JobReport { ends: [(0, JobEnd::Code(113))].into(), ..JobReport::default() }
        );
        let array = parse_jobs(ARRAY);
        let ends = [(1, JobEnd::Code(0)), (2, JobEnd::Stopped("was cancelled".into()))].into();
        assert_eq!(array, JobReport { ends, active: Some("running".into()), stuck: None });
    }

    #[test]
    fn a_job_that_never_starts_is_seen() {
        let report = parse_jobs("JobId=3 JobState=PENDING Reason=DependencyNeverSatisfied ExitCode=0:0");
        assert_eq!(report.stuck.as_deref(), Some("DependencyNeverSatisfied"));
        let report = parse_jobs("JobId=3 JobState=PENDING Reason=Resources ExitCode=0:0");
        assert_eq!((report.stuck, report.active.as_deref()), (None, Some("pending (Resources)")));
    }

    #[test]
    fn the_accounts_are_asked_if_slurm_has_forgotten() {
        const SHOW: &str = "scontrol -M big --oneliner show job 9";
        const ACCOUNTS: &str = "sacct -M big -n -P -X -j 9 -o JobID,State,ExitCode";
        let forgotten = || said(1, "", "slurm_load_jobs error: Invalid job id specified\n");
        let ask = |answers| query(&ScriptedPrograms(answers), "9;big");
        assert_eq!(ask(vec![(SHOW, forgotten())]).unwrap(), None);
        let disabled = said(1, "", "Slurm accounting storage is disabled\n");
        assert_eq!(ask(vec![(SHOW, forgotten()), (ACCOUNTS, disabled)]).unwrap(), None);
        let kept = said(0, "9_1|COMPLETED|0:0\n9_2|CANCELLED by 1000|0:9\n", "");
        let report = ask(vec![(SHOW, forgotten()), (ACCOUNTS, kept)]).unwrap().unwrap();
        assert_eq!(report.ends.len(), 2);
        assert_eq!(report.ends[&2], JobEnd::Stopped("was cancelled".into()));
        let lost = said(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n");
        assert_eq!(ask(vec![(SHOW, lost)]).unwrap_err().kind(), Kind::State);
    }
}
