//! The cores that commands run on.
//!
//! Launchers of MPI programs bind each rank to a core, and commands that a rank starts inherit that:
//! compilers would share one core while others are idle, because the ranks that wait there sleep. So commands
//! may be started on all cores that the system grants the job on this host. A thread that asks for all cores
//! gets those of its control group (cpuset), by which batch systems keep jobs apart.
//!
//! A thread of its own sets its affinity, starts the command and ends. The affinity of the host's threads
//! never changes.

#![forbid(unsafe_code)]

use std::io;
use std::process::{Child, Command};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::environment;

/// The cores that commands run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// All cores of the job on this host if a launcher of MPI programs started this process; else the
    /// inherited ones.
    #[default]
    Auto,
    /// All cores that the system grants the job on this host.
    All,
    /// The cores of the thread that starts them.
    Inherited,
}

/// Variables that launchers of MPI programs set for each rank: Open MPI and PMIx, MPICH and its derivatives,
/// MVAPICH, Slurm, PALS, Flux.
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
    /// Returns true if commands run on all cores of the job.
    fn are_all(self) -> bool {
        self.are_all_with(|name| environment::variable(name).is_some())
    }

    /// Returns true if commands run on all cores of the job, given the variables that are set.
    fn are_all_with(self, is_set: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Auto => RANK_VARIABLES.iter().any(|name| is_set(name)),
            Self::All => true,
            Self::Inherited => false,
        }
    }
}

/// Lets this thread run on all cores that the system allows. Changes nothing if the system refuses.
fn widen() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    let _ = sched_setaffinity(None, &all);
}

/// Returns the set of these cores, and how many of them may be busy at once: a control group may grant less
/// time than that of the whole set.
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

/// Returns the number of cores of this host, if the system tells it.
#[must_use]
pub fn online() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|count| *count > 0)
}

/// Returns true if a core of this host is idle at this moment beside this thread.
#[must_use]
pub fn one_is_free() -> bool {
    let running = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| running(&text));
    running.zip(online()).is_some_and(|(running, online)| running < online)
}

/// Returns the number of runnable threads, including this one: the number before the slash in `0.1 0.2 0.3
/// 1/200 12`.
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

/// Runs `run` on a thread of its own, whose affinity it may change. Returns `None` if no thread can be
/// started.
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
    fn runnable_threads_are_read_from_loadavg() {
        assert_eq!(running("0.10 2.20 3.30 3/412 12345\n"), Some(3));
        assert_eq!(running("0.10 2.20"), None);
        assert!(online().is_none_or(|count| count >= 1));
    }

    /// Returns the cores that a child of this thread may use, as a list: "0-1".
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
