//! What a process finds around it: environment, home, working directory. A value, so that tests can make one.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

use super::schema::KEYS;

/// Environment variables that matter here beside those of the schema.
const VARIABLES: [&str; 4] = ["DIJITSO_CONF", "HOME", "VIRTUAL_ENV", "CONDA_PREFIX"];

/// The part of the process' surroundings that parameters depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Variables that are set and not empty.
    pub variables: BTreeMap<&'static str, String>,
    /// The working directory; config files are looked for in it first.
    pub cwd: PathBuf,
    /// The effective user.
    pub uid: u32,
    /// The directory of the system-wide config file.
    pub system_dir: PathBuf,
}

impl Surroundings {
    /// Those of this process, now.
    ///
    /// # Errors
    /// [`Kind::Params`] for a variable that is not UTF-8: it would name another place than the one that was meant.
    pub fn of_process() -> Result<Self> {
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

    /// The names of all variables that matter.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KEYS.iter().filter_map(|key| key.environment).chain(VARIABLES)
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> Option<&str> {
        self.variable("HOME")
    }

    /// The default cache directory: below the active virtual or conda environment, else below the home directory.
    #[must_use]
    pub fn default_cache_dir(&self) -> Option<String> {
        let base = ["VIRTUAL_ENV", "CONDA_PREFIX", "HOME"].iter().find_map(|name| self.variable(name))?;
        Some(format!("{}/.cache/dijitso", base.trim_end_matches('/')))
    }

    /// Where programs of this user count their compilers by default: one place for all of them, whether they were
    /// started from a session, by a batch system or by cron.
    #[must_use]
    pub fn default_slots_dir(&self) -> Option<String> {
        Some(format!("{}/.cache/dijitso-slots", self.home()?.trim_end_matches('/')))
    }
}
