//! Starting and finishing on a communicator.
//!
//! Either part begins with the same reduction as a whole call, so ranks that do different things find that out together.
//! Nothing is communicated between a rank's asking its host for a source and the end of that part: while one rank
//! generates, the others go on to their next start.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use crate::cache::Cache;
use crate::error::{Error, Kind, Result, catch};
use crate::jit::build_step::SignedRequest;
use crate::jit::callbacks::Callbacks;
use crate::jit::isa_groups::IsaGroup;
use crate::jit::library::Library;
use crate::jit::preflight::CallPhase;
use crate::jit::ranks::{CommState, Roles};
use crate::jit::{Request, Session};
use crate::parallel::Communicator;
use crate::signature::Toolchain;

use super::{Pending, Stage, StartedBuild};

/// A call on a communicator that has been started.
pub(super) struct CollectivePending {
    /// The number of the start, by which ranks see that they mean the same one.
    number: u64,
    class: IsaGroup,
    signature: String,
    toolchain: Toolchain,
    cache: Cache,
    /// Who builds, and what this rank has begun, where not all have found it.
    ahead: Option<(Roles, StartedBuild)>,
}

impl Session {
    /// Begins a call on all ranks of `comm`. Collective. See [`Session::start`].
    ///
    /// # Errors
    /// The same on every rank: those of the call itself. What fails in generating and compiling is told by
    /// [`Session::finish_on`].
    pub fn start_on(
        &self,
        comm: &dyn Communicator,
        agreed: &CommState,
        request: Result<Request<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Pending> {
        comm.check_alive()?;
        if let Ok(request) = &request
            && let Some(library) = self.jit_from_memory(*request, agreed)
        {
            return Ok(Pending::new(*request, Stage::Known(library)));
        }
        let _here = crate::logging::enter(comm.rank(), comm.size());
        let call = self.enter_call(comm, agreed, request, callbacks, CallPhase::Start, None)?;
        let number = agreed.started.fetch_add(1, Ordering::Relaxed);
        let ticket = call.ticket()?;
        let root = call.own_root()?;
        let cache = Cache::sharing(&root, &call.request.params.cache);
        let there = call.all_have(&ticket.signature, &cache)?;
        // A frozen cache is not planned for: its ranks look again.
        let ahead = if there || call.request.params.cache.frozen {
            None
        } else {
            let turn = agreed.next_builder.fetch_add(1, Ordering::Relaxed);
            let roles = call.roles(&ticket, &cache, callbacks, Some(turn))?;
            let builds = roles.plan.builders.contains(&call.comm().rank());
            // From here to the end nothing is agreed on: whatever becomes of it is told in the second part.
            let _voice = crate::logging::speak(roles.plan.builders.first() == Some(&call.comm().rank()));
            let place = Some((comm.rank(), comm.size()));
            let begin = || {
                Ok(if builds { self.begin(&ticket, &cache, callbacks, place) } else { StartedBuild::Nothing })
            };
            let begun = catch("starting a build", begin).unwrap_or_else(StartedBuild::Failed);
            Some((roles, begun))
        };
        let SignedRequest { request, signature, toolchain } = ticket;
        let class = call.class.clone();
        let on_ranks = CollectivePending { number, class, signature, toolchain, cache, ahead };
        Ok(Pending::new(request, Stage::OnRanks(Box::new(on_ranks))))
    }

    /// Ends what [`Session::start_on`] has begun on the same communicator. Collective, but for what memory knew at the
    /// start.
    ///
    /// `good` is an error of this rank alone, say a bad argument, that is agreed on like any other.
    ///
    /// # Errors
    /// The same on every rank.
    pub fn finish_on(
        &self,
        comm: &dyn Communicator,
        agreed: &CommState,
        mut pending: Pending,
        good: Result<()>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        pending.check_place()?;
        let on_ranks = match pending.stage.take() {
            Some(Stage::OnRanks(on_ranks)) => *on_ranks,
            Some(Stage::Known(library)) => return good.map(|()| library),
            _ => return Err(Error::new(Kind::Internal, "nothing that was started on a communicator")),
        };
        comm.check_alive()?;
        let _here = crate::logging::enter(comm.rank(), comm.size());
        let CollectivePending { number, class, signature, toolchain, cache, ahead } = on_ranks;
        let request = good.map(|()| pending.request());
        let mut call =
            self.enter_call(comm, agreed, request, callbacks, CallPhase::Finish(number), Some(class))?;
        let ticket = SignedRequest { request: pending.request(), signature, toolchain };
        call.serve(&ticket, &cache, ahead, callbacks)
    }
}
