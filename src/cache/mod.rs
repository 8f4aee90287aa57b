//! The cache on disk: lookup, publication, repair.
//!
//! An entry once published is never changed in place, and the first publisher wins. Correctness rests on that
//! and on digests, never on locks, nor on the order in which hosts see files.

#![forbid(unsafe_code)]

pub mod build_spec;
pub mod bundle;
pub mod catalog;
pub mod closure;
pub mod disk_usage;
mod encode_closure;
pub mod explain;
pub mod gc;
pub mod in_progress;
pub mod integrity;
pub mod layout;
pub mod lease;
pub mod load_order;
mod lookup;
pub mod negative_cache;
mod old_layout;
pub mod open;
mod path_trust;
mod publish;
pub mod record;
pub mod results;
pub mod run_pack;
pub mod runs;
pub mod select;
mod source;
pub mod stats;
pub mod used_libraries;
mod verified;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::codec::{Digest32, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, EntryMetadata, FileId, FileStamp, Folder, PathTrust, ReadError, Tree, TrustWalk};
use crate::params::resolved::CacheParams;

use layout::{Category, Layout};
use open::cannot;
use path_trust::{path_trust, path_trust_with_stamp};
use record::FileDigest;
use walk::DependencyWalk;

pub use lookup::{Keep, Lookup, VerifiedEntry, Verify};
pub use source::check_source;

const LIB_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cache directory: its path and its parameters. It holds no state; clones are the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    layout: Layout,
}

/// A library whose bytes, and those of its dependencies, match their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLib {
    /// The signature.
    pub signature: String,
    /// The digest of the file and of those that it is linked to. It changes if any of them is built again.
    pub digest: Digest32,
    /// Milliseconds that the compiler took.
    pub build_ms: u64,
}

/// The files of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFiles {
    /// The signature.
    pub signature: String,
    /// The library with its record.
    pub library: Vec<u8>,
    /// The header.
    pub header: Option<Vec<u8>>,
    /// The source as stored, and whether it is compressed.
    pub source: Option<(Vec<u8>, bool)>,
    /// The log.
    pub log: Option<Vec<u8>>,
}

/// The files of an entry, borrowed: files that another rank has sent are published without a copy.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// The signature.
    pub signature: &'a str,
    /// The library with its record.
    pub library: &'a [u8],
    /// The header.
    pub header: Option<&'a [u8]>,
    /// The source as stored, and whether it is compressed.
    pub source: Option<(&'a [u8], bool)>,
    /// The log.
    pub log: Option<&'a [u8]>,
}

impl EntryFiles {
    /// Borrows the files.
    #[must_use]
    pub fn view(&self) -> EntryView<'_> {
        EntryView {
            signature: &self.signature,
            library: &self.library,
            header: self.header.as_deref(),
            source: self.source.as_ref().map(|(data, packed)| (data.as_slice(), *packed)),
            log: self.log.as_deref(),
        }
    }
}

impl Cache {
    /// The cache at `root` with the file names of `params`. Touches nothing.
    #[must_use]
    pub fn new(root: &Path, params: &CacheParams) -> Self {
        Self::with_shared_params(root, &Arc::new(params.clone()))
    }

    /// Does the same as [`Cache::new`] without a copy of the parameters.
    #[must_use]
    pub fn with_shared_params(root: &Path, params: &Arc<CacheParams>) -> Self {
        Self { layout: Layout::new(root, Arc::clone(params)) }
    }

    /// The same cache with another end of the names of sources, which depends on the language of each.
    fn with_src_postfix(&self, postfix: &str) -> Self {
        let params = CacheParams { src_postfix: postfix.to_owned(), ..self.layout.params().clone() };
        Self::new(self.layout.root(), &params)
    }

    /// The paths of the cache.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Creates the cache directory if it is missing; gives its identity.
    ///
    /// # Errors
    /// As [`Cache::open_or_make`].
    pub fn identify(&self) -> Result<FileId> {
        let root = self.layout.root();
        let cannot = |error: io::Error| Error::io("cannot use the cache directory", root, &error);
        let facts = if self.layout.params().frozen && root.is_dir() {
            fs::metadata(root)
        } else {
            self.open_or_make()?.top().file().metadata()
        };
        facts.map(|facts| FileId::new(&facts)).map_err(cannot)
    }

    /// Creates the directories that a publication needs.
    ///
    /// # Errors
    /// As [`Cache::open_or_make`].
    pub fn ensure_dirs(&self) -> Result<()> {
        self.make_dirs(&self.open_or_make()?)
    }

    fn make_dirs(&self, tree: &Tree) -> Result<()> {
        for dir in self.layout.dirs() {
            tree.enter(&dir, true).map_err(|error| cannot("cannot create", &dir, &error))?;
        }
        Ok(())
    }

    /// Removes what programs that have died have left unfinished in this cache and in its staging
    /// directories.
    pub fn sweep(&self) {
        let Ok(Some(tree)) = self.open() else { return };
        for dir in self.staging_places() {
            if let Some(folder) = self.staging_place(&tree, &dir) {
                fsutil::sweep(&folder);
            }
        }
        lease::sweep(&tree, &self.layout.lease(""));
        // These files are of use for seconds.
        for dir in [self.layout.failed(""), self.layout.comm()] {
            for (path, facts) in self.files(&tree, &dir) {
                if SystemTime::now().duration_since(facts.modified).is_ok_and(|age| age > DAY) {
                    let _ = tree.remove(&path);
                }
            }
        }
    }

    /// Opens a directory in which unfinished files and folders may lie: one of the cache, or one in which
    /// other users cannot rename the files of this one.
    fn staging_place(&self, tree: &Tree, dir: &Path) -> Option<Arc<Folder>> {
        if tree.holds(dir) {
            return tree.enter(dir, false).ok().flatten();
        }
        Folder::open_temporary(dir).ok().flatten().map(Arc::new)
    }

    /// The plain files in a directory of this cache whose names are of its formats.
    fn files(&self, tree: &Tree, dir: &Path) -> Vec<(PathBuf, EntryMetadata)> {
        let names = tree.list(dir).unwrap_or_default();
        let paths = names.into_iter().map(|name| dir.join(name)).filter(|path| self.layout.names(path));
        let with_facts = |path: PathBuf| Some((tree.metadata(&path).ok()??, path));
        paths
            .filter_map(with_facts)
            .filter(|(facts, _)| facts.is_file())
            .map(|(facts, path)| (path, facts))
            .collect()
    }

    /// The directories in which unfinished files and folders may lie, each once.
    fn staging_places(&self) -> BTreeSet<PathBuf> {
        let params = self.layout.params();
        let staging = [params.temp_dir_root.clone(), params.fail_dir_root.clone()];
        self.layout.places().into_iter().chain(staging).chain(self.layout.memory_places()).collect()
    }

    /// Refuses directories in which another user can put libraries: loading a library runs its code. Returns
    /// the trust in the directory of libraries.
    ///
    /// # Errors
    /// [`Kind::Cache`] with the owner or the mode of the directory.
    pub fn check_trust(&self) -> Result<PathTrust> {
        self.check_trust_with_stamp().map(|(trust, _)| trust)
    }

    /// Does the same. Returns the stamp of the directory of libraries, too.
    fn check_trust_with_stamp(&self) -> Result<(PathTrust, FileStamp)> {
        let mut walk = TrustWalk::default();
        let root = self.layout.root();
        if let PathTrust::Untrusted(reason) = path_trust(root, &mut walk)? {
            return Err(refused(root, &reason));
        }
        self.walk_lib_dir(&mut walk)
    }

    fn walk_lib_dir(&self, walk: &mut TrustWalk) -> Result<(PathTrust, FileStamp)> {
        let dir = self.layout.dir(Category::Lib);
        let (trust, stamp) = path_trust_with_stamp(&dir, walk)?;
        let trust = match trust {
            PathTrust::Untrusted(reason) => return Err(refused(&dir, &reason)),
            // Such a path cannot be loaded from, so it is treated like one that others can rename.
            PathTrust::Trusted(real) => match fsutil::loader_token(&real) {
                Some(word) => PathTrust::Renamable(format!(
                    "the dynamic loader would replace {word} in {}",
                    real.display()
                )),
                None => PathTrust::Trusted(real),
            },
            trust => trust,
        };
        Ok((trust, stamp))
    }

    /// Says if libraries can be loaded by their paths. If the answer is [`PathTrust::Renamable`], other users
    /// can rename a directory above the cache: load from a private copy of the verified bytes instead.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn lib_dir_trust(&self) -> Result<PathTrust> {
        self.walk_lib_dir(&mut TrustWalk::default()).map(|(trust, _)| trust)
    }

    /// Returns the reason why a compiler must not get the paths of headers and libraries in this cache, if there is
    /// one.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn renamable_reason(&self) -> Result<Option<String>> {
        let mut walk = TrustWalk::default();
        for category in [Category::Lib, Category::Inc] {
            let trust = path_trust(&self.layout.dir(category), &mut walk)?;
            if let PathTrust::Renamable(reason) | PathTrust::Untrusted(reason) = trust {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// The signatures of all libraries, the latest first, by the names of their files. Opens none of them.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the directory cannot be read, or is refused.
    pub fn signatures(&self) -> Result<Vec<String>> {
        self.check_trust()?;
        let modified = |path: &Path| path.symlink_metadata().and_then(|facts| facts.modified()).ok();
        let mut found: Vec<_> =
            self.library_files()?.into_iter().map(|(signature, path)| (modified(&path), signature)).collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, signature)| signature).collect())
    }

    /// The signatures and paths of all libraries, sorted by signature.
    ///
    /// # Errors
    /// [`Kind::Cache`] if their directory cannot be read.
    fn library_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let dir = self.layout.dir(Category::Lib);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &dir, &error)),
        };
        let mut libraries: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let signature = self.layout.signature_of(Category::Lib, &name)?;
                Some((signature.to_owned(), entry.path()))
            })
            .collect();
        libraries.sort();
        Ok(libraries)
    }

    /// Appends a library to `data`. The caller checks its record. After an error `data` is as it was.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be read, or was removed.
    pub fn read_library_onto(&self, signature: &str, data: &mut Vec<u8>) -> Result<()> {
        let path = self.layout.lib(signature);
        match fsutil::read_trusted_onto(&path, data).map_err(|error| unread(&path, error))? {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::Cache, format!("{} has gone meanwhile", path.display()))),
        }
    }

    /// Reads all files of a valid entry.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the library or the header cannot be read or is invalid.
    pub fn read_entry(&self, signature: &str) -> Result<EntryFiles> {
        self.read_with_needs(signature).map(|(files, _)| files)
    }

    /// Reads an entry; gives the signatures that it needs as well.
    fn read_with_needs(&self, signature: &str) -> Result<(EntryFiles, Vec<String>)> {
        let path = self.layout.lib(signature);
        let library = read(&path)?.ok_or_else(|| missing(&path))?;
        let record = record::open(&library, signature).map_err(|_| missing(&path))?;
        let header = match &record.header {
            Some(expected) => {
                let path = self.layout.inc(signature);
                let header = read(&path)?.filter(|header| file_digest(header) == *expected);
                Some(header.ok_or_else(|| altered_header(&path))?)
            }
            None => None,
        };
        // Sources and logs are for people: an entry is valid without them.
        let packed = read(&self.layout.src(signature, true)).ok().flatten().map(|data| (data, true));
        let plain = || read(&self.layout.src(signature, false)).ok().flatten().map(|data| (data, false));
        let source = packed.or_else(plain);
        let log = read(&self.layout.log(signature)).ok().flatten();
        let needs = record.needs().map(str::to_owned).collect();
        Ok((EntryFiles { signature: signature.to_owned(), library, header, source, log }, needs))
    }

    /// Reads the transitive dependency closure of an entry: all that has to travel with it, dependencies
    /// first.
    ///
    /// # Errors
    /// As [`Cache::read_entry`].
    pub fn read_closure(&self, signature: &str) -> Result<Vec<EntryFiles>> {
        let entries = DependencyWalk::default().visit(signature, |signature| self.read_with_needs(signature));
        let entries = entries.map_err(|stopped| stopped.error)?;
        Ok(entries.into_iter().map(|(_, files)| files).collect())
    }
}

fn missing(path: &Path) -> Error {
    let text = format!("{} is missing or damaged; run again to rebuild it", path.display());
    Error::new(Kind::Cache, text)
}

fn altered_header(path: &Path) -> Error {
    let text = format!("{} is missing or altered; run again to rebuild it", path.display());
    Error::new(Kind::Cache, text)
}

fn refused(path: &Path, reason: &str) -> Error {
    let text =
        format!("{} is refused, because users who can write it can run code here: {reason}", path.display());
    Error::new(Kind::Cache, text)
}

/// Reads a file of the cache, if it is there and this user's alone.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    fsutil::read_trusted(path).map_err(|error| unread(path, error))
}

fn unread(path: &Path, error: ReadError) -> Error {
    match error {
        ReadError::Refused(reason) => refused(path, &reason),
        ReadError::Failed(error) => Error::io("cannot read", path, &error),
    }
}

/// Size and digest of a file that belongs to an entry.
#[must_use]
pub fn file_digest(data: &[u8]) -> FileDigest {
    FileDigest { size: data.len() as u64, sha256: hex(&digest(data)) }
}

#[cfg(test)]
pub(crate) mod tests;
