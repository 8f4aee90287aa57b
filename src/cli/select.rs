//! Options by which several subcommands choose files: categories and signatures.

#![forbid(unsafe_code)]

use crate::cache::catalog::{Catalog, Entry};
use crate::cache::layout::Category;
use crate::error::{Error, Result};

/// The value of `--categories`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Categories(pub(super) Vec<Category>);

impl std::str::FromStr for Categories {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Category::parse_list(text).map(Self)
    }
}

/// The entries that these words stand for, each once, in the order of the words; all when there is no word.
pub(super) fn chosen<'a>(catalog: &'a Catalog, words: &[String]) -> Result<Vec<&'a Entry>> {
    if words.is_empty() {
        let mut all: Vec<&Entry> = catalog.all().collect();
        all.sort_by(|a, b| a.signature.cmp(&b.signature));
        return Ok(all);
    }
    let mut entries: Vec<&Entry> = Vec::new();
    for word in words {
        let entry = catalog.resolve(word)?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    Ok(entries)
}
