//! The message by which rank 0 sends libraries to the other ranks that read for their hosts.
//!
//! ```text
//! message := (u32 1  bytes signature  bytes library)*  u32 0  kind*
//! kind    := u32 (0: nothing, 1: in the cache, 2: sent), for each signature of the batch
//! ```
//! A library ends with the digest of its bytes, so a receiver can tell that it has got what was read.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use crate::cache::{Cache, EntryView, VerifiedEntry};
use crate::codec::{Reader, Writer};

/// Contents of a message about one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The sender has nothing.
    Nothing,
    /// The sender has found it in the cache, and its bytes are not in the message.
    InCache,
    /// The library and all that it is linked to are in the message.
    Whole,
}

const KINDS: [Sent; 3] = [Sent::Nothing, Sent::InCache, Sent::Whole];

/// The files of libraries that were read in a lookup, by signature.
pub(super) type Kept = HashMap<String, Vec<u8>>;

/// Encodes the libraries of a batch, each once: those of `kept`, and otherwise from the cache. What cannot be
/// read, or makes the libraries longer than `limit` bytes, is not sent.
pub(super) fn pack(
    cache: &Cache,
    batch: &[Option<&VerifiedEntry>],
    mut kept: Kept,
    limit: u64,
) -> (Vec<u8>, Vec<Sent>) {
    let mut message = Writer::default();
    let mut packed: HashSet<&str> = HashSet::new();
    let mut kinds = Vec::with_capacity(batch.len());
    for entry in batch {
        let Some(entry) = entry else {
            kinds.push(Sent::Nothing);
            continue;
        };
        let before = message.written().len();
        let missing = entry.iter().map(|lib| lib.signature.as_str());
        let missing: Vec<&str> = missing.filter(|signature| packed.insert(signature)).collect();
        let whole = missing.iter().all(|signature| pack_library(cache, signature, &mut kept, &mut message));
        if whole && message.written().len() as u64 <= limit {
            kinds.push(Sent::Whole);
        } else {
            message.truncate(before);
            missing.iter().for_each(|signature| _ = packed.remove(signature));
            kinds.push(Sent::InCache);
        }
    }
    message.u32(0);
    kinds.iter().for_each(|kind| message.u32(*kind as u32));
    (message.finish(), kinds)
}

/// Does the same as [`pack`] for entries that are left out if they are not sent. Returns the places of those
/// that are in the message.
pub(super) fn pack_whole(
    cache: &Cache,
    batch: &[&VerifiedEntry],
    kept: Kept,
    limit: u64,
) -> (Vec<u8>, Vec<usize>) {
    let batch: Vec<Option<&VerifiedEntry>> = batch.iter().map(|entry| Some(*entry)).collect();
    let (mut message, kinds) = pack(cache, &batch, kept, limit);
    message.truncate(message.len() - 4 * kinds.len());
    let sent: Vec<usize> = (0..kinds.len()).filter(|at| kinds[*at] == Sent::Whole).collect();
    let mut message = Writer::onto(message);
    sent.iter().for_each(|_| message.u32(Sent::Whole as u32));
    (message.finish(), sent)
}

/// Appends a library. Returns false if it cannot be read.
fn pack_library(cache: &Cache, signature: &str, kept: &mut Kept, message: &mut Writer) -> bool {
    message.u32(1);
    message.bytes(signature.as_bytes());
    let read = message.bytes_by(|all| match kept.remove(signature) {
        Some(library) => {
            all.extend_from_slice(&library);
            Ok(())
        }
        None => cache.read_library_onto(signature, all),
    });
    if let Err(error) = &read {
        log::info!("{signature} is not sent: {error}");
    }
    read.is_ok()
}

/// Decodes a message about `count` signatures. If it is not whole, each may be in the cache.
pub(super) fn unpack(message: &[u8], count: usize) -> (Vec<EntryView<'_>>, Vec<Sent>) {
    try_unpack(message, count).unwrap_or_else(|| (Vec::new(), vec![Sent::InCache; count]))
}

fn try_unpack(message: &[u8], count: usize) -> Option<(Vec<EntryView<'_>>, Vec<Sent>)> {
    let mut reader = Reader::new(message);
    let mut entries = Vec::new();
    while reader.u32()? == 1 {
        let signature = reader.text()?;
        // A signature becomes part of paths.
        crate::signature::check_signature(signature).ok()?;
        entries.push(EntryView {
            signature,
            library: reader.bytes()?,
            header: None,
            source: None,
            log: None,
        });
    }
    let kind = |_| KINDS.get(usize::try_from(reader.u32()?).ok()?).copied();
    let kinds = (0..count).map(kind).collect::<Option<_>>()?;
    reader.at_end().then_some((entries, kinds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(libraries: &[(&str, &[u8])], kinds: &[Sent]) -> Vec<u8> {
        let mut writer = Writer::default();
        for (signature, library) in libraries {
            writer.u32(1);
            writer.bytes(signature.as_bytes());
            writer.bytes(library);
        }
        writer.u32(0);
        kinds.iter().for_each(|kind| writer.u32(*kind as u32));
        writer.finish()
    }

    #[test]
    fn a_message_comes_back() {
        let sent = message(&[("a_1", b"x"), ("b_2", b"")], &KINDS);
        let (entries, kinds) = unpack(&sent, 3);
        let entries: Vec<_> = entries.iter().map(|entry| (entry.signature, entry.library)).collect();
        assert_eq!((&entries[..], &kinds[..]), (&[("a_1", &b"x"[..]), ("b_2", b"")][..], &KINDS[..]));
    }

    /// A receiver puts signatures into paths.
    #[test]
    fn a_signature_that_leaves_the_folder_is_refused() {
        let sent = message(&[("../evil", b"x")], &[Sent::Whole]);
        let (entries, kinds) = unpack(&sent, 1);
        assert_eq!((entries.len(), kinds), (0, vec![Sent::InCache]));
    }

    proptest! {
        #[test]
        fn a_message_that_is_cut_sends_to_the_cache(at in any::<prop::sample::Index>()) {
            let whole = message(&[("a_1", b"xyz")], &[Sent::Whole, Sent::Nothing]);
            let (entries, kinds) = unpack(&whole[..at.index(whole.len())], 2);
            prop_assert_eq!((entries.len(), kinds), (0, vec![Sent::InCache; 2]));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            count in 0..4_usize,
        ) {
            prop_assert_eq!(unpack(&bytes, count).1.len(), count);
        }
    }
}
