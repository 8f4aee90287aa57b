//! The step that looks libraries up and loads them, in one agreement: it is all that a call takes if every
//! rank finds them.

#![forbid(unsafe_code)]

use crate::cache::{Cache, VerifiedEntry};
use crate::error::{Result, catch};
use crate::parallel::agree_each;

use super::call::Call;
use super::item::{Item, ItemState};
use super::library::{Library, Origin};
use super::loading::Libraries;
use super::lookup::was_evicted;
use super::node_groups::NodeGroup;
use super::node_staging::Found;
use super::refusal::LoadRefusal;

const STEP: &str = "looking into the cache";

/// The result of looking a library up and loading it on this rank.
pub(super) struct Attempt {
    result: Result<Option<Library>>,
    /// The entry that this rank has found itself.
    entry: Option<VerifiedEntry>,
    refusal: Option<LoadRefusal>,
    /// Each 0 if on this rank: it is missing; it was evicted; it was refused.
    votes: [u64; 3],
}

impl Attempt {
    /// Loads what was found for an item. Not collective.
    pub(super) fn new(
        libraries: &Libraries,
        cache: &Cache,
        rank: usize,
        item: &Item<'_>,
        found: &Result<Found>,
    ) -> Self {
        let mut attempt = Self { result: Ok(None), entry: None, refusal: None, votes: [0, 1, 1] };
        attempt.result = catch(STEP, || {
            let found = found.as_ref().map_err(Clone::clone)?;
            attempt.votes[0] = u64::from(!found.is_miss());
            attempt.entry = found.entry();
            let libs = || attempt.entry.as_ref().map(|entry| entry.libs.clone()).unwrap_or_default();
            let loaded = found.load(libraries, rank, cache, item.signature(), item.fresh);
            match loaded.map_err(|refusal| refusal.blame_built(item.fresh, &libs())) {
                Err(LoadRefusal { error, .. }) if item.lookups_left > 1 && was_evicted(cache, &libs()) => {
                    log::info!("looking again: {error}");
                    attempt.votes[1] = 0;
                    Ok(None)
                }
                Err(refusal) if refusal.needs_quarantine(item.rebuilds, item.fresh.is_some()) => {
                    attempt.votes[2] = 0;
                    attempt.refusal = Some(refusal);
                    Ok(None)
                }
                loaded => {
                    let library = loaded?.map(|library| match item.loaded_early {
                        Some(origin) if library.origin() == Origin::Memory => library.with_origin(origin),
                        _ => library,
                    });
                    if library.is_none() && attempt.votes[0] == 1 {
                        attempt.votes[1] = 0;
                    }
                    Ok(library)
                }
            }
        });
        attempt
    }

    /// Returns whether this rank has loaded the library.
    pub(super) fn is_loaded(&self) -> bool {
        self.origin().is_some()
    }

    /// Returns the origin of the library, if this rank has loaded it.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.result.as_ref().ok()?.as_ref().map(Library::origin)
    }
}

/// Looks items up and loads them on all ranks. Collective.
pub(super) fn look_and_load(call: &Call<'_>, items: &mut [&mut Item<'_>]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let signatures: Vec<&str> = items.iter().map(|item| item.signature()).collect();
    let nodes = call.nodes().map(|nodes| match &items[0].roles {
        Some(roles) if items[0].fresh.is_some() => nodes.after_build(&roles.leaders),
        _ => nodes.clone(),
    });
    let nodes = nodes.as_ref();
    let found = match nodes {
        Some(_) => {
            let (session, rank) = (call.session, call.comm.rank());
            let found = Found::look_up_all(session, rank, nodes, &call.cache, &signatures);
            Found::share_all(call.comm, nodes, found)?
        }
        None => call.find_each(&signatures),
    };
    let attempts = attempt_each(call, nodes, items, &found);
    // When `found` is dropped, all ranks have loaded, and what was staged is removed.
    settle(call, items, attempts)
}

/// Loads what was found for each item. Not collective.
pub(super) fn attempt_each(
    call: &Call<'_>,
    nodes: Option<&NodeGroup>,
    items: &[&mut Item<'_>],
    found: &[Result<Found>],
) -> Vec<Attempt> {
    let (libraries, rank) = (&call.session.libraries, call.comm.rank());
    let attempt = |(item, found): (&&mut Item<'_>, &Result<Found>)| {
        let mut attempt = Attempt::new(libraries, &call.cache, rank, item, found);
        if nodes.is_some_and(|nodes| !nodes.reads(rank)) {
            // It has not looked itself; the rank that has counts.
            attempt.entry = None;
        }
        attempt
    };
    items.iter().zip(found).map(attempt).collect()
}

/// Makes what the ranks have attempted the state of the items. Collective.
pub(super) fn settle(call: &Call<'_>, items: &mut [&mut Item<'_>], attempts: Vec<Attempt>) -> Result<()> {
    let mut votes: Vec<[u64; 3]> = attempts.iter().map(|attempt| attempt.votes).collect();
    let (results, own): (Vec<_>, Vec<_>) =
        attempts.into_iter().map(|attempt| (attempt.result, (attempt.entry, attempt.refusal))).unzip();
    let agreed = agree_each(call.comm, STEP, results, &mut votes)?;
    for (((item, votes), result), (entry, refusal)) in items.iter_mut().zip(votes).zip(agreed).zip(own) {
        item.state = match (votes, result) {
            (_, Err(error)) => ItemState::Failed(error),
            ([_, _, 0], _) => ItemState::Refused(refusal),
            ([0, ..], _) => ItemState::Missing(entry),
            ([_, 1, _], Ok(Some(library))) => {
                note_hit(call, item, entry.as_ref(), &library);
                ItemState::Loaded(library)
            }
            _ => ItemState::Evicted,
        };
    }
    Ok(())
}

/// Makes items that all ranks have loaded the result of the call. Not collective: the ranks have agreed.
pub(super) fn accept(call: &Call<'_>, items: &mut [&mut Item<'_>], attempts: Vec<Attempt>) {
    for (item, attempt) in items.iter_mut().zip(attempts) {
        item.state = match attempt.result {
            Ok(Some(library)) => {
                note_hit(call, item, attempt.entry.as_ref(), &library);
                ItemState::Loaded(library)
            }
            Ok(None) => ItemState::Missing(attempt.entry),
            Err(error) => ItemState::Failed(error),
        };
    }
}

fn note_hit(call: &Call<'_>, item: &Item<'_>, entry: Option<&VerifiedEntry>, library: &Library) {
    if let (Some(entry), None) = (entry, item.fresh) {
        // The list of runs says that this run uses it.
        let is_listed = call.nodes().is_some_and(|nodes| nodes.prefetched(item.signature()).is_some());
        call.note_hit(entry, library.origin(), is_listed);
    }
}
