//! The fault matrix: every combination of ranks, strategy, directories, state of one rank's cache, state of
//! the other caches, and failure, with a compiler, a loader and a file system that fail on demand.
//!
//! In each case every rank returns, with the same status and the same message; afterwards each cache has
//! whole entries or files that are not taken for entries; and the next call without a fault succeeds on all
//! ranks. The time limit of the suite ends a case that hangs. The communicator reports ranks that meet in
//! different collectives.

use std::hash::{BuildHasher, Hasher};
use std::sync::Condvar;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::fsutil::faults::{Op, Rule, push, with};
use crate::sync::recover;

/// The state of the cache directory of one rank, or of its view of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CacheState {
    MemoryHit,
    DiskHit,
    Miss,
    Truncated,
    BitFlipped,
    Unreadable,
    DirectoryMissing,
    ReadOnly,
    DiskFull,
}

const STATES: [CacheState; 9] = [
    CacheState::MemoryHit,
    CacheState::DiskHit,
    CacheState::Miss,
    CacheState::Truncated,
    CacheState::BitFlipped,
    CacheState::Unreadable,
    CacheState::DirectoryMissing,
    CacheState::ReadOnly,
    CacheState::DiskFull,
];

/// A failure during the call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    None,
    GenerateFails,
    GeneratePanics,
    NoCompiler,
    CompileError,
    CompilerKilled,
    CompilerHangs,
    BuilderCannotPublish,
    ReceivedCorrupt,
    ReceiverCannotPublish,
    LoadFails,
    NameDiffers,
    ParamsDiffer,
    CallbackMissing,
}

const FAILURES: [Failure; 14] = [
    Failure::None,
    Failure::GenerateFails,
    Failure::GeneratePanics,
    Failure::NoCompiler,
    Failure::CompileError,
    Failure::CompilerKilled,
    Failure::CompilerHangs,
    Failure::BuilderCannotPublish,
    Failure::ReceivedCorrupt,
    Failure::ReceiverCannotPublish,
    Failure::LoadFails,
    Failure::NameDiffers,
    Failure::ParamsDiffer,
    Failure::CallbackMissing,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    size: usize,
    buildon: &'static str,
    dirs: usize,
    /// True if the other directories have the library.
    others_hit: bool,
    victim: usize,
    state: CacheState,
    failure: Failure,
}

/// A compiler that copies the source, or fails.
struct FailingCompiler {
    failure: Failure,
    root: PathBuf,
    builds: AtomicUsize,
}

impl Runner for FailingCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |exit, output: &[u8]| Ok(Outcome { exit, output: output.to_vec() });
        self.builds.fetch_add(1, Ordering::SeqCst);
        match self.failure {
            Failure::NoCompiler => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            Failure::CompileError => return done(Exit::Code(1), b"x.cpp:1: error: no\n"),
            Failure::CompilerKilled => return done(Exit::Signal(9), b""),
            Failure::CompilerHangs => return done(Exit::TimedOut, b""),
            // From now on no file of this rank gets its name.
            Failure::BuilderCannotPublish => {
                push(Rule { root: self.root.clone(), ops: &[Op::Name], errno: libc::ENOSPC });
            }
            _ => {}
        }
        fake_library(command)?;
        done(Exit::Code(0), b"")
    }
}

/// A loader that checks that it loads whole entries with the right code.
struct VerifyingLoader {
    fails: bool,
    corrupt: Arc<AtomicBool>,
}

impl Loader for VerifyingLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        if self.fails {
            return Err(Error::new(Kind::Load, format!("cannot load {}", path.display())));
        }
        let bytes = fs::read(path).unwrap_or_default();
        let file = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        // A builder loads the file before it has its name: then it may be either library of a case.
        let named = file.strip_prefix("libdijitso-").and_then(|file| file.strip_suffix(".so"));
        let right = |signature: &str| {
            bytes.starts_with(&sample(format!("code of {signature}").as_bytes()))
                && record::open(&bytes, signature).is_ok()
        };
        if !named.map_or_else(|| right("form") || right("other"), right) {
            self.corrupt.store(true, Ordering::SeqCst);
        }
        Ok(Arc::new(FakeImage))
    }
}

/// The transport of the host of a case: rank 0 puts a closure here, the others take copies.
#[derive(Default)]
struct ClosureExchange {
    closure: Mutex<Option<Vec<u8>>>,
    arrived: Condvar,
}

impl ClosureExchange {
    fn put(&self, closure: &[u8]) {
        *lock(&self.closure) = Some(closure.to_vec());
        self.arrived.notify_all();
    }

    fn get(&self) -> std::result::Result<Vec<u8>, i32> {
        let empty = |closure: &mut Option<Vec<u8>>| closure.is_none();
        let waited = self.arrived.wait_timeout_while(lock(&self.closure), Duration::from_secs(60), empty);
        let (closure, _) = recover(waited);
        closure.clone().ok_or(99)
    }
}

/// A case, as its ranks share it.
struct Scenario<'a> {
    case: Case,
    root: &'a Path,
    corrupt: Arc<AtomicBool>,
}

impl Scenario<'_> {
    fn session(&self, rank: usize, failure: Failure) -> Session {
        let compiler = FailingCompiler { failure, root: self.root.to_owned(), builds: AtomicUsize::new(0) };
        let fails = failure == Failure::LoadFails && rank == self.case.size - 1;
        let loader = VerifyingLoader { fails, corrupt: Arc::clone(&self.corrupt) };
        Session::new(Arc::new(compiler), Arc::new(loader))
    }

    fn params(&self, rank: usize) -> Params {
        let settings = [
            ("cache.cache_dir", &*format!("cache{}", rank % self.case.dirs)),
            ("cache.temp_dir_root", &self.root.display().to_string()),
            ("cache.fail_dir_root", "failures"),
            ("parallel.buildon", self.case.buildon),
            ("parallel.timeout", "60"),
            ("cache.signature", "name"),
            ("cache.failure_ttl", "0"),
            ("build.cxx", "/nonexistent/fake"),
        ];
        test_params(self.root, &settings)
    }

    /// Makes one call of one rank.
    fn jit(
        &self,
        comm: &ThreadComm,
        session: &Session,
        failure: Failure,
        exchange: &ClosureExchange,
    ) -> Result<Library> {
        let last = comm.rank() == self.case.size - 1;
        let mut params = self.params(comm.rank());
        if last && failure == Failure::ParamsDiffer {
            params.set("build.cxxflags", "-O0").unwrap();
        }
        let name = if last && failure == Failure::NameDiffers { "other" } else { "form" };
        let mut callbacks = generator(move |asked: GenerateRequest<'_>, source: &mut Source| match failure {
            Failure::GeneratePanics => panic!("generate breaks"),
            Failure::GenerateFails => Err(7),
            _ => {
                source.code = Some(format!("code of {}", asked.signature).into_bytes());
                source.header = Some(b"header".to_vec());
                Ok(())
            }
        });
        if failure == Failure::ReceivedCorrupt {
            callbacks.send = Some(Box::new(|closure: &[u8]| {
                exchange.put(closure);
                Ok(())
            }));
            callbacks.receive = Some(Box::new(|| {
                let mut closure = exchange.get()?;
                let middle = closure.len() / 2;
                closure[middle] ^= 4;
                Ok(closure)
            }));
        }
        if last && failure == Failure::CallbackMissing {
            callbacks.generate = None;
        }
        let params = params.resolve().unwrap();
        session.jit_on(comm, &CommState::default(), Ok(Request { name, params: &params }), &mut callbacks)
    }

    /// Returns the cache that a rank uses.
    fn cache(&self, rank: usize) -> Cache {
        let params = self.params(rank).resolve().unwrap();
        let declared = &params.cache.cache_dir;
        let shared =
            (0..self.case.size).filter(|other| other % self.case.dirs == rank % self.case.dirs).count() > 1;
        let own = crate::cache::layout::Layout::process_root(declared, rank);
        let root = if shared && self.case.buildon == "process" { &own } else { declared };
        Cache::new(root, &params.cache)
    }

    /// Prepares the disks for the case, once every rank has the library.
    fn prepare(&self) {
        let victim = self.cache(self.case.victim);
        let lib = |cache: &Cache| cache.layout().lib("form");
        if !self.case.others_hit {
            for rank in 0..self.case.size {
                let _ = fs::remove_file(lib(&self.cache(rank)));
            }
        }
        let again = |change: &dyn Fn(&mut Vec<u8>)| {
            let whole = fs::read(self.root.join("whole")).unwrap();
            let mut bytes = whole.clone();
            change(&mut bytes);
            let _ = fs::remove_file(lib(&victim));
            fs::write(lib(&victim), bytes).unwrap();
            fs::set_permissions(lib(&victim), fs::Permissions::from_mode(0o700)).unwrap();
        };
        match self.case.state {
            CacheState::MemoryHit | CacheState::DiskHit => again(&|_| {}),
            CacheState::Miss => drop(fs::remove_file(lib(&victim))),
            CacheState::Truncated => again(&|bytes| bytes.truncate(bytes.len() / 2)),
            CacheState::BitFlipped => again(&|bytes| bytes[3] ^= 1),
            CacheState::DirectoryMissing => fs::remove_dir_all(victim.layout().root()).unwrap(),
            CacheState::Unreadable | CacheState::ReadOnly | CacheState::DiskFull => {}
        }
    }

    /// Returns the faults of the file system for a rank.
    fn rules(&self, rank: usize, failure: Failure) -> Vec<Rule> {
        let mut rules = Vec::new();
        let last = rank == self.case.size - 1;
        if last && failure == Failure::ReceiverCannotPublish {
            rules.push(Rule { root: self.root.to_owned(), ops: &[Op::Name], errno: libc::EDQUOT });
        }
        if rank == self.case.victim {
            let root = self.cache(rank).layout().root().to_owned();
            match self.case.state {
                CacheState::Unreadable => rules.push(Rule { root, ops: &[Op::Read], errno: libc::EACCES }),
                CacheState::ReadOnly => {
                    rules.push(Rule { root, ops: &[Op::Create, Op::Name], errno: libc::EROFS })
                }
                CacheState::DiskFull => rules.push(Rule { root, ops: &[Op::Write], errno: libc::ENOSPC }),
                _ => {}
            }
        }
        rules
    }
}

/// Runs one case and returns the status of the call with the fault.
fn check(case: Case, root: &Path) -> std::result::Result<(), Kind> {
    let scenario = Scenario { case, root, corrupt: Arc::default() };
    let (healthy_exchange, exchange) = (ClosureExchange::default(), ClosureExchange::default());
    let together = |comm: &ThreadComm, step: &dyn Fn()| {
        let alone = || {
            if comm.rank() == 0 {
                step();
            }
            Ok(())
        };
        agree(comm, "preparing", alone).unwrap();
    };
    let results = run(case.size, |comm| {
        let rank = comm.rank();
        let first = scenario.session(rank, Failure::None);
        let library = scenario.jit(comm, &first, Failure::None, &healthy_exchange).expect("a healthy call");
        together(comm, &|| {
            fs::copy(library.path(), root.join("whole")).unwrap();
        });
        together(comm, &|| scenario.prepare());
        let in_memory =
            case.state == CacheState::MemoryHit && rank == case.victim && case.failure != Failure::LoadFails;
        let second = if in_memory { first } else { scenario.session(rank, case.failure) };
        let rules = scenario.rules(rank, case.failure);
        let result = with(rules, || scenario.jit(comm, &second, case.failure, &exchange));
        together(comm, &|| {});
        let third = scenario.session(rank, Failure::None);
        let healthy = scenario.jit(comm, &third, Failure::None, &healthy_exchange);
        (result, healthy)
    });
    let (first, healthy) = &results[0];
    for (result, afterwards) in &results {
        match (first, result) {
            (Err(first), Err(other)) => assert_eq!(first, other, "{case:?}"),
            (Ok(_), Ok(_)) => {}
            _ => panic!("{case:?}: some succeed and some fail: {results:?}"),
        }
        assert!(afterwards.is_ok() && healthy.is_ok(), "{case:?}: {results:?}");
    }
    assert!(!scenario.corrupt.load(Ordering::SeqCst), "{case:?}: something else than the library was loaded");
    for rank in 0..case.size {
        let found = scenario.cache(rank).lookup("form", Verify::ForLink);
        assert!(matches!(found, Ok(Lookup::Hit(..))), "{case:?}: rank {rank} {found:?}");
    }
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name();
        let name = name.to_string_lossy();
        let known = name.starts_with("cache") || name == "whole" || name == "failures";
        assert!(known, "{case:?}: {name} was left behind");
    }
    first.as_ref().map(drop).map_err(Error::kind)
}

/// Returns whether the call with the fault may have this result.
fn is_expected(case: Case, result: std::result::Result<(), Kind>) -> bool {
    // A rank that may not read what is there, or cannot keep what it is sent, fails the call for all.
    let disk = matches!(case.state, CacheState::Unreadable | CacheState::ReadOnly | CacheState::DiskFull);
    match (case.failure, result) {
        (_, Err(Kind::Cache)) if disk => true,
        // A single rank cannot disagree.
        (Failure::NameDiffers | Failure::ParamsDiffer, Ok(())) => case.size == 1,
        (Failure::NameDiffers | Failure::ParamsDiffer, Err(kind)) => kind == Kind::RanksDisagree,
        (Failure::CallbackMissing, Err(Kind::RanksDisagree)) => case.size > 1,
        (Failure::CallbackMissing, Err(Kind::InvalidArgument)) => case.size == 1,
        (Failure::LoadFails, result) => result == Err(Kind::Load),
        (Failure::None, result) => result == Ok(()),
        // The failure happens only if a rank misses the library.
        (_, Ok(())) => case.others_hit || case.state != CacheState::Miss || case.failure_needs_others(),
        (Failure::GenerateFails, Err(kind)) => kind == Kind::Generate,
        (Failure::GeneratePanics, Err(kind)) => kind == Kind::Internal,
        (
            Failure::NoCompiler | Failure::CompileError | Failure::CompilerKilled | Failure::CompilerHangs,
            Err(kind),
        ) => kind == Kind::Compile,
        (Failure::BuilderCannotPublish | Failure::ReceiverCannotPublish, Err(kind)) => kind == Kind::Cache,
        (Failure::ReceivedCorrupt, Err(kind)) => kind == Kind::Callback,
        (Failure::CallbackMissing, _) => false,
    }
}

impl Case {
    /// Returns whether the failure need not happen even if no rank has the library.
    fn failure_needs_others(self) -> bool {
        matches!(
            self.failure,
            Failure::ReceivedCorrupt | Failure::ReceiverCannotPublish | Failure::CallbackMissing
        )
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [1, 2, 3, 5] {
        let mut directories = vec![1, 2, size];
        directories.retain(|dirs| *dirs <= size);
        directories.dedup();
        for buildon in ["root", "node", "process"] {
            for &dirs in &directories {
                for others_hit in [false, true] {
                    for victim in if size == 1 { vec![0] } else { vec![0, size - 1] } {
                        for state in STATES {
                            for failure in FAILURES {
                                cases.push(Case { size, buildon, dirs, others_hit, victim, state, failure });
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

#[test]
#[ignore = "it takes a minute or two; tests/run has a step for it"]
#[allow(clippy::print_stdout, reason = "the number of cases is what the step of tests/run reports")]
fn every_rank_returns_the_same_whatever_fails_on_one() {
    let all = cases();
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    // One of so many cases is run; the seed tells which.
    let part = number("DIJITSO_TEST_PART").unwrap_or(1).max(1);
    let random = || std::hash::RandomState::new().build_hasher().finish() as usize;
    let seed = number("DIJITSO_TEST_SEED").unwrap_or_else(random) % part;
    println!("fault matrix: DIJITSO_TEST_PART={part} DIJITSO_TEST_SEED={seed}");
    let cases: Vec<Case> = all.iter().copied().skip(seed).step_by(part).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let root = scratch();
                    let result = check(*case, root.path());
                    assert!(is_expected(*case, result), "{case:?}: {result:?}");
                    failed.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
                }
            });
        }
    });
    let failed = failed.into_inner();
    let count = cases.len();
    assert!(failed > count / 3 && failed < count, "{failed} of {count} calls failed");
    println!(
        "fault matrix: {count} of {} cases, {failed} failed on all ranks alike, {} succeeded on all",
        all.len(),
        count - failed
    );
}
