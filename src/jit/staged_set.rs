//! Copies of libraries that one rank of a host has put into a private folder for all ranks of the host.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Cache, EntryView, VerifiedLib, load_order};
use crate::codec::{Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileId, Folder, ReadError};
use crate::params::resolved::StageDir;
use crate::process::environment;
use crate::sync::lock;

use super::library::Origin;
use super::loading::{Libraries, LoadResult};
use super::session::Session;
use super::staged_folder::StagedFolder;

/// A copy in a [`StagedFolder`].
#[derive(Clone)]
pub(super) struct StagedFile {
    lib: VerifiedLib,
    id: FileId,
}

/// Copies of a library and of what it is linked to, dependencies first.
#[derive(Clone)]
pub(super) struct StagedSet {
    folder: Arc<StagedFolder>,
    files: Vec<StagedFile>,
}

impl StagedFile {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.lib.signature.as_bytes());
        writer.bytes(&self.lib.digest);
        [self.lib.build_ms, self.id.device, self.id.inode].into_iter().for_each(|number| writer.u64(number));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let signature = reader.text()?.to_owned();
        let digest = reader.bytes()?.try_into().ok()?;
        let lib = VerifiedLib { signature, digest, build_ms: reader.u64()? };
        Some(Self { lib, id: FileId { device: reader.u64()?, inode: reader.u64()? } })
    }

    pub(super) fn signature(&self) -> &str {
        &self.lib.signature
    }
}

impl StagedSet {
    pub(super) fn new(folder: &Arc<StagedFolder>, files: Vec<StagedFile>) -> Self {
        Self { folder: Arc::clone(folder), files }
    }

    /// Returns the libraries, dependencies first.
    pub(super) fn order(&self) -> Vec<VerifiedLib> {
        self.files.iter().map(|file| file.lib.clone()).collect()
    }

    pub(super) fn folder(&self) -> &Arc<StagedFolder> {
        &self.folder
    }

    pub(super) fn files(&self) -> &[StagedFile] {
        &self.files
    }

    /// Opens the files; each must be the one that the leader has made.
    fn open(&self, cache: &Cache) -> Result<Vec<File>> {
        let open = |StagedFile { lib, id }: &StagedFile| {
            let path = self.folder.path().join(cache.layout().lib_basename(&lib.signature));
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

    /// Loads the libraries, each once in a process, whatever it was loaded from.
    pub(super) fn load(
        &self,
        libraries: &Libraries,
        rank: usize,
        cache: &Cache,
        origin: Origin,
    ) -> LoadResult {
        if let Some(StagedFile { lib, .. }) = self.files.last()
            && let Some(library) = libraries.get(cache, lib)
        {
            return Ok(library.with_origin(origin));
        }
        let files = self.open(cache)?;
        let order = self.order();
        let folder = if libraries.register_copies(cache, &order, files) {
            self.folder.path().to_owned()
        } else {
            self.folder_of_rank(libraries, rank, cache)?
        };
        libraries.load_each(cache, &order, &folder, origin, |error, _, lib| {
            let original = cache.layout().lib(&lib.signature);
            let text = format!("{}; it is a copy of {}", error.message(), original.display());
            Error::new(error.kind(), text)
        })
    }

    /// Makes a folder for one library of this rank within the staged one: with links to what has been loaded
    /// before, and hard links to the rest.
    fn folder_of_rank(&self, libraries: &Libraries, rank: usize, cache: &Cache) -> Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("rank-{rank}-{number}"));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::io("cannot create", &folder, &error))?;
        for StagedFile { lib, .. } in &self.files {
            let staged = self.folder.path().join(cache.layout().lib_basename(&lib.signature));
            libraries.materialize(cache, lib, &folder, |path| fs::hard_link(&staged, path))?;
        }
        Ok(folder)
    }
}

/// Puts libraries that were verified into a private folder in `place`, each once.
fn make(
    cache: &Cache,
    place: &Path,
    entries: &[EntryView<'_>],
    orders: &[Result<Vec<VerifiedLib>>],
) -> io::Result<(StagedFolder, HashMap<String, FileId>)> {
    let folder = fsutil::private_dir(place)?;
    let mut ids = HashMap::new();
    for lib in orders.iter().flatten().flatten() {
        if ids.contains_key(&lib.signature) {
            continue;
        }
        let bytes = load_order::library(entries, &lib.signature).unwrap_or_default();
        let path = folder.path().join(cache.layout().lib_basename(&lib.signature));
        // It is removed soon, so it need not survive a crash of the host.
        fsutil::publish_noclobber(&path, bytes, 0o700, Durability::Volatile)?;
        ids.insert(lib.signature.clone(), FileId::new(&fs::symlink_metadata(&path)?));
    }
    Ok((StagedFolder::new(folder), ids))
}

/// Stages the libraries of `signatures` and what they are linked to from the bytes of `entries`, in one
/// folder. Returns a set for each signature, or the reason why there is none.
///
/// # Errors
/// `Kind::Cache` if there is no place for them.
pub(super) fn stage(
    session: &Session,
    cache: &Cache,
    entries: &[EntryView<'_>],
    signatures: &[&str],
) -> Result<Vec<Result<StagedSet>>> {
    // Verifies the records: these are the bytes that will run.
    let orders = load_order::orders(entries, signatures);
    let mut reasons = Vec::new();
    for place in stage_places(cache) {
        // Once in a process: what killed processes have left.
        if lock(&session.swept).insert(place.clone())
            && let Ok(Some(folder)) = Folder::open_temporary(&place)
        {
            fsutil::sweep(&folder);
        }
        let made = check_executable(&place)
            .and_then(|()| make(cache, &place, entries, &orders).map_err(|error| error.to_string()));
        match made {
            Ok((folder, ids)) => {
                let folder = Arc::new(folder);
                let file = |lib: VerifiedLib| StagedFile { id: ids[&lib.signature], lib };
                let set = |order: Vec<_>| StagedSet::new(&folder, order.into_iter().map(file).collect());
                return Ok(orders.into_iter().map(|order| order.map(set)).collect());
            }
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
