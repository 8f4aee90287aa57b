//! Calls in two parts: several are started before one is finished.

use std::sync::Condvar;
use std::time::{Duration, Instant};

use super::fakes::source_of;
use super::*;
use crate::cache::lease::{self, Acquire};
use crate::jit::pending::Pending;

/// A compiler that refuses some sources, and can wait until several runs overlap.
struct OverlapCompiler {
    builds: AtomicUsize,
    /// Runs end when so many have overlapped, or after a minute.
    min_overlap: usize,
    running: Mutex<usize>,
    max_running: AtomicUsize,
    changed: Condvar,
}

impl OverlapCompiler {
    fn new(min_overlap: usize) -> Arc<Self> {
        Arc::new(Self {
            builds: AtomicUsize::new(0),
            min_overlap,
            running: Mutex::new(0),
            max_running: AtomicUsize::new(0),
            changed: Condvar::new(),
        })
    }
}

impl Runner for OverlapCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let text = String::from_utf8(source_of(command)?).unwrap();
        let begin = Instant::now();
        while text.contains("endless") && !command.context.is_cancelled() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the build is not cancelled");
            std::thread::sleep(Duration::from_millis(1));
        }
        if text.contains("endless") {
            return Ok(Outcome { exit: Exit::Signal(9), output: Vec::new() });
        }
        self.builds.fetch_add(1, Ordering::SeqCst);
        let mut running = self.running.lock().unwrap();
        *running += 1;
        self.max_running.fetch_max(*running, Ordering::SeqCst);
        self.changed.notify_all();
        let overlap = || self.max_running.load(Ordering::SeqCst);
        while overlap() < self.min_overlap && begin.elapsed() < Duration::from_secs(60) {
            running = self.changed.wait_timeout(running, Duration::from_millis(50)).unwrap().0;
        }
        *running -= 1;
        if text.contains("refused") {
            return Ok(Outcome { exit: Exit::Code(1), output: b"x.cpp:1: error: refused\n".to_vec() });
        }
        fake_library(command)?;
        Ok(Outcome { exit: Exit::Code(0), output: Vec::new() })
    }
}

/// Returns the callbacks of a host that generates what the names say.
fn host<'a>() -> Callbacks<'a> {
    generator(|asked, source| {
        if asked.name.starts_with("ungenerated") {
            source.error = Some("this cannot be generated".to_owned());
            return Err(3);
        }
        assert!(!asked.name.starts_with("panics"), "generate breaks");
        source.code = Some(format!("code of {}", asked.name).into_bytes());
        Ok(())
    })
}

impl TestRank<'_> {
    fn with(mut self, runner: &Arc<OverlapCompiler>) -> Self {
        self.session =
            Session::new(Arc::clone(runner) as Arc<dyn Runner>, Arc::new(FakeLoader { fails: false }));
        self.params.set("build.max_compilers", "4").unwrap();
        self
    }

    fn start(&self, name: &str) -> Result<Pending> {
        let params = self.params.resolve().unwrap();
        let request = Ok(Request { name, params: &params });
        self.session.start_on(self.comm, &self.state, request, &mut host())
    }

    fn finish(&self, pending: Pending) -> Result<Library> {
        self.session.finish_on(self.comm, &self.state, pending, Ok(()), &mut host())
    }

    fn whole(&self, name: &str) -> Result<Library> {
        let params = self.params.resolve().unwrap();
        let request = Ok(Request { name, params: &params });
        self.session.jit_on(self.comm, &self.state, request, &mut host())
    }
}

const NINE: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

fn leases(setup: Setup<'_>) -> usize {
    let dirs = fs::read_dir(setup.root).unwrap().map(|dir| dir.unwrap().path().join("lease"));
    dirs.filter_map(|dir| Some(fs::read_dir(dir).ok()?.count())).sum()
}

#[test]
fn nine_modules_are_started_and_finished_in_another_order() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let builds = run(size, |comm| {
            let compiler = OverlapCompiler::new(1);
            let rank = TestRank::new(comm, setup, Fault::None).with(&compiler);
            let mut pending: Vec<Pending> = NINE.iter().map(|name| rank.start(name).unwrap()).collect();
            // The middle, then from the end.
            let middle = pending.remove(4);
            for pending in std::iter::once(middle).chain(pending.into_iter().rev()) {
                let name = pending.name().to_owned();
                assert_eq!(rank.finish(pending).unwrap().signature(), name, "{context}");
            }
            let before = comm.collectives();
            let again = rank.finish(rank.start("c").unwrap()).unwrap();
            assert_eq!((again.origin(), comm.collectives()), (Origin::Memory, before), "{context}");
            compiler.builds.load(Ordering::SeqCst)
        });
        assert_eq!(builds.iter().sum::<usize>(), 9 * expected_builds(size, setup), "{context}: {builds:?}");
        if setup.buildon == "node" {
            let (most, least) = (builds.iter().max().unwrap(), builds.iter().min().unwrap());
            assert!(most - least <= 1 || setup.dirs > 1, "assigned in turn: {context}: {builds:?}");
            assert!(*least > 0, "{context}: {builds:?}");
        }
        assert_eq!(leases(setup), 0, "{context}");
        let warm = run(size, |comm| {
            let compiler = OverlapCompiler::new(1);
            let rank = TestRank::new(comm, setup, Fault::None).with(&compiler);
            let pending: Vec<Pending> = NINE.iter().map(|name| rank.start(name).unwrap()).collect();
            for pending in pending {
                assert_eq!(rank.finish(pending).unwrap().origin(), Origin::Disk);
            }
            compiler.builds.load(Ordering::SeqCst)
        });
        assert!(warm.iter().all(|builds| *builds == 0), "{context}");
    });
}

#[test]
fn progress_counts_builds_from_generate_to_the_end_and_no_hits() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None).with(&OverlapCompiler::new(1));
        assert_eq!(rank.session.progress(), (0, 0));
        let endless = rank.start("endless").unwrap();
        assert_eq!(rank.session.progress(), (0, 1), "it is under way");
        assert!(rank.whole("a").is_ok() && rank.whole("a").is_ok());
        assert_eq!(rank.session.progress(), (1, 2), "the second call is a hit");
        assert!(rank.whole("refused").is_err() && rank.whole("ungenerated").is_err());
        assert_eq!(rank.session.progress(), (3, 4), "a failure ends a build");
        drop(rank.start("ungenerated_too").unwrap());
        assert_eq!(rank.session.progress(), (4, 5));
        drop(endless);
        let begin = Instant::now();
        while rank.session.progress() != (5, 5) {
            assert!(begin.elapsed() < Duration::from_secs(60), "a build that is given up ends");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn compilers_run_at_the_same_time() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let compiler = OverlapCompiler::new(3);
    run(1, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None).with(&compiler);
        let pending: Vec<Pending> = NINE.iter().map(|name| rank.start(name).unwrap()).collect();
        pending.into_iter().for_each(|pending| drop(rank.finish(pending).unwrap()));
    });
    // No more than there are slots for.
    let most = compiler.max_running.load(Ordering::SeqCst);
    assert!((3..=4).contains(&most), "{most}");
}

#[test]
fn one_of_three_that_fails_is_the_same_error_everywhere_and_leaves_the_others_alone() {
    let faults = [
        ("ungenerated", Kind::Generate, "this cannot be generated"),
        ("panics", Kind::Internal, "generate breaks"),
        ("refused", Kind::Compile, "error: refused"),
    ];
    for (bad, kind, text) in faults {
        everywhere(|size, setup| {
            let context = format!("{bad} {size} {setup:?}");
            let results = run(size, |comm| {
                let rank = TestRank::new(comm, setup, Fault::None).with(&OverlapCompiler::new(1));
                let pending: Vec<Pending> =
                    ["first", bad, "third"].iter().map(|name| rank.start(name).unwrap()).collect();
                let mut results: Vec<Result<Library>> =
                    pending.into_iter().map(|pending| rank.finish(pending)).collect();
                assert!(results[0].is_ok() && results[2].is_ok(), "{context}: {results:?}");
                assert!(rank.whole("fourth").is_ok(), "{context}");
                results.swap_remove(1)
            });
            let error = same_error(&results, &context);
            assert_eq!(error.kind(), kind, "{context}: {error}");
            assert!(error.message().contains(text), "{context}: {error}");
            assert_eq!(leases(setup), 0, "{context}");
        });
    }
}

/// If the last rank makes another call, all ranks have the error, and can go on.
#[test]
fn ranks_that_make_different_calls_find_out_together() {
    type Other = fn(&TestRank<'_>, Vec<Pending>) -> Result<Library>;
    let others: [(&str, Other); 4] = [
        ("finishes the build of \"a\", rank 2 that of \"b\"", |rank, mut pending| {
            rank.finish(pending.remove(1))
        }),
        ("rank 2 calls dijitso_jit for \"c\"", |rank, _| rank.whole("c")),
        ("rank 2 calls dijitso_jit_start for \"c\"", |rank, _| {
            rank.start("c").and_then(|pending| rank.finish(pending))
        }),
        ("bad on this rank", |rank, mut pending| {
            let bad = Err(Error::new(Kind::RanksDisagree, "bad on this rank"));
            rank.session.finish_on(rank.comm, &rank.state, pending.remove(0), bad, &mut host())
        }),
    ];
    for (words, other) in others {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        let results = run(3, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None).with(&OverlapCompiler::new(1));
            let mut pending = vec![rank.start("a").unwrap(), rank.start("b").unwrap()];
            let result =
                if comm.rank() == 2 { other(&rank, pending) } else { rank.finish(pending.swap_remove(0)) };
            assert!(rank.whole("a").is_ok(), "{words}");
            result
        });
        let error = same_error(&results, words);
        assert_eq!(error.kind(), Kind::RanksDisagree, "{words}: {error}");
        assert!(error.message().contains(words), "{words}: {error}");
    }
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(3, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None).with(&OverlapCompiler::new(1));
        rank.start(if comm.rank() == 1 { "b" } else { "a" }).and_then(|pending| rank.finish(pending))
    });
    assert_eq!(same_error(&results, "names").kind(), Kind::RanksDisagree);
}

#[test]
fn a_cancelled_build_ends_and_leaves_no_files() {
    everywhere(|size, setup| {
        run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None).with(&OverlapCompiler::new(1));
            // More than there are threads: some never run.
            let endless: Vec<Pending> =
                (0..6).map(|number| rank.start(&format!("endless{number}")).unwrap()).collect();
            let wanted = rank.start("wanted").unwrap();
            drop(endless);
            assert!(rank.finish(wanted).is_ok());
        });
        let begin = Instant::now();
        while leases(setup) > 0 {
            assert!(begin.elapsed() < Duration::from_secs(60), "leases are left: {setup:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let failures = |dir: &Path| {
            fs::read_dir(dir)
                .unwrap()
                .any(|file| file.unwrap().file_name().to_string_lossy().contains("failure"))
        };
        let dirs = fs::read_dir(setup.root).unwrap().map(|dir| dir.unwrap().path());
        assert!(!dirs.filter(|dir| dir.is_dir()).any(|dir| failures(&dir)), "{setup:?}");
    });
}

#[test]
fn a_library_that_is_started_twice_is_built_once() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let builds = run(size, |comm| {
            let compiler = OverlapCompiler::new(1);
            let rank = TestRank::new(comm, setup, Fault::None).with(&compiler);
            let (first, second) = (rank.start("a").unwrap(), rank.start("a").unwrap());
            // A whole call between them waits for the same build.
            let whole = rank.whole("a").unwrap();
            let again = rank.finish(second).unwrap();
            assert_eq!(again.path(), whole.path());
            assert_eq!(rank.finish(first).unwrap().path(), whole.path());
            compiler.builds.load(Ordering::SeqCst)
        });
        assert_eq!(builds.iter().sum::<usize>(), expected_builds(size, setup), "{context}: {builds:?}");
    });
}

/// Without a communicator, and within `generate`.
mod without_communicator {
    use super::*;

    /// Runs a program of one process with this compiler, in a cache of its own.
    fn program<T: Send>(
        compiler: &Arc<OverlapCompiler>,
        with: impl Fn(&TestRank<'_>, &Resolved) -> T + Sync,
    ) -> T {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        let mut results = run(1, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None).with(compiler);
            let params = rank.params.resolve().unwrap();
            with(&rank, &params)
        });
        results.remove(0)
    }

    #[test]
    fn calls_without_a_communicator_are_started_too() {
        let compiler = OverlapCompiler::new(2);
        program(&compiler, |rank, params| {
            let start = |name| rank.session.start(Ok(Request { name, params }), &mut host()).unwrap();
            let pending = [start("a"), start("refused"), start("b")];
            let results: Vec<Result<Library>> =
                pending.into_iter().map(|pending| rank.session.finish(pending, &mut host())).collect();
            let kinds: Vec<Option<Kind>> =
                results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect();
            assert_eq!(kinds, [None, Some(Kind::Compile), None]);
            let again = rank.session.finish(start("a"), &mut host()).unwrap();
            assert_eq!(again.origin(), Origin::Memory);
        });
        assert!(compiler.max_running.load(Ordering::SeqCst) >= 2);
    }

    /// If another program builds the library, the start does not wait. The finish waits, and builds if that
    /// one fails.
    #[test]
    fn a_build_of_another_program_is_awaited_by_the_finish() {
        program(&OverlapCompiler::new(1), |rank, params| {
            let cache = Cache::new(&params.cache.cache_dir, &params.cache);
            let path = cache.layout().lease("a");
            let tree = Arc::new(cache.open_or_make().unwrap());
            let other =
                std::thread::spawn(move || lease::take(&tree, &path, Duration::from_secs(60), || false));
            let Acquire::Acquired(lease) = other.join().unwrap() else { panic!("not acquired") };
            let asked = AtomicUsize::new(0);
            let callbacks = || {
                generator(|_, source| {
                    asked.fetch_add(1, Ordering::SeqCst);
                    source.code = Some(b"code".to_vec());
                    Ok(())
                })
            };
            let request = Request { name: "a", params };
            let pending = rank.session.start(Ok(request), &mut callbacks()).unwrap();
            assert_eq!(asked.load(Ordering::SeqCst), 0);
            drop(lease);
            let library = rank.session.finish(pending, &mut callbacks()).unwrap();
            assert_eq!((library.origin(), asked.load(Ordering::SeqCst)), (Origin::Built, 1));
        });
    }

    /// The end of two nested builds that a `generate` has started.
    #[derive(Clone, Copy, PartialEq)]
    enum NestedEnd {
        BothFinished,
        OneLeft,
        OneDropped,
    }

    fn parent(rank: &TestRank<'_>, params: &Resolved, end: NestedEnd) -> Result<Library> {
        let mut left = None;
        let mut callbacks = generator(|_, source| {
            let start = |name| rank.session.start(Ok(Request { name, params }), &mut host()).map_err(|_| 1);
            let (one, two) = (start("one")?, start("two")?);
            let one = rank.session.finish(one, &mut host()).map_err(|_| 2)?;
            source.dependencies.push(one.signature().to_owned());
            match end {
                NestedEnd::BothFinished => {
                    let two = rank.session.finish(two, &mut host()).map_err(|_| 2)?;
                    source.dependencies.push(two.signature().to_owned());
                }
                NestedEnd::OneLeft => left = Some(two),
                NestedEnd::OneDropped => drop(two),
            }
            source.code = Some(b"parent".to_vec());
            Ok(())
        });
        let result = rank.session.jit(Ok(Request { name: "parent", params }), &mut callbacks);
        drop(callbacks);
        if let Some(left) = left {
            let late = rank.session.finish(left, &mut host()).unwrap_err();
            assert_eq!(late.kind(), Kind::State, "{late}");
        }
        result
    }

    #[test]
    fn nested_builds_run_at_the_same_time() {
        let compiler = OverlapCompiler::new(2);
        program(&compiler, |rank, params| {
            assert!(parent(rank, params, NestedEnd::BothFinished).is_ok());
        });
        assert!(compiler.max_running.load(Ordering::SeqCst) >= 2);
        let compiler = OverlapCompiler::new(1);
        program(&compiler, |rank, params| {
            assert!(parent(rank, params, NestedEnd::OneDropped).is_ok());
        });
    }

    #[test]
    fn a_generate_that_leaves_builds_unfinished_fails() {
        program(&OverlapCompiler::new(1), |rank, params| {
            let error = parent(rank, params, NestedEnd::OneLeft).unwrap_err();
            assert_eq!(error.kind(), Kind::Generate, "{error}");
            assert!(error.message().contains("has started 1 builds that it has not finished"), "{error}");
            assert!(parent(rank, params, NestedEnd::BothFinished).is_ok());
        });
    }

    #[test]
    fn a_build_from_outside_cannot_be_finished_within_a_generate() {
        program(&OverlapCompiler::new(1), |rank, params| {
            let outside = rank.session.start(Ok(Request { name: "outside", params }), &mut host()).unwrap();
            let mut outside = Some(outside);
            let mut callbacks = generator(|_, source| {
                let error = rank.session.finish(outside.take().unwrap(), &mut host()).unwrap_err();
                assert_eq!(error.kind(), Kind::State);
                source.error = Some(error.message().to_owned());
                Err(1)
            });
            let error = rank.session.jit(Ok(Request { name: "parent", params }), &mut callbacks).unwrap_err();
            assert!(error.message().contains("was started outside of this generate"), "{error}");
        });
    }
}
