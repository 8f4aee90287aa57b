//! A batch of signatures is looked up, staged and shared together.

use std::collections::BTreeSet;

use super::node_staging::RecordingLoader;
use super::*;
use crate::fsutil::faults::{Op, Rule, with};
use crate::jit::node_groups::{NodeGroups, Readers};
use crate::jit::node_staging::Found;
use crate::parallel::threads::run_on_hosts;

/// The result of one rank.
#[derive(Debug)]
struct Shared {
    /// For each signature: the folder that it was loaded from, "" for a miss, or the error.
    from: Vec<std::result::Result<PathBuf, String>>,
    collectives: usize,
}

/// Builds the entries `form0` to `form2`, each linked to `element`.
fn build_forms(root: &Path) {
    run(1, |comm| {
        let rank = TestRank::new(comm, Setup::one_dir(root), Fault::None);
        let params = rank.params.resolve().unwrap();
        for name in ["element", "form0", "form1", "form2"] {
            let mut callbacks = generator(|asked, source| {
                source.code = Some(asked.name.as_bytes().to_vec());
                if asked.name != "element" {
                    source.dependencies.push("element".to_owned());
                }
                Ok(())
            });
            let request = Request { name, params: &params };
            rank.session.jit_on(comm, &rank.state, Ok(request), &mut callbacks).unwrap();
        }
    });
}

/// Looks `signatures` up on ranks of these hosts, shares and loads them.
fn share(
    root: &Path,
    hosts: &[&str],
    signatures: &[&str],
    faults: impl Fn(usize) -> Vec<Rule> + Sync,
) -> Vec<Shared> {
    let stage = root.join("stage");
    let results = run_on_hosts(hosts, |comm| {
        let mut rank = TestRank::new(comm, Setup::one_dir(root), Fault::None);
        rank.params.set("cache.node_stage_dir", &stage.display().to_string()).unwrap();
        let params = rank.params.resolve().unwrap();
        let loader = Arc::new(RecordingLoader::default());
        rank.set_loader(loader.clone());
        let cache = Cache::with_shared_params(&params.cache.cache_dir, &params.cache);
        let groups = NodeGroups::default();
        let nodes = groups.get(comm, &params, Readers::OnePerHost, &[0, 0], || false).unwrap();
        let nodes = nodes.map(|(nodes, _)| nodes);
        comm.min(&mut [0]).unwrap();
        let before = comm.collectives();
        with(faults(comm.rank()), || {
            let (session, at) = (&rank.session, comm.rank());
            let found = Found::look_up_all(session, at, nodes.as_deref(), &cache, signatures);
            let found = Found::share_all(comm, nodes.as_deref(), found).unwrap();
            let load = |(found, signature): (&Result<Found>, &&str)| {
                let found = found.as_ref().map_err(|error| error.message().to_owned())?;
                let loaded = found.load(&session.libraries, at, &cache, signature, None);
                let library = loaded.map_err(|refusal| refusal.error.message().to_owned())?;
                let name = library.map(|library| library.path().file_name().unwrap().to_owned());
                let loaded = lock(&loader.loaded);
                let last = loaded.iter().rfind(|path| path.file_name() == name.as_deref());
                Ok(last.map(|path| path.parent().unwrap().to_owned()).unwrap_or_default())
            };
            let from = found.iter().zip(signatures).map(load).collect();
            comm.min(&mut [0]).unwrap();
            let collectives = comm.collectives() - before - 1;
            comm.min(&mut [0]).unwrap();
            Shared { from, collectives }
        })
    });
    assert_eq!(fs::read_dir(&stage).map_or(0, Iterator::count), 0, "the folders are removed");
    results
}

const BATCH: [&str; 4] = ["form0", "form1", "missing", "form2"];

#[test]
fn a_batch_is_one_folder_and_one_message_for_each_host() {
    let root = scratch();
    build_forms(root.path());
    let hosts = ["a", "a", "a", "b", "b", "b"];
    let results = share(root.path(), &hosts, &BATCH, |_| Vec::new());
    let mut folders = [BTreeSet::new(), BTreeSet::new()];
    for (rank, shared) in results.iter().enumerate() {
        assert_eq!(shared.collectives, 1);
        let [first, second, missing, third] = &shared.from[..] else { panic!("{shared:?}") };
        assert_eq!(missing, &Ok(PathBuf::new()));
        assert!(first.as_ref().unwrap().starts_with(root.path().join("stage")), "{shared:?}");
        folders[rank / 3].extend([first, second, third].map(|folder| folder.clone().unwrap()));
    }
    assert_eq!(folders.each_ref().map(BTreeSet::len), [1, 1], "{folders:?}");
    assert!(folders[0].is_disjoint(&folders[1]));
}

/// An error, a damaged library or one that cannot be read again concerns its signature and its host alone.
#[test]
fn a_failure_of_one_signature_leaves_the_others() {
    let root = scratch();
    build_forms(root.path());
    let lib = root.path().join("cache0/lib/libdijitso-form1.so");
    let hosts = ["a", "a", "b", "b"];
    let unreadable = |rank| {
        let rule = Rule { root: lib.clone(), ops: &[Op::Read], errno: libc::EIO };
        if rank == 2 { vec![rule] } else { Vec::new() }
    };
    let stage = root.path().join("stage");
    let staged = |shared: &Shared, at: usize| shared.from[at].as_ref().is_ok_and(|at| at.starts_with(&stage));
    for (rank, shared) in share(root.path(), &hosts, &BATCH, unreadable).iter().enumerate() {
        assert!(staged(shared, 0) && staged(shared, 3), "{rank}: {shared:?}");
        match rank {
            // The leader reports its error. Its follower has nothing to load.
            2 => assert!(shared.from[1].as_ref().is_err_and(|text| text.contains("cannot read"))),
            3 => assert_eq!(shared.from[1], Ok(PathBuf::new())),
            _ => assert!(staged(shared, 1)),
        }
    }
    fs::write(&lib, "damaged").unwrap();
    for shared in share(root.path(), &hosts, &BATCH, |_| Vec::new()) {
        assert!(staged(&shared, 0) && staged(&shared, 3), "{shared:?}");
        assert_eq!(shared.from[1], Ok(PathBuf::new()), "damaged");
    }
}

/// A host whose disk is full in the middle of the batch reads the cache; the others do not notice.
#[test]
fn a_host_without_room_reads_the_whole_batch_from_the_cache() {
    let root = scratch();
    build_forms(root.path());
    let hosts = ["a", "a", "b", "b"];
    let stage = root.path().join("stage");
    let full = |rank| {
        let rule = Rule { root: stage.clone(), ops: &[Op::Write], errno: libc::ENOSPC };
        if rank == 2 { vec![rule] } else { Vec::new() }
    };
    for (rank, shared) in share(root.path(), &hosts, &BATCH, full).iter().enumerate() {
        let expected = if rank < 2 { &stage } else { &root.path().join("cache0/lib") };
        for at in [0, 1, 3] {
            assert!(shared.from[at].as_ref().unwrap().starts_with(expected), "{rank}: {shared:?}");
        }
    }
}

/// A follower that does not see the folder reads the cache.
#[test]
fn a_follower_that_does_not_see_the_staged_files_reads_the_cache() {
    let root = scratch();
    build_forms(root.path());
    let stage = root.path().join("stage");
    let blind = |rank| {
        let rule = Rule { root: stage.clone(), ops: &[Op::Read], errno: libc::EACCES };
        if rank == 1 { vec![rule] } else { Vec::new() }
    };
    for (rank, shared) in share(root.path(), &["a"; 3], &BATCH, blind).iter().enumerate() {
        let expected = if rank != 1 { &stage } else { &root.path().join("cache0/lib") };
        for at in [0, 1, 3] {
            assert!(shared.from[at].as_ref().unwrap().starts_with(expected), "{rank}: {shared:?}");
        }
    }
}
