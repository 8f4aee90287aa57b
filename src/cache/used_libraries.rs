//! Reads the libraries that earlier runs of a program have used, from their pack or from the cache, and packs them
//! for the next run.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::error::Result;
use crate::fsutil::{self, Durability, FileStamp, Tree};

use super::layout::Category;
use super::lookup::{Lookup, VerifiedEntry};
use super::open::cannot;
use super::run_pack::{self, PackFrame, PackedFile, RunPack};
use super::runs::{self, LONGEST, RunKey, UsedEntries, is_list, is_own};
use super::{Cache, FILE_MODE, record};

/// The libraries that earlier runs have used, read and verified.
#[derive(Default)]
pub struct UsedLibraries {
    /// Signatures and entries.
    pub entries: Vec<(String, VerifiedEntry)>,
    /// The files of their libraries, by signature.
    pub files: HashMap<String, Vec<u8>>,
    /// Was all of it in a pack that is still right?
    pub is_packed: bool,
    /// The stamps of the files that were settled when they were read.
    stamps: HashMap<String, FileStamp>,
    lib_dir: FileStamp,
}

/// Returns the stamp, or one that nothing has.
fn if_settled(stamp: FileStamp) -> FileStamp {
    if stamp.is_settled() { stamp } else { FileStamp::default() }
}

impl Cache {
    /// Reads the pack of a program, and notes for eviction that a run uses it. `None` without one that can be
    /// read.
    #[must_use]
    pub fn run_pack(&self, key: &RunKey) -> Option<RunPack> {
        let most = self.layout().params().prefetch_max_size.saturating_add(2 * LONGEST);
        let path = self.layout().run_pack(key.digits());
        let (content, state) = fsutil::read_trusted_with_state(&path, most).ok().flatten()?;
        let pack = RunPack::read(content)?;
        self.touch_list_of(key, state.stamp.mtime);
        Some(pack)
    }

    /// Returns the list of the time when a pack was written.
    #[must_use]
    pub fn packed_list(pack: &RunPack) -> UsedEntries {
        UsedEntries::read(&pack.frame.list)
    }

    /// Reads the entries of a list, as far as they are in the cache and within `cache.prefetch_max_size`: from
    /// the pack, and what is not there from the files.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if the cache is refused.
    pub fn read_used(&self, list: &UsedEntries, mut pack: Option<RunPack>) -> Result<UsedLibraries> {
        let (lib_dir, stamp) = self.check_trust_with_stamp()?;
        let limit = self.layout().params().prefetch_max_size;
        if let Some(pack) = &mut pack {
            pack.compare(self, stamp);
        }
        let mut used = UsedLibraries { lib_dir: if_settled(stamp), ..UsedLibraries::default() };
        let pack = pack.as_ref();
        // A pack that is right has all that is there and fits.
        let signatures: Vec<&str> = match pack.filter(|pack| pack.is_fresh()) {
            Some(pack) => pack.frame.entries.iter().map(String::as_str).collect(),
            None => list.signatures().collect(),
        };
        let mut size = 0;
        for signature in signatures {
            let mut keep = |signature: &str, library: Vec<u8>, stamp: FileStamp| {
                size += library.len() as u64;
                used.stamps.insert(signature.to_owned(), if_settled(stamp));
                used.files.insert(signature.to_owned(), library);
            };
            // What is missing, damaged or stale is a miss of the call that needs it.
            let entry = self.lookup_packed(lib_dir.clone(), signature, pack, &mut keep);
            if let Ok(Lookup::Hit(entry)) = entry {
                used.entries.push((signature.to_owned(), entry));
            }
            if size > limit {
                break;
            }
        }
        used.is_packed = pack.is_some_and(|pack| pack.is_fresh() && pack.is_all(&used.files));
        Ok(used)
    }

    /// Packs the entries of the list of a program. Writes nothing into a frozen cache, or if all of it was
    /// changed a moment ago. Returns whether it has written.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if the pack cannot be written.
    pub fn pack_run(&self, key: &RunKey) -> Result<bool> {
        if self.layout().params().frozen {
            return Ok(false);
        }
        let Some(list) = self.list_file(key) else { return Ok(false) };
        // Before the headers are looked at.
        let include_dir =
            FileStamp::of(&self.layout().dir(Category::Inc)).map(if_settled).unwrap_or_default();
        let used = self.read_used(&UsedEntries::read(&list), self.run_pack(key))?;
        let limit = self.layout().params().prefetch_max_size;
        let (lib_dir, none) = (used.lib_dir, FileStamp::default());
        let mut frame = PackFrame { list, limit, lib_dir, include_dir, ..PackFrame::default() };
        let (mut packed, mut size) = (HashSet::new(), 0);
        for (signature, entry) in used.entries {
            let new = entry.libs.into_iter().filter(|lib| !packed.contains(&lib.signature));
            let new: Vec<String> = new.map(|lib| lib.signature).collect();
            let length = |signature: &String| used.files.get(signature).map_or(0, |file| file.len() as u64);
            let more: u64 = new.iter().map(length).sum();
            if size + more > limit {
                continue;
            }
            size += more;
            packed.extend(new.iter().cloned());
            frame.order.extend(new);
            frame.entries.push(signature);
        }
        for signature in &frame.order {
            let Some(file) = used.files.get(signature) else { return Ok(false) };
            let Ok(record) = record::open_to_load(file, signature) else { return Ok(false) };
            frame.has_headers |= record.header.is_some();
            let stamp = used.stamps.get(signature).copied().unwrap_or_default();
            let packed = PackedFile { stamp, digest: record::digest_of(file), place: 0..file.len() };
            frame.files.insert(signature.clone(), packed);
        }
        if frame.files.values().all(|file| file.stamp == none) {
            return Ok(false);
        }
        let Some(tree) = self.open()? else { return Ok(false) };
        let path = self.layout().run_pack(key.digits());
        let failed = |error| cannot("cannot write", &path, &error);
        tree.enter(&self.layout().runs(), true).map_err(failed)?;
        let content = run_pack::encode(&frame, used.files);
        tree.replace_atomic(&path, &content, FILE_MODE, Durability::Volatile).map_err(failed)?;
        Ok(true)
    }

    /// Returns the lists and packs that are damaged or of another version, which nothing reads.
    pub(super) fn damaged_lists(&self, tree: &Tree) -> Vec<PathBuf> {
        let dir = self.layout().runs();
        let names = tree.list(&dir).unwrap_or_default();
        let own = names.iter().filter_map(|name| name.to_str()).filter(|name| is_own(name));
        let is_damaged = |name: &&str| {
            let (most, is_whole): (_, fn(&[u8]) -> bool) =
                if is_list(name) { (LONGEST, runs::is_whole) } else { (u64::MAX, run_pack::is_whole) };
            tree.read(&dir.join(name), most).is_ok_and(|file| file.is_some_and(|file| !is_whole(&file)))
        };
        own.filter(is_damaged).map(|name| dir.join(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::gc::Limits;
    use crate::cache::integrity::{FindingKind, RepairMode};
    use crate::cache::tests::cache;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn a_damaged_pack_is_found_and_any_pack_is_evicted() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        cache.ensure_dirs().unwrap();
        fs::create_dir(cache.layout().runs()).unwrap();
        let key = RunKey::new(b"program", &[1; 32]);
        let pack = cache.layout().run_pack(key.digits());
        fs::write(&pack, "damaged").unwrap();
        assert!(cache.run_pack(&key).is_none());
        let found = cache.check(&[], RepairMode::Off, &|_, _| {}).unwrap();
        let kinds: Vec<_> =
            found.findings.iter().map(|finding| (finding.what, finding.path.clone())).collect();
        assert_eq!(kinds, [(FindingKind::Leftover, pack.clone())]);
        let limits =
            Limits { max_size: Some(0), max_age: None, min_idle: Duration::ZERO, dry_run: false, only: None };
        let done = cache.evict(&limits, Duration::from_secs(10)).unwrap();
        assert!(done.removed.iter().any(|removed| removed.path == pack) && !pack.exists(), "{done:?}");
    }
}
