//! What to load, from the bytes of entries alone.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use crate::error::{Error, Kind, Result};

use super::{EntryView, VerifiedLib, record, with_dependencies};

/// The library of `signature` and those that it is linked to, dependencies first. The digests are those that
/// [`super::Cache::lookup`] gives.
///
/// # Errors
/// [`Kind::Cache`] when one is missing or damaged.
pub fn order(entries: &[EntryView<'_>], signature: &str) -> Result<Vec<VerifiedLib>> {
    let mut order = Vec::new();
    add(entries, signature, &mut order, &mut HashSet::new())?;
    Ok(order)
}

/// The signatures of the libraries that an entry is linked to.
///
/// # Errors
/// [`Kind::Cache`] if it is damaged.
pub fn dependencies(files: EntryView<'_>) -> Result<Vec<String>> {
    let needed = record::open_to_load(files.library, files.signature);
    let broken = |damage: record::Invalid| format!("cannot load {}: {}", files.signature, damage.describe());
    Ok(needed.map_err(|damage| Error::new(Kind::Cache, broken(damage)))?.dependencies)
}

/// The file of a library among entries.
#[must_use]
pub fn library<'a>(entries: &[EntryView<'a>], signature: &str) -> Option<&'a [u8]> {
    entries.iter().find(|files| files.signature == signature).map(|files| files.library)
}

fn add(
    entries: &[EntryView<'_>],
    signature: &str,
    order: &mut Vec<VerifiedLib>,
    seen: &mut HashSet<String>,
) -> Result<()> {
    if !seen.insert(signature.to_owned()) {
        return Ok(());
    }
    let broken = |reason: &str| Error::new(Kind::Cache, format!("cannot load {signature}: {reason}"));
    let file = library(entries, signature).ok_or_else(|| broken("it is not among what was handed over"))?;
    let record = record::open(file, signature).map_err(|damage| broken(&damage.describe()))?;
    for dependency in &record.dependencies {
        add(entries, dependency, order, seen)?;
    }
    let digest = with_dependencies(record::digest_of(file), &record.dependencies, order);
    order.push(VerifiedLib { signature: signature.to_owned(), digest, build_ms: record.milliseconds() });
    Ok(())
}
