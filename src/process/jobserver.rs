//! The jobserver of GNU make: the number of jobs that `make -jN` shares out among all that it starts.
//!
//! A process that make has started may run one job. For each further one it takes a token, and gives it back.

use std::io;

use jobserver::{Acquired, Client};

/// The variables in which make names its jobserver. Without them nothing is looked for.
const VARIABLES: [&str; 2] = ["CARGO_MAKEFLAGS", "MAKEFLAGS"];

/// The jobserver that has started this process.
#[derive(Clone, Debug)]
pub struct Jobserver(Client);

/// The right to run one job more, until it is dropped.
#[derive(Debug)]
pub struct JobToken {
    _acquired: Acquired,
}

impl Jobserver {
    /// Returns the jobserver that the environment names; `None` if it names none. With `by_path`, only one that is
    /// named by a path (GNU make 4.4) and not by numbers of descriptors, which a launcher may have closed and used
    /// again.
    ///
    /// # Errors
    /// Those of the system. make closes its descriptors for commands that are not marked with `+`.
    pub fn of_environment(by_path: bool) -> io::Result<Option<Self>> {
        let is_named = |name: &&str| {
            let value = std::env::var(name).unwrap_or_default();
            let auth =
                ["--jobserver-auth=", "--jobserver-fds="].iter().find_map(|key| value.split(key).nth(1));
            auth.is_some_and(|auth| !by_path || auth.starts_with("fifo:"))
        };
        if !VARIABLES.iter().any(is_named) {
            return Ok(None);
        }
        // SAFETY: the crate opens the pipe anew by its path, or by /dev/fd, and takes no descriptor over. It checks
        // that numbers name a pipe. The command calls this before it has opened pipes of its own.
        let found = unsafe { Client::from_env_ext(true) };
        match found.client {
            Ok(client) => Ok(Some(Self(client))),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    /// Takes a token without waiting; `None` if all are taken.
    ///
    /// # Errors
    /// Those of the system.
    pub fn try_take(&self) -> io::Result<Option<JobToken>> {
        Ok(self.0.try_acquire()?.map(|acquired| JobToken { _acquired: acquired }))
    }
}
