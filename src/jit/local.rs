//! Calls without a communicator: the role follows from the callbacks, as dijitso documents.

#![forbid(unsafe_code)]

use crate::build::toolchain;
use crate::cache::closure::Closure;
use crate::cache::{Cache, VerifiedLib, Verify};
use crate::error::{Error, Kind, Result, catch};
use crate::params::resolved::Resolved;

use super::build_step::SignedRequest;
use super::callbacks::Callbacks;
use super::counting::{HIT_TOUCH_INTERVAL, LINK_TOUCH_INTERVAL};
use super::library::{Library, Origin};
use super::pending::StartedBuild;
use super::quarantine::{Refusal, quarantine};
use super::removed::removed;
use super::{MAX_LOOKUPS, Request, Session, find, nested, no_generator, was_evicted};

impl Session {
    /// Gives `take` what a call without a communicator has been answered with before; nothing within a `generate`
    /// callback. Neither locks nor allocates.
    pub fn memory_hit<T>(
        &self,
        name: &[u8],
        params: &Resolved,
        take: impl FnOnce(&Library) -> T,
    ) -> Option<T> {
        if nested::is_nested() {
            return None;
        }
        let known = self.memory.get(name, &params.request_digest, take);
        known.inspect(|_| self.tally.memory_hit())
    }

    /// What a call without a communicator has been answered before, as [`Session::recall`].
    #[must_use]
    pub fn from_memory(&self, request: Request<'_>) -> Option<Library> {
        let take = |library: &Library| library.with_origin(Origin::Memory);
        self.memory_hit(request.name.as_bytes(), request.params, take)
    }

    /// Gets the library of a request without talking to anybody but the host's callbacks, and these on a miss only.
    ///
    /// With `generate` this process is a builder, which also calls `send` if set; with `receive` a receiver; with
    /// neither a waiter. All call `wait` if set before they load. A builder that fails still calls `send` and `wait`,
    /// with a blob that carries its error, so that receivers report it.
    ///
    /// Within a `generate` callback the call is local to the builder: only `generate` is used.
    ///
    /// An error in place of the request (say, parameters that could not be read) is a failure like any other: the part
    /// that the callbacks give to this process is played all the same, or others would wait for it.
    ///
    /// # Errors
    /// Any of [`Kind`].
    pub fn jit(&self, request: Result<Request<'_>>, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        if nested::is_nested() {
            return self.jit_nested(request?, callbacks);
        }
        if callbacks.generate.is_some() && callbacks.receive.is_some() {
            let text = "both generate and receive are set: a rank is a builder or a receiver";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        if let Some(library) = request.as_ref().ok().and_then(|request| self.from_memory(*request)) {
            return Ok(library);
        }
        let builds = callbacks.generate.is_some();
        let looked = request.and_then(|request| {
            let cache = Cache::sharing(&request.params.cache.cache_dir, &request.params.cache);
            let (ticket, found) = self.look_up(request, &cache, Verify::ForLoad, builds)?;
            Ok((ticket, cache, found))
        });
        let (ticket, cache, found) = match looked {
            Ok(looked) => looked,
            Err(error) => return Err(run_failure_callbacks(error, callbacks)),
        };
        self.answer_and_store(&ticket, &cache, found, StartedBuild::Nothing, callbacks)
    }

    /// The ticket of a request, and what the cache has for it. Before something is built, the compiler is looked at
    /// again: nothing must be called after another compiler than the one that builds it.
    pub(super) fn look_up<'a>(
        &self,
        request: Request<'a>,
        cache: &Cache,
        check: Verify,
        builds: bool,
    ) -> Result<(SignedRequest<'a>, Option<Vec<VerifiedLib>>)> {
        let ticket = self.ticket(request)?;
        let found = find(cache, &ticket.signature, check)?;
        if found.is_some() || !builds || nested::is_nested() {
            return Ok((ticket, found));
        }
        toolchain::invalidate();
        let again = self.ticket(request)?;
        let same = again.signature == ticket.signature;
        let found = if same { None } else { find(cache, &again.signature, check)? };
        Ok((again, found))
    }

    /// The library, by what was found and begun, for this call and those to come.
    pub(super) fn answer_and_store(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        found: Option<Vec<VerifiedLib>>,
        mut begun: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        // What a host tells others by its callbacks is told once.
        let alone = callbacks.send.is_none() && callbacks.receive.is_none() && callbacks.wait.is_none();
        let mut looks = if alone { MAX_LOOKUPS } else { 1 };
        let mut builds = alone && callbacks.generate.is_some() && !ticket.request.params.cache.frozen;
        let mut found = match found {
            Some(_) if self.check_source(ticket, cache, callbacks)? => None,
            found => found,
        };
        let library = loop {
            looks -= 1;
            let (mut lost, hit) = (false, found.is_some());
            match self.answer(ticket, cache, found, &mut begun, callbacks, &mut lost) {
                Err(refusal) if lost && looks > 0 => log::info!("looking again: {}", refusal.error),
                // If hosts have roles of their own, other processes may count on what is there.
                Err(refusal) if alone && refusal.culprit.is_some() && (builds || !hit) => {
                    let again = std::mem::take(&mut builds) && hit;
                    quarantine(cache, refusal, again)?;
                    looks += 1;
                }
                answer => break answer?,
            }
            found = find(cache, &ticket.signature, Verify::ForLoad)?;
        };
        self.memory.put(ticket.request.name, ticket.request.params.request_digest, &library);
        Ok(library)
    }

    /// The library, by what was found. `lost` says whether a failure is that something was there and is gone.
    fn answer(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        found: Option<Vec<VerifiedLib>>,
        begun: &mut StartedBuild,
        callbacks: &mut Callbacks<'_>,
        lost: &mut bool,
    ) -> std::result::Result<Library, Refusal> {
        let (order, origin) = match found {
            Some(order) => {
                let origin = self.origin(cache, &order);
                self.count_hit(cache, &order, origin, HIT_TOUCH_INTERVAL);
                (order, origin)
            }
            None => self.miss(ticket, cache, begun, callbacks, lost)?,
        };
        self.load(cache, &order, origin).map_err(|refusal| {
            *lost = was_evicted(cache, &order);
            refusal.of(Some(origin), &order)
        })
    }

    /// The part of a process that has not found the library.
    fn miss(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        begun: &mut StartedBuild,
        callbacks: &mut Callbacks<'_>,
        lost: &mut bool,
    ) -> Result<(Vec<VerifiedLib>, Origin)> {
        let signature = &ticket.signature;
        let (outcome, origin) = if callbacks.generate.is_some() {
            let begun = std::mem::take(begun);
            let made =
                catch("building", || self.complete(begun, ticket, cache, callbacks, &ticket.context()));
            let sent = match &made {
                Ok(_) => super::transport::send(signature, cache, callbacks),
                Err(error) => callbacks.send(&Closure::failure(error)),
            };
            let origin = if made == Ok(true) { Origin::Built } else { Origin::Disk };
            (made.and(sent), origin)
        } else if callbacks.receive.is_some() {
            let accepted = callbacks.receive().and_then(|blob| {
                catch("publishing what was received", || {
                    super::transport::publish_received(&blob, signature, cache)
                })
            });
            (accepted, Origin::Received)
        } else if callbacks.wait.is_some() {
            (Ok(()), Origin::Disk)
        } else if ticket.request.params.cache.frozen {
            return Err(self.frozen(ticket, cache, true));
        } else {
            return Err(no_generator(signature, cache.layout().root()));
        };
        // Others wait for this process, whatever has become of it.
        let waited = callbacks.wait();
        outcome?;
        waited?;
        let order = find(cache, signature, Verify::ForLoad)?.ok_or_else(|| {
            *lost = true;
            let text = format!(
                "after waiting, {signature} is not in {}: its builder failed, or does not share this directory",
                cache.layout().root().display()
            );
            Error::new(Kind::Cache, text)
        })?;
        Ok((order, origin))
    }

    fn jit_nested(&self, request: Request<'_>, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        let root = nested::effective_dir(&request.params.cache.cache_dir);
        let cache = Cache::sharing(&root, &request.params.cache);
        let looked = self.ticket(request).and_then(|ticket| {
            // It will be linked to and sent on, so it has to be on disk, whole; memory does not count.
            let found = find(&cache, &ticket.signature, Verify::ForLink)?;
            Ok((ticket, found))
        });
        match looked {
            Ok((ticket, found)) => {
                self.answer_nested(&ticket, &cache, found, StartedBuild::Nothing, callbacks)
            }
            Err(error) => {
                nested::note(cache.layout(), Err(&error));
                Err(error)
            }
        }
    }

    /// The library of a call within `generate`, by what was found, whole, and begun.
    pub(super) fn answer_nested(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        found: Option<Vec<VerifiedLib>>,
        begun: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let result = self.answer_nested_in(ticket, cache, found, begun, callbacks);
        nested::note(cache.layout(), result.as_ref().map(Library::signature));
        result
    }

    fn answer_nested_in(
        &self,
        ticket: &SignedRequest<'_>,
        cache: &Cache,
        found: Option<Vec<VerifiedLib>>,
        begun: StartedBuild,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let signature = &ticket.signature;
        let (mut found, mut begun) = (found, begun);
        if found.is_some() && self.check_source(ticket, cache, callbacks)? {
            found = None;
        }
        let mut builds = callbacks.generate.is_some() && !ticket.request.params.cache.frozen;
        for look in 1.. {
            let hit = found.is_some();
            let (order, origin) = match found {
                Some(order) => {
                    let origin = self.origin(cache, &order);
                    self.count_hit(cache, &order, origin, LINK_TOUCH_INTERVAL);
                    (order, origin)
                }
                None => {
                    let built = self.complete(
                        std::mem::take(&mut begun),
                        ticket,
                        cache,
                        callbacks,
                        &ticket.context(),
                    )?;
                    let origin = if built { Origin::Built } else { Origin::Disk };
                    match find(cache, signature, Verify::ForLink)? {
                        Some(order) => (order, origin),
                        None if look < MAX_LOOKUPS => {
                            log::info!("{signature} has been removed since it was built: building it again");
                            found = None;
                            continue;
                        }
                        None => break,
                    }
                }
            };
            match self.load(cache, &order, origin).map_err(|refusal| refusal.of(Some(origin), &order)) {
                Err(refusal) if look < MAX_LOOKUPS && was_evicted(cache, &order) => {
                    log::info!("looking again: {}", refusal.error);
                }
                Err(refusal) if refusal.culprit.is_some() && (builds || !hit) => {
                    quarantine(cache, refusal, std::mem::take(&mut builds) && hit)?;
                }
                loaded => return Ok(loaded?),
            }
            found = find(cache, signature, Verify::ForLink)?;
        }
        Err(removed(signature, cache))
    }
}

/// The part of a process that failed before it could know whether the library is there: nobody waits for it in vain.
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
        // The error itself is returned.
        log::warn!("after a failure: {also}");
    }
    error
}
