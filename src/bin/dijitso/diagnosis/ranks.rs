//! Probes of all ranks: shared directories, the delay until files are visible, shared cores.

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

/// Limits the time that ranks wait for each other in one step.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Limits the time that a rank waits for the file of another.
const VISIBILITY_LIMIT: Duration = Duration::from_secs(10);

/// The report of one rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RankReport {
    host: String,
    machine: u64,
    cores: Vec<usize>,
    compiler: Toolchain,
    /// Microseconds since 1970, after all have met.
    now: u64,
}

/// Examines the ranks of `comm` with the cache directory of these parameters. Collective; all get the same
/// diagnosis.
///
/// # Errors
/// The same on every rank: `Kind::Cache` if the directory cannot be used, the kinds of the communicator.
pub(crate) fn examine(
    comm: &dyn Communicator,
    params: &Resolved,
    ask: impl FnOnce() -> Toolchain,
) -> Result<Diagnosis> {
    comm.begin("dijitso doctor", Some(LIMIT));
    let compiler = agree(comm, "asking the compiler what it is", || Ok(ask()))?;
    let cache = Cache::new(&params.cache.cache_dir, &params.cache);
    let root = cache.layout().root();
    let existed = root.is_dir();
    let domains = discover(comm, || cache.identify(), root, &cache.layout().comm(), None)?;
    let delay = visibility(comm, &cache, domains.leaders());
    comm.enter("removing test files");
    comm.min(&mut [0])?;
    if !existed {
        // Removes what the probe made, unless another program has put something into it.
        let _ = fs::remove_dir(cache.layout().comm());
        cache.unmake();
    }
    let delay = delay?;
    comm.enter("comparing clocks");
    comm.min(&mut [0])?;
    let report = RankReport {
        host: comm.host().to_owned(),
        machine: comm.machine(),
        cores: slots::choices(None, Cores::Auto),
        compiler,
        now: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    };
    // If this fails, no rank can read the report, and all return the same error.
    let mine = serde_json::to_vec(&report).unwrap_or_default();
    comm.enter("exchanging reports");
    let all: Vec<RankReport> = gather_bytes(comm, &mine)?
        .iter()
        .map(|bytes| serde_json::from_slice(bytes))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
    Ok(judge(&all, domains.leaders(), &delay, params.buildon))
}

/// Returns the microseconds that each rank waited for a file that the leader of its directory published,
/// `u64::MAX` if it did not see the file. Collective.
fn visibility(comm: &dyn Communicator, cache: &Cache, leaders: &[usize]) -> Result<Vec<u64>> {
    let (rank, dir) = (comm.rank(), cache.layout().comm());
    let token = on_root(comm, "choosing a token", || {
        let seed = format!("{:?} {}", SystemTime::now(), std::process::id());
        Ok(hex(&digest(seed.as_bytes())[..12]).into_bytes())
    })?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let path = dir.join(format!("{token}.seen-{}", leaders[rank]));
    let is_leader = leaders[rank] == rank;
    // All look before the file exists, as before a build: network disks cache the absence of a file.
    let mut tree = None;
    agree(comm, "looking for a file", || {
        let _ = path.metadata();
        if is_leader {
            let opened = cache.open_or_make()?;
            opened.enter(&dir, true).map_err(|error| Error::io("cannot make", &dir, &error))?;
            tree = Some(opened);
        }
        Ok(())
    })?;
    let published = agree(comm, "publishing a file", || {
        if let Some(tree) = &tree {
            tree.publish_noclobber(&path, token.as_bytes(), 0o600, Durability::Volatile)
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
        .take_while(|_| begin.elapsed() < VISIBILITY_LIMIT)
        .any(|seen| seen);
    let took = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    let took = if seen { took } else { u64::MAX };
    comm.enter("comparing delays");
    let all = comm.all_gather(&took.to_le_bytes())?;
    if let Some(tree) = &tree {
        let _ = tree.remove(&path);
    }
    published?;
    Ok(all.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default())).collect())
}

/// Judges the reports of all ranks. Pure.
fn judge(all: &[RankReport], leaders: &[usize], delay: &[u64], buildon: BuildOn) -> Diagnosis {
    let mut machines: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (rank, report) in all.iter().enumerate() {
        machines.entry(report.machine).or_default().push(rank);
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
    probes.extend(machines.values().map(|ranks| core_sharing(all, ranks)));
    probes.push(visible(delay));
    probes.push(same_compiler(all));
    if machines.len() > 1 {
        probes.push(clocks(all));
    }
    Diagnosis { probes, settings: strategy(machines.len(), directories, all.len(), buildon) }
}

/// Compares the number of ranks with the cores of a host.
fn core_sharing(all: &[RankReport], ranks: &[usize]) -> Probe {
    let host = &all[ranks[0]].host;
    let mut cores: Vec<usize> = ranks.iter().flat_map(|rank| all[*rank].cores.clone()).collect();
    cores.sort_unstable();
    cores.dedup();
    let (count, own) = (ranks.len(), cores.len());
    let name = format!("cores of {host}");
    let finding =
        format!("{} may use {}", human::count(count, "rank", "ranks"), human::count(own, "core", "cores"));
    if count > own {
        let advice = "ranks that wait for a library sleep, but barriers of your program may spin: start \
                      fewer ranks, or tell MPI that the cores are oversubscribed (mpi_yield_when_idle)";
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
        let advice = "MPI sends libraries that the disk does not show, which costs a transfer at each \
                      build; a disk with less caching (NFS: lookupcache=positive) is better";
        let finding =
            format!("rank {slowest} did not see a new file within {} s", VISIBILITY_LIMIT.as_secs());
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

fn same_compiler(all: &[RankReport]) -> Probe {
    let name = "compilers of the ranks";
    match all.iter().position(|report| report.compiler != all[0].compiler) {
        None => Probe::ok(name, "the same on all"),
        Some(other) => {
            let finding = format!(
                "rank 0 on {} has {}, rank {other} on {} has {}",
                all[0].host, all[0].compiler.identity, all[other].host, all[other].compiler.identity
            );
            let advice = "rank 0 makes the signatures; with parallel.buildon = root only rank 0 builds";
            Probe::warn(name, finding, advice)
        }
    }
}

fn clocks(all: &[RankReport]) -> Probe {
    const MUCH: u64 = 2_000_000;
    let (first, last) =
        (all.iter().map(|report| report.now).min(), all.iter().map(|report| report.now).max());
    let skew = last.unwrap_or_default() - first.unwrap_or_default();
    let finding = format!("the clocks of the hosts differ by at most {:.1} ms", skew as f64 / 1e3);
    if skew > MUCH {
        return Probe::warn("clocks of the hosts", finding, "synchronise them (NTP): leases depend on them");
    }
    Probe::ok("clocks of the hosts", finding)
}

/// Recommends a strategy, unless the current one is as good.
fn strategy(hosts: usize, directories: usize, ranks: usize, buildon: BuildOn) -> Vec<Setting> {
    let best = if directories > 1 && hosts > 1 {
        (
            "root",
            BuildOn::Root,
            format!(
                "{directories} directories on {hosts} hosts would each compile; root compiles once and \
                 sends the library to the others"
            ),
        )
    } else if directories == 1 {
        (
            "node",
            BuildOn::Node,
            format!(
                "all {ranks} ranks share one directory, so one rank builds and the others find the library \
                 there"
            ),
        )
    } else {
        ("node", BuildOn::Node, format!("one rank fills each of {directories} directories"))
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

/// Asks the compiler of these parameters for its version, for [`examine`].
pub(crate) fn compiler(params: &Resolved) -> Toolchain {
    let limited = dijitso::params::resolved::BuildParams {
        timeout: Some(params.build.timeout.map_or(LIMIT / 2, |timeout| timeout.min(LIMIT / 2))),
        ..params.build.clone()
    };
    dijitso::build::toolchain::probe(
        &limited,
        &dijitso::process::SystemRunner,
        &dijitso::process::exec_context::ExecContext::default(),
    )
}
