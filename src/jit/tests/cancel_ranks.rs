//! Calls on a communicator that the host of one rank cancels.

use std::time::{Duration, Instant};

use super::cancel::{EndlessCompiler, SOON, after};
use super::*;
use crate::process::interrupt::Interrupt;

/// A rank with a compiler that is endless until the host says otherwise.
struct CancelRank<'a> {
    rank: TestRank<'a>,
    compiler: Arc<EndlessCompiler>,
}

impl<'a> CancelRank<'a> {
    fn new(comm: &'a ThreadComm, setup: Setup<'_>) -> Self {
        let mut rank = TestRank::new(comm, setup, Fault::None);
        let compiler = EndlessCompiler::new();
        rank.session = Session::new(compiler.clone(), Arc::new(FakeLoader { fails: false }));
        Self { rank, compiler }
    }

    fn jit(&self, name: &str, poll: Option<Interrupt>) -> Result<Library> {
        let params = self.rank.params.resolve().unwrap();
        let mut callbacks = Callbacks { poll, ..generates(b"code") };
        self.rank.session.jit_on(
            self.rank.comm,
            &self.rank.state,
            Ok(Request { name, params: &params }),
            &mut callbacks,
        )
    }

    /// Makes a call in which the compiler works.
    fn jit_again(&self) -> Result<Library> {
        self.compiler.works.store(true, Ordering::SeqCst);
        self.jit("form", None)
    }
}

fn check(first: &[Result<Library>], again: &[Result<Library>], by: Option<usize>, context: &str) {
    let error = same_error(first, context);
    assert_eq!(error.kind(), Kind::Cancelled, "{context}: {error}");
    assert!(error.message().contains("the call was cancelled by its poll callback"), "{context}: {error}");
    if let Some(by) = by {
        assert_eq!(error.rank(), i32::try_from(by).unwrap(), "{context}: {error}");
    }
    assert!(again.iter().all(Result::is_ok), "{context}: {again:?}");
}

/// Rank 0 builds, or each rank of a directory of its own. The one that cancels is a builder, one that waits,
/// the first, the last.
#[test]
fn one_rank_cancels_the_call_of_all_and_the_next_call_succeeds() {
    for size in [1, 2, 3] {
        for by in 0..size {
            for dirs in [1, size] {
                let root = scratch();
                let setup = Setup { root: root.path(), dirs, buildon: "node" };
                let context = format!("rank {by} of {size}, {dirs} directories");
                let begin = Instant::now();
                let (first, again): (Vec<_>, Vec<_>) = run(size, |comm| {
                    let rank = CancelRank::new(comm, setup);
                    let first = rank.jit("form", (comm.rank() == by).then(|| after(5)));
                    (first, rank.jit_again())
                })
                .into_iter()
                .unzip();
                check(&first, &again, Some(by), &context);
                assert!(begin.elapsed() < SOON, "{context}");
            }
        }
    }
}

#[test]
fn all_ranks_cancel_at_once_and_get_the_same_error() {
    everywhere(|size, setup| {
        let (first, again): (Vec<_>, Vec<_>) = run(size, |comm| {
            let rank = CancelRank::new(comm, setup);
            (rank.jit("form", Some(after(3))), rank.jit_again())
        })
        .into_iter()
        .unzip();
        check(&first, &again, None, &format!("{size} {setup:?}"));
    });
}

#[test]
fn a_rank_cancels_the_finish_of_a_started_call() {
    for by in 0..3 {
        let root = scratch();
        let setup = Setup::one_dir(root.path());
        let (first, again): (Vec<_>, Vec<_>) = run(3, |comm| {
            let rank = CancelRank::new(comm, setup);
            let params = rank.rank.params.resolve().unwrap();
            let (session, state) = (&rank.rank.session, &rank.rank.state);
            let request = Ok(Request { name: "form", params: &params });
            let pending = session.start_on(comm, state, request, &mut generates(b"code")).unwrap();
            let poll = (comm.rank() == by).then(|| after(5));
            let mut callbacks = Callbacks { poll, ..generates(b"code") };
            let first = session.finish_on(comm, state, pending, Ok(()), &mut callbacks);
            (first, rank.jit_again())
        })
        .into_iter()
        .unzip();
        check(&first, &again, Some(by), &format!("rank {by}"));
    }
}

/// Several libraries at once: none of them is built any more.
#[test]
fn a_rank_that_waits_cancels_a_batch() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(3, |comm| {
        let rank = CancelRank::new(comm, setup);
        let params = rank.rank.params.resolve().unwrap();
        let batch = || Ok(Batch { names: &["a", "b", "c"], params: &params });
        let (session, state) = (&rank.rank.session, &rank.rank.state);
        let poll = (comm.rank() == 2).then(|| after(5));
        let first = session.jit_many_on(comm, state, batch(), &mut Callbacks { poll, ..generates(b"code") });
        rank.compiler.works.store(true, Ordering::SeqCst);
        (first.unwrap(), session.jit_many_on(comm, state, batch(), &mut generates(b"code")).unwrap())
    });
    for at in 0..3 {
        let (first, again): (Vec<_>, Vec<_>) =
            results.iter().map(|(first, again)| (first[at].clone(), again[at].clone())).unzip();
        check(&first, &again, Some(2), "batch");
    }
}

/// A call within `generate` of the builder is ended if a rank that waits cancels.
#[test]
fn a_rank_that_waits_cancels_a_call_within_generate() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let rank = CancelRank::new(comm, setup);
        let params = rank.rank.params.resolve().unwrap();
        let session = &rank.rank.session;
        let mut callbacks = generator(|_, _| {
            let request = Ok(Request { name: "element", params: &params });
            let error = session.jit(request, &mut generates(b"element")).unwrap_err();
            assert_eq!((error.kind(), error.rank()), (Kind::Cancelled, 1));
            Err(1)
        });
        callbacks.poll = (comm.rank() == 1).then(|| after(5));
        let request = Ok(Request { name: "form", params: &params });
        session.jit_on(comm, &rank.rank.state, request, &mut callbacks)
    });
    check(&results, &[], Some(1), "nested");
}

/// A rank that is not in the call cannot be reached: the others give up, and the communicator is broken.
#[test]
fn ranks_that_wait_for_an_absent_one_give_up() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let done = Mutex::new(Some(done));
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(3, |comm| {
        let rank = CancelRank::new(comm, setup);
        if comm.rank() == 2 {
            // Until rank 0 has its error.
            let _ = wait.lock().unwrap().recv();
        }
        let begin = Instant::now();
        let first = rank.jit("form", (comm.rank() == 0).then(|| after(2)));
        if comm.rank() == 0 {
            assert!(begin.elapsed() < SOON);
            drop(done.lock().unwrap().take());
        }
        (first, rank.jit("form", None))
    });
    let (first, again): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let error = same_error(&first[..2], "present ranks");
    assert_eq!((error.kind(), error.rank()), (Kind::Cancelled, 0), "{error}");
    assert!(error.message().contains("the ranks have not all answered"), "{error}");
    for late in first[2..].iter().chain(&again) {
        let late = late.as_ref().unwrap_err();
        assert!(late.kind() == Kind::Cancelled && late.message().ends_with(error.message()), "{late}");
    }
}

/// A rank that cancels when the others have their result already cancels nothing.
#[test]
fn a_late_answer_to_cancel_does_not_reach_the_next_call() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let rank = CancelRank::new(comm, setup);
        rank.compiler.works.store(true, Ordering::SeqCst);
        let first = rank.jit("form", (comm.rank() == 1).then(|| after(0)));
        std::thread::sleep(Duration::from_millis(5));
        (first.is_ok(), rank.jit("other", None).is_ok())
    });
    assert_eq!(results[0].0, results[1].0, "the same on both ranks");
    assert!(results[0].1 && results[1].1);
}
