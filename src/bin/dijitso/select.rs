//! Options of several subcommands that choose files: categories and entries.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::cache::catalog::{Catalog, Entry};
use dijitso::cache::disk_usage::Selection;
use dijitso::cache::layout::Category;
use dijitso::error::{Error, Result};

use super::completer;

/// The value of `--categories`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Categories(pub(super) Vec<Category>);

impl std::str::FromStr for Categories {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Category::parse_list(text).map(Self)
    }
}

/// The value of `--categories` in subcommands that can also choose files outside entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kinds(pub(super) Selection);

impl std::str::FromStr for Kinds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Selection::parse_list(text).map(Self)
    }
}

/// The entries that a subcommand works on.
#[derive(Debug, Args)]
pub(super) struct Entries {
    /// Signatures, names, patterns such as "poisson_*", or the beginning of one signature; default: all
    /// entries
    #[arg(value_name = "ENTRY", add = completer::entries())]
    entries: Vec<String>,

    /// The same as ENTRY; may be repeated
    #[arg(long, value_name = "ENTRY", add = completer::entries())]
    signature: Vec<String>,
}

impl Entries {
    /// Returns the words that choose entries.
    pub(super) fn words(&self) -> Vec<String> {
        self.entries.iter().chain(&self.signature).cloned().collect()
    }

    /// Returns whether no entry is named, which chooses all.
    pub(super) fn are_all(&self) -> bool {
        self.entries.is_empty() && self.signature.is_empty()
    }

    /// Returns the chosen entries, each once, in the order of the words.
    ///
    /// # Errors
    /// `Kind::Cache` if a word stands for no entry; `Kind::InvalidArgument` if a pattern is wrong.
    pub(super) fn of<'a>(&self, catalog: &'a Catalog) -> Result<Vec<&'a Entry>> {
        if self.are_all() {
            let mut all: Vec<&Entry> = catalog.all().collect();
            all.sort_by(|a, b| a.signature.cmp(&b.signature));
            return Ok(all);
        }
        catalog.select(&self.words())
    }
}
