//! Lists the builds in progress of a cache by its leases, for people.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::owner::Liveness;

use super::Cache;
use super::lease::{self, COLLECTOR, LeaseAbout};

/// Work on a cache, by a process that holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkInProgress {
    /// The signature that is being built; `None` for an eviction.
    pub signature: Option<String>,
    /// The cache directory.
    pub cache_dir: PathBuf,
    /// User, program and rank, by the words of the owner.
    pub about: LeaseAbout,
    /// The user whose file the lease is.
    pub uid: u32,
    /// The number of the process on its host.
    pub pid: u32,
    /// The host.
    pub host: String,
    /// State of the process, as far as this host sees it.
    pub liveness: Liveness,
    /// True if the process has ended, or counts as ended, so that another one takes the lease over.
    pub is_over: bool,
    /// The time since it has begun, if that is known.
    pub age: Option<Duration>,
}

impl Cache {
    /// Returns the builds of this cache, and of caches of single ranks within it, the oldest first. Also those that
    /// processes have left that have ended; see [`WorkInProgress::is_over`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if the directory of the leases cannot be read.
    pub fn work_in_progress(&self) -> Result<Vec<WorkInProgress>> {
        let mut work = self.own_work()?;
        for root in self.of_processes() {
            work.extend(Self::new(&root, self.layout().params()).own_work()?);
        }
        work.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.signature.cmp(&b.signature)));
        Ok(work)
    }

    fn own_work(&self) -> Result<Vec<WorkInProgress>> {
        let layout = self.layout();
        let dir = layout.lease("");
        let files = match fs::read_dir(&dir) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &dir, &error)),
        };
        let mut work = Vec::new();
        for file in files.flatten() {
            let Ok(name) = file.file_name().into_string() else { continue };
            if !lease::is_lease(name.as_ref()) {
                continue;
            }
            // One of them may end meanwhile.
            let Ok(facts) = file.metadata() else { continue };
            let Some(info) = lease::look(None, &file.path()) else { continue };
            let about = info.about().clone();
            let since = Some(about.since).filter(|since| *since > 0).map(Duration::from_secs);
            let said = since.and_then(|since| SystemTime::now().duration_since(UNIX_EPOCH + since).ok());
            work.push(WorkInProgress {
                signature: (name != COLLECTOR).then_some(name),
                cache_dir: layout.root().to_owned(),
                uid: facts.uid(),
                pid: info.pid(),
                host: info.host().to_owned(),
                liveness: info.liveness(),
                is_over: !info.living,
                age: info.age.or(said),
                about,
            });
        }
        Ok(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::lease::Acquire;
    use crate::params::Params;
    use std::sync::Arc;

    #[test]
    fn what_is_built_is_listed_with_its_owner_and_what_is_left_is_marked() {
        let root = tempfile::tempdir().unwrap();
        let params = Params::new().unwrap().resolve().unwrap().cache;
        let cache = Cache::new(&root.path().join("cache"), &params);
        assert_eq!(cache.work_in_progress().unwrap(), []);
        let tree = Arc::new(cache.open_or_make().unwrap());
        let take = |name: &str| {
            let path = cache.layout().lease(name);
            let Some(Acquire::Acquired(lease)) = lease::try_take(&tree, &path) else { panic!("{name}") };
            lease
        };
        let _rank = crate::logging::enter(2, 4);
        let held = [take("poisson_00000000000000000000000000000001"), take(COLLECTOR)];
        fs::write(cache.layout().lease("left"), "{}").unwrap();
        let work = cache.work_in_progress().unwrap();
        assert_eq!(work.len(), 3);
        let of =
            |signature: Option<&str>| work.iter().find(|one| one.signature.as_deref() == signature).unwrap();
        let build = of(Some("poisson_00000000000000000000000000000001"));
        assert_eq!((build.pid, build.about.rank), (std::process::id(), Some((2, 4))));
        assert_eq!((build.liveness, build.is_over), (Liveness::Alive, false));
        assert!(build.age.unwrap() < Duration::from_secs(60) && build.host == crate::host_name());
        assert_eq!(build.uid, rustix::process::geteuid().as_raw());
        assert!(!of(None).is_over && of(Some("left")).is_over);
        drop(held);
        assert_eq!(cache.work_in_progress().unwrap().len(), 1);
    }
}
