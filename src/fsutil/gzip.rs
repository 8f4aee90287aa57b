//! Gzip, in memory.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use flate2::{Compression, write::GzEncoder};

/// `data` as a gzip file. Equal input gives equal output: no time, no name.
#[must_use]
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// Unpacks a gzip file, part by part; gives the number of bytes.
///
/// # Errors
/// If it is not one, is cut short or damaged, or has more than `longest` bytes in it; those of `take`.
pub fn gunzip_parts(
    data: &[u8],
    longest: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    // What others write may consist of several members.
    let mut decoder = flate2::read::MultiGzDecoder::new(data);
    let mut part = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let count = decoder.read(&mut part)?;
        if count == 0 {
            return Ok(total);
        }
        total += count as u64;
        if total > longest {
            let text = format!("more than {longest} bytes are in it, which is not allowed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        take(&part[..count])?;
    }
}

/// Unpacks a gzip file of at most `longest` bytes.
///
/// # Errors
/// As [`gunzip_parts`]; if there is not enough memory.
pub fn gunzip(data: &[u8], longest: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    gunzip_parts(data, longest, |part| {
        plain.try_reserve(part.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        plain.extend_from_slice(part);
        Ok(())
    })?;
    Ok(plain)
}
