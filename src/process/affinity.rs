//! The cores that commands run on.
//!
//! Launchers of MPI programs bind each rank to a core, and whatever a rank starts inherits that: compilers would take
//! turns on one core beside others that are idle, because the ranks that wait there sleep. So commands may be started
//! on all cores that the system grants the job on this host. Which these are need not be found out: a thread that asks
//! for all cores is given those of its control group (cpuset), in which batch systems keep jobs apart.
//!
//! The affinity is that of a thread which starts the command and ends; no thread of the host is touched.

#![forbid(unsafe_code)]

use std::io;
use std::process::{Child, Command};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::environment;

/// Which cores commands run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// All of the job on this host if a launcher has started this process, which binds ranks; else its own.
    #[default]
    Auto,
    /// All that the system grants the job on this host.
    All,
    /// Those of the thread that starts them.
    Inherited,
}

/// What launchers of MPI programs tell each rank: Open MPI and PMIx, MPICH and what comes of it, MVAPICH, Slurm, PALS,
/// Flux.
const RANK_VARIABLES: [&str; 7] = [
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
    "PALS_RANKID",
    "FLUX_TASK_RANK",
];

impl Cores {
    fn are_all(self) -> bool {
        self.are_all_with(|name| environment::variable(name).is_some())
    }

    /// True if they are all of the job, in an environment in which `is_set` tells the variables.
    fn are_all_with(self, is_set: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Auto => RANK_VARIABLES.iter().any(|name| is_set(name)),
            Self::All => true,
            Self::Inherited => false,
        }
    }
}

/// Lets this thread run wherever the system allows. Where it refuses, things stay as they are.
fn widen() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    let _ = sched_setaffinity(None, &all);
}

/// The set of these cores, and how many of them may be busy at once: a control group may grant less time than that of
/// the whole set.
pub(super) fn available(cores: Cores) -> (CpuSet, usize) {
    let query = || {
        let count = thread::available_parallelism().map_or(1, usize::from);
        (sched_getaffinity(None).unwrap_or_default(), count)
    };
    let widened = || {
        widen();
        query()
    };
    let all = cores.are_all().then(|| on_a_thread(widened)).flatten();
    all.unwrap_or_else(query)
}

/// The number of this host's cores, as far as the system tells.
#[must_use]
pub fn online() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|count| *count > 0)
}

/// Whether a core of this host would be idle just now beside this thread.
#[must_use]
pub fn one_is_free() -> bool {
    let running = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| running(&text));
    running.zip(online()).is_some_and(|(running, online)| running < online)
}

/// The number of threads that run or could, this one among them: what stands before the slash in `0.1 0.2 0.3 1/200 12`.
fn running(loadavg: &str) -> Option<usize> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

/// Starts a command on these cores.
pub(super) fn spawn(command: &mut Command, cores: Cores) -> io::Result<Child> {
    if cores.are_all() {
        let started = on_a_thread(|| {
            widen();
            command.spawn()
        });
        if let Some(started) = started {
            return started;
        }
    }
    command.spawn()
}

/// Runs something on a thread of its own, whose affinity may be changed; `None` where there is no thread for it.
fn on_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("dijitso-cores".to_owned()).spawn_scoped(scope, run);
        thread.ok()?.join().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_launchers_are_widened_and_others_are_left_alone() {
        for name in RANK_VARIABLES {
            assert!(Cores::Auto.are_all_with(|set| set == name));
        }
        let none = |_: &str| false;
        assert!(!Cores::Auto.are_all_with(none) && Cores::All.are_all_with(none));
        assert!(!Cores::Inherited.are_all_with(|_| true));
    }

    #[test]
    fn the_kernel_tells_how_many_threads_run() {
        assert_eq!(running("0.10 2.20 3.30 3/412 12345\n"), Some(3));
        assert_eq!(running("0.10 2.20"), None);
        assert!(online().is_none_or(|count| count >= 1));
    }

    /// The cores that a child of this thread may use, as a list: "0-1".
    fn of_child(cores: Cores) -> String {
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]).stdout(std::process::Stdio::piped());
        let child = spawn(&mut command, cores).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_bound_thread_starts_commands_on_all_cores_and_stays_bound() {
        let (everywhere, count) = available(Cores::All);
        // A thread of its own: the others of this program are not to be bound.
        thread::spawn(move || {
            let free = of_child(Cores::All);
            let own = sched_getaffinity(None).unwrap();
            let core = (0..CpuSet::MAX_CPU).find(|core| own.is_set(*core)).unwrap();
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one).unwrap();
            assert_eq!(of_child(Cores::All), free);
            assert_eq!(of_child(Cores::Inherited), format!("Cpus_allowed_list:\t{core}\n"));
            assert_eq!(sched_getaffinity(None).unwrap(), one, "this thread is as it was");
            assert_eq!(available(Cores::All), (everywhere, count));
            assert_eq!(available(Cores::Inherited), (one, 1));
        })
        .join()
        .unwrap();
    }
}
