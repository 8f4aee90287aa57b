//! Node-local staging: on a network disk one rank reads the cache, and the others load what is staged in the
//! memory or on the disk of their host.
//!
//! A shared file system is slowest when a thousand ranks open, read and verify the same files. So the lowest
//! rank of each host and cache directory is the leader of the host, and rank 0 reads for all: it looks up a
//! batch of signatures, and sends the libraries to the leaders. A leader verifies what it has got, puts each
//! library once into a private folder that only this user can enter, and tells its followers in one message
//! what is in it. They check that they see the same files (device and inode) and load them. When all ranks
//! have loaded, which the call agrees on anyway, the folder is removed; the libraries stay loaded.
//!
//! With `cache.distribute` = off, or on one host, each leader reads for its host. Rank 0 decides which of it
//! is done, which costs no message of its own. If a host has no place or room, its ranks read the cache. A
//! rank that does not see the files does so, too.
//!
//! The message of a leader to its followers:
//!
//! ```text
//! message := bytes folder  u64 files  file*  found*
//! file    := bytes signature  bytes digest  u64 milliseconds of the build  u64 device  u64 inode
//! found   := u32 kind (0: nothing, 1: in the cache, 2: staged)  files, if staged
//! files   := u64 count  u64 index*, dependencies first
//! ```

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::cache::{Cache, VerifiedEntry, VerifiedLib, Verify};
use crate::codec::{Reader, Writer};
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::Communicator;
use crate::parallel::roles::ROOT;

use super::distribution::{Kept, Sent, pack, unpack};
use super::library::{Library, Origin};
use super::loading::Libraries;
use super::lookup::{find, find_in, find_keeping};
use super::node_groups::NodeGroup;
use super::refusal::LoadRefusal;
use super::session::Session;
use super::staged_folder::StagedFolder;
use super::staged_set::{StagedFile, StagedSet, stage};

/// The result of a lookup on one rank.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Libraries in the cache.
    Cache(VerifiedEntry),
    /// Libraries in the cache, with copies of them on this host.
    Staged(StagedSet),
    /// Another rank of this host looks it up.
    Follower(Follower),
}

/// The task of a follower.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follower {
    /// Nothing: the leader has found nothing.
    Wait,
    /// Look it up: the leader has found it and could not stage it.
    LookUp,
}

/// The results of a batch of lookups.
pub(super) struct FoundBatch<'a> {
    session: &'a Session,
    cache: &'a Cache,
    /// The results of those that were sent before, by their places in the batch.
    prefetched: Vec<(usize, Found)>,
    /// The other signatures. All ranks have the same.
    signatures: Vec<&'a str>,
    /// Their results.
    found: Vec<Result<Found>>,
    /// On rank 0, if it reads for all hosts: the message to the leaders.
    sent: Vec<u8>,
}

impl Found {
    /// Looks up a batch of libraries, on the ranks that read the cache. If others load what is found, stages
    /// it. An error or panic of one signature is the result of that one alone. Not collective.
    pub(super) fn look_up_all<'a>(
        session: &'a Session,
        rank: usize,
        nodes: Option<&NodeGroup>,
        cache: &'a Cache,
        signatures: &'a [&'a str],
    ) -> FoundBatch<'a> {
        let (mut prefetched, mut others) = (Vec::new(), Vec::new());
        for (at, signature) in signatures.iter().enumerate() {
            match nodes.and_then(|nodes| nodes.prefetched(signature)) {
                Some(set) => {
                    prefetched.push((at, set.map_or(Self::Follower(Follower::LookUp), Self::Staged)))
                }
                None => others.push(*signature),
            }
        }
        let found = others.iter().map(|_| Ok(Self::Follower(Follower::Wait))).collect();
        let (signatures, sent) = (others, Vec::new());
        let mut batch = FoundBatch { session, cache, prefetched, signatures, found, sent };
        if nodes.is_none_or(|nodes| nodes.reads(rank)) && !batch.signatures.is_empty() {
            batch.look_up(nodes);
        }
        batch
    }

    /// Returns whether there is nothing, as far as this rank knows.
    pub(super) fn is_miss(&self) -> bool {
        matches!(self, Self::Nothing | Self::Follower(Follower::Wait))
    }

    /// Returns the entry in the cache.
    pub(super) fn entry(&self) -> Option<VerifiedEntry> {
        match self {
            Self::Cache(entry) => Some(entry.clone()),
            Self::Staged(staged) => Some(VerifiedEntry { libs: staged.order(), lib_dir: None }),
            Self::Nothing | Self::Follower(_) => None,
        }
    }

    /// Sends what rank 0 has found to the leaders of the hosts, if rank 0 reads for all, and tells the
    /// followers of each host what their leader has found: one message for each host and batch. Collective
    /// for all ranks of `comm`, whatever their results.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout` if communication fails. The results of this rank are in the list.
    pub(super) fn share_all(
        comm: &dyn Communicator,
        nodes: Option<&NodeGroup>,
        mut batch: FoundBatch<'_>,
    ) -> Result<Vec<Result<Self>>> {
        if let Some(nodes) = nodes.filter(|_| !batch.signatures.is_empty()) {
            let is_leader = nodes.leaders[comm.rank()] == comm.rank();
            if nodes.one_reader {
                let receives = is_leader && comm.rank() != ROOT;
                comm.enter("distributing libraries");
                comm.broadcast_to_some(ROOT, &mut batch.sent, receives)?;
                if receives {
                    let sent = std::mem::take(&mut batch.sent);
                    // A panic must not keep this rank away from the next collective.
                    let staged = catch("staging", || {
                        stage_sent(batch.session, batch.cache, &sent, &batch.signatures, &mut batch.found);
                        Ok(())
                    });
                    staged.unwrap_or_else(|error| warn_unstaged(&batch.signatures.join(", "), &error));
                }
            }
            let mut told = if is_leader { encode(&batch.found) } else { Vec::new() };
            comm.enter("sharing staged libraries");
            comm.broadcast_in_groups(&nodes.leaders, &mut told)?;
            if !is_leader {
                batch.found = decode(&told, batch.signatures.len()).into_iter().map(Ok).collect();
            }
        }
        let mut found = batch.found;
        // In the order of their places.
        for (at, prefetched) in batch.prefetched {
            found.insert(at, Ok(prefetched));
        }
        Ok(found)
    }

    /// Loads what was found; `None` if nothing was. The library has the `origin`, if it is given; otherwise
    /// that of a hit.
    pub(super) fn load(
        &self,
        libraries: &Libraries,
        rank: usize,
        cache: &Cache,
        signature: &str,
        origin: Option<Origin>,
    ) -> std::result::Result<Option<Library>, LoadRefusal> {
        let origin_of = |order: &[VerifiedLib]| origin.unwrap_or_else(|| libraries.hit_origin(cache, order));
        match self {
            Self::Nothing | Self::Follower(Follower::Wait) => return Ok(None),
            Self::Cache(order) => return libraries.load(cache, order, origin_of(order)).map(Some),
            Self::Follower(Follower::LookUp) => {}
            Self::Staged(staged) => match staged.load(libraries, rank, cache, origin_of(&staged.order())) {
                Err(refusal) if refusal.error.kind() != Kind::Load => {
                    log::info!("{signature} is read from the cache: {}", refusal.error);
                }
                loaded => return loaded.map(Some),
            },
        }
        match find(cache, signature, Verify::ForLoad)? {
            Some(order) => libraries.load(cache, &order, origin_of(&order)).map(Some),
            None => Ok(None),
        }
    }
}

const LOOKING: &str = "looking into the cache";

impl FoundBatch<'_> {
    /// Returns the results of a batch that was sent before as a whole. Not collective.
    pub(super) fn prefetched(self) -> Vec<Result<Found>> {
        self.prefetched.into_iter().map(|(_, found)| Ok(found)).collect()
    }

    /// Looks up the signatures, and stages what is found if others load it.
    fn look_up(&mut self, nodes: Option<&NodeGroup>) {
        let nodes = nodes.filter(|nodes| nodes.one_reader || nodes.has_followers);
        let mut kept = Kept::new();
        let mut keep = |signature: &str, library: Vec<u8>, _| {
            kept.insert(signature.to_owned(), library);
        };
        let lib_dir = catch(LOOKING, || self.cache.check_trust());
        for (found, signature) in self.found.iter_mut().zip(&self.signatures) {
            let entry = catch(LOOKING, || {
                let lib_dir = lib_dir.clone()?;
                match nodes {
                    Some(_) => find_keeping(self.cache, lib_dir, signature, Verify::ForLoad, &mut keep),
                    None => find_in(self.cache, lib_dir, signature, Verify::ForLoad),
                }
            });
            *found = entry.map(|entry| entry.map_or(Found::Nothing, Found::Cache));
        }
        let Some(nodes) = nodes else { return };
        let entries: Vec<Option<VerifiedEntry>> =
            self.found.iter().map(|found| found.as_ref().ok().and_then(Found::entry)).collect();
        let entries: Vec<Option<&VerifiedEntry>> = entries.iter().map(Option::as_ref).collect();
        let sent = catch("reading libraries", || Ok(pack(self.cache, &entries, kept, u64::MAX).0));
        let sent = sent.unwrap_or_default();
        // What rank 0 has read for others it loads from memory, too: the loader would read it once more.
        if nodes.has_followers || nodes.one_reader {
            stage_sent(self.session, self.cache, &sent, &self.signatures, &mut self.found);
        }
        if nodes.one_reader {
            self.sent = sent;
        }
    }
}

/// Stages the libraries of a message on a leader. If one cannot be staged, the ranks of this host read it
/// from the cache.
pub(super) fn stage_sent(
    session: &Session,
    cache: &Cache,
    sent: &[u8],
    signatures: &[&str],
    found: &mut [Result<Found>],
) {
    let (entries, kinds) = unpack(sent, signatures.len());
    for (found, kind) in found.iter_mut().zip(&kinds) {
        // On the reader itself it stays what was found.
        if matches!(found, Ok(Found::Follower(_))) && *kind != Sent::Nothing {
            *found = Ok(Found::Follower(Follower::LookUp));
        }
    }
    let wanted: Vec<usize> = (0..kinds.len()).filter(|at| kinds[*at] == Sent::Whole).collect();
    if wanted.is_empty() {
        return;
    }
    let names: Vec<&str> = wanted.iter().map(|at| signatures[*at]).collect();
    match catch("staging", || stage(session, cache, &entries, &names)) {
        Ok(sets) => {
            for (at, set) in wanted.into_iter().zip(sets) {
                match set {
                    Ok(set) => found[at] = Ok(Found::Staged(set)),
                    Err(error) => warn_unstaged(signatures[at], &error),
                }
            }
        }
        Err(error) => warn_unstaged(&names.join(", "), &error),
    }
}

fn warn_unstaged(signatures: &str, error: &Error) {
    log::warn!("{signatures}: not staged, the ranks of this host read the cache: {error}");
}

/// Encodes what a leader has found.
pub(super) fn encode(found: &[Result<Found>]) -> Vec<u8> {
    let staged = || {
        found.iter().filter_map(|found| match found {
            Ok(Found::Staged(staged)) => Some(staged),
            _ => None,
        })
    };
    // A batch has one folder.
    let folder = staged().next().map_or(Path::new(""), |staged| staged.folder().path());
    let mut files: Vec<&StagedFile> = Vec::new();
    let mut indices: HashMap<&str, u64> = HashMap::new();
    for file in staged().flat_map(StagedSet::files) {
        indices.entry(file.signature()).or_insert_with(|| {
            files.push(file);
            files.len() as u64 - 1
        });
    }
    let mut writer = Writer::default();
    writer.bytes(folder.as_os_str().as_bytes());
    writer.u64(files.len() as u64);
    files.into_iter().for_each(|file| file.encode(&mut writer));
    for found in found {
        match found {
            Ok(Found::Staged(staged)) => {
                writer.u32(STAGED);
                writer.u64(staged.files().len() as u64);
                staged.files().iter().for_each(|file| writer.u64(indices[file.signature()]));
            }
            Ok(Found::Cache(_) | Found::Follower(Follower::LookUp)) => writer.u32(IN_CACHE),
            // The leader itself reports its error.
            Ok(Found::Nothing | Found::Follower(Follower::Wait)) | Err(_) => writer.u32(NOTHING),
        }
    }
    writer.finish()
}

/// Decodes what a leader has found for `count` signatures. If the message is not whole, each may be in the
/// cache.
pub(super) fn decode(message: &[u8], count: usize) -> Vec<Found> {
    try_decode(message, count)
        .unwrap_or_else(|| (0..count).map(|_| Found::Follower(Follower::LookUp)).collect())
}

fn try_decode(message: &[u8], count: usize) -> Option<Vec<Found>> {
    let mut reader = Reader::new(message);
    let folder = Arc::new(StagedFolder::of_leader(reader.bytes()?));
    let files = (0..reader.u64()?).map(|_| StagedFile::decode(&mut reader)).collect::<Option<Vec<_>>>()?;
    let file = |index: u64| files.get(usize::try_from(index).ok()?).cloned();
    let found = (0..count).map(|_| {
        Some(match reader.u32()? {
            NOTHING => Found::Follower(Follower::Wait),
            IN_CACHE => Found::Follower(Follower::LookUp),
            STAGED => {
                let files = (0..reader.u64()?).map(|_| file(reader.u64()?)).collect::<Option<_>>()?;
                Found::Staged(StagedSet::new(&folder, files))
            }
            _ => return None,
        })
    });
    found.collect()
}

const NOTHING: u32 = 0;
const IN_CACHE: u32 = 1;
const STAGED: u32 = 2;
