//! Looking for entries in a cache that other programs change at the same time.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::cache::{Cache, Keep, Lookup, VerifiedEntry, VerifiedLib, Verify};
use crate::error::{Error, Kind, Result};
use crate::fsutil::PathTrust;

/// The most lookups of a call, if eviction takes what it has found.
pub(super) const MAX_LOOKUPS: usize = 3;

/// Returns the verified entry of a signature; `None` also if the entry is damaged.
///
/// A damaged entry stays where it is: the publisher of its successor quarantines it. On a network disk that
/// does not show everything yet, a whole entry may look damaged.
pub(super) fn find(cache: &Cache, signature: &str, verify: Verify) -> Result<Option<VerifiedEntry>> {
    find_in(cache, cache.check_trust()?, signature, verify)
}

/// Does the same as [`find`] for an entry of a batch; see [`Cache::lookup_in`].
pub(super) fn find_in(
    cache: &Cache,
    lib_dir: PathTrust,
    signature: &str,
    verify: Verify,
) -> Result<Option<VerifiedEntry>> {
    Ok(usable(cache, signature, cache.lookup_in(lib_dir, signature, verify)?))
}

/// Does the same as [`find_in`], and gives `keep` the files of the libraries; see [`Cache::lookup_keeping`].
pub(super) fn find_keeping(
    cache: &Cache,
    lib_dir: PathTrust,
    signature: &str,
    verify: Verify,
    keep: Keep<'_>,
) -> Result<Option<VerifiedEntry>> {
    Ok(usable(cache, signature, cache.lookup_keeping(lib_dir, signature, verify, keep)?))
}

/// Returns the entry of a hit. Warns of a damaged one.
fn usable(cache: &Cache, signature: &str, lookup: Lookup) -> Option<VerifiedEntry> {
    match lookup {
        Lookup::Hit(entry) => Some(entry),
        Lookup::Miss => None,
        Lookup::Damaged(damage) => {
            log::warn!("{} will be rebuilt: {}", cache.layout().lib(signature).display(), damage.describe());
            None
        }
    }
}

/// Returns whether the entry is there and verifies; an error counts as no.
pub(super) fn is_present(cache: &Cache, signature: &str, verify: Verify) -> bool {
    matches!(cache.lookup(signature, verify), Ok(Lookup::Hit(..)))
}

/// Returns whether one of the libraries that were found is gone.
pub(super) fn was_evicted(cache: &Cache, order: &[VerifiedLib]) -> bool {
    order.iter().any(|lib| !cache.layout().lib(&lib.signature).exists())
}

/// Returns the first of these entries that is no longer in the cache.
pub(super) fn first_removed(cache: &Cache, signatures: &[String]) -> Option<String> {
    signatures.iter().find(|signature| !is_present(cache, signature, Verify::ForLoad)).cloned()
}

/// The error of an entry that was built or found during a call, and is gone when it is needed.
pub(super) fn removed_error(signature: &str, cache: &Cache) -> Error {
    let text = format!(
        "another program has removed {} during this call (dijitso clean, dijitso gc, rm), and again after \
         it was \
         built anew: call again when that program has ended, or use a cache directory of your own \
         (DIJITSO_CACHE_DIR)",
        cache.layout().lib(signature).display()
    );
    Error::new(Kind::Cache, text)
}

/// The error of a miss that no callback can build.
pub(super) fn no_generator(signature: &str, root: &Path) -> Error {
    let text = format!(
        "{signature} is missing or damaged in the cache {}, and there is no generate callback to build it",
        root.display()
    );
    Error::new(Kind::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::cache::tests::{cache, entry};
    use crate::fsutil::faults::watch;

    /// Libraries of FFC are linked to those of elements, which are the same for many of them.
    #[test]
    fn what_this_process_has_verified_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        assert!(cache.publish(&entry("form", &["element"], "")).unwrap());
        assert!(cache.publish(&entry("element", &[], "")).unwrap());
        sleep(Duration::from_millis(2100));
        for expected in [2, 0] {
            let (found, reads) = watch(dir.path(), || find(&cache, "form", Verify::ForLoad));
            assert_eq!((found.unwrap().map(|entry| entry.libs.len()), reads), (Some(2), expected));
        }
    }
}
