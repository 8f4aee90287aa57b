//! Whether `generate` would give something else than what an entry was built from (`cache.check_source`).
//!
//! The key of an entry is the name, so a generator that has changed is not asked on a hit. People who work on one have
//! it asked all the same: by the process itself, on a communicator by rank 0, once for each name and process, because
//! what memory answers has been checked before.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::cache::explain::utc;
use crate::cache::record::EntryRecord;
use crate::cache::{Cache, file_digest};
use crate::codec::{digest, hex};
use crate::error::{Error, Kind, Result};
use crate::parallel::{agree_min, on_root};
use crate::params::resolved::{CheckSource, Resolved};

use super::Session;
use super::build_step::{SignedRequest, generate};
use super::callbacks::Callbacks;
use super::nested;
use super::ranks::Call;

const STEP: &str = "asking generate whether the source has changed";

/// What `generate` gives now, as far as records have it.
#[derive(Serialize, Deserialize)]
struct Given {
    code: String,
    header: Option<String>,
    dependencies: Vec<String>,
    /// Whether a call within it has built a library again.
    rebuilt: bool,
}

impl Given {
    fn ask(ticket: &SignedRequest<'_>, cache: &Cache, callbacks: &mut Callbacks<'_>) -> Result<Self> {
        let (source, nested) = generate(ticket, cache, callbacks, &ticket.context())?;
        let mut dependencies: Vec<String> = Vec::new();
        for dependency in source.dependencies {
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        Ok(Self {
            code: hex(&digest(&source.code.unwrap_or_default())),
            header: source.header.map(|text| file_digest(&text).sha256),
            dependencies,
            rebuilt: nested.rebuilt,
        })
    }

    /// In what it differs from what an entry was built from, in words.
    fn changes(&self, record: &EntryRecord) -> Option<String> {
        let changed = [
            ("other code", self.code != record.source_sha256),
            ("another header", self.header != record.header.as_ref().map(|header| header.sha256.clone())),
            ("other dependencies", self.dependencies != record.dependencies),
            ("a dependency that was built again", self.rebuilt),
        ];
        let names: Vec<&str> =
            changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| {
            format!(
                "generate gives {} than on {}, when the entry was built on {}",
                names.join(" and "),
                utc(record.built_at),
                record.host
            )
        })
    }
}

/// Whether and how a call checks what it finds; the same on all ranks.
fn mode(params: &Resolved, callbacks: &Callbacks<'_>) -> CheckSource {
    if callbacks.generate.is_none() || params.text.is_some() {
        // Nobody to ask, or a key that is the text.
        return CheckSource::Never;
    }
    match params.cache.check_source {
        CheckSource::Rebuild if params.cache.frozen => CheckSource::Warn,
        mode => mode,
    }
}

fn warn(ticket: &SignedRequest<'_>, change: &str) {
    log::warn!(
        "{}: {change}; the entry is used all the same (cache.check_source = warn): remove it (dijitso clean), call it \
         otherwise, or set cache.check_source = rebuild",
        ticket.signature
    );
}

impl Session {
    /// Checks what this process has found. True when it was taken out of the way and has to be built.
    pub(super) fn check_source(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<bool> {
        let mode = mode(ticket.request.params, callbacks);
        if mode == CheckSource::Never {
            return Ok(false);
        }
        let Some(record) = cache.record(&ticket.signature)? else { return Ok(false) };
        let Some(change) = Given::ask(ticket, cache, callbacks)?.changes(&record) else { return Ok(false) };
        // Processes that this one tells what it has built have perhaps found the entry, and listen to nobody.
        let alone = callbacks.send.is_none() && callbacks.wait.is_none();
        if mode == CheckSource::Warn || !(alone || nested::is_nested()) {
            warn(ticket, &change);
            return Ok(false);
        }
        cache.retire(&record, &change)?;
        nested::note_rebuilt();
        Ok(true)
    }
}

impl Call<'_> {
    /// Checks what the ranks will find. Entries that are out of date are out of the way afterwards if they are to be
    /// built again. Collective; what comes next does not depend on it.
    pub(super) fn check_source(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<()> {
        let mode = mode(self.request.params, callbacks);
        if mode == CheckSource::Never {
            return Ok(());
        }
        self.agree_all_groups(STEP, self.check_source_of_class(mode, ticket, cache, callbacks))
    }

    fn check_source_of_class(
        &self,
        mode: CheckSource,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<()> {
        let (comm, signature) = (self.comm(), ticket.signature.as_str());
        let looks = !self.is_follower();
        let mut record = None;
        // The minimum of the complement: whether any rank has an entry.
        let mut none = [0];
        agree_min(comm, "looking into the cache", &mut none, |none| {
            record = if looks { cache.record(signature)? } else { None };
            none[0] = u64::from(record.is_none());
            Ok(())
        })?;
        if none == [1] {
            return Ok(());
        }
        let given = on_root(comm, STEP, || {
            let given = Given::ask(ticket, cache, callbacks)?;
            serde_json::to_vec(&given).map_err(|error| Error::new(Kind::Internal, error.to_string()))
        })?;
        let mut change = None;
        let mut first = [u64::MAX];
        agree_min(comm, STEP, &mut first, |first| {
            let given: Given = serde_json::from_slice(&given)
                .map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
            change = record.as_ref().and_then(|record| given.changes(record));
            if let (Some(record), Some(change)) = (&record, &change) {
                first[0] = comm.rank() as u64;
                if mode == CheckSource::Rebuild {
                    cache.retire(record, change)?;
                }
            }
            Ok(())
        })?;
        if mode == CheckSource::Warn && first[0] != u64::MAX {
            let mut text = change.unwrap_or_default().into_bytes();
            comm.broadcast(usize::try_from(first[0]).unwrap_or_default(), &mut text)?;
            if comm.rank() == 0 {
                warn(ticket, &String::from_utf8_lossy(&text));
            }
        }
        Ok(())
    }
}
