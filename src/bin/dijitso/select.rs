//! Options by which several subcommands choose files: categories and entries.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::cache::catalog::{Catalog, Entry};
use dijitso::cache::disk_usage::Selection;
use dijitso::cache::layout::Category;
use dijitso::error::{Error, Result};

/// The value of `--categories`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Categories(pub(super) Vec<Category>);

impl std::str::FromStr for Categories {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Category::parse_list(text).map(Self)
    }
}

/// The value of `--categories` where more than the files of entries can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kinds(pub(super) Selection);

impl std::str::FromStr for Kinds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Selection::parse_list(text).map(Self)
    }
}

/// The entries that a subcommand is about.
#[derive(Debug, Args)]
pub(super) struct Entries {
    /// Entries: signatures, names, patterns as "poisson_*", or the beginning of one signature; without any, all
    #[arg(value_name = "ENTRY")]
    entries: Vec<String>,

    /// The same; may be repeated
    #[arg(long, value_name = "ENTRY")]
    signature: Vec<String>,
}

impl Entries {
    /// The words.
    pub(super) fn words(&self) -> Vec<String> {
        self.entries.iter().chain(&self.signature).cloned().collect()
    }

    /// Whether there is no word.
    pub(super) fn are_all(&self) -> bool {
        self.entries.is_empty() && self.signature.is_empty()
    }

    /// The entries that the words stand for, each once, in the order of the words; all if there is no word.
    pub(super) fn of<'a>(&self, catalog: &'a Catalog) -> Result<Vec<&'a Entry>> {
        if self.are_all() {
            let mut all: Vec<&Entry> = catalog.all().collect();
            all.sort_by(|a, b| a.signature.cmp(&b.signature));
            return Ok(all);
        }
        catalog.select(&self.words())
    }
}
