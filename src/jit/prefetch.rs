//! Prefetch: at the first call on a communicator rank 0 sends to all hosts what the program has used last
//! time.
//!
//! The leaders of the hosts stage it, for as long as the communicator is used. A later hit is loaded from
//! there: it reads no shared file, and needs no message but the agreement that all have loaded. The cache is
//! only asked for what is not in the list. Entries never change, and each carries its digest; so one that was
//! removed or replaced since the list was written is not sent, or is sent as it is now.
//!
//! ```text
//! message := names  libraries, see the module distribution          from rank 0 to the leaders
//! told    := names  staged files, see the module node_staging       from a leader to its followers
//! names   := u64 count  bytes signature*
//! ```

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::cache::run_pack::RunPack;
use crate::cache::runs::{RunKey, UsedEntries};
use crate::cache::used_libraries::UsedLibraries;
use crate::cache::{Cache, VerifiedEntry};
use crate::codec::{Reader, Writer, digest};
use crate::error::{Result, catch};
use crate::parallel::roles::ROOT;
use crate::parallel::{Communicator, agree_min, all_same, same_votes};
use crate::params::resolved::Resolved;

use super::distribution::pack_whole;
use super::node_groups::{NodeGroup, NodeGroups, Readers};
use super::node_staging::{Follower, Found, decode, encode, stage_sent};
use super::run_log::program_name;
use super::session::Session;

/// Returns the ranks by hosts, as [`NodeGroups::get`] does. If they are not known, sends what the program has
/// used last time. Collective, if the ranks do not know the same groups.
pub(super) fn find_nodes(
    session: &Session,
    comm: &dyn Communicator,
    groups: &NodeGroups,
    params: &Resolved,
    readers: Readers,
    votes: &[u64; 2],
) -> Result<Option<Arc<NodeGroup>>> {
    let cache = Cache::with_shared_params(&params.cache.cache_dir, &params.cache);
    let mut run = None;
    let has_list = || {
        let begun = catch("reading the list of the last run", || Ok(begin(session, &cache, params)));
        run = begun.ok().flatten();
        run.as_ref().is_some_and(|run: &LastRun| run.list.signatures().next().is_some())
    };
    let Some((nodes, has_list)) = groups.get(comm, params, readers, votes, has_list)? else {
        return Ok(None);
    };
    if let Some(run) = &run {
        nodes.set_run(run.key.clone());
    }
    if has_list {
        prefetch(session, comm, &nodes, &cache, run)?;
    }
    Ok(Some(nodes))
}

/// The knowledge of rank 0 about earlier runs.
struct LastRun {
    key: RunKey,
    /// The entries that they have used.
    list: UsedEntries,
    pack: Option<RunPack>,
}

/// Begins a run on rank 0.
fn begin(session: &Session, cache: &Cache, params: &Resolved) -> Option<LastRun> {
    if params.cache.prefetch_max_size == 0 {
        return None;
    }
    let key = RunKey::new(&program_name(), &params.shared_digest);
    let pack = cache.run_pack(&key);
    let list = pack.as_ref().map_or_else(|| cache.used_entries(&key), Cache::packed_list);
    if pack.is_none() && list.signatures().next().is_some() {
        cache.touch_list(&key);
    }
    session.runs.begin(cache, &key, &list);
    Some(LastRun { key, list, pack })
}

/// Sends what earlier runs have used to all hosts, which stage it. `run` is known on rank 0. Collective.
fn prefetch(
    session: &Session,
    comm: &dyn Communicator,
    nodes: &NodeGroup,
    cache: &Cache,
    run: Option<LastRun>,
) -> Result<()> {
    const STEP: &str = "sending what was used last time";
    let is_leader = nodes.leaders[comm.rank()] == comm.rank();
    let mut message = Vec::new();
    if let Some(run) = run {
        message = catch("reading libraries", || read_used(session, cache, run)).unwrap_or_default();
    }
    // A panic must not keep this rank away from the next collective.
    let stage =
        |message: &[u8]| catch(STEP, || Ok(SentBatch::stage(session, cache, message))).unwrap_or_default();
    let mut staged = if comm.rank() == ROOT { stage(&message) } else { SentBatch::default() };
    comm.enter(STEP);
    if nodes.one_reader {
        let receives = is_leader && comm.rank() != ROOT;
        comm.broadcast_to_some(ROOT, &mut message, receives)?;
        if receives {
            staged = stage(&message);
        }
    }
    drop(message);
    let mut told = if is_leader { staged.encode() } else { Vec::new() };
    comm.enter(STEP);
    comm.broadcast_in_groups(&nodes.leaders, &mut told)?;
    let staged = if is_leader { staged } else { SentBatch::decode(&told) };
    // Later calls communicate only if some library of theirs was not sent: all must know the same names.
    let mut votes = [0; 4];
    agree_min(comm, STEP, &mut votes, |votes| {
        votes.copy_from_slice(&same_votes(&digest(&names(&staged.names))));
        Ok(())
    })?;
    if all_same(&votes) {
        let set = |found: Result<Found>| match found {
            Ok(Found::Staged(set)) => Some(set),
            _ => None,
        };
        let sets = staged.found.into_iter().map(set);
        nodes.set_prefetched(staged.names.into_iter().zip(sets).collect());
    }
    Ok(())
}

/// Reads what earlier runs have used, as far as it is in the cache and within `cache.prefetch_max_size`.
/// Returns the message to the leaders.
///
/// # Errors
/// `Kind::Cache` if the cache is refused.
fn read_used(session: &Session, cache: &Cache, run: LastRun) -> Result<Vec<u8>> {
    let limit = cache.layout().params().prefetch_max_size;
    let UsedLibraries { entries: found, files, is_packed, .. } = cache.read_used(&run.list, run.pack)?;
    if !is_packed {
        session.runs.want_pack(cache, &run.key);
    }
    let entries: Vec<&VerifiedEntry> = found.iter().map(|(_, entry)| entry).collect();
    let (libraries, packed) = pack_whole(cache, &entries, files, limit);
    let packed: Vec<String> = packed.into_iter().map(|at| found[at].0.clone()).collect();
    let mut message = names(&packed);
    message.extend_from_slice(&libraries);
    Ok(message)
}

/// Libraries by name, staged on this host.
#[derive(Default)]
struct SentBatch {
    names: Vec<String>,
    found: Vec<Result<Found>>,
}

impl SentBatch {
    /// Stages the libraries of a message of rank 0.
    fn stage(session: &Session, cache: &Cache, message: &[u8]) -> Self {
        let Some((names, libraries)) = split(message) else { return Self::default() };
        let signatures: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut found: Vec<Result<Found>> =
            names.iter().map(|_| Ok(Found::Follower(Follower::LookUp))).collect();
        stage_sent(session, cache, libraries, &signatures, &mut found);
        let folder = found.iter().find_map(|found| match found {
            Ok(Found::Staged(set)) => Some(set.folder()),
            _ => None,
        });
        folder.into_iter().for_each(|folder| session.staged.keep(folder));
        Self { names, found }
    }

    fn encode(&self) -> Vec<u8> {
        let mut message = names(&self.names);
        message.extend_from_slice(&encode(&self.found));
        message
    }

    fn decode(message: &[u8]) -> Self {
        let Some((names, staged)) = split(message) else { return Self::default() };
        let found = decode(staged, names.len()).into_iter().map(Ok).collect();
        Self { names, found }
    }
}

fn names(names: &[String]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u64(names.len() as u64);
    names.iter().for_each(|name| writer.bytes(name.as_bytes()));
    writer.finish()
}

/// Decodes the names at the beginning of a message; gives the rest as well.
fn split(message: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let mut reader = Reader::new(message);
    let mut names = Vec::new();
    for _ in 0..reader.u64()? {
        names.push(reader.text()?.to_owned());
    }
    Some((names, reader.rest()))
}
