//! Explaining misses: why a request is not in the cache, and the error of a frozen cache.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::cache::Cache;
use crate::cache::explain::compare::ComparedBuild;
use crate::cache::explain::{self, ExplainRequest, Explanation};
use crate::codec::hex;
use crate::error::{Error, Kind, Result};
use crate::sync::lock;

use super::build_input::build_spec;
use super::request::SignedRequest;

/// Explains why the library of a request is, or is not, in the cache: compares it with the nearest entry of
/// the same name, component by component. Builds nothing.
///
/// # Errors
/// `Kind::Cache` if the cache cannot be read.
pub(super) fn explain(signed: &SignedRequest<'_>, cache: &Cache) -> Result<Explanation> {
    let params = signed.request.params;
    explain::explain(
        cache,
        &ExplainRequest {
            name: signed.request.name.to_owned(),
            signature: signed.signature.clone(),
            build: ComparedBuild {
                by_name: params.cache.signature_is_name,
                text: params.text.map(|text| hex(&text)),
                build_spec: build_spec(&params.build),
                toolchain: signed.toolchain.clone(),
                generator: params.generator.clone(),
            },
        },
    )
}

/// Logs why a library is about to be built.
pub(super) fn log_miss_reason(signed: &SignedRequest<'_>, cache: &Cache) {
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    match explain(signed, cache) {
        Ok(explanation) => log::info!("building {}: {}", signed.signature, explanation.brief()),
        Err(error) => log::info!("building {}: {error}", signed.signature),
    }
}

/// The most earlier misses that the error of a frozen cache names.
const MAX_NAMED: usize = 100;

/// Signatures that frozen caches did not have, in this process.
#[derive(Default)]
pub(super) struct FrozenMisses(Mutex<BTreeSet<String>>);

impl FrozenMisses {
    /// Notes a miss in a frozen cache. The error says what is missing, why, and what was missing before in
    /// this process. Only ranks whose error is reported `explain` it, because that reads the cache.
    pub(super) fn error(&self, signed: &SignedRequest<'_>, cache: &Cache, explains: bool) -> Error {
        let others: Vec<String> = {
            let mut missing = lock(&self.0);
            missing.insert(signed.signature.clone());
            missing.iter().filter(|other| **other != signed.signature).cloned().collect()
        };
        let why = match explains.then(|| explain(signed, cache)) {
            Some(Ok(explanation)) => explanation.brief(),
            Some(Err(error)) => format!("{} cannot be looked up: {error}", signed.signature),
            None => format!("{} is not in the cache", signed.signature),
        };
        let mut text = format!(
            "the cache {} is frozen (cache.frozen), so nothing is built, and {why}",
            cache.layout().root().display()
        );
        if !others.is_empty() {
            let named = others.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = others.len().saturating_sub(MAX_NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("; missing before in this process: {named}{more}"));
        }
        text.push_str("; bring it from a machine with a compiler (dijitso export, dijitso import)");
        Error::new(Kind::Cache, text)
    }
}
