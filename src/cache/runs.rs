//! Lists of the entries that runs of a program have used, so that the next run gets them at once.
//!
//! ```text
//! runs/<key>            key: 32 hexadecimal digits, for the program and its parameters
//!
//! file   := "DIJITSO-RUNS" u32 version (1)  u64 count  entry*  digest
//! entry  := u32 age  bytes signature     those of the latest run first
//! age    := the number of lists since a run has used it
//! digest := SHA-256 of everything before it
//! ```
//! A run that has used an entry that is not in the list writes another one in its place, in one step. That
//! takes over what the list says at that time, so runs at the same time lose little. Entries that several
//! runs in a row have not used are left out. Lists are for speed alone: one that is damaged or of another
//! version is ignored, and replaced by the next run.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::{Digest32, Reader, Writer, digest, hex};
use crate::error::Result;
use crate::fsutil::{self, Durability, FileStamp, Tree};
use crate::signature::check_signature;

use super::open::cannot;
use super::stats::RENEWED;
use super::{Cache, FILE_MODE};

const MAGIC: &[u8; 12] = b"DIJITSO-RUNS";
const VERSION: u32 = 1;
const DIGEST: usize = 32;

/// The largest list that is read.
pub(super) const LONGEST: u64 = 4 << 20;

/// The number of entries of a list.
const MOST: usize = 10_000;

/// The age at which an entry is left out.
const OLD: u32 = 8;

/// The end of the name of a pack.
pub(super) const PACK: &str = ".pack";

/// The digits of a key.
const DIGITS: usize = 32;

/// The key of a program and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunKey(String);

impl RunKey {
    /// Makes the key of a program by its name and the digest of its parameters.
    #[must_use]
    pub fn new(program: &[u8], params: &Digest32) -> Self {
        let mut writer = Writer::new(b"run");
        writer.bytes(program);
        writer.bytes(params);
        Self(hex(&digest(&writer.finish()))[..DIGITS].to_owned())
    }

    pub(super) fn digits(&self) -> &str {
        &self.0
    }
}

/// The entries that earlier runs have used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedEntries {
    /// Signatures with their ages, those of the latest run first.
    entries: Vec<(String, u32)>,
}

impl UsedEntries {
    /// Reads a list. One that is damaged or of another version has nothing.
    pub(super) fn read(file: &[u8]) -> Self {
        Self { entries: decode(file).unwrap_or_default() }
    }

    /// Returns the signatures, those of the latest run first.
    pub fn signatures(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(signature, _)| signature.as_str())
    }

    /// Returns the list after a run that has used the entries `used`; `None` if the list names all of them.
    fn after(&self, used: &[String]) -> Option<Vec<(String, u32)>> {
        let known: HashSet<&str> = self.signatures().collect();
        if used.iter().all(|signature| known.contains(signature.as_str())) {
            return None;
        }
        let now: HashSet<&str> = used.iter().map(String::as_str).collect();
        let others = self.entries.iter().filter(|(signature, _)| !now.contains(signature.as_str()));
        let others = others.map(|(signature, age)| (signature.clone(), age.saturating_add(1)));
        let used = used.iter().map(|signature| (signature.clone(), 0));
        Some(used.chain(others.filter(|(_, age)| *age < OLD)).take(MOST).collect())
    }
}

fn encode(entries: &[(String, u32)]) -> Vec<u8> {
    let mut writer = Writer::new(MAGIC);
    writer.u32(VERSION);
    writer.u64(entries.len() as u64);
    for (signature, age) in entries {
        writer.u32(*age);
        writer.bytes(signature.as_bytes());
    }
    let mut file = writer.finish();
    let sum = digest(&file);
    file.extend_from_slice(&sum);
    file
}

fn decode(file: &[u8]) -> Option<Vec<(String, u32)>> {
    let (body, sum) = file.split_at_checked(file.len().checked_sub(DIGEST)?)?;
    if digest(body) != *sum {
        return None;
    }
    let mut reader = Reader::new(body);
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    let count = reader.u64()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let age = reader.u32()?;
        // A signature becomes part of paths.
        let signature = reader.text().filter(|signature| check_signature(signature).is_ok())?;
        entries.push((signature.to_owned(), age));
    }
    reader.at_end().then_some(entries)
}

/// Returns true if this is the name of a list.
pub(super) fn is_list(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns true if this can be read as a list.
pub(super) fn is_whole(file: &[u8]) -> bool {
    decode(file).is_some()
}

/// Returns true if this is the name of a list or a pack.
pub(super) fn is_own(name: &str) -> bool {
    is_list(name.strip_suffix(PACK).unwrap_or(name))
}

impl Cache {
    /// Reads what earlier runs of a program have used. Without a list, or if it cannot be read, it is empty.
    #[must_use]
    pub fn used_entries(&self, key: &RunKey) -> UsedEntries {
        self.list_file(key).map(|file| UsedEntries::read(&file)).unwrap_or_default()
    }

    pub(super) fn list_file(&self, key: &RunKey) -> Option<Vec<u8>> {
        // Entries that it names are verified before they are used.
        fsutil::read_trusted_up_to(&self.layout().run(&key.0), LONGEST).ok().flatten()
    }

    /// Notes that a run uses the entries of a list, for eviction. Costs little if a run has done so within
    /// the hour.
    pub fn touch_list(&self, key: &RunKey) {
        if let Ok(stamp) = FileStamp::of(&self.layout().run(&key.0)) {
            self.touch_list_of(key, stamp.mtime);
        }
    }

    /// Does the same, and notes that the pack is used. `mtime` is the time of one of the two.
    pub(super) fn touch_list_of(&self, key: &RunKey, mtime: i64) {
        let renewed = UNIX_EPOCH + Duration::from_nanos(mtime.try_into().unwrap_or_default());
        let age = SystemTime::now().duration_since(renewed).unwrap_or_default();
        if !self.layout().params().frozen
            && age >= RENEWED
            && let Ok(Some(tree)) = self.open()
        {
            for path in [self.layout().run(&key.0), self.layout().run_pack(&key.0)] {
                if fsutil::exists_nofollow(&path) {
                    let _ = tree.touch(&path, FILE_MODE);
                }
            }
        }
    }

    /// Returns when entries were last used, as far as lists of runs tell: the latest time of a list that has
    /// the entry from its latest run.
    pub(super) fn listed_uses(&self, tree: &Tree) -> HashMap<String, SystemTime> {
        let dir = self.layout().runs();
        let mut uses: HashMap<String, SystemTime> = HashMap::new();
        for name in tree.list(&dir).unwrap_or_default() {
            let path = dir.join(&name);
            let is_list = name.to_str().is_some_and(is_list);
            let Some(facts) = tree.metadata(&path).ok().flatten().filter(|_| is_list) else { continue };
            let list = tree.read(&path, LONGEST).ok().flatten().and_then(|file| decode(&file));
            for (signature, _) in list.unwrap_or_default().into_iter().filter(|(_, age)| *age == 0) {
                let time = uses.entry(signature).or_insert(facts.modified);
                *time = facts.modified.max(*time);
            }
        }
        uses
    }

    /// Writes the list of a run that has used the entries `used`. `before` is the list when the run began.
    /// Writes nothing if that names all these entries, or into a frozen cache. Returns whether it has
    /// written.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if the list cannot be written.
    pub fn note_run(&self, key: &RunKey, before: &UsedEntries, used: &[String]) -> Result<bool> {
        if self.layout().params().frozen || before.after(used).is_none() {
            return Ok(false);
        }
        let Some(tree) = self.open()? else { return Ok(false) };
        // Another run may have written meanwhile. This run may, too, and makes entries older once.
        let mut now = self.used_entries(key);
        let ages: HashMap<&str, u32> =
            before.entries.iter().map(|(signature, age)| (signature.as_str(), *age)).collect();
        for (signature, age) in &mut now.entries {
            *age = ages.get(signature.as_str()).copied().unwrap_or(*age);
        }
        let Some(entries) = now.after(used) else { return Ok(false) };
        let path = self.layout().run(&key.0);
        let failed = |error| cannot("cannot write", &path, &error);
        tree.enter(&self.layout().runs(), true).map_err(failed)?;
        tree.replace_atomic(&path, &encode(&entries), FILE_MODE, Durability::Volatile).map_err(failed)?;
        // It has the list of before.
        let _ = tree.remove(&self.layout().run_pack(&key.0));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache;
    use proptest::prelude::*;
    use std::fs;

    fn key() -> RunKey {
        RunKey::new(b"program", &[1; 32])
    }

    fn names(cache: &Cache, key: &RunKey) -> Vec<String> {
        cache.used_entries(key).signatures().map(str::to_owned).collect()
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn run(cache: &Cache, used: &[&str]) -> bool {
        cache.note_run(&key(), &cache.used_entries(&key()), &strings(used)).unwrap()
    }

    fn made() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        cache.ensure_dirs().unwrap();
        (dir, cache)
    }

    #[test]
    fn a_list_is_written_if_a_run_uses_something_new() {
        let (_dir, cache) = made();
        assert!(names(&cache, &key()).is_empty());
        assert!(run(&cache, &["b", "a"]));
        assert_eq!(names(&cache, &key()), ["b", "a"]);
        assert!(!run(&cache, &["a", "b"]) && !run(&cache, &["a"]), "it is known");
        assert!(run(&cache, &["c"]));
        assert_eq!(names(&cache, &key()), ["c", "b", "a"]);
        assert_eq!(fs::read_dir(cache.layout().runs()).unwrap().count(), 1, "it replaces the first one");
        assert!(names(&cache, &RunKey::new(b"program", &[2; 32])).is_empty());
        assert!(names(&cache, &RunKey::new(b"other", &[1; 32])).is_empty());
    }

    /// A run writes several times, and counts as one.
    #[test]
    fn an_entry_that_runs_do_not_use_any_more_is_left_out() {
        let (_dir, cache) = made();
        run(&cache, &["old"]);
        for number in 0..OLD {
            let before = cache.used_entries(&key());
            assert!(names(&cache, &key()).contains(&"old".to_owned()), "{number}");
            let of_run = [format!("first{number}"), format!("second{number}")];
            assert!(cache.note_run(&key(), &before, &of_run[..1]).unwrap());
            assert!(cache.note_run(&key(), &before, &of_run).unwrap());
        }
        assert!(!names(&cache, &key()).contains(&"old".to_owned()));
        assert_eq!(names(&cache, &key()).len(), 2 * OLD as usize);
    }

    #[test]
    fn two_runs_at_a_time_lose_nothing() {
        let (_dir, cache) = made();
        let before = cache.used_entries(&key());
        assert!(cache.note_run(&key(), &before, &strings(&["a"])).unwrap());
        assert!(cache.note_run(&key(), &before, &strings(&["b"])).unwrap());
        assert_eq!(names(&cache, &key()), ["b", "a"]);
    }

    #[test]
    fn a_damaged_list_is_ignored_and_replaced() {
        let (_dir, cache) = made();
        run(&cache, &["a"]);
        let list = fs::read_dir(cache.layout().runs()).unwrap().next().unwrap().unwrap().path();
        let mut file = fs::read(&list).unwrap();
        file[13] ^= 1;
        fs::write(&list, file).unwrap();
        assert!(names(&cache, &key()).is_empty());
        let tree = cache.open().unwrap().unwrap();
        assert_eq!(cache.damaged_lists(&tree), [list]);
        assert!(run(&cache, &["b"]));
        assert_eq!(names(&cache, &key()), ["b"]);
        assert!(cache.damaged_lists(&tree).is_empty());
    }

    #[test]
    fn nothing_is_written_into_a_frozen_cache_or_one_that_is_none() {
        let (dir, cache) = made();
        let mut params = cache.layout().params().clone();
        params.frozen = true;
        assert!(!run(&Cache::new(dir.path(), &params), &["a"]));
        let other = tempfile::tempdir().unwrap();
        let missing = self::cache(&other.path().join("missing"));
        assert!(!run(&missing, &["a"]) && !missing.layout().root().exists());
    }

    /// A hit of an entry that was sent at the first call touches no file.
    #[test]
    fn a_list_counts_as_a_use_of_the_entries_of_its_latest_run() {
        let (_dir, cache) = made();
        run(&cache, &["a"]);
        run(&cache, &["b"]);
        let long_ago = SystemTime::now() - 2 * RENEWED;
        fs::File::open(cache.layout().run(&key().0)).unwrap().set_modified(long_ago).unwrap();
        let tree = cache.open().unwrap().unwrap();
        assert_eq!(cache.listed_uses(&tree), HashMap::from([("b".to_owned(), long_ago)]));
        cache.touch_list(&key());
        assert!(cache.listed_uses(&tree)["b"] > SystemTime::now() - RENEWED);
    }

    proptest! {
        #[test]
        fn any_list_comes_back(entries in prop::collection::vec(("[A-Za-z0-9_]{1,9}", any::<u32>()), 0..9)) {
            prop_assert_eq!(decode(&encode(&entries)), Some(entries));
        }

        #[test]
        fn no_flipped_bit_and_no_cut_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let file = encode(&[("a".to_owned(), 1), ("b".to_owned(), 0)]);
            let mut flipped = file.clone();
            flipped[at.index(file.len())] ^= 1 << bit;
            prop_assert_eq!(decode(&flipped), None);
            prop_assert_eq!(decode(&file[..at.index(file.len())]), None);
        }

        /// Wrong lengths under a right digest.
        #[test]
        fn any_body_is_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut file = [&MAGIC[..], &VERSION.to_le_bytes(), &body].concat();
            let sum = digest(&file);
            file.extend_from_slice(&sum);
            let _ = decode(&file);
        }
    }
}
