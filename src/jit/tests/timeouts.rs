//! Ranks that are late, or do not call at all.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

#[test]
fn a_stuck_builder_gives_all_others_the_same_error_and_itself_when_it_comes() {
    for size in [2, 5] {
        let root = tempfile::tempdir().unwrap();
        let setup = Setup::one_dir(root.path());
        let (done, wait_for_done) = channel::<()>();
        let (done, wait_for_done) = (Mutex::new(done), Mutex::new(wait_for_done));
        let results = run(size, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("parallel.timeout", "100").unwrap();
            let healthy = rank.jit("healthy", Fault::None);
            assert!(healthy.is_ok(), "{healthy:?}");
            rank.params.set("parallel.timeout", "1").unwrap();
            let mut callbacks = generator(|_, source| {
                // Stuck until the others have made all their calls.
                (1..size).for_each(|_| wait_for_done.lock().unwrap().recv().unwrap());
                source.code = Some(b"code".to_vec());
                Ok(())
            });
            let params = rank.params.resolve().unwrap();
            let request = Ok(Request { name: "form", params: &params });
            let first = rank.session.jit_on(comm, &rank.state, request, &mut callbacks).unwrap_err();
            let before = comm.collectives();
            let again = rank.jit("form", Fault::None).unwrap_err();
            let memory = rank.jit("healthy", Fault::None).unwrap_err();
            assert_eq!(comm.collectives(), before);
            if comm.rank() != 0 {
                done.lock().unwrap().send(()).unwrap();
            }
            [first, again, memory]
        });
        let [first, again, memory] = &results[0];
        assert_eq!((first.kind(), first.rank()), (Kind::Timeout, 0));
        let pid = std::process::id();
        let who = format!(
            "rank 0 of {size} on host: process {pid} is late: ranks in step \"building\" of \"form\""
        );
        assert!(first.message().starts_with(&who), "{first}");
        assert!(again == memory && again.message().ends_with(first.message()), "{again}");
        assert!(results.iter().all(|errors| errors == &results[0]));
    }
}

#[test]
fn a_rank_that_does_not_call_is_late() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup { root: root.path(), dirs: 1, buildon: "root" };
    let (done, wait_for_done) = channel::<()>();
    let (done, wait_for_done) = (Mutex::new(done), Mutex::new(wait_for_done));
    let results = run(3, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.params.set("parallel.timeout", "1").unwrap();
        if comm.rank() == 1 {
            (0..2).for_each(|_| wait_for_done.lock().unwrap().recv().unwrap());
        }
        let result = rank.jit("form", Fault::None);
        if comm.rank() != 1 {
            done.lock().unwrap().send(()).unwrap();
        }
        result
    });
    let error = same_error(&results, "rank 1 does not come");
    assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 1));
    assert!(error.message().contains("in step \"checking the call\" of \"form\""), "{error}");
}

#[test]
fn a_slow_builder_within_the_limit_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::one_dir(root.path());
    let results = run(3, |comm| {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        rank.params.set("parallel.timeout", "100").unwrap();
        let params = rank.params.resolve().unwrap();
        let mut callbacks = generator(|_, source| {
            std::thread::sleep(Duration::from_millis(100));
            source.code = Some(b"code".to_vec());
            Ok(())
        });
        let request = Ok(Request { name: "form", params: &params });
        rank.session.jit_on(comm, &rank.state, request, &mut callbacks).map(drop)
    });
    assert_eq!(results, vec![Ok(()); 3]);
}

/// The time between start and finish does not count; a rank that does not finish is late at the finish.
#[test]
fn a_rank_that_has_started_and_does_not_finish_is_late() {
    for size in [2, 3, 5] {
        let root = tempfile::tempdir().unwrap();
        let setup = Setup::one_dir(root.path());
        let (done, wait_for_done) = channel::<()>();
        let (done, wait_for_done) = (Mutex::new(done), Mutex::new(wait_for_done));
        let last = size - 1;
        let results = run(size, |comm| {
            let mut rank = TestRank::new(comm, setup, Fault::None);
            rank.params.set("parallel.timeout", "100").unwrap();
            let params = rank.params.resolve().unwrap();
            let mut host = generates(b"code");
            let mut start = |name| {
                let request = Ok(Request { name, params: &params });
                rank.session.start_on(comm, &rank.state, request, &mut host)
            };
            let (first, second) = (start("first").unwrap(), start("second").unwrap());
            if comm.rank() == last {
                // Until all others have failed both.
                (0..last).for_each(|_| wait_for_done.lock().unwrap().recv().unwrap());
            }
            let finish = |mut pending: Pending| {
                pending.set_timeout(Duration::from_secs(1));
                rank.session.finish_on(comm, &rank.state, pending, Ok(()), &mut Callbacks::default())
            };
            let errors = [finish(first).unwrap_err(), finish(second).unwrap_err()];
            if comm.rank() != last {
                done.lock().unwrap().send(()).unwrap();
            }
            errors
        });
        let [first, second] = &results[0];
        assert_eq!((first.kind(), first.rank()), (Kind::Timeout, i32::try_from(last).unwrap()), "{first}");
        assert!(first.message().contains("of \"first\""), "{first}");
        assert!(second.kind() == Kind::Timeout && second.message().ends_with(first.message()), "{second}");
        // For the last rank the communicator has failed before.
        assert!(results[..last].iter().all(|errors| errors == &results[0]));
        assert!(results[last].iter().all(|error| error.message().ends_with(first.message())));
    }
}
