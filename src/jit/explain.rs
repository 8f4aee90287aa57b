//! Why a request is a miss, and what a frozen cache says of one.

#![forbid(unsafe_code)]

use crate::build::toolchain;
use crate::cache::Cache;
use crate::cache::explain::compare::ComparedBuild;
use crate::cache::explain::{self, ExplainRequest, Explanation};
use crate::codec::hex;
use crate::error::{Error, Kind, Result};

use super::build_step::{SignedRequest, build_spec};
use super::{Request, Session, lock};

/// Names that an error repeats of those that a frozen cache did not have.
const MOST_NAMED: usize = 100;

impl Session {
    /// Why the library of a request is, or is not, in the cache directory of its parameters: against the nearest entry
    /// of the same name, component by component. Talks to nobody, builds nothing.
    ///
    /// # Errors
    /// For a bad name, and when the cache cannot be read.
    pub fn explain(&self, request: Request<'_>) -> Result<Explanation> {
        // Whoever asks has perhaps just changed something.
        toolchain::invalidate();
        let cache = Cache::new(&request.params.cache.cache_dir, &request.params.cache);
        explained(&self.ticket(request)?, &cache)
    }

    /// Says why something is about to be built, to those who listen.
    pub(super) fn log_miss_reason(&self, ticket: &SignedRequest<'_>, cache: &Cache) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        match explained(ticket, cache) {
            Ok(explanation) => log::info!("building {}: {}", ticket.signature, explanation.brief()),
            Err(error) => log::info!("building {}: {error}", ticket.signature),
        }
    }

    /// The error of a frozen cache that has not got what is asked for: what is missing, why, and what else was missing
    /// so far in this process. `looks` of the ranks that need the explanation alone: it takes reading.
    pub(super) fn frozen(&self, ticket: &SignedRequest<'_>, cache: &Cache, looks: bool) -> Error {
        let others: Vec<String> = {
            let mut missing = lock(&self.missing);
            missing.insert(ticket.signature.clone());
            missing.iter().filter(|other| **other != ticket.signature).cloned().collect()
        };
        let why = match looks.then(|| explained(ticket, cache)) {
            Some(Ok(explanation)) => explanation.brief(),
            Some(Err(error)) => format!("{} cannot be looked for: {error}", ticket.signature),
            None => format!("{} is not in the cache", ticket.signature),
        };
        let mut text = format!(
            "the cache {} is frozen (cache.frozen), so nothing is built, and {why}",
            cache.layout().root().display()
        );
        if !others.is_empty() {
            let named = others.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = others.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("; missing before in this process: {named}{more}"));
        }
        text.push_str("; bring it from a machine with a compiler (dijitso export, dijitso import)");
        Error::new(Kind::Cache, text)
    }
}

fn explained(ticket: &SignedRequest<'_>, cache: &Cache) -> Result<Explanation> {
    let params = ticket.request.params;
    explain::explain(
        cache,
        &ExplainRequest {
            name: ticket.request.name.to_owned(),
            signature: ticket.signature.clone(),
            build: ComparedBuild {
                by_name: params.cache.signature_is_name,
                text: params.text.map(|text| hex(&text)),
                build_spec: build_spec(&params.build),
                toolchain: ticket.toolchain.clone(),
                generator: params.generator.clone(),
            },
        },
    )
}
