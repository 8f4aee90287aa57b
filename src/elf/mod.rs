//! What a shared library says of itself: read from its ELF headers, never by running it or the dynamic loader.

#![forbid(unsafe_code)]

#[cfg(test)]
pub(crate) mod sample;
mod search;
mod symbols;
mod whole;

use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, FileHeader64};
use object::read::elf::ElfFile;
use object::{Endianness, Object};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, LONGEST_LIBRARY};

pub use symbols::explain_missing;
pub use whole::{check, check_ours};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The name by which others ask for it; empty if it has none.
    pub soname: String,
    /// Directories in which the loader looks for what it needs, in their order (DT_RUNPATH, or DT_RPATH without that).
    pub runpath: Vec<String>,
    /// The identifier that the linker gave this very build, hexadecimal; empty if it has none.
    pub build_id: String,
    /// What it needs, in the order of the file.
    pub needed: Vec<Needed>,
}

/// A library that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// As the file has it.
    pub name: String,
    /// Where the loader would find it now, as far as the file, `LD_LIBRARY_PATH` and the loader's cache tell.
    pub path: Option<PathBuf>,
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(
        Kind::Cache,
        format!("{} is not a shared library of this kind of machine: {reason}", path.display()),
    )
}

/// Reads a library.
///
/// # Errors
/// [`Kind::Cache`] when it cannot be read or is no 64-bit ELF file.
pub fn read(path: &Path) -> Result<Facts> {
    // Any library may be asked for, and nothing of it is run: whose it is does not matter.
    let data = fsutil::read_plain(path, LONGEST_LIBRARY)
        .map_err(|error| Error::file("cannot read", path, &error))?;
    let facts = parse(&data).map_err(|reason| damaged(path, &reason))?;
    let search = search::Search::new(path, &facts.runpath);
    let needed = facts.needed.into_iter().map(|name| Needed { path: search.find(&name), name }).collect();
    Ok(Facts { soname: facts.soname, runpath: facts.runpath, build_id: facts.build_id, needed })
}

/// The dynamic loader that a program names.
#[must_use]
pub fn interpreter(program: &Path) -> Option<PathBuf> {
    use object::read::elf::{FileHeader, ProgramHeader};
    use std::io::Read;
    // It lies at the beginning; the rest may be large.
    let mut head = Vec::new();
    std::fs::File::open(program).ok()?.take(1 << 16).read_to_end(&mut head).ok()?;
    let header = FileHeader64::<Endianness>::parse(&*head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &*head).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, &*head).ok().flatten())?;
    Some(PathBuf::from(std::str::from_utf8(path).ok()?))
}

#[derive(Default)]
struct Headers {
    soname: String,
    runpath: Vec<String>,
    build_id: String,
    needed: Vec<String>,
}

fn parse(data: &[u8]) -> std::result::Result<Headers, String> {
    let unclear = |error: object::Error| error.to_string();
    let file = ElfFile::<FileHeader64<Endianness>>::parse(data).map_err(unclear)?;
    let dynamic = file.elf_section_table().dynamic_table(file.endian(), data).map_err(unclear)?;
    if dynamic.is_empty() {
        return Err("it has no dynamic section".to_owned());
    }
    let mut facts = Headers {
        build_id: file.build_id().ok().flatten().map(crate::codec::hex).unwrap_or_default(),
        ..Headers::default()
    };
    let (mut rpath, mut runpath) = (None, None);
    for entry in &dynamic {
        let text = || dynamic.string(entry).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag {
            DT_NEEDED => facts.needed.push(text().map_err(unclear)?),
            DT_SONAME => facts.soname = text().map_err(unclear)?,
            DT_RPATH => rpath = Some(text().map_err(unclear)?),
            DT_RUNPATH => runpath = Some(text().map_err(unclear)?),
            _ => {}
        }
    }
    let path = runpath.or(rpath).unwrap_or_default();
    facts.runpath = path.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_program_needs_the_c_library_which_is_found() {
        let facts = read(&std::env::current_exe().unwrap()).unwrap();
        let libc = facts.needed.iter().find(|needed| needed.name == "libc.so.6").unwrap();
        let path = libc.path.as_ref().unwrap();
        assert!(path.is_absolute() && path.ends_with("libc.so.6"), "{}", path.display());
        let facts = read(path).unwrap();
        assert_eq!(facts.soname, "libc.so.6");
        assert!(facts.build_id.len() >= 16, "{}", facts.build_id);
    }

    #[test]
    fn this_program_names_its_loader() {
        assert!(interpreter(&std::env::current_exe().unwrap()).unwrap().is_file());
        assert_eq!(interpreter(Path::new("/etc/passwd")), None);
    }

    /// Defect C23 of the original: it ran ldd, and a line that it did not expect was a failed assertion.
    #[test]
    fn c23_what_is_no_library_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.so");
        assert!(read(&path).unwrap_err().message().contains("text.so"));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Cache);
        assert!(error.message().contains("text.so"), "{error}");
    }

    #[test]
    fn what_never_ends_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [Path::new("/dev/zero"), &path] {
            let error = read(path).unwrap_err();
            assert!(error.kind() == Kind::Cache && error.message().contains("not a plain file"), "{error}");
        }
    }

    pub(super) fn whole_library() -> &'static [u8] {
        static LIBRARY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        LIBRARY.get_or_init(|| {
            let search = search::Search::new(Path::new("/proc/self/exe"), &[]);
            std::fs::read(search.find("libgcc_s.so.1").unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_damaged_library_is_refused_or_read_without_a_panic(at in any::<prop::sample::Index>(), bit in 0..8_u8, end in any::<prop::sample::Index>()) {
            let mut data = whole_library().to_vec();
            // Headers come first; what they point to may lie anywhere.
            let at = at.index(2 * data.len());
            let at = if at < data.len() { at } else { at % 1024 };
            data[at] ^= 1 << bit;
            let _ = parse(&data);
            data.truncate(end.index(data.len()));
            let _ = parse(&data);
        }
    }
}
