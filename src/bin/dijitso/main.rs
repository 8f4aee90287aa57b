//! The command `dijitso`, one file a subcommand.
//!
//! A subcommand is a module with `Arguments`, which has `run`, and a line in `subcommands!`. It writes its results to
//! `Context::out` and what else it has to say to `Context::note`; nothing else in this crate writes to the standard
//! streams.

#![forbid(unsafe_code)]

mod check;
mod checkout;
mod clean;
mod completions;
mod config;
mod context;
mod diagnosis;
mod disk;
mod doctor;
mod export;
mod gc;
mod grep;
mod grepfunction;
mod import;
mod interrupt;
mod man;
mod output;
mod parameters;
mod select;
mod show;
mod stats;
mod version;
mod why;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use dijitso::error::{Error, Kind, Result};
use dijitso::escape;

use context::{Context, Options};

/// What the exit codes mean, for the help.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; grep and grepfunction: something was found; check: nothing is broken, or it was repaired
  1  grep and grepfunction: nothing was found; check: something is broken
  2  the command line is not understood
  3  an error of the cache or of the parameters: unknown signature or key, unreadable file;
     import: something was refused; doctor: something is bad; the output cannot be written";

/// Look after the cache of just-in-time built libraries.
#[derive(Debug, Parser)]
#[command(name = "dijitso", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    command: Command,
}

/// How a subcommand has ended, when not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It did what it was asked.
    Done,
    /// It has found nothing.
    NothingFound,
    /// It has found something broken.
    Broken,
    /// It has found, and said, that this machine is not fit.
    Bad,
}

/// The subcommands: help, name, module.
macro_rules! subcommands {
    ($($(#[$help:meta])* $name:ident in $module:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$help])* $name($module::Arguments),)*
        }

        impl Command {
            fn run(&self, context: &mut Context) -> Result<Outcome> {
                match self {
                    $(Self::$name(arguments) => arguments.run(context),)*
                }
            }
        }
    };
}

subcommands! {
    /// Print the version of dijitso.
    Version in version,
    /// Show the parameters, and where each value comes from.
    Config in config,
    /// Show what is in the cache.
    Show in show,
    /// Remove files from the cache.
    Clean in clean,
    /// Search the text of files in the cache.
    Grep in grep,
    /// Search functions by name in sources in the cache, and show them whole.
    Grepfunction in grepfunction,
    /// Copy the files of an entry into a new directory.
    Checkout in checkout,
    /// Check every file of the cache, and repair what is broken.
    Check in check,
    /// Remove what has not been used for long, until the cache is below its limits.
    Gc in gc,
    /// Show how often libraries were found, built and could not be built, and what they take.
    Stats in stats,
    /// Say why a request would be a miss, or what an entry was built from.
    Why in why,
    /// Write entries, with all that they need, to a bundle that can be carried to another machine.
    Export in export,
    /// Put the entries of a bundle into the cache.
    Import in import,
    /// Look at compiler, disks, cores and MPI, and say which settings fit.
    Doctor in doctor,
    /// Print a script that completes dijitso's options in a shell.
    Completions in completions,
    /// Write the manual pages of dijitso into a directory.
    Man in man,
}

/// Shows what the library warns of: a program has its own logger, the command has this one.
struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("dijitso")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let _ = writeln!(std::io::stderr(), "dijitso: {}", escape::lines(&text));
        }
    }

    fn flush(&self) {}
}

/// Whether colours are wanted, before it is known whether the rest of the command line is understood: help and errors
/// have colours too.
fn choose_colour() {
    let words: Vec<_> = std::env::args_os().collect();
    let joined = words.iter().filter_map(|word| word.to_str()?.strip_prefix("--color="));
    let separate = words.windows(2).filter(|pair| pair[0] == "--color").filter_map(|pair| pair[1].to_str());
    match joined.chain(separate).last() {
        Some("always") => anstream::ColorChoice::Always,
        Some("never") => anstream::ColorChoice::Never,
        _ => return,
    }
    .write_global();
}

/// Runs the command that the arguments of this process ask for.
fn main() -> ExitCode {
    choose_colour();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return said(&answer),
    };
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(arguments.options.level());
    }
    let mut context = Context::new(arguments.options);
    let result = arguments.command.run(&mut context);
    context.out.flush();
    let lost_reader = context.out.has_lost_reader();
    match (result, context.out.finish()) {
        (Ok(Outcome::Done), Ok(())) => ExitCode::SUCCESS,
        (Ok(Outcome::NothingFound | Outcome::Broken), Ok(())) => ExitCode::from(1),
        (Ok(Outcome::Bad), Ok(())) => ExitCode::from(3),
        // Whoever has closed the pipe needs no reason.
        (Err(_), _) if lost_reader => ExitCode::from(3),
        (Err(error), _) => {
            context.note(&error);
            ExitCode::from(if error.kind() == Kind::InvalidArgument { 2 } else { 3 })
        }
        (Ok(_), Err(error)) => unwritten(&error),
    }
}

/// Shows the help, the version, or what is wrong with the command line.
fn said(answer: &clap::Error) -> ExitCode {
    let written = answer.print().and_then(|()| std::io::stdout().flush());
    match written {
        Err(error) if !answer.use_stderr() && error.kind() != std::io::ErrorKind::BrokenPipe => {
            unwritten(&error)
        }
        _ => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2)),
    }
}

fn unwritten(error: &std::io::Error) -> ExitCode {
    output::note(&format_args!("cannot write the output: {error}"));
    ExitCode::from(3)
}

/// A mistake on the command line that clap cannot see.
fn usage(text: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, text)
}

/// The whole command line, for completions and manual pages.
fn definition() -> clap::Command {
    Arguments::command()
}
