//! Calls on a communicator: the fixed sequence of agreed steps.
//!
//! Every function here that takes a communicator is collective, and what comes next depends only on values that all
//! ranks share.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::cache::closure::Closure;
use crate::cache::layout::Layout;
use crate::cache::{Cache, Check, EntryFiles};
use crate::error::{Error, Kind, Result, catch};
use crate::fsutil;
use crate::parallel::directories::{Sharing, discover};
use crate::parallel::roles::{self, ROOT, Situation};
use crate::parallel::{Communicator, agree, agree_min, all_same, gather_bytes, on_root, same_votes};
use crate::params::resolved::BuildOn;
use crate::signature::{Toolchain, check_name, signature};
use crate::wire::{Writer, digest};

use super::callbacks::Callbacks;
use super::library::{Library, Origin};
use super::make::Ticket;
use super::{Memory, Request, Session, find, lock};

/// What the ranks of a communicator have agreed on so far; the same on all of them, but for paths.
#[derive(Default)]
pub struct Agreed {
    memory: Memory,
    /// With the number of the discovery, by which ranks see that they mean the same one.
    sharing: Mutex<HashMap<PathBuf, (u64, Arc<Sharing>)>>,
    discoveries: AtomicU64,
    toolchains: Mutex<HashMap<Vec<String>, Toolchain>>,
}

/// A rank's view of one call.
struct Call<'a> {
    session: &'a Session,
    agreed: &'a Agreed,
    comm: &'a dyn Communicator,
    request: Request<'a>,
}

/// How a rank stands before loading.
enum Served {
    /// By its cache: libraries to load, dependencies first.
    Cache(Vec<String>),
    /// By bytes that were handed over because its cache does not show them.
    Bytes(Vec<EntryFiles>),
}

impl Session {
    /// The library that `comm` has already agreed on for this request: no communication.
    #[must_use]
    pub fn jit_from_memory(&self, request: Request<'_>, agreed: &Agreed) -> Option<Library> {
        agreed.memory.get(request.name, &request.params.memory_digest)
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
        if let Ok(request) = &request
            && let Some(library) = self.jit_from_memory(*request, agreed)
        {
            return Ok(library);
        }
        let request = same_call(comm, request, callbacks)?;
        let call = Call { session: self, agreed, comm, request };
        let ticket = call.ticket()?;
        let root = call.own_root()?;
        let cache = Cache::new(&root, &request.params.cache);

        let (served, origin) = match call.look(&ticket.signature, &cache)? {
            Some(hit) => hit,
            None => call.miss(&ticket, &cache, callbacks)?,
        };
        let library = agree(comm, "loading", || call.load(&ticket.signature, &cache, &served, origin))?;
        agreed.memory.put(request.name, request.params.memory_digest, &library);
        Ok(library)
    }
}

/// Step 1: all ranks are well, and ask for the same.
fn same_call<'a>(
    comm: &dyn Communicator,
    request: Result<Request<'a>>,
    callbacks: &Callbacks<'_>,
) -> Result<Request<'a>> {
    let mut votes = [0; 8];
    let mut mine = Vec::new();
    let request = agree_min(comm, "checking the call", &mut votes, |votes| {
        let request = request?;
        check_name(request.name)?;
        if callbacks.send.is_some() != callbacks.receive.is_some() {
            let text =
                "on a communicator send and receive are set together or not at all: every rank passes both";
            return Err(Error::new(Kind::InvalidArgument, text));
        }
        let mut writer = Writer::default();
        writer.bytes(request.name.as_bytes());
        writer.bytes(&request.params.shared_digest);
        writer.u32(callbacks.mask());
        mine = writer.finish();
        votes.copy_from_slice(&same_votes(&digest(&mine)));
        Ok(request)
    })?;
    if all_same(&votes) {
        return Ok(request);
    }
    let calls = gather_bytes(comm, &mine)?;
    Err(disagreement(&calls))
}

/// Names the first rank that differs from rank 0, and in what.
fn disagreement(calls: &[Vec<u8>]) -> Error {
    let read = |call: &[u8]| {
        let mut reader = crate::wire::Reader::new(call);
        Some((reader.text()?.to_owned(), reader.bytes()?.to_vec(), reader.u32()?))
    };
    let calls: Vec<_> = calls.iter().map(|call| read(call).unwrap_or_default()).collect();
    let other = calls.iter().position(|call| *call != calls[0]).unwrap_or_default();
    let (first, second) = (&calls[0], &calls[other]);
    let difference = if first.0 != second.0 {
        format!("rank 0 asks for \"{}\", rank {other} for \"{}\"", first.0, second.0)
    } else if first.1 != second.1 {
        format!(
            "for \"{}\" rank 0 and rank {other} have different parameters (environment and config files count)",
            first.0
        )
    } else {
        format!("for \"{}\" rank 0 and rank {other} set different callbacks", first.0)
    };
    let count = calls.iter().filter(|call| **call != calls[0]).count();
    let text = format!(
        "the {} ranks of the communicator do not make the same call: {difference} ({count} differ from rank 0)",
        calls.len()
    );
    Error::new(Kind::RanksDisagree, text)
}

impl Call<'_> {
    /// Step 2: the signature; rank 0 says what the compiler is, once for each communicator and compiler.
    fn ticket(&self) -> Result<Ticket<'_>> {
        let params = self.request.params;
        if params.cache.signature_is_name {
            return self.sign(Toolchain::unknown());
        }
        let compiler = &params.build.compiler;
        let known = lock(&self.agreed.toolchains).get(compiler).cloned();
        let toolchain = match known {
            Some(toolchain) => toolchain,
            None => {
                let bytes = on_root(self.comm, "asking the compiler what it is", || {
                    serde_json::to_vec(&self.session.toolchain(params))
                        .map_err(|error| Error::new(Kind::Internal, error.to_string()))
                })?;
                let toolchain: Toolchain = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
                // A compiler that is not there may be there at the next call.
                if toolchain != Toolchain::unknown() {
                    lock(&self.agreed.toolchains).insert(compiler.clone(), toolchain.clone());
                }
                toolchain
            }
        };
        self.sign(toolchain)
    }

    fn sign(&self, toolchain: Toolchain) -> Result<Ticket<'_>> {
        // Of equal arguments on all ranks: it fails on all or on none.
        let signature = signature(self.request.name, self.request.params, || Ok(toolchain.clone()))?;
        Ok(Ticket { request: self.request, signature, toolchain })
    }

    /// Step 3: the directory of this rank; its own one with strategy "process".
    fn own_root(&self) -> Result<PathBuf> {
        let declared = &self.request.params.cache.cache_dir;
        if self.request.params.buildon != BuildOn::Process {
            return Ok(declared.clone());
        }
        let sharing = self.sharing(declared)?;
        let rank = self.comm.rank();
        Ok(if sharing.is_alone(rank) { declared.clone() } else { Layout::process_root(declared, rank) })
    }

    /// Who shares the declared cache directory, found out once for each communicator and directory.
    fn sharing(&self, declared: &Path) -> Result<Arc<Sharing>> {
        let known = lock(&self.agreed.sharing).get(declared).cloned();
        // A rank with another directory than last time makes all look again.
        let number = known.as_ref().map_or(u64::MAX, |(number, _)| *number);
        let mut votes = [number, !number];
        self.comm.min(&mut votes)?;
        if let Some((_, sharing)) = known
            && all_same(&votes)
        {
            return Ok(sharing);
        }
        let cache = Cache::new(declared, &self.request.params.cache);
        let sharing = Arc::new(discover(self.comm, || cache.identify(), &cache.layout().comm())?);
        let number = self.agreed.discoveries.fetch_add(1, Ordering::Relaxed);
        lock(&self.agreed.sharing).insert(declared.to_owned(), (number, Arc::clone(&sharing)));
        Ok(sharing)
    }

    /// Step 4: who has it. `None` on all ranks unless all have it.
    fn look(&self, signature: &str, cache: &Cache) -> Result<Option<(Served, Origin)>> {
        let mut all_hit = [0];
        let found = agree_min(self.comm, "looking into the cache", &mut all_hit, |all_hit| {
            let found = find(cache, signature, Check::Load)?;
            all_hit[0] = u64::from(found.is_some());
            Ok(found)
        })?;
        let loaded = self.session.has_loaded(&cache.layout().lib(signature));
        let origin = if loaded { Origin::Memory } else { Origin::Disk };
        Ok(found.filter(|_| all_hit == [1]).map(|order| (Served::Cache(order), origin)))
    }

    /// Steps 5 to 7: roles, building, transport.
    fn miss(
        &self,
        ticket: &Ticket<'_>,
        cache: &Cache,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<(Served, Origin)> {
        let signature = ticket.signature.as_str();
        let (comm, rank) = (self.comm, self.comm.rank());
        let sharing = match self.request.params.buildon {
            BuildOn::Process => Arc::new(Sharing::separate(comm.size())),
            BuildOn::Node | BuildOn::Root => self.sharing(&self.request.params.cache.cache_dir)?,
        };
        let leaders = sharing.leaders();
        let before = self.who_has_it(signature, cache)?;
        let plan = roles::plan(&Situation {
            leaders,
            on_disk: &before,
            buildon: self.request.params.buildon,
            own_transport: callbacks.send.is_some(),
        });
        agree(comm, "building", || {
            if !plan.builders.contains(&rank) {
                return Ok(());
            }
            self.session.make(ticket, cache, callbacks)
        })?;
        let mut origin = if plan.builders.contains(&rank) { Origin::Built } else { Origin::Disk };

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
        agree(comm, "waiting", || callbacks.wait())?;

        let mut all_found = [0];
        let found = agree_min(comm, "looking into the cache", &mut all_found, |all_found| {
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
        let found = agree(self.comm, "looking into the cache", || find(cache, signature, Check::Whole))?;
        Ok(self.comm.all_gather(&[u8::from(found.is_some())])?.iter().map(|byte| *byte == 1).collect())
    }

    /// Step 7: the closure goes from a rank that has it to the ranks that have not, whose leaders publish it. A rank
    /// whose directory does not show it even then (network disks may take their time) loads the bytes themselves.
    fn hand_over(
        &self,
        signature: &str,
        cache: &Cache,
        leaders: &[usize],
        found: Option<Vec<String>>,
        origin: Origin,
    ) -> Result<(Served, Origin)> {
        let (comm, rank) = (self.comm, self.comm.rank());
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
            Served::Bytes(entries) => self.session.load_bytes(entries, signature, cache),
        }
    }
}

impl Session {
    /// Loads a library from bytes: from a private folder that is gone afterwards.
    pub(super) fn load_bytes(
        &self,
        entries: &[EntryFiles],
        signature: &str,
        cache: &Cache,
    ) -> Result<Library> {
        let temp_root = &cache.layout().params().temp_dir_root;
        let private =
            fsutil::private_dir(temp_root).map_err(|error| Error::io("cannot write", temp_root, &error))?;
        let own = Cache::new(private.path(), cache.layout().params());
        for files in entries {
            own.publish(files)?;
        }
        let order = find(&own, signature, Check::Load)?.ok_or_else(|| {
            Error::new(
                Kind::Cache,
                format!("{signature} cannot be read back from {}", private.path().display()),
            )
        })?;
        let library = self.load(&own, &order, Origin::Received)?;
        Ok(library.moved_to(&cache.layout().lib(signature)))
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
    entries.iter().try_for_each(|files| cache.publish(files).map(drop))
}
