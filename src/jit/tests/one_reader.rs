//! Rank 0 reads the cache for all hosts, and one rank of each stages what it has got.

use std::os::unix::fs::symlink;

use super::node_staging::RecordingLoader;
use super::*;
use crate::fsutil::faults::{Op, Rule, watch, with};
use crate::parallel::threads::run_on_hosts;

/// The result of a call on one rank.
#[derive(Debug)]
struct Call {
    library: Result<Library>,
    /// The number of times that this rank opened, made or named files below any cache directory.
    accesses: usize,
    from: Vec<PathBuf>,
    builds: usize,
}

impl Call {
    fn is_from(&self, dir: &Path) -> bool {
        self.from.last().is_some_and(|path| path.starts_with(dir))
    }
}

struct Scenario<'a> {
    hosts: &'a [&'a str],
    setup: Setup<'a>,
}

const HOSTS: [&str; 6] = ["a", "a", "b", "b", "c", "c"];

impl<'a> Scenario<'a> {
    fn new(root: &'a Path, hosts: &'a [&'a str]) -> Self {
        Self { hosts, setup: Setup::one_dir(root) }
    }

    /// Makes a call. `faults` are the rules of a rank, and `places` its place for staging, if it is another
    /// one.
    fn jit(
        &self,
        faults: impl Fn(usize) -> Vec<Rule> + Sync,
        places: impl Fn(usize) -> Option<PathBuf> + Sync,
    ) -> Vec<Call> {
        let calls = run_on_hosts(self.hosts, |comm| {
            let mut rank = TestRank::new(comm, self.setup, Fault::None);
            let place = places(comm.rank()).unwrap_or_else(|| self.stage());
            rank.params.set("cache.node_stage_dir", &place.display().to_string()).unwrap();
            rank.params.set("cache.distribute", "on").unwrap();
            // The counts of all tests are written at times that depend on the clock.
            rank.params.set("cache.stats", "false").unwrap();
            let loader = Arc::new(RecordingLoader::default());
            rank.set_loader(loader.clone());
            let caches = self.setup.root.join(format!("cache{}", comm.rank() % self.setup.dirs));
            let (library, accesses) =
                with(faults(comm.rank()), || watch(&caches, || rank.jit("form", Fault::None)));
            let from = lock(&loader.loaded).clone();
            Call { library, accesses, from, builds: rank.builds() }
        });
        assert_eq!(fs::read_dir(self.stage()).map_or(0, Iterator::count), 0, "the folders are removed");
        calls
    }

    fn plain(&self) -> Vec<Call> {
        self.jit(|_| Vec::new(), |_| None)
    }

    fn stage(&self) -> PathBuf {
        self.setup.root.join("stage")
    }

    fn cache(&self) -> PathBuf {
        self.setup.root.join("cache0")
    }
}

/// One rank, `at`, has this rule.
fn on_rank(at: usize, root: &Path, ops: &'static [Op], errno: i32) -> impl Fn(usize) -> Vec<Rule> + Sync {
    let rule = Rule { root: root.to_owned(), ops, errno };
    move |rank| if rank == at { vec![rule.clone()] } else { Vec::new() }
}

fn builds(calls: &[Call]) -> usize {
    calls.iter().map(|call| call.builds).sum()
}

#[test]
fn rank_0_alone_reads_on_any_number_of_hosts() {
    let mut reads = Vec::new();
    for count in [1, 2, 3, 8] {
        for per_host in [1, 3] {
            let names: Vec<String> = (0..count).map(|host| format!("host {host}")).collect();
            let hosts: Vec<&str> =
                names.iter().flat_map(|name| std::iter::repeat_n(name.as_str(), per_host)).collect();
            let root = scratch();
            let scenario = Scenario::new(root.path(), &hosts);
            let cold = scenario.plain();
            assert_eq!(builds(&cold), 1);
            let warm = scenario.plain();
            // On a busy machine a memo of a path may expire in the middle of a call.
            let again = [scenario.plain(), scenario.plain()].map(|calls| calls[0].accesses);
            for (rank, call) in warm.iter().enumerate() {
                let library = call.library.as_ref().unwrap();
                assert_eq!((library.origin(), call.builds), (Origin::Disk, 0));
                assert_eq!(call.accesses > 0, rank == 0, "{rank}: {call:?}");
                assert_eq!(call.is_from(&scenario.stage()), hosts.len() > 1, "{rank}: {call:?}");
            }
            let fewest = again.into_iter().fold(warm[0].accesses, usize::min);
            reads.push((fewest, hosts.len() > 1));
        }
    }
    let of_many: Vec<usize> = reads.iter().filter(|(_, many)| *many).map(|(count, _)| *count).collect();
    assert!(of_many.iter().all(|count| *count == of_many[0]), "{of_many:?}");
}

/// The messages of a hit: preflight, libraries, staged files, loading.
#[test]
fn a_later_hit_takes_two_reductions_and_two_messages() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    let stage = scenario.stage().display().to_string();
    let counts = run_on_hosts(&HOSTS, |comm| {
        let mut rank = TestRank::new(comm, scenario.setup, Fault::None);
        rank.params.set("cache.node_stage_dir", &stage).unwrap();
        rank.params.set("cache.distribute", "on").unwrap();
        rank.jit("other", Fault::None).unwrap();
        let before = comm.collectives();
        rank.jit("form", Fault::None).unwrap();
        comm.min(&mut [0]).unwrap();
        comm.collectives() - before - 1
    });
    assert_eq!(counts, [4; 6]);
}

#[test]
fn a_reader_that_fails_fails_all_alike() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    let calls = scenario.jit(on_rank(0, &scenario.cache(), &[Op::Read], libc::EIO), |_| None);
    let results: Vec<_> = calls.into_iter().map(|call| call.library).collect();
    let error = same_error(&results, "reading");
    assert_eq!((error.kind(), error.rank()), (Kind::Cache, 0), "{error}");
    assert!(scenario.plain().iter().all(|call| call.library.is_ok()));
}

#[test]
fn a_damaged_entry_is_built_again() {
    for fault in [EntryFault::Missing, EntryFault::Cut, EntryFault::Flipped] {
        let root = scratch();
        let scenario = Scenario::new(root.path(), &HOSTS);
        scenario.plain();
        damage(&scenario.cache(), fault);
        let calls = scenario.plain();
        assert!(calls.iter().all(|call| call.library.is_ok()), "{fault:?}: {calls:?}");
        assert_eq!(builds(&calls), 1, "{fault:?}");
        assert_eq!(builds(&scenario.plain()), 0, "{fault:?}");
    }
}

/// The directory of rank 0 is behind, or another one: the call finds the entry at another rank.
#[test]
fn an_entry_that_rank_0_does_not_see_comes_from_another_rank() {
    let root = scratch();
    for name in ["shared", "behind"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let setup = Setup { root: root.path(), dirs: 4, buildon: "node" };
    let lead = |at: usize, to: &str| {
        let _ = fs::remove_file(root.path().join(format!("cache{at}")));
        symlink(root.path().join(to), root.path().join(format!("cache{at}"))).unwrap();
    };
    (0..4).for_each(|at| lead(at, "shared"));
    Scenario { hosts: &HOSTS[..4], setup }.plain();
    let origins = run_on_hosts(&["a", "b", "c", "d"], |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.params.set("cache.node_stage_dir", &root.path().join("stage").display().to_string()).unwrap();
        rank.params.set("cache.distribute", "on").unwrap();
        rank.jit("before", Fault::None).unwrap();
        if comm.rank() == 0 {
            lead(0, "behind");
        }
        rank.jit("form", Fault::None).unwrap().origin()
    });
    assert!(origins.iter().all(|origin| *origin != Origin::Memory), "{origins:?}");
    for buildon in ["node", "root"] {
        let root = scratch();
        let setup = Setup { root: root.path(), dirs: 2, buildon };
        let scenario = Scenario { hosts: &HOSTS, setup };
        scenario.plain();
        damage(&scenario.cache(), EntryFault::Missing);
        let calls = scenario.plain();
        assert!(calls.iter().all(|call| call.library.is_ok()), "{calls:?}");
        assert_eq!(builds(&calls), usize::from(buildon == "node"), "{buildon}: {calls:?}");
        assert!(scenario.plain().iter().all(|call| call.library.is_ok()));
    }
}

/// A host without a place for staging reads the cache. The others do not notice.
#[test]
fn a_host_that_cannot_stage_reads_the_cache() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    fs::write(root.path().join("file"), "").unwrap();
    let check = |calls: &[Call], context: &str| {
        for (rank, call) in calls.iter().enumerate() {
            let reads = [2, 3].contains(&rank);
            assert!(call.library.is_ok(), "{context}: {call:?}");
            assert_eq!(call.accesses > 0, rank == 0 || reads, "{context}: {rank}: {call:?}");
            let expected = if reads { scenario.cache() } else { scenario.stage() };
            assert!(call.is_from(&expected), "{context}: {rank}: {call:?}");
        }
    };
    for (ops, errno) in [
        (&[Op::Write] as &'static [Op], libc::ENOSPC),
        (&[Op::Create], libc::EROFS),
        (&[Op::Name], libc::EDQUOT),
    ] {
        check(&scenario.jit(on_rank(2, &scenario.stage(), ops, errno), |_| None), "full");
    }
    let missing = root.path().join("file/stage");
    check(&scenario.jit(|_| Vec::new(), |rank| (rank == 2).then(|| missing.clone())), "missing");
    let noexec = Path::new("/proc");
    let flags = rustix::fs::statvfs(noexec).unwrap().f_flag;
    if flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        check(&scenario.jit(|_| Vec::new(), |rank| (rank == 2).then(|| noexec.to_owned())), "noexec");
    }
}

/// Rank 0 cannot stage for its own host: that reads the cache, and the others load what it sends.
#[test]
fn a_reader_that_cannot_stage_sends_all_the_same() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    let calls = scenario.jit(on_rank(0, &scenario.stage(), &[Op::Write], libc::ENOSPC), |_| None);
    for (rank, call) in calls.iter().enumerate() {
        assert!(call.library.is_ok(), "{call:?}");
        assert_eq!(call.is_from(&scenario.stage()), rank > 1, "{rank}: {call:?}");
        assert_eq!(call.accesses > 0, rank < 2, "{rank}: {call:?}");
    }
}

#[test]
fn a_follower_that_does_not_see_the_staged_files_reads_the_cache() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    let calls = scenario.jit(on_rank(5, &scenario.stage(), &[Op::Read], libc::EACCES), |_| None);
    for (rank, call) in calls.iter().enumerate() {
        assert!(call.library.is_ok(), "{call:?}");
        assert_eq!(call.is_from(&scenario.stage()), rank != 5, "{rank}: {call:?}");
        assert_eq!(call.accesses > 0, rank == 0 || rank == 5, "{rank}: {call:?}");
    }
}

/// Rank 0 decides, also if others have other parameters.
#[test]
fn rank_0_decides() {
    let root = scratch();
    let scenario = Scenario::new(root.path(), &HOSTS);
    scenario.plain();
    for (of_rank_0, of_others, readers) in [("on", "off", 1), ("off", "on", 3)] {
        let accesses = run_on_hosts(&HOSTS, |comm| {
            let mut rank = TestRank::new(comm, scenario.setup, Fault::None);
            rank.params.set("cache.node_stage_dir", &scenario.stage().display().to_string()).unwrap();
            let distribute = if comm.rank() == 0 { of_rank_0 } else { of_others };
            rank.params.set("cache.distribute", distribute).unwrap();
            let (library, accesses) = watch(&scenario.cache(), || rank.jit("form", Fault::None));
            library.unwrap();
            accesses
        });
        assert_eq!(accesses.iter().filter(|count| **count > 0).count(), readers, "{accesses:?}");
    }
}
