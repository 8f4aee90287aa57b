//! A call, as this process sees it: parameters, cache, and the ranks that make it together.

#![forbid(unsafe_code)]

use std::cell::{LazyCell, OnceCell};
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::layout::Layout;
use crate::cache::runs::RunKey;
use crate::cache::{Cache, VerifiedEntry, Verify};
use crate::error::{Result, catch};
use crate::fsutil::{self, FileId};
use crate::parallel::Communicator;
use crate::parallel::cache_domains::{CacheDomains, discover};
use crate::parallel::roles::{self, ROOT};
use crate::params::resolved::{BuildOn, Resolved};
use crate::signature::signature;

use super::comm_state::CommState;
use super::counting::{HIT_TOUCH_INTERVAL, LINK_TOUCH_INTERVAL, count_hit, count_only, note_use};
use super::isa_groups::IsaGroup;
use super::library::Origin;
use super::lookup::find_in;
use super::node_groups::NodeGroup;
use super::node_staging::Found;
use super::request::{Request, SignedRequest};
use super::session::Session;

/// A call for libraries with the same parameters.
pub(super) struct Call<'a> {
    pub(super) session: &'a Session,
    /// The ranks of the call; one if it is made without a communicator.
    pub(super) comm: &'a dyn Communicator,
    pub(super) params: &'a Resolved,
    /// The cache of this rank.
    pub(super) cache: Cache,
    pub(super) place: Place<'a>,
}

/// The place of a call.
pub(super) enum Place<'a> {
    /// On a communicator.
    Ranks(RankGroups<'a>),
    /// Without a communicator.
    Alone,
    /// Within a `generate` callback.
    Nested,
}

/// The groups that the ranks of a call belong to.
pub(super) struct RankGroups<'a> {
    pub(super) state: &'a CommState,
    /// The ranks that need the same library as this one.
    pub(super) group: IsaGroup,
    /// The ranks by hosts, if some read the cache for others; `None` if there are several groups.
    pub(super) nodes: Option<Arc<NodeGroup>>,
    /// The reduced votes on who shares the cache directory.
    pub(super) domain_votes: [u64; 2],
    domains: OnceCell<Arc<CacheDomains>>,
    /// On rank 0, if there is one: the key of the list of entries that this run uses.
    run: Option<RunKey>,
}

impl<'a> Call<'a> {
    /// Signs a request by the toolchain that the ranks have agreed on.
    pub(super) fn sign(&self, request: Request<'a>, group: &IsaGroup) -> Result<SignedRequest<'a>> {
        let toolchain = group.toolchain.clone();
        let signature = signature(request.name, request.params, || Ok(&toolchain))?;
        Ok(SignedRequest { request, signature, toolchain })
    }

    /// Returns the groups of the ranks, if the call is made on a communicator.
    pub(super) fn ranks(&self) -> Option<&RankGroups<'a>> {
        match &self.place {
            Place::Ranks(ranks) => Some(ranks),
            Place::Alone | Place::Nested => None,
        }
    }

    /// Returns the ranks by hosts, if some read the cache for others.
    pub(super) fn nodes(&self) -> Option<&NodeGroup> {
        self.ranks()?.nodes.as_deref()
    }

    /// Returns whether another rank of this host looks into the cache for this one on a miss.
    pub(super) fn is_follower(&self) -> bool {
        self.ranks().is_some_and(|ranks| ranks.is_follower(self.comm.rank()))
    }

    /// Looks entries up in the cache of this rank, each for itself. Not collective.
    ///
    /// Within `generate` an entry must be whole on disk: the parent links to it and sends it on.
    pub(super) fn find_each(&self, signatures: &[&str]) -> Vec<Result<Found>> {
        let verify = if matches!(self.place, Place::Nested) { Verify::ForLink } else { Verify::ForLoad };
        // Once, and not at all if memory has answered everything.
        let lib_dir = LazyCell::new(|| catch("looking into the cache", || self.cache.check_trust()));
        let look_up = |signature: &&str| {
            let find = || find_in(&self.cache, (*lib_dir).clone()?, signature, verify);
            let found = catch("looking into the cache", find);
            found.map(|found| found.map_or(Found::Nothing, Found::Cache))
        };
        signatures.iter().map(look_up).collect()
    }

    /// Makes each rank read the cache for itself from now on. All ranks call it.
    pub(super) fn forget_nodes(&mut self) {
        if let Place::Ranks(ranks) = &mut self.place {
            ranks.nodes = None;
        }
    }

    /// Returns whether this rank records the call for all ranks with the same signature.
    pub(super) fn records(&self) -> bool {
        self.ranks().is_none_or(|ranks| ranks.group.of(self.comm.rank()) == self.comm.rank())
    }

    /// Notes on rank 0 that this run of the program has used an entry.
    pub(super) fn note_run(&self, signature: &str) {
        if let Some(key) = self.ranks().and_then(|ranks| ranks.run.as_ref()) {
            self.session.runs.note(&self.cache, key, signature);
        }
    }

    /// Counts a hit of all ranks. An entry that `is_listed` in the list of this run needs no other trace.
    pub(super) fn note_hit(&self, order: &VerifiedEntry, origin: Origin, is_listed: bool) {
        let counts = self.ranks().is_none_or(|ranks| ranks.counts(self.comm.rank(), self.params));
        let nested = matches!(self.place, Place::Nested);
        let interval = if nested { LINK_TOUCH_INTERVAL } else { HIT_TOUCH_INTERVAL };
        if is_listed {
            if counts {
                count_only(&self.session.counter, &self.cache, order, origin);
            }
        } else if counts {
            count_hit(&self.session.counter, &self.cache, order, origin, interval);
        } else if fsutil::is_local(self.cache.layout().root()) {
            // It may be a directory of another host, which no counting rank touches.
            note_use(&self.cache, order, interval);
        }
    }
}

impl<'a> RankGroups<'a> {
    pub(super) fn new(
        state: &'a CommState,
        group: IsaGroup,
        nodes: Option<Arc<NodeGroup>>,
        domain_votes: [u64; 2],
    ) -> Self {
        let run = nodes.as_ref().and_then(|nodes| nodes.run()).cloned();
        Self { state, group, nodes, domain_votes, domains: OnceCell::new(), run }
    }

    /// Returns whether another rank of its host looks into the cache for this rank on a miss.
    pub(super) fn is_follower(&self, rank: usize) -> bool {
        self.nodes.as_ref().is_some_and(|nodes| nodes.leaders[rank] != rank)
    }

    /// Returns the rank that has an entry on its disk and sends it to the ranks of the group of the rank
    /// `first`.
    pub(super) fn source(&self, first: usize, on_disk: &[bool]) -> Option<usize> {
        roles::source(|rank| self.group.of(rank), first, on_disk)
    }

    /// Returns which ranks share the declared cache directory. Collective if the ranks do not know it yet.
    pub(super) fn domains(&self, comm: &dyn Communicator, params: &Resolved) -> Result<Arc<CacheDomains>> {
        if let Some(known) = self.domains.get() {
            return Ok(Arc::clone(known));
        }
        let declared = &params.cache.cache_dir;
        let domains = match self.state.domains.agreed(declared, &self.domain_votes) {
            Some(agreed) => agreed,
            None => self.discover_domains(comm, params)?,
        };
        Ok(Arc::clone(self.domains.get_or_init(|| domains)))
    }

    fn discover_domains(&self, comm: &dyn Communicator, params: &Resolved) -> Result<Arc<CacheDomains>> {
        let declared = &params.cache.cache_dir;
        let cache = Cache::with_shared_params(declared, &params.cache);
        let is_follower = self.is_follower(comm.rank());
        let identify = || if is_follower { Ok(FileId::default()) } else { cache.identify() };
        let leaders = self.nodes.as_ref().map(|nodes| &nodes.leaders[..]);
        let domains = Arc::new(discover(comm, identify, declared, &cache.layout().comm(), leaders)?);
        self.state.domains.insert(PathBuf::clone(declared), Arc::clone(&domains));
        Ok(domains)
    }

    /// Returns whether this rank counts for its directory, so that many ranks do not write to one disk: the
    /// lowest of its group that shares the directory; rank 0 if it is not known who shares it.
    fn counts(&self, rank: usize, params: &Resolved) -> bool {
        let Some(domains) = self.state.domains.get(&params.cache.cache_dir) else { return rank == ROOT };
        let leaders = domains.leaders();
        let same =
            |other: usize| leaders[other] == leaders[rank] && self.group.of(other) == self.group.of(rank);
        if self.group.is_only_one() { leaders[rank] == rank } else { !(0..rank).any(same) }
    }
}

/// Returns the cache of a rank: the declared one, or with strategy "process" one of its own, unless the rank
/// shares the directory with no other.
pub(super) fn cache_of_rank(params: &Resolved, domains: Option<&CacheDomains>, rank: usize) -> Cache {
    let declared = &params.cache.cache_dir;
    let shares = domains.is_some_and(|domains| !domains.is_singleton(rank));
    let root = if params.buildon == BuildOn::Process && shares {
        Layout::process_root(declared, rank)
    } else {
        declared.clone()
    };
    Cache::with_shared_params(&root, &params.cache)
}
