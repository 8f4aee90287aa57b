//! Node-local staging: on a network disk one rank of each host reads the cache, and the others load what it
//! has staged in the memory or on the disk of the host.
//!
//! A shared file system is slowest when a thousand ranks open, read and verify the same files. So the lowest
//! rank of each host and cache directory is the leader. It looks up, reads and verifies, puts the libraries
//! into a private folder that only this user can enter, and tells the followers what is in it. They check
//! that they see the same files (device and inode) and load them. When all ranks have loaded, which the call
//! agrees on anyway, the folder is removed; the libraries stay loaded.
//!
//! Rank 0 decides whether this is done, which costs no message of its own. On a host without a place or room
//! for it all ranks read the cache; so does a rank that does not see the files.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cache::{Cache, EntryFiles, EntryView, VerifiedEntry, VerifiedLib, Verify, load_order};
use crate::codec::{Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileId, Folder, ReadError};
use crate::params::resolved::StageDir;
use crate::process::environment;
use crate::sync::lock;

use super::library::{Library, Origin};
use super::loading::{Libraries, LoadResult};
use super::lookup::find;
use super::node_groups::NodeGroup;
use super::refusal::LoadRefusal;
use super::session::Session;

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

/// Copies of a library and of what it is linked to.
pub(super) struct StagedSet {
    folder: PathBuf,
    /// The files, dependencies first, with device and inode.
    files: Vec<(VerifiedLib, FileId)>,
    /// On the leader. The folder is removed when this is dropped.
    _owned: Option<TempDir>,
}

impl Found {
    /// Looks up a library; a follower does not. What a leader has found is staged if it has followers.
    pub(super) fn look_up(
        session: &Session,
        rank: usize,
        nodes: Option<&NodeGroup>,
        cache: &Cache,
        signature: &str,
    ) -> Result<Self> {
        if nodes.is_some_and(|nodes| nodes.leaders[rank] != rank) {
            return Ok(Self::Follower(Follower::Wait));
        }
        let Some(order) = find(cache, signature, Verify::ForLoad)? else { return Ok(Self::Nothing) };
        if nodes.is_none_or(|nodes| nodes.comm.size() == 1) {
            return Ok(Self::Cache(order));
        }
        match stage(session, cache, signature, &order) {
            Ok(staged) => Ok(Self::Staged(staged)),
            Err(error) => {
                log::warn!(
                    "{signature} is not staged, each rank of this host reads it from the cache: {error}"
                );
                Ok(Self::Cache(order))
            }
        }
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

    /// Tells the followers of this host what their leader has found. Collective for the ranks of a host,
    /// whatever their results.
    ///
    /// # Errors
    /// The error of this rank, or `Kind::Mpi` if communication fails.
    pub(super) fn share(found: Result<Self>, nodes: Option<&NodeGroup>) -> Result<Self> {
        let Some(nodes) = nodes.filter(|nodes| nodes.comm.size() > 1) else { return found };
        let mut message = match &found {
            Ok(Self::Staged(staged)) => staged.encode(),
            Ok(Self::Cache(_)) => NOT_STAGED.to_vec(),
            _ => Vec::new(),
        };
        nodes.comm.enter("sharing staged libraries");
        nodes.comm.broadcast(0, &mut message)?;
        match found {
            // The leader has found nothing, or reports its error.
            Ok(Self::Follower(_)) if message.is_empty() => Ok(Self::Follower(Follower::Wait)),
            Ok(Self::Follower(_)) => {
                Ok(StagedSet::decode(&message).map_or(Self::Follower(Follower::LookUp), Self::Staged))
            }
            found => found,
        }
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

/// The message of a leader that has found something and could not stage it.
const NOT_STAGED: &[u8] = b"not staged";

impl StagedSet {
    /// Returns the libraries, dependencies first.
    fn order(&self) -> Vec<VerifiedLib> {
        self.files.iter().map(|(lib, _)| lib.clone()).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(self.folder.as_os_str().as_bytes());
        for (lib, FileId { device, inode }) in &self.files {
            writer.bytes(lib.signature.as_bytes());
            writer.bytes(&lib.digest);
            [lib.build_ms, *device, *inode].into_iter().for_each(|number| writer.u64(number));
        }
        writer.finish()
    }

    fn decode(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let folder = PathBuf::from(OsStr::from_bytes(reader.bytes()?));
        let mut files = Vec::new();
        while !reader.at_end() {
            let signature = reader.text()?.to_owned();
            let digest = reader.bytes()?.try_into().ok()?;
            let lib = VerifiedLib { signature, digest, build_ms: reader.u64()? };
            files.push((lib, FileId { device: reader.u64()?, inode: reader.u64()? }));
        }
        Some(Self { folder, files, _owned: None })
    }

    /// Puts libraries that have just been read and verified into a private folder in `place`.
    fn make(
        cache: &Cache,
        place: &Path,
        entries: &[EntryView<'_>],
        order: &[VerifiedLib],
    ) -> io::Result<Self> {
        let folder = fsutil::private_dir(place)?;
        let mut files = Vec::new();
        for lib in order {
            let bytes = load_order::library(entries, &lib.signature).unwrap_or_default();
            let path = folder.path().join(cache.layout().lib_basename(&lib.signature));
            // It is removed in a moment, so it need not survive a crash of the host.
            fsutil::publish_noclobber(&path, bytes, 0o700, Durability::Volatile)?;
            files.push((lib.clone(), FileId::new(&fs::symlink_metadata(&path)?)));
        }
        Ok(Self { folder: folder.path().to_owned(), files, _owned: Some(folder) })
    }

    /// Opens the files; each must be the one that the leader has made.
    fn open(&self, cache: &Cache) -> Result<Vec<File>> {
        let open = |(lib, id): &(VerifiedLib, FileId)| {
            let path = self.folder.join(cache.layout().lib_basename(&lib.signature));
            let cannot = |reason: String| {
                Error::new(Kind::Cache, format!("cannot use the staged {}: {reason}", path.display()))
            };
            let file = fsutil::open_trusted(&path).map_err(|why| match why {
                ReadError::Refused(reason) => cannot(reason),
                ReadError::Failed(error) => cannot(error.to_string()),
            })?;
            let file = file.ok_or_else(|| cannot("it is not there".to_owned()))?;
            let same = file.metadata().is_ok_and(|stat| FileId::new(&stat) == *id);
            if same { Ok(file) } else { Err(cannot("it is another file".to_owned())) }
        };
        self.files.iter().map(open).collect()
    }

    /// Loads the staged libraries, each once in a process, whatever it was loaded from.
    fn load(&self, libraries: &Libraries, rank: usize, cache: &Cache, origin: Origin) -> LoadResult {
        if let Some((last, _)) = self.files.last()
            && let Some(library) = libraries.get(cache, last)
        {
            return Ok(library.with_origin(origin));
        }
        let files = self.open(cache)?;
        let order = self.order();
        let folder = if libraries.register_copies(cache, &order, files) {
            self.folder.clone()
        } else {
            self.folder_of_rank(libraries, rank, cache)?
        };
        libraries.load_each(cache, &order, &folder, origin, |error, _, lib| {
            let original = cache.layout().lib(&lib.signature);
            let text = format!("{}; it is a copy of {}", error.message(), original.display());
            Error::new(error.kind(), text)
        })
    }

    /// Makes a folder for this rank within the staged one: with links to what has been loaded before, and
    /// hard links to the rest.
    fn folder_of_rank(&self, libraries: &Libraries, rank: usize, cache: &Cache) -> Result<PathBuf> {
        let folder = self.folder.join(format!("rank-{rank}"));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::io("cannot create", &folder, &error))?;
        for (lib, _) in &self.files {
            let staged = self.folder.join(cache.layout().lib_basename(&lib.signature));
            libraries.materialize(cache, lib, &folder, |path| fs::hard_link(&staged, path))?;
        }
        Ok(folder)
    }
}

/// Stages libraries that were found in the cache.
///
/// # Errors
/// `Kind::Cache` if there is no place for them, or they cannot be read.
fn stage(session: &Session, cache: &Cache, signature: &str, found: &[VerifiedLib]) -> Result<StagedSet> {
    let read = |lib: &VerifiedLib| {
        let library = cache.read_library(&lib.signature)?;
        let signature = lib.signature.clone();
        Ok(EntryFiles { signature, library, header: None, source: None, log: None })
    };
    let entries = found.iter().map(read).collect::<Result<Vec<_>>>()?;
    let entries: Vec<_> = entries.iter().map(EntryFiles::view).collect();
    // Verifies the records again: these are the bytes that will run.
    let order = load_order::order(&entries, signature)?;
    let mut reasons = Vec::new();
    for place in stage_places(cache) {
        // Once in a process: what killed processes have left.
        if lock(&session.swept).insert(place.clone())
            && let Ok(Some(folder)) = Folder::open_temporary(&place)
        {
            fsutil::sweep(&folder);
        }
        let made = check_executable(&place).and_then(|()| {
            StagedSet::make(cache, &place, &entries, &order).map_err(|error| error.to_string())
        });
        match made {
            Ok(staged) => return Ok(staged),
            Err(reason) => reasons.push(format!("{}: {reason}", place.display())),
        }
    }
    let text = format!("no place for it, see cache.node_stage_dir ({})", reasons.join("; "));
    Err(Error::new(Kind::Cache, text))
}

/// Returns the places for staging in order of preference: `cache.node_stage_dir` alone if it is set;
/// otherwise places in the memory or on a disk of this host.
fn stage_places(cache: &Cache) -> Vec<PathBuf> {
    let params = cache.layout().params();
    if let StageDir::At(dir) = &params.node_stage_dir {
        // If it cannot be made, staging there fails and says so.
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

/// Checks that files in `place` may be run. Containers often have a `/dev/shm` that is mounted noexec.
fn check_executable(place: &Path) -> std::result::Result<(), String> {
    match rustix::fs::statvfs(place) {
        Ok(stat) if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) => {
            Err("programs may not be run from there (noexec)".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
