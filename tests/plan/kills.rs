//! SIGKILL of a make, of its commands and of its compilers; and many makes of one plan.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::bench::{HEAD, ended, is_full, signal, wait_until};
use super::{Bench, task};

/// The compiler notes the libraries that it builds, and what it is asked besides.
const COMPILER: &str = "#!/bin/sh\nfor word; do case $word in *.c) echo \"$(basename \"$word\" .c)\" >> \"$NOTES\"; \
                        sleep 0.03;; esac; done\nexec cc \"$@\"\n";

/// Returns a plan of 12 commands and 4 libraries, with edges between them.
fn mixed_plan() -> (String, usize) {
    let mut plan = format!("{HEAD}build.cc = \"DIR/compiler\"\n");
    for number in 0..12_usize {
        let needs = if number < 4 { vec![] } else { vec![format!("t{}", number - 4)] };
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        plan.push_str(&task(&format!("t{number}"), &needs, "sleep 0.03"));
    }
    for number in 0..4 {
        plan.push_str(&format!(
            "[[module]]\nlabel = \"m{number}\"\nname = \"m{number}\"\nlanguage = \"c\"\n\
             text = \"int m{number}(void) {{ return {number}; }}\"\nafter = [\"t{number}\"]\n"
        ));
    }
    (plan, 16)
}

fn mixed_bench() -> (Bench, usize) {
    let (plan, count) = mixed_plan();
    let bench = Bench::new("");
    bench.script("compiler", COMPILER);
    bench.write_plan(&plan.replace("DIR", bench.dir.path().to_str().unwrap()));
    (bench, count)
}

/// Returns the notes of nodes: those of the compiler are the names of sources.
fn nodes_of(notes: &[String]) -> Vec<String> {
    let mut nodes: Vec<String> =
        notes.iter().map(|note| note.split('_').next().unwrap_or_default().to_owned()).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_make_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let moments = if is_full() { 100 } else { 20 };
    let (bench, count) = mixed_bench();
    let begin = Instant::now();
    assert_eq!(bench.makes(&["-j4"]).len(), count);
    let whole = begin.elapsed();
    let mut interrupted = 0;
    for moment in 0..moments {
        let (bench, count) = mixed_bench();
        let mut child = bench.start(&["-j4"]);
        std::thread::sleep(whole * moment / moments);
        child.kill().unwrap();
        child.wait().unwrap();
        bench.await_quiet();
        let (published, before) = (bench.published(), bench.notes().len());
        interrupted += usize::from(published > 0 && published < count);
        let resumed = bench.makes(&["-j4"]);
        assert_eq!(nodes_of(&resumed).len(), count - published, "moment {moment}: {resumed:?}");
        let mut unique = nodes_of(&resumed);
        unique.dedup();
        assert_eq!(unique.len(), resumed.len(), "moment {moment}: {resumed:?}");
        assert_eq!(bench.notes().len(), before + resumed.len());
        assert_eq!(bench.makes(&[]), Vec::<String>::new(), "moment {moment}");
        assert_eq!(bench.published(), count);
        bench.assert_no_leases();
    }
    assert!(interrupted > 0, "no moment was in the middle of the make");
}

#[test]
fn makes_of_one_plan_at_once_share_the_work() {
    let (bench, count) = mixed_bench();
    let children: Vec<_> = (0..32).map(|_| bench.start(&["-j2"])).collect();
    for child in children {
        let run = ended(child);
        assert_eq!(run.code, Some(0), "{}", run.err);
    }
    let nodes = nodes_of(&bench.notes());
    assert_eq!(nodes.len(), count, "{nodes:?}");
    assert_eq!(bench.published(), count);
    bench.assert_no_leases();
}

#[test]
fn a_command_that_is_killed_is_tried_again() {
    let plan = task("a", &[], "if [ ! -e \"$NOTES.mark\" ]; then : > \"$NOTES.mark\"; kill -KILL $$; fi")
        + &task("b", &["a"], "");
    let bench = Bench::new(&plan);
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("trying a again: sh was killed by signal 9"), "{}", run.err);
    assert_eq!(bench.notes(), ["a", "a", "b"]);
    // Without further attempts it fails, and the next make tries it again.
    let bench = Bench::new(&plan);
    let run = bench.make(&["--retries", "0"]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert_eq!(bench.makes(&[]), ["a", "b"]);
}

#[test]
fn a_running_command_that_another_process_kills_is_tried_again() {
    let bench = Bench::new(&task("slow", &[], "echo $$ > \"$NOTES.pid\"; test -e \"$NOTES.go\" || sleep 60"));
    let child = bench.start(&[]);
    let pid = || std::fs::read_to_string(bench.at("notes.pid")).unwrap_or_default().trim().parse::<u32>();
    wait_until("the command", || pid().is_ok());
    std::fs::write(bench.at("notes.go"), "").unwrap();
    signal(pid().unwrap(), Signal::KILL);
    let run = ended(child);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(bench.notes(), ["slow", "slow"]);
}

#[test]
fn a_compiler_that_is_killed_is_tried_again() {
    let bench = Bench::new("");
    let compiler = bench.script(
        "compiler",
        "#!/bin/sh\nfor word; do case $word in *.c) echo compile >> \"$NOTES\"\n\
         test $(wc -l < \"$NOTES\") -gt 3 || kill -KILL $$;; esac; done\nexec cc \"$@\"\n",
    );
    bench.write_plan(&format!(
        "{HEAD}build.cc = '{}'\n[[module]]\nlabel = \"m\"\nname = \"m\"\nlanguage = \"c\"\ntext = \"int m;\"\n",
        compiler.display()
    ));
    let run = bench.make(&["--retries", "3"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("trying m again: "), "{}", run.err);
    assert_eq!(bench.notes().len(), 4, "{}", run.err);
}

/// A make whose owner is gone leaves its leases; the next one takes them over at once.
#[test]
fn the_lease_of_a_killed_make_holds_nobody_up() {
    let bench = Bench::new(&task("slow", &[], "test -e \"$NOTES.go\" || sleep 60"));
    let mut child = bench.start(&[]);
    bench.await_running(1);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.await_quiet();
    assert_eq!(bench.files("lease", "").len(), 1);
    std::fs::write(bench.at("notes.go"), "").unwrap();
    let begin = Instant::now();
    assert_eq!(bench.makes(&[]), ["slow"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "it waited for a lease of a dead process");
    bench.assert_no_leases();
}
