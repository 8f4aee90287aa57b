//! A call on a communicator, as a rank sees it: the request, and the groups of ranks that it belongs to.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::build::toolchain;
use crate::cache::layout::Layout;
use crate::cache::{Cache, VerifiedEntry, Verify};
use crate::error::Result;
use crate::fsutil::FileId;
use crate::parallel::cache_domains::{CacheDomains, discover};
use crate::parallel::roles::ROOT;
use crate::parallel::{Communicator, agree, agree_gather};
use crate::params::resolved::{BuildOn, default_timeout};
use crate::signature::{Toolchain, signature};

use super::callbacks::Callbacks;
use super::comm_state::CommState;
use super::isa_groups::IsaGroup;
use super::library::Library;
use super::lookup::find;
use super::node_groups::NodeGroup;
use super::prefetch::find_nodes;
use super::preflight::{CallPhase, check_same_call};
use super::refusal::LoadRefusal;
use super::request::{Request, SignedRequest};
use super::session::Session;

/// A call on a communicator.
///
/// Every method that takes part in a collective says so. What comes next depends only on values that all
/// ranks share.
pub(super) struct Call<'a> {
    pub(super) session: &'a Session,
    pub(super) state: &'a CommState,
    /// All ranks of the call.
    pub(super) all: &'a dyn Communicator,
    /// The ranks that need the same library as this one.
    pub(super) group: IsaGroup,
    /// The ranks by hosts, if one rank of each host reads the cache for the others; `None` if there are
    /// several groups.
    pub(super) nodes: Option<Arc<NodeGroup>>,
    /// The reduced votes on who shares the cache directory.
    domain_votes: [u64; 2],
    /// True if this call can build a library again that the dynamic loader refuses.
    pub(super) rebuilds: bool,
    pub(super) request: Request<'a>,
}

/// The outcome of an attempt to load, on all ranks.
pub(super) enum LoadOutcome {
    /// All have the library.
    Loaded(Library),
    /// Not all have found it. Contains what this rank has found.
    Missing(Option<VerifiedEntry>),
    /// One has lost what it had found: all look again.
    Evicted,
    /// The loader of some rank has refused an entry that is itself at fault. Contains the refusal of this
    /// rank.
    Refused(Option<LoadRefusal>),
}

/// Returns the name of a call that others wait in, and how long this rank waits for them: the default if its
/// parameters could not be read.
#[must_use]
pub fn name_and_timeout<'a>(request: &Result<Request<'a>>) -> (&'a str, Option<Duration>) {
    match request {
        Ok(request) => (request.name, request.params.timeout),
        Err(_) => ("", default_timeout()),
    }
}

impl<'a> Call<'a> {
    /// Step 1: checks that all ranks make the same call, and finds the groups of this rank. `group` is given
    /// if it is known from the start of the call. Collective.
    pub(super) fn enter(
        session: &'a Session,
        all: &'a dyn Communicator,
        state: &'a CommState,
        request: Result<Request<'a>>,
        callbacks: &Callbacks<'_>,
        phase: CallPhase,
        group: Option<IsaGroup>,
    ) -> Result<Self> {
        let (name, timeout) = name_and_timeout(&request);
        all.begin(name, timeout);
        let same = check_same_call(all, state, request, callbacks, phase)?;
        let request = same.request;
        let group = match group {
            Some(group) => group,
            None if request.params.cache.signature_is_name => IsaGroup::all(Toolchain::unknown()),
            None => state.isa_groups.get(all, &same.isa, same.all_alike, &same.isa_groups, || {
                // The answer is kept, so the compiler is looked at anew.
                toolchain::invalidate();
                session.toolchains.get(request.params)
            })?,
        };
        let nodes = if group.sub_comm.is_none() {
            let (groups, params) = (&state.node_groups, request.params);
            find_nodes(session, all, groups, params, same.readers, &same.node_groups)?
        } else {
            None
        };
        // The ranks have the same callbacks and parameters.
        let rebuilds = callbacks.generate.is_some() && !request.params.cache.frozen;
        let domain_votes = same.domains;
        let call = Self { session, state, all, group, nodes, domain_votes, rebuilds, request };
        call.comm().begin(request.name, timeout);
        Ok(call)
    }

    /// Step 2: signs the request.
    pub(super) fn sign(&self) -> Result<SignedRequest<'a>> {
        let toolchain = self.group.toolchain.clone();
        // It fails on all ranks or on none: the arguments that can be wrong are the same.
        let signature = signature(self.request.name, self.request.params, || Ok(toolchain.clone()))?;
        Ok(SignedRequest { request: self.request, signature, toolchain })
    }

    /// Step 3: finds the cache of this rank; with strategy "process" one of its own. Collective.
    pub(super) fn own_cache(&self) -> Result<Cache> {
        let declared = &self.request.params.cache.cache_dir;
        let mut root = declared.clone();
        if self.request.params.buildon == BuildOn::Process {
            let (domains, rank) = (self.domains()?, self.all.rank());
            if !domains.is_singleton(rank) {
                root = Layout::process_root(declared, rank);
            }
        }
        Ok(Cache::with_shared_params(&root, &self.request.params.cache))
    }

    /// Returns which ranks share the declared cache directory. Collective if the ranks do not know it yet.
    pub(super) fn domains(&self) -> Result<Arc<CacheDomains>> {
        let declared = &self.request.params.cache.cache_dir;
        if let Some(domains) = self.state.domains.agreed(declared, &self.domain_votes) {
            return Ok(domains);
        }
        let cache = Cache::with_shared_params(declared, &self.request.params.cache);
        let identify = || if self.is_follower() { Ok(FileId::default()) } else { cache.identify() };
        let leaders = self.nodes.as_ref().map(|nodes| &nodes.leaders[..]);
        let domains = Arc::new(discover(self.all, identify, declared, &cache.layout().comm(), leaders)?);
        self.state.domains.insert(PathBuf::clone(declared), Arc::clone(&domains));
        Ok(domains)
    }

    /// The ranks that need the same library as this one.
    pub(super) fn comm(&self) -> &dyn Communicator {
        self.group.sub_comm.as_deref().map_or(self.all, |sub_comm| sub_comm)
    }

    /// Makes the result of this rank's group that of all ranks. Collective; every group comes here, whatever
    /// its result.
    pub(super) fn agree_all_groups<T>(&self, step: &str, result: Result<T>) -> Result<T> {
        if self.group.sub_comm.is_none() { result } else { agree(self.all, step, || result) }
    }

    /// Returns whether this rank looks into the cache on a hit.
    pub(super) fn reads(&self) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.reads(self.all.rank()))
    }

    /// Notes on rank 0 that this run of the program has used an entry.
    pub(super) fn note_run(&self, cache: &Cache, signature: &str) {
        if let Some(key) = self.nodes.as_ref().and_then(|nodes| nodes.run()) {
            self.session.runs.note(cache, key, signature);
        }
    }

    /// Returns whether another rank of this host looks into the cache for this one on a miss.
    pub(super) fn is_follower(&self) -> bool {
        let rank = self.all.rank();
        self.nodes.as_ref().is_some_and(|nodes| nodes.leaders[rank] != rank)
    }

    /// Returns whether this rank counts for its directory, so that many ranks do not write to one disk: the
    /// lowest of its group that shares the directory; rank 0 if it is not known who shares it.
    pub(super) fn counts(&self) -> bool {
        let rank = self.comm().rank();
        match self.state.domains.get(&self.request.params.cache.cache_dir) {
            Some(domains) => self.group.leaders(domains.leaders())[rank] == rank,
            None => rank == ROOT,
        }
    }

    /// Returns for each rank of the group whether the whole entry is on its disk. Collective.
    pub(super) fn gather_presence(&self, signature: &str, cache: &Cache) -> Result<Vec<bool>> {
        let has = agree_gather(self.comm(), "looking into the cache", || {
            let has = !self.is_follower() && find(cache, signature, Verify::ForLink)?.is_some();
            Ok([u8::from(has)])
        })?;
        let reader = |rank: usize| self.nodes.as_ref().map_or(rank, |nodes| nodes.leaders[rank]);
        Ok((0..has.len()).map(|rank| has[reader(rank)] == [1]).collect())
    }
}
