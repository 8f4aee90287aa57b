//! `dijitso plan wait PLAN|JOB`: waits until a submitted job has ended.
//!
//! The exit codes that the jobs of a plan write are read each second, which costs the batch system nothing.
//! The batch system itself is asked at intervals that grow to half a minute.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use dijitso::error::{Error, Kind, Result};
use dijitso::human;

use super::super::context::CommandContext;
use super::super::{gc, usage};
use super::job_files::{JobFiles, JobRecord};
use super::job_report::{JobEnds, JobReport, worst_code};
use super::programs::InstalledPrograms;
use super::{BatchSystem, FAILED, or_failed, sge, slurm};

/// The longest interval between questions to the batch system.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
/// The interval between looks for exit codes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The time after which an exit code can be seen: Grid Engine writes accounts at intervals of 15 seconds, and
/// clients of NFS may look up a new file for 60 seconds in vain.
const ACCOUNT_DELAY: Duration = Duration::from_secs(75);

/// Options of `dijitso plan wait`.
#[derive(Debug, Args)]
pub(in super::super) struct WaitArguments {
    /// The plan, whose last job is waited for, or the id of a job
    #[arg(value_name = "PLAN|JOB", value_hint = clap::ValueHint::FilePath)]
    subject: String,

    /// Stop waiting after this time, for example 90s, 10min or seconds; the job goes on
    #[arg(long, value_name = "TIME", value_parser = gc::seconds)]
    timeout: Option<Duration>,

    /// The batch system of a job that is named by its id; default: the one whose programs are installed
    #[arg(long, value_name = "SYSTEM")]
    system: Option<BatchSystem>,
}

/// The job that is waited for.
struct AwaitedJob {
    system: BatchSystem,
    /// Its id.
    job: String,
    /// Its record, if a plan is named.
    record: Option<(JobFiles, JobRecord)>,
}

impl WaitArguments {
    /// Waits, and returns the exit code of the job; 1 after a message if it never starts, if its end is unknown,
    /// after `--timeout`, and if there is no such batch system.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a plan without jobs or an unknown id.
    pub(in super::super) fn run(&self, context: &mut CommandContext) -> Result<i32> {
        let result = self.wait(context);
        or_failed(result, FAILED, context)
    }

    /// Waits, and returns the exit code of the job.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` for a plan without jobs or an unknown id; `Kind::Unsupported` if a program of
    /// the batch system is missing; `Kind::State` if the job never starts, or if its end is unknown;
    /// `Kind::Timeout` after `--timeout`.
    fn wait(&self, context: &mut CommandContext) -> Result<i32> {
        let AwaitedJob { system, job, record } = self.job()?;
        let mut query = || match system {
            BatchSystem::Slurm => slurm::query(&InstalledPrograms, &job),
            BatchSystem::Sge => sge::query(&InstalledPrograms, &job),
        };
        let mut look = || match &record {
            Some((files, record)) => files.ends(record),
            None => JobEnds::new(),
        };
        let id = job.split(';').next().unwrap_or_default();
        let mut note = |text: &str| context.note(&format_args!("{system} job {id}: {text}"));
        let mut waiting = JobWait {
            title: format!("{system} job {id}"),
            tasks: record.as_ref().map(|(_, record)| record.tasks().collect()),
            query: &mut query,
            look: &mut look,
            note: &mut note,
            is_late: system == BatchSystem::Sge,
            timeout: self.timeout,
        };
        let ends = waiting.run(&mut SystemClock(Instant::now()))?;
        let code = worst_code(&ends);
        if context.out.json {
            let tasks: Vec<_> = ends
                .iter()
                .map(|(task, end)| json!({ "task": task, "exit_code": end.code(), "end": end.to_string() }))
                .collect();
            context.out.document(&json!({ "system": system, "job": id, "exit_code": code, "tasks": tasks }));
            return Ok(code);
        }
        for (task, end) in &ends {
            let task = if *task > 0 { format!(", task {task}") } else { String::new() };
            context.out.line(format_args!("{system} job {id}{task}: {end}"));
        }
        Ok(code)
    }

    /// Finds the job.
    fn job(&self) -> Result<AwaitedJob> {
        let subject = &self.subject;
        let files = JobFiles::of(&PathBuf::from(subject))?;
        if let Some(record) = files.last()? {
            let (system, job) = (record.system, record.job.clone());
            return Ok(AwaitedJob { system, job, record: Some((files, record)) });
        }
        let is_id = !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_digit());
        if !is_id {
            let text = format!(
                "no job of the plan {subject} was submitted from here: there is no record in {}",
                files.path().display()
            );
            return Err(usage(text));
        }
        let by_id = |system| AwaitedJob { system, job: subject.clone(), record: None };
        if let Some(system) = self.system {
            return Ok(by_id(system));
        }
        let installed: Vec<BatchSystem> = [BatchSystem::Slurm, BatchSystem::Sge]
            .into_iter()
            .filter(|system| is_installed(system.submitter()))
            .collect();
        match installed.as_slice() {
            [system] => Ok(by_id(*system)),
            [] => Err(Error::new(
                Kind::Unsupported,
                "there is neither sbatch nor qsub on PATH: no batch system",
            )),
            _ => Err(usage("sbatch and qsub are both on PATH: say --system slurm or --system sge")),
        }
    }
}

/// Returns true if a program is on `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The time, as [`JobWait`] sees it.
trait WaitClock {
    /// Returns the time since the wait began.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&mut self, span: Duration);
}

/// The time of the system.
struct SystemClock(Instant);

impl WaitClock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&mut self, span: Duration) {
        thread::sleep(span);
    }
}

/// One wait for a job.
struct JobWait<'a> {
    /// The job, for messages.
    title: String,
    /// Its tasks, if there is a record.
    tasks: Option<Vec<u32>>,
    /// Asks the batch system.
    query: &'a mut dyn FnMut() -> Result<Option<JobReport>>,
    /// Reads the exit codes that tasks have written.
    look: &'a mut dyn FnMut() -> JobEnds,
    /// Says that something has changed.
    note: &'a mut dyn FnMut(&str),
    /// True if the batch system may say for a while that it does not know a job which has just ended.
    is_late: bool,
    timeout: Option<Duration>,
}

impl JobWait<'_> {
    /// Waits until all tasks have ended.
    fn run(&mut self, clock: &mut dyn WaitClock) -> Result<JobEnds> {
        let mut ends = JobEnds::new();
        let (mut next_query, mut interval) = (Duration::ZERO, LOOK_INTERVAL);
        let mut seen = String::new();
        // Set while the batch system says nothing of a task that has ended.
        let mut missing_since = None;
        loop {
            ends.extend((self.look)());
            if self.tasks.as_ref().is_some_and(|tasks| tasks.iter().all(|task| ends.contains_key(task))) {
                return Ok(ends);
            }
            if clock.elapsed() >= next_query {
                match (self.query)() {
                    Ok(report) => {
                        let is_known = report.is_some();
                        let report = report.unwrap_or_default();
                        for (task, end) in report.ends {
                            ends.entry(task).or_insert(end);
                        }
                        if let Some(reason) = report.stuck {
                            return Err(self.error(format!("never starts: {reason}")));
                        }
                        match report.active {
                            Some(state) => {
                                missing_since = None;
                                if state != seen {
                                    (self.note)(&state);
                                    seen = state;
                                }
                            }
                            None if is_known && self.has_all(&ends) => return Ok(ends),
                            // A mistyped id is no reason to wait.
                            None if !is_known && self.tasks.is_none() && seen.is_empty() && !self.is_late => {
                                return Err(self.lost(&ends, &seen));
                            }
                            None => {
                                missing_since.get_or_insert(clock.elapsed());
                            }
                        }
                        if missing_since.is_some_and(|since| clock.elapsed() >= since + ACCOUNT_DELAY) {
                            return Err(self.lost(&ends, &seen));
                        }
                    }
                    // A controller that restarts is no end of the job.
                    Err(error) if !seen.is_empty() && error.kind() == Kind::State => {
                        (self.note)(error.message());
                    }
                    Err(error) => return Err(error),
                }
                interval = (interval * 2).min(LONGEST_INTERVAL);
                next_query =
                    clock.elapsed() + if missing_since.is_some() { LOOK_INTERVAL * 2 } else { interval };
            }
            let mut pause = LOOK_INTERVAL;
            if let Some(timeout) = self.timeout {
                let left = timeout.saturating_sub(clock.elapsed());
                if left.is_zero() {
                    let waited = human::age(timeout);
                    let text = format!("{}: has not ended after {waited} (--timeout)", self.title);
                    return Err(Error::new(Kind::Timeout, text));
                }
                pause = pause.min(left);
            }
            clock.sleep(pause);
        }
    }

    /// Returns true if all tasks have ended, as far as they are known.
    fn has_all(&self, ends: &JobEnds) -> bool {
        match &self.tasks {
            Some(tasks) => tasks.iter().all(|task| ends.contains_key(task)),
            None => !ends.is_empty(),
        }
    }

    /// Makes the error of a job that its batch system does not know any more.
    fn lost(&self, ends: &JobEnds, seen: &str) -> Error {
        match &self.tasks {
            None if seen.is_empty() => usage(format!("{}: there is no such job", self.title)),
            None => self.error("has gone, and how it ended is unknown".to_owned()),
            Some(tasks) => {
                let open = tasks.iter().filter(|task| !ends.contains_key(*task)).map(u32::to_string);
                let open = open.collect::<Vec<_>>().join(", ");
                let tasks = if open == "0" { String::new() } else { format!(" of the tasks {open}") };
                self.error(format!("has gone, and there is no exit code{tasks}: its log may say why"))
            }
        }
    }

    fn error(&self, text: String) -> Error {
        Error::new(Kind::State, format!("{}: {text}", self.title))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::super::job_report::JobEnd;
    use super::*;

    /// A time that passes only in waits.
    #[derive(Default)]
    struct FakeClock(Duration);

    impl WaitClock for FakeClock {
        fn elapsed(&self) -> Duration {
            self.0
        }

        fn sleep(&mut self, span: Duration) {
            assert!(!span.is_zero() && self.0 < Duration::from_secs(10_000), "a wait without an end");
            self.0 += span;
        }
    }

    fn active(state: &str) -> Result<Option<JobReport>> {
        Ok(Some(JobReport { active: Some(state.to_owned()), ..JobReport::default() }))
    }

    fn ended(task: u32, code: i32) -> JobReport {
        JobReport { ends: [(task, JobEnd::Code(code))].into(), ..JobReport::default() }
    }

    /// The wait of one test: answers of the batch system, of which the last is repeated, and the seconds in
    /// which tasks write their exit codes.
    #[derive(Default)]
    struct Case {
        tasks: Option<Vec<u32>>,
        answers: Vec<Result<Option<JobReport>>>,
        written: Vec<(u64, u32, i32)>,
        is_late: bool,
        timeout: Option<u64>,
    }

    /// The result of a wait, the seconds that it took, its questions, and its notes.
    struct Waited {
        result: Result<JobEnds>,
        seconds: u64,
        questions: usize,
        notes: Vec<String>,
    }

    impl Case {
        fn run(self) -> Waited {
            /// Shares the time with the function that reads exit codes.
            struct SharedClock<'a>(&'a RefCell<FakeClock>);
            impl WaitClock for SharedClock<'_> {
                fn elapsed(&self) -> Duration {
                    self.0.borrow().elapsed()
                }
                fn sleep(&mut self, span: Duration) {
                    self.0.borrow_mut().sleep(span);
                }
            }
            let clock = RefCell::new(FakeClock::default());
            let mut answers: VecDeque<_> = self.answers.into();
            let (mut questions, mut notes) = (0, Vec::new());
            let mut query = || {
                questions += 1;
                if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
            };
            let mut look = || {
                let now = clock.borrow().0.as_secs();
                let written = self.written.iter().filter(|(second, ..)| *second <= now);
                written.map(|(_, task, code)| (*task, JobEnd::Code(*code))).collect()
            };
            let mut wait = JobWait {
                title: "Slurm job 7".to_owned(),
                tasks: self.tasks,
                query: &mut query,
                look: &mut look,
                note: &mut |text| notes.push(text.to_owned()),
                is_late: self.is_late,
                timeout: self.timeout.map(Duration::from_secs),
            };
            let result = wait.run(&mut SharedClock(&clock));
            let seconds = clock.borrow().0.as_secs();
            Waited { result, seconds, questions, notes }
        }
    }

    #[test]
    fn an_exit_code_that_is_written_ends_the_wait_without_a_question() {
        let case =
            Case { tasks: Some(vec![0]), answers: vec![], written: vec![(0, 0, 113)], ..Case::default() };
        let waited = case.run();
        assert_eq!(waited.result.unwrap(), [(0, JobEnd::Code(113))].into());
        assert_eq!((waited.seconds, waited.questions), (0, 0));
    }

    #[test]
    fn the_batch_system_is_asked_ever_less_often() {
        let answers = vec![active("pending (Resources)"), active("running")];
        let waited =
            Case { tasks: Some(vec![0]), answers, written: vec![(3600, 0, 0)], ..Case::default() }.run();
        assert_eq!(waited.result.unwrap().len(), 1);
        assert_eq!(waited.seconds, 3600);
        assert!((100..130).contains(&waited.questions), "{}", waited.questions);
        assert_eq!(waited.notes, ["pending (Resources)", "running"]);
    }

    #[test]
    fn the_end_that_the_batch_system_knows_counts_if_nothing_is_written() {
        let answers = vec![active("running"), Ok(Some(ended(0, 113)))];
        let waited = Case { answers, ..Case::default() }.run();
        assert_eq!(waited.result.unwrap(), [(0, JobEnd::Code(113))].into());
    }

    #[test]
    fn tasks_of_an_array_end_one_by_one() {
        let mut first = ended(1, 0);
        first.active = Some("running".to_owned());
        // Slurm forgets the first task before the last has ended.
        let answers = vec![Ok(Some(first)), Ok(Some(ended(2, 113)))];
        let waited = Case { tasks: Some(vec![1, 2]), answers, ..Case::default() }.run();
        assert_eq!(worst_code(&waited.result.unwrap()), 113);
    }

    #[test]
    fn a_job_that_never_starts_is_an_error() {
        let stuck = JobReport {
            active: Some("pending".to_owned()),
            stuck: Some("DependencyNeverSatisfied".to_owned()),
            ..JobReport::default()
        };
        let error = Case { answers: vec![Ok(Some(stuck))], ..Case::default() }.run().result.unwrap_err();
        assert_eq!(error.kind(), Kind::State);
        assert_eq!(error.message(), "Slurm job 7: never starts: DependencyNeverSatisfied");
    }

    #[test]
    fn an_unknown_id_is_an_error() {
        let waited = Case { answers: vec![Ok(None)], ..Case::default() }.run();
        assert_eq!(waited.result.unwrap_err().kind(), Kind::InvalidArgument);
        assert_eq!(waited.seconds, 0);
        // Its account may be late.
        let waited = Case { answers: vec![Ok(None)], is_late: true, ..Case::default() }.run();
        assert_eq!(waited.result.unwrap_err().kind(), Kind::InvalidArgument);
        assert!(waited.seconds >= 75, "{}", waited.seconds);
        let waited =
            Case { answers: vec![Ok(None), Ok(Some(ended(0, 0)))], is_late: true, ..Case::default() }.run();
        assert_eq!(waited.result.unwrap().len(), 1);
    }

    #[test]
    fn a_job_that_has_gone_without_an_exit_code_is_an_error() {
        let answers = vec![active("running"), Ok(None)];
        let waited = Case { tasks: Some(vec![0]), answers, ..Case::default() }.run();
        let error = waited.result.unwrap_err();
        assert_eq!(error.kind(), Kind::State);
        assert!(error.message().contains("no exit code: its log"), "{error}");
        let answers = vec![active("running"), Ok(None)];
        let written = vec![(5, 1, 0)];
        let error = Case { tasks: Some(vec![1, 2, 3]), answers, written, ..Case::default() }.run().result;
        assert!(error.unwrap_err().message().contains("of the tasks 2, 3"));
    }

    #[test]
    fn a_late_exit_code_is_waited_for() {
        let answers = vec![active("running"), Ok(None)];
        let waited =
            Case { tasks: Some(vec![0]), answers, written: vec![(60, 0, 0)], ..Case::default() }.run();
        assert_eq!(waited.result.unwrap().len(), 1);
    }

    #[test]
    fn a_controller_that_restarts_is_waited_for() {
        let lost = || Err(Error::new(Kind::State, "unable to contact the controller"));
        let answers = vec![active("running"), lost(), lost(), Ok(Some(ended(0, 0)))];
        let waited = Case { answers, ..Case::default() }.run();
        assert_eq!(waited.result.unwrap().len(), 1);
        assert_eq!(waited.notes.len(), 3);
        let waited = Case { answers: vec![lost()], ..Case::default() }.run();
        assert_eq!(waited.result.unwrap_err().kind(), Kind::State);
    }

    #[test]
    fn the_timeout_ends_the_wait() {
        let waited = Case { answers: vec![active("running")], timeout: Some(90), ..Case::default() }.run();
        let error = waited.result.unwrap_err();
        assert_eq!((error.kind(), waited.seconds), (Kind::Timeout, 90));
        assert_eq!(error.message(), "Slurm job 7: has not ended after 90 s (--timeout)");
        let waited = Case { answers: vec![active("running")], timeout: Some(0), ..Case::default() }.run();
        assert_eq!(waited.result.unwrap_err().kind(), Kind::Timeout);
    }
}
