//! Providing what is missing without a communicator: the role of this process follows from its callbacks.

#![forbid(unsafe_code)]

use crate::cache::closure::Closure;
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::solo::Solo;

use super::build_pool::StartedBuild;
use super::build_step::{complete, start_build};
use super::call::{Call, Place};
use super::callbacks::Callbacks;
use super::item::{Item, ItemState};
use super::library::Origin;
use super::look::look_and_load;
use super::lookup::{no_generator, removed_error};
use super::transport::{publish_received, send};

/// Refuses callbacks of two roles.
pub(super) fn check_roles(callbacks: &Callbacks<'_>) -> Result<()> {
    if callbacks.generate.is_some() && callbacks.receive.is_some() {
        let text = "both generate and receive are set: a rank is a builder or a receiver";
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    Ok(())
}

/// Provides items that are missing, and loads them. Several are compiled at the same time if no other process
/// takes part.
pub(super) fn provide(
    call: &Call<'_>,
    items: &mut [&mut Item<'_>],
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    if items.len() > 1 && is_independent(call, callbacks) {
        start_builds(call, items, callbacks);
    }
    for item in items.iter_mut() {
        let provided = match call.place {
            Place::Nested => build(call, item, callbacks),
            _ => play_role(call, item, callbacks),
        };
        match provided {
            Ok(origin) => (item.fresh, item.state) = (Some(origin), ItemState::Unknown),
            Err(error) => item.fail(error),
        }
    }
    let mut provided: Vec<&mut Item<'_>> =
        items.iter_mut().filter(|item| item.is_unknown()).map(|item| &mut **item).collect();
    look_and_load(call, &mut provided)?;
    for item in provided.iter_mut().filter(|item| item.is_missing() && item.lookups_left <= 1) {
        let error = gone_error(call, item, callbacks);
        item.fail(error);
    }
    Ok(())
}

/// Returns whether no other process takes part in a call by callbacks of the host.
pub(super) fn is_independent(call: &Call<'_>, callbacks: &Callbacks<'_>) -> bool {
    let alone = callbacks.send.is_none() && callbacks.receive.is_none() && callbacks.wait.is_none();
    alone || matches!(call.place, Place::Nested)
}

/// Starts builds, without waiting for any program.
pub(super) fn start_builds(call: &Call<'_>, items: &mut [&mut Item<'_>], callbacks: &mut Callbacks<'_>) {
    for item in items
        .iter_mut()
        .filter(|item| matches!(item.started, StartedBuild::Nothing | StartedBuild::ElsewhereInProgress))
    {
        let start = || Ok(start_build(call.session, &item.signed, &call.cache, callbacks, None));
        item.started = catch("starting a build", start).unwrap_or_else(StartedBuild::Failed);
    }
}

fn build(call: &Call<'_>, item: &mut Item<'_>, callbacks: &mut Callbacks<'_>) -> Result<Origin> {
    let (started, context) = (std::mem::take(&mut item.started), item.signed.context());
    let built = complete(call.session, started, &item.signed, &call.cache, callbacks, &context)?;
    Ok(if built { Origin::Built } else { Origin::Disk })
}

/// Plays the role of a process that has not found the library.
fn play_role(call: &Call<'_>, item: &mut Item<'_>, callbacks: &mut Callbacks<'_>) -> Result<Origin> {
    let cache = &call.cache;
    let (outcome, origin) = if callbacks.generate.is_some() {
        let built = catch("building", || build(call, item, callbacks));
        let sent = match &built {
            Ok(_) => send(item.signature(), cache, callbacks),
            Err(error) => callbacks.send(&Closure::failure(error)),
        };
        let origin = *built.as_ref().unwrap_or(&Origin::Disk);
        (built.and(sent), origin)
    } else if callbacks.receive.is_some() {
        let received = callbacks.receive().and_then(|closure| {
            catch("publishing what was received", || publish_received(&closure, item.signature(), cache))
        });
        (received, Origin::Received)
    } else if callbacks.wait.is_some() {
        (Ok(()), Origin::Disk)
    } else if call.params.cache.frozen {
        return Err(call.session.frozen_misses.error(&item.signed, cache, true));
    } else {
        return Err(no_generator(item.signature(), cache.layout().root()));
    };
    // Others wait for this process, whatever its outcome.
    let waited = callbacks.wait();
    outcome?;
    waited?;
    Ok(origin)
}

/// Returns the error of a library that was provided and is not there.
fn gone_error(call: &Call<'_>, item: &Item<'_>, callbacks: &Callbacks<'_>) -> Error {
    if is_independent(call, callbacks) {
        return removed_error(item.signature(), &call.cache);
    }
    let text = format!(
        "after waiting, {} is not in {}: its builder failed, or does not share this directory",
        item.signature(),
        call.cache.layout().root().display()
    );
    Error::new(Kind::Cache, text)
}

/// The communicator of calls without one.
pub(super) static SOLO: Solo = Solo;

/// Plays the role of a process that failed before it knew whether the library is there, so that other
/// processes do not wait for it. Returns the error.
pub(super) fn run_failure_callbacks(error: Error, callbacks: &mut Callbacks<'_>) -> Error {
    let played = if callbacks.generate.is_some() {
        callbacks.send(&Closure::failure(&error))
    } else if callbacks.receive.is_some() {
        callbacks.receive().map(drop)
    } else {
        Ok(())
    };
    let waited = callbacks.wait();
    if let Err(also) = played.and(waited) {
        log::warn!("after a failure: {also}");
    }
    error
}
