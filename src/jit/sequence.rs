//! The sequence of a call over its libraries, with or without a communicator: look and load, provide what is
//! missing, look again.
//!
//! Which step comes next depends only on states that all ranks share.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::parallel::{agree, unless_broken};

use super::build_alone;
use super::build_on_ranks;
use super::call::{Call, Place};
use super::callbacks::Callbacks;
use super::check::check_source_on;
use super::item::{Item, ItemState, select};
use super::library::Library;
use super::look::look_and_load;
use super::lookup::removed_error;
use super::nested;
use super::quarantine::quarantine;

/// Settles all items: each is loaded, or has failed, on all ranks. Collective if the call is on a
/// communicator.
///
/// # Errors
/// Those of the communicator.
pub(super) fn serve(
    call: &mut Call<'_>,
    items: &mut [Item<'_>],
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    if let Place::Ranks(ranks) = &call.place {
        for item in items.iter_mut().filter(|item| item.is_unknown()) {
            let checked = check_source_on(call, ranks, &item.signed, callbacks);
            unless_broken(call.comm, checked)?.unwrap_or_else(|error| item.fail(error));
        }
    }
    loop {
        look_and_load(call, &mut select(items, Item::is_unknown))?;
        let missing = &mut select(items, Item::is_missing);
        match &call.place {
            _ if missing.is_empty() => {}
            Place::Ranks(_) => build_on_ranks::provide(call, missing, callbacks)?,
            Place::Alone | Place::Nested => build_alone::provide(call, missing, callbacks)?,
        }
        let open = select(items, |item| !item.is_settled());
        if open.is_empty() {
            break;
        }
        for item in open {
            reopen(call, item)?;
        }
        // From now on each rank reads the cache: staging may be what does not work.
        call.forget_nodes();
    }
    items.iter().for_each(|item| remember(call, item));
    Ok(())
}

/// Prepares an item that is not settled for the next lookup: quarantines what a loader has refused.
fn reopen(call: &Call<'_>, item: &mut Item<'_>) -> Result<()> {
    match std::mem::replace(&mut item.state, ItemState::Unknown) {
        ItemState::Refused(refusal) => {
            // Once: a library that was just built would be refused again.
            let rebuild = std::mem::take(&mut item.rebuilds) && item.fresh.is_none();
            let moved = quarantine(call, item.signature(), refusal, rebuild);
            unless_broken(call.comm, moved)?.unwrap_or_else(|error| item.fail(error));
        }
        _ if item.lookups_left <= 1 => {
            // Paths may differ between ranks: all report that of the lowest.
            let gone = || Err(removed_error(item.signature(), &call.cache));
            let agreed: Result<()> = agree(call.comm, "looking again", gone);
            unless_broken(call.comm, agreed)?.unwrap_or_else(|error| item.fail(error));
        }
        _ => item.lookups_left -= 1,
    }
    item.fresh = None;
    item.roles = None;
    Ok(())
}

/// Keeps the result of a settled item for later calls, or for the `generate` that asks for it.
pub(super) fn remember(call: &Call<'_>, item: &Item<'_>) {
    if let (Some(recorder), ItemState::Loaded(_)) = (&call.session.recorder, &item.state)
        && call.records()
    {
        recorder.record(&call.cache, call.params, item.signature());
    }
    let hits = match &call.place {
        Place::Ranks(ranks) => &ranks.state.hits,
        Place::Alone => &call.session.hits,
        Place::Nested => {
            let result = item.result();
            return nested::note(call.cache.layout(), result.as_ref().map(Library::signature));
        }
    };
    if let ItemState::Loaded(library) = &item.state {
        call.note_run(item.signature());
        hits.put(item.signed.request.name, call.params.request_digest, library);
    }
}
