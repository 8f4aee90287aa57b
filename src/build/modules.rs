//! Compiled modules of a language, such as the `.mod` files of Fortran: a library offers them to its
//! dependants.
//!
//! A compiler finds a module by the name of its file, which is not that of an entry. So the modules of an
//! entry are its header, if `generate` gives none, and are unpacked into the folder of each build that
//! depends on it.
//!
//! ```text
//! header  = "dijitso modules 1\n" *module
//! module  = name "\n" size "\n" bytes      name of the file, and size in decimal
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::fsutil::{self, LONGEST_LIST};
use crate::language::Language;

use super::Job;

const MAGIC: &[u8] = b"dijitso modules 1\n";

/// Contents of files, by name.
pub type Modules = BTreeMap<String, Vec<u8>>;

/// Returns true if a language of this name has modules.
#[must_use]
pub fn has_modules(language: &str) -> bool {
    Language::named(language).is_some_and(|language| !language.module_suffix.is_empty())
}

/// Returns the header that carries these modules; `None` if there are none.
#[must_use]
pub fn encode(modules: &Modules) -> Option<Vec<u8>> {
    if modules.is_empty() {
        return None;
    }
    let mut header = MAGIC.to_vec();
    for (name, data) in modules {
        header.extend_from_slice(format!("{name}\n{}\n", data.len()).as_bytes());
        header.extend_from_slice(data);
    }
    Some(header)
}

/// Returns true if a header carries modules, and is no text.
#[must_use]
pub fn is_encoded(header: &[u8]) -> bool {
    header.starts_with(MAGIC)
}

/// Returns the modules that a header carries; none if it is a text, or damaged.
fn decode(header: &[u8], suffix: &str) -> Modules {
    let mut modules = Modules::new();
    let Some(mut rest) = header.strip_prefix(MAGIC) else { return modules };
    while let Some((name, data, behind)) = first(rest) {
        if is_module(name, suffix) {
            modules.insert(name.to_owned(), data.to_vec());
        }
        rest = behind;
    }
    modules
}

/// Splits off the first module: its name, its contents and what follows.
fn first(text: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let line = |text: &'_ [u8]| text.iter().position(|byte| *byte == b'\n');
    let (name, rest) = text.split_at_checked(line(text)?)?;
    let rest = &rest[1..];
    let (size, rest) = rest.split_at_checked(line(rest)?)?;
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    let (data, behind) = rest[1..].split_at_checked(size)?;
    Some((std::str::from_utf8(name).ok()?, data, behind))
}

/// Returns true if this is the name of a module's file, and no path.
fn is_module(name: &str, suffix: &str) -> bool {
    let stem = name.strip_suffix(suffix).unwrap_or_default();
    !stem.is_empty()
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@' | b'$'))
}

/// Returns the modules of the libraries that a build depends on.
fn of_dependencies(job: &Job<'_>) -> Modules {
    let suffix = job.params.language.module_suffix;
    if suffix.is_empty() {
        return Modules::new();
    }
    if let Some(copies) = &job.copies {
        return copies.headers.iter().flat_map(|(_, header)| decode(header, suffix)).collect();
    }
    let headers = job.repro_files.iter().filter(|file| file.starts_with(job.cache_dirs.0));
    let headers = headers.filter_map(|file| fsutil::read_plain(file, LONGEST_LIST).ok());
    headers.flat_map(|header| decode(&header, suffix)).collect()
}

/// Writes the modules of the dependencies into the folder of a build, in which compilers look first.
pub(super) fn unpack(job: &Job<'_>, dir: &Path) -> io::Result<()> {
    of_dependencies(job).iter().try_for_each(|(name, data)| fsutil::write(&dir.join(name), data))
}

/// Returns the modules that a compiler has written into the folder of a build.
pub(super) fn written(job: &Job<'_>, dir: &Path) -> Modules {
    let suffix = job.params.language.module_suffix;
    let Some(files) = fs::read_dir(dir).ok().filter(|_| !suffix.is_empty()) else { return Modules::new() };
    let known = of_dependencies(job);
    let modules = files.filter_map(|file| {
        let name = file.ok()?.file_name().into_string().ok().filter(|name| is_module(name, suffix))?;
        let data = fsutil::read_plain(&dir.join(&name), LONGEST_LIST).ok()?;
        (known.get(&name) != Some(&data)).then_some((name, data))
    });
    modules.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_packed_and_unpacked() {
        let modules = Modules::from([
            ("mesh.mod".to_owned(), b"\x1f\x8b\n7\n".to_vec()),
            ("empty_one.mod".to_owned(), Vec::new()),
        ]);
        let header = encode(&modules).unwrap();
        assert_eq!(decode(&header, ".mod"), modules);
        assert_eq!(encode(&Modules::new()), None);
    }

    #[test]
    fn texts_damage_and_paths_give_no_modules() {
        let names = |header: &[u8]| decode(header, ".mod").into_keys().collect::<Vec<_>>();
        let none: [&str; 0] = [];
        assert_eq!(names(b"double f(double);\n"), none);
        for path in ["../a.mod", "/a.mod", "a/b.mod", ".mod", "a.h", "a b.mod"] {
            let header = encode(&Modules::from([(path.to_owned(), b"x".to_vec())])).unwrap();
            assert_eq!(names(&header), none, "{path}");
        }
        let whole = encode(&Modules::from([("a.mod".to_owned(), b"contents".to_vec())])).unwrap();
        for length in 0..whole.len() {
            assert_eq!(names(&whole[..length]), none, "{length}");
        }
        assert_eq!(names(&[MAGIC, b"a.mod\n99999999999999999999999\nx"].concat()), none);
    }
}
