//! Calls without a communicator, also within `generate`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::build::toolchain;
use crate::cache::Cache;
use crate::error::Result;
use crate::params::resolved::Resolved;

use super::build_alone::{SOLO, check_roles, is_independent, run_failure_callbacks};
use super::call::{Call, Place};
use super::callbacks::Callbacks;
use super::check::check_source;
use super::item::{Item, ItemState, results_by_name};
use super::library::{Library, Origin};
use super::look::{attempt_each, settle};
use super::nested;
use super::node_staging::Found;
use super::request::Batch;
use super::sequence::serve;
use super::session::Session;

/// Gives `take` the library of a memory hit; `None` within a `generate` callback. Neither locks nor
/// allocates.
pub(super) fn memory_hit<T>(
    session: &Session,
    name: &[u8],
    params: &Resolved,
    take: impl FnOnce(&Library) -> T,
) -> Option<T> {
    if nested::is_nested() {
        return None;
    }
    let hit = session.hits.get(name, &params.request_digest, take);
    hit.inspect(|_| session.counter.memory_hit())
}

/// Gets the libraries of a batch; each has its own result. See [`Session::jit`].
///
/// # Errors
/// Errors of the call itself: it has no library.
pub(super) fn jit(
    session: &Session,
    batch: Result<Batch<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Vec<Result<Library>>> {
    if !nested::is_nested() {
        check_roles(callbacks)?;
    }
    let mut known = BTreeMap::new();
    if let Ok(batch) = &batch {
        for name in batch.names {
            let take = |library: &Library| library.with_origin(Origin::Memory);
            if let Some(library) = memory_hit(session, name.as_bytes(), batch.params, take) {
                known.insert(*name, library);
            }
        }
    }
    let names = batch.as_ref().map_or(&[][..], |batch| batch.names);
    let others: Vec<&str> = names.iter().copied().filter(|name| !known.contains_key(name)).collect();
    let rest = batch.map(|batch| Batch { names: &others, ..batch });
    let (mut call, mut items) = begin(session, rest, callbacks)?;
    serve(&mut call, &mut items, callbacks)?;
    Ok(results_by_name(names, &known, &items))
}

/// Begins a call: signs its requests, looks them up, and loads those that are there.
///
/// Other processes may wait for the role of this one: if it fails here, it plays its role all the same.
pub(super) fn begin<'a>(
    session: &'a Session,
    batch: Result<Batch<'a>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<(Call<'a>, Vec<Item<'a>>)> {
    let (call, mut items) = match batch.and_then(|batch| prepare(session, &batch, callbacks)) {
        Ok(prepared) => prepared,
        Err(error) if nested::is_nested() => return Err(error),
        Err(error) => return Err(run_failure_callbacks(error, callbacks)),
    };
    let found = look_up(&call, &mut items, callbacks);
    let (mut open, mut open_found) = (Vec::new(), Vec::new());
    for (item, found) in items.iter_mut().zip(found) {
        match found {
            Err(error) => {
                let nested = matches!(call.place, Place::Nested);
                item.fail(if nested { error } else { run_failure_callbacks(error, callbacks) });
            }
            Ok(Found::Nothing) => item.state = ItemState::Missing(None),
            Ok(found) => match check_source(&item.signed, &call.cache, callbacks) {
                Ok(true) => item.state = ItemState::Missing(None),
                Ok(false) => {
                    open.push(item);
                    open_found.push(Ok(found));
                }
                Err(error) => item.fail(error),
            },
        }
    }
    let attempts = attempt_each(&call, None, &open, &open_found);
    settle(&call, &mut open, attempts)?;
    drop(open);
    Ok((call, items))
}

/// Signs the requests of a batch, each name once.
fn prepare<'a>(
    session: &'a Session,
    batch: &Batch<'a>,
    callbacks: &Callbacks<'_>,
) -> Result<(Call<'a>, Vec<Item<'a>>)> {
    let params = batch.params;
    let cache = Cache::with_shared_params(&nested::effective_dir(&params.cache.cache_dir), &params.cache);
    let place = if nested::is_nested() { Place::Nested } else { Place::Alone };
    let call = Call { session, comm: &SOLO, params, cache, place };
    let independent = is_independent(&call, callbacks);
    let can_build = callbacks.generate.is_some() && !params.cache.frozen;
    let mut seen = BTreeSet::new();
    let sign = |request| {
        let signed = session.toolchains.sign(request).inspect_err(|error| {
            if matches!(call.place, Place::Nested) {
                nested::note(call.cache.layout(), Err(error));
            }
        })?;
        let mut item = Item::new(signed, can_build && independent);
        if !independent {
            // Callbacks that tell other processes are called once.
            item.lookups_left = 1;
        }
        Ok(item)
    };
    let items = batch.requests().filter(|request| seen.insert(request.name)).map(sign);
    let items = items.collect::<Result<_>>()?;
    Ok((call, items))
}

/// Looks items up. If some are missing and this process builds, the compiler is looked at anew: a library
/// must be signed with the compiler that builds it.
fn look_up(call: &Call<'_>, items: &mut [Item<'_>], callbacks: &Callbacks<'_>) -> Vec<Result<Found>> {
    let signatures: Vec<&str> = items.iter().map(Item::signature).collect();
    let mut found = call.find_each(&signatures);
    let is_missing = |found: &Result<Found>| matches!(found, Ok(Found::Nothing));
    if callbacks.generate.is_none() || matches!(call.place, Place::Nested) || !found.iter().any(is_missing) {
        return found;
    }
    toolchain::invalidate();
    for (item, found) in items.iter_mut().zip(&mut found).filter(|(_, found)| is_missing(found)) {
        match call.session.toolchains.sign(item.signed.request) {
            Ok(again) => {
                if again.signature != item.signed.signature {
                    *found = call.find_each(&[&again.signature]).remove(0);
                }
                item.signed = again;
            }
            Err(error) => *found = Err(error),
        }
    }
    found
}
