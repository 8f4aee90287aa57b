//! The context of every subcommand: global options, parameters, cache, output.

#![forbid(unsafe_code)]

use std::fmt::Display;

use clap::{ArgAction, Args};

use dijitso::cache::Cache;
use dijitso::error::{Error, Kind, Result};
use dijitso::params::Params;

use super::color::Color;
use super::output::{self, Out};
use super::usage;

/// Options of every subcommand. They may stand before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct GlobalOptions {
    /// The cache directory, instead of the configured one.
    #[arg(short = 'r', long, value_name = "DIR", global = true, value_hint = clap::ValueHint::DirPath)]
    pub(super) cache_dir: Option<String>,

    /// Print what would be done, and change nothing.
    #[arg(short = 'n', long, global = true)]
    pub(super) dry_run: bool,

    /// Print more messages; given twice, all.
    #[arg(short = 'v', long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Write results as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Use colours never, always, or on terminals unless NO_COLOR is set (auto).
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = Color::Auto)]
    pub(super) color: Color,
}

impl GlobalOptions {
    /// Returns these options of a command within others, which hold for what these leave open.
    pub(super) fn within(mut self, others: &Self) -> Self {
        self.cache_dir = self.cache_dir.or_else(|| others.cache_dir.clone());
        self.dry_run |= others.dry_run;
        self.verbose = self.verbose.max(others.verbose);
        self.json |= others.json;
        self.color = others.color;
        self
    }

    /// Returns the most detailed level of log messages that is shown.
    pub(super) fn level(&self) -> log::LevelFilter {
        match self.verbose {
            0 => log::LevelFilter::Warn,
            1 => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        }
    }
}

/// Everything that a subcommand gets besides its own arguments.
pub(super) struct CommandContext {
    /// The global options.
    pub(super) options: GlobalOptions,
    /// The output for results.
    pub(super) out: Out,
    /// The labels of the nodes that the last command has selected; `None` before the first.
    pub(super) last_nodes: Option<Vec<String>>,
    /// True if this process writes results and messages: of several ranks one does.
    pub(super) is_speaker: bool,
}

impl CommandContext {
    /// Returns a context that writes to the standard output.
    pub(super) fn new(options: GlobalOptions) -> Self {
        let out = Out::stdout(options.json);
        Self { options, out, last_nodes: None, is_speaker: true }
    }

    /// Returns the configured parameters, with the directory of `--cache-dir`.
    pub(super) fn params(&self) -> Result<Params> {
        let mut params = Params::new()?;
        if let Some(dir) = &self.options.cache_dir {
            if dir.is_empty() {
                return Err(usage("--cache-dir is empty: name a directory, or leave the option out"));
            }
            params.set("cache.cache_dir", dir)?;
        }
        Ok(params)
    }

    /// Returns the cache. It need not exist.
    pub(super) fn new_cache(&self) -> Result<Cache> {
        let params = self.params()?.resolve()?;
        Ok(Cache::new(&params.cache.cache_dir, &params.cache))
    }

    /// Returns the cache. The configured directory need not exist.
    ///
    /// # Errors
    /// `Kind::Cache` if the directory of `--cache-dir` does not exist.
    pub(super) fn cache(&self) -> Result<Cache> {
        let cache = self.new_cache()?;
        let root = cache.layout().root();
        if self.options.cache_dir.is_some() && !root.is_dir() {
            let text = format!("there is no cache at {} (option --cache-dir)", root.display());
            return Err(Error::new(Kind::Cache, text));
        }
        Ok(cache)
    }

    /// Writes an error. Of a file with mistakes, all of them.
    pub(super) fn note_error(&mut self, error: &Error) {
        if error.kind() == Kind::Params && !error.log().is_empty() {
            error.log().lines().for_each(|line| self.note(&line));
        } else {
            self.note(error);
        }
    }

    /// Writes a message that is no result to the standard error stream.
    pub(super) fn note(&mut self, text: &dyn Display) {
        // Keeps the order if both streams are one terminal.
        self.out.flush();
        output::note(text);
    }
}
