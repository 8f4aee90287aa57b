//! Transport of what was built to the ranks that need it: over the communicator, or by the callbacks of the
//! host.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::cache::closure::Closure;
use crate::cache::stats::Event;
use crate::cache::{Cache, EntryView, Verify, record};
use crate::elf;
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::roles;
use crate::parallel::{agree, agree_each, unless_broken};

use super::build_plan::gather_presence;
use super::call::{Call, RankGroups};
use super::callbacks::Callbacks;
use super::item::{Item, ItemState};
use super::library::{Library, Origin};
use super::lookup::find;
use super::refusal::LoadRefusal;

/// Distributes items from ranks that have them to the ranks that miss them, whose leaders publish them, and
/// loads them. A rank whose directory does not show an entry even then (network disks may be late) loads it
/// from the bytes. Collective.
pub(super) fn distribute(call: &Call<'_>, ranks: &RankGroups<'_>, items: &mut [&mut Item<'_>]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let presence = gather_presence(call, ranks, items)?;
    let mut published = Vec::new();
    for (item, on_disk) in items.iter_mut().zip(&presence) {
        published.push(send_to_receivers(call, ranks, item, on_disk)?);
    }
    let mut published_votes = vec![[]; items.len()];
    let published = agree_each(call.comm, "publishing what was received", published, &mut published_votes)?;
    for (item, published) in items.iter_mut().zip(published) {
        published.unwrap_or_else(|error| item.fail(error));
    }
    let mut open: Vec<(&mut &mut Item<'_>, Vec<bool>)> =
        items.iter_mut().zip(presence).filter(|(item, _)| item.is_missing()).collect();
    let attempts = open.iter_mut().map(|(item, _)| load_received(call, item)).collect::<Vec<_>>();
    // 0 if a rank has not found it; 0 if a loader has refused it.
    let mut votes: Vec<[u64; 2]> = attempts.iter().map(|attempt| attempt.votes).collect();
    let (results, refusals): (Vec<_>, Vec<_>) =
        attempts.into_iter().map(|attempt| (attempt.result, attempt.refusal)).unzip();
    let results = agree_each(call.comm, "loading", results, &mut votes)?;
    let open = open.into_iter().zip(results).zip(refusals).zip(votes);
    for ((((item, on_disk), result), refusal), votes) in open {
        match (votes, result) {
            (_, Err(error)) => item.fail(error),
            ([_, 0], _) => item.state = ItemState::Refused(refusal),
            ([1, _], Ok(Some(library))) => item.state = ItemState::Loaded(library),
            (_, Ok(library)) => load_from_bytes(call, ranks, item, &on_disk, library)?,
        }
    }
    Ok(())
}

/// The result of loading on this rank what was distributed.
struct ReceivedLoad {
    result: Result<Option<Library>>,
    refusal: Option<LoadRefusal>,
    votes: [u64; 2],
}

/// Sends an item from one rank of each group that has it to the ranks that miss it. Returns whether this rank
/// has published what it has received. Collective.
fn send_to_receivers(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    item: &mut Item<'_>,
    on_disk: &[bool],
) -> Result<Result<()>> {
    let (rank, signature) = (call.comm.rank(), item.signed.signature.as_str());
    let leaders = item.roles.as_ref().map(|roles| Arc::clone(&roles.leaders)).unwrap_or_default();
    let receivers = roles::receivers(&leaders, on_disk);
    let mut published = Ok(());
    for group in ranks.group.first_ranks() {
        let of_group: Vec<usize> =
            receivers.iter().copied().filter(|receiver| ranks.group.of(*receiver) == group).collect();
        let in_group = (0..on_disk.len()).filter(|rank| ranks.group.of(*rank) == group);
        if of_group.is_empty() && in_group.clone().all(|rank| on_disk[rank]) {
            continue;
        }
        let Some(source) = ranks.source(group, on_disk) else {
            // The same on all ranks.
            let text = format!(
                "{signature} was built and is gone from the disks of all ranks: another program removes \
                 entries from the cache"
            );
            return Ok(Err(Error::new(Kind::Cache, text)));
        };
        let receives = of_group.contains(&rank);
        match broadcast_closure(call, signature, source, receives)? {
            Ok(closure) if receives => {
                published = catch("publishing", || publish_received(&closure, signature, &call.cache));
                if matches!(item.state, ItemState::Missing(None)) {
                    item.fresh = Some(Origin::Received);
                }
            }
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(published)
}

/// Loads what this rank has found before, or has received. Not collective.
fn load_received(call: &Call<'_>, item: &mut Item<'_>) -> ReceivedLoad {
    let mut load = ReceivedLoad { result: Ok(None), refusal: None, votes: [1, 1] };
    let ItemState::Missing(found) = &mut item.state else { return load };
    let (found, cache) = (found.take(), &call.cache);
    let origin = item.fresh.unwrap_or(Origin::Disk);
    load.result = catch("loading", || {
        let found = if found.is_some() { found } else { find(cache, item.signature(), Verify::ForLoad)? };
        let Some(order) = found else {
            load.votes[0] = 0;
            return Ok(None);
        };
        let loaded = call.session.libraries.load(cache, &order, origin);
        match loaded.map_err(|refusal| refusal.blame_built(Some(origin), &order)) {
            Err(refusal) if refusal.needs_quarantine(item.rebuilds, true) => {
                load.votes[1] = 0;
                load.refusal = Some(refusal);
                Ok(None)
            }
            loaded => Ok(Some(loaded?)),
        }
    });
    load
}

/// Loads an item from its bytes on the ranks whose directories do not show it; `library` is what this rank
/// has loaded. Collective.
fn load_from_bytes(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    item: &mut Item<'_>,
    on_disk: &[bool],
    library: Option<Library>,
) -> Result<()> {
    let (group, signature) = (ranks.group.of(call.comm.rank()), item.signed.signature.as_str());
    let mut received = Ok(Vec::new());
    for first in ranks.group.first_ranks() {
        let Some(source) = ranks.source(first, on_disk) else { continue };
        let wants = first == group && library.is_none();
        let sent = broadcast_closure(call, signature, source, wants)?;
        if wants || sent.is_err() {
            received = sent;
        }
    }
    let loaded = agree(call.comm, "loading", || match library {
        Some(library) => Ok(library),
        None => {
            let closure = received?;
            let entries = received_entries(&closure)?;
            call.session.libraries.load_bytes(&entries, signature, &call.cache, Origin::Received)
        }
    });
    match unless_broken(call.comm, loaded)? {
        Ok(library) => item.state = ItemState::Loaded(library),
        Err(error) => item.fail(error),
    }
    Ok(())
}

/// Broadcasts the transitive dependency closure from `source`. Ranks that do not want it never hold all of
/// it. The inner result is an error, the same on all ranks, if `source` cannot read it. Collective.
fn broadcast_closure(
    call: &Call<'_>,
    signature: &str,
    source: usize,
    wants: bool,
) -> Result<Result<Vec<u8>>> {
    let comm = call.comm;
    let read = agree(comm, "reading what was built", || {
        if comm.rank() == source { call.cache.pack(signature) } else { Ok(Vec::new()) }
    });
    let mut closure = match unless_broken(comm, read)? {
        Ok(closure) => closure,
        Err(error) => return Ok(Err(error)),
    };
    comm.enter("distributing what was built");
    comm.broadcast_to_some(source, &mut closure, wants)?;
    Ok(Ok(closure))
}

/// Sends the closure by the `send` callback. If it cannot be read, sends the error, because the receivers
/// wait.
pub(super) fn send(signature: &str, cache: &Cache, callbacks: &mut Callbacks<'_>) -> Result<()> {
    if callbacks.send.is_none() {
        return Ok(());
    }
    match catch("reading what was built", || cache.pack(signature)) {
        Ok(closure) => callbacks.send(&closure),
        Err(error) => {
            // The first error is returned, also if sending it fails.
            let _ = callbacks.send(&Closure::failure(&error));
            Err(error)
        }
    }
}

/// Decodes a received closure. Its digest tells that it is what was sent, not that the loader of this host
/// can map it.
fn received_entries(closure: &[u8]) -> Result<Vec<EntryView<'_>>> {
    let entries = Closure::entries(closure)?;
    for entry in &entries {
        elf::check_native(record::image_of(entry.library)).map_err(|reason| {
            let text =
                format!("received {}, which is no shared library for this host: {reason}", entry.signature);
            Error::new(Kind::Cache, text)
        })?;
    }
    Ok(entries)
}

/// Publishes a received closure. If it contains an error, returns that.
pub(super) fn publish_received(closure: &[u8], signature: &str, cache: &Cache) -> Result<()> {
    let entries = received_entries(closure)?;
    if entries.last().is_none_or(|last| last.signature != signature) {
        let text = format!("received a library, but not {signature}");
        return Err(Error::new(Kind::Callback, text));
    }
    entries.into_iter().try_for_each(|files| cache.publish_view(files).map(drop))?;
    cache.count(Event::Received, signature, 0, 0);
    Ok(())
}
