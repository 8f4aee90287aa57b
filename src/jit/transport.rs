//! What was built goes to where it is needed: over the communicator, or by the host's own transport.

#![forbid(unsafe_code)]

use crate::cache::closure::Closure;
use crate::cache::stats::Event;
use crate::cache::{Cache, EntryView, VerifiedLib, Verify, record};
use crate::elf;
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::roles;
use crate::parallel::{agree, agree_min};

use super::callbacks::Callbacks;
use super::find;
use super::library::Origin;
use super::ranks::{Call, Outcome};

impl Call<'_> {
    /// The closure goes from a rank that has it to the ranks that have not, whose leaders publish it. A rank
    /// whose directory does not show it even then (network disks may take their time) loads the bytes themselves.
    pub(super) fn distribute(
        &self,
        signature: &str,
        cache: &Cache,
        leaders: &[usize],
        found: Option<Vec<VerifiedLib>>,
        origin: Origin,
    ) -> Result<Outcome> {
        let (comm, rank) = (self.comm(), self.comm().rank());
        let have = self.gather_presence(signature, cache)?;
        let Some(source) = roles::source(&have) else {
            let text =
                format!("{signature} was built and is on no rank's disk any more: who empties the cache?");
            return Err(Error::new(Kind::Cache, text));
        };
        let receivers = roles::receivers(leaders, &have);
        let receives = receivers.contains(&rank);
        let mut blob = match receivers.len() {
            // All ranks know it.
            0 => Vec::new(),
            _ => self.broadcast_closure(signature, cache, source, receives)?,
        };
        agree(comm, "publishing what was received", || {
            let blob = std::mem::take(&mut blob);
            if receives { publish_received(&blob, signature, cache) } else { Ok(()) }
        })?;
        let session = self.session;
        // Whether all have found it, and whether no loader has refused it.
        let mut votes = [1, 1];
        let mut refused = None;
        let library = agree_min(comm, "loading", &mut votes, |votes| {
            let origin = if found.is_none() && receives { Origin::Received } else { origin };
            let found = if found.is_some() { found } else { find(cache, signature, Verify::ForLoad)? };
            let Some(order) = found else {
                votes[0] = 0;
                return Ok(None);
            };
            match session.load(cache, &order, origin).map_err(|refusal| refusal.of(Some(origin), &order)) {
                // With several groups it is an error: the others may have loaded theirs, and do not come to a quarantine.
                Err(refusal) if self.class.part.is_none() && refusal.is_told(self.builds, true) => {
                    votes[1] = 0;
                    refused = Some(refusal);
                    Ok(None)
                }
                loaded => Ok(Some(loaded?)),
            }
        })?;
        match (&library, votes) {
            (_, [_, 0]) => return Ok(Outcome::Refused(refused)),
            (Some(library), [1, _]) => return Ok(Outcome::Loaded(library.clone())),
            _ => {}
        }
        // Once more, for those whose directories do not show it.
        let blob = self.broadcast_closure(signature, cache, source, library.is_none())?;
        agree(comm, "loading", || match library {
            Some(library) => Ok(library),
            None => session.load_bytes(&entries_of(&blob)?, signature, cache, Origin::Received),
        })
        .map(Outcome::Loaded)
    }

    /// The closure, on the ranks that want it; the others never hold all of it.
    fn broadcast_closure(
        &self,
        signature: &str,
        cache: &Cache,
        source: usize,
        wants: bool,
    ) -> Result<Vec<u8>> {
        let (comm, rank) = (self.comm(), self.comm().rank());
        let mut blob = agree(comm, "reading what was built", || {
            if rank == source { cache.pack(signature) } else { Ok(Vec::new()) }
        })?;
        comm.enter("handing over what was built");
        comm.broadcast_to_some(source, &mut blob, wants)?;
        Ok(blob)
    }
}

/// Sends the closure by the host's transport; when it cannot be read, the reason, since others wait for something.
pub(super) fn send(signature: &str, cache: &Cache, callbacks: &mut Callbacks<'_>) -> Result<()> {
    if callbacks.send.is_none() {
        return Ok(());
    }
    let blob = catch("reading what was built", || cache.pack(signature));
    match blob {
        Ok(blob) => callbacks.send(&blob),
        Err(error) => {
            // That its sending fails too is no news.
            let _ = callbacks.send(&Closure::failure(&error));
            Err(error)
        }
    }
}

/// What a blob brings. Its digest says that it is what was sent, not that a loader of this machine can map it.
fn entries_of(blob: &[u8]) -> Result<Vec<EntryView<'_>>> {
    let entries = Closure::entries(blob)?;
    for entry in &entries {
        elf::check_native(record::image_of(entry.library)).map_err(|reason| {
            let text =
                format!("received {}, which is no shared library for this host: {reason}", entry.signature);
            Error::new(Kind::Cache, text)
        })?;
    }
    Ok(entries)
}

/// Publishes what a blob brings; the error that it brings is ours.
pub(super) fn publish_received(blob: &[u8], signature: &str, cache: &Cache) -> Result<()> {
    let entries = entries_of(blob)?;
    if entries.last().is_none_or(|last| last.signature != signature) {
        let text = format!("received a library, but not {signature}");
        return Err(Error::new(Kind::Callback, text));
    }
    entries.into_iter().try_for_each(|files| cache.publish_view(files).map(drop))?;
    cache.count(Event::Received, signature, 0, 0);
    Ok(())
}
