//! Calls on a communicator: the fixed sequence of agreed steps.
//!
//! Every function here that takes a communicator is collective, and what comes next depends only on values that all
//! ranks share.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::build::toolchain;
use crate::cache::layout::Layout;
use crate::cache::{Cache, VerifiedLib, Verify};
use crate::error::{Error, Result, catch};
use crate::fsutil::{self, FileId};
use crate::logging;
use crate::parallel::cache_domains::{CacheDomains, discover};
use crate::parallel::roles::{self, ROOT, RoleInput, RolePlan};
use crate::parallel::{Communicator, agree, agree_gather, agree_min, all_same};
use crate::params::resolved::{BuildOn, Resolved, default_timeout};
use crate::signature::{Toolchain, signature};

use super::build_step::SignedRequest;
use super::callbacks::Callbacks;
use super::counting::{HIT_TOUCH_INTERVAL, note_use};
use super::isa_groups::{IsaGroup, IsaGroups, VOTES};
use super::library::{Library, Origin};
use super::node_staging::{self, Found, NodeGroup, Staging};
use super::pending::StartedBuild;
use super::preflight::{CallPhase, check_same_call};
use super::quarantine::Refusal;
use super::transport::{publish_received, send};
use super::{HitCache, MAX_LOOKUPS, Request, Session, find, lock, was_evicted};

/// What the ranks of a communicator have agreed on so far; the same on all of them, but for paths.
#[derive(Default)]
pub struct CommState {
    memory: HitCache,
    /// With the number of the discovery, by which ranks see that they mean the same one.
    sharing: Mutex<HashMap<PathBuf, (u64, Arc<CacheDomains>)>>,
    discoveries: AtomicU64,
    pub(super) kinds: IsaGroups,
    pub(super) staging: Staging,
    /// How many calls have been started ahead, and how many builds have been dealt out among the ranks.
    pub(super) started: AtomicU64,
    pub(super) next_builder: AtomicU64,
}

impl CommState {
    /// The number of the discovery of who shares this directory, if there was one.
    pub(super) fn epoch(&self, declared: &Path) -> Option<u64> {
        lock(&self.sharing).get(declared).map(|(number, _)| *number)
    }
}

/// A rank's view of one call.
pub(super) struct Call<'a> {
    pub(super) session: &'a Session,
    agreed: &'a CommState,
    /// All ranks of the call.
    whole: &'a dyn Communicator,
    /// Those among them that need the same library.
    pub(super) class: IsaGroup,
    /// The ranks by hosts, where one of each host looks for the others; never together with classes.
    nodes: Option<Arc<NodeGroup>>,
    /// Whether all have the same in mind when they know who shares the cache directory.
    sharing_known: bool,
    /// Whether what the dynamic loader refuses can be built again in this call.
    pub(super) builds: bool,
    pub(super) request: Request<'a>,
}

/// Who does what on a miss; the same on all ranks of a class.
pub(super) struct Roles {
    leaders: Vec<usize>,
    /// Who had it before.
    had_entry: Vec<bool>,
    pub(super) plan: RolePlan,
}

/// What came of an attempt to load, for all ranks.
pub(super) enum Outcome {
    /// All have the library.
    Loaded(Library),
    /// Not all have found it; this rank has found this.
    Missing(Option<Vec<VerifiedLib>>),
    /// One has lost what it had found: all look again.
    Lost,
    /// The loader of some rank has refused what is itself at fault; this is the refusal of this rank.
    Refused(Option<Refusal>),
}

impl Session {
    /// The library that `comm` has already agreed on for this request: no communication.
    #[must_use]
    pub fn jit_from_memory(&self, request: Request<'_>, agreed: &CommState) -> Option<Library> {
        let take = |library: &Library| library.with_origin(Origin::Memory);
        self.memory_hit_on(agreed, request.name.as_bytes(), request.params, take)
    }

    /// Gives `take` the library that a communicator has agreed on before. Neither communicates, nor locks, nor
    /// allocates.
    pub fn memory_hit_on<T>(
        &self,
        agreed: &CommState,
        name: &[u8],
        params: &Resolved,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        let known = agreed.memory.get(name, &params.request_digest, take);
        known.inspect(|_| self.tally.memory_hit())
    }

    /// Gets the library of a request on all ranks of `comm`. Collective.
    ///
    /// `request` and `callbacks` are what this rank has; an error in place of the request (say, parameters that could
    /// not be read) is agreed on like any other.
    ///
    /// # Errors
    /// The same on every rank.
    pub fn jit_on(
        &self,
        comm: &dyn Communicator,
        agreed: &CommState,
        request: Result<Request<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        comm.check_alive()?;
        if let Ok(request) = &request
            && let Some(library) = self.jit_from_memory(*request, agreed)
        {
            return Ok(library);
        }
        let _here = logging::enter(comm.rank(), comm.size());
        let mut call = self.enter_call(comm, agreed, request, callbacks, CallPhase::Whole, None)?;
        let ticket = call.ticket()?;
        let root = call.own_root()?;
        let cache = Cache::sharing(&root, &call.request.params.cache);
        call.serve(&ticket, &cache, None, callbacks)
    }

    /// The beginning of what the ranks do together, which all of them do. The class of this rank is found out unless it
    /// is known.
    pub(super) fn enter_call<'a>(
        &'a self,
        comm: &'a dyn Communicator,
        agreed: &'a CommState,
        request: Result<Request<'a>>,
        callbacks: &Callbacks<'_>,
        part: CallPhase,
        class: Option<IsaGroup>,
    ) -> Result<Call<'a>> {
        let (name, timeout) = waits(&request);
        comm.begin(name, timeout);
        let (request, machine, votes) = check_same_call(comm, agreed, request, callbacks, part)?;
        let (votes, others) = votes.split_at(VOTES);
        let (stage_votes, sharing_votes) = others.split_at(node_staging::VOTES);
        let class = match class {
            Some(class) => class,
            None if request.params.cache.signature_is_name => IsaGroup::all(Toolchain::unknown()),
            None => agreed.kinds.group(comm, &machine, votes, || {
                // It is asked for once.
                toolchain::invalidate();
                self.toolchain(request.params)
            })?,
        };
        let nodes = match class.part {
            None => agreed.staging.nodes(comm, request.params, stage_votes)?,
            Some(_) => None,
        };
        let sharing_known = all_same(sharing_votes);
        // The ranks have the same callbacks and parameters.
        let builds = callbacks.generate.is_some() && !request.params.cache.frozen;
        let call = Call { session: self, agreed, whole: comm, class, nodes, sharing_known, builds, request };
        call.comm().begin(request.name, timeout);
        call.nodes.iter().for_each(|nodes| nodes.begin(request.name, timeout));
        Ok(call)
    }
}

/// What others are told of a call that they wait in, and how long this rank waits for them: the default where its
/// parameters could not be read.
#[must_use]
pub fn waits<'a>(request: &Result<Request<'a>>) -> (&'a str, Option<Duration>) {
    match request {
        Ok(request) => (request.name, request.params.timeout),
        Err(_) => ("", default_timeout()),
    }
}

impl<'a> Call<'a> {
    /// The library, loaded on all ranks. `ahead` is who builds, and what this rank has begun, where they have looked
    /// before and have not found it.
    pub(super) fn serve(
        &mut self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        mut ahead: Option<(Roles, StartedBuild)>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        if ahead.is_none() {
            self.check_source(ticket, cache, callbacks)?;
        }
        let mut looks = MAX_LOOKUPS;
        let library = loop {
            looks -= 1;
            let begun = ahead.take();
            let outcome = if begun.is_some() {
                Outcome::Missing(None)
            } else {
                self.attempt(&ticket.signature, cache, None, looks > 0)?
            };
            let missing = matches!(outcome, Outcome::Missing(_));
            let outcome =
                if missing { self.miss(ticket, cache, begun, callbacks, looks > 0)? } else { outcome };
            match outcome {
                Outcome::Loaded(library) => break library,
                // Once: what has just been built would not be better the next time.
                Outcome::Refused(refusal) => {
                    let again = std::mem::take(&mut self.builds) && !missing;
                    self.quarantine(&ticket.signature, cache, refusal, again)?;
                    self.nodes = None;
                }
                // Each for itself: what was staged may be what somebody cannot use.
                _ => self.nodes = None,
            }
        };
        self.agreed.memory.put(self.request.name, self.request.params.request_digest, &library);
        Ok(library)
    }

    /// The ranks that need the same library as this one.
    pub(super) fn comm(&self) -> &dyn Communicator {
        self.class.part.as_deref().map_or(self.whole, |part| part)
    }

    /// All ranks of the call.
    pub(super) fn whole(&self) -> &dyn Communicator {
        self.whole
    }

    /// Makes a verdict of this rank's class that of all ranks. Every class has to come here, whatever became of it.
    pub(super) fn agree_all_groups<T>(&self, step: &str, verdict: Result<T>) -> Result<T> {
        if self.class.part.is_none() { verdict } else { agree(self.whole, step, || verdict) }
    }

    /// Step 2: the signature.
    pub(super) fn ticket(&self) -> Result<SignedRequest<'a>> {
        let toolchain = self.class.toolchain.clone();
        // Of arguments that do not differ in what can go wrong: it fails on all or on none.
        let signature = signature(self.request.name, self.request.params, || Ok(toolchain.clone()))?;
        Ok(SignedRequest { request: self.request, signature, toolchain })
    }

    /// Step 3: the directory of this rank; its own one with strategy "process".
    pub(super) fn own_root(&self) -> Result<PathBuf> {
        let declared = &self.request.params.cache.cache_dir;
        if self.request.params.buildon != BuildOn::Process {
            return Ok(declared.clone());
        }
        let sharing = self.domains(declared)?;
        let rank = self.whole.rank();
        Ok(if sharing.is_singleton(rank) { declared.clone() } else { Layout::process_root(declared, rank) })
    }

    /// Who shares the declared cache directory, found out once for each communicator and directory.
    fn domains(&self, declared: &Path) -> Result<Arc<CacheDomains>> {
        let known = lock(&self.agreed.sharing).get(declared).cloned();
        if let Some((_, sharing)) = known
            && self.sharing_known
        {
            return Ok(sharing);
        }
        let cache = Cache::sharing(declared, &self.request.params.cache);
        let identify = || if self.is_follower() { Ok(FileId::default()) } else { cache.identify() };
        let eyes = self.nodes.as_ref().map(|nodes| nodes.leaders());
        let sharing = Arc::new(discover(self.whole, identify, declared, &cache.layout().comm(), eyes)?);
        let number = self.agreed.discoveries.fetch_add(1, Ordering::Relaxed);
        lock(&self.agreed.sharing).insert(declared.to_owned(), (number, Arc::clone(&sharing)));
        Ok(sharing)
    }

    /// Step 4 of a call that is started ahead: whether all have it.
    pub(super) fn all_have(&self, signature: &str, cache: &Cache) -> Result<bool> {
        let mut all_hit = [0];
        agree_min(self.whole, "looking into the cache", &mut all_hit, |all_hit| {
            all_hit[0] = u64::from(self.is_follower() || find(cache, signature, Verify::ForLoad)?.is_some());
            Ok(())
        })?;
        Ok(all_hit == [1])
    }

    /// Step 4: all look, and whoever finds the library loads it. It was built in this call if there is an `origin`.
    ///
    /// One agreement for both, and not one for each: they are what a call consists of that finds everything.
    fn attempt(
        &self,
        signature: &str,
        cache: &Cache,
        origin: Option<Origin>,
        again: bool,
    ) -> Result<Outcome> {
        const STEP: &str = "looking into the cache";
        let looked = catch(STEP, || self.session.find_or_follow(self.whole, self.nodes(), cache, signature));
        // What is staged goes with this, when all have loaded.
        let found = Found::share(looked, self.nodes());
        let mut votes = [0, 0, 0];
        let mut refused = None;
        let loaded = agree_min(self.whole, STEP, &mut votes, |votes| {
            let found = found.as_ref().map_err(Clone::clone)?;
            let there = u64::from(!found.is_miss());
            votes.copy_from_slice(&[there, 1, 1]);
            let order = || found.order().unwrap_or_default();
            let loaded = self.session.load_found(self.whole, cache, signature, found, origin);
            match loaded.map_err(|refusal| refusal.of(origin, &order())) {
                Err(Refusal { error, .. }) if again && was_evicted(cache, &order()) => {
                    log::info!("looking again: {error}");
                    votes[1] = 0;
                    Ok(None)
                }
                Err(refusal) if refusal.is_told(self.builds, origin.is_some()) => {
                    votes[2] = 0;
                    refused = Some(refusal);
                    Ok(None)
                }
                loaded => loaded
                    .map_err(Error::from)
                    .inspect(|library| votes[1] = u64::from(library.is_some()).max(1 - there)),
            }
        })?;
        // Who looks for others counts for them, too.
        let order = found.ok().filter(|_| !self.is_follower()).and_then(|found| found.order());
        match (votes, loaded) {
            ([_, _, 0], _) => Ok(Outcome::Refused(refused)),
            ([0, ..], _) => Ok(Outcome::Missing(order)),
            ([_, 1, _], Some(library)) => {
                if let (Some(order), None) = (order, origin) {
                    self.note_hit(cache, &order, library.origin());
                }
                Ok(Outcome::Loaded(library))
            }
            _ => Ok(Outcome::Lost),
        }
    }

    /// Counts what all have hit.
    fn note_hit(&self, cache: &Cache, order: &[VerifiedLib], origin: Origin) {
        if self.counts() {
            self.session.count_hit(cache, order, origin, HIT_TOUCH_INTERVAL);
        } else if fsutil::is_local(cache.layout().root()) {
            // Directories of other hosts than the first have to learn of it, too.
            note_use(cache, order, HIT_TOUCH_INTERVAL);
        }
    }

    fn nodes(&self) -> Option<&NodeGroup> {
        self.nodes.as_deref()
    }

    /// Whether another rank of this host looks for this one.
    pub(super) fn is_follower(&self) -> bool {
        let rank = self.whole.rank();
        self.nodes().is_some_and(|nodes| nodes.leaders()[rank] != rank)
    }

    /// Whether this rank counts for its directory: the lowest of its class that shares it, as far as that is known
    /// without asking, so that many ranks do not write to one disk; else rank 0.
    fn counts(&self) -> bool {
        let known = lock(&self.agreed.sharing).get(&self.request.params.cache.cache_dir).cloned();
        let rank = self.comm().rank();
        known.map_or(rank == ROOT, |(_, sharing)| self.class.leaders(sharing.leaders())[rank] == rank)
    }

    /// Steps 5 to 7: roles, building, transport. Each class builds and transports for itself, all wait together.
    fn miss(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        ahead: Option<(Roles, StartedBuild)>,
        callbacks: &mut Callbacks<'_>,
        again: bool,
    ) -> Result<Outcome> {
        let (roles, begun) = match ahead {
            Some(ahead) => ahead,
            None => (self.roles(ticket, cache, callbacks, None)?, StartedBuild::Nothing),
        };
        let origin =
            self.agree_all_groups("building", self.build(ticket, cache, &roles, begun, callbacks))?;
        // The ranks have the same callbacks.
        if callbacks.wait.is_some() {
            agree(self.whole, "waiting", || callbacks.wait())?;
        }
        match self.attempt(&ticket.signature, cache, Some(origin), again)? {
            Outcome::Missing(found) => {
                let handed = self.distribute(&ticket.signature, cache, &roles.leaders, found, origin);
                self.agree_all_groups("handing over", handed)
            }
            outcome => Ok(outcome),
        }
    }

    /// Step 5: who does what. With a turn, the builds of a directory are dealt out among those that share it.
    pub(super) fn roles(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        callbacks: &Callbacks<'_>,
        turn: Option<u64>,
    ) -> Result<Roles> {
        let sharing = match self.request.params.buildon {
            BuildOn::Process => Arc::new(CacheDomains::separate(self.whole.size())),
            BuildOn::Node | BuildOn::Root => self.domains(&self.request.params.cache.cache_dir)?,
        };
        let leaders = self.class.leaders(sharing.leaders());
        let before =
            self.agree_all_groups("choosing builders", self.gather_presence(&ticket.signature, cache))?;
        let mut own_transport = callbacks.send.is_some();
        if own_transport && self.class.part.is_some() {
            // It takes one library from rank 0 to all, and here there are several.
            log::warn!(
                "send and receive are not used for {}: there are different kinds of machines",
                ticket.signature
            );
            own_transport = false;
        }
        let mut plan = roles::plan(&RoleInput {
            leaders: &leaders,
            on_disk: &before,
            buildon: self.request.params.buildon,
            own_transport,
        });
        if let Some(turn) = turn.filter(|_| self.request.params.buildon == BuildOn::Node)
            && self.class.part.is_none()
        {
            plan.builders = roles::assign_round_robin(&plan.builders, &leaders, sharing.hosts(), turn);
        }
        Ok(Roles { leaders, had_entry: before, plan })
    }

    /// Steps 6 and 7.
    fn build(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        roles: &Roles,
        begun: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Origin> {
        let signature = ticket.signature.as_str();
        let (comm, rank) = (self.comm(), self.comm().rank());
        let Roles { leaders, had_entry: before, plan } = roles;
        if self.request.params.cache.frozen {
            // Parameters and `before` are the same on all ranks: all fail here, or one hands it over to the others.
            if before.contains(&true) {
                return Ok(Origin::Disk);
            }
            let missing = || Err(self.session.frozen(ticket, cache, rank == ROOT));
            return agree(comm, "looking into the frozen cache", missing);
        }
        comm.expect("building", &plan.builders);
        // Of several builders one speaks, and of a single one it does not matter which rank it is.
        let voice = logging::speak(plan.builders.first() == Some(&rank));
        let built = agree(comm, "building", || {
            if !plan.builders.contains(&rank) {
                return Ok(false);
            }
            // The others wait in this agreement.
            let timeout = self.request.params.timeout;
            let context = ticket.context().awaited(timeout);
            self.session.complete(begun, ticket, cache, callbacks, &context)
        })?;
        drop(voice);
        let mut origin = if built { Origin::Built } else { Origin::Disk };

        let leads = leaders[rank] == rank;
        if plan.transport {
            agree(comm, "sending and receiving", || {
                if rank == ROOT {
                    return send(signature, cache, callbacks);
                }
                let blob = callbacks.receive()?;
                if leads { publish_received(&blob, signature, cache) } else { Ok(()) }
            })?;
            if leads && rank != ROOT && !before[rank] {
                origin = Origin::Received;
            }
        }
        Ok(origin)
    }

    /// Whether the whole entry lies on the disk of each rank.
    pub(super) fn gather_presence(&self, signature: &str, cache: &Cache) -> Result<Vec<bool>> {
        let has = agree_gather(self.comm(), "looking into the cache", || {
            let has = !self.is_follower() && find(cache, signature, Verify::ForLink)?.is_some();
            Ok([u8::from(has)])
        })?;
        let looks = |rank: usize| self.nodes().map_or(rank, |nodes| nodes.leaders()[rank]);
        Ok((0..has.len()).map(|rank| has[looks(rank)] == [1]).collect())
    }
}
