//! Which ranks share a physical directory.
//!
//! Paths do not tell: the same path may be a local disk on each host, and different paths the same network disk. On
//! one machine, device and inode do. Between machines, one rank of each (machine, directory) puts a file with an
//! unguessable name into its directory, and looks which files of the others are there. Whoever sees a file shares the
//! directory with the one who wrote it, even if that one, being slow, does not see ours: what one rank sees, all
//! ranks are told, so all give the same answer. Directories taken for different although they are the same cost one
//! needless build and nothing else, because publication takes care of itself.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::codec::{Digest32, digest, hex};
use crate::error::Result;
use crate::fsutil::{FileId, Tree};

use super::{Communicator, agree, agree_gather, on_root};

/// Who shares a directory with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDomains {
    leaders: Vec<usize>,
    hosts: Vec<usize>,
}

impl CacheDomains {
    /// For each rank the lowest rank that shares its directory.
    #[must_use]
    pub fn leaders(&self) -> &[usize] {
        &self.leaders
    }

    /// For each rank the lowest rank on the same machine.
    #[must_use]
    pub fn hosts(&self) -> &[usize] {
        &self.hosts
    }

    /// Whether a rank has its directory for itself.
    #[must_use]
    pub fn is_singleton(&self, rank: usize) -> bool {
        self.leaders.iter().filter(|leader| **leader == self.leaders[rank]).count() == 1
    }

    /// Every rank in a directory of its own.
    #[must_use]
    pub fn separate(size: usize) -> Self {
        Self { leaders: (0..size).collect(), hosts: (0..size).collect() }
    }
}

/// Finds out who shares. Collective.
///
/// `identify` makes the directory `dir` if need be and returns its identity. `meeting_dir` is where files are put,
/// that directory or one below it; only when there is more than one machine, and by one rank of each. `eyes` names for each rank
/// the one that looks for it: what `identify` gives on the others does not count.
///
/// # Errors
/// That of `identify`, on all ranks.
pub fn discover(
    comm: &dyn Communicator,
    identify: impl FnOnce() -> Result<FileId>,
    dir: &Path,
    meeting_dir: &Path,
    eyes: Option<&[usize]>,
) -> Result<CacheDomains> {
    let all = agree_gather(comm, "looking at the cache directory", || {
        let FileId { device, inode } = identify()?;
        let mut mine = [0; 24];
        for (field, value) in mine.chunks_exact_mut(8).zip([comm.machine(), device, inode]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        Ok(mine)
    })?;
    let looks = |rank: usize| eyes.map_or(rank, |eyes| eyes[rank]);
    let places: Vec<&[u8]> = (0..comm.size()).map(|rank| all[looks(rank)].as_slice()).collect();
    let local = group_equal(&places);
    let machines: Vec<&[u8]> = places.iter().map(|place| &place[..8]).collect();
    let hosts = group_equal(&machines);
    let one_machine = hosts.iter().all(|host| *host == 0);
    if one_machine {
        return Ok(CacheDomains { leaders: local, hosts });
    }

    let token = on_root(comm, "choosing a token", || Ok(random_token().into_bytes()))?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let leads = local[comm.rank()] == comm.rank();
    let own = meeting_dir.join(format!("{token}.{}", comm.rank()));
    let mut tree = None;
    agree(comm, "meeting other hosts", || {
        if leads {
            // A directory that cannot be written is shared with nobody as far as building goes.
            tree = Tree::open(dir).unwrap_or_else(|error| {
                log::info!("no meeting in {}: {error}", dir.display());
                None
            });
            let written = tree.as_ref().map_or(Ok(()), |tree| tree.touch(&own, 0o600));
            written.unwrap_or_else(|error| log::info!("no meeting in {}: {error}", meeting_dir.display()));
        }
        Ok(())
    })?;
    let seen = tree.as_ref().map_or_else(Vec::new, |tree| list(tree, meeting_dir, &token));
    // One word of each rank, whatever the number of hosts: a list of each would be too long for a hundred thousand.
    let mut labels = labels(comm.rank(), comm.size(), &seen);
    comm.min(&mut labels)?;
    if let Some(tree) = tree {
        let _ = tree.remove(&own);
    }
    Ok(CacheDomains { leaders: merge(local, &labels), hosts })
}

/// What a rank has to say of every rank: the lowest that it sees together with it.
fn labels(rank: usize, size: usize, seen: &[usize]) -> Vec<u64> {
    let mut labels = vec![u64::MAX; size];
    let lowest = seen.iter().chain([&rank]).min().copied().unwrap_or(rank) as u64;
    seen.iter().chain([&rank]).filter(|other| **other < size).for_each(|other| labels[*other] = lowest);
    labels
}

/// For each rank the lowest one with an equal place.
fn group_equal(places: &[&[u8]]) -> Vec<usize> {
    let mut first = std::collections::HashMap::new();
    places.iter().enumerate().map(|(rank, place)| *first.entry(*place).or_insert(rank)).collect()
}

/// Joins the group of each rank with that of its label, the lowest rank that anybody sees together with it.
fn merge(mut leaders: Vec<usize>, labels: &[u64]) -> Vec<usize> {
    fn find(leaders: &[usize], mut rank: usize) -> usize {
        while leaders[rank] != rank {
            rank = leaders[rank];
        }
        rank
    }
    for (rank, label) in labels.iter().enumerate() {
        let label = usize::try_from(*label).ok().filter(|label| *label < labels.len());
        let (a, b) = (find(&leaders, rank), find(&leaders, label.unwrap_or(rank)));
        leaders[a.max(b)] = a.min(b);
    }
    (0..leaders.len()).map(|rank| find(&leaders, rank)).collect()
}

/// The ranks whose files lie in the directory, as far as can be seen from here.
fn list(tree: &Tree, dir: &Path, token: &str) -> Vec<usize> {
    let files = tree.list(dir).unwrap_or_default();
    files
        .into_iter()
        .filter_map(|file| file.into_string().ok())
        .filter_map(|name| name.strip_prefix(token)?.strip_prefix('.')?.parse().ok())
        .collect()
}

/// A name that no other meeting has: leftovers of crashed programs and other programs do not matter.
fn random_token() -> String {
    hex(&random()[..16])
}

/// Bytes that nobody can guess and nobody else has.
pub(super) fn random() -> Digest32 {
    use std::hash::{BuildHasher, RandomState};
    let random = [(); 4].map(|()| RandomState::new().hash_one(std::time::SystemTime::now()));
    let bytes: Vec<u8> = random.iter().flat_map(|word| word.to_le_bytes()).collect();
    digest(&bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::threads::run_on_hosts;
    use super::*;
    use crate::error::{Error, Kind};
    use std::path::PathBuf;

    fn leaders(hosts: &[&str], dirs: &[PathBuf]) -> Vec<Result<CacheDomains>> {
        run_on_hosts(hosts, |comm| {
            let dir = &dirs[comm.rank()];
            // The inode of a directory on another (pretended) host says nothing.
            let salt = u64::from(comm.host().as_bytes()[0]);
            let identify = || {
                let id = FileId::of(dir).map_err(|error| Error::io("no", dir, &error))?;
                Ok(FileId { device: id.device ^ salt, ..id })
            };
            discover(comm, identify, dir, &dir.join("comm"), None)
        })
    }

    #[test]
    fn on_one_machine_no_file_is_touched() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dirs = [&a, &b, &a, &b].map(|dir| dir.path().to_owned());
        for sharing in leaders(&["x"; 4], &dirs) {
            assert_eq!(sharing.unwrap().leaders, [0, 1, 0, 1]);
        }
        assert!(!a.path().join("comm").exists());
    }

    #[test]
    fn a_network_disk_is_found_between_machines() {
        let (shared, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dirs = [&shared, &shared, &own, &shared, &own].map(|dir| dir.path().to_owned());
        for sharing in leaders(&["x", "x", "y", "y", "y"], &dirs) {
            let sharing = sharing.unwrap();
            assert_eq!(sharing.leaders, [0, 0, 2, 0, 2]);
            assert_eq!(sharing.hosts, [0, 0, 2, 2, 2]);
            assert!(!sharing.is_singleton(4));
        }
        assert_eq!(fs::read_dir(shared.path().join("comm")).unwrap().count(), 0, "files are removed");
    }

    #[test]
    fn one_rank_without_a_directory_fails_all() {
        let shared = tempfile::tempdir().unwrap();
        let dirs = [shared.path().to_owned(), "/nonexistent/dir".into(), shared.path().to_owned()];
        for sharing in leaders(&["x", "y", "x"], &dirs) {
            let error = sharing.unwrap_err();
            assert_eq!((error.kind(), error.rank()), (Kind::Cache, 1));
        }
    }

    /// Defect H6 of the original: ranks that saw different files built different groups.
    #[test]
    fn h6_an_asymmetric_view_gives_everybody_the_same_answer() {
        let together = |leaders: &[usize], views: &[&[usize]]| {
            let size = leaders.len();
            let mut least = vec![u64::MAX; size];
            for (rank, seen) in views.iter().enumerate() {
                let labels = labels(rank, size, seen);
                least.iter_mut().zip(labels).for_each(|(least, label)| *least = label.min(*least));
            }
            merge(leaders.to_vec(), &least)
        };
        assert_eq!(together(&[0, 1, 2], &[&[0], &[1], &[2, 0]]), [0, 1, 0]);
        assert_eq!(together(&[0, 1, 2], &[&[0, 1], &[], &[1]]), [0, 0, 0]);
        assert_eq!(together(&[0, 1, 1, 3], &[&[], &[3], &[], &[]]), [0, 1, 1, 1]);
        assert_eq!(together(&[0, 1, 2], &[&[0, 1, 2], &[1], &[2]]), [0, 0, 0], "only the first sees all");
        assert_eq!(together(&[0, 1], &[&[9], &[]]), [0, 1], "nonsense is ignored");
    }
}
