//! Leases of threads, of processes that are dead, and of hosts that cannot be asked.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

const LONG: Duration = Duration::from_secs(60);

/// The cache tree at the first existing directory above this path.
fn tree(path: &Path) -> Arc<Tree> {
    let dir = path.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap();
    Arc::new(Tree::open(dir).unwrap().unwrap())
}

fn foreign(owner: ProcessId) -> Vec<u8> {
    let claim = LeaseRecord {
        format: FORMAT.to_owned(),
        owner,
        host: "host".to_owned(),
        number: 1,
        about: LeaseAbout::default(),
    };
    serde_json::to_vec(&claim).unwrap()
}

#[test]
fn one_at_a_time_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lease/form");
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let Acquire::Acquired(lease) = take(&tree(&path), &path, LONG, || false) else {
                    panic!("not ours")
                };
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(lease);
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("lease")).unwrap().count(), 0);
}

#[test]
fn whoever_does_not_want_to_wait_gets_a_lease_now_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lease/form");
    let Some(Acquire::Acquired(lease)) = try_take(&tree(&path), &path) else { panic!("not ours") };
    assert!(
        matches!(try_take(&tree(&path), &path), Some(Acquire::Unavailable(_))),
        "this thread has it already"
    );
    lease.leave_thread();
    assert!(try_take(&tree(&path), &path).is_none(), "another thread works with it");
    std::thread::spawn(move || drop(lease)).join().unwrap();
    assert!(!path.exists());
    let me = ProcessId::current();
    std::fs::write(&path, foreign(ProcessId { start: me.start + 1, ..me })).unwrap();
    assert!(matches!(try_take(&tree(&path), &path), Some(Acquire::Acquired(_))), "its owner is dead");
}

#[test]
fn a_lease_of_a_dead_process_is_taken_over_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let me = ProcessId::current();
    let dead = ProcessId { start: me.start + 1, ..me.clone() };
    // A leftover of this very process counts as one too: nobody here holds it.
    for owner in [dead, me] {
        std::fs::write(&path, foreign(owner)).unwrap();
        let begin = Instant::now();
        assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Acquired(_)));
        assert!(begin.elapsed() < LONG / 2);
    }
}

#[test]
fn a_damaged_lease_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    for text in ["", "{}", "not JSON"] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Acquired(_)), "{text}");
        assert!(!path.exists());
    }
}

#[test]
fn a_living_owner_is_waited_for_until_the_patience_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let owner = ProcessId { boot: "abcdefabcdef".to_owned(), ..ProcessId::current() };
    std::fs::write(&path, foreign(owner)).unwrap();
    assert!(matches!(
        take(&tree(&path), &path, Duration::from_millis(50), || false),
        Acquire::Unavailable(_)
    ));
    let mut looks = 0;
    let taken = take(&tree(&path), &path, LONG, || {
        looks += 1;
        looks > 3
    });
    assert!(matches!(taken, Acquire::AlreadyBuilt));
    assert!(path.exists(), "it is still its owner's");
}

#[test]
fn a_thread_does_not_wait_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let Acquire::Acquired(_lease) = take(&tree(&path), &path, LONG, || false) else { panic!("not ours") };
    assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Unavailable(_)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(
                take(&tree(&path), &path, Duration::from_millis(20), || false),
                Acquire::Unavailable(_)
            ))
        });
    });
}

#[test]
fn a_place_that_cannot_be_written_costs_the_lease_and_no_time() {
    let taken =
        take(&tree(Path::new("/proc/nonexistent/form")), Path::new("/proc/nonexistent/form"), LONG, || false);
    assert!(matches!(taken, Acquire::Unavailable(_)));
}

/// A lease that cannot be removed is not tried again and again: here a folder is in its place.
#[test]
fn a_leftover_that_cannot_be_removed_costs_the_lease_and_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    std::fs::create_dir(&path).unwrap();
    let begin = Instant::now();
    assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Unavailable(_)));
    assert!(begin.elapsed() < LONG / 2);
}

#[test]
fn an_owner_elsewhere_that_has_been_silent_for_long_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let owner = ProcessId { boot: "abcdefabcdef".to_owned(), ..ProcessId::current() };
    std::fs::write(&path, foreign(owner)).unwrap();
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - EXPIRY * 2).unwrap();
    let begin = Instant::now();
    assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Acquired(_)));
    assert!(begin.elapsed() < LONG / 2);
}

/// Stops a process as a user may do in the middle of a compile.
#[test]
fn a_stopped_owner_is_waited_for_a_few_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let owner = ProcessId { pid: child.id(), start, ..ProcessId::current() };
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    std::fs::write(&path, foreign(owner)).unwrap();
    assert!(matches!(take(&tree(&path), &path, Duration::from_secs(1), || false), Acquire::Unavailable(_)));
    let begin = Instant::now();
    assert!(matches!(take(&tree(&path), &path, LONG, || false), Acquire::Acquired(_)));
    assert!(begin.elapsed() < STOPPED + Duration::from_secs(5));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// All find out at the same time that the owner is dead; among them are those who have looked a while ago.
#[test]
fn one_of_many_takes_over_from_a_dead_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let me = ProcessId::current();
    let dead = ProcessId { start: me.start + 1, ..me };
    // Threads that share a descriptor do not share a lock.
    let tree = tree(&path);
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for _ in 0..20 {
        std::fs::write(&path, foreign(dead.clone())).unwrap();
        let start = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    start.wait();
                    let Acquire::Acquired(lease) = take(&tree, &path, LONG, || false) else {
                        panic!("not ours")
                    };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(300));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lease);
                });
            }
        });
    }
    assert_eq!(most.into_inner(), 1);
}

#[test]
fn leases_of_dead_owners_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let me = ProcessId::current();
    let dead = ProcessId { start: me.start + 1, ..me.clone() };
    let elsewhere = ProcessId { boot: "abcdefabcdef".to_owned(), ..me };
    std::fs::write(dir.path().join("dead"), foreign(dead)).unwrap();
    std::fs::write(dir.path().join("elsewhere"), foreign(elsewhere)).unwrap();
    let staged = fsutil::staging(dir.path(), FILE_MODE).unwrap();
    sweep(&tree(&dir.path().join("x")), dir.path());
    assert!(!dir.path().join("dead").exists() && dir.path().join("elsewhere").exists());
    assert!(staged.path().exists(), "somebody is about to make a lease of it");
}

/// Between a look at a dead owner's lease and its removal, another may have taken it over.
#[test]
fn a_lease_taken_over_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("form");
    let owner = ProcessId { boot: "abcdefabcdef".to_owned(), ..ProcessId::current() };
    std::fs::write(&path, foreign(owner)).unwrap();
    let stale = LeaseRecord {
        about: LeaseAbout::default(),
        format: FORMAT.to_owned(),
        owner: ProcessId::current(),
        host: "host".to_owned(),
        number: 2,
    };
    remove(&tree(&path), &path, &stale).unwrap();
    assert!(path.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
