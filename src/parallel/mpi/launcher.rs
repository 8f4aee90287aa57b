//! The library of the MPI whose mpiexec has started this process, for programs that are linked with no MPI.

use std::path::PathBuf;

/// The names of the libraries of C, by family.
const OPEN_MPI: &[&str] = &["libmpi.so.40", "libmpi.so.20", "libmpi.so"];
const OTHERS: &[&str] = &["libmpi.so.12", "libmpich.so.12", "libmpi_abi.so.1", "libmpich.so", "libmpi.so"];

/// Variables that launchers of Open MPI set for their processes; others set [`OF_OTHERS`].
const OF_OPEN_MPI: &[&str] = &["OMPI_COMM_WORLD_SIZE", "PMIX_RANK"];
const OF_OTHERS: &[&str] = &["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"];

/// Returns libraries to try: of the family that the launcher's variables tell, first beside the launcher, then
/// where the loader looks. Without a launcher, those of all families.
pub(super) fn libraries() -> Vec<String> {
    let is_set = |names: &[&str]| names.iter().any(|name| std::env::var_os(name).is_some());
    let names: Vec<&str> = match (is_set(OF_OPEN_MPI), is_set(OF_OTHERS)) {
        (true, _) => OPEN_MPI.to_vec(),
        (false, true) => OTHERS.to_vec(),
        (false, false) => [OPEN_MPI, OTHERS].concat(),
    };
    let beside = launcher_folders();
    let mut all: Vec<String> = Vec::new();
    for folder in &beside {
        all.extend(names.iter().map(|name| folder.join(name).to_string_lossy().into_owned()));
    }
    all.extend(names.into_iter().map(str::to_owned));
    all
}

/// Returns the folders of libraries beside the program that has started this process: its launcher, or the
/// launcher's helper on this host.
fn launcher_folders() -> Vec<PathBuf> {
    let parent = std::os::unix::process::parent_id();
    let program = std::fs::read_link(format!("/proc/{parent}/exe")).unwrap_or_default();
    let Some(prefix) = program.parent().and_then(|bin| bin.parent()) else { return Vec::new() };
    ["lib", "lib64"].iter().map(|folder| prefix.join(folder)).filter(|folder| folder.is_dir()).collect()
}
