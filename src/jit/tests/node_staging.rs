//! One rank of each host reads the cache, and the others load what it has staged.

use std::collections::BTreeMap;

use super::*;
use crate::fsutil::faults::{Op, Rule, watch, with};
use crate::parallel::threads::run_on_hosts;

/// A loader that records the paths it loads.
#[derive(Default)]
pub(super) struct RecordingLoader {
    pub(super) loaded: Mutex<Vec<PathBuf>>,
}

impl Loader for RecordingLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        lock(&self.loaded).push(path.to_owned());
        FakeLoader { fails: false }.load(path)
    }
}

/// The result of a call on one rank.
#[derive(Debug)]
struct StagedCall {
    library: Result<Library>,
    /// The number of times that this rank opened, made or named files below the cache directory.
    accesses: usize,
    from: Vec<PathBuf>,
    collectives: usize,
}

struct StagingScenario<'a> {
    hosts: &'a [&'a str],
    setup: Setup<'a>,
    /// `cache.node_stage_dir`; below the root of the scenario unless it is "" or "auto".
    node_stage_dir: &'a str,
}

impl StagingScenario<'_> {
    fn jit(&self, name: &str, faults: impl Fn(usize) -> Vec<Rule> + Sync) -> Vec<StagedCall> {
        let stage = match self.node_stage_dir {
            "" | "auto" => self.node_stage_dir.to_owned(),
            dir => self.setup.root.join(dir).display().to_string(),
        };
        run_on_hosts(self.hosts, |comm| {
            let mut rank = TestRank::new(comm, self.setup, Fault::None);
            rank.params.set("cache.node_stage_dir", &stage).unwrap();
            let loader = Arc::new(RecordingLoader::default());
            rank.set_loader(loader.clone());
            let cache = self.setup.root.join(format!("cache{}", comm.rank() % self.setup.dirs));
            let before = comm.collectives();
            let (library, accesses) =
                with(faults(comm.rank()), || watch(&cache, || rank.jit(name, Fault::None)));
            let collectives = comm.collectives() - before;
            let from = lock(&loader.loaded).clone();
            StagedCall { library, accesses, from, collectives }
        })
    }

    fn warm(&self) -> Vec<StagedCall> {
        self.jit("form", |_| Vec::new());
        self.jit("form", |_| Vec::new())
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.setup.root.join(self.node_stage_dir)).map_or(0, Iterator::count)
    }
}

fn setup(root: &Path, dirs: usize) -> Setup<'_> {
    Setup { root, dirs, buildon: "node" }
}

#[test]
fn one_rank_of_each_host_reads_the_cache() {
    for per_host in [1, 2, 5] {
        let hosts: Vec<&str> = ["a", "b", "c"].iter().flat_map(|host| vec![*host; per_host]).collect();
        let root = scratch();
        let scenario =
            StagingScenario { hosts: &hosts, setup: setup(root.path(), 1), node_stage_dir: "stage" };
        let seen = scenario.warm();
        for (rank, seen) in seen.iter().enumerate() {
            let library = seen.library.as_ref().unwrap();
            assert_eq!(library.origin(), Origin::Disk);
            assert_eq!(library.path(), root.path().join("cache0/lib/libdijitso-form.so"));
            let leads = rank % per_host == 0;
            assert_eq!(seen.accesses > 0, leads, "{per_host}: {seen:?}");
            assert!(seen.accesses < 12, "{per_host}: {seen:?}");
            let from_stage = seen.from[0].starts_with(root.path().join("stage"));
            assert_eq!(from_stage, per_host > 1, "a single rank of a host does not stage: {seen:?}");
        }
        assert_eq!(scenario.leftovers(), 0);
        let folders: BTreeMap<_, usize> = seen.iter().fold(BTreeMap::new(), |mut all, seen| {
            *all.entry(seen.from[0].clone()).or_default() += 1;
            all
        });
        assert_eq!(folders.len(), if per_host == 1 { 1 } else { 3 }, "one folder for each host");
    }
}

/// With a cold cache, too: the ranks that wait for the builder do not use the disk.
#[test]
fn a_cold_build_is_read_by_one_rank_of_each_host() {
    let root = scratch();
    let hosts = ["a", "a", "a", "b", "b", "b"];
    let scenario = StagingScenario { hosts: &hosts, setup: setup(root.path(), 1), node_stage_dir: "stage" };
    for (rank, seen) in scenario.jit("form", |_| Vec::new()).iter().enumerate() {
        let built = if rank == 0 { Origin::Built } else { Origin::Disk };
        assert_eq!(seen.library.as_ref().unwrap().origin(), built);
        assert_eq!(seen.accesses > 0, rank % 3 == 0, "{seen:?}");
        // The builder has loaded it before it was published.
        let from = root.path().join(if rank == 0 { "cache0/lib" } else { "stage" });
        assert!(seen.from[0].starts_with(from), "{seen:?}");
    }
    assert_eq!(scenario.leftovers(), 0);
}

#[test]
fn on_a_local_disk_or_without_staging_each_rank_reads() {
    let root = scratch();
    for node_stage_dir in ["auto", ""] {
        if node_stage_dir == "auto" && !crate::fsutil::is_local(root.path()) {
            continue;
        }
        let scenario = StagingScenario { hosts: &["a"; 3], setup: setup(root.path(), 1), node_stage_dir };
        for seen in scenario.warm() {
            assert!(seen.accesses > 0 && seen.from[0].starts_with(root.path().join("cache0")), "{seen:?}");
        }
    }
}

/// Ranks of one host with different directories have different leaders.
#[test]
fn every_directory_of_a_host_has_its_own_leader() {
    let root = scratch();
    let scenario =
        StagingScenario { hosts: &["a"; 4], setup: setup(root.path(), 2), node_stage_dir: "stage" };
    let seen = scenario.warm();
    let readers: Vec<bool> = seen.iter().map(|seen| seen.accesses > 0).collect();
    assert_eq!(readers, [true, true, false, false]);
    assert!(seen.iter().all(|seen| seen.library.is_ok()));
}

/// Finding the ranks of each host costs messages once for each communicator.
#[test]
fn the_second_call_knows_the_hosts() {
    let root = scratch();
    let scenario =
        StagingScenario { hosts: &["a"; 4], setup: setup(root.path(), 1), node_stage_dir: "stage" };
    scenario.jit("first", |_| Vec::new());
    scenario.jit("second", |_| Vec::new());
    let stage = root.path().join("stage").display().to_string();
    let counts = run(4, |comm| {
        let mut rank = TestRank::new(comm, scenario.setup, Fault::None);
        rank.params.set("cache.node_stage_dir", &stage).unwrap();
        let count = |name| {
            let before = comm.collectives();
            rank.jit(name, Fault::None).unwrap();
            // No rank may be ahead of the others.
            comm.min(&mut [0]).unwrap();
            comm.collectives() - before - 1
        };
        [count("first"), count("second"), count("second")]
    });
    for count in counts {
        assert!(count[0] > count[1], "{count:?}");
        // Preflight, a message to the ranks of each host, lookup.
        assert_eq!(count[1..], [3, 0], "{count:?}");
    }
    assert!(scenario.warm().iter().all(|seen| seen.collectives > 3), "also those of the first call");
}

/// A failure of staging on one host fails no call: its ranks read the cache.
#[test]
fn a_host_that_cannot_stage_reads_the_cache() {
    let root = scratch();
    let hosts = ["a", "a", "b", "b"];
    let scenario = StagingScenario { hosts: &hosts, setup: setup(root.path(), 1), node_stage_dir: "stage" };
    scenario.warm();
    let stage = root.path().join("stage");
    for (ops, errno) in [
        (&[Op::Write] as &'static [Op], libc::ENOSPC),
        (&[Op::Create], libc::EROFS),
        (&[Op::Name], libc::EDQUOT),
    ] {
        let full = |rank| if rank == 2 { vec![Rule { root: stage.clone(), ops, errno }] } else { Vec::new() };
        let seen = scenario.jit("form", full);
        let staged: Vec<bool> = seen.iter().map(|seen| seen.from[0].starts_with(&stage)).collect();
        assert_eq!(staged, [true, true, false, false], "{seen:?}");
        assert!(seen.iter().all(|seen| seen.library.is_ok()));
        assert_eq!(scenario.leftovers(), 0);
    }
    // A rank that does not see what was staged.
    let blind = |rank| {
        if rank == 3 {
            vec![Rule { root: stage.clone(), ops: &[Op::Read], errno: libc::EACCES }]
        } else {
            Vec::new()
        }
    };
    let seen = scenario.jit("form", blind);
    let staged: Vec<bool> = seen.iter().map(|seen| seen.from[0].starts_with(&stage)).collect();
    assert_eq!(staged, [true, true, true, false], "{seen:?}");
    assert_eq!(scenario.leftovers(), 0);
}

/// In a place that others can write, they could replace the folder.
#[test]
fn a_place_that_others_can_write_is_not_used() {
    let root = scratch();
    let scenario =
        StagingScenario { hosts: &["a"; 2], setup: setup(root.path(), 1), node_stage_dir: "stage" };
    fs::create_dir(root.path().join("stage")).unwrap();
    fs::set_permissions(root.path().join("stage"), fs::Permissions::from_mode(0o777)).unwrap();
    for seen in scenario.warm() {
        assert!(seen.library.is_ok() && seen.from[0].starts_with(root.path().join("cache0")), "{seen:?}");
    }
}

/// A leader that may not read what is there fails the call for all ranks of all hosts.
#[test]
fn a_leader_that_cannot_read_fails_all_alike() {
    let root = scratch();
    let hosts = ["a", "a", "b", "b"];
    let scenario = StagingScenario { hosts: &hosts, setup: setup(root.path(), 1), node_stage_dir: "stage" };
    scenario.warm();
    let cache = root.path().join("cache0");
    let blind = |rank| {
        if rank == 2 {
            vec![Rule { root: cache.clone(), ops: &[Op::Read], errno: libc::EACCES }]
        } else {
            Vec::new()
        }
    };
    let results: Vec<_> = scenario.jit("form", blind).into_iter().map(|seen| seen.library).collect();
    let error = same_error(&results, "reading");
    assert_eq!((error.kind(), error.rank()), (Kind::Cache, 2), "{error}");
    assert_eq!(scenario.leftovers(), 0);
}

#[test]
fn what_is_evicted_meanwhile_is_loaded_from_the_staged_copy() {
    let root = scratch();
    let stage = root.path().join("stage").display().to_string();
    let scenario =
        StagingScenario { hosts: &["a"; 3], setup: setup(root.path(), 1), node_stage_dir: "stage" };
    scenario.warm();
    let builds: usize = run(3, |comm| {
        let mut rank = TestRank::new(comm, scenario.setup, Fault::None);
        rank.params.set("cache.node_stage_dir", &stage).unwrap();
        let victim = root.path().join("cache0/lib/libdijitso-form.so");
        if comm.rank() == 1 {
            rank.set_loader(EvictingLoader::new(Some(victim), 1));
        }
        rank.jit("form", Fault::None).unwrap();
        rank.builds()
    })
    .into_iter()
    .sum();
    assert_eq!(builds, 0);
}

/// Staged libraries link to libraries that were loaded before from the cache, and the other way round.
#[test]
fn a_dependency_is_loaded_once_from_its_first_place() {
    for first_staged in [false, true] {
        let root = scratch();
        let stage = root.path().join("stage").display().to_string();
        run(2, |comm| {
            let build = TestRank::new(comm, setup(root.path(), 1), Fault::None);
            let params = build.params.resolve().unwrap();
            let mut callbacks = generator(|asked, source| {
                if asked.name == "form" {
                    source.dependencies.push("element".to_owned());
                }
                source.code = Some(asked.name.as_bytes().to_vec());
                Ok(())
            });
            for name in ["element", "form"] {
                let request = Request { name, params: &params };
                build.session.jit_on(comm, &build.state, Ok(request), &mut callbacks).unwrap();
            }
            let mut rank = TestRank::new(comm, setup(root.path(), 1), Fault::None);
            let loader = Arc::new(RecordingLoader::default());
            rank.set_loader(loader.clone());
            for (name, staged) in [("element", first_staged), ("form", !first_staged)] {
                rank.params.set("cache.node_stage_dir", if staged { &stage } else { "" }).unwrap();
                rank.jit(name, Fault::NoGenerate).unwrap();
            }
            let loaded = lock(&loader.loaded).clone();
            assert_eq!(loaded.len(), 2, "{loaded:?}");
            // Beside the form, the dynamic loader found the same file of the element, by a link.
            let names: Vec<_> = loaded.iter().map(|path| path.file_name().unwrap()).collect();
            assert_eq!(names, ["libdijitso-element.so", "libdijitso-form.so"]);
            assert!(first_staged == loaded[0].starts_with(&stage), "{loaded:?}");
            assert!(!loaded[1].starts_with(root.path().join("cache0")), "{loaded:?}");
        });
        assert_eq!(fs::read_dir(&stage).unwrap().count(), 0);
    }
}
