//! The libraries to load for an entry, in order.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::codec::{Digest32, digest};
use crate::error::{Error, Kind, Result};

use super::walk::DependencyWalk;
use super::{EntryView, VerifiedLib, record};

/// A library whose own bytes are verified.
#[derive(Clone)]
pub(super) struct OwnDigest {
    /// The digest of the file.
    pub(super) digest: Digest32,
    /// The signatures that the library is linked to.
    pub(super) dependencies: Vec<String>,
    /// Milliseconds that the compiler took.
    pub(super) build_ms: u64,
}

/// Combines the digest of each library with those of its dependencies, which come before it.
pub(super) fn verified(libraries: Vec<(String, OwnDigest)>) -> Vec<VerifiedLib> {
    let mut order: Vec<VerifiedLib> = Vec::with_capacity(libraries.len());
    for (signature, OwnDigest { digest: own, dependencies, build_ms }) in libraries {
        let of = |signature: &String| order.iter().find(|lib| lib.signature == *signature);
        let all: Vec<Digest32> = dependencies.iter().filter_map(of).map(|lib| lib.digest).collect();
        let digest =
            if dependencies.is_empty() { own } else { digest(&[&[own][..], &all].concat().concat()) };
        order.push(VerifiedLib { signature, digest, build_ms });
    }
    order
}

/// The library of `signature` and those that it is linked to, dependencies first, from the bytes of `entries`
/// alone. The digests are those that [`super::Cache::lookup`] gives.
///
/// # Errors
/// [`Kind::Cache`] if one is missing or invalid.
pub fn order(entries: &[EntryView<'_>], signature: &str) -> Result<Vec<VerifiedLib>> {
    order_with(entries, signature, &mut HashMap::new())
}

/// Does the same as [`order`] for several signatures. Verifies each library once.
pub fn orders(entries: &[EntryView<'_>], signatures: &[&str]) -> Vec<Result<Vec<VerifiedLib>>> {
    let mut verified = HashMap::new();
    signatures.iter().map(|signature| order_with(entries, signature, &mut verified)).collect()
}

/// Does the same as [`order`]. `known` are the libraries that were verified before.
fn order_with(
    entries: &[EntryView<'_>],
    signature: &str,
    known: &mut HashMap<String, OwnDigest>,
) -> Result<Vec<VerifiedLib>> {
    let open = |signature: &str| {
        if !known.contains_key(signature) {
            let file = library(entries, signature)
                .ok_or_else(|| cannot_load(signature, "it is not among what was handed over"))?;
            let record = record::open_to_load(file, signature)
                .map_err(|invalid| cannot_load(signature, &invalid.describe()))?;
            let (digest, build_ms) = (record::digest_of(file), record.build_ms());
            let own = OwnDigest { digest, dependencies: record.dependencies, build_ms };
            known.insert(signature.to_owned(), own);
        }
        let own = known[signature].clone();
        let needs = own.dependencies.clone();
        Ok((own, needs))
    };
    DependencyWalk::default().visit(signature, open).map(verified).map_err(|stopped| stopped.error)
}

/// The signatures of the libraries that an entry is linked to.
///
/// # Errors
/// [`Kind::Cache`] if the entry is invalid.
pub fn dependencies(files: EntryView<'_>) -> Result<Vec<String>> {
    record::open_to_load(files.library, files.signature)
        .map(|record| record.dependencies)
        .map_err(|invalid| cannot_load(files.signature, &invalid.describe()))
}

/// The library file of `signature` among `entries`.
#[must_use]
pub fn library<'a>(entries: &[EntryView<'a>], signature: &str) -> Option<&'a [u8]> {
    entries.iter().find(|files| files.signature == signature).map(|files| files.library)
}

fn cannot_load(signature: &str, reason: &str) -> Error {
    Error::new(Kind::Cache, format!("cannot load {signature}: {reason}"))
}
