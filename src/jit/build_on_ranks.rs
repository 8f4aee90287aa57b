//! Providing what some rank misses: choosing builders, building, and distributing.
//!
//! Every function here that takes a call is collective, if it does not say otherwise.

#![forbid(unsafe_code)]

use crate::error::{Result, catch};
use crate::logging;
use crate::parallel::roles::ROOT;
use crate::parallel::{agree, agree_each, unless_broken};

use super::build_plan::assign_roles;
use super::build_pool::StartedBuild;
use super::build_step::{complete, start_build};
use super::call::{Call, Place, RankGroups};
use super::callbacks::Callbacks;
use super::item::Item;
use super::library::Origin;
use super::look::look_and_load;
use super::progress::{Watched, WatchedBuilds, wait_in_call};
use super::transport::{distribute, publish_received, send};

/// Provides items that some rank misses: builds them, and distributes them to ranks that do not see them.
pub(super) fn provide(
    call: &Call<'_>,
    items: &mut [&mut Item<'_>],
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    let Place::Ranks(ranks) = &call.place else { return Ok(()) };
    let planned = plan(call, ranks, items, callbacks, items.len() > 1);
    if let Err(error) = unless_broken(call.comm, planned)? {
        items.iter_mut().for_each(|item| item.fail(error.clone()));
        return Ok(());
    }
    build(call, ranks, items, callbacks)?;
    // The ranks have the same callbacks.
    if callbacks.wait.is_some() && items.iter().any(|item| !item.is_settled()) {
        let waited = unless_broken(call.comm, agree(call.comm, "waiting", || callbacks.wait()))?;
        if let Err(error) = waited {
            open(items).into_iter().for_each(|item| item.fail(error.clone()));
        }
    }
    let built = &mut open(items);
    look_and_load(call, built)?;
    let mut missing: Vec<&mut Item<'_>> =
        built.iter_mut().filter(|item| item.is_missing()).map(|item| &mut **item).collect();
    distribute(call, ranks, &mut missing)
}

/// Returns the items that are not settled.
fn open<'i, 'a>(items: &'i mut [&mut Item<'a>]) -> Vec<&'i mut Item<'a>> {
    items.iter_mut().filter(|item| !item.is_settled()).map(|item| &mut **item).collect()
}

/// Assigns roles to the items that have none.
pub(super) fn plan(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    items: &mut [&mut Item<'_>],
    callbacks: &Callbacks<'_>,
    in_turn: bool,
) -> Result<()> {
    let mut new: Vec<&mut Item<'_>> =
        items.iter_mut().filter(|item| item.roles.is_none()).map(|item| &mut **item).collect();
    if new.is_empty() {
        return Ok(());
    }
    let roles = assign_roles(call, ranks, &new, callbacks, in_turn)?;
    for (item, roles) in new.iter_mut().zip(roles) {
        item.roles = Some(roles);
    }
    Ok(())
}

/// Starts the builds of this rank, without waiting for any program. Not collective: what fails is reported
/// when the builds are completed.
pub(super) fn start_builds(call: &Call<'_>, items: &mut [&mut Item<'_>], callbacks: &mut Callbacks<'_>) {
    let rank = call.comm.rank();
    for item in items {
        let Some(roles) = item.roles.as_ref().filter(|roles| roles.builds(rank)) else { continue };
        if !matches!(item.started, StartedBuild::Nothing | StartedBuild::ElsewhereInProgress) {
            continue;
        }
        let (_voice, _reporter) = (logging::speak(roles.speaks(rank)), logging::report(roles.reports(rank)));
        let rank_and_size = Some((rank, call.comm.size()));
        let start = || Ok(start_build(call.session, &item.signed, &call.cache, callbacks, rank_and_size));
        item.started = catch("starting a build", start).unwrap_or_else(StartedBuild::Failed);
    }
}

/// Builds items by their roles, and transports them by the callbacks of the host. Several builds of a rank
/// are compiled at the same time.
fn build(
    call: &Call<'_>,
    ranks: &RankGroups<'_>,
    items: &mut [&mut Item<'_>],
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    let (comm, rank) = (call.comm, call.comm.rank());
    if call.params.cache.frozen {
        return take_from_frozen(call, ranks, items);
    }
    if items.iter().filter(|item| item.builders().contains(&rank)).count() > 1 {
        start_builds(call, items, callbacks);
    }
    let mut builders: Vec<usize> = items.iter().flat_map(|item| item.builders().to_vec()).collect();
    builders.sort_unstable();
    builders.dedup();
    comm.expect("building", &builders);
    let _beside = WatchedBuilds::begin(built_beside(call, items));
    let complete = |item: &mut &mut Item<'_>| {
        let Some(roles) = item.roles.as_ref().filter(|roles| roles.builds(rank)) else { return Ok(false) };
        // One builder logs; which one does not matter.
        let (_voice, _reporter) = (logging::speak(roles.speaks(rank)), logging::report(roles.reports(rank)));
        // The other ranks wait in the agreement below.
        let context = item.signed.context().awaited(call.params.timeout);
        let started = std::mem::take(&mut item.started);
        catch("building", || complete(call.session, started, &item.signed, &call.cache, callbacks, &context))
    };
    let built: Vec<Result<bool>> = items.iter_mut().map(complete).collect();
    let _waiting = wait_in_call();
    let built = agree_each(comm, "building", built, &mut vec![[]; items.len()])?;
    for (item, built) in items.iter_mut().zip(built) {
        match built {
            Ok(true) => item.fresh = Some(Origin::Built),
            Ok(false) => item.fresh = Some(Origin::Disk),
            Err(error) => item.fail(error),
        }
    }
    for item in open(items) {
        transport(call, item, callbacks)?;
    }
    Ok(())
}

/// Returns the builds of other ranks of this host, if this rank reports for them.
fn built_beside(call: &Call<'_>, items: &[&mut Item<'_>]) -> Vec<Watched> {
    let rank = call.comm.rank();
    let beside = |item: &&&mut Item<'_>| {
        item.roles.as_ref().is_some_and(|roles| roles.reports(rank) && roles.is_built_beside(rank))
    };
    let watched = |item: &&mut Item<'_>| Watched {
        name: item.signed.request.name.to_owned(),
        lease: call.cache.layout().lease(item.signature()),
    };
    items.iter().filter(beside).map(watched).collect()
}

/// Nothing is built for a frozen cache: another rank has the entry and distributes it, or all ranks fail.
fn take_from_frozen(call: &Call<'_>, ranks: &RankGroups<'_>, items: &mut [&mut Item<'_>]) -> Result<()> {
    let rank = call.comm.rank();
    let group = ranks.group.of(rank);
    let found = |item: &&mut Item<'_>| {
        let had_entry = item.roles.as_ref().map_or(&[][..], |roles| &roles.had_entry);
        let in_group = |(other, had): (usize, &bool)| *had && ranks.group.of(other) == group;
        if had_entry.iter().enumerate().any(in_group) {
            return Ok(());
        }
        Err(call.session.frozen_misses.error(&item.signed, &call.cache, rank == group))
    };
    let found = items.iter().map(found).collect();
    let found = agree_each(call.comm, "looking into the frozen cache", found, &mut vec![[]; items.len()])?;
    for (item, found) in items.iter_mut().zip(found) {
        match found {
            Ok(()) => item.fresh = Some(Origin::Disk),
            Err(error) => item.fail(error),
        }
    }
    Ok(())
}

/// Transports an item that was built by the callbacks of the host, if they are to be used.
fn transport(call: &Call<'_>, item: &mut Item<'_>, callbacks: &mut Callbacks<'_>) -> Result<()> {
    let Some(roles) = item.roles.as_ref().filter(|roles| roles.plan.transport) else { return Ok(()) };
    let (comm, rank, cache) = (call.comm, call.comm.rank(), &call.cache);
    let is_leader = roles.leaders[rank] == rank;
    let sent = agree(comm, "sending and receiving", || {
        if rank == ROOT {
            return send(item.signature(), cache, callbacks);
        }
        let closure = callbacks.receive()?;
        if is_leader { publish_received(&closure, item.signature(), cache) } else { Ok(()) }
    });
    if is_leader && rank != ROOT && !roles.had_entry[rank] {
        item.fresh = Some(Origin::Received);
    }
    unless_broken(comm, sent)?.unwrap_or_else(|error| item.fail(error));
    Ok(())
}
