//! `dijitso make` under mpiexec.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::bench::{Run, ended, signal};
use super::{Bench, task};
use crate::absent::has_program;

const LAUNCHERS: [&str; 2] = ["mpiexec.openmpi", "mpiexec.mpich"];

/// The variables in which a launcher tells a process its rank.
const RANKS: [&str; 2] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"];

/// Returns `mpiexec -n RANKS` of a make whose exit code each rank appends to `notes.codes`.
fn on_ranks(bench: &Bench, launcher: &str, ranks: usize, arguments: &str) -> Command {
    let mut command = Command::new(launcher);
    let script =
        format!("\"$0\" make plan.toml {arguments}; code=$?; echo $code >> \"$NOTES.codes\"; exit $code");
    let program = env!("CARGO_BIN_EXE_dijitso");
    bench.prepare(command.args(["-n", &ranks.to_string(), "sh", "-c", &script, program]));
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_btl_base_warn_component_unused", "0"),
    ] {
        command.env(name, value);
    }
    command
}

fn make_on(bench: &Bench, launcher: &str, ranks: usize, arguments: &str) -> (Run, Vec<String>) {
    let _ = fs::remove_file(bench.at("notes.codes"));
    let run = ended(on_ranks(bench, launcher, ranks, arguments).spawn().unwrap());
    let codes = fs::read_to_string(bench.at("notes.codes")).unwrap_or_default();
    (run, codes.lines().map(str::to_owned).collect())
}

/// Checks the exit codes of ranks. A launcher may end the shell of a rank once the first rank has failed.
fn assert_alike(codes: &[String], code: &str, ranks: usize, run: &Run) {
    let fewest = if code == "0" { ranks } else { 1 };
    let are_alike = codes.iter().all(|found| found == code);
    assert!(are_alike && (fewest..=ranks).contains(&codes.len()), "{codes:?}: {}", run.err);
}

fn installed() -> impl Iterator<Item = &'static str> {
    LAUNCHERS.into_iter().filter(|launcher| has_program(launcher))
}

/// Returns the process of a rank of `dijitso make`.
fn process_of(bench: &Bench, rank: usize) -> Option<u32> {
    bench.processes().into_iter().find(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_rank = |name: &&str| {
            let variable = format!("{name}={rank}");
            environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
        };
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        program.trim() == "dijitso" && RANKS.iter().any(is_rank)
    })
}

#[test]
fn each_node_is_made_once_and_all_ranks_end_alike() {
    let mut plan: String = (0..8).map(|number| task(&format!("t{number}"), &[], "sleep 0.02")).collect();
    plan.push_str(&task("last", &["t0", "t7"], ""));
    for number in 0..2 {
        plan.push_str(&format!(
            "[[module]]\nlabel = \"m{number}\"\nname = \"m{number}\"\nlanguage = \"c\"\n\
             text = \"int m{number};\"\nafter = [\"t{number}\"]\n"
        ));
    }
    for launcher in installed() {
        for ranks in [1, 2, 4] {
            let bench = Bench::new(&plan);
            let (run, codes) = make_on(&bench, launcher, ranks, "-j2");
            assert_eq!(run.code, Some(0), "{launcher} {ranks}: {}", run.err);
            assert_eq!(codes, vec!["0"; ranks]);
            assert!(bench.counts().values().all(|count| *count == 1), "{:?}", bench.counts());
            assert_eq!((bench.notes().len(), bench.published()), (9, 11));
            assert_eq!(run.err.matches("11 built, 0 found").count(), 1, "{}", run.err);
        }
    }
}

#[test]
fn a_failing_node_has_the_same_exit_code_on_all_ranks() {
    let plan =
        task("a", &[], "") + &task("b", &["a"], "exit 1") + &task("c", &["b"], "") + &task("d", &[], "");
    for launcher in installed() {
        for ranks in [1, 2, 4] {
            let bench = Bench::new(&plan);
            let (run, codes) = make_on(&bench, launcher, ranks, "");
            assert_eq!(run.code, Some(113), "{launcher}: {}", run.err);
            assert_alike(&codes, "113", ranks, &run);
            assert!(run.err.contains("2 built, 0 found, 1 failed, 1 blocked"), "{}", run.err);
            assert_eq!(
                bench.states().into_values().collect::<Vec<_>>(),
                ["done", "failed", "blocked", "done"]
            );
        }
    }
}

/// Files that rank 0 alone writes or reads.
#[test]
fn what_fails_on_one_rank_ends_the_make_on_all() {
    let bench = Bench::new(&task("a", &[], ""));
    for launcher in installed() {
        for (arguments, code) in [
            ("--events no/such/folder", "1"),
            ("nobody", "1"),
            ("failed", "0"),
            ("$(test \"${OMPI_COMM_WORLD_RANK:-$PMI_RANK}\" = 1 && echo label:a || echo failed)", "0"),
        ] {
            let (run, codes) = make_on(&bench, launcher, 2, arguments);
            assert_alike(&codes, code, 2, &run);
        }
    }
}

#[test]
fn a_rank_that_is_killed_holds_nobody_up_and_the_next_make_goes_on() {
    let wait = "test -e \"$NOTES.go\" || sleep 300";
    let mut plan: String = (0..4).map(|number| task(&format!("quick{number}"), &[], "")).collect();
    (0..4).for_each(|number| plan.push_str(&task(&format!("slow{number}"), &["quick0"], wait)));
    for launcher in installed() {
        for rank in [0, 1] {
            let bench = Bench::new(&plan);
            let child = on_ranks(&bench, launcher, 2, "-j2").spawn().unwrap();
            bench.await_running(8);
            let published = bench.published();
            signal(process_of(&bench, rank).unwrap(), Signal::KILL);
            let run = ended(child);
            assert_ne!(run.code, Some(0), "{launcher}: {}", run.err);
            bench.await_quiet();
            fs::write(bench.at("notes.go"), "").unwrap();
            let (run, codes) = make_on(&bench, launcher, 2, "-j2");
            assert_eq!((run.code, codes.len()), (Some(0), 2), "{launcher}: {}", run.err);
            assert_eq!(bench.notes().len(), 8 + 8 - published, "{:?}", bench.counts());
            bench.assert_no_leases();
        }
    }
}

#[test]
fn an_interrupt_of_mpiexec_fails_no_node() {
    let wait = "test -e \"$NOTES.go\" || sleep 300";
    let plan: String = (0..4).map(|number| task(&format!("t{number}"), &[], wait)).collect();
    for launcher in installed() {
        let bench = Bench::new(&plan);
        let child = on_ranks(&bench, launcher, 2, "-j1").spawn().unwrap();
        bench.await_notes(2);
        for _ in 0..3 {
            signal(child.id(), Signal::INT);
            std::thread::sleep(Duration::from_millis(300));
        }
        let run = ended(child);
        assert_ne!(run.code, Some(0), "{launcher}: {}", run.err);
        bench.await_quiet();
        assert!(bench.states().values().all(|state| state == "ready"), "{:?} {}", bench.states(), run.err);
        fs::write(bench.at("notes.go"), "").unwrap();
        assert_eq!(make_on(&bench, launcher, 2, "").0.code, Some(0));
    }
}
