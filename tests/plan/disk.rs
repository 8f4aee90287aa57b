//! Disks that are full or cannot be written, and caches in which nothing is built.

use std::process::Command;

use super::bench::{Run, ended, has_all};
use super::{Bench, task};
use crate::absent::skip;

/// A task whose result has some 80,000 bytes, and one that is small.
fn large_and_small() -> String {
    "[[task]]\nlabel = \"large\"\noutputs = [\"x\", \"y\"]\n\
     command = [\"sh\", \"-c\", 'echo large >> \"$NOTES\"; head -c 40000 /dev/zero > x; cp x y']\n"
        .to_owned()
        + &task("small", &[], "")
        + &task("after", &["large"], "")
}

/// Runs a shell script in which `$0 make plan.toml` makes the plan.
fn by_shell(bench: &Bench, script: &str) -> Run {
    let mut shell = Command::new("sh");
    bench.prepare(shell.args(["-c", script, env!("CARGO_BIN_EXE_dijitso")]));
    ended(shell.spawn().unwrap())
}

/// Returns true if this user can mount in a namespace of its own. If not, the test is skipped.
fn can_mount() -> bool {
    let script = "mount -t tmpfs none /mnt";
    let can = Command::new("unshare").args(["-m", "sh", "-c", script]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        skip("this user cannot mount a disk");
    }
    can
}

#[test]
fn a_limit_on_the_size_of_files_is_a_failure_that_passes() {
    let bench = Bench::new(&large_and_small());
    let run = by_shell(&bench, "ulimit -f 128; exec \"$0\" make plan.toml");
    assert_eq!(run.code, Some(113), "{}", run.err);
    let parts = ["failed large: ", "cannot write", "see ulimit -f", "1 built, 0 found, 1 failed, 1 blocked"];
    assert!(has_all(&run.err, &parts), "{}", run.err);
    assert!(run.err.contains("trying large again: "), "{}", run.err);
    assert_eq!((bench.counts()["large"], bench.published()), (2, 1));
    bench.assert_no_leases();
    assert_eq!(bench.makes(&[]), ["after", "large"]);
}

#[test]
fn a_full_disk_breaks_nothing() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(&large_and_small());
    let script = "mkdir -p cache && mount -t tmpfs -o size=64k,mode=700 none cache && \"$0\" make plan.toml; code=$?; \
                  mkdir -p saved && cp -r cache/. saved; exit $code";
    let run = by_shell(&bench, &format!("exec unshare -m sh -c '{script}' \"$0\""));
    assert_eq!(run.code, Some(113), "{}", run.err);
    let parts = ["failed large: ", "cannot write", "the disk or its quota is full", "trying large again"];
    assert!(has_all(&run.err, &parts), "{}", run.err);
    // With room, the same cache goes on.
    std::fs::remove_dir_all(bench.at("cache")).unwrap();
    std::fs::rename(bench.at("saved"), bench.at("cache")).unwrap();
    assert_eq!(bench.makes(&[]), ["after", "large"]);
    let check = ended(bench.dijitso(&["check"]).spawn().unwrap());
    assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
}

#[test]
fn a_cache_that_cannot_be_written_gives_what_is_in_it() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(
        &(task("a", &[], "")
            + "[[module]]\nlabel = \"m\"\nlanguage = \"c\"\ntext = \"int m;\"\nname = \"m\"\n"),
    );
    bench.makes(&[]);
    let script = "mount --bind cache cache && mount -o remount,ro,bind cache && exec \"$0\" make plan.toml";
    let read_only = format!("exec unshare -m sh -c '{script}' \"$0\"");
    let run = by_shell(&bench, &read_only);
    assert!(run.code == Some(0) && run.err.contains("all 2 nodes are made"), "{}", run.err);
    let text = std::fs::read_to_string(bench.at("plan.toml")).unwrap();
    bench.write_plan(&(text + &task("b", &["a"], "")));
    let run = by_shell(&bench, &read_only);
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert!(
        has_all(&run.err, &["failed b: ", "Read-only file system", "0 built, 2 found, 1 failed"]),
        "{}",
        run.err
    );
}

#[test]
fn nothing_is_made_for_a_frozen_cache() {
    let bench = Bench::new(&task("a", &[], ""));
    bench.makes(&[]);
    bench.write_plan(&(task("a", &[], "") + &task("b", &["a"], "") + &task("c", &["b"], "")));
    let run = bench.make(&["--param", "cache.frozen=true"]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    let parts = ["failed b: ", "is frozen (cache.frozen)", "0 built, 1 found, 1 failed, 1 blocked"];
    assert!(has_all(&run.err, &parts), "{}", run.err);
    assert_eq!(bench.notes(), ["a"]);
    let run = bench.make(&["--param", "cache.frozen=true", "--force", "label:a"]);
    assert_eq!((run.code, bench.notes().len()), (Some(0), 1), "{}", run.err);
}

/// Without a place for folders of commands the make fails by node, with the place in the message.
#[test]
fn a_place_for_folders_that_is_not_there_is_named() {
    let bench = Bench::new(&task("a", &[], ""));
    std::fs::remove_dir(bench.at("tmp")).unwrap();
    let run = bench.make(&[]);
    assert_eq!(run.code, Some(113), "{}", run.err);
    assert!(has_all(&run.err, &["failed a: cannot make a folder for a command in", "/tmp"]), "{}", run.err);
}
