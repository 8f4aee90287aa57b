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

use crate::cache::closure::Closure;
use crate::cache::layout::Layout;
use crate::cache::usage::Event;
use crate::cache::{Cache, Check, EntryFiles, Whole};
use crate::error::{Error, Kind, Result, catch};
use crate::fsutil;
use crate::parallel::directories::{Sharing, discover};
use crate::parallel::roles::{self, Plan, ROOT, Situation};
use crate::parallel::{Communicator, agree, agree_min, all_same};
use crate::params::resolved::{BuildOn, default_timeout};
use crate::signature::{Toolchain, signature};

use super::ahead::Begun;
use super::callbacks::Callbacks;
use super::count::{SELDOM, note_use};
use super::kinds::{Class, Kinds};
use super::library::{Library, Origin};
use super::make::Ticket;
use super::same::{Part, same_call};
use super::{LOOKS, Memory, Request, Session, find, gone, lock};

/// What the ranks of a communicator have agreed on so far; the same on all of them, but for paths.
#[derive(Default)]
pub struct Agreed {
    memory: Memory,
    /// With the number of the discovery, by which ranks see that they mean the same one.
    sharing: Mutex<HashMap<PathBuf, (u64, Arc<Sharing>)>>,
    discoveries: AtomicU64,
    pub(super) kinds: Kinds,
    /// How many calls have been started ahead, and how many builds have been dealt out among the ranks.
    pub(super) started: AtomicU64,
    pub(super) dealt: AtomicU64,
}

/// A rank's view of one call.
pub(super) struct Call<'a> {
    session: &'a Session,
    agreed: &'a Agreed,
    /// All ranks of the call.
    whole: &'a dyn Communicator,
    /// Those among them that need the same library.
    pub(super) class: Class,
    pub(super) request: Request<'a>,
}

/// Who does what on a miss; the same on all ranks of a class.
pub(super) struct Roles {
    leaders: Vec<usize>,
    /// Who had it before.
    before: Vec<bool>,
    pub(super) plan: Plan,
}

/// How a rank stands before loading.
pub(super) enum Served {
    /// By its cache: libraries to load, dependencies first.
    Cache(Vec<Whole>),
    /// By bytes that were handed over because its cache does not show them.
    Bytes(Vec<EntryFiles>),
}

impl Served {
    /// Whether it was in the cache and is not there any more.
    fn gone(&self, cache: &Cache) -> bool {
        matches!(self, Self::Cache(order) if gone(cache, order))
    }
}

impl Session {
    /// The library that `comm` has already agreed on for this request: no communication.
    #[must_use]
    pub fn jit_from_memory(&self, request: Request<'_>, agreed: &Agreed) -> Option<Library> {
        let known = agreed.memory.get(request.name, &request.params.memory_digest);
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
        agreed: &Agreed,
        request: Result<Request<'_>>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        comm.health()?;
        if let Ok(request) = &request
            && let Some(library) = self.jit_from_memory(*request, agreed)
        {
            return Ok(library);
        }
        let _here = crate::logging::enter(comm.rank(), comm.size());
        let call = self.enter_call(comm, agreed, request, callbacks, Part::Whole, None)?;
        let ticket = call.ticket()?;
        let root = call.own_root()?;
        let cache = Cache::new(&root, &call.request.params.cache);
        call.serve(&ticket, &cache, None, None, callbacks)
    }

    /// The beginning of what the ranks do together, which all of them do. The class of this rank is found out unless it
    /// is known.
    pub(super) fn enter_call<'a>(
        &'a self,
        comm: &'a dyn Communicator,
        agreed: &'a Agreed,
        request: Result<Request<'a>>,
        callbacks: &Callbacks<'_>,
        part: Part,
        class: Option<Class>,
    ) -> Result<Call<'a>> {
        let (name, timeout) = waits(&request);
        comm.begin(name, timeout);
        let (request, machine, votes) = same_call(comm, agreed, request, callbacks, part)?;
        let class = match class {
            Some(class) => class,
            None if request.params.cache.signature_is_name => Class::all(Toolchain::unknown()),
            None => agreed.kinds.class(comm, &machine, &votes, || self.toolchain(request.params))?,
        };
        let call = Call { session: self, agreed, whole: comm, class, request };
        call.comm().begin(request.name, timeout);
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

impl Call<'_> {
    /// The library, loaded on all ranks. `found` is what they have found before, if they have looked; `ahead` who builds,
    /// and what this rank has begun.
    pub(super) fn serve(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        mut found: Option<Option<(Served, Origin)>>,
        mut ahead: Option<(Roles, Begun)>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let mut looks = LOOKS;
        let library = loop {
            let found = match found.take() {
                Some(found) => found,
                None => self.look(&ticket.signature, cache)?,
            };
            let (served, origin) = match found {
                Some(hit) => hit,
                None => self.miss(ticket, cache, ahead.take(), callbacks)?,
            };
            looks -= 1;
            // Where one has lost what it had found, all look again.
            let mut kept = [1];
            let loaded = agree_min(self.whole, "loading", &mut kept, |kept| {
                match self.load(&ticket.signature, cache, &served, origin) {
                    Err(error) if looks > 0 && served.gone(cache) => {
                        log::info!("looking again: {error}");
                        kept[0] = 0;
                        Ok(None)
                    }
                    loaded => loaded.map(Some),
                }
            })?;
            if let Some(library) = loaded.filter(|_| kept == [1]) {
                break library;
            }
        };
        self.agreed.memory.put(self.request.name, self.request.params.memory_digest, &library);
        Ok(library)
    }

    /// The ranks that need the same library as this one.
    pub(super) fn comm(&self) -> &dyn Communicator {
        self.class.part.as_deref().map_or(self.whole, |part| part)
    }

    /// Makes a verdict of this rank's class that of all ranks. Every class has to come here, whatever became of it.
    pub(super) fn together<T>(&self, step: &str, verdict: Result<T>) -> Result<T> {
        if self.class.part.is_none() { verdict } else { agree(self.whole, step, || verdict) }
    }

    /// Step 2: the signature.
    pub(super) fn ticket(&self) -> Result<Ticket<'_>> {
        let toolchain = self.class.toolchain.clone();
        // Of arguments that do not differ in what can go wrong: it fails on all or on none.
        let signature = signature(self.request.name, self.request.params, || Ok(toolchain.clone()))?;
        Ok(Ticket { request: self.request, signature, toolchain })
    }

    /// Step 3: the directory of this rank; its own one with strategy "process".
    pub(super) fn own_root(&self) -> Result<PathBuf> {
        let declared = &self.request.params.cache.cache_dir;
        if self.request.params.buildon != BuildOn::Process {
            return Ok(declared.clone());
        }
        let sharing = self.sharing(declared)?;
        let rank = self.whole.rank();
        Ok(if sharing.is_alone(rank) { declared.clone() } else { Layout::process_root(declared, rank) })
    }

    /// Who shares the declared cache directory, found out once for each communicator and directory.
    fn sharing(&self, declared: &Path) -> Result<Arc<Sharing>> {
        let known = lock(&self.agreed.sharing).get(declared).cloned();
        // A rank with another directory than last time makes all look again.
        let number = known.as_ref().map_or(u64::MAX, |(number, _)| *number);
        let mut votes = [number, !number];
        self.whole.enter("comparing cache directories");
        self.whole.min(&mut votes)?;
        if let Some((_, sharing)) = known
            && all_same(&votes)
        {
            return Ok(sharing);
        }
        let cache = Cache::new(declared, &self.request.params.cache);
        let sharing = Arc::new(discover(self.whole, || cache.identify(), &cache.layout().comm())?);
        let number = self.agreed.discoveries.fetch_add(1, Ordering::Relaxed);
        lock(&self.agreed.sharing).insert(declared.to_owned(), (number, Arc::clone(&sharing)));
        Ok(sharing)
    }

    /// Step 4: who has it. `None` on all ranks unless all have it.
    pub(super) fn look(&self, signature: &str, cache: &Cache) -> Result<Option<(Served, Origin)>> {
        let mut all_hit = [0];
        let found = agree_min(self.whole, "looking into the cache", &mut all_hit, |all_hit| {
            let found = find(cache, signature, Check::Load)?;
            all_hit[0] = u64::from(found.is_some());
            Ok(found)
        })?;
        Ok(found.filter(|_| all_hit == [1]).map(|order| {
            let origin = self.session.origin(cache, &order);
            if self.counts() {
                self.session.count_hit(cache, &order, origin, SELDOM);
            } else if fsutil::is_local(cache.layout().root()) {
                // Directories of other hosts than the first have to learn of it, too.
                note_use(cache, &order, SELDOM);
            }
            (Served::Cache(order), origin)
        }))
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
        ticket: &Ticket<'_>,
        cache: &Cache,
        ahead: Option<(Roles, Begun)>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<(Served, Origin)> {
        let (roles, begun) = match ahead {
            Some(ahead) => ahead,
            None => (self.roles(ticket, cache, callbacks, None)?, Begun::Nothing),
        };
        let origin = self.together("building", self.build(ticket, cache, &roles, begun, callbacks))?;
        agree(self.whole, "waiting", || callbacks.wait())?;
        self.together("handing over", self.fetch(&ticket.signature, cache, &roles.leaders, origin))
    }

    /// Step 5: who does what. With a turn, the builds of a directory are dealt out among those that share it.
    pub(super) fn roles(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        callbacks: &Callbacks<'_>,
        turn: Option<u64>,
    ) -> Result<Roles> {
        let sharing = match self.request.params.buildon {
            BuildOn::Process => Arc::new(Sharing::separate(self.whole.size())),
            BuildOn::Node | BuildOn::Root => self.sharing(&self.request.params.cache.cache_dir)?,
        };
        let leaders = self.class.leaders(sharing.leaders());
        let before = self.together("choosing builders", self.who_has_it(&ticket.signature, cache))?;
        let mut own_transport = callbacks.send.is_some();
        if own_transport && self.class.part.is_some() {
            // It takes one library from rank 0 to all, and here there are several.
            log::warn!(
                "send and receive are not used for {}: there are different kinds of machines",
                ticket.signature
            );
            own_transport = false;
        }
        let mut plan = roles::plan(&Situation {
            leaders: &leaders,
            on_disk: &before,
            buildon: self.request.params.buildon,
            own_transport,
        });
        if let Some(turn) = turn.filter(|_| self.request.params.buildon == BuildOn::Node)
            && self.class.part.is_none()
        {
            plan.builders = roles::deal(&plan.builders, &leaders, sharing.hosts(), turn);
        }
        Ok(Roles { leaders, before, plan })
    }

    /// Steps 6 and 7.
    fn build(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        roles: &Roles,
        begun: Begun,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Origin> {
        let signature = ticket.signature.as_str();
        let (comm, rank) = (self.comm(), self.comm().rank());
        let Roles { leaders, before, plan } = roles;
        if self.request.params.cache.sealed {
            // Parameters and `before` are the same on all ranks: all fail here, or one hands it over to the others.
            if before.contains(&true) {
                return Ok(Origin::Disk);
            }
            let missing = || Err(self.session.sealed(ticket, cache, rank == ROOT));
            return agree(comm, "looking into the sealed cache", missing);
        }
        let built = agree(comm, "building", || {
            if !plan.builders.contains(&rank) {
                return Ok(false);
            }
            self.session.conclude(begun, ticket, cache, callbacks)
        })?;
        let mut origin = if built { Origin::Built } else { Origin::Disk };

        let leads = leaders[rank] == rank;
        if plan.transport {
            agree(comm, "sending and receiving", || {
                if rank == ROOT {
                    return send(signature, cache, callbacks);
                }
                let blob = callbacks.receive()?;
                if leads { accept(&blob, signature, cache) } else { Ok(()) }
            })?;
            if leads && rank != ROOT && !before[rank] {
                origin = Origin::Received;
            }
        }
        Ok(origin)
    }

    /// Step 7: what was built is found in the cache, or handed over.
    fn fetch(
        &self,
        signature: &str,
        cache: &Cache,
        leaders: &[usize],
        origin: Origin,
    ) -> Result<(Served, Origin)> {
        let mut all_found = [0];
        let found = agree_min(self.comm(), "looking into the cache", &mut all_found, |all_found| {
            let found = find(cache, signature, Check::Load)?;
            all_found[0] = u64::from(found.is_some());
            Ok(found)
        })?;
        match found {
            Some(order) if all_found == [1] => Ok((Served::Cache(order), origin)),
            found => self.hand_over(signature, cache, leaders, found, origin),
        }
    }

    /// Whether the whole entry lies on the disk of each rank.
    fn who_has_it(&self, signature: &str, cache: &Cache) -> Result<Vec<bool>> {
        let found = agree(self.comm(), "looking into the cache", || find(cache, signature, Check::Whole))?;
        Ok(self.comm().all_gather(&[u8::from(found.is_some())])?.iter().map(|byte| *byte == 1).collect())
    }

    /// The closure goes from a rank that has it to the ranks that have not, whose leaders publish it. A rank
    /// whose directory does not show it even then (network disks may take their time) loads the bytes themselves.
    fn hand_over(
        &self,
        signature: &str,
        cache: &Cache,
        leaders: &[usize],
        found: Option<Vec<Whole>>,
        origin: Origin,
    ) -> Result<(Served, Origin)> {
        let (comm, rank) = (self.comm(), self.comm().rank());
        let have = self.who_has_it(signature, cache)?;
        let Some(source) = roles::source(&have) else {
            let text =
                format!("{signature} was built and is on no rank's disk any more: who empties the cache?");
            return Err(Error::new(Kind::Cache, text));
        };
        let mut blob = agree(comm, "reading what was built", || {
            if rank == source {
                Closure::Entries(cache.read_closure(signature)?).encode()
            } else {
                Ok(Vec::new())
            }
        })?;
        comm.enter("handing over what was built");
        comm.broadcast(source, &mut blob)?;
        let receives = roles::receivers(leaders, &have).contains(&rank);
        agree(comm, "publishing what was received", || {
            if receives { accept(&blob, signature, cache) } else { Ok(()) }
        })?;
        agree(comm, "looking into the cache", || {
            if let Some(order) = found {
                return Ok((Served::Cache(order), origin));
            }
            let origin = if receives { Origin::Received } else { origin };
            if let Some(order) = find(cache, signature, Check::Load)? {
                return Ok((Served::Cache(order), origin));
            }
            match Closure::decode(&blob)? {
                Closure::Entries(entries) => Ok((Served::Bytes(entries), Origin::Received)),
                Closure::Failure(error) => Err(error),
            }
        })
    }

    /// Step 8.
    fn load(&self, signature: &str, cache: &Cache, served: &Served, origin: Origin) -> Result<Library> {
        match served {
            Served::Cache(order) => self.session.load(cache, order, origin),
            Served::Bytes(entries) => self.session.load_bytes(entries, signature, cache, origin),
        }
    }
}

/// Sends the closure by the host's transport; when it cannot be read, the reason, since others wait for something.
pub(super) fn send(signature: &str, cache: &Cache, callbacks: &mut Callbacks<'_>) -> Result<()> {
    if callbacks.send.is_none() {
        return Ok(());
    }
    let blob = catch("reading what was built", || Closure::Entries(cache.read_closure(signature)?).encode());
    match blob {
        Ok(blob) => callbacks.send(&blob),
        Err(error) => {
            // That its sending fails too is no news.
            let _ = callbacks.send(&Closure::failure(&error));
            Err(error)
        }
    }
}

/// Publishes what a blob brings; the error that it brings is ours.
pub(super) fn accept(blob: &[u8], signature: &str, cache: &Cache) -> Result<()> {
    let entries = match Closure::decode(blob)? {
        Closure::Entries(entries) => entries,
        Closure::Failure(error) => return Err(error),
    };
    if entries.last().is_none_or(|last| last.signature != signature) {
        let text = format!("received a library, but not {signature}");
        return Err(Error::new(Kind::Callback, text));
    }
    entries.iter().try_for_each(|files| cache.publish(files).map(drop))?;
    cache.count(Event::Received, signature, 0, 0);
    Ok(())
}
