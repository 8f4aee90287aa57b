//! Calls without a communicator: the role follows from the callbacks.

#![forbid(unsafe_code)]

use crate::build::toolchain;
use crate::cache::closure::Closure;
use crate::cache::{Cache, VerifiedEntry, Verify};
use crate::error::{Error, Kind, Result, catch};
use crate::params::resolved::Resolved;

use super::build_pool::StartedBuild;
use super::build_step::complete;
use super::callbacks::Callbacks;
use super::check::check_source;
use super::counting::{HIT_TOUCH_INTERVAL, LINK_TOUCH_INTERVAL, count_hit};
use super::library::{Library, Origin};
use super::loading::LoadResult;
use super::lookup::{MAX_LOOKUPS, find, no_generator, removed_error, was_evicted};
use super::nested;
use super::request::{Request, SignedRequest};
use super::session::Session;
use super::transport::{publish_received, send};

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

/// Gets the library of a request; see [`Session::jit`].
pub(super) fn jit(
    session: &Session,
    request: Result<Request<'_>>,
    callbacks: &mut Callbacks<'_>,
) -> Result<Library> {
    let found = if nested::is_nested() {
        LocalCall::look_up_nested(session, request?)?
    } else {
        check_roles(callbacks)?;
        if let Some(library) = request.as_ref().ok().and_then(|request| session.from_memory(*request)) {
            return Ok(library);
        }
        let builds = callbacks.generate.is_some();
        request
            .and_then(|request| LocalCall::look_up(session, request, Verify::ForLoad, builds))
            .map_err(|error| run_failure_callbacks(error, callbacks))?
    };
    let (call, found) = found;
    call.answer(found, StartedBuild::Nothing, callbacks)
}

/// Refuses callbacks of two roles.
pub(super) fn check_roles(callbacks: &Callbacks<'_>) -> Result<()> {
    if callbacks.generate.is_some() && callbacks.receive.is_some() {
        let text = "both generate and receive are set: a rank is a builder or a receiver";
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    Ok(())
}

/// A call without a communicator.
pub(super) struct LocalCall<'a> {
    pub(super) session: &'a Session,
    pub(super) signed: SignedRequest<'a>,
    pub(super) cache: Cache,
}

impl<'a> LocalCall<'a> {
    /// Signs a request and looks it up. If it is missing and this process `builds` it, the compiler is looked
    /// at anew: a library must be signed with the compiler that builds it.
    pub(super) fn look_up(
        session: &'a Session,
        request: Request<'a>,
        verify: Verify,
        builds: bool,
    ) -> Result<(Self, Option<VerifiedEntry>)> {
        let root = nested::effective_dir(&request.params.cache.cache_dir);
        let cache = Cache::with_shared_params(&root, &request.params.cache);
        let signed = session.toolchains.sign(request)?;
        let found = find(&cache, &signed.signature, verify)?;
        if found.is_some() || !builds || nested::is_nested() {
            return Ok((Self { session, signed, cache }, found));
        }
        toolchain::invalidate();
        let again = session.toolchains.sign(request)?;
        let same = again.signature == signed.signature;
        let found = if same { None } else { find(&cache, &again.signature, verify)? };
        Ok((Self { session, signed: again, cache }, found))
    }

    /// The same within `generate`. The parent links to the library and sends it on, so it must be whole on
    /// disk: a library in memory is not enough.
    fn look_up_nested(session: &'a Session, request: Request<'a>) -> Result<(Self, Option<VerifiedEntry>)> {
        Self::look_up(session, request, Verify::ForLink, false).inspect_err(|error| {
            let root = nested::effective_dir(&request.params.cache.cache_dir);
            nested::note(Cache::with_shared_params(&root, &request.params.cache).layout(), Err(error));
        })
    }

    /// Returns the library, by what was found and started.
    pub(super) fn answer(
        &self,
        found: Option<VerifiedEntry>,
        started: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        if nested::is_nested() {
            let result = self.answer_nested(found, started, callbacks);
            nested::note(self.cache.layout(), result.as_ref().map(Library::signature));
            return result;
        }
        let library = self.answer_and_retry(found, started, callbacks)?;
        let request = self.signed.request;
        self.session.hits.put(request.name, request.params.request_digest, &library);
        Ok(library)
    }

    fn answer_and_retry(
        &self,
        mut found: Option<VerifiedEntry>,
        mut started: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        // Callbacks that tell other processes are called once.
        let alone = callbacks.send.is_none() && callbacks.receive.is_none() && callbacks.wait.is_none();
        let mut lookups_left = if alone { MAX_LOOKUPS } else { 1 };
        let mut rebuilds = alone && self.can_build(callbacks);
        if found.is_some() && check_source(&self.signed, &self.cache, callbacks)? {
            found = None;
        }
        loop {
            lookups_left -= 1;
            let (mut evicted, hit) = (false, found.is_some());
            match self.load_or_build(found, &mut started, callbacks, &mut evicted) {
                Err(refusal) if evicted && lookups_left > 0 => log::info!("looking again: {}", refusal.error),
                // If hosts have roles of their own, other processes may use the entry.
                Err(refusal) if alone && refusal.culprit.is_some() && (rebuilds || !hit) => {
                    let rebuild = std::mem::take(&mut rebuilds) && hit;
                    refusal.quarantine(&self.cache, rebuild)?;
                    lookups_left += 1;
                }
                loaded => return Ok(loaded?),
            }
            found = find(&self.cache, &self.signed.signature, Verify::ForLoad)?;
        }
    }

    fn can_build(&self, callbacks: &Callbacks<'_>) -> bool {
        callbacks.generate.is_some() && !self.signed.request.params.cache.frozen
    }

    /// Loads what was found; on a miss plays the role of this process first. Sets `evicted` if it fails
    /// because something was there and is gone.
    fn load_or_build(
        &self,
        found: Option<VerifiedEntry>,
        started: &mut StartedBuild,
        callbacks: &mut Callbacks<'_>,
        evicted: &mut bool,
    ) -> LoadResult {
        let (order, origin) = match found {
            Some(order) => self.hit(order, HIT_TOUCH_INTERVAL),
            None => self.miss(started, callbacks, evicted)?,
        };
        self.session.libraries.load(&self.cache, &order, origin).map_err(|refusal| {
            *evicted = was_evicted(&self.cache, &order);
            refusal.blame_built(Some(origin), &order)
        })
    }

    fn hit(&self, order: VerifiedEntry, touch_interval: std::time::Duration) -> (VerifiedEntry, Origin) {
        let origin = self.session.libraries.hit_origin(&self.cache, &order);
        count_hit(&self.session.counter, &self.cache, &order, origin, touch_interval);
        (order, origin)
    }

    /// Plays the role of a process that has not found the library.
    fn miss(
        &self,
        started: &mut StartedBuild,
        callbacks: &mut Callbacks<'_>,
        evicted: &mut bool,
    ) -> Result<(VerifiedEntry, Origin)> {
        let (signature, cache) = (&self.signed.signature, &self.cache);
        let (outcome, origin) = if callbacks.generate.is_some() {
            let built = catch("building", || self.build(std::mem::take(started), callbacks));
            let sent = match &built {
                Ok(_) => send(signature, cache, callbacks),
                Err(error) => callbacks.send(&Closure::failure(error)),
            };
            let origin = *built.as_ref().unwrap_or(&Origin::Disk);
            (built.and(sent), origin)
        } else if callbacks.receive.is_some() {
            let received = callbacks.receive().and_then(|closure| {
                catch("publishing what was received", || publish_received(&closure, signature, cache))
            });
            (received, Origin::Received)
        } else if callbacks.wait.is_some() {
            (Ok(()), Origin::Disk)
        } else if self.signed.request.params.cache.frozen {
            return Err(self.session.frozen_misses.error(&self.signed, cache, true));
        } else {
            return Err(no_generator(signature, cache.layout().root()));
        };
        // Others wait for this process, whatever its outcome.
        let waited = callbacks.wait();
        outcome?;
        waited?;
        let order = find(cache, signature, Verify::ForLoad)?.ok_or_else(|| {
            *evicted = true;
            let text = format!(
                "after waiting, {signature} is not in {}: its builder failed, or does not share this \
                 directory",
                cache.layout().root().display()
            );
            Error::new(Kind::Cache, text)
        })?;
        Ok((order, origin))
    }

    fn build(&self, started: StartedBuild, callbacks: &mut Callbacks<'_>) -> Result<Origin> {
        let context = self.signed.context();
        let built = complete(self.session, started, &self.signed, &self.cache, callbacks, &context)?;
        Ok(if built { Origin::Built } else { Origin::Disk })
    }

    /// Answers a call within `generate`.
    fn answer_nested(
        &self,
        mut found: Option<VerifiedEntry>,
        mut started: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let (signature, cache) = (&self.signed.signature, &self.cache);
        if found.is_some() && check_source(&self.signed, cache, callbacks)? {
            found = None;
        }
        let mut rebuilds = self.can_build(callbacks);
        for lookup in 1.. {
            let hit = found.is_some();
            let (order, origin) = match found {
                Some(order) => self.hit(order, LINK_TOUCH_INTERVAL),
                None => {
                    let origin = self.build(std::mem::take(&mut started), callbacks)?;
                    match find(cache, signature, Verify::ForLink)? {
                        Some(order) => (order, origin),
                        None if lookup < MAX_LOOKUPS => {
                            log::info!("{signature} has been removed since it was built: building it again");
                            found = None;
                            continue;
                        }
                        None => break,
                    }
                }
            };
            let loaded = self.session.libraries.load(cache, &order, origin);
            match loaded.map_err(|refusal| refusal.blame_built(Some(origin), &order)) {
                Err(refusal) if lookup < MAX_LOOKUPS && was_evicted(cache, &order) => {
                    log::info!("looking again: {}", refusal.error);
                }
                Err(refusal) if refusal.culprit.is_some() && (rebuilds || !hit) => {
                    refusal.quarantine(cache, std::mem::take(&mut rebuilds) && hit)?;
                }
                loaded => return Ok(loaded?),
            }
            found = find(cache, signature, Verify::ForLink)?;
        }
        Err(removed_error(signature, cache))
    }
}

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
