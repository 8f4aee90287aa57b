//! At its first call a program gets, on all hosts, the libraries of its last run.

use std::time::Duration;

use super::node_staging::RecordingLoader;
use super::*;
use crate::fsutil::FileId;
use crate::fsutil::faults::{Op, Rule, watch, with};
use crate::parallel::threads::run_on_hosts;

/// One call of a rank.
#[derive(Debug)]
struct Hit {
    origin: Origin,
    /// The number of times that this rank opened, made or named files of the cache.
    accesses: usize,
    collectives: usize,
    is_staged: bool,
}

/// The calls of one rank.
#[derive(Debug)]
struct Run {
    hits: Vec<Hit>,
    builds: usize,
    /// The folders of all hosts between the calls, and the bytes in them.
    staged: (usize, u64),
}

struct Program<'a> {
    root: &'a Path,
    hosts: &'a [&'a str],
    settings: &'a [(&'a str, &'a str)],
}

const HOSTS: [&str; 4] = ["a", "a", "b", "b"];
const FORMS: [&str; 3] = ["form0", "form1", "form2"];

impl<'a> Program<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, hosts: &HOSTS, settings: &[] }
    }

    /// Runs the program: a call for each of `names`, which are linked to "element".
    fn run(&self, names: &[&str]) -> Vec<Run> {
        self.run_with(names, |_| Vec::new())
    }

    fn run_with(&self, names: &[&str], faults: impl Fn(usize) -> Vec<Rule> + Sync) -> Vec<Run> {
        let stage = self.root.join("stage");
        let runs = run_on_hosts(self.hosts, |comm| {
            let mut rank = TestRank::new(comm, Setup::one_dir(self.root), Fault::None);
            rank.params.set("cache.node_stage_dir", &stage.display().to_string()).unwrap();
            rank.params.set("cache.distribute", "on").unwrap();
            // The counts of all tests are written at times that depend on the clock.
            rank.params.set("cache.stats", "false").unwrap();
            self.settings.iter().for_each(|(key, value)| rank.params.set(key, value).unwrap());
            let params = rank.params.resolve().unwrap();
            let loader = Arc::new(RecordingLoader::default());
            rank.set_loader(loader.clone());
            let call = |name: &&str| {
                let mut callbacks = generator(|asked, source| {
                    source.code = Some(asked.name.as_bytes().to_vec());
                    if asked.name != "element" {
                        source.dependencies.push("element".to_owned());
                    }
                    Ok(())
                });
                comm.min(&mut [0]).unwrap();
                let before = comm.collectives();
                let request = Request { name, params: &params };
                let (library, accesses) = watch(&self.cache(), || {
                    rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks)
                });
                comm.min(&mut [0]).unwrap();
                let collectives = comm.collectives() - before - 1;
                let library = library.unwrap();
                let name = library.path().file_name().unwrap().to_owned();
                let loaded = lock(&loader.loaded);
                let from = loaded.iter().rfind(|path| path.file_name() == Some(&name));
                let is_staged = from.is_some_and(|path| path.starts_with(&stage));
                Hit { origin: library.origin(), accesses, collectives, is_staged }
            };
            with(faults(comm.rank()), || {
                let hits = names.iter().map(call).collect();
                comm.min(&mut [0]).unwrap();
                let staged = sizes(&stage);
                comm.min(&mut [0]).unwrap();
                rank.session.end_runs();
                Run { hits, builds: rank.builds(), staged }
            })
        });
        assert_eq!(sizes(&stage), (0, 0), "the folders are removed at the end");
        runs
    }

    fn cache(&self) -> PathBuf {
        self.root.join("cache0")
    }

    fn lists(&self) -> usize {
        self.written().iter().filter(|path| path.extension().is_none()).count()
    }

    /// The pack of the last run.
    fn pack(&self) -> Option<PathBuf> {
        self.written().into_iter().find(|path| path.extension().is_some_and(|end| end == "pack"))
    }

    fn written(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.cache().join("runs"));
        runs.map_or(Vec::new(), |all| all.flatten().map(|file| file.path()).collect())
    }

    /// Makes the entries and a list of them.
    fn first(&self) {
        self.run(&["element", "form0", "form1", "form2"]);
    }
}

/// Returns the number of folders, and the bytes of libraries in them.
fn sizes(stage: &Path) -> (usize, u64) {
    let folders: Vec<_> = fs::read_dir(stage).map_or(Vec::new(), |all| all.flatten().collect());
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten());
    (folders.len(), files.map(|file| file.metadata().unwrap().len()).sum())
}

fn on_rank(at: usize, root: PathBuf, ops: &'static [Op], errno: i32) -> impl Fn(usize) -> Vec<Rule> + Sync {
    let rule = Rule { root, ops, errno };
    move |rank| if rank == at { vec![rule.clone()] } else { Vec::new() }
}

#[test]
fn later_hits_read_no_shared_file_and_send_nothing() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    assert_eq!(program.lists(), 1);
    let runs = program.run(&FORMS);
    for (rank, run) in runs.iter().enumerate() {
        assert_eq!((run.builds, run.staged.0), (0, 2), "one folder for each host: {run:?}");
        for (at, hit) in run.hits.iter().enumerate() {
            assert!(hit.origin == Origin::Disk && hit.is_staged, "{rank}: {run:?}");
            assert_eq!(hit.accesses > 0, rank == 0 && at == 0, "{rank}: {run:?}");
            if at > 0 {
                assert_eq!(hit.collectives, 1, "the agreement that all have loaded it");
            }
        }
    }
    assert_eq!(program.lists(), 1, "nothing new");
}

#[test]
fn without_a_list_nothing_is_sent() {
    let root = scratch();
    let program = Program { settings: &[("cache.prefetch_max_size", "0")], ..Program::new(root.path()) };
    program.first();
    assert_eq!(program.lists(), 0, "the limit turns it off");
    let without = program.run(&FORMS);
    assert!(without.iter().all(|run| run.staged == (0, 0) && run.hits[0].is_staged));
    let program = Program::new(root.path());
    let first = program.run(&FORMS);
    assert_eq!(first[0].hits[0].collectives, without[0].hits[0].collectives, "no message more");
    assert_eq!((first[0].staged.0, program.lists()), (0, 1));
    assert_eq!(program.run(&FORMS)[0].staged.0, 2);
}

#[test]
fn the_limit_is_kept() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    let whole = program.run(&FORMS)[0].staged.1;
    for part in [2, 3, 5, 100] {
        // A folder for each of two hosts.
        let limit = whole / 2 / part;
        let limited = [("cache.prefetch_max_size", &*limit.to_string())];
        let program = Program { settings: &limited, ..Program::new(root.path()) };
        let runs = program.run(&FORMS);
        assert!(runs.iter().all(|run| run.builds == 0 && run.staged.1 <= 2 * limit), "{runs:?}");
        assert!(runs.iter().all(|run| run.hits.iter().all(|hit| hit.origin == Origin::Disk)));
        // What does not fit is read and sent when it is asked for.
        let reads = runs[0].hits[1..].iter().filter(|hit| hit.accesses > 0).count();
        assert_eq!(reads > 0, part > 2 || runs[0].staged.1 < whole, "{part}: {runs:?}");
    }
}

#[test]
fn an_entry_that_was_removed_or_damaged_is_built_again() {
    for fault in [EntryFault::Missing, EntryFault::Cut, EntryFault::Flipped] {
        let root = scratch();
        let program = Program::new(root.path());
        program.run(&["element", "form", "form0"]);
        damage(&program.cache(), fault);
        let runs = program.run(&["form0", "form"]);
        assert_eq!(runs.iter().map(|run| run.builds).sum::<usize>(), 1, "{fault:?}: {runs:?}");
        assert!(runs.iter().all(|run| run.hits[0].is_staged), "{runs:?}");
        assert_eq!(program.run(&["form0", "form"])[0].builds, 0);
    }
}

#[test]
fn a_frozen_cache_gets_no_list() {
    let root = scratch();
    let off = Program { settings: &[("cache.prefetch_max_size", "0")], ..Program::new(root.path()) };
    off.first();
    let frozen = Program { settings: &[("cache.frozen", "true")], ..Program::new(root.path()) };
    frozen.run(&FORMS);
    assert_eq!(frozen.lists(), 0);
    assert_eq!(frozen.run(&FORMS)[0].staged.0, 0);
}

/// One host has no place. It reads the cache for its hits, and the others do not notice.
#[test]
fn a_host_that_cannot_stage_reads_the_cache() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    for at in [0, 2] {
        let full = on_rank(at, root.path().join("stage"), &[Op::Write], libc::ENOSPC);
        for (rank, run) in program.run_with(&FORMS, full).iter().enumerate() {
            let reads = rank / 2 == at / 2;
            for hit in &run.hits {
                assert_eq!((hit.origin, hit.is_staged), (Origin::Disk, !reads), "{at}: {rank}: {run:?}");
            }
            assert_eq!(run.hits[1].accesses > 0, reads, "{at}: {rank}: {run:?}");
            assert_eq!(run.hits[1].collectives, 1);
        }
    }
}

#[test]
fn a_follower_that_does_not_see_the_files_reads_the_cache() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    let blind = on_rank(3, root.path().join("stage"), &[Op::Read], libc::EACCES);
    for (rank, run) in program.run_with(&FORMS, blind).iter().enumerate() {
        assert!(run.hits.iter().all(|hit| hit.is_staged == (rank != 3)), "{rank}: {run:?}");
    }
}

#[test]
fn a_list_that_is_damaged_or_cannot_be_read_is_no_list() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    let runs = program.cache().join("runs");
    let unreadable = on_rank(0, runs.clone(), &[Op::Read], libc::EIO);
    let calls = program.run_with(&FORMS, unreadable);
    assert!(calls.iter().all(|run| run.staged.0 == 0 && run.hits.iter().all(|hit| hit.is_staged)));
    for list in fs::read_dir(&runs).unwrap() {
        fs::write(list.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(program.run(&FORMS)[0].staged.0, 0);
    assert_eq!((program.run(&FORMS)[0].staged.0, program.lists()), (2, 1), "it was replaced");
}

/// Rank 0 reads the entries in the list, and one of them fails on the way.
#[test]
fn an_entry_that_cannot_be_read_is_left_out() {
    let root = scratch();
    let program = Program::new(root.path());
    program.first();
    let lib = program.cache().join("lib/libdijitso-form1.so");
    let unreadable = on_rank(0, lib, &[Op::Read], libc::EIO);
    let runs = program.run_with(&["form0", "form2"], unreadable);
    assert!(runs.iter().all(|run| run.staged.0 == 2 && run.hits.iter().all(|hit| hit.is_staged)));
}

/// Makes entries and a pack of them.
fn packed(program: &Program<'_>, names: &[&str]) {
    program.run(&[&["element"], names].concat());
    // What changes within a tick of the clock would not show.
    std::thread::sleep(Duration::from_millis(2100));
    program.run(names);
    assert!(program.pack().is_some());
}

#[test]
fn a_run_reads_one_file_however_many_libraries_it_uses() {
    let names: Vec<String> = (0..12).map(|number| format!("form{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let counts = [1, 12].map(|count| {
        let root = scratch();
        let program = Program::new(root.path());
        packed(&program, &names[..count]);
        let before = fs::metadata(program.pack().unwrap()).unwrap();
        let runs = program.run(&names[..count]);
        assert!(runs.iter().all(|run| run.builds == 0 && run.hits.iter().all(|hit| hit.is_staged)));
        let after = fs::metadata(program.pack().unwrap()).unwrap();
        assert_eq!(FileId::new(&before), FileId::new(&after), "it is right, and not written again");
        runs[0].hits.iter().map(|hit| hit.accesses).sum::<usize>()
    });
    assert_eq!(counts[0], counts[1]);
}

/// Others have removed or replaced a library since the pack was written.
#[test]
fn what_was_changed_since_is_not_taken_from_the_pack() {
    for replaced in [false, true] {
        let root = scratch();
        let program = Program::new(root.path());
        packed(&program, &["form", "form0"]);
        let lib = program.cache().join("lib/libdijitso-form.so");
        if replaced {
            let other = program.cache().join("lib/other");
            fs::write(&other, "damaged").unwrap();
            fs::rename(&other, &lib).unwrap();
        } else {
            fs::remove_file(&lib).unwrap();
        }
        let runs = program.run(&["form0", "form"]);
        assert_eq!(runs.iter().map(|run| run.builds).sum::<usize>(), 1, "{replaced}: {runs:?}");
        assert!(runs.iter().all(|run| run.hits[0].is_staged));
        assert_eq!(program.run(&["form0", "form"])[0].builds, 0);
    }
}

#[test]
fn a_pack_that_is_damaged_is_read_over_and_written_again() {
    for from_end in [1, 200_000] {
        let root = scratch();
        let program = Program::new(root.path());
        packed(&program, &FORMS);
        let pack = program.pack().unwrap();
        let mut content = fs::read(&pack).unwrap();
        // In the last library, and in the frame.
        let at = content.len().saturating_sub(from_end).max(14);
        content[at] ^= 1;
        fs::write(&pack, &content).unwrap();
        let runs = program.run(&FORMS);
        assert!(
            runs.iter().all(|run| run.builds == 0 && run.hits.iter().all(|hit| hit.is_staged)),
            "{runs:?}"
        );
        assert_ne!(fs::read(&pack).unwrap(), content, "{from_end}");
    }
}

#[test]
fn a_pack_keeps_the_limit() {
    let root = scratch();
    let program = Program::new(root.path());
    packed(&program, &FORMS);
    let whole = program.run(&FORMS)[0].staged.1;
    let limited = [("cache.prefetch_max_size", &*(whole / 4).to_string())];
    let program = Program { settings: &limited, ..Program::new(root.path()) };
    for _ in 0..2 {
        let runs = program.run(&FORMS);
        assert!(runs.iter().all(|run| run.builds == 0 && run.staged.1 <= whole / 2), "{runs:?}");
    }
}

/// Another program has published something, so the directory of libraries is another one than before.
#[test]
fn a_library_that_is_the_same_is_taken_from_the_pack_if_others_have_changed() {
    let root = scratch();
    let program = Program::new(root.path());
    packed(&program, &FORMS);
    fs::write(program.cache().join("lib/libdijitso-other.so"), "").unwrap();
    let unreadable = on_rank(0, program.cache().join("lib"), &[Op::Read], libc::EIO);
    let runs = program.run_with(&FORMS, unreadable);
    assert!(runs.iter().all(|run| run.builds == 0 && run.hits.iter().all(|hit| hit.is_staged)), "{runs:?}");
}
