//! The command `dijitso`, one file a subcommand.
//!
//! Exit codes: 0 success, 1 failure, 2 a command line that is not understood.

#![forbid(unsafe_code)]

mod config;
mod version;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::params::Params;

/// Look after the cache of just-in-time built libraries.
#[derive(Debug, Parser)]
#[command(name = "dijitso", version, arg_required_else_help = true)]
struct Arguments {
    /// The cache directory, instead of the configured one.
    #[arg(short = 'r', long, value_name = "DIR", global = true)]
    cache_dir: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the version of dijitso.
    Version,
    /// Show the parameters, and where each value comes from.
    Config(config::Arguments),
}

/// Shows what the library warns of: a program has its own logger, the command has this one.
struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = writeln!(std::io::stderr(), "dijitso: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Runs the command that the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let mut out = Vec::new();
    let result = run(&arguments, &mut out);
    // A reader that has closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(&out);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "dijitso: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Result<()> {
    match &arguments.command {
        Command::Version => {
            version::run(out);
            Ok(())
        }
        Command::Config(command) => {
            let mut params = Params::new()?;
            if let Some(dir) = &arguments.cache_dir {
                params.set("cache.cache_dir", dir)?;
            }
            config::run(command, &params, out)
        }
    }
}
