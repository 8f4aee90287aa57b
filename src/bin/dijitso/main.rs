//! The command `dijitso`, one file a subcommand.
//!
//! A subcommand is a module with a type `Arguments` that has a method `run`, and a line in `subcommands!`. It
//! writes results to `CommandContext::out` and other messages to `CommandContext::note`, and never to the
//! standard streams themselves.

#![forbid(unsafe_code)]

mod check;
mod checkout;
mod clean;
mod cluster;
mod color;
mod completer;
mod completions;
mod config;
mod console;
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
mod logger;
mod make;
mod man;
mod output;
mod parameters;
mod plan;
mod ps;
mod select;
mod show;
mod stats;
mod version;
mod why;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use dijitso::error::{Error, Kind, Result};

use context::{CommandContext, GlobalOptions};

/// The meaning of the exit codes, at the end of the help.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; grep and grepfunction: found something; check: nothing is broken, or everything is repaired
  1  grep and grepfunction: found nothing; check: something is broken
  2  the command line is wrong
  3  an error of the cache or of the parameters: unknown signature or key, unreadable file;
     import: an entry was refused; doctor: a probe is bad; the output cannot be written";

/// Look after the cache of libraries that were built just in time.
#[derive(Debug, Parser)]
#[command(name = "dijitso", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    options: GlobalOptions,

    #[command(subcommand)]
    command: Subcommands,
}

/// The status of a subcommand that ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Everything is done.
    Done,
    /// Nothing was found.
    NothingFound,
    /// Something in the cache is broken.
    Broken,
    /// This machine has a problem; the output names it.
    Bad,
    /// A command of the console has ended with this exit code, and has said why.
    Ended(u8),
}

/// Makes the list of subcommands from help, name and module of each.
macro_rules! subcommands {
    ($($(#[$help:meta])* $name:ident in $module:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Subcommands {
            $($(#[$help])* $name($module::Arguments),)*
        }

        impl Subcommands {
            fn run(&self, context: &mut CommandContext) -> Result<Status> {
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
    /// Show the parameters and the source of each value.
    Config in config,
    /// Show what is in the cache.
    Show in show,
    /// Remove files from the cache.
    Clean in clean,
    /// Search the text of files in the cache.
    Grep in grep,
    /// Find functions by name in the sources of the cache, and show them whole.
    Grepfunction in grepfunction,
    /// Copy the files of an entry into a new directory.
    Checkout in checkout,
    /// Check every file of the cache, and repair it with --repair.
    Check in check,
    /// Remove the least recently used entries until the cache is below its limits.
    Gc in gc,
    /// Show how often libraries were found, built and failed, and what the cache takes, of which limits.
    Stats in stats,
    /// Show what is being built now, by whom, where, and since when.
    Ps in ps,
    /// Explain why a request would be a miss, or describe an entry.
    Why in why,
    /// Write entries and their dependencies to a bundle for another machine.
    Export in export,
    /// Put the entries of a bundle into the cache.
    Import in import,
    /// Make the nodes of a build plan.
    Make in make,
    /// Look at a build plan, change what is made of it, or write one.
    Plan in plan,
    /// Read commands on a build plan, one after the other.
    Console in console,
    /// Examine compiler, disks, cores and MPI, and recommend settings.
    Doctor in doctor,
    /// Print a script that completes commands and options in a shell.
    Completions in completions,
    /// Write the manual pages of dijitso into a directory.
    Man in man,
}

/// Runs the subcommand that the command line names.
fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(definition).var(completer::VARIABLE).complete();
    color::choose();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return show(&answer),
    };
    logger::install(arguments.options.level());
    let mut context = CommandContext::new(arguments.options);
    let result = arguments.command.run(&mut context);
    context.out.flush();
    let lost_reader = context.out.has_lost_reader();
    match (result, context.out.finish()) {
        // The reader that closed the pipe needs no reason.
        (Err(_), _) if lost_reader => ExitCode::from(3),
        (Err(error), _) => {
            context.note_error(&error);
            ExitCode::from(exit_code(&Err(error)))
        }
        (Ok(status), Ok(())) => ExitCode::from(exit_code(&Ok(status))),
        (Ok(_), Err(error)) => unwritten(&error),
    }
}

/// Returns the exit code of a subcommand that has ended so.
fn exit_code(result: &Result<Status>) -> u8 {
    match result {
        Ok(Status::Done) => 0,
        Ok(Status::NothingFound | Status::Broken) => 1,
        Ok(Status::Bad) => 3,
        Ok(Status::Ended(code)) => *code,
        Err(error) if error.kind() == Kind::InvalidArgument => 2,
        Err(_) => 3,
    }
}

/// Shows the help, the version, or the mistake on the command line.
fn show(answer: &clap::Error) -> ExitCode {
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

/// Returns the error of a mistake on the command line that clap does not see.
fn usage(text: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, text)
}

/// Returns the definition of the whole command line, for completions and manual pages.
fn definition() -> clap::Command {
    Arguments::command()
}
