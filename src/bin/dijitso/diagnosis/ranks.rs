//! What only several ranks can find out: who shares what, how soon files are seen, how many share a core.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use dijitso::cache::Cache;
use dijitso::codec::{digest, hex};
use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil::Durability;
use dijitso::human;
use dijitso::parallel::cache_domains::discover;
use dijitso::parallel::{Communicator, agree, gather_bytes, on_root};
use dijitso::params::resolved::{BuildOn, Resolved};
use dijitso::process::affinity::Cores;
use dijitso::process::slots;
use dijitso::signature::Toolchain;

use super::{Diagnosis, Probe, Setting};

/// How long the ranks wait for each other in one step.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How long they look for a file of another.
const LOOKING: Duration = Duration::from_secs(10);

/// What a rank says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    host: String,
    machine: u64,
    cores: Vec<usize>,
    compiler: Toolchain,
    /// Microseconds since 1970, after all have met.
    now: u64,
}

/// Looks at the ranks of `comm`, by the cache directory of these parameters. Collective; all get the same answer.
///
/// # Errors
/// The same on every rank.
pub(crate) fn examine(
    comm: &dyn Communicator,
    params: &Resolved,
    ask: impl FnOnce() -> Toolchain,
) -> Result<Diagnosis> {
    comm.begin("dijitso doctor", Some(LIMIT));
    let compiler = agree(comm, "asking the compiler what it is", || Ok(ask()))?;
    let cache = Cache::new(&params.cache.cache_dir, &params.cache);
    let root = cache.layout().root();
    let there = root.is_dir();
    let sharing = discover(comm, || cache.identify(), root, &cache.layout().comm(), None)?;
    let delay = visibility(comm, &cache, sharing.leaders());
    comm.enter("tidying up");
    comm.min(&mut [0])?;
    if !there {
        // As it was before, if nobody else has put anything into it.
        let _ = fs::remove_dir(cache.layout().comm());
        cache.unmake();
    }
    let delay = delay?;
    comm.enter("comparing clocks");
    comm.min(&mut [0])?;
    let about = About {
        host: comm.host().to_owned(),
        machine: comm.machine(),
        cores: slots::choices(None, Cores::Auto),
        compiler,
        now: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    };
    // What cannot be written cannot be read, on any rank.
    let mine = serde_json::to_vec(&about).unwrap_or_default();
    comm.enter("telling about each other");
    let all: Vec<About> = gather_bytes(comm, &mine)?
        .iter()
        .map(|bytes| serde_json::from_slice(bytes))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
    Ok(judge(&all, sharing.leaders(), &delay, params.buildon))
}

/// For each rank how long it took until it saw a file that the leader of its directory has published: microseconds; the
/// largest number where it did not.
fn visibility(comm: &dyn Communicator, cache: &Cache, leaders: &[usize]) -> Result<Vec<u64>> {
    let (rank, dir) = (comm.rank(), cache.layout().comm());
    let token = on_root(comm, "choosing a token", || {
        let seed = format!("{:?} {}", SystemTime::now(), std::process::id());
        Ok(hex(&digest(seed.as_bytes())[..12]).into_bytes())
    })?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let path = dir.join(format!("{token}.seen-{}", leaders[rank]));
    let leads = leaders[rank] == rank;
    // All have looked in vain before it is there, as before a build: network disks remember what was not there.
    let mut tree = None;
    agree(comm, "looking for a file", || {
        let _ = path.metadata();
        if leads {
            let opened = cache.open_or_make()?;
            opened.enter(&dir, true).map_err(|error| Error::io("cannot make", &dir, &error))?;
            tree = Some(opened);
        }
        Ok(())
    })?;
    let published = agree(comm, "publishing a file", || {
        if let Some(tree) = &tree {
            tree.publish_first(&path, token.as_bytes(), 0o600, Durability::Volatile)
                .map_err(|error| Error::io("cannot write", &path, &error))?;
        }
        Ok(())
    });
    let begin = Instant::now();
    let seen = published.is_ok()
        && std::iter::repeat_with(|| {
            let seen = fs::read(&path).is_ok_and(|text| text == token.as_bytes());
            if !seen {
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        })
        .take_while(|_| begin.elapsed() < LOOKING)
        .any(|seen| seen);
    let took = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    let took = if seen { took } else { u64::MAX };
    comm.enter("comparing when it was seen");
    let all = comm.all_gather(&took.to_le_bytes())?;
    if let Some(tree) = &tree {
        let _ = tree.remove(&path);
    }
    published?;
    Ok(all.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default())).collect())
}

/// What the answers of all ranks come to. Pure.
fn judge(all: &[About], leaders: &[usize], delay: &[u64], buildon: BuildOn) -> Diagnosis {
    let mut machines: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (rank, about) in all.iter().enumerate() {
        machines.entry(about.machine).or_default().push(rank);
    }
    let directories = leaders.iter().enumerate().filter(|(rank, leader)| rank == *leader).count();
    let mut probes = vec![Probe::ok(
        "ranks",
        format!(
            "{} on {}, with {}",
            human::count(all.len(), "rank", "ranks"),
            human::count(machines.len(), "host", "hosts"),
            human::count(directories, "cache directory", "cache directories")
        ),
    )];
    probes.extend(machines.values().map(|ranks| crowd(all, ranks)));
    probes.push(visible(delay));
    probes.push(same_compiler(all));
    if machines.len() > 1 {
        probes.push(clocks(all));
    }
    Diagnosis { probes, settings: strategy(machines.len(), directories, all.len(), buildon) }
}

/// How many ranks share the cores of a host.
fn crowd(all: &[About], ranks: &[usize]) -> Probe {
    let host = &all[ranks[0]].host;
    let mut cores: Vec<usize> = ranks.iter().flat_map(|rank| all[*rank].cores.clone()).collect();
    cores.sort_unstable();
    cores.dedup();
    let (count, own) = (ranks.len(), cores.len());
    let name = format!("cores of {host}");
    let finding =
        format!("{} may use {}", human::count(count, "rank", "ranks"), human::count(own, "core", "cores"));
    if count > own {
        let advice = "ranks that wait for a library sleep, but your own barriers may not: start fewer, or tell MPI \
                      that it is oversubscribed (mpi_yield_when_idle)";
        return Probe::warn(name, finding, advice);
    }
    let bound = ranks.iter().all(|rank| all[*rank].cores.len() == 1);
    if bound && count > 1 {
        let advice = "each rank and its compiler is bound to one core; --bind-to none lets compilers use all";
        return Probe::ok(name, format!("{finding}, one each; {advice}"));
    }
    Probe::ok(name, finding)
}

fn visible(delay: &[u64]) -> Probe {
    const LONG: u64 = 500_000;
    let (slowest, longest) = delay
        .iter()
        .enumerate()
        .max_by_key(|(_, delay)| **delay)
        .map_or((0, 0), |(rank, delay)| (rank, *delay));
    let name = "visibility";
    if longest == u64::MAX {
        let advice = "libraries are handed over by MPI where a disk does not show them, which costs a transfer at each \
                      build; a disk with less caching (NFS: lookupcache=positive) is better";
        let finding = format!("rank {slowest} did not see a new file within {} s", LOOKING.as_secs());
        return Probe::warn(name, finding, advice);
    }
    let finding = format!("all saw a new file within {:.1} ms (rank {slowest} last)", longest as f64 / 1e3);
    if longest > LONG {
        let advice = "parallel.buildon = root sends libraries by MPI; or mount with less caching (NFS: \
                      lookupcache=positive, actimeo)";
        return Probe::warn(name, finding, advice);
    }
    Probe::ok(name, finding)
}

fn same_compiler(all: &[About]) -> Probe {
    let name = "compilers of the ranks";
    match all.iter().position(|about| about.compiler != all[0].compiler) {
        None => Probe::ok(name, "the same on all"),
        Some(other) => {
            let finding = format!(
                "rank 0 on {} has {}, rank {other} on {} has {}",
                all[0].host, all[0].compiler.identity, all[other].host, all[other].compiler.identity
            );
            let advice = "signatures are those of rank 0's; parallel.buildon = root builds there alone";
            Probe::warn(name, finding, advice)
        }
    }
}

fn clocks(all: &[About]) -> Probe {
    const MUCH: u64 = 2_000_000;
    let (first, last) = (all.iter().map(|about| about.now).min(), all.iter().map(|about| about.now).max());
    let skew = last.unwrap_or_default() - first.unwrap_or_default();
    let finding = format!("the clocks of the hosts differ by at most {:.1} ms", skew as f64 / 1e3);
    if skew > MUCH {
        return Probe::warn(
            "clocks of the hosts",
            finding,
            "synchronise them (NTP): leases are judged by them",
        );
    }
    Probe::ok("clocks of the hosts", finding)
}

/// Which strategy fits, where it is not the one in force.
fn strategy(hosts: usize, directories: usize, ranks: usize, buildon: BuildOn) -> Vec<Setting> {
    let best = if directories > 1 && hosts > 1 {
        (
            "root",
            BuildOn::Root,
            format!(
                "{directories} directories on {hosts} hosts would each compile; root compiles once and sends the library to the others"
            ),
        )
    } else if directories == 1 {
        (
            "node",
            BuildOn::Node,
            format!(
                "all {ranks} ranks share one directory, so one of them builds and the others find it there"
            ),
        )
    } else {
        ("node", BuildOn::Node, format!("each of {directories} directories is filled by one rank"))
    };
    let (value, strategy, reason) = best;
    // With one directory both compile once.
    let as_good = directories == 1 && buildon == BuildOn::Root;
    if buildon == strategy || as_good {
        Vec::new()
    } else {
        vec![Setting::new("parallel.buildon", value, reason)]
    }
}

/// What the compiler of these parameters is, for [`examine`].
#[cfg(feature = "mpi")]
pub(crate) fn compiler(params: &Resolved) -> Toolchain {
    let limited = dijitso::params::resolved::BuildParams {
        timeout: Some(params.build.timeout.map_or(LIMIT / 2, |timeout| timeout.min(LIMIT / 2))),
        ..params.build.clone()
    };
    dijitso::build::toolchain::probe(&limited, &dijitso::process::SystemRunner)
}
