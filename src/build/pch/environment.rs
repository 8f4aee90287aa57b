//! Environment variables and default search directories of compilers, on which their output depends.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::language::LANGUAGES;

use super::include_resolver::SEARCH_PATHS;

/// Environment variables with their values.
pub(super) type CompilerEnv = Vec<(OsString, OsString)>;

/// Variables by which compilers find their parts or change their output.
const PARTS: [&str; 6] =
    ["PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "SOURCE_DATE_EPOCH", "OPAL_PREFIX", "PKG_CONFIG_PATH"];

/// Prefixes of variables from which compiler wrappers take flags.
const WRAPPERS: [&str; 5] = ["CCC_", "CRAY", "NIX_", "PE_", "SPACK_"];

/// The same for MPI's compiler wrappers. Other variables with these prefixes differ between processes: these
/// suffixes, and the compiler variables of all languages, select those of compilers.
const MPI: [&str; 3] = ["OMPI_", "MPICH_", "I_MPI_"];
const OF_COMPILERS: [&str; 4] = ["FLAGS", "LIBS", "ROOT", "CONFIG_DIR"];

/// Returns the environment of this process, sorted.
pub(super) fn environment() -> CompilerEnv {
    let mut all: CompilerEnv = std::env::vars_os().collect();
    all.sort();
    all
}

/// Returns true if the output of a compiler may depend on a variable.
pub(super) fn matters(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let names_compiler = || LANGUAGES.iter().any(|language| name.ends_with(language.compiler_variable));
    SEARCH_PATHS.contains(&name)
        || PARTS.contains(&name)
        || begins(&WRAPPERS)
        || (begins(&MPI) && (OF_COMPILERS.iter().any(|end| name.ends_with(end)) || names_compiler()))
}

/// Returns the directories that a compiler searches for headers, and those that it would search if they
/// existed, from its output with `-v`; `None` if it names none.
pub(super) fn searched(output: &str) -> Option<Vec<PathBuf>> {
    let mut found = None::<Vec<&str>>;
    let mut missing = Vec::new();
    let mut within = false;
    for line in output.lines() {
        if line.starts_with("#include ") && line.ends_with("search starts here:") {
            within = true;
            found.get_or_insert_default();
        } else if let Some(dir) = line.strip_prefix(' ').filter(|_| within) {
            found.get_or_insert_default().push(dir.strip_suffix(" (framework directory)").unwrap_or(dir));
        } else {
            within = false;
        }
        if let Some(dir) = line.strip_prefix("ignoring nonexistent directory \"") {
            missing.push(dir.trim_end_matches('"'));
        }
    }
    let all = found.filter(|found| !found.is_empty())?.into_iter().chain(missing).map(PathBuf::from);
    Some(all.filter(|dir| dir.is_absolute()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_compilers_matter_and_those_of_processes_do_not() {
        let names =
            "CPATH PATH OMPI_CXX OMPI_CXXFLAGS MPICH_CC I_MPI_ROOT NIX_CFLAGS_COMPILE SPACK_CXX CRAYPE_DIR";
        for name in names.split(' ') {
            assert!(matters(OsStr::new(name)), "{name}");
        }
        for name in "HOME PWD OMPI_COMM_WORLD_RANK OMPI_MCA_orte_hnp_uri PMI_RANK MPICH_RANK CXX".split(' ') {
            assert!(!matters(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_compiler_says_where_it_searches() {
        let output = "Using built-in specs.\n  /not\nignoring nonexistent directory \
             \"/usr/local/include/x\"\n\
                    ignoring duplicate directory \"/twice\"\n#include \"...\" search starts here:\n /quoted\n\
                    #include <...> search starts here:\n .\n /usr/include/c++/12\n /with blank\n\
                    End of search list.\n /after\n";
        let expected = ["/quoted", "/usr/include/c++/12", "/with blank", "/usr/local/include/x"];
        assert_eq!(searched(output), Some(expected.map(PathBuf::from).to_vec()));
        assert_eq!(searched("clang version 99\n /x\n"), None);
    }
}
