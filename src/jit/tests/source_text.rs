//! Calls that give the source text.

use super::*;
use crate::signature::SourceText;

impl TestRank<'_> {
    fn jit_text(&self, text: SourceText<'_>) -> Result<Library> {
        let params = self.params.resolve().unwrap().with_text(text.digest());
        let request = Ok(Request { name: "square", params: &params });
        self.session.jit_on(self.comm, &self.state, request, &mut Callbacks::of_text(text))
    }
}

fn text(code: &str) -> SourceText<'_> {
    SourceText { code: code.as_bytes(), ..SourceText::default() }
}

/// A program that changed x*x to x*x*x got the old library.
#[test]
fn another_text_is_another_library_and_the_same_one_is_built_once() {
    everywhere(|size, setup| {
        for mode in ["hash", "name"] {
            let results = run(size, |comm| {
                let mut rank = TestRank::new(comm, setup, Fault::None);
                rank.params.set("cache.signature", mode).unwrap();
                let first = rank.jit_text(text("x*x")).unwrap();
                let second = rank.jit_text(text("x*x*x")).unwrap();
                let before = comm.collectives();
                let again = rank.jit_text(text("x*x")).unwrap();
                assert_eq!((again.origin(), comm.collectives()), (Origin::Memory, before));
                assert_eq!(again.signature(), first.signature());
                assert_ne!(again.signature(), second.signature());
                let by_generate = rank.jit("square", Fault::None).unwrap();
                assert_ne!(by_generate.signature(), first.signature());
                rank.builds()
            });
            let expected = 3 * expected_builds(size, setup);
            assert_eq!(results.iter().sum::<usize>(), expected, "{mode} {size} {setup:?}");
        }
    });
}

#[test]
fn ranks_that_give_different_texts_have_an_error() {
    let base = SourceText { code: b"x", header: Some(b"h"), dependencies: &["d"] };
    let others = [
        SourceText { code: b"y", ..base },
        SourceText { header: None, ..base },
        SourceText { header: Some(b"i"), ..base },
        SourceText { dependencies: &[], ..base },
    ];
    for size in [2, 3] {
        for differs in 0..size {
            for other in others {
                let root = scratch();
                let setup = Setup::one_dir(root.path());
                let results = run(size, |comm| {
                    let rank = TestRank::new(comm, setup, Fault::None);
                    let given = if comm.rank() == differs { other } else { base };
                    let result = rank.jit_text(given);
                    assert_eq!(rank.builds(), 0);
                    // The communicator can still be used.
                    rank.jit_text(text("x")).unwrap();
                    result
                });
                let error = same_error(&results, "texts");
                assert_eq!(error.kind(), Kind::RanksDisagree);
                assert!(error.message().contains("give different texts"), "{error}");
            }
        }
    }
}

#[test]
fn a_text_on_one_rank_and_a_callback_on_another_are_different_calls() {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(2, |comm| {
        let rank = TestRank::new(comm, setup, Fault::None);
        if comm.rank() == 0 { rank.jit_text(text("x")) } else { rank.jit("square", Fault::None) }
    });
    let error = same_error(&results, "text and callback");
    assert_eq!(error.kind(), Kind::RanksDisagree);
    assert!(error.message().contains("rank 0 gives a text, rank 1 gives no text"), "{error}");
}

/// The builder checks the dependencies of a text. They travel with it, as with any other entry.
#[test]
fn a_text_may_be_linked_to_another() {
    everywhere(|size, setup| {
        run(size, |comm| {
            let rank = TestRank::new(comm, setup, Fault::None);
            let base = rank.jit_text(text("base")).unwrap();
            let dependencies = [base.signature()];
            rank.jit_text(SourceText { code: b"derived", header: Some(b"h"), dependencies: &dependencies })
                .unwrap();
            let missing = SourceText { code: b"derived", header: None, dependencies: &["not_there"] };
            assert_eq!(rank.jit_text(missing).unwrap_err().kind(), Kind::Generate);
        });
    });
}
