//! Ranks that do not make the same call: all have the same error, which says in what they differ.

use super::*;

/// Returns the message of all ranks of a program in which one rank makes another call than the others.
fn message(size: usize, program: impl Fn(&mut TestRank<'_>) -> Result<()> + Sync) -> String {
    let root = scratch();
    let setup = Setup::one_dir(root.path());
    let results = run(size, |comm| program(&mut TestRank::new(comm, setup, Fault::None)));
    let error = same_error(&results, "ranks disagree");
    assert_eq!(error.kind(), Kind::RanksDisagree, "{error}");
    // The next call succeeds.
    let healthy = run(size, |comm| TestRank::new(comm, setup, Fault::None).jit("form", Fault::None));
    assert!(healthy.iter().all(Result::is_ok), "{healthy:?}");
    error.message().to_owned()
}

#[test]
fn the_message_names_key_values_and_ranks() {
    for size in [2, 3, 5] {
        for bad in [1, size - 1] {
            let fault = |fault| message(size, |rank| rank.jit("form", fault).map(drop));
            let start = format!("the {size} ranks of the communicator do not make the same call: ");
            let end = " (1 rank differs from rank 0)";
            let text = fault(Fault::NameDiffers(bad));
            let name = format!("name is \"form\" on rank 0 and \"other\" on rank {bad}");
            assert_eq!(text, format!("{start}{name}{end}"));
            let text = fault(Fault::CallbacksDiffer(bad));
            let set = format!("for \"form\" rank 0 sets generate and rank {bad} sets no callback");
            assert_eq!(text, format!("{start}{set}{end}"));

            let text = message(size, |rank| {
                let flags = if rank.comm.rank() == bad { "-shared -O3" } else { "-shared -O2" };
                rank.params.set("build.cxxflags", flags).unwrap();
                rank.jit("form", Fault::None).map(drop)
            });
            let flags = format!(
                "for \"form\" build.cxxflags is \"-shared -O2\" on rank 0 and \"-shared -O3\" on rank \
                 {bad}; environment and \
                 config files count"
            );
            assert_eq!(text, format!("{start}{flags}{end}"));
        }
        // TestRank 0 is the one that differs from all others.
        let text = message(size, |rank| rank.jit("form", Fault::NameDiffers(0)).map(drop));
        assert!(text.contains("name is \"other\" on rank 0 and \"form\" on rank 1"), "{text}");
    }
}

#[test]
fn a_whole_call_and_a_start_are_different_calls() {
    for size in [2, 3, 5] {
        let text = message(size, |rank| {
            if rank.comm.rank() + 1 < size {
                return rank.jit("form", Fault::None).map(drop);
            }
            let params = rank.params.resolve().unwrap();
            let request = Ok(Request { name: "form", params: &params });
            let mut host = generator(|_, _| Err(1));
            rank.session.start_on(rank.comm, &rank.state, request, &mut host).map(drop)
        });
        let last = size - 1;
        let calls = format!(
            "rank 0 calls dijitso_jit for \"form\", rank {last} calls dijitso_jit_start for \"form\""
        );
        assert!(text.contains(&calls), "{text}");
    }
}

/// The message does not grow with the values.
#[test]
fn the_message_has_the_first_difference_of_long_values() {
    for size in [2, 3, 5] {
        let text = message(size, |rank| {
            let last = if rank.comm.rank() == size - 1 { "-O3" } else { "-O2" };
            let flags = format!("{} {last}", "-DLONG_MACRO_NAME=1 ".repeat(100));
            rank.params.set("build.cxxflags", &flags).unwrap();
            rank.jit("form", Fault::None).map(drop)
        });
        let last = size - 1;
        let word =
            format!("build.cxxflags differs in word 101: \"-O2\" on rank 0 and \"-O3\" on rank {last}");
        assert!(text.contains(&word) && text.len() < 300, "{text}");
    }
}
