//! Node-local staging: on a network disk one rank of each host reads the cache, and the others load what it
//! has staged in the memory or on the disk of the host.
//!
//! A shared file system is slowest when a thousand ranks open, read and verify the same files. So the lowest
//! rank of each host and cache directory is the leader. It looks up a batch of signatures, reads and verifies
//! the libraries, puts each once into a private folder that only this user can enter, and tells the followers
//! in one message what is in it. They check that they see the same files (device and inode) and load them.
//! When all ranks have loaded, which the call agrees on anyway, the folder is removed; the libraries stay
//! loaded.
//!
//! Rank 0 decides whether this is done, which costs no message of its own. On a host without a place or room
//! for it all ranks read the cache; so does a rank that does not see the files.
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

use crate::cache::{Cache, EntryFiles, VerifiedEntry, VerifiedLib, Verify};
use crate::codec::{Reader, Writer};
use crate::error::{Error, Kind, Result, catch};
use crate::parallel::Communicator;

use super::library::{Library, Origin};
use super::loading::Libraries;
use super::lookup::find;
use super::node_groups::NodeGroup;
use super::refusal::LoadRefusal;
use super::session::Session;
use super::staged_set::{StagedFile, StagedFolder, StagedSet, stage};

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

impl Found {
    /// Looks up a batch of libraries; a follower does not. What a leader has found is staged if it has
    /// followers. An error or panic of one signature is the result of that one alone. Not collective.
    pub(super) fn look_up_all(
        session: &Session,
        rank: usize,
        nodes: Option<&NodeGroup>,
        cache: &Cache,
        signatures: &[&str],
    ) -> Vec<Result<Self>> {
        if nodes.is_some_and(|nodes| nodes.leaders[rank] != rank) {
            return signatures.iter().map(|_| Ok(Self::Follower(Follower::Wait))).collect();
        }
        let look_up = |signature: &&str| {
            let found = catch(LOOKING, || find(cache, signature, Verify::ForLoad))?;
            Ok(found.map_or(Self::Nothing, Self::Cache))
        };
        let mut found: Vec<Result<Self>> = signatures.iter().map(look_up).collect();
        if nodes.is_some_and(|nodes| nodes.has_followers(rank)) {
            let staged = catch("staging", || {
                stage_found(session, cache, signatures, &mut found);
                Ok(())
            });
            if let Err(error) = staged {
                log::warn!("each rank of this host reads the cache: {error}");
            }
        }
        found
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

    /// Tells the followers of each host what their leader has found: one message a host for the whole batch.
    /// Collective for all ranks of `comm`, whatever their results.
    ///
    /// # Errors
    /// `Kind::Mpi`, `Kind::Timeout` if communication fails. The results of this rank are in the list.
    pub(super) fn share_all(
        comm: &dyn Communicator,
        nodes: Option<&NodeGroup>,
        found: Vec<Result<Self>>,
    ) -> Result<Vec<Result<Self>>> {
        let Some(nodes) = nodes else { return Ok(found) };
        let leads = nodes.leaders[comm.rank()] == comm.rank();
        let mut message = if leads { encode(&found) } else { Vec::new() };
        comm.enter("sharing staged libraries");
        comm.broadcast_in_groups(&nodes.leaders, &mut message)?;
        if leads {
            return Ok(found);
        }
        let told = decode(&message, found.len());
        let told = told.unwrap_or_else(|| found.iter().map(|_| Self::Follower(Follower::LookUp)).collect());
        // A follower may have an error of its own.
        Ok(found.into_iter().zip(told).map(|(own, told)| own.map(|_| told)).collect())
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

/// Stages what was found in the cache. What cannot be staged stays as it is, and the followers read it from
/// the cache.
fn stage_found(session: &Session, cache: &Cache, signatures: &[&str], found: &mut [Result<Found>]) {
    let mut entries: HashMap<String, EntryFiles> = HashMap::new();
    let mut wanted = Vec::new();
    for (at, found) in found.iter().enumerate() {
        let Ok(Found::Cache(entry)) = found else { continue };
        wanted.push(at);
        for VerifiedLib { signature, .. } in &entry.libs {
            // If it cannot be read, what is linked to it is not staged.
            if !entries.contains_key(signature)
                && let Ok(library) = cache.read_library(signature)
            {
                let files = EntryFiles {
                    signature: signature.clone(),
                    library,
                    header: None,
                    source: None,
                    log: None,
                };
                entries.insert(signature.clone(), files);
            }
        }
    }
    if wanted.is_empty() {
        return;
    }
    let views: Vec<_> = entries.values().map(EntryFiles::view).collect();
    let names: Vec<&str> = wanted.iter().map(|at| signatures[*at]).collect();
    match stage(session, cache, &views, &names) {
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

fn warn_unstaged(signature: &str, error: &Error) {
    log::warn!("{signature} is not staged, each rank of this host reads it from the cache: {error}");
}

/// Encodes what a leader has found.
fn encode(found: &[Result<Found>]) -> Vec<u8> {
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
            Ok(Found::Cache(_)) => writer.u32(IN_CACHE),
            // The leader itself reports its error.
            Ok(Found::Nothing | Found::Follower(_)) | Err(_) => writer.u32(NOTHING),
        }
    }
    writer.finish()
}

/// Decodes what a leader has found for `count` signatures.
fn decode(message: &[u8], count: usize) -> Option<Vec<Found>> {
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
