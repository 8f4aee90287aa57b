//! Reads shared libraries by their ELF headers. Runs neither them nor the dynamic loader.

#![forbid(unsafe_code)]

mod check;
#[cfg(test)]
pub(crate) mod sample;
mod search;
mod symbols;

use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, FileHeader64};
use object::read::elf::ElfFile;
use object::{Endianness, Object};

use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, LONGEST_LIBRARY};

pub use check::{check, check_native};
pub use symbols::explain_missing;

/// The dynamic section of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicInfo {
    /// The name by which other libraries need it; empty if it has none.
    pub soname: String,
    /// Directories in which the loader searches needed libraries, in this order: DT_RUNPATH, or DT_RPATH
    /// without that.
    pub runpath: Vec<String>,
    /// The identifier that the linker gave to this build, in hexadecimal digits; empty if there is none.
    pub build_id: String,
    /// The needed libraries, in the order of the file.
    pub needed: Vec<Needed>,
}

/// A library that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The name in the file.
    pub name: String,
    /// The path at which the loader would find it now, by the file, `LD_LIBRARY_PATH` and the loader's cache.
    pub path: Option<PathBuf>,
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(
        Kind::Cache,
        format!("{} is not a shared library of this kind of machine: {reason}", path.display()),
    )
}

/// Reads a library and finds the ones that it needs.
///
/// # Errors
/// [`Kind::Cache`] if it cannot be read or is not a 64-bit ELF file.
pub fn read(path: &Path) -> Result<DynamicInfo> {
    // The owner of the file does not matter, because nothing in it is run.
    let data = fsutil::read_plain(path, LONGEST_LIBRARY)
        .map_err(|error| Error::file("cannot read", path, &error))?;
    let mut info = parse(&data).map_err(|reason| damaged(path, &reason))?;
    let search = search::Search::new(path, &info.runpath);
    for needed in &mut info.needed {
        needed.path = search.find(&needed.name);
    }
    Ok(info)
}

/// Returns the dynamic loader that a program names.
#[must_use]
pub fn interpreter(program: &Path) -> Option<PathBuf> {
    use object::read::elf::{FileHeader, ProgramHeader};
    use std::io::Read;
    // Its name is near the beginning; the rest may be large.
    let mut head = Vec::new();
    std::fs::File::open(program).ok()?.take(1 << 16).read_to_end(&mut head).ok()?;
    let header = FileHeader64::<Endianness>::parse(&*head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &*head).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, &*head).ok().flatten())?;
    Some(PathBuf::from(std::str::from_utf8(path).ok()?))
}

/// Parses a library, without the paths of needed ones.
fn parse(data: &[u8]) -> std::result::Result<DynamicInfo, String> {
    let damaged = |error: object::Error| error.to_string();
    let file = ElfFile::<FileHeader64<Endianness>>::parse(data).map_err(damaged)?;
    let dynamic = file.elf_section_table().dynamic_table(file.endian(), data).map_err(damaged)?;
    if dynamic.is_empty() {
        return Err("it has no dynamic section".to_owned());
    }
    let mut info = DynamicInfo {
        build_id: file.build_id().ok().flatten().map(crate::codec::hex).unwrap_or_default(),
        ..DynamicInfo::default()
    };
    let (mut rpath, mut runpath) = (None, None);
    for entry in &dynamic {
        let text = || dynamic.string(entry).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag {
            DT_NEEDED => info.needed.push(Needed { name: text().map_err(damaged)?, path: None }),
            DT_SONAME => info.soname = text().map_err(damaged)?,
            DT_RPATH => rpath = Some(text().map_err(damaged)?),
            DT_RUNPATH => runpath = Some(text().map_err(damaged)?),
            _ => {}
        }
    }
    let path = runpath.or(rpath).unwrap_or_default();
    info.runpath = path.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_c_library_of_this_program_is_found() {
        let info = read(&std::env::current_exe().unwrap()).unwrap();
        let libc = info.needed.iter().find(|needed| needed.name == "libc.so.6").unwrap();
        let path = libc.path.as_ref().unwrap();
        assert!(path.is_absolute() && path.ends_with("libc.so.6"), "{}", path.display());
        let info = read(path).unwrap();
        assert_eq!(info.soname, "libc.so.6");
        assert!(info.build_id.len() >= 16, "{}", info.build_id);
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
    fn a_device_or_fifo_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [Path::new("/dev/zero"), &path] {
            let error = read(path).unwrap_err();
            assert!(error.kind() == Kind::Cache && error.message().contains("not a plain file"), "{error}");
        }
    }

    pub(super) fn real_library() -> &'static [u8] {
        static LIBRARY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        LIBRARY.get_or_init(|| {
            let search = search::Search::new(Path::new("/proc/self/exe"), &[]);
            std::fs::read(search.find("libgcc_s.so.1").unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_damaged_library_does_not_panic(
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
            end in any::<prop::sample::Index>(),
        ) {
            let mut data = real_library().to_vec();
            // Damages the headers and any other part with equal probability.
            let at = at.index(2 * data.len());
            let at = if at < data.len() { at } else { at % 1024 };
            data[at] ^= 1 << bit;
            let _ = parse(&data);
            data.truncate(end.index(data.len()));
            let _ = parse(&data);
        }
    }
}
