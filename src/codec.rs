//! The encoding of numbers and byte strings that all binary formats of the crate use.
//!
//! ```text
//! u32   := 4 bytes, little endian
//! u64   := 8 bytes, little endian
//! bytes := u64 length, then that many bytes
//! ```
//! A [`Reader`] never allocates more than its input holds and never panics, whatever the input.

#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128;

/// A digest of 32 bytes.
pub type Digest32 = [u8; 32];

/// Computes the SHA-256 digest of `data`.
#[must_use]
pub fn digest(data: &[u8]) -> Digest32 {
    Sha256::digest(data).into()
}

/// Computes a digest for comparisons within a run, by XXH3, which takes a tenth of the time of SHA-256. Its
/// 128 bits are followed by zeros. It finds differences, and is no protection against people.
#[must_use]
pub fn quick_digest(data: &[u8]) -> Digest32 {
    let mut digest = Digest32::default();
    digest[..16].copy_from_slice(&xxh3_128(data).to_be_bytes());
    digest
}

/// Formats bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads a digest that [`hex`] has written.
#[must_use]
pub fn digest_of_hex(text: &str) -> Option<Digest32> {
    let mut digest = Digest32::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

/// Allocates an empty buffer for `size` bytes; `None` if there is not enough memory.
///
/// For sizes that are input. If any other allocation fails, Rust ends the program.
#[must_use]
pub fn try_with_capacity(size: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size).ok()?;
    Some(buffer)
}

/// Copies `data`; `None` if there is not enough memory.
#[must_use]
pub fn copy(data: &[u8]) -> Option<Vec<u8>> {
    let mut copy = try_with_capacity(data.len())?;
    copy.extend_from_slice(data);
    Some(copy)
}

/// Encodes fields one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts with `magic`.
    #[must_use]
    pub fn new(magic: &[u8]) -> Self {
        // Most of what is encoded fits, so it is not moved while it grows.
        const ROOM: usize = 512;
        let mut buffer = Vec::with_capacity(magic.len().max(ROOM));
        buffer.extend_from_slice(magic);
        Self { buffer }
    }

    /// Appends to `buffer`.
    #[must_use]
    pub fn onto(buffer: Vec<u8>) -> Self {
        Self { buffer }
    }

    /// Appends a `u32`.
    pub fn u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a `u64`.
    pub fn u64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a byte string with its length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    /// Appends a byte string that `append` appends to the buffer.
    ///
    /// # Errors
    /// The error of `append`. The buffer then ends with an incomplete field, to be removed with
    /// [`truncate`](Writer::truncate).
    pub fn bytes_by<E>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let at = self.buffer.len();
        self.u64(0);
        append(&mut self.buffer)?;
        let length = (self.buffer.len() - at - 8) as u64;
        self.buffer[at..at + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Keeps the first `length` bytes only.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Returns the bytes so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns all bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Decodes fields one after the other. Each method returns `None` if the rest of the input is too short or
/// invalid.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `data`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Returns what has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// Reads a `u32`.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Reads a `u64`.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    /// Reads a byte string that is UTF-8.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Tells if the whole input has been read.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_as_written_and_missing_ones_are_none() {
        let mut writer = Writer::new(b"MAGIC");
        writer.u32(7);
        writer.u64(u64::MAX);
        writer.bytes("å".as_bytes());
        let data = writer.finish();
        let read = |data: &[u8]| {
            let mut reader = Reader::new(data);
            let magic = reader.take(5)? == b"MAGIC";
            let values = (reader.u32()?, reader.u64()?, reader.text()?.to_owned());
            (magic && reader.at_end()).then_some(values)
        };
        assert_eq!(read(&data), Some((7, u64::MAX, "å".to_owned())));
        for length in 0..data.len() {
            assert_eq!(read(&data[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn any_fields_survive_and_any_truncation_is_noticed(
            numbers in prop::collection::vec(any::<u64>(), 0..4),
            fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4),
            at in any::<prop::sample::Index>(),
        ) {
            let mut writer = Writer::default();
            numbers.iter().for_each(|number| writer.u64(*number));
            fields.iter().for_each(|field| writer.bytes(field));
            let data = writer.finish();
            let read = |data: &[u8]| {
                let mut reader = Reader::new(data);
                let numbers: Vec<u64> = numbers.iter().map(|_| reader.u64()).collect::<Option<_>>()?;
                let fields: Vec<Vec<u8>> =
                    fields.iter().map(|_| reader.bytes().map(<[u8]>::to_vec)).collect::<Option<_>>()?;
                reader.at_end().then_some((numbers, fields))
            };
            prop_assert_eq!(read(&data), Some((numbers.clone(), fields.clone())));
            prop_assert_eq!(read(&data[..at.index(data.len())]), None);
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_none() {
        let mut writer = Writer::default();
        writer.u64(u64::MAX - 1);
        assert_eq!(Reader::new(&writer.finish()).bytes(), None);
    }

    /// Defect W9 of the original: sizes had 32 bits, so that 4 GiB and five bytes were five bytes.
    #[test]
    fn w9_lengths_have_64_bits() {
        for length in [u64::from(i32::MAX as u32) + 1, u64::from(u32::MAX), (1 << 32) + 5, (1 << 40) + 5] {
            let mut writer = Writer::default();
            writer.u64(length);
            let mut data = writer.finish();
            data.extend_from_slice(b"five!");
            assert_eq!(Reader::new(&data).u64(), Some(length));
            assert_eq!(Reader::new(&data).bytes(), None, "{length} bytes");
        }
    }

    #[test]
    fn digests_are_the_standard_ones() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest(b"abc")), expected);
    }
}
