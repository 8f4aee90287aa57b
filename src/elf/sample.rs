//! The smallest file that passes for a shared library: the output of compilers in tests that compile nothing.

#![forbid(unsafe_code)]

/// Makes a 64-bit little-endian library of this machine, with `payload` after the part that a loader reads.
pub(crate) fn sample(payload: &[u8]) -> Vec<u8> {
    const HEAD: u64 = 64 + 2 * 56;
    const DYNAMIC: u64 = 4 * 16;
    const SIZE: u64 = HEAD + DYNAMIC + 24 + 8;
    let machine: u64 = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        "loongarch64" => 258,
        other => panic!("tests know no ELF machine of {other}"),
    };
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |size: usize, number: u64| image.extend(&number.to_le_bytes()[..size]);
    // Type, machine, version, entry, program headers, section headers, flags.
    for (size, number) in [(2, 3), (2, machine), (4, 1), (8, 0), (8, 64), (8, 0), (4, 0)] {
        put(size, number);
    }
    // Sizes and numbers of headers.
    [64, 56, 2, 64, 0, 0].into_iter().for_each(|number| put(2, number));
    // Type, flags, offset, addresses, sizes, alignment: the loaded segment, then the dynamic section.
    for (kind, at, size, align) in [(1, 0, SIZE, 4096), (2, HEAD, DYNAMIC, 8)] {
        put(4, kind);
        // Loaders write into the dynamic section.
        put(4, 6);
        [at, at, at, size, size, align].into_iter().for_each(|number| put(8, number));
    }
    // DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_NULL.
    let symbols = HEAD + DYNAMIC;
    [5, symbols + 24, 6, symbols, 10, 8, 0, 0].into_iter().for_each(|number| put(8, number));
    // One symbol and its name, both empty.
    [0; 4].into_iter().for_each(|number| put(8, number));
    image.extend_from_slice(payload);
    image
}
