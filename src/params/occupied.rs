//! A cache directory that Python dijitso uses.
//!
//! Both have the same default, the same variable and the same config file. In a directory without its mark this
//! library changes nothing, and it refuses one that the group can write, as Python dijitso makes it under umask
//! 002. Neither stops a program that has named no directory itself: another one is used.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Once;

use super::environment::is_another_rank;

/// Names in a cache of Python dijitso. It makes both directories before the first library, and never removes
/// them.
const NAMES: [&str; 2] = ["lib", "src"];

/// The mark of a cache of this library.
const MARK: &str = "CACHEDIR.TAG";

/// Returns the directory to use if `dir` is the cache of Python dijitso: the one beside the default directory, or
/// one in the directory that the user has named. Says so once in a process, and on the first rank alone.
pub(super) fn instead_of(dir: &str, is_default: bool) -> Option<String> {
    if !is_foreign(Path::new(dir)) {
        return None;
    }
    // A user may not be allowed to write beside a directory; in one that the group can write, libraries are
    // loaded from copies.
    let other = if is_default { format!("{dir}-libraries") } else { format!("{dir}/libraries") };
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        if !is_another_rank() {
            log::warn!(
                "{dir} is the cache of Python dijitso, so libraries are kept in {other}; to use another directory, \
                 set DIJITSO_CACHE_DIR"
            );
        }
    });
    Some(other)
}

/// A cache of this library has its mark before anything else is in it.
fn is_foreign(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).symlink_metadata().is_ok();
    // Twice: another process may have made the cache between the first look and the second.
    !has(MARK) && NAMES.into_iter().all(has) && !has(MARK)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_cache_of_python_dijitso_is_left_alone() {
        let work = tempfile::tempdir().unwrap();
        let dir = work.path().join("dijitso");
        let name = dir.to_str().unwrap();
        assert_eq!(instead_of(name, true), None, "it is not there");
        fs::create_dir(&dir).unwrap();
        assert_eq!(instead_of(name, true), None, "it is empty");
        for name in NAMES {
            fs::create_dir(dir.join(name)).unwrap();
        }
        assert_eq!(instead_of(name, true), Some(format!("{name}-libraries")));
        assert_eq!(instead_of(name, false), Some(format!("{name}/libraries")));
        fs::write(dir.join(MARK), "").unwrap();
        assert_eq!(instead_of(name, true), None, "it is a cache of this library");
    }
}
