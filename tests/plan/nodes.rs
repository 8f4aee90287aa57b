//! Plans of all kinds: failing nodes, changed plans, bad outputs, many nodes, odd labels.

use std::fs;

use super::bench::{HEAD, has_all, is_full};
use super::{Bench, task};

#[test]
fn a_failure_blocks_what_needs_it_and_nothing_else() {
    let plan = task("a", &[], "") + &task("b", &["a"], "echo 'no mesh' >&2; exit 3") + &task("c", &["b"], "");
    let bench = Bench::new(&(plan.clone() + &task("d", &[], "")));
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    let parts = ["failed b: sh ended with exit code 3: no mesh", "2 built, 0 found, 1 failed, 1 blocked"];
    assert!(has_all(&run.err, &parts), "{}", run.err);
    let states: Vec<String> = bench.states().into_values().collect();
    assert_eq!(states, ["done", "failed", "blocked", "done"]);
    // What is done is found, and what has failed is tried again, once.
    let run = bench.make(&["--retries", "5"]);
    assert_eq!((run.code, bench.counts()["b"], bench.counts()["a"]), (Some(113), 2, 1));
    // Mended.
    bench.write_plan(&plan.replace("exit 3", ""));
    assert_eq!(bench.makes(&[]), ["b", "c"]);
}

#[test]
fn a_plan_may_get_more_nodes_and_fewer() {
    let bench = Bench::new(&(task("a", &[], "") + &task("b", &["a"], "")));
    assert_eq!(bench.makes(&[]), ["a", "b"]);
    bench.write_plan(&(task("a", &[], "") + &task("b", &["a"], "") + &task("c", &["b"], "")));
    assert_eq!(bench.makes(&[]), ["c"]);
    bench.write_plan(&task("a", &[], ""));
    assert_eq!(bench.makes(&[]), Vec::<String>::new());
    // What a plan no longer names stays in the cache, which other plans share.
    assert_eq!(bench.published(), 3);
    bench.write_plan(&(task("a", &[], "") + &task("b", &["a"], "")));
    assert_eq!(bench.makes(&[]), Vec::<String>::new());
}

#[test]
fn a_cycle_and_a_need_that_is_not_there_are_errors_of_the_plan() {
    for (plan, message) in [
        (task("a", &["b"], "") + &task("b", &["a"], ""), "a -> b -> a"),
        (task("a", &["nothing"], ""), "\"nothing\""),
        (task("a", &["a"], ""), "a -> a"),
        (task("a", &[], "") + &task("a", &[], ""), "label"),
    ] {
        let bench = Bench::new(&plan);
        let run = bench.make(&[]);
        assert_eq!(run.code, Some(1), "{plan}: {}", run.err);
        assert!(run.err.contains(message), "{message}: {}", run.err);
        assert!(bench.notes().is_empty());
    }
}

#[test]
fn inputs_are_read_and_a_missing_one_is_named() {
    let plan = task("a", &[], "cat sub/in.txt").replace("needs =", "inputs = [\"sub/in.txt\"]\nneeds =");
    let bench = Bench::new(&(plan + &task("b", &[], "")));
    fs::create_dir(bench.at("sub")).unwrap();
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(has_all(&run.err, &["plan.toml:", "there is no file sub/in.txt"]), "{}", run.err);
    fs::write(bench.at("sub/in.txt"), "one").unwrap();
    assert_eq!(bench.makes(&[]), ["a", "b"]);
    fs::write(bench.at("sub/in.txt"), "two").unwrap();
    assert_eq!(bench.makes(&[]), ["a"]);
    fs::write(bench.at("sub/in.txt"), "one").unwrap();
    assert_eq!(bench.makes(&[]), Vec::<String>::new());
}

/// Runs a plan of one task whose script is to end badly. Returns what is said.
fn refused(script: &str) -> String {
    let plan =
        format!("[[task]]\nlabel = \"a\"\noutputs = [\"out\"]\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    let bench = Bench::new(&plan);
    fs::write(bench.at("secret"), "secret").unwrap();
    let run = bench.make(&[]);
    assert_eq!((run.code, bench.published()), (Some(113), 0), "{script}: {}", run.err);
    run.err
}

#[test]
fn outputs_have_to_be_files_in_the_folder_of_the_command() {
    for (script, message) in [
        (":", "did not write out; in its folder it left nothing"),
        ("echo x > other; mkdir d; echo y > d/z", "did not write out; in its folder it left d/z, other"),
        ("echo x > \"$NOTES.elsewhere\"", "did not write out; in its folder it left nothing"),
        ("mkdir out", "wrote out, which cannot be read: it is a directory"),
        ("mkfifo out", "wrote out, which cannot be read: it is a FIFO"),
        ("ln -s \"$HOME/secret\" out", "outside of the folder of the command"),
        ("ln -s /etc/passwd out", "outside of the folder of the command"),
        ("ln -s nowhere out", "did not write out"),
    ] {
        let said = refused(script);
        assert!(said.contains(message), "{script}: {said}");
    }
}

#[test]
fn an_output_may_be_a_link_within_the_folder_and_lie_deeper() {
    let plan = "[[task]]\nlabel = \"a\"\noutputs = [\"d/e/out\", \"tool\"]\n\
                command = [\"sh\", \"-c\", 'echo x > real; ln -s ../../real d/e/out; cp /bin/true tool']\n\
                [[task]]\nlabel = \"b\"\nneeds = [\"a\"]\noutputs = [\"b\"]\n\
                command = [\"sh\", \"-c\", './tool && cat d/e/out > b']\ncopy_to = \"made here\"\n";
    let bench = Bench::new(plan);
    bench.makes(&[]);
    assert_eq!(fs::read_to_string(bench.at("made here/b")).unwrap(), "x\n");
    // What was copied and is gone is copied again from the cache.
    fs::remove_file(bench.at("made here/b")).unwrap();
    bench.makes(&[]);
    assert_eq!(fs::read_to_string(bench.at("made here/b")).unwrap(), "x\n");
}

#[test]
fn ten_thousand_nodes_and_a_chain_of_a_thousand_are_made() {
    let mut plan = HEAD.to_owned();
    for number in 0..1000_usize {
        let needs = if number == 0 { String::new() } else { format!("after = [\"c{}\"]\n", number - 1) };
        plan.push_str(&format!(
            "[[task]]\nlabel = \"c{number}\"\n{needs}command = [\"true\", \"c{number}\"]\n"
        ));
    }
    let bench = Bench::new(&plan);
    let run = bench.make(&["-j4"]);
    assert_eq!((run.code, bench.published()), (Some(0), 1000), "{}", run.err);
    let wide = |count: usize| {
        let one = |number| format!("[[task]]\nlabel = \"n{number}\"\ncommand = [\"true\", \"{number}\"]\n");
        HEAD.to_owned() + &(0..count).map(one).collect::<String>()
    };
    let run = Bench::new(&wide(10_000)).make(&["-n"]);
    assert_eq!((run.code, run.out.lines().count()), (Some(0), 10_000), "{}", run.err);
    // A slow machine starts a hundred commands a second.
    let count = if is_full() { 10_000 } else { 1000 };
    let bench = Bench::new(&wide(count));
    // Within the time limit of a run by parts.
    for part in 1..=10 {
        let run = bench.make(&["-j4", "--part", &format!("{part}/10")]);
        assert_eq!(run.code, Some(0), "{}", run.err);
    }
    assert_eq!(bench.published(), count);
    let run = bench.make(&[]);
    assert!(run.code == Some(0) && run.err.contains(&format!("0 built, {count} found")), "{}", run.err);
}

#[test]
fn labels_have_blanks_and_any_letters() {
    let plan = task("größe ∇u", &[], "") + &task("two words", &["größe ∇u"], "cat 'größe ∇u.out'");
    let bench = Bench::new(&(plan + &task("it's", &["two words"], "")));
    assert_eq!(bench.makes(&["label:\"two words\""]), ["größe ∇u", "two words"]);
    assert_eq!(bench.makes(&[]), ["it's"]);
}

#[test]
fn two_labels_with_one_signature_are_one_build() {
    let same = |label: &str| {
        format!(
            "[[task]]\nlabel = \"{label}\"\noutputs = [\"out\"]\n\
             command = [\"sh\", \"-c\", 'echo same >> \"$NOTES\"; sleep 0.2; echo x > out']\n\
             [[module]]\nlabel = \"m-{label}\"\nname = \"same\"\nlanguage = \"c\"\ntext = \"int same;\"\n"
        )
    };
    let bench = Bench::new(&(same("one") + &same("two") + &same("three")));
    assert_eq!(bench.makes(&["-j6"]), ["same"]);
    assert_eq!(bench.published(), 2);
    assert_eq!(bench.makes(&["-j6", "--force"]), ["same"]);
}

#[test]
fn what_is_made_again_with_the_same_bytes_makes_nothing_else_again() {
    let a = task("a", &[], "cat in > /dev/null").replace("needs =", "inputs = [\"in\"]\nneeds =");
    let bench = Bench::new(&(a + &task("b", &["a"], "") + &task("c", &["b"], "")));
    fs::write(bench.at("in"), "one").unwrap();
    assert_eq!(bench.makes(&[]), ["a", "b", "c"]);
    fs::write(bench.at("in"), "two").unwrap();
    assert_eq!(bench.makes(&[]), ["a"]);
}

#[test]
fn a_damaged_result_is_made_again() {
    let bench = Bench::new(&(task("a", &[], "") + &task("b", &["a"], "")));
    bench.makes(&[]);
    for damage in ["cut", "changed", "empty"] {
        for path in bench.files("result", "") {
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "cut" => bytes.truncate(bytes.len() / 2),
                "changed" => *bytes.last_mut().unwrap() ^= 1,
                _ => bytes.clear(),
            }
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(bench.makes(&[]), ["a", "b"], "{damage}");
        assert_eq!(bench.makes(&[]), Vec::<String>::new());
    }
}

/// An input that changes while its command runs gives no result under the signature of the old one.
#[test]
fn an_input_that_changes_meanwhile_is_not_taken_for_the_old_one() {
    let script = "cat in > seen; echo two > \"$HOME/in\"; cp seen a.out; exit 0";
    let plan = task("a", &[], script).replace("needs =", "inputs = [\"in\"]\nneeds =");
    let bench = Bench::new(&plan);
    fs::write(bench.at("in"), "one").unwrap();
    bench.makes(&[]);
    assert_eq!(fs::read_to_string(bench.at("in")).unwrap(), "two\n");
    assert_eq!(bench.makes(&[]), ["a"]);
}

/// An input that is removed while the make runs fails its node alone.
#[test]
fn an_input_that_is_gone_meanwhile_fails_its_node() {
    let b = task("b", &["a"], "").replace("needs =", "inputs = [\"in\"]\nneeds =");
    let bench = Bench::new(&(task("a", &[], "rm \"$HOME/in\"") + &b + &task("c", &[], "")));
    fs::write(bench.at("in"), "one").unwrap();
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    let parts = ["failed b: ", "needs the file", "2 built, 0 found, 1 failed"];
    assert!(has_all(&run.err, &parts), "{}", run.err);
}
