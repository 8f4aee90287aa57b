//! Which ranks share a physical directory.
//!
//! Paths do not tell: the same path may be a local disk on each host, and different paths may lead to one
//! network disk. On one machine, device and inode tell. Between machines, one rank for each machine and
//! directory creates a marker file with a random name, and lists the markers of the others. A rank that sees
//! a marker shares the directory with its creator, even if that rank, on a slow disk, does not see the marker
//! of this one. All ranks get the union of what each of them sees, so all give the same answer. If a shared
//! directory is not recognised, its library is built once more than needed, and nothing else happens:
//! publication does not rely on this answer.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::codec::hex;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{FileId, Tree};

use super::{Communicator, agree, agree_gather, on_root};

/// The groups of ranks that share a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDomains {
    leaders: Vec<usize>,
    hosts: Vec<usize>,
}

impl CacheDomains {
    /// Returns for each rank the lowest rank that shares its directory.
    #[must_use]
    pub fn leaders(&self) -> &[usize] {
        &self.leaders
    }

    /// Returns for each rank the lowest rank on its machine.
    #[must_use]
    pub fn hosts(&self) -> &[usize] {
        &self.hosts
    }

    /// Tells if a rank shares its directory with no other rank.
    #[must_use]
    pub fn is_singleton(&self, rank: usize) -> bool {
        self.leaders.iter().filter(|leader| **leader == self.leaders[rank]).count() == 1
    }

    /// Makes a group of each rank.
    #[must_use]
    pub fn separate(size: usize) -> Self {
        Self { leaders: (0..size).collect(), hosts: (0..size).collect() }
    }
}

/// Finds out which ranks share a directory. Collective.
///
/// `identify` creates the directory `dir` if needed and returns its identity. Markers are created in
/// `marker_dir` (`dir` or a directory below it), only if there are several machines, by one rank of each
/// machine and directory. `observer_of` has for each rank the rank whose result of `identify` counts for it;
/// `None`: its own.
///
/// # Errors
/// Those of `identify`, on all ranks; [`Kind::Unsupported`] if the system has no random numbers; those of the
/// communicator.
pub fn discover(
    comm: &dyn Communicator,
    identify: impl FnOnce() -> Result<FileId>,
    dir: &Path,
    marker_dir: &Path,
    observer_of: Option<&[usize]>,
) -> Result<CacheDomains> {
    let all = agree_gather(comm, "looking at the cache directory", || {
        let FileId { device, inode } = identify()?;
        let mut mine = [0; 24];
        for (field, value) in mine.chunks_exact_mut(8).zip([comm.machine(), device, inode]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        Ok(mine)
    })?;
    let observer = |rank: usize| observer_of.map_or(rank, |observer_of| observer_of[rank]);
    let places: Vec<&[u8]> = (0..comm.size()).map(|rank| all[observer(rank)].as_slice()).collect();
    let local = group_equal(&places);
    let machines: Vec<&[u8]> = places.iter().map(|place| &place[..8]).collect();
    let hosts = group_equal(&machines);
    let one_machine = hosts.iter().all(|host| *host == 0);
    if one_machine {
        return Ok(CacheDomains { leaders: local, hosts });
    }

    let token = on_root(comm, "choosing a token", || Ok(hex(&random::<16>()?).into_bytes()))?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let leads = local[comm.rank()] == comm.rank();
    let own = marker_dir.join(format!("{token}.{}", comm.rank()));
    let mut tree = None;
    agree(comm, "looking for other hosts", || {
        if leads {
            // For building, a directory that cannot be written counts as shared with no other host.
            tree = Tree::open(dir).unwrap_or_else(|error| {
                log::info!("no marker in {}: {error}", dir.display());
                None
            });
            let written = tree.as_ref().map_or(Ok(()), |tree| tree.touch(&own, 0o600));
            written.unwrap_or_else(|error| log::info!("no marker in {}: {error}", marker_dir.display()));
        }
        Ok(())
    })?;
    let seen = tree.as_ref().map_or_else(Vec::new, |tree| list(tree, marker_dir, &token));
    // One word for each rank, however many hosts there are: lists would be too long with a hundred thousand
    // ranks.
    let mut labels = labels(comm.rank(), comm.size(), &seen);
    comm.min(&mut labels)?;
    if let Some(tree) = tree {
        let _ = tree.remove(&own);
    }
    Ok(CacheDomains { leaders: merge(local, &labels), hosts })
}

/// Returns for each rank in `seen`, and for `rank`, the lowest of them; `u64::MAX` for all others.
fn labels(rank: usize, size: usize, seen: &[usize]) -> Vec<u64> {
    let mut labels = vec![u64::MAX; size];
    let lowest = seen.iter().chain([&rank]).min().copied().unwrap_or(rank) as u64;
    seen.iter().chain([&rank]).filter(|other| **other < size).for_each(|other| labels[*other] = lowest);
    labels
}

/// Returns for each rank the lowest one with an equal place.
fn group_equal(places: &[&[u8]]) -> Vec<usize> {
    let mut first = std::collections::HashMap::new();
    places.iter().enumerate().map(|(rank, place)| *first.entry(*place).or_insert(rank)).collect()
}

/// Joins the group of each rank with that of its label.
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

/// Returns the ranks whose markers this rank sees in the directory.
fn list(tree: &Tree, dir: &Path, token: &str) -> Vec<usize> {
    let files = tree.list(dir).unwrap_or_default();
    files
        .into_iter()
        .filter_map(|file| file.into_string().ok())
        .filter_map(|name| name.strip_prefix(token)?.strip_prefix('.')?.parse().ok())
        .collect()
}

/// Returns random bytes of the system: no other user can guess them, and no leftover marker has them in its
/// name.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(Kind::Unsupported, format!("the system has no random numbers: {error}"))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::threads::run_on_hosts;
    use super::*;
    use std::path::PathBuf;

    fn leaders(hosts: &[&str], dirs: &[PathBuf]) -> Vec<Result<CacheDomains>> {
        run_on_hosts(hosts, |comm| {
            let dir = &dirs[comm.rank()];
            // Equal inodes on different (simulated) hosts mean nothing.
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
        for domains in leaders(&["x"; 4], &dirs) {
            assert_eq!(domains.unwrap().leaders, [0, 1, 0, 1]);
        }
        assert!(!a.path().join("comm").exists());
    }

    #[test]
    fn a_network_disk_is_found_between_machines() {
        let (shared, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dirs = [&shared, &shared, &own, &shared, &own].map(|dir| dir.path().to_owned());
        for domains in leaders(&["x", "x", "y", "y", "y"], &dirs) {
            let domains = domains.unwrap();
            assert_eq!(domains.leaders, [0, 0, 2, 0, 2]);
            assert_eq!(domains.hosts, [0, 0, 2, 2, 2]);
            assert!(!domains.is_singleton(4));
        }
        assert_eq!(fs::read_dir(shared.path().join("comm")).unwrap().count(), 0, "files are removed");
    }

    #[test]
    fn one_rank_without_a_directory_fails_all() {
        let shared = tempfile::tempdir().unwrap();
        let dirs = [shared.path().to_owned(), "/nonexistent/dir".into(), shared.path().to_owned()];
        for domains in leaders(&["x", "y", "x"], &dirs) {
            let error = domains.unwrap_err();
            assert_eq!((error.kind(), error.rank()), (Kind::Cache, 1));
        }
    }

    /// Defect H6 of the original: ranks that saw different files built different groups.
    #[test]
    fn h6_an_asymmetric_view_gives_all_ranks_the_same_answer() {
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
