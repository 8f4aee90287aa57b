//! Checks that a file is a shared library that a dynamic loader can map without reading past its end.
//!
//! The loader trusts the headers of a file. If a segment is not in the file, the host program dies of a
//! signal at the first access to it, in every run. So only libraries that pass this check are published,
//! received or imported.

#![forbid(unsafe_code)]

use object::elf::{
    DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_FLAGS_1, DT_GNU_HASH, DT_HASH, DT_INIT_ARRAY, DT_INIT_ARRAYSZ,
    DT_JMPREL, DT_NULL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELASZ, DT_RELSZ, DT_STRSZ, DT_STRTAB, DT_SYMTAB,
    DT_VERNEED, DT_VERSYM, DynamicTag, ET_CORE, ET_DYN, ET_EXEC, ET_REL, FileHeader32, FileHeader64,
    PT_DYNAMIC, PT_LOAD, SHT_NOBITS,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind};

/// Checks that `image` is a complete shared library, of any machine.
///
/// # Errors
/// The reason, as a sentence about "it".
pub fn check(image: &[u8]) -> Result<(), String> {
    match FileKind::parse(image) {
        Ok(FileKind::Elf64) => check_as::<FileHeader64<Endianness>>(image).map(drop),
        Ok(FileKind::Elf32) => check_as::<FileHeader32<Endianness>>(image).map(drop),
        _ if image.is_empty() => Err("it is empty".to_owned()),
        _ => Err("it is not an ELF file".to_owned()),
    }
}

/// Checks that `image` is a complete shared library that the loader of this machine accepts.
///
/// # Errors
/// The reason, as a sentence about "it".
pub fn check_native(image: &[u8]) -> Result<(), String> {
    check(image)?;
    // Class and byte order follow the magic number.
    let class = if cfg!(target_pointer_width = "64") { 2 } else { 1 };
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    let (machine, native) = (machine_of(image), native_machine());
    let foreign =
        image.get(4..6) != Some(&[class, order][..]) || native.is_some_and(|native| machine != Some(native));
    if foreign {
        let machine = machine.unwrap_or_default();
        let arch = std::env::consts::ARCH;
        return Err(format!("it is for another kind of machine than this {arch} (ELF machine {machine})"));
    }
    Ok(())
}

fn machine_of(image: &[u8]) -> Option<u16> {
    let bytes = image.get(18..20)?.try_into().ok()?;
    Some(if image[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

/// Returns the ELF number of this kind of machine, if it is in this table.
fn native_machine() -> Option<u16> {
    Some(match std::env::consts::ARCH {
        "x86" => 3,
        "powerpc64" => 21,
        "s390x" => 22,
        "arm" => 40,
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        "loongarch64" => 258,
        _ => return None,
    })
}

fn check_as<E: FileHeader<Endian = Endianness>>(image: &[u8]) -> Result<(), String> {
    let damaged = |what: &'static str| move |_: object::Error| format!("it is cut short or damaged: {what}");
    let header = E::parse(image).map_err(damaged("its header"))?;
    let endian = header.endian().map_err(damaged("its header"))?;
    match header.e_type(endian) {
        ET_DYN => {}
        ET_REL => {
            return Err("it is an object file and not a shared library: is -c among the flags?".to_owned());
        }
        ET_EXEC => return Err("it is a program and not a shared library: is -shared missing?".to_owned()),
        ET_CORE => return Err("it is a core dump and not a shared library".to_owned()),
        other => return Err(format!("it is no shared library, but an ELF file of type {}", other.0)),
    }
    let length = image.len() as u64;
    let in_file = |what: &str, at: u64, size: u64| {
        let end = at.saturating_add(size);
        if end <= length {
            return Ok(());
        }
        Err(format!("it is cut short: it has {length} bytes, and {what} ends at {end}"))
    };
    let segments = header.program_headers(endian, image).map_err(damaged("its program headers"))?;
    for segment in segments {
        let (at, size) = segment.file_range(endian);
        in_file("a segment", at, size)?;
        if segment.p_type(endian) == PT_LOAD && size > segment.p_memsz(endian).into() {
            return Err("it is damaged: a segment is larger in the file than in memory".to_owned());
        }
    }
    // Linkers write sections last. Some omit them.
    let sections = header.section_headers(endian, image).map_err(damaged("its section headers"))?;
    for section in sections.iter().filter(|section| section.sh_type(endian) != SHT_NOBITS) {
        in_file("a section", section.sh_offset(endian).into(), section.sh_size(endian).into())?;
    }
    check_dynamic::<E>(segments, endian, image)
}

/// Checks that the tables of the dynamic section are in the file.
fn check_dynamic<E: FileHeader<Endian = Endianness>>(
    segments: &[E::ProgramHeader],
    endian: Endianness,
    image: &[u8],
) -> Result<(), String> {
    // Each table with the tag of its size, if there is one.
    const TABLES: [(DynamicTag, Option<DynamicTag>); 11] = [
        (DT_STRTAB, Some(DT_STRSZ)),
        (DT_SYMTAB, None),
        (DT_RELA, Some(DT_RELASZ)),
        (DT_REL, Some(DT_RELSZ)),
        (DT_JMPREL, Some(DT_PLTRELSZ)),
        (DT_INIT_ARRAY, Some(DT_INIT_ARRAYSZ)),
        (DT_FINI_ARRAY, Some(DT_FINI_ARRAYSZ)),
        (DT_HASH, None),
        (DT_GNU_HASH, None),
        (DT_VERSYM, None),
        (DT_VERNEED, None),
    ];
    /// `DF_1_PIE`: a position-independent program, which has the file type of a library.
    const PIE: u64 = 0x0800_0000;
    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC);
    let dynamic = dynamic.ok_or("it is no shared library: it has no dynamic section")?;
    let entries = dynamic.dynamic(endian, image).ok().flatten().unwrap_or_default();
    let Some(end) = entries.iter().position(|entry| entry.tag(endian) == DT_NULL) else {
        return Err("it is damaged: its dynamic section has no end".to_owned());
    };
    let value = |tag: DynamicTag| {
        entries[..end].iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian))
    };
    let mapped = |at: u64, size: u64| {
        segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).any(|segment| {
            let start: u64 = segment.p_vaddr(endian).into();
            let held: u64 = segment.p_filesz(endian).into();
            at >= start && (at - start).checked_add(size).is_some_and(|end| end <= held)
        })
    };
    let own: u64 = dynamic.p_vaddr(endian).into();
    if !mapped(own, dynamic.p_filesz(endian).into()) {
        return Err("it is damaged: its dynamic section is in no segment that is loaded".to_owned());
    }
    for (tag, size) in TABLES {
        let Some(at) = value(tag) else { continue };
        let size = size.and_then(value).unwrap_or(1);
        if size > 0 && !mapped(at, size) {
            return Err(format!(
                "it is damaged: a table of its dynamic section (tag {}) is not in it",
                tag.0
            ));
        }
    }
    if value(DT_FLAGS_1).is_some_and(|flags| flags & PIE != 0) {
        return Err("it is a program and not a shared library: is -shared missing?".to_owned());
    }
    for needed in [DT_STRTAB, DT_SYMTAB] {
        if value(needed).is_none() {
            return Err("it is damaged: its dynamic section names no symbols".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::super::tests::real_library;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_complete_library_passes_and_a_truncated_one_does_not() {
        for complete in [real_library().to_vec(), sample(b"")] {
            assert_eq!(check_native(&complete), Ok(()));
            for end in [
                0,
                4,
                63,
                100,
                4096,
                complete.len() / 2,
                complete.len().saturating_sub(3000),
                complete.len() - 1,
            ] {
                let end = end.min(complete.len() - 1);
                assert!(check(&complete[..end]).is_err(), "{end} of {}", complete.len());
            }
        }
        assert_eq!(check_native(&sample(b"the loader does not read this")), Ok(()));
    }

    #[test]
    fn other_files_are_told_apart() {
        let says = |image: &[u8], text: &str| {
            let reason = check_native(image).unwrap_err();
            assert!(reason.contains(text), "{text}: {reason}");
        };
        says(b"", "empty");
        says(b"int main;\n", "not an ELF file");
        let with_type = |kind: u8| {
            let mut image = sample(b"");
            image[16] = kind;
            image
        };
        says(&with_type(1), "-c");
        says(&with_type(2), "-shared");
        let mut other = sample(b"");
        other[18] ^= 1;
        assert_eq!(check(&other), Ok(()), "a complete library of another machine");
        says(&other, "another kind of machine");
        // The second program header describes the dynamic section.
        let mut none = sample(b"");
        none[64 + 56] = 4;
        says(&none, "no dynamic section");
    }

    proptest! {
        #[test]
        fn damaged_headers_do_not_panic(
            at in 0..1024_usize,
            bit in 0..8_u8,
            end in any::<prop::sample::Index>(),
        ) {
            let mut data = real_library().to_vec();
            data[at] ^= 1 << bit;
            let _ = check_native(&data);
            data.truncate(end.index(data.len()));
            let _ = check_native(&data);
        }
    }
}
