//! Transport of what was built to the ranks that need it: over the communicator, or by the callbacks of the
//! host.

#![forbid(unsafe_code)]

use crate::cache::closure::Closure;
use crate::cache::stats::Event;
use crate::cache::{Cache, EntryView, VerifiedEntry, Verify, record};
use crate::elf;
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::roles;
use crate::parallel::{agree, agree_min};

use super::call::{Call, LoadOutcome};
use super::callbacks::Callbacks;
use super::library::Origin;
use super::lookup::find;

/// Distributes the transitive dependency closure from a rank that has it to the ranks that miss it, whose
/// leaders publish it, and loads it. A rank whose directory does not show it even then (network disks may be
/// late) loads it from the bytes. `found` is what this rank has found before. Collective.
pub(super) fn distribute(
    call: &Call<'_>,
    signature: &str,
    cache: &Cache,
    leaders: &[usize],
    found: Option<VerifiedEntry>,
    origin: Origin,
) -> Result<LoadOutcome> {
    let (comm, rank) = (call.comm(), call.comm().rank());
    let libraries = &call.session.libraries;
    let on_disk = call.gather_presence(signature, cache)?;
    let Some(source) = roles::source(&on_disk) else {
        let text = format!(
            "{signature} was built and is gone from the disks of all ranks: another program removes entries \
             from the \
             cache"
        );
        return Err(Error::new(Kind::Cache, text));
    };
    let receivers = roles::receivers(leaders, &on_disk);
    let receives = receivers.contains(&rank);
    // All ranks know the receivers.
    let mut closure = if receivers.is_empty() {
        Vec::new()
    } else {
        broadcast_closure(call, signature, cache, source, receives)?
    };
    agree(comm, "publishing what was received", || {
        let closure = std::mem::take(&mut closure);
        if receives { publish_received(&closure, signature, cache) } else { Ok(()) }
    })?;
    // 0 if a rank has not found it; 0 if a loader has refused it.
    let mut votes = [1, 1];
    let mut refused = None;
    let library = agree_min(comm, "loading", &mut votes, |votes| {
        let origin = if found.is_none() && receives { Origin::Received } else { origin };
        let found = if found.is_some() { found } else { find(cache, signature, Verify::ForLoad)? };
        let Some(order) = found else {
            votes[0] = 0;
            return Ok(None);
        };
        let loaded = libraries.load(cache, &order, origin);
        match loaded.map_err(|refusal| refusal.blame_built(Some(origin), &order)) {
            // With several groups it is an error: the others may have loaded theirs, and do not come to a
            // quarantine.
            Err(refusal)
                if call.group.sub_comm.is_none() && refusal.needs_quarantine(call.rebuilds, true) =>
            {
                votes[1] = 0;
                refused = Some(refusal);
                Ok(None)
            }
            loaded => Ok(Some(loaded?)),
        }
    })?;
    match (&library, votes) {
        (_, [_, 0]) => return Ok(LoadOutcome::Refused(refused)),
        (Some(library), [1, _]) => return Ok(LoadOutcome::Loaded(library.clone())),
        _ => {}
    }
    // Once more, for the ranks whose directories do not show it.
    let closure = broadcast_closure(call, signature, cache, source, library.is_none())?;
    agree(comm, "loading", || match library {
        Some(library) => Ok(library),
        None => libraries.load_bytes(&received_entries(&closure)?, signature, cache, Origin::Received),
    })
    .map(LoadOutcome::Loaded)
}

/// Broadcasts the transitive dependency closure from `source`. Ranks that do not want it never hold all of
/// it. Collective.
fn broadcast_closure(
    call: &Call<'_>,
    signature: &str,
    cache: &Cache,
    source: usize,
    wants: bool,
) -> Result<Vec<u8>> {
    let (comm, rank) = (call.comm(), call.comm().rank());
    let mut closure = agree(comm, "reading what was built", || {
        if rank == source { cache.pack(signature) } else { Ok(Vec::new()) }
    })?;
    comm.enter("distributing what was built");
    comm.broadcast_to_some(source, &mut closure, wants)?;
    Ok(closure)
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
