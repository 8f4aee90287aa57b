//! Ranks on different kinds of hosts: each gets the library of its kind, also if different kinds share a
//! directory.

use super::*;
use std::collections::HashSet;

/// A compiler on a host of some kind. Libraries contain the kind; native flags stand for its name.
pub(super) struct NativeCompiler {
    kind: &'static str,
    /// True if the compiler refuses everything.
    broken: bool,
    /// True if it says what native flags stand for.
    resolves: bool,
    builds: AtomicUsize,
    versions: AtomicUsize,
    questions: AtomicUsize,
}

impl NativeCompiler {
    pub(super) fn new(kind: &'static str, broken: bool, resolves: bool) -> Arc<Self> {
        let [builds, versions, questions] = std::array::from_fn(|_| AtomicUsize::new(0));
        Arc::new(Self { kind, broken, resolves, builds, versions, questions })
    }
}

impl Runner for NativeCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |exit, output: String| Ok(Outcome { exit, output: output.into_bytes() });
        let has = |word: &str| command.argv.iter().any(|other| other == word);
        if has("-###") {
            assert!(has("-march=native"), "only native flags are asked about: {:?}", command.argv);
            assert!(!has("-O3") && !has("-shared"), "other flags do not matter: {:?}", command.argv);
            self.questions.fetch_add(1, Ordering::SeqCst);
            let answer =
                format!(" /lib/cc1plus -E \"-march={}\" -mavx --param \"l1-cache-size=32\"\n", self.kind);
            return if self.resolves {
                done(Exit::Code(0), answer)
            } else {
                done(Exit::Code(1), "what?".into())
            };
        }
        let Some(at) = command.argv.iter().position(|word| word == "-o") else {
            self.versions.fetch_add(1, Ordering::SeqCst);
            return done(Exit::Code(0), "fake version 1\nTarget: test\n".into());
        };
        self.builds.fetch_add(1, Ordering::SeqCst);
        if self.broken {
            return done(Exit::Code(1), format!("x.cpp:1: error: {} cannot do this\n", self.kind));
        }
        fs::write(
            command.cwd.join(&command.argv[at + 1]),
            sample(format!("for {}\n", self.kind).as_bytes()),
        )?;
        done(Exit::Code(0), String::new())
    }
}

/// The hosts of the ranks of a scenario.
#[derive(Clone, Copy)]
struct Hosts<'a> {
    kinds: &'a [&'static str],
    /// The kind whose compiler refuses everything.
    broken: &'static str,
    resolves: bool,
    flags: &'static str,
}

const NATIVE: &str = "-O3 -shared -march=native";

/// The result of calls on one rank, with counts.
#[derive(Debug)]
struct IsaCall {
    result: Result<Library>,
    builds: usize,
    versions: usize,
    questions: usize,
    sends: usize,
    receives: usize,
    waits: usize,
    /// During the last call.
    collectives: usize,
}

impl IsaCall {
    fn library(&self) -> &Library {
        self.result.as_ref().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.library().path()).unwrap()).into_owned()
    }
}

/// Makes calls for these names one after the other, on new ranks.
fn jit(hosts: Hosts<'_>, setup: Setup<'_>, names: &[&str]) -> Vec<IsaCall> {
    let fake = setup.root.join("fake");
    if !fake.exists() {
        fs::write(&fake, "").unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o700)).unwrap();
    }
    run(hosts.kinds.len(), |comm| {
        let kind = hosts.kinds[comm.rank()];
        let compiler = NativeCompiler::new(kind, kind == hosts.broken, hosts.resolves);
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.session = Session::new(compiler.clone(), Arc::new(FakeLoader { fails: false }));
        for (key, value) in [
            ("cache.signature", "hash"),
            ("build.cxx", fake.to_str().unwrap()),
            ("build.cxxflags", hosts.flags),
            ("build.cpu", kind),
        ] {
            rank.params.set(key, value).unwrap();
        }
        let params = rank.params.resolve().unwrap();
        let mut seen = IsaCall {
            result: Err(Error::new(Kind::Internal, "no call")),
            builds: 0,
            versions: 0,
            questions: 0,
            sends: 0,
            receives: 0,
            waits: 0,
            collectives: 0,
        };
        for name in names {
            let before = comm.collectives();
            let mut callbacks = generator(|_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(b"code".to_vec());
                source.header = Some(b"header".to_vec());
                Ok(())
            });
            callbacks.send = Some(Box::new(|_: &[u8]| {
                seen.sends += 1;
                Ok(())
            }));
            callbacks.receive = Some(Box::new(|| {
                seen.receives += 1;
                Err(1)
            }));
            callbacks.wait = Some(Box::new(|| {
                seen.waits += 1;
                // The host's wait is a collective of all ranks.
                comm.min(&mut [0]).map_err(|_| 1)
            }));
            let request = Request { name, params: &params };
            let result = rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks);
            drop(callbacks);
            seen.result = result;
            seen.collectives = comm.collectives() - before;
        }
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        seen.builds = count(&compiler.builds);
        seen.versions = count(&compiler.versions);
        seen.questions = count(&compiler.questions);
        // The ranks of a group leave together.
        comm.min(&mut [0]).unwrap();
        seen
    })
}

fn sum(seen: &[IsaCall], count: impl Fn(&IsaCall) -> usize) -> usize {
    seen.iter().map(count).sum()
}

/// Returns distributions of two kinds over the ranks.
fn mixtures(size: usize) -> Vec<Vec<&'static str>> {
    let kind = |second: bool| if second { "beta" } else { "alpha" };
    vec![
        (0..size).map(|rank| kind(rank % 2 == 1)).collect(),
        (0..size).map(|rank| kind(rank >= size.div_ceil(2))).collect(),
        (0..size).map(|rank| kind(rank == 0)).collect(),
    ]
}

/// Runs `program` for every strategy, number of ranks, mixture of two kinds, and number of directories.
fn on_mixtures(program: impl Fn(&[&'static str], Setup<'_>, &str)) {
    for buildon in ["node", "root", "process"] {
        for size in [2, 3, 5] {
            for dirs in HashSet::from([1, 2, size]) {
                for kinds in mixtures(size) {
                    let root = scratch();
                    let setup = Setup { root: root.path(), dirs, buildon };
                    program(&kinds, setup, &format!("{kinds:?} {setup:?}"));
                }
            }
        }
    }
}

fn builds_of_two_kinds(kinds: &[&str], setup: Setup<'_>) -> usize {
    let places: HashSet<_> =
        kinds.iter().enumerate().map(|(rank, kind)| (rank % setup.dirs, *kind)).collect();
    match setup.buildon {
        "node" => places.len(),
        "root" => 2,
        _ => kinds.len(),
    }
}

#[test]
fn every_rank_gets_the_library_of_its_kind() {
    on_mixtures(|kinds, setup, context| {
        let hosts = Hosts { kinds, broken: "", resolves: true, flags: NATIVE };
        let cold = jit(hosts, setup, &["form"]);
        for (seen, kind) in cold.iter().zip(kinds) {
            assert!(seen.text().contains(&format!("\0for {kind}\n")), "{context}: {}", seen.text());
            assert_eq!((seen.sends, seen.receives, seen.waits), (0, 0, 1), "{context}");
        }
        let signatures: HashSet<_> = cold.iter().map(|seen| seen.library().signature()).collect();
        assert_eq!(signatures.len(), 2, "{context}");
        assert_eq!(sum(&cold, |seen| seen.builds), builds_of_two_kinds(kinds, setup), "{context}");
        assert_eq!(sum(&cold, |seen| seen.questions), 2, "{context}: one rank of each kind");
        assert!((1..=2).contains(&sum(&cold, |seen| seen.versions)), "{context}");

        let warm = jit(hosts, setup, &["form", "form"]);
        for (seen, before) in warm.iter().zip(&cold) {
            assert_eq!(seen.library().signature(), before.library().signature(), "{context}");
            assert_eq!(seen.library().path(), before.library().path(), "{context}");
            assert_eq!((seen.library().origin(), seen.collectives), (Origin::Memory, 0), "{context}");
            assert_eq!((seen.builds, seen.questions, seen.versions), (0, 0, 0), "{context}");
            assert_eq!(seen.waits, 0, "{context}");
        }
    });
}

/// Defect C21 of the original: each call made communicators, and none was freed. Here none is made: groups are
/// found once, and later calls send nothing but the agreement.
#[test]
fn c21_groups_are_found_once_and_no_communicator_is_made() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let kinds = ["alpha", "beta", "alpha"];
    let hosts = Hosts { kinds: &kinds, broken: "", resolves: true, flags: NATIVE };
    let names = ["first", "second", "third"];
    jit(hosts, setup, &names);
    let collectives = |count: usize| -> Vec<usize> {
        jit(hosts, setup, &names[..count]).iter().map(|seen| seen.collectives).collect()
    };
    assert!(collectives(1)[0] > 1, "the first call finds the groups");
    assert_eq!((collectives(2), collectives(3)), (vec![1; 3], vec![1; 3]));
}

/// Hosts that are alike take as many collectives with native flags as without; known groups take none to
/// find.
#[test]
fn hosts_that_are_alike_pay_nothing() {
    for buildon in ["node", "root", "process"] {
        let collectives = |kinds: &[&'static str], flags: &'static str, expected: usize| {
            let root = scratch();
            let setup = Setup { root: root.path(), dirs: 1, buildon };
            let seen = jit(Hosts { kinds, broken: "", resolves: true, flags }, setup, &["first", "second"]);
            let signatures: HashSet<_> = seen.iter().map(|seen| seen.library().signature()).collect();
            assert_eq!(signatures.len(), expected, "{buildon} {kinds:?} {flags}");
            (seen[0].collectives, sum(&seen, |seen| seen.questions))
        };
        let alike = ["alpha"; 4];
        let (plain, none) = collectives(&alike, "-shared", 1);
        assert_eq!(none, 0, "without native flags no rank asks");
        assert_eq!(collectives(&["alpha", "beta", "alpha", "beta"], "-shared", 1), (plain, 0));
        assert_eq!(collectives(&alike, NATIVE, 1), (plain, 1));
        // Building and transport are the group's own; two agreements of all ranks are added.
        let (groups, _) = collectives(&["alpha", "beta", "alpha", "beta"], NATIVE, 2);
        assert!(groups <= plain + 2, "{groups} {plain}");
    }
}

#[test]
fn a_kind_that_cannot_build_fails_all_ranks_with_its_error() {
    on_mixtures(|kinds, setup, context| {
        for broken in ["alpha", "beta"] {
            let hosts = Hosts { kinds, broken, resolves: true, flags: NATIVE };
            let name = format!("form_{broken}");
            let failed = jit(hosts, setup, &[&name]);
            let results: Vec<_> = failed.iter().map(|seen| seen.result.clone()).collect();
            let error = same_error(&results, context);
            let first = kinds.iter().position(|kind| *kind == broken).unwrap();
            assert_eq!((error.kind(), error.rank()), (Kind::Compile, first as i32), "{context}: {error}");
            let place = format!("rank {first} of {} on", kinds.len());
            assert!(error.message().starts_with(&place), "{context}: {error}");
            assert!(error.message().contains(&format!("{broken} cannot do this")), "{context}: {error}");
            assert!(failed.iter().all(|seen| seen.waits == 0), "{context}");

            // The other kind has its library: now one group hits and the other misses.
            let healthy = jit(Hosts { broken: "", ..hosts }, setup, &[&name]);
            for (seen, kind) in healthy.iter().zip(kinds) {
                assert!(seen.text().contains(&format!("\0for {kind}\n")), "{context}");
                assert_eq!((seen.builds > 0, seen.waits), (seen.library().origin() == Origin::Built, 1));
                assert!(*kind == broken || seen.builds == 0, "{context}: {kind} had it already");
            }
            assert!(sum(&healthy, |seen| seen.builds) > 0, "{context}");
        }
    });
}

#[test]
fn a_compiler_that_does_not_resolve_flags_builds_for_each_kind_of_processor() {
    on_mixtures(|kinds, setup, context| {
        let hosts = Hosts { kinds, broken: "", resolves: false, flags: NATIVE };
        let cold = jit(hosts, setup, &["form"]);
        for (seen, kind) in cold.iter().zip(kinds) {
            assert!(seen.text().contains(&format!("\0for {kind}\n")), "{context}: {}", seen.text());
        }
        let warm = jit(hosts, setup, &["form"]);
        assert_eq!(sum(&warm, |seen| seen.builds + seen.questions), 0, "{context}");
    });
}

/// Programs that share a cache and do not communicate.
#[test]
fn programs_on_different_hosts_do_not_load_each_others_libraries() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let mut signatures = HashSet::new();
    for kind in ["alpha", "beta", "alpha"] {
        let seen = jit(Hosts { kinds: &[kind], broken: "", resolves: true, flags: NATIVE }, setup, &["form"]);
        assert!(seen[0].text().contains(&format!("\0for {kind}\n")));
        signatures.insert(seen[0].library().signature().to_owned());
        // Each compiler is asked once for its version, and on each kind of host for its flags.
        assert_eq!(seen[0].versions, usize::from(kind == "alpha" && signatures.len() == 1));
    }
    assert_eq!(signatures.len(), 2);
}

/// Within `generate` the same compiler has the toolchain of the parent; it is asked about other flags.
#[test]
fn nested_calls_are_signed_with_what_their_own_flags_stand_for() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    fs::write(root.path().join("fake"), "").unwrap();
    fs::set_permissions(root.path().join("fake"), fs::Permissions::from_mode(0o700)).unwrap();
    let nested_flags = ["-O3 -march=native", "-O3", "-O3 -march=native -mno-avx"];
    let signatures = |parent: Option<&'static str>| {
        run(1, |comm| {
            let compiler = NativeCompiler::new("alpha", false, true);
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.session = Session::new(compiler.clone(), Arc::new(FakeLoader { fails: false }));
            rank.params.set("cache.signature", "hash").unwrap();
            rank.params.set("build.cxx", root.path().join("fake").to_str().unwrap()).unwrap();
            let with = |flags: &str| {
                let mut params = rank.params.clone();
                params.set("build.cxxflags", flags).unwrap();
                params.resolve().unwrap()
            };
            let code = |_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(b"code".to_vec());
                Ok(())
            };
            let all = || -> Vec<String> {
                let one = |flags: &&str| {
                    let request = Request { name: "element", params: &with(flags) };
                    rank.session.jit(Ok(request), &mut generator(code)).unwrap().signature().to_owned()
                };
                nested_flags.iter().map(one).collect()
            };
            let Some(parent) = parent else { return all() };
            let mut found = Vec::new();
            let mut callbacks = generator(|asked: GenerateRequest<'_>, source: &mut Source| {
                found = all();
                code(asked, source)
            });
            let request = Request { name: "form", params: &with(parent) };
            rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).unwrap();
            drop(callbacks);
            found
        })
    };
    let within = [signatures(Some(nested_flags[0])), signatures(Some("-O3 -g"))];
    let alone = signatures(None);
    assert_eq!(alone[0].iter().collect::<HashSet<_>>().len(), 3);
    // The second parent was in no cache, so that its callback ran, too.
    assert_eq!(within, [alone.clone(), alone]);
}
