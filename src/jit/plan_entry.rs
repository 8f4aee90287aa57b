//! Entries of a cache as plans name them: by their signature, with the parameters that build them again.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::build::modules;
use crate::cache::Cache;
use crate::cache::layout::Category;
use crate::codec::digest_of_hex;
use crate::error::Result;
use crate::signature::is_by_name;

/// An entry as plans name it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanEntry {
    /// The signature.
    pub signature: String,
    /// The name of the library.
    pub name: String,
    /// Parameters that differ from the defaults and change what is built, by their keys.
    pub settings: BTreeMap<String, String>,
    /// Section `generator` as JSON; empty if it has nothing.
    pub generator: String,
    /// True if the source is part of the key.
    pub keyed_by_text: bool,
    /// True if it has a header that was given with the source.
    pub has_header: bool,
    /// True if its source is in the cache.
    pub has_source: bool,
    /// Signatures of the entries that it is linked to.
    pub needs: Vec<String>,
    /// Signatures of the entries that must be there before it and that it is not linked to: its source may
    /// include their headers.
    pub after: Vec<String>,
}

impl PlanEntry {
    /// Reads an entry. `None` if it is not there, or has no record.
    ///
    /// # Errors
    /// [`Kind::Cache`](crate::error::Kind::Cache) if a file of it cannot be read.
    pub fn read(cache: &Cache, signature: &str) -> Result<Option<Self>> {
        let Some(record) = cache.record(signature)? else { return Ok(None) };
        let text = record.text.as_deref().and_then(digest_of_hex);
        let mut settings = record.build_spec.settings();
        if is_by_name(signature, &record.name, text.as_ref()) {
            settings.insert("cache.signature".to_owned(), "name".to_owned());
        }
        let has_header =
            record.header.is_some() && !has_modules(cache, signature, &record.build_spec.language)?;
        let sources = cache.layout().candidates(Category::Src, signature);
        Ok(Some(Self {
            signature: signature.to_owned(),
            name: record.name,
            settings,
            generator: if record.generator == "{}" { String::new() } else { record.generator },
            keyed_by_text: record.text.is_some(),
            has_header,
            has_source: sources.iter().any(|path| path.is_file()),
            needs: record.dependencies,
            after: record.nested,
        }))
    }

    /// Returns the signatures of the entries that must be there before it.
    pub fn before(&self) -> impl Iterator<Item = &String> {
        self.needs.iter().chain(&self.after)
    }
}

/// Returns true if the header of an entry is its compiled modules, which a build makes again.
fn has_modules(cache: &Cache, signature: &str, language: &str) -> Result<bool> {
    if !modules::has_modules(language) {
        return Ok(false);
    }
    Ok(cache.read_header(signature)?.is_some_and(|header| modules::is_encoded(&header)))
}
