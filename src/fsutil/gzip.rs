//! Gzip, in memory.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use flate2::{Compression, write::GzEncoder};

/// Compresses `data` to a gzip file without time and name, so that equal input gives equal output.
#[must_use]
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// Decompresses a gzip file part by part. Returns the number of bytes.
///
/// # Errors
/// Any I/O error if it is no gzip file, is truncated or damaged; [`io::ErrorKind::FileTooLarge`] if it holds
/// more than `longest` bytes; errors of `take`.
pub fn gunzip_parts(
    data: &[u8],
    longest: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    // Files of other programs may consist of several members.
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
            let text = format!("it holds more than the {longest} bytes that are allowed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        take(&part[..count])?;
    }
}

/// Decompresses a gzip file of at most `longest` bytes.
///
/// # Errors
/// As [`gunzip_parts`]; [`io::ErrorKind::OutOfMemory`].
pub fn gunzip(data: &[u8], longest: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    gunzip_parts(data, longest, |part| {
        plain.try_reserve(part.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        plain.extend_from_slice(part);
        Ok(())
    })?;
    Ok(plain)
}
