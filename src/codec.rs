//! Numbers and byte strings in a row: what all binary formats of the crate are made of.
//!
//! ```text
//! u32   := 4 bytes, little endian
//! u64   := 8 bytes, little endian
//! bytes := u64 length, then that many bytes
//! ```
//! A [`Reader`] never allocates more than its input holds and never panics, whatever the input.

#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Digest32 = [u8; 32];

/// The SHA-256 digest of `data`.
#[must_use]
pub fn digest(data: &[u8]) -> Digest32 {
    Sha256::digest(data).into()
}

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    text
}

/// An empty buffer with room for `size` bytes; `None` when there is not enough memory.
///
/// For sizes that come from outside. A program whose small allocations fail is ended by Rust.
#[must_use]
pub fn try_with_capacity(size: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size).ok()?;
    Some(buffer)
}

/// A copy of `data`; `None` when there is not enough memory.
#[must_use]
pub fn copy(data: &[u8]) -> Option<Vec<u8>> {
    let mut copy = try_with_capacity(data.len())?;
    copy.extend_from_slice(data);
    Some(copy)
}

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer that begins with `magic`.
    #[must_use]
    pub fn new(magic: &[u8]) -> Self {
        Self { buffer: magic.to_vec() }
    }

    /// Appends to what is in this buffer.
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

    /// Appends a byte string that `append` puts behind what is in the buffer.
    ///
    /// # Errors
    /// That of `append`; then something incomplete is left behind, to be [`cut`](Writer::cut).
    pub fn bytes_by<E>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let at = self.buffer.len();
        self.u64(0);
        append(&mut self.buffer)?;
        let length = (self.buffer.len() - at - 8) as u64;
        self.buffer[at..at + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Goes back to the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// What has been written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buffer
    }

    /// What has been written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Reads fields one after the other; every method is `None` when the input does not hold the field.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `data` from its beginning.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// A `u32`.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A `u64`.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    /// A byte string that is UTF-8.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Whether everything has been read.
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
    fn what_is_written_is_read_and_what_is_missing_is_none() {
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
        fn any_fields_come_back_and_any_cut_is_noticed(
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
    fn a_length_beyond_the_input_is_not_believed() {
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
            assert_eq!(Reader::new(&data).bytes(), None, "{length} bytes are not there");
        }
    }

    #[test]
    fn digests_are_the_standard_ones() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest(b"abc")), expected);
    }
}
