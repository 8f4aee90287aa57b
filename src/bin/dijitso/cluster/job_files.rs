//! The folder of the batch jobs of a plan: `PLAN.jobs` beside the plan.
//!
//! ```text
//! SYSTEM-ID.json            the record of a job
//! SYSTEM-ID.sh              its script, unless --script names another file
//! SYSTEM-ID[.TASK].log      its output
//! SYSTEM-ID[.TASK].status   its exit code, as a number and a line break
//! ```
//!
//! A record is a JSON object: `"magic": "dijitso-job"`, `"version": 1`, and the fields of [`JobRecord`].

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil::{self, Durability};

use super::BatchSystem;
use super::job_report::{JobEnd, JobEnds};

const MAGIC: &str = "dijitso-job";
const VERSION: u32 = 1;

/// A job that was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct JobRecord {
    magic: String,
    version: u32,
    /// The batch system.
    pub(super) system: BatchSystem,
    /// Its id, as the batch system gave it.
    pub(super) job: String,
    /// The number of tasks, if it is an array.
    pub(super) array: Option<u32>,
    /// Its script.
    pub(super) script: PathBuf,
    /// When it was submitted, in seconds since 1970.
    pub(super) submitted: f64,
}

impl JobRecord {
    /// Makes the record of a job.
    pub(super) fn new(
        system: BatchSystem,
        job: String,
        array: Option<u32>,
        script: PathBuf,
        submitted: f64,
    ) -> Self {
        Self { magic: MAGIC.to_owned(), version: VERSION, system, job, array, script, submitted }
    }

    /// Returns the first part of the names of its files.
    pub(super) fn stem(&self) -> String {
        stem(self.system, &self.job)
    }

    /// Returns the numbers of its tasks; a job that is no array is its only task, 0.
    pub(super) fn tasks(&self) -> std::ops::RangeInclusive<u32> {
        self.array.map_or(0..=0, |count| 1..=count)
    }
}

/// Returns the first part of the names of the files of a job.
pub(super) fn stem(system: BatchSystem, job: &str) -> String {
    // Slurm adds the cluster after a semicolon; scripts know only the number.
    format!("{}-{}", system.word(), job.split(';').next().unwrap_or_default())
}

/// The folder of the jobs of a plan. It need not exist.
#[derive(Clone, Debug)]
pub(super) struct JobFiles(PathBuf);

impl JobFiles {
    /// Returns the folder of a plan.
    ///
    /// # Errors
    /// `Kind::Cache` if the current directory cannot be found.
    pub(super) fn of(plan: &Path) -> Result<Self> {
        let plan = std::path::absolute(plan)
            .map_err(|error| Error::file("cannot find the directory of", plan, &error))?;
        let mut name = plan.file_name().unwrap_or_default().to_owned();
        name.push(".jobs");
        Ok(Self(plan.with_file_name(name)))
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder.
    ///
    /// # Errors
    /// `Kind::Cache`.
    pub(super) fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(|error| Error::file("cannot create the folder", &self.0, &error))
    }

    /// Writes the record of a job.
    ///
    /// # Errors
    /// `Kind::Cache`.
    pub(super) fn write(&self, record: &JobRecord) -> Result<()> {
        let path = self.0.join(format!("{}.json", record.stem()));
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::new(Kind::Internal, format!("a record cannot be written: {error}")))?;
        fsutil::replace_atomic(&path, &text, 0o666, Durability::Synced)
            .map_err(|error| Error::file("cannot write the record of the job to", &path, &error))
    }

    /// Returns the record of the job that was submitted last. `None` if there is none.
    ///
    /// # Errors
    /// `Kind::Cache` if the folder cannot be read.
    pub(super) fn last(&self) -> Result<Option<JobRecord>> {
        let failed = |error: io::Error| Error::file("cannot read the folder", &self.0, &error);
        let files = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            files => files.map_err(failed)?,
        };
        let mut last: Option<JobRecord> = None;
        for file in files {
            let path = file.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // A file of another version, or of something else, is no record.
            let Ok(text) = fs::read(&path) else { continue };
            let Ok(record) = serde_json::from_slice::<JobRecord>(&text) else { continue };
            let is_later = last.as_ref().is_none_or(|last| last.submitted <= record.submitted);
            if record.magic == MAGIC && record.version == VERSION && is_later {
                last = Some(record);
            }
        }
        Ok(last)
    }

    /// Returns the exit codes that the tasks of a job have written.
    pub(super) fn ends(&self, record: &JobRecord) -> JobEnds {
        let end = |task: u32| {
            let task_name = record.array.map(|_| format!(".{task}")).unwrap_or_default();
            let path = self.0.join(format!("{}{task_name}.status", record.stem()));
            let code = fs::read_to_string(path).ok()?.trim().parse().ok()?;
            Some((task, JobEnd::Code(code)))
        };
        record.tasks().filter_map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(job: &str, array: Option<u32>, submitted: f64) -> JobRecord {
        JobRecord::new(BatchSystem::Slurm, job.to_owned(), array, "/s.sh".into(), submitted)
    }

    #[test]
    fn the_last_job_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let files = JobFiles::of(&dir.path().join("a.toml")).unwrap();
        assert_eq!(files.path(), dir.path().join("a.toml.jobs"));
        assert_eq!(files.last().unwrap(), None);
        files.create().unwrap();
        files.write(&record("12", None, 5.0)).unwrap();
        files.write(&record("7;big", Some(2), 6.0)).unwrap();
        files.write(&record("13", None, 4.0)).unwrap();
        fs::write(files.path().join("slurm-99.json"), "{\"magic\": \"dijitso-job\", \"version\": 2}")
            .unwrap();
        fs::write(files.path().join("slurm-98.json"), "{").unwrap();
        let last = files.last().unwrap().unwrap();
        assert_eq!((last.job.as_str(), last.stem().as_str()), ("7;big", "slurm-7"));
    }

    #[test]
    fn exit_codes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let files = JobFiles(dir.path().to_owned());
        let (job, array) = (record("3", None, 0.0), record("4", Some(3), 0.0));
        assert_eq!((files.ends(&job), files.ends(&array)), (JobEnds::new(), JobEnds::new()));
        for (name, text) in [("3", "113\n"), ("4.1", "0\n"), ("4.2", ""), ("4.3", "1\n")] {
            fs::write(dir.path().join(format!("slurm-{name}.status")), text).unwrap();
        }
        assert_eq!(files.ends(&job), [(0, JobEnd::Code(113))].into());
        assert_eq!(files.ends(&array), [(1, JobEnd::Code(0)), (3, JobEnd::Code(1))].into());
    }
}
