//! Calls without a communicator: the role follows from the callbacks, as dijitso documents.

#![forbid(unsafe_code)]

use crate::cache::closure::Closure;
use crate::cache::{Cache, Check};
use crate::error::{Error, Kind, Result, catch};

use super::callbacks::Callbacks;
use super::library::{Library, Origin};
use super::make::Ticket;
use super::{Request, Session, find, nested, no_generator};

impl Session {
    /// What a call without a communicator has been answered before; nothing within a `generate` callback.
    #[must_use]
    pub fn remembered(&self, request: Request<'_>) -> Option<Library> {
        if nested::is_nested() { None } else { self.memory.get(request.name, &request.params.digest) }
    }

    /// Gets the library of a request without talking to anybody but the host's callbacks, and these on a miss only.
    ///
    /// With `generate` this process is a builder, which also calls `send` if set; with `receive` a receiver; with
    /// neither a waiter. All call `wait` if set before they load. A builder that fails still calls `send` and `wait`,
    /// with a blob that carries its error, so that receivers report it.
    ///
    /// Within a `generate` callback the call is local to the builder: only `generate` is used.
    ///
    /// # Errors
    /// Any of [`Kind`].
    pub fn jit(&self, request: Request<'_>, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        if nested::is_nested() {
            return self.jit_nested(request, callbacks);
        }
        if let Some(library) = self.remembered(request) {
            return Ok(library);
        }
        if callbacks.generate.is_some() && callbacks.receive.is_some() {
            let text = "both generate and receive are set: a rank is a builder or a receiver";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        let ticket = &self.ticket(request)?;
        let signature = &ticket.signature;
        let cache = Cache::new(&request.params.cache.cache_dir, &request.params.cache);
        let (order, origin) = match find(&cache, signature, Check::Load) {
            Ok(Some(order)) => {
                let loaded = self.has_loaded(&cache.layout().lib(signature));
                (order, if loaded { Origin::Memory } else { Origin::Disk })
            }
            Ok(None) => self.miss(ticket, &cache, callbacks, Ok(()))?,
            // A rank that cannot look has to play its part all the same, or the others would wait for it.
            Err(error) => self.miss(ticket, &cache, callbacks, Err(error))?,
        };
        let library = self.load(&cache, &order, origin)?;
        self.memory.put(request.name, request.params.digest, &library);
        Ok(library)
    }

    /// The part of a rank that has not found the library; `looked` is how looking for it went.
    fn miss(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        looked: Result<()>,
    ) -> Result<(Vec<String>, Origin)> {
        let signature = &ticket.signature;
        let (outcome, origin) = if callbacks.generate.is_some() {
            (self.build_and_send(ticket, cache, callbacks, looked), Origin::Built)
        } else if callbacks.receive.is_some() {
            let received = callbacks.receive();
            let accepted = looked.and(received).and_then(|blob| {
                catch("publishing what was received", || super::ranks::accept(&blob, signature, cache))
            });
            (accepted, Origin::Received)
        } else if callbacks.wait.is_some() {
            (looked, Origin::Disk)
        } else {
            return Err(looked.err().unwrap_or_else(|| no_generator(signature, cache.layout().root())));
        };
        // Others wait for this rank, whatever has become of it.
        let waited = callbacks.wait();
        outcome?;
        waited?;
        let order = find(cache, signature, Check::Load)?.ok_or_else(|| {
            let text = format!(
                "after waiting, {signature} is not in {}: its builder failed, or does not share this directory",
                cache.layout().root().display()
            );
            Error::new(Kind::Cache, text)
        })?;
        Ok((order, origin))
    }

    fn build_and_send(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
        looked: Result<()>,
    ) -> Result<()> {
        let made = looked.and_then(|()| catch("building", || self.make(ticket, cache, callbacks)));
        if callbacks.send.is_none() {
            return made;
        }
        let closure = match &made {
            Ok(()) => cache.read_closure(&ticket.signature).map(Closure::Entries),
            Err(error) => Ok(Closure::Failure(error.clone())),
        };
        let (blob, read) = match closure {
            Ok(closure) => (closure.encode(), Ok(())),
            Err(error) => (Closure::Failure(error.clone()).encode(), Err(error)),
        };
        let sent = callbacks.send(&blob);
        made.and(read).and(sent)
    }

    fn jit_nested(&self, request: Request<'_>, callbacks: &mut Callbacks<'_>) -> Result<Library> {
        let root = nested::effective_dir(&request.params.cache.cache_dir);
        let result = self.jit_nested_in(request, &Cache::new(&root, &request.params.cache), callbacks);
        nested::note(&root, result.as_ref().map(Library::signature));
        result
    }

    fn jit_nested_in(
        &self,
        request: Request<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Library> {
        let ticket = &self.ticket(request)?;
        let signature = &ticket.signature;
        // It will be linked to and sent on, so it has to be on disk, whole; memory does not count.
        let (order, origin) = match find(cache, signature, Check::Whole)? {
            Some(order) => {
                let loaded = self.has_loaded(&cache.layout().lib(signature));
                (order, if loaded { Origin::Memory } else { Origin::Disk })
            }
            None => {
                self.make(ticket, cache, callbacks)?;
                let order = find(cache, signature, Check::Whole)?;
                let lost = || no_generator(signature, cache.layout().root());
                (order.ok_or_else(lost)?, Origin::Built)
            }
        };
        self.load(cache, &order, origin)
    }
}
