//! Scenarios over ranks that are threads, with a fake compiler and a fake loader.
//!
//! Every scenario runs for each strategy, several numbers of ranks, and one, two or as many cache
//! directories. In each, all ranks have the same result, and the next call without a fault succeeds.

mod cancel;
mod cancel_ranks;
mod check_source;
mod counting;
mod defects;
mod fakes;
mod frozen;
mod isa_groups;
mod local;
mod many;
mod matrix;
mod nested;
mod node_staging;
mod old_layout;
mod one_reader;
mod pending;
mod prefetch;
mod preflight;
mod recorder;
mod refusal;
mod share_all;
mod source_text;
mod timeouts;
mod transport;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fakes::{EvictingLoader, FakeCompiler, FakeImage, FakeLoader, fake_library};

use super::callbacks::GenerateRequest;
use super::*;
use crate::cache::layout::Category;
use crate::cache::record;
use crate::cache::{Lookup, Verify};
use crate::elf::sample::sample;
use crate::error::{Error, Kind};
use crate::load::{Image, Loader};
use crate::parallel::threads::{ThreadComm, run};
use crate::parallel::{Communicator, agree};
use crate::params::{Environment, Params};
use crate::process::{Command, Exit, Outcome, Runner};
use crate::sync::lock;

/// A fault, and the rank that has it if it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    GenerateFails,
    GeneratePanics,
    GenerateGivesNothing,
    NoGenerate,
    CompilerMissing,
    CompileError,
    CompilerKilled,
    LoadFails(usize),
    NameDiffers(usize),
    ParamsDiffer(usize),
    CallbacksDiffer(usize),
    BadArguments(usize),
}

/// A rank, as a process of its own.
struct TestRank<'a> {
    comm: &'a ThreadComm,
    session: Session,
    compiler: Arc<FakeCompiler>,
    state: CommState,
    params: Params,
}

/// Returns the callbacks of a host that only generates.
fn generator<'a>(
    generate: impl FnMut(GenerateRequest<'_>, &mut Source) -> std::result::Result<(), i32> + 'a,
) -> Callbacks<'a> {
    Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() }
}

/// Returns the callbacks of a host that generates this code.
fn generates<'a>(code: &'static [u8]) -> Callbacks<'a> {
    generator(move |_, source| {
        source.code = Some(code.to_vec());
        Ok(())
    })
}

/// Returns parameters that do not depend on the environment. Relative paths are below `root`.
pub(super) fn test_params(root: &Path, settings: &[(&str, &str)]) -> Params {
    let environment = Environment {
        variables: [("HOME", "/nonexistent".to_owned())].into(),
        cwd: root.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        system_dir: "/nonexistent".into(),
    };
    let mut params = Params::in_environment(&environment).unwrap();
    settings.iter().for_each(|(key, value)| params.set(key, value).unwrap());
    params
}

/// The setup that all ranks of a scenario share.
#[derive(Clone, Copy, Debug)]
struct Setup<'a> {
    root: &'a Path,
    dirs: usize,
    buildon: &'static str,
}

impl<'a> Setup<'a> {
    /// All ranks share one cache directory; strategy "node".
    fn one_dir(root: &'a Path) -> Self {
        Self { root, dirs: 1, buildon: "node" }
    }
}

impl<'a> TestRank<'a> {
    fn new(comm: &'a ThreadComm, setup: Setup<'_>, fault: Fault) -> Self {
        let compiler = FakeCompiler::new(fault);
        let loader = Arc::new(FakeLoader { fails: fault == Fault::LoadFails(comm.rank()) });
        let params = test_params(
            setup.root,
            &[
                ("cache.cache_dir", &format!("cache{}", comm.rank() % setup.dirs)),
                ("parallel.buildon", setup.buildon),
                ("cache.signature", "name"),
                ("build.cxx", "/nonexistent/fake"),
                // Two scenarios may give the same source to fake compilers with different faults.
                ("cache.failure_ttl", "0"),
            ],
        );
        let session = Session::new(compiler.clone(), loader);
        Self { comm, session, compiler, state: CommState::default(), params }
    }

    /// Replaces the session by one with this loader.
    fn set_loader(&mut self, loader: Arc<dyn Loader>) {
        self.session = Session::new(self.compiler.clone(), loader);
    }

    /// Returns how often the compiler has built.
    fn builds(&self) -> usize {
        self.compiler.builds.load(Ordering::SeqCst)
    }

    fn jit(&self, name: &str, fault: Fault) -> Result<Library> {
        let rank = self.comm.rank();
        let name = if fault == Fault::NameDiffers(rank) { "other" } else { name };
        let mut params = self.params.clone();
        if fault == Fault::ParamsDiffer(rank) {
            params.set("build.cxxflags", "-O0").unwrap();
        }
        let mut callbacks = Callbacks::default();
        if fault != Fault::NoGenerate && fault != Fault::CallbacksDiffer(rank) {
            callbacks.generate =
                Some(Box::new(move |asked: GenerateRequest<'_>, source: &mut Source| match fault {
                    Fault::GeneratePanics => panic!("generate breaks"),
                    Fault::GenerateFails => {
                        source.error = Some("100 % no".to_owned());
                        Err(7)
                    }
                    Fault::GenerateGivesNothing => Ok(()),
                    _ => {
                        source.code = Some(format!("code of {}", asked.signature).into_bytes());
                        source.header = Some(b"header".to_vec());
                        Ok(())
                    }
                }));
        }
        let params = params.resolve().unwrap();
        let request = match fault {
            Fault::BadArguments(bad) if bad == rank => Err(Error::new(Kind::Params, "bad on this rank")),
            _ => Ok(Request { name, params: &params }),
        };
        self.session.jit_on(self.comm, &self.state, request, &mut callbacks)
    }
}

/// Makes a temporary folder, in memory if possible: these tests are about order, not about disks.
fn scratch() -> tempfile::TempDir {
    let builder = tempfile::Builder::new();
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap()
}

/// Runs `program` for every strategy, number of ranks and number of directories.
fn everywhere(program: impl Fn(usize, Setup<'_>)) {
    for buildon in ["node", "root", "process"] {
        for size in [1, 2, 3, 5] {
            for dirs in [1, 2, size] {
                let root = scratch();
                program(size, Setup { root: root.path(), dirs, buildon });
            }
        }
    }
}

/// Returns the error of all ranks, which is the same byte for byte.
fn same_error<T: std::fmt::Debug>(results: &[Result<T>], context: &str) -> Error {
    let first = results[0].as_ref().expect_err(context).clone();
    for result in results {
        assert_eq!(result.as_ref().expect_err(context), &first, "{context}");
    }
    first
}

fn expected_builds(size: usize, setup: Setup<'_>) -> usize {
    match setup.buildon {
        "node" => setup.dirs.min(size),
        "root" => 1,
        _ => size,
    }
}

#[test]
fn cold_then_memory_then_warm() {
    everywhere(|size, setup| {
        let context = format!("{size} {setup:?}");
        let counts = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let library = rank.jit("form", Fault::None).unwrap();
            let before = comm.collectives();
            let again = rank.jit("form", Fault::None).unwrap();
            assert_eq!((again.origin(), comm.collectives()), (Origin::Memory, before), "{context}");
            (rank.builds(), library.origin())
        });
        let builds: usize = counts.iter().map(|(builds, _)| builds).sum();
        assert_eq!(builds, expected_builds(size, setup), "{context}");
        for (builds, origin) in &counts {
            assert_eq!(*builds == 1, *origin == Origin::Built, "{context}");
        }
        let received = counts.iter().filter(|(_, origin)| *origin == Origin::Received).count();
        let expected = if setup.buildon == "root" { setup.dirs.min(size) - 1 } else { 0 };
        assert_eq!(received, expected, "{context}");
        let warm = run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let library = rank.jit("form", Fault::NoGenerate).unwrap();
            assert_eq!(fs::read_dir(setup.root).unwrap().count(), setup.dirs.min(size));
            (rank.builds(), library.origin())
        });
        assert!(warm.iter().all(|found| *found == (0, Origin::Disk)), "{context}: {warm:?}");
    });
}

/// Defects H1, H2 and W7 of the original: a failure on a builder left the others waiting, or without a
/// library.
#[test]
fn h1_h2_w7_whatever_fails_all_ranks_say_the_same_and_can_go_on() {
    let faults = [
        (Fault::GenerateFails, Kind::Generate, "100 % no"),
        (Fault::GeneratePanics, Kind::Internal, "generate breaks"),
        (Fault::GenerateGivesNothing, Kind::Generate, "set no code"),
        (Fault::NoGenerate, Kind::InvalidArgument, "no generate callback"),
        (Fault::CompilerMissing, Kind::Compile, "was not found"),
        (Fault::CompileError, Kind::Compile, "error: 100 % \u{fffd} wrong"),
        (Fault::CompilerKilled, Kind::Compile, "signal 9"),
    ];
    for (fault, kind, text) in faults {
        everywhere(|size, setup| {
            let context = format!("{fault:?} {size} {setup:?}");
            let results = run(size, |comm| TestRank::new(comm, setup, fault).jit("form", fault));
            let error = same_error(&results, &context);
            assert_eq!(error.kind(), kind, "{context}: {error}");
            assert!(error.message().contains(text), "{context}: {error}");
            assert_eq!(error.rank(), 0, "{context}");
            let healthy = run(size, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None));
            assert!(healthy.iter().all(Result::is_ok), "{context}: {healthy:?}");
        });
    }
}

#[test]
fn one_rank_alone_is_enough_to_fail_all() {
    everywhere(|size, setup| {
        let bad = size - 1;
        let faults = [
            (Fault::LoadFails(bad), Kind::Load),
            (Fault::NameDiffers(bad), Kind::RanksDisagree),
            (Fault::ParamsDiffer(bad), Kind::RanksDisagree),
            (Fault::CallbacksDiffer(bad), Kind::RanksDisagree),
            (Fault::BadArguments(bad), Kind::Params),
        ];
        for (fault, kind) in faults {
            if size == 1 && kind == Kind::RanksDisagree {
                continue;
            }
            let context = format!("{fault:?} {size} {setup:?}");
            let results = run(size, |comm| TestRank::new(comm, setup, fault).jit("form", fault));
            let error = same_error(&results, &context);
            assert_eq!(error.kind(), kind, "{context}: {error}");
            let healthy = run(size, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None));
            assert!(healthy.iter().all(Result::is_ok), "{context}: {healthy:?}");
        }
    });
}

/// A fault of the entry in one directory, while the others are whole.
#[derive(Clone, Copy, Debug)]
enum EntryFault {
    Missing,
    Cut,
    Flipped,
    HeaderGone,
    DirectoryGone,
}

fn damage(cache: &Path, fault: EntryFault) {
    let lib = cache.join("lib/libdijitso-form.so");
    match fault {
        EntryFault::Missing => fs::remove_file(lib).unwrap(),
        EntryFault::Cut => fs::OpenOptions::new().write(true).open(lib).unwrap().set_len(20).unwrap(),
        EntryFault::Flipped => {
            let mut bytes = fs::read(&lib).unwrap();
            bytes[3] ^= 1;
            fs::write(lib, bytes).unwrap();
        }
        EntryFault::HeaderGone => fs::remove_file(cache.join("include/form.h")).unwrap(),
        EntryFault::DirectoryGone => fs::remove_dir_all(cache).unwrap(),
    }
}

/// Defects H3, H4 and H5 of the original: ranks that hit did not take part, and those that missed waited for
/// them.
#[test]
fn h3_h4_h5_a_damaged_entry_on_some_ranks_is_repaired_without_the_others() {
    use EntryFault::{Cut, DirectoryGone, Flipped, HeaderGone, Missing};
    for fault in [Missing, Cut, Flipped, HeaderGone, DirectoryGone] {
        everywhere(|size, setup| {
            // The last rank's directory, and with several directories once the root's.
            for victim in if size == 1 { vec![0] } else { vec![size - 1, 0] } {
                let context = format!("{fault:?} of {victim}: {size} {setup:?}");
                let jit = |call_fault| {
                    run(size, |comm| {
                        let rank = TestRank::new(comm, setup, Fault::None);
                        let library = rank.jit("form", call_fault)?;
                        Ok((rank.builds(), library.path().to_owned()))
                    })
                };
                let cold: Vec<Result<(usize, PathBuf)>> = jit(Fault::None);
                let lib = &cold[victim].as_ref().unwrap().1;
                damage(lib.parent().unwrap().parent().unwrap(), fault);
                let repaired = jit(Fault::None);
                let builds: usize = repaired.iter().map(|found| found.as_ref().expect(&context).0).sum();
                // With strategy root another directory has it, so nothing is compiled.
                let expected = usize::from(setup.buildon != "root" || setup.dirs.min(size) == 1);
                assert_eq!(builds, expected, "{context}");
                assert!(jit(Fault::NoGenerate).iter().all(Result::is_ok), "{context}");
            }
        });
    }
}

/// If a receiver cannot write, all ranks have its error, and no half entry is left.
#[test]
fn a_receiver_that_cannot_publish_fails_all() {
    let root = scratch();
    let setup = Setup { root: root.path(), dirs: 3, buildon: "root" };
    fs::create_dir_all(root.path().join("cache2")).unwrap();
    fs::write(root.path().join("cache2/CACHEDIR.TAG"), crate::cache::open::LINES).unwrap();
    // A file in the place of a directory stops root, too, for whom no mode is an obstacle.
    fs::write(root.path().join("cache2/include"), "").unwrap();
    let results = run(3, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None));
    let error = same_error(&results, "receiver");
    assert_eq!(error.kind(), Kind::Cache, "{error}");
    fs::remove_file(root.path().join("cache2/include")).unwrap();
    let healthy = run(3, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None));
    let origins: Vec<Origin> = healthy.into_iter().map(|library| library.unwrap().origin()).collect();
    assert_eq!(origins, [Origin::Disk, Origin::Disk, Origin::Received]);
}

#[test]
fn the_compiler_is_probed_once_by_one_rank_and_never_on_a_hit() {
    let root = scratch();
    let fake = root.path().join("fake");
    fs::write(&fake, "").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o700)).unwrap();
    let setup = Setup::one_dir(root.path());
    let probes = || -> Vec<usize> {
        run(4, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("cache.signature", "hash").unwrap();
            rank.params.set("build.cxx", fake.to_str().unwrap()).unwrap();
            rank.jit("form", Fault::None).unwrap();
            rank.jit("element", Fault::None).unwrap();
            rank.compiler.probes.load(Ordering::SeqCst)
        })
    };
    assert_eq!(probes(), [1, 0, 0, 0]);
    assert_eq!(probes(), [0, 0, 0, 0]);
    // If the compiler is gone, the cache remembers what it was.
    fs::remove_file(&fake).unwrap();
    assert_eq!(probes(), [0, 0, 0, 0]);
}

/// Two communicators of one process agree separately, and the library is loaded once.
#[test]
fn a_second_communicator_finds_the_library_in_memory() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let origins = run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        rank.jit("form", Fault::None).unwrap();
        let params = rank.params.resolve().unwrap();
        let other = CommState::default();
        let request = Request { name: "form", params: &params };
        rank.session.jit_on(comm, &other, Ok(request), &mut Callbacks::default()).unwrap().origin()
    });
    assert_eq!(origins, [Origin::Memory; 2]);
}

/// A difference between ranks must not send one into a collective that the others do not enter.
#[test]
fn a_memory_hit_does_not_depend_on_what_may_differ_between_ranks() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let origins = run(2, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.jit("form", Fault::None).unwrap();
        if comm.rank() == 0 {
            for (key, value) in
                [("build.timeout", "7"), ("cache.src_storage", "keep"), ("cache.temp_dir_root", "/x")]
            {
                rank.params.set(key, value).unwrap();
            }
        }
        rank.jit("form", Fault::NoGenerate).unwrap().origin()
    });
    assert_eq!(origins, [Origin::Memory; 2]);
}

/// Ranks that change their directories in turn never mean different groups.
#[test]
fn ranks_with_new_directories_find_out_again_who_shares_them() {
    let root = scratch();
    for buildon in ["node", "root"] {
        let setup = Setup { root: root.path(), dirs: 1, buildon };
        let results = run(2, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            let mut builds = Vec::new();
            for (round, dirs) in [["x", "z"], ["y", "y"], ["x", "y"], ["x", "y"]].iter().enumerate() {
                let dir = format!("{buildon}-{}", dirs[comm.rank()]);
                rank.params.set("cache.cache_dir", &dir).unwrap();
                let before = rank.builds();
                let library = rank.jit(&format!("form{round}"), Fault::None).unwrap();
                assert!(library.path().is_file(), "round {round}");
                builds.push(rank.builds() - before);
            }
            builds
        });
        let expected = if buildon == "node" { [[1, 1, 1, 1], [1, 0, 1, 1]] } else { [[1; 4], [0; 4]] };
        assert_eq!(results, expected, "{buildon}");
    }
}

/// Defect W12 of the original: memory knew the signature alone, not the cache directory.
#[test]
fn w12_another_cache_directory_is_another_library() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let paths = run(1, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        let first = rank.jit("form", Fault::None).unwrap();
        rank.params.set("cache.cache_dir", "elsewhere").unwrap();
        let second = rank.jit("form", Fault::None).unwrap();
        assert_eq!(second.origin(), Origin::Built);
        (first.path().to_owned(), second.path().to_owned())
    });
    assert_ne!(paths[0].0, paths[0].1);
}

/// Programs with a source that does not compile ran the compiler, or into a time limit, one after the other.
#[test]
fn a_refused_source_is_not_compiled_again_until_it_changes() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    // Each call is made by another program.
    let program = |fault, memory: &str, code: &'static str| {
        let results = run(2, |comm| {
            let mut rank = TestRank::new(comm, setup, fault);
            rank.params.set("cache.failure_ttl", memory).unwrap();
            let params = rank.params.resolve().unwrap();
            let mut callbacks = generator(|_, source| {
                source.code = Some(code.as_bytes().to_vec());
                Ok(())
            });
            let request = Request { name: "form", params: &params };
            let result = rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks);
            (result, rank.builds())
        });
        let builds: usize = results.iter().map(|(_, builds)| builds).sum();
        (results.into_iter().map(|(result, _)| result).collect::<Vec<_>>(), builds)
    };
    let (first, builds) = program(Fault::CompileError, "100", "broken");
    assert_eq!(builds, 1);
    let (second, builds) = program(Fault::CompileError, "100", "broken");
    assert_eq!(builds, 0);
    let (first, second) = (same_error(&first, "first"), same_error(&second, "second"));
    assert_eq!((first.log(), first.path(), first.rank()), (second.log(), second.path(), second.rank()));
    assert_eq!(first.message(), second.message());
    assert_eq!(program(Fault::CompileError, "0", "broken").1, 1, "it can be switched off");
    assert_eq!(program(Fault::CompileError, "100", "also broken").1, 1, "another source is tried");
    let (healthy, builds) = program(Fault::None, "100", "corrected");
    assert!(builds == 1 && healthy.iter().all(Result::is_ok));
    // A killed compiler may succeed the next time.
    fs::remove_dir_all(root.path().join("cache0")).unwrap();
    assert_eq!(program(Fault::CompilerKilled, "100", "fine").1, 2, "tried again with less optimisation");
    assert_eq!(program(Fault::None, "100", "fine").1, 1);
}

/// Eight programs that do not know each other run the compiler once.
#[test]
fn programs_that_do_not_know_each_other_build_once() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let builds = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                run(1, |comm| {
                    let rank = TestRank::new(comm, setup, Fault::None);
                    rank.jit("form", Fault::None).unwrap();
                    builds.fetch_add(rank.builds(), Ordering::SeqCst);
                });
            });
        }
    });
    assert_eq!(builds.into_inner(), 1);
    assert_eq!(fs::read_dir(root.path().join("cache0/lease")).unwrap().count(), 0);
}
