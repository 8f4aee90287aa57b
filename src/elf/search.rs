//! Finds a needed library as the dynamic loader would: a name with a slash is a path; any other name is
//! searched in `LD_LIBRARY_PATH`, the directories of the file that needs it, the loader's cache, and the
//! directories of the system.
//!
//! ```text
//! cache := [ old part ] "glibc-ld.so.cache1.1" u32 count  u32 length of strings  20 bytes  entry*  strings
//! entry := i32 flags  u32 offset of name  u32 offset of path  u32  u64     offset: from the beginning of "glibc-ld..."
//! ```

#![forbid(unsafe_code)]

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fsutil::{self, LONGEST_LIST};

const CACHE: &str = "/etc/ld.so.cache";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const SYSTEM: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The search paths of one library.
pub(super) struct Search {
    origin: PathBuf,
    dirs: Vec<PathBuf>,
    cache: Vec<u8>,
}

impl Search {
    /// Makes the search for the libraries that the one at `path` needs. `runpath` has the directories that it
    /// names.
    pub(super) fn new(path: &Path, runpath: &[String]) -> Self {
        let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let origin = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let runpath = runpath.iter().map(|dir| expand(dir, &origin));
        let environment = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let environment = std::env::split_paths(&environment).filter(|dir| !dir.as_os_str().is_empty());
        // LD_LIBRARY_PATH comes before DT_RUNPATH.
        let dirs = environment.chain(runpath).collect();
        let cache = fsutil::read_plain(Path::new(CACHE), LONGEST_LIST).unwrap_or_default();
        let start = cache.windows(MAGIC.len()).position(|window| window == MAGIC);
        Self { origin, dirs, cache: start.map_or_else(Vec::new, |start| cache[start..].to_vec()) }
    }

    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            let path = expand(name, &self.origin);
            return path.is_file().then_some(path);
        }
        let in_dirs = || self.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        let in_system = || SYSTEM.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
        in_dirs().or_else(|| self.in_cache(name)).or_else(in_system)
    }

    /// Returns the first 64-bit library of that name in the loader's cache.
    fn in_cache(&self, name: &str) -> Option<PathBuf> {
        let number = |at: usize| {
            let bytes = self.cache.get(at..at.checked_add(4)?)?;
            usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()
        };
        let text = |at: usize| {
            let rest = self.cache.get(at..)?;
            std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()
        };
        let is_64_bit = |path: &Path| {
            let mut head = [0; 5];
            let read = fsutil::open_plain(path).and_then(|(mut file, _)| file.read_exact(&mut head));
            read.is_ok() && head == *b"\x7fELF\x02"
        };
        (0..number(MAGIC.len())?)
            .map(|index| HEADER + index * ENTRY)
            .take_while(|at| at + ENTRY <= self.cache.len())
            .filter(|at| number(at + 4).and_then(text) == Some(name))
            .filter_map(|at| number(at + 8).and_then(text).map(PathBuf::from))
            .find(|path| is_64_bit(path))
    }
}

/// Expands `$ORIGIN`, the directory of the ELF file, in a path that the file names.
fn expand(text: &str, origin: &Path) -> PathBuf {
    let origin = origin.display().to_string();
    PathBuf::from(text.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_one_cache_finds_its_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        let (library, neighbour) = (dir.path().join("a.so"), dir.path().join("b.so"));
        std::fs::write(&library, "").unwrap();
        std::fs::write(&neighbour, "").unwrap();
        let neighbour = std::fs::canonicalize(neighbour).unwrap();
        let search = Search::new(&library, &["$ORIGIN".to_owned()]);
        assert_eq!(search.find("b.so"), Some(neighbour.clone()));
        assert_eq!(search.find("$ORIGIN/b.so"), Some(neighbour));
        assert_eq!(search.find("$ORIGIN/c.so"), None);
        assert_eq!(search.find("libno-such-library.so.99"), None);
    }

    #[test]
    fn a_damaged_cache_of_the_loader_is_empty() {
        for cache in [Vec::new(), MAGIC.to_vec(), [MAGIC, &[255; 60]].concat()] {
            let search = Search { origin: PathBuf::new(), dirs: Vec::new(), cache };
            assert_eq!(search.in_cache("libc.so.6"), None);
        }
    }
}
