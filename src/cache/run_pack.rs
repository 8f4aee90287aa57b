//! The libraries that runs of a program use, in one file: the next run reads that instead of each of them.
//!
//! ```text
//! runs/<key>.pack
//!
//! file   := "DIJITSO-PACK" u32 version (1)  bytes frame  digest  library*
//! frame  := bytes list  u64 limit  stamp lib  stamp include  u64 headers
//!           u64 count  (bytes signature)*     the entries, without what they are linked to
//!           u64 count  file*                  the libraries of all of them
//! list   := the file runs/<key> at that time
//! limit  := cache.prefetch_max_size at that time
//! file   := bytes signature  stamp  bytes digest  u64 size
//! stamp  := u64 size  u64 mtime  u64 ctime  u64 inode: of a file or directory of the cache
//! digest := SHA-256 of everything before it
//! ```
//! A library of a pack is used if its file in `lib/` has the same stamp as when the pack was written. If the
//! directory has the same stamp, none of its files was removed or replaced, and none is asked. A stamp that
//! was not settled is written as zeros, and nothing is like it. Each library is verified by its own digest and
//! by that in the frame; inputs of the builds are looked at as in any lookup. Packs are for speed alone: what
//! a pack does not have is read from its file, and the end of that run writes another pack.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use crate::codec::{Digest32, Reader, Writer, digest};
use crate::fsutil::{self, FileStamp, FileState};
use crate::signature::check_signature;

use super::layout::Category;
use super::{Cache, record};

const MAGIC: &[u8; 12] = b"DIJITSO-PACK";
const VERSION: u32 = 1;
const DIGEST: usize = 32;

/// A pack that was read.
pub struct RunPack {
    /// The file.
    content: Vec<u8>,
    pub(super) frame: PackFrame,
    /// Are the directories as they were when it was written?
    is_fresh: bool,
}

/// The description of the libraries in a pack.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PackFrame {
    pub(super) list: Vec<u8>,
    pub(super) limit: u64,
    pub(super) lib_dir: FileStamp,
    pub(super) include_dir: FileStamp,
    pub(super) has_headers: bool,
    pub(super) entries: Vec<String>,
    pub(super) files: HashMap<String, PackedFile>,
    /// The signatures of `files`, in their order.
    pub(super) order: Vec<String>,
}

/// A library in a pack.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PackedFile {
    pub(super) stamp: FileStamp,
    pub(super) digest: Digest32,
    /// Its place in the pack.
    pub(super) place: Range<usize>,
}

fn put_stamp(writer: &mut Writer, stamp: &FileStamp) {
    let FileStamp { size, mtime, ctime, inode } = *stamp;
    [size, mtime.cast_unsigned(), ctime.cast_unsigned(), inode].into_iter().for_each(|part| writer.u64(part));
}

fn take_stamp(reader: &mut Reader<'_>) -> Option<FileStamp> {
    let size = reader.u64()?;
    let (mtime, ctime) = (reader.u64()?.cast_signed(), reader.u64()?.cast_signed());
    Some(FileStamp { size, mtime, ctime, inode: reader.u64()? })
}

/// A signature becomes part of paths.
fn take_signature(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().filter(|signature| check_signature(signature).is_ok()).map(str::to_owned)
}

impl PackFrame {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(&self.list);
        writer.u64(self.limit);
        put_stamp(&mut writer, &self.lib_dir);
        put_stamp(&mut writer, &self.include_dir);
        writer.u64(u64::from(self.has_headers));
        writer.u64(self.entries.len() as u64);
        self.entries.iter().for_each(|entry| writer.bytes(entry.as_bytes()));
        writer.u64(self.order.len() as u64);
        for signature in &self.order {
            let file = &self.files[signature];
            writer.bytes(signature.as_bytes());
            put_stamp(&mut writer, &file.stamp);
            writer.bytes(&file.digest);
            writer.u64(file.place.len() as u64);
        }
        writer.finish()
    }

    /// Decodes a frame; the libraries begin at `start` and end at `end`.
    fn decode(frame: &[u8], start: usize, end: usize) -> Option<Self> {
        let mut reader = Reader::new(frame);
        let (list, limit) = (reader.bytes()?.to_vec(), reader.u64()?);
        let (lib_dir, include_dir) = (take_stamp(&mut reader)?, take_stamp(&mut reader)?);
        let has_headers = reader.u64()? != 0;
        let mut entries = Vec::new();
        for _ in 0..reader.u64()? {
            entries.push(take_signature(&mut reader)?);
        }
        let (mut files, mut order, mut from) = (HashMap::new(), Vec::new(), start);
        for _ in 0..reader.u64()? {
            let signature = take_signature(&mut reader)?;
            let stamp = take_stamp(&mut reader)?;
            let digest = reader.bytes()?.try_into().ok()?;
            let to = from.checked_add(usize::try_from(reader.u64()?).ok()?)?;
            order.push(signature.clone());
            files.insert(signature, PackedFile { stamp, digest, place: from..to });
            from = to;
        }
        let frame = Self { list, limit, lib_dir, include_dir, has_headers, entries, files, order };
        (reader.at_end() && from == end).then_some(frame)
    }
}

fn decode(content: &[u8]) -> Option<PackFrame> {
    let mut reader = Reader::new(content);
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    let frame = reader.bytes()?;
    let described = content.len() - reader.rest().len();
    if reader.take(DIGEST)? != digest(&content[..described]) {
        return None;
    }
    PackFrame::decode(frame, described + DIGEST, content.len())
}

/// Encodes a frame and the libraries that it describes.
pub(super) fn encode(frame: &PackFrame, mut files: HashMap<String, Vec<u8>>) -> Vec<u8> {
    let mut writer = Writer::new(MAGIC);
    writer.u32(VERSION);
    writer.bytes(&frame.encode());
    let mut content = writer.finish();
    let sum = digest(&content);
    content.extend_from_slice(&sum);
    for signature in &frame.order {
        content.append(&mut files.remove(signature).unwrap_or_default());
    }
    content
}

/// Returns true if this is a pack that can be read.
pub(super) fn is_whole(content: &[u8]) -> bool {
    decode(content).is_some()
}

impl RunPack {
    /// Reads a pack; `None` if it is damaged or of another version.
    pub(super) fn read(content: Vec<u8>) -> Option<Self> {
        let frame = decode(&content)?;
        Some(Self { content, frame, is_fresh: false })
    }

    /// Returns a library and its stamp, if its file is still the one that was packed.
    pub(super) fn library(&self, cache: &Cache, signature: &str) -> Option<(&[u8], FileStamp)> {
        let file = self.frame.files.get(signature)?;
        let is_same = || {
            let state = FileState::now(&cache.layout().lib(signature)).ok()?;
            Some(state.stamp == file.stamp && fsutil::untrusted_state(&state).is_none())
        };
        let bytes = self.content.get(file.place.clone())?;
        let is_packed = || record::digest_of(bytes) == file.digest;
        (self.is_fresh || is_same() == Some(true)).then_some(())?;
        is_packed().then_some((bytes, file.stamp))
    }

    /// Returns true if these are the libraries of the pack.
    pub(super) fn is_all(&self, files: &HashMap<String, Vec<u8>>) -> bool {
        let is_same = |signature: &String, file: &PackedFile| {
            files.get(signature).is_some_and(|read| self.content.get(file.place.clone()) == Some(&**read))
        };
        self.frame.files.iter().all(|(signature, file)| is_same(signature, file))
    }

    /// Returns true if no file of the cache need be asked.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Compares the directories of the cache with what they were. `lib_dir` is the stamp of `lib/`.
    pub(super) fn compare(&mut self, cache: &Cache, lib_dir: FileStamp) {
        let is_same_include = || {
            let stamp = FileStamp::of(&cache.layout().dir(Category::Inc));
            stamp.is_ok_and(|stamp| stamp == self.frame.include_dir)
        };
        self.is_fresh = self.frame.limit == cache.layout().params().prefetch_max_size
            && self.frame.lib_dir == lib_dir
            && (!self.frame.has_headers || is_same_include());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack() -> (PackFrame, Vec<u8>) {
        let stamp = FileStamp { size: 3, mtime: -1, ctime: 5, inode: 7 };
        let mut frame =
            PackFrame { list: b"list".to_vec(), limit: 9, lib_dir: stamp, ..PackFrame::default() };
        frame.entries = vec!["b".to_owned()];
        for (signature, length) in [("a", 2), ("b", 3)] {
            frame.order.push(signature.to_owned());
            let file = PackedFile { stamp, digest: [1; 32], place: 0..length };
            frame.files.insert(signature.to_owned(), file);
        }
        let files = [("a".to_owned(), b"xy".to_vec()), ("b".to_owned(), b"uvw".to_vec())];
        let content = encode(&frame, files.into());
        (frame, content)
    }

    #[test]
    fn a_pack_comes_back() {
        let (frame, content) = pack();
        let read = RunPack::read(content).unwrap();
        let bytes = |signature: &str| &read.content[read.frame.files[signature].place.clone()];
        assert_eq!((bytes("a"), bytes("b")), (&b"xy"[..], &b"uvw"[..]));
        assert_eq!((&read.frame.entries, read.frame.lib_dir), (&frame.entries, frame.lib_dir));
        assert!(!read.is_fresh());
    }

    proptest! {
        #[test]
        fn no_flipped_bit_of_the_frame_and_no_cut_is_accepted(
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let (_, content) = pack();
            let mut flipped = content.clone();
            // Libraries have digests of their own.
            flipped[at.index(content.len() - 5)] ^= 1 << bit;
            prop_assert!(!is_whole(&flipped));
            prop_assert!(!is_whole(&content[..at.index(content.len())]));
        }

        /// Wrong lengths under a right digest.
        #[test]
        fn any_frame_is_read_without_a_panic(frame in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut writer = Writer::new(MAGIC);
            writer.u32(VERSION);
            writer.bytes(&frame);
            let mut content = writer.finish();
            let sum = digest(&content);
            content.extend_from_slice(&sum);
            let _ = is_whole(&content);
        }
    }
}
