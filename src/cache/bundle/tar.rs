//! The part of the tar format that a bundle needs, to the byte: a reader makes the headers that it expects
//! and compares. So links, devices, sparse files and other names cannot trick it.
//!
//! ```text
//! member  := [ long ] header contents zeros up to a multiple of 512
//! long    := header of "././@LongLink" of type L  name  zero bytes          for names over 100 bytes (GNU)
//! header  := 512 bytes: name, mode, owner 0, time 0, size, checksum, type 0
//! end     := 1024 zeros
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// The longest name that a header holds.
const NAME: usize = 100;

/// Makes the headers before the contents of a member.
pub(super) fn front(name: &str, size: u64, mode: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if name.len() > NAME {
        bytes.extend(header("././@LongLink", name.len() as u64 + 1, 0o644, b'L'));
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend(header(name, size, mode, b'0'));
    bytes
}

/// Makes the zeros after the contents of a member.
pub(super) fn padding(size: u64) -> Vec<u8> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    vec![0; (BLOCK - over) % BLOCK]
}

/// The end of a file.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn header(name: &str, size: u64, mode: u32, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(NAME)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // Larger than eleven octal digits: a binary number, as GNU tar writes it.
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads the size from the header of the first member; `None` if that has another name.
pub(super) fn first_size(from: &mut impl Read, name: &str, mode: u32) -> io::Result<Option<u64>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    let digits = std::str::from_utf8(&block[124..135]).ok();
    let size = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok());
    Ok(size.filter(|size| header(name, *size, mode, b'0') == block))
}

/// Returns true if exactly these bytes come next.
pub(super) fn expect(from: &mut impl Read, bytes: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; bytes.len()];
    from.read_exact(&mut found)?;
    Ok(found == bytes)
}

/// Writes a member.
pub(super) fn write(to: &mut dyn Write, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    to.write_all(&front(name, data.len() as u64, mode))?;
    to.write_all(data)?;
    to.write_all(&padding(data.len() as u64))
}
