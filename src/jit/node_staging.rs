//! Staging: on a network disk one rank of each host looks into the cache, and the others load from what it has put
//! into the host's memory or onto its disk.
//!
//! A thousand ranks that open, read and check the same files are what a shared file system is worst at. So the ranks of
//! a host that have the same cache directory elect the lowest of them. It looks, reads and checks, puts the libraries
//! into a private folder that only this user can enter, and tells the others what lies there: they check that they see
//! the very files (device and inode) and load them. As soon as all have loaded, which the call agrees on anyway, the
//! folder is removed: the libraries stay loaded.
//!
//! Whether this is done is what rank 0 says, and costs no message of its own. A host on which it does not work (no
//! place, no room) does without, and so does a rank that does not see the files: they look into the cache themselves.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::{Cache, EntryFiles, EntryView, VerifiedLib, Verify, load_order};
use crate::codec::{Reader, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileId, Folder, ReadError};
use crate::parallel::{Communicator, agree, all_same};
use crate::params::resolved::{BuildOn, Resolved, StageDir};
use crate::process::environment;

use super::quarantine::Refusal;
use super::{Library, Origin, Session, find, lock};

/// How many votes [`Staging::votes`] has.
pub(super) const VOTES: usize = 3;

/// The ranks of a communicator by hosts, as far as they look into the same cache directory.
pub(super) struct NodeGroup {
    /// For each rank the lowest that has the same eyes.
    leaders: Vec<usize>,
    /// Those who have the same eyes as this rank; the leader is rank 0.
    comm: Arc<dyn Communicator + Send + Sync>,
}

impl NodeGroup {
    /// A call begins.
    pub(super) fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.comm.begin(call, timeout);
    }

    /// For each rank the one that looks for it.
    pub(super) fn leaders(&self) -> &[usize] {
        &self.leaders
    }
}

/// Which ranks share a host, where staging is worth it; with the number of the finding.
type Finding = (u64, Option<Arc<NodeGroup>>);

/// What the ranks of a communicator have agreed on about their hosts; the same on all of them, but for paths.
#[derive(Default)]
pub(super) struct Staging {
    /// By cache directory; with the number of the finding, by which ranks see that they mean the same one. `None` where
    /// every rank is alone.
    known: Mutex<HashMap<PathBuf, Finding>>,
    findings: AtomicU64,
    /// Communicators by the leaders of the ranks: they last as long as the whole one, so there is one for each.
    comms: Mutex<HashMap<Vec<usize>, Arc<dyn Communicator + Send + Sync>>>,
}

impl Staging {
    /// Votes to be reduced to their minimum: whether rank 0 wants it, and whether all have the same hosts in mind.
    pub(super) fn votes(&self, comm: &dyn Communicator, params: &Resolved) -> [u64; VOTES] {
        let known = lock(&self.known).get(&params.cache.cache_dir).map(|(number, _)| *number);
        let wanted = comm.rank() == 0 && comm.size() > 1 && is_wanted(params);
        let number = known.unwrap_or(u64::MAX);
        [if wanted { 0 } else { u64::MAX }, number, !number]
    }

    /// The ranks by hosts, if it is to be done. Collective, where the ranks have not agreed on it before. `votes` are
    /// the reduced ones.
    pub(super) fn nodes(
        &self,
        comm: &dyn Communicator,
        params: &Resolved,
        votes: &[u64],
    ) -> Result<Option<Arc<NodeGroup>>> {
        if votes[0] != 0 {
            return Ok(None);
        }
        let dir = &params.cache.cache_dir;
        let known = lock(&self.known).get(dir).cloned();
        if let Some((_, nodes)) = known
            && all_same(&votes[1..])
        {
            return Ok(nodes);
        }
        comm.enter("looking who is on the same host");
        let all = comm.all_gather(&visibility_key(comm.machine(), dir))?;
        let mut first = HashMap::new();
        let rows = all.chunks_exact(VISIBILITY_KEY_SIZE).enumerate();
        let leaders: Vec<usize> = rows.map(|(rank, row)| *first.entry(row).or_insert(rank)).collect();
        let alone = leaders.iter().enumerate().all(|(rank, leader)| rank == *leader);
        let nodes = if alone { None } else { Some(Arc::new(self.split_by_node(comm, leaders)?)) };
        let number = self.findings.fetch_add(1, Ordering::Relaxed);
        lock(&self.known).insert(dir.clone(), (number, nodes.clone()));
        Ok(nodes)
    }

    fn split_by_node(&self, comm: &dyn Communicator, leaders: Vec<usize>) -> Result<NodeGroup> {
        let known = lock(&self.comms).get(&leaders).cloned();
        let part = match known {
            Some(part) => part,
            None => {
                let part = comm.split(leaders[comm.rank()]);
                let part = agree(comm, "making a communicator of the ranks of a host", || part)?;
                lock(&self.comms).insert(leaders.clone(), Arc::clone(&part));
                part
            }
        };
        Ok(NodeGroup { leaders, comm: part })
    }
}

/// What rank 0 says. With strategy "process" there is a directory for each rank.
fn is_wanted(params: &Resolved) -> bool {
    if params.buildon == BuildOn::Process || !params.cache.load {
        return false;
    }
    match params.cache.node_stage_dir {
        StageDir::Nowhere => false,
        StageDir::At(_) => true,
        StageDir::Automatic => {
            let dir = params.cache.cache_dir.ancestors().find(|dir| dir.is_dir());
            dir.is_some_and(|dir| !fsutil::is_local(dir))
        }
    }
}

/// Bytes of [`eyes`].
const VISIBILITY_KEY_SIZE: usize = 16;

/// What two ranks have in common if and only if the same path is the same file to them, which both may use: machine,
/// user, mounts, root directory; and the path of the cache directory.
fn visibility_key(machine: u64, dir: &Path) -> [u8; VISIBILITY_KEY_SIZE] {
    let place = |path: &str| FileId::of(Path::new(path)).unwrap_or_default();
    let mut writer = Writer::new(b"eyes");
    let mounts = place("/proc/self/ns/mnt").inode;
    let FileId { device, inode: root } = place("/");
    let user = rustix::process::geteuid().as_raw();
    [machine, u64::from(user), mounts, device, root].into_iter().for_each(|number| writer.u64(number));
    writer.bytes(dir.as_os_str().as_bytes());
    digest(&writer.finish())[..VISIBILITY_KEY_SIZE].try_into().expect("a digest has 32 bytes")
}

/// What a rank has found for a call.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Libraries in the cache.
    Cache(Vec<VerifiedLib>),
    /// Libraries in the cache, with copies of them for this host.
    Staged(StagedSet),
    /// Another rank of this host looks for it.
    Led(Follower),
}

/// What a rank has to do for which another one has looked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follower {
    /// Nothing: there is nothing.
    Waits,
    /// To look for itself: it is there, and is not staged.
    Looks,
}

/// Copies of a library and of what it is linked to.
pub(super) struct StagedSet {
    folder: PathBuf,
    /// What lies there, dependencies first, with device and inode.
    files: Vec<(VerifiedLib, FileId)>,
    /// The folder is removed with this, which the rank has that has made it.
    _made: Option<TempDir>,
}

impl Found {
    /// Whether there is nothing, as far as this rank knows.
    pub(super) fn is_miss(&self) -> bool {
        matches!(self, Self::Nothing | Self::Led(Follower::Waits))
    }

    /// What this rank itself has seen in the cache.
    pub(super) fn order(&self) -> Option<Vec<VerifiedLib>> {
        match self {
            Self::Cache(order) => Some(order.clone()),
            Self::Staged(shelf) => Some(shelf.order()),
            Self::Nothing | Self::Led(_) => None,
        }
    }

    /// Tells the ranks of this host what their leader has found; all of them call this, whatever has become of theirs.
    ///
    /// # Errors
    /// That of this rank, or when communication fails.
    pub(super) fn share(found: Result<Self>, nodes: Option<&NodeGroup>) -> Result<Self> {
        let Some(nodes) = nodes.filter(|nodes| nodes.comm.size() > 1) else { return found };
        let mut news = match &found {
            Ok(Self::Staged(shelf)) => shelf.encode(),
            Ok(Self::Cache(_)) => EACH_ITSELF.to_vec(),
            _ => Vec::new(),
        };
        nodes.comm.enter("telling the ranks of a host");
        nodes.comm.broadcast(0, &mut news)?;
        match found {
            // Nothing was found, or it is the leader's to say what is wrong.
            Ok(Self::Led(_)) if news.is_empty() => Ok(Self::Led(Follower::Waits)),
            Ok(Self::Led(_)) => Ok(StagedSet::decode(&news).map_or(Self::Led(Follower::Looks), Self::Staged)),
            found => found,
        }
    }
}

/// What a leader says that has found something and could not stage it.
const EACH_ITSELF: &[u8] = b"each for itself";

impl StagedSet {
    /// The libraries, dependencies first.
    pub(super) fn order(&self) -> Vec<VerifiedLib> {
        self.files.iter().map(|(whole, _)| whole.clone()).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(self.folder.as_os_str().as_bytes());
        for (whole, FileId { device, inode }) in &self.files {
            writer.bytes(whole.signature.as_bytes());
            writer.bytes(&whole.digest);
            [whole.build_ms, *device, *inode].into_iter().for_each(|number| writer.u64(number));
        }
        writer.finish()
    }

    fn decode(news: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(news);
        let folder = PathBuf::from(OsStr::from_bytes(reader.bytes()?));
        let mut files = Vec::new();
        while !reader.at_end() {
            let signature = reader.text()?.to_owned();
            let digest = reader.bytes()?.try_into().ok()?;
            let whole = VerifiedLib { signature, digest, build_ms: reader.u64()? };
            files.push((whole, FileId { device: reader.u64()?, inode: reader.u64()? }));
        }
        Some(Self { folder, files, _made: None })
    }

    /// Puts libraries that have just been read and checked into a private folder in `place`.
    fn make(
        cache: &Cache,
        place: &Path,
        entries: &[EntryView<'_>],
        order: &[VerifiedLib],
    ) -> io::Result<Self> {
        let made = fsutil::private_dir(place)?;
        let mut files = Vec::new();
        for whole in order {
            let bytes = load_order::library(entries, &whole.signature).unwrap_or_default();
            let path = made.path().join(cache.layout().lib_basename(&whole.signature));
            // It is gone in a moment, and so is a host that loses its power.
            fsutil::publish_noclobber(&path, bytes, 0o700, Durability::Volatile)?;
            files.push((whole.clone(), FileId::new(&fs::symlink_metadata(&path)?)));
        }
        Ok(Self { folder: made.path().to_owned(), files, _made: Some(made) })
    }

    /// The files, open; each is the one that the leader has made.
    fn open(&self, cache: &Cache) -> Result<Vec<File>> {
        let open = |(whole, id): &(VerifiedLib, FileId)| {
            let path = self.folder.join(cache.layout().lib_basename(&whole.signature));
            let cannot = |reason: String| {
                Error::new(Kind::Cache, format!("cannot use the staged {}: {reason}", path.display()))
            };
            let file = fsutil::open_trusted(&path).map_err(|why| match why {
                ReadError::Refused(reason) => cannot(reason),
                ReadError::Failed(error) => cannot(error.to_string()),
            })?;
            let file = file.ok_or_else(|| cannot("it is not there".to_owned()))?;
            let same = file.metadata().is_ok_and(|facts| FileId::new(&facts) == *id);
            if same { Ok(file) } else { Err(cannot("it is another file".to_owned())) }
        };
        self.files.iter().map(open).collect()
    }
}

impl Session {
    /// Looks for a library: in the cache, or not at all where another rank looks for this one. What is found is staged
    /// where that is of use to others.
    pub(super) fn find_or_follow(
        &self,
        comm: &dyn Communicator,
        nodes: Option<&NodeGroup>,
        cache: &Cache,
        signature: &str,
    ) -> Result<Found> {
        let Some(nodes) = nodes else {
            return Ok(find(cache, signature, Verify::ForLoad)?.map_or(Found::Nothing, Found::Cache));
        };
        if nodes.leaders[comm.rank()] != comm.rank() {
            return Ok(Found::Led(Follower::Waits));
        }
        let Some(order) = find(cache, signature, Verify::ForLoad)? else { return Ok(Found::Nothing) };
        if nodes.comm.size() == 1 {
            return Ok(Found::Cache(order));
        }
        match self.stage(cache, signature, &order) {
            Ok(shelf) => Ok(Found::Staged(shelf)),
            Err(error) => {
                log::warn!(
                    "{signature} is not staged, each rank of this host reads it from the cache: {error}"
                );
                Ok(Found::Cache(order))
            }
        }
    }

    fn stage(&self, cache: &Cache, signature: &str, found: &[VerifiedLib]) -> Result<StagedSet> {
        let entry = |whole: &VerifiedLib| {
            let library = cache.read_library(&whole.signature)?;
            let signature = whole.signature.clone();
            Ok(EntryFiles { signature, library, header: None, source: None, log: None })
        };
        let entries = found.iter().map(entry).collect::<Result<Vec<_>>>()?;
        let entries: Vec<_> = entries.iter().map(EntryFiles::view).collect();
        // Seals are checked once more: these are the bytes that will be run.
        let order = load_order::order(&entries, signature)?;
        let mut why_not = Vec::new();
        for place in places(cache) {
            // Once in a process: what others have left because they were killed.
            if lock(&self.swept).insert(place.clone())
                && let Ok(Some(folder)) = Folder::open_temporary(&place)
            {
                fsutil::sweep(&folder);
            }
            let made = is_of_use(&place).and_then(|()| {
                StagedSet::make(cache, &place, &entries, &order).map_err(|error| error.to_string())
            });
            match made {
                Ok(shelf) => return Ok(shelf),
                Err(reason) => why_not.push(format!("{}: {reason}", place.display())),
            }
        }
        let text = format!("no place for it, see cache.node_stage_dir ({})", why_not.join("; "));
        Err(Error::new(Kind::Cache, text))
    }

    /// Loads what was found, if anything was. The library has the `origin`, if there is one; else that of a hit.
    pub(super) fn load_found(
        &self,
        comm: &dyn Communicator,
        cache: &Cache,
        signature: &str,
        found: &Found,
        origin: Option<Origin>,
    ) -> std::result::Result<Option<Library>, Refusal> {
        let origin_of = |order: &[VerifiedLib]| origin.unwrap_or_else(|| self.origin(cache, order));
        match found {
            Found::Nothing | Found::Led(Follower::Waits) => return Ok(None),
            Found::Cache(order) => return self.load(cache, order, origin_of(order)).map(Some),
            Found::Led(Follower::Looks) => {}
            Found::Staged(shelf) => match self.load_staged(comm, cache, shelf, origin_of(&shelf.order())) {
                Err(refusal) if refusal.error.kind() != Kind::Load => {
                    log::info!("{signature} is read from the cache: {}", refusal.error);
                }
                loaded => return loaded.map(Some),
            },
        }
        match find(cache, signature, Verify::ForLoad)? {
            Some(order) => self.load(cache, &order, origin_of(&order)).map(Some),
            None => Ok(None),
        }
    }

    /// Loads from the shelf; each library once in a process, whatever it was loaded from.
    pub(super) fn load_staged(
        &self,
        comm: &dyn Communicator,
        cache: &Cache,
        shelf: &StagedSet,
        origin: Origin,
    ) -> std::result::Result<Library, Refusal> {
        let Some((last, _)) = shelf.files.last() else {
            return Err(Error::new(Kind::Internal, "nothing to load").into());
        };
        if let Some(library) = self.loaded(cache, last) {
            return Ok(library.with_origin(origin));
        }
        let files = shelf.open(cache)?;
        let order = shelf.order();
        let folder = if self.register_copies(cache, &order, files) {
            shelf.folder.clone()
        } else {
            self.own_folder(comm.rank(), cache, shelf)?
        };
        let mut library = None;
        for whole in &order {
            if let Some(loaded) = self.loaded(cache, whole) {
                library = Some(loaded.with_origin(origin));
                continue;
            }
            let file = folder.join(cache.layout().lib_basename(&whole.signature));
            let image = self.loader.load(&file).map_err(|error| {
                let original = cache.layout().lib(&whole.signature);
                let text = format!("{}; it is a copy of {}", error.message(), original.display());
                self.refusal(Error::new(error.kind(), text), &file, whole)
            })?;
            library = Some(self.intern(cache, whole, Some(image), origin));
        }
        library.ok_or_else(|| Error::new(Kind::Internal, "nothing to load").into())
    }

    /// A folder for this rank within the shelf: what has been loaded before is linked to from there, the rest lies
    /// there under a second name.
    fn own_folder(&self, rank: usize, cache: &Cache, shelf: &StagedSet) -> Result<PathBuf> {
        let folder = shelf.folder.join(format!("rank-{rank}"));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::io("cannot create", &folder, &error))?;
        for (whole, _) in &shelf.files {
            let staged = shelf.folder.join(cache.layout().lib_basename(&whole.signature));
            self.materialize(cache, whole, &folder, |path| fs::hard_link(&staged, path))?;
        }
        Ok(folder)
    }
}

/// Where to stage: what was asked for; else in memory, or on a disk of this host.
fn places(cache: &Cache) -> Vec<PathBuf> {
    let params = cache.layout().params();
    if let StageDir::At(dir) = &params.node_stage_dir {
        // Where it is not there and cannot be made, that is what the error says.
        let _ = fsutil::create_dirs(dir);
        return vec![dir.clone()];
    }
    let runtime = environment::variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let memory = Some(PathBuf::from("/dev/shm"));
    let others = [params.temp_dir_root.clone(), PathBuf::from("/tmp")];
    let all = memory.into_iter().chain(runtime).chain(others);
    let mut seen = HashSet::new();
    all.filter(|place| seen.insert(place.clone()) && fsutil::is_local(place)).collect()
}

/// Containers often have a `/dev/shm` from which nothing may be run.
fn is_of_use(place: &Path) -> std::result::Result<(), String> {
    match rustix::fs::statvfs(place) {
        Ok(facts) if facts.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) => {
            Err("programs may not be run from there (noexec)".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
