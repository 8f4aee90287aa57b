//! The libraries that this process has read and verified, by the state of their files. A library that many
//! others are linked to is read once.
//!
//! A file counts as the same if its device, inode, size and times are. No program can set the time of the last
//! change, so every change shows, unless it comes within the same tick of the file system's clock. So only
//! files are remembered that were older than that when they were read.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::codec::Digest32;
use crate::fsutil::{FileState, untrusted_state};
use crate::sync::lock;

use super::record::LoadRecord;

/// A library whose bytes match their digest.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The digest in its footer.
    pub(super) digest: Digest32,
    /// Its record.
    pub(super) record: Arc<LoadRecord>,
}

struct VerifiedFile {
    state: FileState,
    known: Known,
    /// A time at which the entry is known to have been used, as its file in `atime/` says.
    used: Option<Instant>,
}

/// The number of libraries that are remembered. If there are more, all are forgotten: a program that asks for
/// so many has few that others are linked to.
const MOST: usize = 4096;

static VERIFIED: LazyLock<Mutex<HashMap<OsString, VerifiedFile, FixedState>>> = LazyLock::new(Mutex::default);

/// Returns the library at a path if it is the one that was verified, in a file that only this user and root
/// can have written. Makes no system call if there is none.
pub(super) fn recall(path: &Path) -> Option<Known> {
    let (state, known) = {
        let verified = lock(&VERIFIED);
        let entry = verified.get(path.as_os_str())?;
        (entry.state, entry.known.clone())
    };
    // Not under the lock: a network disk may be slow. Its server is asked.
    let now = FileState::now(path).ok()?;
    (now == state && untrusted_state(&now).is_none()).then_some(known)
}

/// Remembers a verified library. `state` is that of the open file, before it was read.
pub(super) fn remember(path: &Path, state: FileState, known: &Known) {
    if !state.stamp.is_settled() {
        return;
    }
    let mut verified = lock(&VERIFIED);
    if verified.len() >= MOST {
        verified.clear();
    }
    verified.insert(path.as_os_str().to_owned(), VerifiedFile { state, known: known.clone(), used: None });
}

/// Returns true if the library at a path was used less than `interval` ago, as far as this process knows.
pub(super) fn is_used_since(path: &Path, interval: Duration) -> bool {
    let verified = lock(&VERIFIED);
    let used = verified.get(path.as_os_str()).and_then(|entry| entry.used);
    used.is_some_and(|used| used.elapsed() < interval)
}

/// Remembers that the library at a path was used at this time.
pub(super) fn set_used(path: &Path, at: Instant) {
    if let Some(entry) = lock(&VERIFIED).get_mut(path.as_os_str()) {
        entry.used = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::thread::sleep;

    use super::*;
    use crate::cache::tests::{cache, entry};
    use crate::cache::{Lookup, Verify};
    use crate::fsutil::faults::watch;

    /// An element that 24 forms are linked to is read once, and every change of its file is noticed.
    #[test]
    fn a_library_that_many_others_are_linked_to_is_read_once() {
        const FORMS: usize = 24;
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let form = |number: usize| format!("form{number}");
        for number in 0..FORMS {
            assert!(cache.publish(&entry(&form(number), &["element"], "")).unwrap());
        }
        assert!(cache.publish(&entry("element", &[], "")).unwrap());
        let element = cache.layout().lib("element");
        let is_hit = |number| match cache.lookup(&form(number), Verify::ForLoad).unwrap() {
            Lookup::Hit(libraries) => {
                assert_eq!(libraries.len(), 2);
                true
            }
            _ => false,
        };
        assert!(is_hit(0));
        assert!(recall(&element).is_none(), "it could change within the same tick of the clock");

        sleep(Duration::from_millis(2100));
        let (hits, reads) = watch(dir.path(), || (0..FORMS).filter(|number| is_hit(*number)).count());
        assert_eq!((hits, reads), (FORMS, FORMS + 1));
        let (hits, reads) = watch(dir.path(), || (0..FORMS).filter(|number| is_hit(*number)).count());
        assert_eq!((hits, reads), (FORMS, 0));

        // Damage that keeps size, inode and the time that programs can set.
        let (bytes, facts) = (fs::read(&element).unwrap(), fs::metadata(&element).unwrap());
        let mut altered = bytes.clone();
        altered[0] ^= 1;
        fs::write(&element, &altered).unwrap();
        fs::File::open(&element).unwrap().set_modified(facts.modified().unwrap()).unwrap();
        let now = fs::metadata(&element).unwrap();
        assert_eq!((now.ino(), now.mtime_nsec()), (facts.ino(), facts.mtime_nsec()));
        assert!(!is_hit(1), "it is altered");
        fs::write(&element, &bytes).unwrap();
        assert!(is_hit(1), "it is the same again");

        fs::set_permissions(&element, fs::Permissions::from_mode(0o722)).unwrap();
        assert!(cache.lookup(&form(1), Verify::ForLoad).is_err(), "others can write it");
        fs::remove_file(&element).unwrap();
        assert!(!is_hit(1), "it is gone");
        std::os::unix::fs::symlink(cache.layout().lib("form2"), &element).unwrap();
        assert!(cache.lookup(&form(1), Verify::ForLoad).is_err(), "it is a link");
    }

    /// Each use is noted at most once within the interval, and without a system call if this process knows.
    #[test]
    fn the_use_of_a_known_library_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        assert!(cache.publish(&entry("a", &[], "")).unwrap());
        let path = cache.layout().lib("a");
        assert!(!is_used_since(&path, Duration::from_secs(3600)), "it is not known");
        sleep(Duration::from_millis(2100));
        assert!(matches!(cache.lookup("a", Verify::ForLoad).unwrap(), Lookup::Hit(_)));
        cache.note_use("a", Duration::from_secs(3600));
        assert!(is_used_since(&path, Duration::from_secs(3600)));
        assert!(!is_used_since(&path, Duration::ZERO));
        assert!(cache.layout().atime("a").exists());
    }
}
