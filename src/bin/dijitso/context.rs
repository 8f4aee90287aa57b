//! What all subcommands share: the global options, the parameters and the cache that they name, the output.

#![forbid(unsafe_code)]

use std::fmt::Display;

use clap::{ArgAction, Args, ValueEnum};

use dijitso::cache::Cache;
use dijitso::error::{Error, Kind, Result};
use dijitso::params::Params;

use super::output::{self, Out};
use super::usage;

/// When colours are used; by default on terminals, unless NO_COLOR is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// Options that every subcommand has; they may stand before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct Options {
    /// The cache directory, instead of the configured one.
    #[arg(short = 'r', long, value_name = "DIR", global = true, value_hint = clap::ValueHint::DirPath)]
    pub(super) cache_dir: Option<String>,

    /// Only say what would be done, and change nothing.
    #[arg(short = 'n', long, global = true)]
    pub(super) dry_run: bool,

    /// Say more of what is done; twice for everything.
    #[arg(short = 'v', long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Write results as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// When to use colours; auto: on terminals, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = Color::Auto)]
    pub(super) color: Color,
}

impl Options {
    /// What of the library's log is shown.
    pub(super) fn level(&self) -> log::LevelFilter {
        match self.verbose {
            0 => log::LevelFilter::Warn,
            1 => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        }
    }
}

/// What a subcommand runs in.
pub(super) struct Context {
    /// The global options.
    pub(super) options: Options,
    /// Where results go.
    pub(super) out: Out,
}

impl Context {
    /// The context of this process.
    pub(super) fn new(options: Options) -> Self {
        let out = Out::stdout(options.json);
        Self { options, out }
    }

    /// The parameters: what is configured, and the cache directory if it was named.
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

    /// The cache, which need not be there yet.
    pub(super) fn new_cache(&self) -> Result<Cache> {
        let params = self.params()?.resolve()?;
        Ok(Cache::new(&params.cache.cache_dir, &params.cache))
    }

    /// The cache. One that was named and is not there is a mistake; the configured one may not be there yet.
    pub(super) fn cache(&self) -> Result<Cache> {
        let cache = self.new_cache()?;
        let root = cache.layout().root();
        if self.options.cache_dir.is_some() && !root.is_dir() {
            let text = format!("there is no cache at {} (option --cache-dir)", root.display());
            return Err(Error::new(Kind::Cache, text));
        }
        Ok(cache)
    }

    /// Says something that is not a result.
    pub(super) fn note(&mut self, text: &dyn Display) {
        // In the order in which it happened, where both streams are one terminal.
        self.out.flush();
        output::note(text);
    }
}
