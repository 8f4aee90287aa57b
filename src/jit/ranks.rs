//! Calls on a communicator.
//!
//! 1. Every rank looks and loads, and one reduction tells whether that was all ([`enter`]).
//! 2. The ranks agree on each library: loaded, missing, removed meanwhile, or refused by a loader.
//! 3. For those that are missing, builders are chosen, which build.
//! 4. All ranks look again; ranks whose directories do not have what was built receive it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::error::Result;
use crate::logging;
use crate::parallel::Communicator;
use crate::params::resolved::Resolved;

use super::call_summary::CallPhase;
use super::callbacks::Callbacks;
use super::comm_state::CommState;
use super::item::results_by_name;
use super::library::{Library, Origin};
use super::preflight::enter;
use super::request::Batch;
use super::sequence::serve;
use super::session::Session;

/// Gives `take` the library of a memory hit. Neither communicates nor locks nor allocates.
pub(super) fn memory_hit_on<T>(
    session: &Session,
    state: &CommState,
    name: &[u8],
    params: &Resolved,
    take: impl FnOnce(&Library) -> T,
) -> Option<T> {
    let hit = state.hits.get(name, &params.request_digest, take);
    hit.inspect(|_| session.counter.memory_hit())
}

/// Gets the libraries of a batch on all ranks of `comm`; each has its own result. Collective, unless memory
/// has all of them.
///
/// # Errors
/// Errors of the call itself: it has no library.
pub(super) fn jit_on(
    session: &Session,
    comm: &dyn Communicator,
    state: &CommState,
    batch: Result<Batch<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Vec<Result<Library>>> {
    comm.check_alive()?;
    let mut known = BTreeMap::new();
    let mut others = Vec::new();
    if let Ok(batch) = &batch {
        for name in batch.names {
            let take = |library: &Library| library.with_origin(Origin::Memory);
            match memory_hit_on(session, state, name.as_bytes(), batch.params, take) {
                Some(library) => drop(known.insert(*name, library)),
                None => others.push(*name),
            }
        }
        if others.is_empty() && !batch.names.is_empty() {
            return Ok(results_by_name(batch.names, &known, &[]));
        }
    }
    let _here = logging::enter(comm.rank(), comm.size());
    let names = batch.as_ref().map_or(&[][..], |batch| batch.names);
    // The ranks have the same libraries in memory.
    let rest = batch.clone().map(|batch| Batch { names: &others, ..batch });
    let (mut call, mut items) = enter(session, comm, state, rest, callbacks, CallPhase::Whole, None)?;
    serve(&mut call, &mut items, callbacks)?;
    Ok(results_by_name(names, &known, &items))
}
