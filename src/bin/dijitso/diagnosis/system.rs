//! Probes of this host: cores, compiler slots, MPI, starting processes.

#![forbid(unsafe_code)]

use std::fs;
use std::time::Duration;

use dijitso::params::resolved::Resolved;
use dijitso::process::affinity::{self, Cores};
use dijitso::process::environment;
use dijitso::process::exec_context::ExecContext;
use dijitso::process::slots::{self, SlotRequest};

use super::{Probe, Setting};

pub(super) fn probes(params: &Resolved) -> (Vec<Probe>, Vec<Setting>) {
    let probes = vec![own_cores(), compiler_slots(params), mpi(), forking()];
    (probes, Vec::new())
}

fn own_cores() -> Probe {
    let own = slots::choices(None, Cores::Auto).len();
    let online = affinity::online().map_or(own, |online| online.max(own));
    let finding = format!("this process may use {own} of {online} cores");
    if own == 1 && online > 1 {
        let advice = "compilers of this process get only this core; if your ranks build much, bind them to \
                      more cores or not at all (mpiexec --bind-to none)";
        return Probe::warn("cores", finding, advice);
    }
    Probe::ok("cores", finding)
}

fn compiler_slots(params: &Resolved) -> Probe {
    const NAME: &str = "compiler slots";
    let choices = slots::choices(params.build.max_compilers, Cores::Auto);
    let Some(dir) = &params.build.slots_dir else {
        let advice = "set build.slots_dir, or HOME, so that compilers of all your programs share the cores";
        return Probe::warn(NAME, "compilers are not counted", advice);
    };
    let wanted = SlotRequest { dir, choices: &choices, patience: Duration::from_millis(20) };
    let finding = format!("{} at once, counted in {}", choices.len(), dir.display());
    match slots::take(&wanted, &ExecContext::default()) {
        Some(_) => Probe::ok(NAME, finding),
        None => {
            let advice = "all are busy, or the directory cannot be used (build.slots_dir); compilers run \
                          nevertheless";
            Probe::warn(NAME, format!("{finding}; none is free"), advice)
        }
    }
}

/// Variables that launchers set for their ranks, and the names of the launchers.
const LAUNCHERS: [(&str, &str); 3] =
    [("OMPI_COMM_WORLD_SIZE", "Open MPI"), ("PMI_SIZE", "MPICH"), ("PMIX_RANK", "PMIx")];

fn mpi() -> Probe {
    let launcher = LAUNCHERS.iter().find(|(variable, _)| environment::variable(variable).is_some());
    match (dijitso::parallel::mpi::library_version(), launcher) {
        (Err(_), None) => Probe::ok("MPI", "no library of MPI is found, and none is needed here"),
        (Err(error), Some((_, launcher))) => {
            let advice = "set DIJITSO_MPI_LIB to its library of C, such as libmpi.so.40";
            Probe::warn("MPI", format!("started by the mpiexec of {launcher}: {}", error.message()), advice)
        }
        (Ok(library), Some((variable, launcher))) if !fits(&library, launcher) => {
            let advice = "each process runs alone: unset DIJITSO_MPI_LIB, or use the mpiexec of its MPI";
            Probe::bad("MPI", format!("{library}, started by the mpiexec of {launcher} ({variable})"), advice)
        }
        (Ok(library), _) => Probe::ok("MPI", library),
    }
}

/// Returns whether a launcher starts programs of this MPI. Launchers of the MPICH family start all its
/// members; PMIx starts programs of any MPI.
fn fits(library: &str, launcher: &str) -> bool {
    match launcher {
        "Open MPI" => library.contains("Open MPI"),
        "MPICH" => !library.contains("Open MPI"),
        _ => true,
    }
}

/// Checks whether compilers can be started while a network card has pinned memory.
fn forking() -> Probe {
    const NAME: &str = "starting compilers";
    let cards = fs::read_dir("/sys/class/infiniband").map_or(0, Iterator::count);
    let finding = "compilers are started without copying the memory of the program";
    if cards == 0 {
        return Probe::ok(NAME, format!("{finding}; there is no InfiniBand here"));
    }
    let safe =
        ["RDMAV_FORK_SAFE", "IBV_FORK_SAFE"].iter().any(|variable| environment::variable(variable).is_some());
    if safe || kernel_is_fork_safe(&rustix::system::uname().release().to_string_lossy()) {
        return Probe::ok(NAME, format!("{finding}; InfiniBand allows it here"));
    }
    let advice = "set RDMAV_FORK_SAFE=1 before MPI is initialised, or build before the run (dijitso \
                     export, cache.frozen)";
    Probe::warn(
        NAME,
        format!("{finding}, but InfiniBand drivers of old kernels are not safe with any fork"),
        advice,
    )
}

/// Returns whether the kernel copies pinned pages at a fork, as it does since 5.12.
fn kernel_is_fork_safe(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_fit_their_libraries() {
        assert!(fits("Open MPI v4.1.4, package: x", "Open MPI"));
        assert!(!fits("Open MPI v4.1.4", "MPICH"));
        assert!(!fits("MPICH Version: 4.0.2", "Open MPI"));
        assert!(fits("Intel(R) MPI Library 2021.9", "MPICH"));
        assert!(kernel_is_fork_safe("6.1.0-18-amd64") && kernel_is_fork_safe("5.12.3"));
        assert!(!kernel_is_fork_safe("4.18.0-477.el8") && !kernel_is_fork_safe("x"));
    }
}
