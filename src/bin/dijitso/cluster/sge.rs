//! The programs of Grid Engine: `qsub`, `qstat`, and `qacct` for jobs that have ended.

#![forbid(unsafe_code)]

use dijitso::error::{Error, Kind, Result};

use super::job_report::{JobEnd, JobReport};
use super::programs::{Programs, not_started};

/// Submits a script, and returns the id of the job.
///
/// # Errors
/// `Kind::Unsupported` if there is no `qsub`; `Kind::State` if it refuses the job.
pub(super) fn submit(programs: &dyn Programs, options: &[String], script: &str) -> Result<String> {
    let arguments: Vec<&str> =
        ["-terse"].into_iter().chain(options.iter().map(String::as_str)).chain([script]).collect();
    let ended = programs.run("qsub", &arguments).map_err(|cause| not_started("qsub", &cause))?;
    // An array is "12.1-4:1".
    let id = |line: &'_ str| {
        let id = line.trim().split('.').next().unwrap_or_default();
        (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| id.to_owned())
    };
    match ended.output.lines().rev().find_map(id) {
        Some(job) if ended.code == Some(0) => Ok(job),
        _ => Err(Error::new(Kind::State, format!("qsub has refused the job: {}", ended.describe()))),
    }
}

/// Asks for a job. `None`: Grid Engine does not know it, or has not written the account of its end yet.
///
/// # Errors
/// `Kind::Unsupported` if there is no `qstat`; `Kind::State` if it cannot reach the server.
pub(super) fn query(programs: &dyn Programs, job: &str) -> Result<Option<JobReport>> {
    let run = |program: &str, arguments: &[&str]| {
        programs.run(program, arguments).map_err(|cause| not_started(program, &cause))
    };
    let list = run("qstat", &[])?;
    if list.code != Some(0) {
        return Err(Error::new(Kind::State, format!("qstat: {}", list.describe())));
    }
    let mut report = parse_list(&list.output, job);
    if report.active.is_none() {
        // The list may have jobs of this user alone.
        if run("qstat", &["-j", job])?.code == Some(0) {
            report.active = Some("known".to_owned());
        }
    }
    if report.active.is_none() {
        report.ends = parse_accounts(&run("qacct", &["-j", job])?.output).ends;
    }
    Ok((report != JobReport::default()).then_some(report))
}

/// Reads the output of `qstat`: a line for each task that runs, and one for those that wait.
fn parse_list(output: &str, job: &str) -> JobReport {
    let mut report = JobReport::default();
    for line in output.lines() {
        let mut fields = line.split_ascii_whitespace();
        if fields.next() != Some(job) {
            continue;
        }
        // The name of a job has no blanks in the list, and is cut off.
        let state = fields.nth(3).unwrap_or_default();
        if state.contains('E') {
            report.stuck = Some(format!("state {state}; qstat -j {job} says why"));
        }
        let word = match state {
            "qw" => "pending",
            _ if state.contains('h') => "held",
            _ if state.contains('s') || state.contains('S') || state.contains('T') => "suspended",
            _ if state.contains('r') || state.contains('t') => "running",
            _ => "pending",
        };
        // A running task says more than those that wait.
        if report.active.as_deref() != Some("running") {
            report.active = Some(word.to_owned());
        }
    }
    report
}

/// Reads the output of `qacct -j`: a paragraph for each task.
fn parse_accounts(output: &str) -> JobReport {
    let mut report = JobReport::default();
    let (mut task, mut failed) = (0, String::new());
    for line in output.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let value = value.trim();
        match name {
            "taskid" => task = value.parse().unwrap_or_default(),
            "failed" => failed = value.to_owned(),
            "exit_status" => {
                // "100 : assumedly after job": the job has run, and a signal has killed it.
                let code: i32 = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(1);
                let end = match failed.split(':').map(str::trim).collect::<Vec<_>>().as_slice() {
                    ["0" | "", ..] => JobEnd::Code(code),
                    ["100", ..] if code > 128 => {
                        JobEnd::Stopped(format!("was killed by signal {}", code - 128))
                    }
                    [_, reason @ ..] => JobEnd::Stopped(format!("has failed ({})", reason.join(": "))),
                    [] => JobEnd::Code(code),
                };
                report.ends.insert(task, end);
            }
            _ => {}
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::super::programs::{ProgramOutput, ScriptedPrograms};
    use super::*;

    fn said(code: i32, output: &str, errors: &str) -> ProgramOutput {
        ProgramOutput { code: Some(code), output: output.into(), errors: errors.into() }
    }

    #[test]
    fn the_id_of_a_job_or_an_array_is_found() {
        let submitted = |output| {
            submit(
                &ScriptedPrograms(vec![("qsub -terse -q x s.sh", output)]),
                &["-q".into(), "x".into()],
                "s.sh",
            )
        };
        assert_eq!(submitted(said(0, "7\n", "")).unwrap(), "7");
        assert_eq!(submitted(said(0, "Dear user\n12.1-4:1\n", "")).unwrap(), "12");
        let refused = submitted(said(
            1,
            "Unable to run job: Job was rejected because job requests unknown queue \"x\".\nExiting.\n",
            "",
        ));
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), Kind::State);
        assert!(refused.message().contains("unknown queue \"x\".; Exiting."), "{refused}");
    }

    const LIST: &str = "\
job-ID  prior   name       user         state submit/start at     queue         slots ja-task-ID
-----------------------------------------------------------------------------------------------
     12 0.50000 dijitso-po root         qw    11/28/2026 03:33:35                   1 3,4
     12 0.50000 dijitso-po root         r     11/28/2026 03:33:35 all.q@vm          1 2
     13 0.00000 dijitso-po root         hqw   11/28/2026 03:33:35                   1
     14 0.00000 dijitso-po root         Eqw   11/28/2026 03:33:35                   1
";

    #[test]
    fn states_are_read() {
        let active = |job: &str| parse_list(LIST, job).active;
        assert_eq!(active("12").as_deref(), Some("running"));
        assert_eq!(active("13").as_deref(), Some("held"));
        assert_eq!(active("1"), None);
        assert!(parse_list(LIST, "14").stuck.unwrap().contains("state Eqw"));
        assert_eq!(parse_list(LIST, "13").stuck, None);
    }

    const ACCOUNTS: &str = "\
==============================================================
jobnumber    12
taskid       1
failed       0
exit_status  113
==============================================================
jobnumber    12
taskid       2
failed       100 : assumedly after job
exit_status  137                  (Killed)
==============================================================
jobnumber    12
taskid       undefined
failed       26  : opening input/output file
exit_status  0
";

    #[test]
    fn ends_are_read() {
        let ends = parse_accounts(ACCOUNTS).ends;
        assert_eq!(ends[&1], JobEnd::Code(113));
        assert_eq!(ends[&2], JobEnd::Stopped("was killed by signal 9".into()));
        assert_eq!(ends[&0], JobEnd::Stopped("has failed (opening input/output file)".into()));
    }

    #[test]
    fn accounts_are_asked_for_jobs_that_are_gone() {
        let gone = said(1, "", "Following jobs do not exist: \n7\n");
        let ask = |accounts| {
            let answers =
                vec![("qstat", said(0, LIST, "")), ("qstat -j 7", gone.clone()), ("qacct -j 7", accounts)];
            query(&ScriptedPrograms(answers), "7").unwrap()
        };
        assert_eq!(ask(said(1, "", "error: job id 7 not found\n")), None);
        let report = ask(said(0, "taskid undefined\nfailed 0\nexit_status 0\n", "")).unwrap();
        assert_eq!(report, JobReport { ends: [(0, JobEnd::Code(0))].into(), ..JobReport::default() });
        let lost = said(1, "", "error: unable to contact qmaster\n");
        let error = query(&ScriptedPrograms(vec![("qstat", lost)]), "7").unwrap_err();
        assert_eq!(error.kind(), Kind::State);
    }
}
