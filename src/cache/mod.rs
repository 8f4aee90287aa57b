//! The cache on disk: lookup, publication, damage.
//!
//! An entry once published is never changed in place, and the first publisher wins. Correctness rests on that and on
//! digests, never on locks, on the order in which hosts see files, or on who is fast.

#![forbid(unsafe_code)]

pub mod build_spec;
pub mod bundle;
pub mod catalog;
pub mod closure;
pub mod disk_usage;
mod encode_closure;
pub mod explain;
pub mod gc;
pub mod integrity;
pub mod layout;
pub mod lease;
pub mod load_order;
pub mod negative_cache;
pub mod open;
mod path_trust;
mod publish;
pub mod record;
pub mod select;
mod source;
pub mod stats;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::codec::{Digest32, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, EntryMetadata, FileId, Folder, PathTrust, ReadError, Tree, TrustWalk};
use crate::inputs::{Input, InputState};
use crate::params::resolved::CacheParams;
use crate::sync::lock;

use layout::Layout;
use open::cannot;
use path_trust::path_trust;
use record::{EntryRecord, FileDigest, Invalid};
pub use source::check_source;

const LIB_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    layout: Layout,
    /// How firmly the libraries stood when an entry was looked up last: what was found is loaded from there.
    libraries: Arc<Mutex<Option<PathTrust>>>,
}

/// How closely a lookup looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// For loading: digests of the libraries, sizes of the headers.
    ForLoad,
    /// For building on top or sending on: digests of the headers too.
    ForLink,
}

/// A library that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLib {
    /// Its signature.
    pub signature: String,
    /// The digest of its file and of those that it is linked to: what is built again, because a header has changed,
    /// has another one.
    pub digest: Digest32,
    /// Milliseconds that the compiler took for it.
    pub build_ms: u64,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// A whole entry: the libraries to load, dependencies first, the entry itself last.
    Hit(Vec<VerifiedLib>),
    /// Nothing.
    Miss,
    /// Something that is not a whole entry.
    Damaged(Invalid),
}

/// The files of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFiles {
    /// The signature.
    pub signature: String,
    /// The sealed library.
    pub library: Vec<u8>,
    /// The header.
    pub header: Option<Vec<u8>>,
    /// The source as stored, and whether it is compressed.
    pub source: Option<(Vec<u8>, bool)>,
    /// The log.
    pub log: Option<Vec<u8>>,
}

/// The files of an entry where they lie in memory: what others have sent is not copied to be published.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// The signature.
    pub signature: &'a str,
    /// The sealed library.
    pub library: &'a [u8],
    /// The header.
    pub header: Option<&'a [u8]>,
    /// The source as stored, and whether it is compressed.
    pub source: Option<(&'a [u8], bool)>,
    /// The log.
    pub log: Option<&'a [u8]>,
}

impl EntryFiles {
    /// Its files where they lie.
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
    /// The cache at `root`, named as `params` says. Touches nothing.
    #[must_use]
    pub fn new(root: &Path, params: &CacheParams) -> Self {
        Self::sharing(root, &Arc::new(params.clone()))
    }

    /// As [`Cache::new`], without a copy of the parameters.
    #[must_use]
    pub fn sharing(root: &Path, params: &Arc<CacheParams>) -> Self {
        Self { layout: Layout::new(root, Arc::clone(params)), libraries: Arc::default() }
    }

    /// The same cache, in which names of sources end so: they follow the language of each.
    fn with_src_postfix(&self, postfix: &str) -> Self {
        let params = CacheParams { src_postfix: postfix.to_owned(), ..self.layout.params().clone() };
        Self::new(self.layout.root(), &params)
    }

    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Creates the cache directory itself if it is not there, and returns its identity.
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

    /// Removes what programs that have died in the middle of something have left in this cache and in its staging
    /// place.
    pub fn sweep(&self) {
        let Ok(Some(tree)) = self.open() else { return };
        for dir in self.staging_places() {
            if let Some(folder) = self.staging_place(&tree, &dir) {
                fsutil::sweep(&folder);
            }
        }
        lease::sweep(&tree, &self.layout.lease(""));
        // What is of use for seconds is a leftover after a day.
        for dir in [self.layout.failed(""), self.layout.comm()] {
            for (path, facts) in self.files(&tree, &dir) {
                if SystemTime::now().duration_since(facts.modified).is_ok_and(|age| age > DAY) {
                    let _ = tree.remove(&path);
                }
            }
        }
    }

    /// Opens a place where unfinished files and folders may lie: one of the cache, or one in which others cannot rename
    /// what is not theirs.
    fn staging_place(&self, tree: &Tree, dir: &Path) -> Option<Arc<Folder>> {
        if tree.holds(dir) {
            return tree.enter(dir, false).ok().flatten();
        }
        Folder::open_temporary(dir).ok().flatten().map(Arc::new)
    }

    /// The plain files in a directory of this cache whose names are of its formats. All else is not ours.
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

    /// Where unfinished files and folders may lie, each once.
    fn staging_places(&self) -> BTreeSet<PathBuf> {
        let params = self.layout.params();
        let staging = [params.temp_dir_root.clone(), params.fail_dir_root.clone()];
        self.layout.places().into_iter().chain(staging).chain(self.layout.memory_places()).collect()
    }

    /// Refuses directories in which somebody else can put libraries: loading one is running it.
    ///
    /// # Errors
    /// [`Kind::Cache`] that says whose the directory is, or its mode.
    fn check_owner(&self) -> Result<()> {
        let mut look = TrustWalk::default();
        let root = self.layout.root();
        if let PathTrust::Untrusted(reason) = path_trust(root, &mut look)? {
            return Err(refused(root, &reason));
        }
        let libraries = self.look_at_libraries(&mut look)?;
        *lock(&self.libraries) = Some(libraries);
        Ok(())
    }

    fn look_at_libraries(&self, look: &mut TrustWalk) -> Result<PathTrust> {
        let dir = self.layout.dir(layout::Category::Lib);
        match path_trust(&dir, look)? {
            PathTrust::Untrusted(reason) => Err(refused(&dir, &reason)),
            // Loaded as where others could rename it: by another path.
            PathTrust::Trusted(real) => Ok(match fsutil::loader_token(&real) {
                Some(word) => PathTrust::Renamable(format!(
                    "the dynamic loader would replace {word} in {}",
                    real.display()
                )),
                None => PathTrust::Trusted(real),
            }),
            standing => Ok(standing),
        }
    }

    /// Where the libraries lie, as the last look for an entry has seen it. [`Standing::Loose`]: the cache is ours, but
    /// others can rename a directory above it, so no library must be loaded by its path. What has been read and checked
    /// has to be copied to a safe place first.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn libraries(&self) -> Result<PathTrust> {
        let seen = lock(&self.libraries).clone();
        seen.map_or_else(|| self.look_at_libraries(&mut TrustWalk::default()), Ok)
    }

    /// Why a compiler must not be led to the headers and libraries of this cache by their paths, if it must not.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn is_loose(&self) -> Result<Option<String>> {
        let dirs = [layout::Category::Lib, layout::Category::Inc].map(|category| self.layout.dir(category));
        let mut look = TrustWalk::default();
        for dir in dirs {
            if let PathTrust::Renamable(reason) | PathTrust::Untrusted(reason) = path_trust(&dir, &mut look)?
            {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Looks for an entry and everything that it is linked to.
    ///
    /// # Errors
    /// [`Kind::Cache`] when a file is there and cannot be read, or when somebody else could have put it there.
    pub fn lookup(&self, signature: &str, check: Verify) -> Result<Lookup> {
        self.check_owner()?;
        let mut order = Vec::new();
        Ok(match self.look(signature, check, &mut order, &mut Vec::new())? {
            ControlFlow::Continue(()) => Lookup::Hit(order),
            ControlFlow::Break(otherwise) => otherwise,
        })
    }

    /// Looks at an entry and at those that it needs, and puts those that are whole into `order`. `seen` are those that
    /// have been looked at. Breaks off with what is wrong.
    fn look(
        &self,
        signature: &str,
        check: Verify,
        order: &mut Vec<VerifiedLib>,
        seen: &mut Vec<String>,
    ) -> Result<ControlFlow<Lookup>> {
        let damaged = |damage| Ok(ControlFlow::Break(Lookup::Damaged(damage)));
        let Some(file) = read(&self.layout.lib(signature))? else {
            return Ok(ControlFlow::Break(Lookup::Miss));
        };
        let opened = match check {
            Verify::ForLoad => record::open_to_load(&file, signature),
            Verify::ForLink => record::open(&file, signature).map(record::LoadRecord::from),
        };
        let record = match opened {
            Ok(record) => record,
            Err(damage) => return damaged(damage),
        };
        let digest = record::digest_of(&file);
        drop(file);
        if !self.header_is_whole(signature, record.header.as_ref(), check)? {
            return damaged(Invalid::Header);
        }
        if let Some(change) = self.stale_input(signature, &record.inputs) {
            return damaged(Invalid::Input(change));
        }
        seen.push(signature.to_owned());
        // What was only built besides has to be there to travel, not to load.
        let needed: Vec<&str> = match check {
            Verify::ForLoad => record.dependencies.iter().map(String::as_str).collect(),
            Verify::ForLink => record.needs().collect(),
        };
        for dependency in needed {
            if seen.iter().any(|seen| seen == dependency) {
                continue;
            }
            if self.look(dependency, check, order, seen)?.is_break() {
                return damaged(Invalid::Dependency);
            }
        }
        let digest = with_dependencies(digest, &record.dependencies, order);
        order.push(VerifiedLib { signature: signature.to_owned(), digest, build_ms: record.milliseconds() });
        Ok(ControlFlow::Continue(()))
    }

    fn header_is_whole(&self, signature: &str, expected: Option<&FileDigest>, check: Verify) -> Result<bool> {
        let Some(expected) = expected else { return Ok(true) };
        let path = self.layout.inc(signature);
        if check == Verify::ForLoad {
            return Ok(fs::metadata(&path).is_ok_and(|facts| facts.len() == expected.size));
        }
        Ok(read(&path)?.is_some_and(|header| file_digest(&header) == *expected))
    }

    /// What of the files that the build has read is not the same any more, unless that does not matter.
    ///
    /// A file that is gone does not: nobody could build from it now, and a cache that was filled where the headers are
    /// installed has to serve where they are not. A linked library that is gone is found out by the loader.
    fn stale_input(&self, signature: &str, inputs: &[Input]) -> Option<String> {
        if !self.layout.params().tracks_inputs() {
            return None;
        }
        let mut gone = Vec::new();
        for input in inputs {
            match input.state() {
                InputState::Same => {}
                InputState::Gone(reason) => gone.push(reason),
                InputState::Changed(change) => return Some(change),
            }
        }
        if let Some(first) = gone.first() {
            let number = gone.len();
            log::info!("{signature} stays as it is, although {number} of its inputs are not there: {first}");
        }
        None
    }

    /// The files that the build has read and that are not the same any more, with what has become of them, unless that
    /// does not matter.
    fn changed_inputs<'a>(&self, record: &'a EntryRecord) -> impl Iterator<Item = (&'a Input, String)> {
        let matters = self.layout.params().tracks_inputs();
        let change = |input: &'a Input| match input.state() {
            InputState::Changed(change) => Some((input, change)),
            InputState::Same | InputState::Gone(_) => None,
        };
        record.inputs.iter().filter(move |_| matters).filter_map(change)
    }

    /// The signatures of all libraries, the latest first, as the names of their files give them. Nothing of them is
    /// looked at.
    ///
    /// # Errors
    /// [`Kind::Cache`] when the directory cannot be read, or is refused.
    pub fn signatures(&self) -> Result<Vec<String>> {
        self.check_owner()?;
        let dir = self.layout.dir(layout::Category::Lib);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &dir, &error)),
        };
        let signature = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let signature = self.layout.signature_of(layout::Category::Lib, name.to_str()?)?.to_owned();
            let changed = entry.metadata().and_then(|facts| facts.modified()).ok();
            Some((changed, signature))
        };
        let mut found: Vec<_> = entries.flatten().filter_map(signature).collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, signature)| signature).collect())
    }

    /// Reads a library. Its seal is for the caller to check.
    ///
    /// # Errors
    /// [`Kind::Cache`] when it cannot be read, or has gone.
    pub fn read_library(&self, signature: &str) -> Result<Vec<u8>> {
        let path = self.layout.lib(signature);
        read(&path)?.ok_or_else(|| Error::new(Kind::Cache, format!("{} has gone meanwhile", path.display())))
    }

    /// Reads all files of a whole entry.
    ///
    /// # Errors
    /// [`Kind::Cache`] when the library or a file of it cannot be read or is damaged.
    pub fn read_entry(&self, signature: &str) -> Result<EntryFiles> {
        let library = read(&self.layout.lib(signature))?;
        let record = library.as_deref().map(|library| record::open(library, signature));
        let (Some(library), Some(Ok(record))) = (library, record) else {
            return Err(missing(&self.layout.lib(signature)));
        };
        let header = match record.header {
            Some(expected) => {
                let path = self.layout.inc(signature);
                let header = read(&path)?.filter(|header| file_digest(header) == expected);
                Some(header.ok_or_else(|| altered_header(&path))?)
            }
            None => None,
        };
        // Sources and logs are for people: an entry is whole without them.
        let packed = read(&self.layout.src(signature, true)).ok().flatten().map(|data| (data, true));
        let plain = || read(&self.layout.src(signature, false)).ok().flatten().map(|data| (data, false));
        let source = packed.or_else(plain);
        let log = read(&self.layout.log(signature)).ok().flatten();
        Ok(EntryFiles { signature: signature.to_owned(), library, header, source, log })
    }

    /// The files of an entry and of everything that has to travel with it, what is needed before what needs it.
    ///
    /// # Errors
    /// As [`Cache::read_entry`].
    pub fn read_closure(&self, signature: &str) -> Result<Vec<EntryFiles>> {
        let mut entries = Vec::new();
        self.collect(signature, &mut entries, &mut HashSet::new())?;
        Ok(entries)
    }

    fn collect(
        &self,
        signature: &str,
        entries: &mut Vec<EntryFiles>,
        seen: &mut HashSet<String>,
    ) -> Result<()> {
        if !seen.insert(signature.to_owned()) {
            return Ok(());
        }
        let files = self.read_entry(signature)?;
        let record = record::open(&files.library, signature)
            .map_err(|damage| Error::new(Kind::Cache, format!("{signature}: {}", damage.describe())))?;
        for needed in record.needs() {
            self.collect(needed, entries, seen)?;
        }
        entries.push(files);
        Ok(())
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
        format!("{} is refused, because whoever can write it can run code here: {reason}", path.display());
    Error::new(Kind::Cache, text)
}

/// The digest of a library together with those of its dependencies, which come before it in `order`.
fn with_dependencies(own: Digest32, dependencies: &[String], order: &[VerifiedLib]) -> Digest32 {
    if dependencies.is_empty() {
        return own;
    }
    let of = |signature: &String| order.iter().find(|whole| whole.signature == *signature);
    let all = dependencies.iter().filter_map(of).map(|whole| whole.digest);
    digest(&[own].into_iter().chain(all).collect::<Vec<_>>().concat())
}

/// A file of the cache, if it is there and ours.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    fsutil::read_trusted(path).map_err(|why| unread(path, why))
}

fn unread(path: &Path, why: ReadError) -> Error {
    match why {
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
mod tests;
