//! Environment variables, user and working directory, as a value that tests can make.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

use super::schema::KEYS;

/// Variables that are read besides those of the schema.
const VARIABLES: [&str; 4] = ["DIJITSO_CONF", "HOME", "VIRTUAL_ENV", "CONDA_PREFIX"];

/// The part of a process' environment that parameters depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Variables that are set and not empty.
    pub variables: BTreeMap<&'static str, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Effective user.
    pub uid: u32,
    /// Directory of the system-wide config file.
    pub system_dir: PathBuf,
}

/// Begins the names of the variables of the library.
pub const PREFIX: &str = "DIJITSO_";

/// Beginnings of other names: of tests, and of what builds and installs the library.
const FOREIGN: [&str; 9] =
    ["TEST_", "RENEW_", "WITH_", "HAVE_", "CARGO", "INSTALL", "SKIP_", "MPI", "COMMAND"];

/// Ends of names that modules of clusters and package managers set to say where the library is.
const LOCATIONS: [&str; 12] =
    ["DIR", "ROOT", "HOME", "PREFIX", "INC", "INCLUDE", "LIB", "LIBRARY", "BIN", "DOC", "VERSION", "PATH"];

/// Variables that stand for no parameter.
const OTHERS: [&str; 6] = [
    "DIJITSO_LOG",
    "DIJITSO_PROGRESS",
    "DIJITSO_RECORD",
    "DIJITSO_NODE_MEMORY",
    "DIJITSO_HOST_ID",
    "DIJITSO_MPI_LIB",
];

/// Variables in which MPI launchers give the rank.
const RANKS: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"];

/// Returns a warning about an unknown variable with our prefix, which would be ignored.
fn unknown_variable_warning(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    let known = || Environment::names().chain(OTHERS).filter(|name| name.starts_with(PREFIX));
    let is_foreign = FOREIGN.iter().any(|begin| rest.starts_with(begin)) || LOCATIONS.contains(&rest);
    if is_foreign || known().any(|known| known == name) {
        return None;
    }
    // Without the common prefix.
    let likeness =
        |known: &str| strsim::normalized_damerau_levenshtein(known.trim_start_matches(PREFIX), rest);
    let nearest = known().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let alike = likeness(nearest) > 0.5;
    let parameter = super::schema::nearest(&rest.to_ascii_lowercase());
    let key = KEYS.iter().find(|key| key.name == parameter && key.environment.is_none());
    let same = key.filter(|key| key.name.split('.').next_back() == Some(&rest.to_ascii_lowercase()));
    Some(match same {
        Some(key) => format!(
            "environment variable {name} means nothing to dijitso: set {} in the config file or the program",
            key.name
        ),
        None if alike => {
            format!("environment variable {name} means nothing to dijitso; did you mean {nearest}?")
        }
        None => {
            format!("environment variable {name} means nothing to dijitso (dijitso config shows what does)")
        }
    })
}

/// Warns once in a process, and on the first rank alone, about ignored variables. `names` gives those that are set.
fn warn_once(names: impl FnOnce() -> Vec<String>) {
    static DONE: std::sync::Once = std::sync::Once::new();
    DONE.call_once(|| {
        if is_another_rank() {
            return;
        }
        for text in names().iter().filter_map(|name| unknown_variable_warning(name)) {
            log::warn!("{text}");
        }
    });
}

/// Returns true if a launcher has started this process as another rank than the first.
pub(super) fn is_another_rank() -> bool {
    RANKS.iter().any(|name| std::env::var_os(name).is_some_and(|rank| !rank.is_empty() && rank != "0"))
}

/// Returns the names of the variables that are set and not empty.
fn names_set() -> Vec<String> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    set.filter_map(|(name, _)| name.into_string().ok()).collect()
}

impl Environment {
    /// Returns the present environment of this process.
    ///
    /// # Errors
    /// [`Kind::Params`] if a variable is not UTF-8: it would name another place than was meant.
    pub fn of_process() -> Result<Self> {
        warn_once(names_set);
        Self::read()
    }

    /// Does the same for a caller that has listed the variables. `names` gives those that are set, not empty, and
    /// begin with [`PREFIX`]: the standard library would copy all variables to find them.
    ///
    /// # Errors
    /// As [`Environment::of_process`].
    pub fn of_process_with(names: impl FnOnce() -> Vec<String>) -> Result<Self> {
        warn_once(names);
        Self::read()
    }

    fn read() -> Result<Self> {
        let mut variables = BTreeMap::new();
        for name in Self::names() {
            let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { continue };
            let value = value.into_string().map_err(|value| {
                let text = format!("environment variable {name} is not UTF-8: {}", value.display());
                Error::new(Kind::Params, text)
            })?;
            variables.insert(name, value);
        }
        Ok(Self {
            variables,
            cwd: std::env::current_dir().unwrap_or_default(),
            uid: rustix::process::geteuid().as_raw(),
            system_dir: PathBuf::from("/etc/dijitso"),
        })
    }

    /// Returns the same variables with the present user and working directory; `None` if these are the same, too.
    #[must_use]
    pub fn moved(&self) -> Option<Self> {
        let (cwd, uid) = (std::env::current_dir().unwrap_or_default(), rustix::process::geteuid().as_raw());
        (cwd != self.cwd || uid != self.uid).then(|| Self { cwd, uid, ..self.clone() })
    }

    /// Returns the names of all variables that are read.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KEYS.iter().filter_map(|key| key.environment).chain(VARIABLES)
    }

    /// Returns the value of a variable, if it is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the home directory.
    #[must_use]
    pub fn home(&self) -> Option<&str> {
        self.variable("HOME")
    }

    /// Returns the default cache directory: in the active virtual or conda environment, else in the home
    /// directory.
    #[must_use]
    pub fn default_cache_dir(&self) -> Option<String> {
        let base = ["VIRTUAL_ENV", "CONDA_PREFIX", "HOME"].iter().find_map(|name| self.variable(name))?;
        Some(format!("{}/.cache/dijitso", base.trim_end_matches('/')))
    }

    /// Returns the default of `build.slots_dir`: one place for all programs of this user, whether started
    /// from a session, by a batch system or by cron.
    #[must_use]
    pub fn default_slots_dir(&self) -> Option<String> {
        Some(format!("{}/.cache/dijitso-slots", self.home()?.trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_none_of_ours_is_complained_of() {
        for (name, part) in [
            ("DIJITSO_CACHEDIR", "did you mean DIJITSO_CACHE_DIR?"),
            ("DIJITSO_CHECK_SOURCES", "did you mean DIJITSO_CHECK_SOURCE?"),
            ("DIJITSO_LOGS", "did you mean DIJITSO_LOG?"),
            ("DIJITSO_CXXFLAGS", "set build.cxxflags in"),
            ("DIJITSO_BUILDON", "set parallel.buildon in"),
            ("DIJITSO_CXXFLAG", "dijitso config shows"),
        ] {
            let warning = unknown_variable_warning(name).unwrap_or_default();
            assert!(warning.contains(name) && warning.contains(part), "{warning}");
        }
        let ours = Environment::names().filter(|name| name.starts_with("DIJITSO_"));
        for name in ours.chain(OTHERS).chain([
            "DIJITSO_TEST_PART",
            "DIJITSO_RENEW_DOCS",
            "DIJITSO_DIR",
            "DIJITSO_ROOT",
            "HOME",
        ]) {
            assert_eq!(unknown_variable_warning(name), None);
        }
    }
}
