//! Results of tasks: files that a command or a callback has made, by the signature of the task.
//!
//! ```text
//! result/<signature> := "dijitso result 1\n"  bytes record (JSON, see ResultRecord)  payload
//! payload            := u64 count  count * (bytes name  u32 executable  bytes contents)
//! ```
//! A result is published in one step and never changed; the first publisher wins. Readers compare the payload
//! with its digest; a file that is cut short or damaged is a miss, and the next publisher replaces it.
//!
//! The modification time of the file is that of its last use, to a few minutes. Eviction goes by it.

#![forbid(unsafe_code)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::codec::{Reader, Writer, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, FileState, Tree};
use crate::signature::check_signature;

use super::open::cannot;
use super::{Cache, FILE_MODE, lease, unread};

const MAGIC: &[u8] = b"dijitso result 1\n";

/// The shortest time between two notes of a use. It is shorter than the idle time that eviction requires, so
/// that what a make has found stays until the make uses it.
pub(super) const RESULT_TOUCH_INTERVAL: Duration = Duration::from_secs(300);

/// The longest record that is read.
const MAX_RECORD: usize = 1 << 20;

/// The facts of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// The signature of the task.
    pub signature: String,
    /// The word by which people select the task.
    pub name: String,
    /// SHA-256 of the payload. It enters the signatures of what uses the result.
    pub digest: String,
    /// The bytes of the payload.
    pub size: u64,
    /// Seconds since 1970.
    pub made_at: u64,
    /// The host on which it was made.
    pub host: String,
}

/// A file of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// Its name, relative to the folder of the task; empty for the bytes of a callback.
    pub name: String,
    /// True if it may be run.
    pub executable: bool,
    /// Its contents.
    pub contents: Vec<u8>,
}

/// A result whose payload was compared with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// Its facts.
    pub record: ResultRecord,
    /// Its files, in the order in which the task names them.
    pub files: Vec<ResultFile>,
}

impl TaskResult {
    /// Makes a result of this moment.
    #[must_use]
    pub fn new(signature: &str, name: &str, files: Vec<ResultFile>) -> Self {
        let payload = encode_files(&files);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = ResultRecord {
            signature: signature.to_owned(),
            name: name.to_owned(),
            digest: hex(&digest(&payload)),
            size: payload.len() as u64,
            made_at: now.map_or(0, |time| time.as_secs()),
            host: crate::host_name(),
        };
        Self { record, files }
    }

    /// Encodes the result as its file has it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = serde_json::to_vec(&self.record).expect("a record consists of strings and numbers");
        let mut writer = Writer::onto(MAGIC.to_vec());
        writer.bytes(&record);
        let mut bytes = writer.finish();
        bytes.extend_from_slice(&encode_files(&self.files));
        bytes
    }

    /// Decodes and verifies the bytes of a file; `None` if they are not the whole result of `signature`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], signature: &str) -> Option<Self> {
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let record: ResultRecord = serde_json::from_slice(reader.bytes()?).ok()?;
        let payload = reader.rest();
        let valid = record.signature == signature
            && record.size == payload.len() as u64
            && record.digest == hex(&digest(payload));
        valid.then(|| decode_files(payload).map(|files| Self { record, files }))?
    }

    /// Returns the file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&ResultFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

fn encode_files(files: &[ResultFile]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u64(files.len() as u64);
    for file in files {
        writer.bytes(file.name.as_bytes());
        writer.u32(u32::from(file.executable));
        writer.bytes(&file.contents);
    }
    writer.finish()
}

fn decode_files(payload: &[u8]) -> Option<Vec<ResultFile>> {
    let mut reader = Reader::new(payload);
    let count = reader.u64()?;
    let mut files = Vec::new();
    for _ in 0..count {
        let (name, executable) = (reader.text()?.to_owned(), reader.u32()? != 0);
        files.push(ResultFile { name, executable, contents: reader.bytes()?.to_vec() });
    }
    reader.rest().is_empty().then_some(files)
}

/// The results in a cache directory.
#[derive(Clone, Debug)]
pub struct ResultStore {
    cache: Cache,
    tree: Option<Arc<Tree>>,
}

impl ResultStore {
    /// Opens the results of a cache to read and to publish. Makes the cache directory if there is none.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the directory cannot be used.
    pub fn open_or_make(cache: &Cache) -> Result<Self> {
        Ok(Self { cache: cache.clone(), tree: Some(Arc::new(cache.open_or_make()?)) })
    }

    /// Opens the results of a cache to read.
    #[must_use]
    pub fn open(cache: &Cache) -> Self {
        Self { cache: cache.clone(), tree: None }
    }

    /// Reads and verifies a result; `None` if it is missing or damaged. Notes the use, unless the store was
    /// opened to read or the cache is frozen.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the file cannot be read, or other users can write it.
    pub fn read(&self, signature: &str) -> Result<Option<TaskResult>> {
        let path = self.cache.layout().result(signature);
        let read = fsutil::read_trusted_with_state(&path, u64::MAX).map_err(|error| unread(&path, error))?;
        let Some((bytes, state)) = read else { return Ok(None) };
        let result = TaskResult::from_bytes(&bytes, signature);
        if result.is_none() {
            log::warn!("{} will be made again: it is damaged", path.display());
        } else if self.tree.is_some() && !self.cache.layout().params().frozen {
            note_use(&path, &state);
        }
        Ok(result)
    }

    /// Reads the facts of a result, and compares its size with them; `None` if it is missing or cut short.
    #[must_use]
    pub fn peek(&self, signature: &str) -> Option<ResultRecord> {
        const FIRST: u64 = 4096;
        let path = self.cache.layout().result(signature);
        let mut file = fsutil::open_trusted(&path).ok().flatten()?;
        let length = file.metadata().ok()?.len();
        let mut bytes = Vec::new();
        file.by_ref().take(FIRST).read_to_end(&mut bytes).ok()?;
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let size = usize::try_from(reader.u64()?).ok().filter(|size| *size <= MAX_RECORD)?;
        let begin = (MAGIC.len() + 8) as u64;
        let missing = (begin + size as u64).saturating_sub(bytes.len() as u64);
        file.take(missing).read_to_end(&mut bytes).ok()?;
        let record: ResultRecord =
            serde_json::from_slice(bytes.get(MAGIC.len() + 8..MAGIC.len() + 8 + size)?).ok()?;
        (record.signature == signature && length == begin + size as u64 + record.size).then_some(record)
    }

    /// Publishes a result. Returns the one that is in the cache now: this one, or that of another program that
    /// was first.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be written; [`Kind::State`] if the store was opened to read.
    pub fn publish(&self, result: TaskResult) -> Result<TaskResult> {
        let signature = result.record.signature.as_str();
        let path = self.cache.layout().result(signature);
        let tree = self.tree()?;
        let (bytes, durability) = (result.to_bytes(), Durability::Volatile);
        let failed = |error: std::io::Error| cannot("cannot write", &path, &error);
        if tree.publish_noclobber(&path, &bytes, FILE_MODE, durability).map_err(failed)? {
            return Ok(result);
        }
        if let Some(first) = self.read(signature)? {
            return Ok(first);
        }
        tree.replace_atomic(&path, &bytes, FILE_MODE, durability).map_err(failed)?;
        Ok(result)
    }

    /// Publishes a result in the place of one that is there.
    ///
    /// # Errors
    /// As [`ResultStore::publish`].
    pub fn replace(&self, result: TaskResult) -> Result<TaskResult> {
        let path = self.cache.layout().result(&result.record.signature);
        let written = self.tree()?.replace_atomic(&path, &result.to_bytes(), FILE_MODE, Durability::Volatile);
        written.map(|()| result).map_err(|error| cannot("cannot write", &path, &error))
    }

    /// Returns the tree of the cache directory.
    ///
    /// # Errors
    /// [`Kind::State`] if the store was opened to read.
    pub fn tree(&self) -> Result<&Arc<Tree>> {
        let text = "these results were opened to read";
        self.tree.as_ref().ok_or_else(|| Error::new(Kind::State, text))
    }
}

/// Sets the time of a result that was read, if the last note is old. A cache that cannot be written has none.
fn note_use(path: &Path, state: &FileState) {
    let now = SystemTime::now();
    let noted = UNIX_EPOCH + Duration::from_nanos(u64::try_from(state.stamp.mtime).unwrap_or_default());
    if now.duration_since(noted).is_ok_and(|idle| idle < RESULT_TOUCH_INTERVAL) {
        return;
    }
    // By its open file: a result that was removed meanwhile is not made again as an empty one.
    if let Ok(Some(file)) = fsutil::open_trusted(path)
        && let Err(error) = file.set_modified(now)
    {
        log::debug!("the use of {} is not noted: {error}", path.display());
    }
}

/// A result as lists show it. Its payload was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedResult {
    /// The signature of the task.
    pub signature: String,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the disk that it takes.
    pub allocated: u64,
    /// The time of its last use.
    pub used: SystemTime,
    /// Its facts; `None` if it is cut short or damaged.
    pub record: Option<ResultRecord>,
}

impl Cache {
    /// Removes the result of a task. Returns the path of its file; `None` if there was none.
    ///
    /// # Errors
    /// [`Kind::Cache`] if a program is making it, or it cannot be removed; as [`Cache::open`].
    pub fn remove_result(&self, signature: &str) -> Result<Option<PathBuf>> {
        check_signature(signature)?;
        let Some(tree) = self.open()?.map(Arc::new) else { return Ok(None) };
        let lease = self.layout().lease(signature);
        if let Some(info) = lease::look(Some(&tree), &lease).filter(|info| info.living) {
            let text = format!("{signature} is being made by {}", info.describe());
            return Err(Error::new(Kind::Cache, text));
        }
        let path = self.layout().result(signature);
        let removed = tree.remove(&path).map_err(|error| cannot("cannot remove", &path, &error))?;
        Ok(removed.then_some(path))
    }

    /// Lists the signatures of all results, sorted.
    #[must_use]
    pub fn result_signatures(&self) -> Vec<String> {
        let dir = self.layout().result("");
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut signatures: Vec<String> =
            names.filter(|name| !fsutil::is_unfinished(name) && check_signature(name).is_ok()).collect();
        signatures.sort_unstable();
        signatures
    }

    /// Lists all results with their facts, sorted by signature.
    #[must_use]
    pub fn results(&self) -> Vec<ListedResult> {
        let store = ResultStore::open(self);
        let listed = |signature: String| {
            let path = self.layout().result(&signature);
            let facts = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
            let record = store.peek(&signature);
            let (size, allocated) = (facts.len(), fsutil::allocated(&facts));
            let used = facts.modified().unwrap_or(UNIX_EPOCH);
            Some(ListedResult { signature, path, size, allocated, used, record })
        };
        self.result_signatures().into_iter().filter_map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache;

    fn result(text: &str) -> TaskResult {
        let file = |name: &str| ResultFile {
            name: name.to_owned(),
            executable: name == "run",
            contents: text.into(),
        };
        TaskResult::new("mesh_x", "mesh", vec![file("run"), file("data/a b.txt")])
    }

    #[test]
    fn a_published_result_is_read_and_the_first_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open_or_make(&cache(dir.path())).unwrap();
        assert_eq!((store.read("mesh_x").unwrap(), store.peek("mesh_x")), (None, None));
        assert_eq!(store.publish(result("one")).unwrap(), result("one"));
        assert_eq!(store.publish(result("two")).unwrap().files, result("one").files);
        assert_eq!(store.peek("mesh_x").unwrap().digest, result("one").record.digest);
        let path = store.cache.layout().result("mesh_x");
        assert_eq!(store.cache.remove_result("mesh_x").unwrap(), Some(path));
        assert_eq!(store.cache.remove_result("mesh_x").unwrap(), None);
        assert!(store.cache.remove_result("../lib").is_err());
    }

    #[test]
    fn a_use_is_noted_once_in_a_while_and_a_list_is_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let store = ResultStore::open_or_make(&cache).unwrap();
        store.publish(result("one")).unwrap();
        let path = cache.layout().result("mesh_x");
        let used = || path.metadata().unwrap().modified().unwrap();
        let set = |age: Duration| {
            let time = SystemTime::now() - age;
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
            used()
        };
        let old = set(2 * RESULT_TOUCH_INTERVAL);
        let listed = cache.results();
        assert_eq!((listed.len(), listed[0].used, listed[0].signature.as_str()), (1, old, "mesh_x"));
        assert_eq!(listed[0].record.as_ref().unwrap().name, "mesh");
        assert!(ResultStore::open(&cache).read("mesh_x").unwrap().is_some());
        assert_eq!(used(), old, "to look is no use");
        store.read("mesh_x").unwrap().unwrap();
        assert!(used() > old);
        let recent = set(RESULT_TOUCH_INTERVAL / 2);
        store.read("mesh_x").unwrap().unwrap();
        assert_eq!(used(), recent, "noted a moment ago");
    }

    #[test]
    fn a_damaged_result_is_a_miss_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let store = ResultStore::open_or_make(&cache).unwrap();
        let whole = store.publish(result("one")).unwrap().to_bytes();
        let path = cache.layout().result("mesh_x");
        for length in 0..whole.len() {
            fsutil::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.peek("mesh_x"), None, "{length} bytes");
            assert_eq!(TaskResult::from_bytes(&whole[..length], "mesh_x"), None);
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let read = TaskResult::from_bytes(&damaged, "mesh_x");
            assert!(read.is_none_or(|read| read.files == result("one").files), "byte {at}");
        }
        fsutil::write(&path, b"dijitso result 1\n").unwrap();
        assert_eq!(store.publish(result("two")).unwrap().files, result("two").files);
        assert_eq!(store.read("mesh_x").unwrap().unwrap().files, result("two").files);
    }
}
