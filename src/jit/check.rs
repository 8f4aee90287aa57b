//! `cache.check_source`: does `generate` return something else than what an entry was built from?
//!
//! The key of an entry is the name, so a hit does not ask a generator that has changed. If this parameter is
//! set, it is asked all the same: by the process itself, on a communicator by rank 0; once for each name and
//! process, because a memory hit has been checked before.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::build::modules;
use crate::cache::explain::utc;
use crate::cache::record::EntryRecord;
use crate::cache::{Cache, file_digest};
use crate::codec::{digest, hex};
use crate::error::{Error, Kind, Result};
use crate::parallel::{agree, agree_min};
use crate::params::resolved::{CheckSource, Resolved};

use super::call::{Call, RankGroups};
use super::callbacks::Callbacks;
use super::generate::generate;
use super::nested;
use super::request::SignedRequest;

const STEP: &str = "asking generate whether the source has changed";

/// Facts of the source that `generate` returns now, for comparison with records.
#[derive(Serialize, Deserialize)]
struct CurrentSource {
    /// Digest of the code.
    code: String,
    /// Digest of the header.
    header: Option<String>,
    dependencies: Vec<String>,
    /// True if a call within it has built a library again.
    rebuilt: bool,
}

impl CurrentSource {
    fn generate(signed: &SignedRequest<'_>, cache: &Cache, callbacks: &mut Callbacks<'_>) -> Result<Self> {
        let (source, nested) = generate(signed, cache, callbacks, &signed.context())?;
        Ok(Self {
            code: hex(&digest(&source.code.unwrap_or_default())),
            header: source.header.map(|text| file_digest(&text).sha256),
            dependencies: source.dependencies,
            rebuilt: nested.rebuilt,
        })
    }

    /// Returns true if the header of an entry is not from `generate`: it may be the compiled modules.
    fn has_modules(&self, record: &EntryRecord) -> bool {
        self.header.is_none() && modules::has_modules(&record.build_spec.language)
    }

    /// Says in what it differs from the source of an entry; `None` if in nothing.
    fn changes(&self, record: &EntryRecord) -> Option<String> {
        let changed = [
            ("other code", self.code != record.source_sha256),
            (
                "another header",
                !self.has_modules(record)
                    && self.header != record.header.as_ref().map(|header| header.sha256.clone()),
            ),
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

/// Returns how a call checks what it finds; the same on all ranks.
fn mode(params: &Resolved, callbacks: &Callbacks<'_>) -> CheckSource {
    if callbacks.generate.is_none() || params.text.is_some() {
        // There is no generator to ask, or the source text is part of the key.
        return CheckSource::Never;
    }
    match params.cache.check_source {
        CheckSource::Rebuild if params.cache.frozen => CheckSource::Warn,
        mode => mode,
    }
}

fn warn(signed: &SignedRequest<'_>, change: &str) {
    log::warn!(
        "{}: {change}; the entry is used all the same (cache.check_source = warn): remove it (dijitso \
         clean), call it \
         otherwise, or set cache.check_source = rebuild",
        signed.signature
    );
}

/// Checks the entry that this process has found. Returns true if it was out of date and retired, so that it
/// is built again.
pub(super) fn check_source(
    signed: &SignedRequest<'_>,
    cache: &Cache,
    callbacks: &mut Callbacks<'_>,
) -> Result<bool> {
    let mode = mode(signed.request.params, callbacks);
    if mode == CheckSource::Never {
        return Ok(false);
    }
    let Some(record) = cache.record(&signed.signature)? else { return Ok(false) };
    let source = CurrentSource::generate(signed, cache, callbacks)?;
    let Some(change) = source.changes(&record) else { return Ok(false) };
    // With `send` or `wait`, other processes may have found the entry already and do not wait for a new one.
    let alone = callbacks.send.is_none() && callbacks.wait.is_none();
    if mode == CheckSource::Warn || !(alone || nested::is_nested()) {
        warn(signed, &change);
        return Ok(false);
    }
    cache.retire(&record, &change)?;
    nested::note_rebuilt();
    Ok(true)
}

/// Returns whether a call asks `generate` about the entries that it finds; the same on all ranks.
pub(super) fn checks_source(params: &Resolved, callbacks: &Callbacks<'_>) -> bool {
    mode(params, callbacks) != CheckSource::Never
}

/// Checks the entry that the ranks of a call will find, and retires it if it is out of date and to be built
/// again. Rank 0 asks `generate`; with several groups of ranks, the first rank of each. Collective; the next
/// collective does not depend on the result.
pub(super) fn check_source_on(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    signed: &SignedRequest<'_>,
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    let mode = mode(call.params, callbacks);
    if mode == CheckSource::Never {
        return Ok(());
    }
    let (comm, rank, cache, signature) = (call.comm, call.comm.rank(), &call.cache, &signed.signature);
    let mut record = None;
    // 0 if any rank has an entry.
    let mut all_miss = [0];
    agree_min(comm, "looking into the cache", &mut all_miss, |all_miss| {
        record = if call.is_follower() { None } else { cache.record(signature)? };
        all_miss[0] = u64::from(record.is_none());
        Ok(())
    })?;
    if all_miss == [1] {
        return Ok(());
    }
    let mut source = agree(comm, STEP, || {
        if ranks.group.of(rank) != rank {
            return Ok(Vec::new());
        }
        let source = CurrentSource::generate(signed, cache, callbacks)?;
        serde_json::to_vec(&source).map_err(|error| Error::new(Kind::Internal, error.to_string()))
    })?;
    for first in ranks.group.first_ranks() {
        let mut sent = if rank == first { source.clone() } else { Vec::new() };
        let in_group = ranks.group.of(rank) == first;
        comm.broadcast_to_some(first, &mut sent, in_group)?;
        if in_group {
            source = sent;
        }
    }
    let mut change = None;
    let mut first_changed = [u64::MAX];
    agree_min(comm, STEP, &mut first_changed, |first_changed| {
        let source: CurrentSource =
            serde_json::from_slice(&source).map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
        change = record.as_ref().and_then(|record| source.changes(record));
        if let (Some(record), Some(change)) = (&record, &change) {
            first_changed[0] = rank as u64;
            if mode == CheckSource::Rebuild {
                cache.retire(record, change)?;
            }
        }
        Ok(())
    })?;
    if mode == CheckSource::Warn && first_changed[0] != u64::MAX {
        let mut text = change.unwrap_or_default().into_bytes();
        comm.broadcast(usize::try_from(first_changed[0]).unwrap_or_default(), &mut text)?;
        if rank == 0 {
            warn(signed, &String::from_utf8_lossy(&text));
        }
    }
    Ok(())
}
